//! What is asked for when a function is deployed, as JSON: the `FunctionDeployment` of the provider's API that
//! `faas-cli` speaks (faas-provider, `types`), and what is written down to deploy it again after a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The namespace of functions that name none: the gateways' own, which `faas-cli invoke` asks for by name.
pub const DEFAULT_NAMESPACE: &str = "openfaas-fn";

/// A function as it is asked for. What is not there, or null, is empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Name of the function.
    #[serde(deserialize_with = "or_default", default)]
    pub service: String,
    /// What it runs: a built-in function, or a program.
    #[serde(deserialize_with = "or_default", default)]
    pub image: String,
    /// Its namespace.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Command line of the program, instead of its name alone.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "String::is_empty")]
    pub env_process: String,
    /// Environment variables.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars: BTreeMap<String, String>,
    /// Where it may run; kept, and without effect on a single node.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// Names of secrets that it may read.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Labels; those for scaling have an effect.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations; `topic` has an effect.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What an instance may take.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "Resources::is_empty")]
    pub limits: Resources,
    /// What an instance is to have; kept, and without effect on a single node.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "Resources::is_empty")]
    pub requests: Resources,
    /// Kept, and without effect: a function shares this machine's files.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root_filesystem: bool,
}

/// Amounts as Kubernetes writes them: `128Mi` of memory, `500m` of a core.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Memory.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "String::is_empty")]
    pub memory: String,
    /// Processor time per time.
    #[serde(deserialize_with = "or_default", default, skip_serializing_if = "String::is_empty")]
    pub cpu: String,
}

impl Deployment {
    /// What the function is called on this node: see [`key`].
    pub fn key(&self) -> String {
        key(&self.service, &self.namespace)
    }

    /// Its namespace, the default one where it names none.
    pub fn namespace(&self) -> &str {
        if self.namespace.is_empty() { DEFAULT_NAMESPACE } else { &self.namespace }
    }
}

/// What a function is called on this node: its name in the default namespace, `name.namespace` in another. Neither has
/// a dot in it, so that no two functions are called the same.
pub fn key(name: &str, namespace: &str) -> String {
    match namespace {
        "" | DEFAULT_NAMESPACE => name.to_owned(),
        _ => format!("{name}.{namespace}"),
    }
}

impl Resources {
    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.cpu.is_empty()
    }
}

/// Go writes null for what it has none of.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_called_by_its_namespace_unless_that_is_the_default() {
        let keys = ["", DEFAULT_NAMESPACE, "team"].map(|namespace| key("echo", namespace));
        assert_eq!(keys, ["echo", "echo", "echo.team"]);
    }

    #[test]
    fn what_is_null_or_not_there_is_empty() {
        let text = r#"{"service": "echo", "image": "echo", "labels": null, "limits": {"memory": "64Mi"},
                       "secrets": ["key"], "envProcess": null, "unknown": 1}"#;
        let deployment: Deployment = serde_json::from_str(text).unwrap();
        let expected = Deployment {
            service: "echo".into(),
            image: "echo".into(),
            secrets: vec!["key".into()],
            limits: Resources { memory: "64Mi".into(), cpu: String::new() },
            ..Deployment::default()
        };
        assert_eq!(deployment, expected);
        let written = serde_json::to_string(&deployment).unwrap();
        assert_eq!(
            written,
            r#"{"service":"echo","image":"echo","secrets":["key"],"limits":{"memory":"64Mi"}}"#
        );
    }
}
