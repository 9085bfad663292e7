//! What a platform can't run as the pipeline file has it: all of it, before anything is rendered.

use std::collections::BTreeMap;

use pipeline::deploy::Funnels;
use pipeline::functions::Callee;
use pipeline::{Pipeline, Servers, Tier, Uplink};
use wire::EngineKind;

use super::label;
use crate::Refused;
use crate::options::{Executor, Options, Platform, Trigger};

/// The longest suffix, `-connector`, and what Knative appends to it for a revision, still make a label.
const MAX_NAME: usize = 46;
/// OpenWhisk's own bounds of an action.
const OPENWHISK_TIMEOUT_S: u64 = 300;
const OPENWHISK_MEMORY_MIB: u64 = 512;
/// Knative's bound of a revision's `timeoutSeconds`.
const KNATIVE_TIMEOUT_S: u64 = 600;

pub(super) fn check(pipeline: &Pipeline, options: Options) -> Result<(), Refused> {
    let mut problems = Vec::new();
    let platform = options.platform;
    if options.trigger == Trigger::Platform && !platform.has_functions() {
        problems.push(format!(
            "`--trigger` is platform, expected connector: {platform} has no trigger of its own, and a tier there reads Kafka \
             itself"
        ));
    }
    if options.executor == Executor::Environment && platform != Platform::Fission {
        problems.push(
            "`--executor` is environment, expected container: only fission has environments"
                .to_owned(),
        );
    }
    names(pipeline, &mut problems);
    for tier in &pipeline.tiers {
        let mut found = Vec::new();
        brokers(tier, platform, &mut found);
        if platform.has_functions() {
            functions(tier, &mut found);
        } else {
            whole_tier(tier, platform, &mut found);
        }
        limits(tier, platform, &mut found);
        problems
            .extend(found.into_iter().map(|problem| format!("tier `{}`: {problem}", tier.name)));
    }
    if !platform.has_functions() && pipeline.deploy.funnels == Funnels::Functions {
        problems.push(format!(
            "[deploy]: `funnels` is \"functions\", expected \"direct\": on {platform} a whole tier is one process"
        ));
    }
    if problems.is_empty() { Ok(()) } else { Err(Refused { problems }) }
}

fn names(pipeline: &Pipeline, problems: &mut Vec<String>) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for tier in &pipeline.tiers {
        let name = format!("{}-{}", label(&pipeline.name), label(&tier.name));
        if MAX_NAME < name.len() {
            problems.push(format!(
                "tier `{}`: its function would be `{name}`, {} long, expected at most {MAX_NAME}: give the pipeline or the \
                 tier a shorter name",
                tier.name,
                name.len()
            ));
        }
        if let Some(other) = taken.insert(name.clone(), &tier.name) {
            problems.push(format!(
                "tier `{}`: its function would be `{name}`, as tier `{other}`'s, expected one of its own",
                tier.name
            ));
        }
    }
}

fn brokers(tier: &Tier, platform: Platform, problems: &mut Vec<String>) {
    let of_output = &tier.output.servers;
    let mut all = vec![("bootstrap_servers", &tier.input.servers)];
    if *of_output != tier.input.servers {
        all.push(("output.bootstrap_servers", of_output));
    }
    for (key, servers) in all {
        match servers {
            Servers::Embedded if platform.is_cluster() => problems.push(format!(
                "`{key}` is \"embedded\", expected \"host:port\" of a broker that {platform} reaches: the embedded one is \
                 inside of `offramp up` (`offramp broker --advertise HOST:PORT` runs it alone)"
            )),
            Servers::Bootstrap(servers) if platform != Platform::Systemd => {
                if let Some(server) = servers.split(',').map(str::trim).find(|one| is_local(one)) {
                    problems.push(format!(
                        "`{key}` is \"{server}\", expected an address that a container reaches: to it, that is itself"
                    ));
                }
            }
            _ => {}
        }
    }
}

fn is_local(server: &str) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host == "localhost" || host.starts_with("127.") || host == "[::1]"
}

/// What only the process of a whole tier can do.
fn functions(tier: &Tier, problems: &mut Vec<String>) {
    let whole = "a whole tier in one process has that: --platform kubernetes, compose or systemd";
    for (key, steps) in [("before", &tier.before), ("after", &tier.after)] {
        if !steps.is_empty() {
            problems.push(format!("`{key}` is set, and functions call no other ones: {whole}"));
        }
    }
    if let Some(shape) = &tier.shape {
        problems
            .push(format!("`shape` is {shape:?}, and functions take the sub-model's own: {whole}"));
    }
    if let Some(label) = tier.exit.class_thresholds.keys().find(|label| label.contains(',')) {
        problems.push(format!(
            "`class_thresholds` has the label \"{label}\", expected one without a comma: {whole}"
        ));
    }
}

fn whole_tier(tier: &Tier, platform: Platform, problems: &mut Vec<String>) {
    if let Some(model) = &tier.deploy.model {
        problems.push(format!(
            "`model` of `deploy` is \"{model}\", and only functions fetch theirs: on {platform} it is in a file"
        ));
    }
    for (key, steps) in [("before", &tier.before), ("after", &tier.after)] {
        let programs = steps.iter().filter_map(|step| match &step.callee {
            Callee::Function(name) => Some(name),
            Callee::Url(_) => None,
        });
        problems.extend(programs.map(|name| {
            format!("`{key}` has the function `{name}`, expected a `url`: only tiers are deployed, not [[function]] tables")
        }));
    }
}

fn limits(tier: &Tier, platform: Platform, problems: &mut Vec<String>) {
    if tier.engine != EngineKind::Tract && platform != Platform::Systemd {
        problems.push(format!(
            "`engine` is \"{}\", expected \"{}\": the image has no shared library in it",
            tier.engine,
            EngineKind::Tract
        ));
    }
    let timeout = tier.deploy.timeout.as_secs();
    let longest = match platform {
        Platform::OpenWhisk => OPENWHISK_TIMEOUT_S,
        Platform::Knative => KNATIVE_TIMEOUT_S,
        _ => u64::MAX,
    };
    if longest < timeout {
        problems.push(format!(
            "`timeout_s` is {timeout}, expected at most {longest}, {platform}'s own bound"
        ));
    }
    let memory = tier.deploy.limits.memory_mib.filter(|mib| OPENWHISK_MEMORY_MIB < *mib);
    if let (Platform::OpenWhisk, Some(memory)) = (platform, memory) {
        problems.push(format!(
            "`memory_mib` of `limits` is {memory}, expected at most {OPENWHISK_MEMORY_MIB}, {platform}'s own bound"
        ));
    }
}

/// What is not refused, and yet otherwise than the pipeline file says.
pub(super) fn notes(pipeline: &Pipeline, platform: Platform) -> Vec<String> {
    let mut notes = Vec::new();
    if pipeline.runtime.is_some() {
        notes.push(
            "[gateway] and [[function]] stay where they are: only tiers are deployed".to_owned(),
        );
    }
    let holds = |tier: &&Tier| {
        let uplink = tier.uplink.as_ref();
        uplink.is_some_and(|Uplink { on_loss, .. }| *on_loss == pipeline::OnLoss::Hold)
    };
    if platform.has_functions() && pipeline.tiers.iter().any(|tier| holds(&tier)) {
        let text = "while the next tier's broker is away, a tier's records wait in its input topic: functions keep no buffer";
        notes.push(text.to_owned());
    }
    notes
}
