//! How many instances there are, and having another number of them: two platforms that can be asked.
//!
//! | | reads | sets |
//! |---|---|---|
//! | a gateway | `GET /system/function/NAME[?namespace=NS]`: `replicas`, `availableReplicas` | `POST /system/scale-function/NAME[?namespace=NS]` `{"serviceName", "replicas"}` |
//! | Kubernetes | `GET /apis/apps/v1/namespaces/NS/deployments/NAME`: `spec.replicas`, `status.readyReplicas` | `PATCH …/NAME/scale` `{"spec": {"replicas"}}`, as a merge patch |
//!
//! The Deployment's scale has no count of ready instances, and the Deployment has both, so that it is the only one that
//! is read. The account needs `get` of `deployments` and `patch` of `deployments/scale` in the group `apps`.

use serde::Deserialize;
use serde_json::json;

use super::http::{Client, HttpError, Question};
use super::target::Place;

/// How many instances there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    /// Ready or starting.
    pub(super) instances: u32,
    /// Those that take records.
    pub(super) ready: u32,
}

/// Something that has instances.
#[derive(Debug)]
pub(super) enum Platform {
    /// A function behind a gateway.
    Gateway { client: Client, name: String, namespace: Option<String> },
    /// A Deployment at its cluster's API server.
    Kubernetes { client: Client, path: String },
}

/// A function as a gateway shows it. Numbers that are 0 are left out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionStatus {
    #[serde(default)]
    replicas: u32,
    #[serde(default)]
    available_replicas: u32,
}

#[derive(Debug, Deserialize)]
struct Deployment {
    spec: DeploymentSpec,
    #[serde(default)]
    status: DeploymentStatus,
}

#[derive(Debug, Deserialize)]
struct DeploymentSpec {
    /// The API server writes its default, and so does this.
    #[serde(default = "one")]
    replicas: u32,
}

/// A number that is 0 is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentStatus {
    #[serde(default)]
    ready_replicas: u32,
}

fn one() -> u32 {
    1
}

impl Platform {
    /// Makes ready to ask; nothing is asked yet.
    pub(super) fn new(place: &Place) -> Result<Self, HttpError> {
        Ok(match place {
            Place::Function { server, name, namespace } => Self::Gateway {
                client: Client::new(server.clone())?,
                name: name.clone(),
                namespace: namespace.clone(),
            },
            Place::Deployment { server, namespace, name } => Self::Kubernetes {
                client: Client::new(server.clone())?,
                path: format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
            },
        })
    }

    /// How many instances there are at present.
    pub(super) async fn scale(&self) -> Result<Scale, HttpError> {
        match self {
            Self::Gateway { client, name, namespace } => {
                let path = at_gateway("function", name, namespace.as_deref());
                let status: FunctionStatus = client.json(Question::get(path)).await?;
                Ok(Scale { instances: status.replicas, ready: status.available_replicas })
            }
            Self::Kubernetes { client, path } => {
                let Deployment { spec, status } = client.json(Question::get(path.clone())).await?;
                Ok(Scale { instances: spec.replicas, ready: status.ready_replicas })
            }
        }
    }

    /// Asks for another number of instances.
    pub(super) async fn set(&self, instances: u32) -> Result<(), HttpError> {
        let (client, question) = match self {
            Self::Gateway { client, name, namespace } => {
                let mut body = json!({ "serviceName": name, "replicas": instances });
                if let Some(namespace) = namespace {
                    body["namespace"] = json!(namespace);
                }
                let path = at_gateway("scale-function", name, namespace.as_deref());
                let content_type = "application/json";
                (client, Question { method: "POST", path, content_type, body: body.to_string() })
            }
            Self::Kubernetes { client, path } => {
                let body = json!({ "spec": { "replicas": instances } });
                let path = format!("{path}/scale");
                let content_type = "application/merge-patch+json";
                (client, Question { method: "PATCH", path, content_type, body: body.to_string() })
            }
        };
        client.ask(question).await.map(drop)
    }
}

fn at_gateway(route: &str, name: &str, namespace: Option<&str>) -> String {
    let query = namespace.map(|namespace| format!("?namespace={namespace}")).unwrap_or_default();
    format!("/system/{route}/{name}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_left_out_are_the_defaults_of_the_api() {
        let status: FunctionStatus = serde_json::from_str(r#"{"name":"edge"}"#).unwrap();
        assert_eq!((status.replicas, status.available_replicas), (0, 0));
        let text = r#"{"kind":"Deployment","spec":{},"status":{"observedGeneration":4}}"#;
        let Deployment { spec, status } = serde_json::from_str(text).unwrap();
        assert_eq!((spec.replicas, status.ready_replicas), (1, 0));
    }
}
