//! The commands that deploy what was rendered, with each platform's own tool. Nothing is run here.

use std::collections::BTreeSet;

use pipeline::Pipeline;
use pipeline::deploy::Architecture;

use crate::Refused;
use crate::options::{Executor, Options, Platform};
use crate::plan::{Place, Plan, Site};
use crate::{image, systemd};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The program.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The program that has to be there: another one than `program` where that is a script's shell.
    pub needs: &'static str,
    /// Where that is to be had.
    pub install: &'static str,
}

impl Step {
    /// As a line for a shell.
    pub fn line(&self) -> String {
        let words = std::iter::once(self.program.to_owned());
        words.chain(self.arguments.iter().map(|word| quoted(word))).collect::<Vec<_>>().join(" ")
    }
}

/// A word as a shell reads it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The commands that deploy what was rendered into the folder `dir`, or only what the named tiers need.
///
/// # Errors
///
/// What can't be rendered, and clusters that the platform's tool can't tell apart.
pub fn steps(
    pipeline: &Pipeline,
    options: Options,
    dir: &str,
    tiers: &[String],
) -> Result<Vec<Step>, Refused> {
    let plan = Plan::of(pipeline, options)?;
    let wanted = |place: &&Place<'_>| tiers.is_empty() || tiers.contains(&place.tier.name);
    let sites: Vec<(&Site<'_>, Vec<&Place<'_>>)> = plan
        .sites
        .iter()
        .map(|site| (site, site.places.iter().filter(wanted).collect::<Vec<_>>()))
        .filter(|(_, places)| !places.is_empty())
        .collect();
    let at = |site: &Site<'_>, file: &str| format!("{dir}/{}{file}", site.folder);
    match options.platform {
        Platform::OpenFaas => Ok(sites
            .iter()
            .map(|(site, places)| openfaas(&at(site, "stack.yaml"), site, places))
            .collect()),
        Platform::Fission => {
            Ok(sites.iter().map(|(site, _)| fission(&at(site, "specs"), site)).collect())
        }
        Platform::OpenWhisk => Ok(sites
            .iter()
            .flat_map(|(site, _)| {
                let connectors = (!plan.has_platform_trigger())
                    .then(|| kubectl(site, &at(site, "connectors.yaml")));
                [whisk(at(site, "deploy.sh"))].into_iter().chain(connectors)
            })
            .collect()),
        Platform::Knative | Platform::Kubernetes => {
            let files = sites.iter().flat_map(|(site, places)| {
                places
                    .iter()
                    .map(|place| kubectl(site, &at(site, &format!("{}.yaml", place.label))))
            });
            Ok(files.collect())
        }
        Platform::Nuclio => nuclio(&plan, &sites, dir),
        Platform::Compose => {
            let mut arguments =
                vec!["compose".to_owned(), "--file".to_owned(), format!("{dir}/compose.yaml")];
            arguments.extend(["up", "--detach", "--build"].map(str::to_owned));
            if !tiers.is_empty() {
                arguments.extend(
                    sites
                        .iter()
                        .flat_map(|(_, places)| places.iter().map(|place| place.label.clone())),
                );
            }
            Ok(vec![step("docker", arguments, INSTALL_DOCKER)])
        }
        Platform::Systemd => Ok(units(&plan, &sites, dir)),
    }
}

const INSTALL_DOCKER: &str =
    "Docker Engine with its Compose plugin: https://docs.docker.com/engine/install/";
const INSTALL_KUBECTL: &str = "kubectl: https://kubernetes.io/docs/tasks/tools/";

fn step(
    program: &'static str,
    arguments: impl IntoIterator<Item = String>,
    install: &'static str,
) -> Step {
    Step { program, arguments: arguments.into_iter().collect(), needs: program, install }
}

fn whisk(script: String) -> Step {
    let install = "wsk: https://github.com/apache/openwhisk-cli/releases";
    Step { needs: "wsk", ..step("sh", [script], install) }
}

/// `faas-cli` deploys the functions of a file, or those that a filter fits.
fn openfaas(file: &str, site: &Site<'_>, places: &[&Place<'_>]) -> Step {
    let install = "faas-cli: https://docs.openfaas.com/cli/install/";
    let mut arguments = vec!["deploy".to_owned(), "-f".to_owned(), file.to_owned()];
    if places.len() < site.places.len() {
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        arguments.extend([
            "--regex".to_owned(),
            format!("^({})(-connector|-exit|-forward)?$", names.join("|")),
        ]);
    }
    step("faas-cli", arguments, install)
}

fn fission(specs: &str, site: &Site<'_>) -> Step {
    let install = "the fission CLI: https://fission.io/docs/installation/";
    let context = site.context.map(|context| ["--kube-context".to_owned(), context.to_owned()]);
    let words = ["spec", "apply", "--specdir", specs].map(str::to_owned);
    step("fission", words.into_iter().chain(context.into_iter().flatten()), install)
}

fn kubectl(site: &Site<'_>, file: &str) -> Step {
    let context = site.context.map(|context| ["--context".to_owned(), context.to_owned()]);
    let words = ["apply", "-f", file].map(str::to_owned);
    step("kubectl", context.into_iter().flatten().chain(words), INSTALL_KUBECTL)
}

/// `nuctl` has no option for a context: it takes the current one.
fn nuclio(
    plan: &Plan<'_>,
    sites: &[(&Site<'_>, Vec<&Place<'_>>)],
    dir: &str,
) -> Result<Vec<Step>, Refused> {
    let contexts: BTreeSet<&str> = sites.iter().filter_map(|(site, _)| site.context).collect();
    if 1 < contexts.len() {
        let contexts: Vec<&str> = contexts.into_iter().collect();
        let problem = format!(
            "tiers name the contexts {}, expected one: nuctl takes the current one, so choose it with `kubectl config \
             use-context`, and its tiers with `--tier`",
            contexts.join(" and ")
        );
        return Err(Refused { problems: vec![problem] });
    }
    let install = "nuctl: https://docs.nuclio.io/en/stable/reference/nuctl/nuctl.html";
    let mut steps = Vec::new();
    for (site, places) in sites {
        for place in places {
            let functions = plan.functions(place, str::to_owned).into_iter();
            let mut names: Vec<(String, bool)> =
                functions.map(|function| (function.name, true)).collect();
            if plan.has_platform_trigger() {
                names.push((format!("{}-trigger", place.name), false));
            }
            for (name, has_image) in names {
                let file = format!("{dir}/{}{name}.yaml", site.folder);
                let words = [
                    "deploy",
                    &name,
                    "--platform",
                    "kube",
                    "--namespace",
                    &place.namespace,
                    "--file",
                    &file,
                ];
                let image = has_image.then(|| ["--run-image".to_owned(), place.image.clone()]);
                let words = words.map(str::to_owned).into_iter().chain(image.into_iter().flatten());
                steps.push(step("nuctl", words, install));
            }
        }
    }
    Ok(steps)
}

fn units(plan: &Plan<'_>, sites: &[(&Site<'_>, Vec<&Place<'_>>)], dir: &str) -> Vec<Step> {
    let home = systemd::home(plan);
    let mut names = Vec::new();
    if plan.pipeline.broker.is_some() {
        names.push(format!("{home}/offramp-{}-broker.service", plan.name));
    }
    let places = sites.iter().flat_map(|(_, places)| places);
    names.extend(places.map(|place| format!("{home}/offramp-{}.service", place.name)));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        step("mkdir", words(&["-p", &home]), ""),
        step("cp", words(&["-R", &format!("{dir}/."), &home]), ""),
        step(
            "systemctl",
            ["enable".to_owned(), "--now".to_owned()].into_iter().chain(names),
            "systemd",
        ),
    ]
}

/// The commands that make the image and take it to where the platform finds it; none where nothing is built.
pub fn image_steps(pipeline: &Pipeline, options: Options, dir: &str) -> Result<Vec<Step>, Refused> {
    let plan = Plan::of(pipeline, options)?;
    let no_image = matches!(options.platform, Platform::Systemd | Platform::Compose)
        || options.executor == Executor::Environment
        || image::files(&plan).is_empty();
    if no_image {
        return Ok(Vec::new());
    }
    let images: BTreeSet<&str> = plan.places().map(|place| place.image.as_str()).collect();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let steps = images.into_iter().flat_map(|image| {
        let platforms = platforms(&plan, image);
        if platforms.is_empty() {
            let build = step("docker", words(&["build", "--tag", image, dir]), INSTALL_DOCKER);
            return vec![build, step("docker", words(&["push", image]), INSTALL_DOCKER)];
        }
        let platforms = platforms.join(",");
        let build = ["buildx", "build", "--platform", &platforms, "--tag", image, "--push", dir];
        vec![step("docker", words(&build), INSTALL_DOCKER)]
    });
    Ok(steps.collect())
}

/// What an image is built for: what its tiers name, or everything where one of them runs anywhere; nothing where none of
/// them says.
fn platforms(plan: &Plan<'_>, image: &str) -> Vec<String> {
    let of_image = || plan.places().filter(|place| place.image == image);
    let named = |one| of_image().any(|place| place.tier.deploy.architecture == Some(one));
    let anywhere = of_image().any(|place| place.tier.deploy.architecture.is_none());
    if !Architecture::ALL.into_iter().any(named) {
        return Vec::new();
    }
    let wanted = Architecture::ALL.into_iter().filter(|one| anywhere || named(*one));
    wanted.map(|one| format!("linux/{}", one.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("kafka://a:9092,b:9092/x"), "kafka://a:9092,b:9092/x");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
