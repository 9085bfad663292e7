//! Talking to a node's gateway.

use std::io::BufRead as _;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::Response;

/// Longest answer that is read whole.
const MAX_ANSWER_BYTES: u64 = 16 << 20;
/// A gateway that does not answer within this has something wrong with it; a reload loads sub-models.
const TIMEOUT: Duration = Duration::from_mins(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the node is, and who asks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct GatewayArgs {
    /// URL of the node's gateway: that of the `[gateway]` table of its pipeline file.
    #[arg(
        short,
        long,
        env = "OFFRAMP_GATEWAY",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    gateway: String,
    /// User, where the gateway asks for one.
    #[arg(short, long, env = "OFFRAMP_GATEWAY_USER", requires = "password_file")]
    user: Option<String>,
    /// File with the user's password.
    #[arg(long, env = "OFFRAMP_GATEWAY_PASSWORD_FILE", requires = "user", value_name = "FILE")]
    password_file: Option<std::path::PathBuf>,
}

/// One for the process: its connections are kept.
fn agent() -> &'static ureq::Agent {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        config.timeout_connect(Some(CONNECT_TIMEOUT)).build().into()
    })
}

impl GatewayArgs {
    /// A gateway that asks for no user.
    pub(crate) fn at(url: String) -> Self {
        Self { gateway: url, user: None, password_file: None }
    }

    /// Gets what is at a path, as JSON.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let response = self.ask("GET", path, None, Some(TIMEOUT))?;
        self.json(path, response)
    }

    /// Posts a body to a path, and gets JSON.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> anyhow::Result<T> {
        let response = self.ask("POST", path, Some(body), Some(TIMEOUT))?;
        self.json(path, response)
    }

    /// Posts a body to a path.
    pub(crate) fn send(&self, path: &str, body: &str) -> anyhow::Result<()> {
        let mut response = self.ask("POST", path, Some(body), Some(TIMEOUT))?;
        // Read to its end, so that the connection is kept.
        response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        Ok(())
    }

    /// Gets the lines at a path as they come, until there are no more or `each` has had enough.
    pub(crate) fn lines(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let response = self.ask("GET", path, None, None)?;
        let lines = std::io::BufReader::new(response.into_body().into_reader()).lines();
        for line in lines {
            each(&line.with_context(|| format!("{} broke off", self.gateway))?)?;
        }
        Ok(())
    }

    fn json<T: DeserializeOwned>(&self, path: &str, response: Response<Body>) -> anyhow::Result<T> {
        let mut body = response.into_body();
        let text = body.with_config().limit(MAX_ANSWER_BYTES).read_to_string()?;
        serde_json::from_str(&text).with_context(|| {
            format!("{}{path} is no answer of this program's gateway", self.gateway)
        })
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        timeout: Option<Duration>,
    ) -> anyhow::Result<Response<Body>> {
        let url = format!("{}{path}", self.gateway.trim_end_matches('/'));
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let (Some(user), Some(file)) = (&self.user, &self.password_file) {
            let password = std::fs::read_to_string(file)
                .with_context(|| format!("password file `{}`", file.display()))?;
            let both = format!("{user}:{}", password.trim_end_matches(['\r', '\n']));
            request = request.header("Authorization", format!("Basic {}", BASE64.encode(both)));
        }
        let request = request.body(body.unwrap_or_default().to_owned());
        let request = request.with_context(|| format!("`{url}` is not a URL"))?;
        let agent = agent();
        let request = agent.configure_request(request).timeout_global(timeout).build();
        let mut response = agent.run(request).map_err(|error| match error {
            ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => {
                anyhow::anyhow!(
                    "no gateway at {}: {error}; expected `offramp up` with a [gateway] table in its file",
                    self.gateway
                )
            }
            error => anyhow::anyhow!("{url}: {error}"),
        })?;
        if !response.status().is_success() {
            let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
            bail!("{url} answered {}: {}", response.status(), text.unwrap_or_default().trim());
        }
        Ok(response)
    }
}
