//! OpenWhisk: a manifest for `wskdeploy`, the same as a script for `wsk`, and connectors for Kubernetes beside it.
//!
//! An action's container is frozen between calls, so a connector can't be one. The manifest has no place for environment
//! variables: an archive with an `offramp.env` brings them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::file::{Content, File, Rendering, header};
use crate::kubernetes;
use crate::kubernetes::types::Scalar;
use crate::plan::{Function, Place, Plan, Role, Site};
use crate::yaml::{self, Anything, artefact};
use crate::{fission, image};

/// Where the platform's chart, released as `owdev`, has its API, as connectors reach it.
const INTERNAL_GATEWAY: &str = "http://owdev-nginx.openwhisk";
const FEED: &str = "/whisk.system/messaging/kafkaFeed";
/// The platform's own default.
const MEMORY_MIB: u64 = 256;
const LOG_MIB: u32 = 10;

artefact! {
    struct WhiskManifest {
        packages: BTreeMap<String, WhiskPackage>,
    }

    struct WhiskPackage {
        actions: BTreeMap<String, Action>,
        triggers: BTreeMap<String, WhiskTrigger>,
        rules: BTreeMap<String, Rule>,
    }

    struct Action {
        function: String,
        docker: String,
        main: String,
        web: Option<Scalar>,
        inputs: Option<Anything>,
        annotations: Option<Anything>,
        limits: Option<ActionLimits>,
    }

    struct ActionLimits {
        timeout: Option<u32>,
        memory_size: Option<u64>,
        log_size: Option<u32>,
        concurrency: Option<u32>,
    }

    struct WhiskTrigger {
        feed: String,
        inputs: FeedInputs,
    }

    struct FeedInputs {
        brokers: Vec<String>,
        topic: String,
        #[serde(rename = "isJSONData")]
        is_json_data: Option<bool>,
        is_binary_key: Option<bool>,
        is_binary_value: Option<bool>,
    }

    struct Rule {
        trigger: String,
        action: String,
    }
}

pub(crate) fn render(plan: &Plan<'_>) -> Rendering {
    let mut files = image::files(plan);
    for site in &plan.sites {
        files.push(manifest(plan, site));
        files.extend(site.places.iter().flat_map(|place| archives(plan, site, place)));
        files.push(script(plan, site));
        if !plan.has_platform_trigger() {
            files.push(connectors(plan, site));
        }
    }
    let mut notes = vec![
        "images have to be on Docker Hub, unless the platform was configured with another registry"
            .to_owned(),
    ];
    if !plan.has_platform_trigger() {
        notes.push("connectors run on Kubernetes (connectors.yaml), because an action's container is frozen between calls".to_owned());
    }
    Rendering { files, notes }
}

/// Functions that are actions, with the names of their actions.
fn actions(plan: &Plan<'_>, place: &Place<'_>) -> Vec<(String, Function)> {
    let functions = plan.functions(place, |name| url(plan, place, name)).into_iter();
    let actions = functions.filter(|function| function.role != Role::Connector);
    actions.map(|function| (action_name(plan, &function.name), function)).collect()
}

/// The package has the pipeline's name.
fn action_name(plan: &Plan<'_>, function: &str) -> String {
    let rest = function.strip_prefix(&plan.name).unwrap_or(function);
    rest.trim_start_matches('-').to_owned()
}

fn url(plan: &Plan<'_>, place: &Place<'_>, name: &str) -> String {
    let gateway = place.tier.deploy.internal_gateway.as_deref().unwrap_or(INTERNAL_GATEWAY);
    let (package, action) = (&plan.name, action_name(plan, name));
    format!("{gateway}/api/v1/web/{}/{package}/{action}.http", place.namespace)
}

fn limits(place: &Place<'_>, function: &Function) -> ActionLimits {
    let memory = place.tier.deploy.limits.memory_mib.filter(|_| function.role == Role::Inference);
    ActionLimits {
        timeout: Some(place.timeout_s() * 1000),
        memory_size: Some(memory.unwrap_or(MEMORY_MIB)),
        log_size: Some(LOG_MIB),
        concurrency: Some(1),
    }
}

fn manifest(plan: &Plan<'_>, site: &Site<'_>) -> File {
    let mut package = WhiskPackage::default();
    for place in &site.places {
        for (name, function) in actions(plan, place) {
            let action = Action {
                function: format!("actions/{name}"),
                docker: place.image.clone(),
                web: Some("raw".into()),
                limits: Some(limits(place, &function)),
                ..Action::default()
            };
            package.actions.insert(name, action);
        }
        if plan.has_platform_trigger() {
            let trigger = format!("{}-input", place.name);
            let feed = WhiskTrigger { feed: FEED.to_owned(), inputs: feed(plan, place) };
            package.triggers.insert(trigger.clone(), feed);
            let rule = Rule { trigger, action: action_name(plan, &place.name) };
            package.rules.insert(format!("{}-run", place.name), rule);
        }
    }
    let manifest = WhiskManifest { packages: BTreeMap::from([(plan.name.clone(), package)]) };
    let what = format!("Pipeline `{}` on OpenWhisk, for wskdeploy.", plan.pipeline.name);
    let text = header("#", &what) + &yaml::write(&manifest);
    File::text(format!("{}manifest.yaml", site.folder), text)
}

fn feed(plan: &Plan<'_>, place: &Place<'_>) -> FeedInputs {
    FeedInputs {
        brokers: plan.servers(&place.tier.input.servers).split(',').map(str::to_owned).collect(),
        topic: place.tier.input.name.clone(),
        is_json_data: Some(false),
        is_binary_key: Some(true),
        is_binary_value: Some(true),
    }
}

/// The variables of each action, as `/init` brings them.
fn variables(function: &Function) -> BTreeMap<String, String> {
    Plan::platform_env("openwhisk").into_iter().chain(function.env.clone()).collect()
}

fn archives(plan: &Plan<'_>, site: &Site<'_>, place: &Place<'_>) -> Vec<File> {
    let actions = actions(plan, place).into_iter();
    actions
        .map(|(name, function)| {
            let text = fission::types::env_file(&variables(&function));
            File::text(format!("{}actions/{name}/offramp.env", site.folder), text)
        })
        .collect()
}

fn script(plan: &Plan<'_>, site: &Site<'_>) -> File {
    let mut text = "#!/bin/sh\n".to_owned();
    text += &header("#", &format!("Pipeline `{}` on OpenWhisk, with wsk.", plan.pipeline.name));
    text += "set -eu\n\n";
    let wsk = match site.gateway {
        Some(host) => format!("wsk --apihost {}", quoted(host)),
        None => "wsk".to_owned(),
    };
    let mut line = |command: String| writeln!(text, "{wsk} {command}").expect("a text");
    line(format!("package update {}", plan.name));
    for place in &site.places {
        for (name, function) in actions(plan, place) {
            let ActionLimits { timeout, memory_size, .. } = limits(place, &function);
            let mut command = format!(
                "action update {}/{name} --docker {} --web raw --timeout {} --memory {}",
                plan.name,
                quoted(&place.image),
                timeout.unwrap_or_default(),
                memory_size.unwrap_or_default()
            );
            for (key, value) in variables(&function) {
                write!(command, " \\\n  --env {key} {}", quoted(&value)).expect("a text");
            }
            line(command);
        }
        if plan.has_platform_trigger() {
            feed_commands(plan, place, &wsk, &mut line);
        }
    }
    File { path: format!("{}deploy.sh", site.folder), content: Content::Script(text) }
}

/// A feed can't be created twice, and a trigger with one not updated.
fn feed_commands(plan: &Plan<'_>, place: &Place<'_>, wsk: &str, line: &mut impl FnMut(String)) {
    let inputs = feed(plan, place);
    let brokers: Vec<String> =
        inputs.brokers.iter().map(|broker| format!("\"{broker}\"")).collect();
    let trigger = format!("{}-input", place.name);
    line(format!(
        "trigger get {trigger} >/dev/null 2>&1 || {wsk} trigger create {trigger} --feed {FEED} \\\n  \
         --param brokers {} --param topic {} \\\n  \
         --param isJSONData false --param isBinaryKey true --param isBinaryValue true",
        quoted(&format!("[{}]", brokers.join(", "))),
        quoted(&inputs.topic)
    ));
    let action = format!("{}/{}", plan.name, action_name(plan, &place.name));
    line(format!("rule update {}-run {trigger} {action}", place.name));
}

fn connectors(plan: &Plan<'_>, site: &Site<'_>) -> File {
    let places = site.places.iter();
    let documents: Vec<String> = places
        .map(|place| {
            yaml::write(&kubernetes::connector(plan, place, &url(plan, place, &place.name)))
        })
        .collect();
    let what =
        format!("The connectors of pipeline `{}`, which call its actions.", plan.pipeline.name);
    let text = header("#", &what) + &documents.join("---\n");
    File::text(format!("{}connectors.yaml", site.folder), text)
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    crate::apply::quoted(word)
}
