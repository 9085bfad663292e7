//! A document of a file: what it is, and whether its platform knows all of its keys.

use serde::de::DeserializeOwned;

use super::{At, Findings, Source};
use crate::compose::ComposeFile;
use crate::fission::types as of_fission;
use crate::knative::{KafkaSink, KafkaSource, KnativeService};
use crate::kubernetes::known;
use crate::kubernetes::types as of_kubernetes;
use crate::nuclio::NuclioFunction;
use crate::openfaas::{StackFile, TemplateFile};
use crate::openwhisk::WhiskManifest;
use crate::yaml::{self, Misfit, MisfitKind, Node, Texts, fit};

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stack,
    Template,
    WhiskManifest,
    Compose,
    FissionConfig,
    ArchiveUpload,
    Environment,
    Package,
    FissionFunction,
    HttpTrigger,
    MessageQueueTrigger,
    KnativeService,
    KafkaSource,
    KafkaSink,
    NuclioFunction,
    ScaledObject,
    Deployment,
    Service,
    ServiceAccount,
    ConfigMap,
    DisruptionBudget,
    NetworkPolicy,
    /// An object of Kubernetes for which there are no rules here.
    Other,
}

/// A document of a file.
#[derive(Debug)]
pub(super) struct Document<'s> {
    pub(super) file: &'s str,
    pub(super) kind: Kind,
    pub(super) root: Node,
}

impl Document<'_> {
    /// Where a key stands, by its path; its table's place where it is not there.
    pub(super) fn at(&self, path: &str) -> At<'_> {
        let mut line = self.root.line;
        let mut node = Some(&self.root);
        for name in path.split('.') {
            if let Some(inside) = node {
                line = inside.key_line(name);
                node = inside.get(name);
            }
        }
        At { file: self.file, line, key: path.to_owned() }
    }

    /// Where a node stands, which is found otherwise than by a path.
    pub(super) fn of(&self, node: &Node, key: impl Into<String>) -> At<'_> {
        At { file: self.file, line: node.line, key: key.into() }
    }

    /// Where a key of a table stands.
    pub(super) fn of_key(&self, table: &Node, name: &str, path: &str) -> At<'_> {
        At { file: self.file, line: table.key_line(name), key: format!("{path}.{name}") }
    }

    /// `metadata.name`.
    pub(super) fn name(&self) -> Option<&str> {
        self.root.at("metadata.name").and_then(Node::text)
    }
}

/// The documents of a kind.
pub(super) fn all<'d, 's>(
    documents: &'d [Document<'s>],
    kind: Kind,
) -> impl Iterator<Item = &'d Document<'s>> + Clone {
    documents.iter().filter(move |document| document.kind == kind)
}

pub(super) fn read<'s>(source: &'s Source, findings: &mut Findings<'_>) -> Vec<Document<'s>> {
    let file = source.name.as_str();
    let nodes = match yaml::read(&source.text) {
        Ok(nodes) => nodes,
        Err(broken) => {
            let at = At { file, line: broken.line, key: "YAML".to_owned() };
            findings.error(at, format!("broken: {}", broken.reason), "a document", "");
            return Vec::new();
        }
    };
    let documents = nodes.into_iter().filter_map(|root| {
        let kind = kind_of(&root);
        if kind.is_none() {
            let at = At { file, line: root.line, key: "document".to_owned() };
            let expected = "a stack.yaml with `provider`, a manifest with `packages`, a compose file with `services`, or \
                            an object with `apiVersion` and `kind`";
            findings.error(at, "none that is known", expected, "");
        }
        Some(Document { file, kind: kind?, root })
    });
    documents.collect()
}

fn kind_of(root: &Node) -> Option<Kind> {
    let text = |key| root.get(key).and_then(Node::text);
    match (text("apiVersion"), text("kind")) {
        (None, Some("ArchiveUploadSpec")) => return Some(Kind::ArchiveUpload),
        (Some(version), Some(kind)) => return Some(of_object(version, kind)),
        _ => {}
    }
    let has = |key| root.get(key).is_some();
    if has("provider") || has("functions") {
        Some(Kind::Stack)
    } else if has("language") {
        Some(Kind::Template)
    } else if has("packages") || has("project") {
        Some(Kind::WhiskManifest)
    } else if has("services") {
        Some(Kind::Compose)
    } else {
        None
    }
}

fn of_object(version: &str, kind: &str) -> Kind {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("fission.io", "DeploymentConfig") => Kind::FissionConfig,
        ("fission.io", "ArchiveUploadSpec") => Kind::ArchiveUpload,
        ("fission.io", "Environment") => Kind::Environment,
        ("fission.io", "Package") => Kind::Package,
        ("fission.io", "Function") => Kind::FissionFunction,
        ("fission.io", "HTTPTrigger") => Kind::HttpTrigger,
        ("fission.io", "MessageQueueTrigger") => Kind::MessageQueueTrigger,
        ("serving.knative.dev", "Service") => Kind::KnativeService,
        ("sources.knative.dev", "KafkaSource") => Kind::KafkaSource,
        ("eventing.knative.dev", "KafkaSink") => Kind::KafkaSink,
        ("nuclio.io", "NuclioFunction" | "Function") => Kind::NuclioFunction,
        ("keda.sh", "ScaledObject") => Kind::ScaledObject,
        ("apps", "Deployment") => Kind::Deployment,
        ("", "Service") => Kind::Service,
        ("", "ServiceAccount") => Kind::ServiceAccount,
        ("", "ConfigMap") => Kind::ConfigMap,
        ("policy", "PodDisruptionBudget") => Kind::DisruptionBudget,
        ("networking.k8s.io", "NetworkPolicy") => Kind::NetworkPolicy,
        _ => Kind::Other,
    }
}

/// Notes keys that the platform does not know, and values of the wrong type.
pub(super) fn keys(document: &Document<'_>, findings: &mut Findings<'_>) {
    let strict = "the API server refuses it, or drops it without a word";
    let (misfits, why) = match document.kind {
        Kind::Stack => {
            let why = "faas-cli passes over what it does not know, so that nothing of it applies";
            (misfits::<StackFile>(document, Texts::AnyScalar), why)
        }
        Kind::Template => {
            let why = "faas-cli passes over what it does not know";
            (misfits::<TemplateFile>(document, Texts::AnyScalar), why)
        }
        Kind::WhiskManifest => (
            misfits::<WhiskManifest>(document, Texts::AnyScalar),
            "wskdeploy passes over what it does not know",
        ),
        Kind::Compose => {
            (misfits::<ComposeFile>(document, Texts::AnyScalar), "docker compose refuses it")
        }
        Kind::FissionConfig => {
            (misfits::<of_fission::DeploymentConfig>(document, Texts::Quoted), strict)
        }
        Kind::ArchiveUpload => {
            let why = "the fission CLI passes over what it does not know";
            (misfits::<of_fission::ArchiveUploadSpec>(document, Texts::Quoted), why)
        }
        Kind::Environment => (misfits::<of_fission::Environment>(document, Texts::Quoted), strict),
        Kind::Package => (misfits::<of_fission::Package>(document, Texts::Quoted), strict),
        Kind::FissionFunction => {
            (misfits::<of_fission::FissionFunction>(document, Texts::Quoted), strict)
        }
        Kind::HttpTrigger => (misfits::<of_fission::HttpTrigger>(document, Texts::Quoted), strict),
        Kind::MessageQueueTrigger => {
            (misfits::<of_fission::MessageQueueTrigger>(document, Texts::Quoted), strict)
        }
        Kind::KnativeService => (misfits::<KnativeService>(document, Texts::Quoted), strict),
        Kind::KafkaSource => (misfits::<KafkaSource>(document, Texts::Quoted), strict),
        Kind::KafkaSink => (misfits::<KafkaSink>(document, Texts::Quoted), strict),
        Kind::NuclioFunction => (
            misfits::<NuclioFunction>(document, Texts::AnyScalar),
            "nuctl passes over what it does not know",
        ),
        Kind::ScaledObject => {
            (misfits::<of_kubernetes::ScaledObject>(document, Texts::Quoted), strict)
        }
        Kind::Deployment => (misfits::<of_kubernetes::Deployment>(document, Texts::Quoted), strict),
        Kind::Service => (misfits::<of_kubernetes::Service>(document, Texts::Quoted), strict),
        Kind::ServiceAccount => {
            (misfits::<of_kubernetes::ServiceAccount>(document, Texts::Quoted), strict)
        }
        Kind::ConfigMap => (misfits::<of_kubernetes::ConfigMap>(document, Texts::Quoted), strict),
        Kind::DisruptionBudget => {
            (misfits::<of_kubernetes::PodDisruptionBudget>(document, Texts::Quoted), strict)
        }
        Kind::NetworkPolicy => {
            (misfits::<of_kubernetes::NetworkPolicy>(document, Texts::Quoted), strict)
        }
        Kind::Other => (Vec::new(), ""),
    };
    for Misfit { line, key, found, expected, kind } in misfits {
        let why = if kind == MisfitKind::UnknownKey { why } else { "" };
        findings.error(At { file: document.file, line, key }, found, expected, why);
    }
}

fn misfits<T: DeserializeOwned>(document: &Document<'_>, texts: Texts) -> Vec<Misfit> {
    fit::<T>(&document.root, texts, known::also).1
}
