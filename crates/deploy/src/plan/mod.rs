//! What has to run where, before any platform has its say: tiers at their sites, and the functions of each.
//!
//! Names are the pipeline's and the tier's, as a label of Kubernetes: `mnist-edge`, `mnist-edge-connector`,
//! `mnist-edge-exit`, `mnist-edge-forward`.

mod check;
mod functions;
mod toml;

use std::collections::BTreeMap;

use pipeline::{Pipeline, Scale, Servers, Tier, Topic};

use crate::Refused;
use crate::options::{Options, Platform, Trigger};

pub(crate) use functions::{Function, Role};
pub(crate) use toml::pipeline_file;

/// The version of the program, which is the image's.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where the image has its sub-models, each as `TIER.onnx`.
pub(crate) const MODELS: &str = "/models";
/// Whom the image's process runs as.
pub(crate) const USER: u32 = 65_532;
/// Records in flight are finished and offsets committed within 20 s; 10 s more for functions, and a reserve.
pub(crate) const STOP_TIMEOUT_S: u32 = 45;
/// Not a port that any of the platforms has taken.
pub(crate) const METRICS_PORT: u16 = 9100;

/// All that has to run.
#[derive(Debug)]
pub(crate) struct Plan<'p> {
    pub(crate) pipeline: &'p Pipeline,
    pub(crate) options: Options,
    /// The pipeline's name, as a label.
    pub(crate) name: String,
    pub(crate) sites: Vec<Site<'p>>,
    /// What the embedded broker is called where the platform brings one.
    embedded: String,
}

/// Tiers that are deployed with the same commands, because they share a cluster and a gateway.
#[derive(Debug)]
pub(crate) struct Site<'p> {
    /// Where its files are: empty, or `edge/`.
    pub(crate) folder: String,
    pub(crate) context: Option<&'p str>,
    pub(crate) gateway: Option<&'p str>,
    pub(crate) places: Vec<Place<'p>>,
}

/// A tier, and what is decided of it.
#[derive(Debug)]
pub(crate) struct Place<'p> {
    pub(crate) tier: &'p Tier,
    pub(crate) next: Option<&'p Tier>,
    /// `mnist-edge`.
    pub(crate) name: String,
    /// The tier's name, as a label.
    pub(crate) label: String,
    pub(crate) namespace: String,
    pub(crate) image: String,
    pub(crate) replicas: Scale,
    /// Instances of the sub-model in each replica.
    pub(crate) instances: Scale,
}

impl<'p> Plan<'p> {
    pub(crate) fn of(pipeline: &'p Pipeline, options: Options) -> Result<Self, Refused> {
        check::check(pipeline, options)?;
        let name = label(&pipeline.name);
        let mut sites: Vec<Site<'p>> = Vec::new();
        for tier in &pipeline.tiers {
            let (context, gateway) =
                (tier.deploy.context.as_deref(), tier.deploy.gateway.as_deref());
            let place = place(pipeline, options.platform, &name, tier);
            let shares = |site: &&mut Site<'_>| (site.context, site.gateway) == (context, gateway);
            match sites.iter_mut().find(shares) {
                Some(site) => site.places.push(place),
                None => sites.push(Site {
                    folder: String::new(),
                    context,
                    gateway,
                    places: vec![place],
                }),
            }
        }
        if 1 < sites.len() {
            for site in &mut sites {
                let labels: Vec<&str> =
                    site.places.iter().map(|place| place.label.as_str()).collect();
                site.folder = format!("{}/", labels.join("-"));
            }
        }
        let embedded = match (options.platform, &pipeline.broker) {
            (Platform::Compose, _) | (_, None) => "broker:9092".to_owned(),
            (_, Some(broker)) => broker.listen.to_string(),
        };
        Ok(Self { pipeline, options, name, sites, embedded })
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Place<'p>> {
        self.sites.iter().flat_map(|site| &site.places)
    }

    /// Addresses of a broker, without spaces.
    pub(crate) fn servers(&self, servers: &Servers) -> String {
        match servers {
            Servers::Embedded => self.embedded.clone(),
            Servers::Bootstrap(servers) => {
                servers.split(',').map(str::trim).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// A topic as a destination that functions write to by themselves.
    pub(crate) fn kafka_url(&self, topic: &Topic) -> String {
        format!("kafka://{}/{}", self.servers(&topic.servers), topic.name)
    }

    /// What is otherwise than the pipeline file may have one think, on any platform.
    pub(crate) fn notes(&self) -> Vec<String> {
        check::notes(self.pipeline, self.options.platform)
    }

    pub(crate) fn has_platform_trigger(&self) -> bool {
        self.options.trigger == Trigger::Platform
    }

    /// What tells a function where it runs.
    pub(crate) fn platform_env(platform: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("OFFRAMP_PLATFORM".to_owned(), platform.to_owned())])
    }
}

impl Place<'_> {
    /// Where the function finds its sub-model.
    pub(crate) fn model(&self) -> String {
        self.tier.deploy.model.clone().unwrap_or_else(|| format!("{MODELS}/{}.onnx", self.label))
    }

    /// Memory and processor time as Kubernetes writes them: what is promised, and what may be taken.
    pub(crate) fn quantities(&self) -> [BTreeMap<String, String>; 2] {
        let deploy = &self.tier.deploy;
        [deploy.requests, deploy.limits].map(|resources| {
            let memory = resources.memory_mib.map(|mib| ("memory".to_owned(), format!("{mib}Mi")));
            let cpu = resources.cpu_millis.map(|millis| ("cpu".to_owned(), format!("{millis}m")));
            cpu.into_iter().chain(memory).collect()
        })
    }

    /// The label of nodes that it may run on.
    pub(crate) fn node_selector(&self) -> BTreeMap<String, String> {
        let architecture = self.tier.deploy.architecture.iter();
        architecture.map(|one| ("kubernetes.io/arch".to_owned(), one.name().to_owned())).collect()
    }

    /// How long a call may take, in seconds.
    pub(crate) fn timeout_s(&self) -> u32 {
        self.tier.deploy.timeout.as_secs() as u32
    }
}

fn place<'p>(
    pipeline: &'p Pipeline,
    platform: Platform,
    prefix: &str,
    tier: &'p Tier,
) -> Place<'p> {
    let deploy = &tier.deploy;
    let label = label(&tier.name);
    let namespace = deploy.namespace.as_ref().or(pipeline.deploy.namespace.as_ref());
    let image = deploy.image.as_ref().or(pipeline.deploy.image.as_ref());
    let one = Scale { min: 1, max: 1 };
    let (replicas, instances) = match deploy.replicas {
        Some(replicas) => (replicas, tier.scale),
        None if platform.is_cluster() => (within_partitions(tier), one),
        None => (one, tier.scale),
    };
    Place {
        tier,
        next: pipeline.next_of(tier),
        name: format!("{prefix}-{label}"),
        label,
        namespace: namespace.cloned().unwrap_or_else(|| default_namespace(platform).to_owned()),
        image: image.cloned().unwrap_or_else(|| format!("{prefix}:{VERSION}")),
        replicas,
        instances,
    }
}

fn within_partitions(tier: &Tier) -> Scale {
    let partitions = tier.deploy.partitions.map_or(usize::MAX, |partitions| partitions as usize);
    Scale { min: tier.scale.min.min(partitions), max: tier.scale.max.min(partitions) }
}

/// Where each platform's own chart has functions.
const fn default_namespace(platform: Platform) -> &'static str {
    match platform {
        Platform::OpenFaas => crate::openfaas::NAMESPACE,
        Platform::OpenWhisk => "guest",
        Platform::Nuclio => "nuclio",
        _ => "default",
    }
}

/// A name as a label of Kubernetes: small letters, digits and `-`, the first a letter.
pub(crate) fn label(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = name.chars().map(legal).collect();
    let label = label.trim_matches('-');
    if label.starts_with(|first: char| first.is_ascii_lowercase()) {
        label.to_owned()
    } else {
        format!("p-{label}").trim_end_matches('-').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        assert_eq!(label("MNIST_conv.2"), "mnist-conv-2");
        assert_eq!(label("2024"), "p-2024");
        assert_eq!(label("_"), "p");
    }
}
