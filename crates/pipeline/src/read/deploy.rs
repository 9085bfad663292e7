//! `[deploy]`, and the `[tier.deploy]` of a tier.

use std::time::Duration;

use tables::Table;

use crate::Scale;
use crate::deploy::{DEFAULT_CALL_TIMEOUT, Deploy, Resources, TierDeploy};

const IMAGE: &str = "an image's name, as \"registry.example/mnist:1.0\"";
const NAMESPACE: &str = "a namespace: small letters, digits and `-`, at most 63 long";
const CONTEXT: &str = "a context, as `kubectl config get-contexts` lists them";
const GATEWAY: &str = "a URL, as \"http://127.0.0.1:8080\"";
const MODEL: &str = "a URL with its file's checksum, as \"https://host/edge.onnx#sha256=…\"";
const RESOURCES: &str = "a table as { memory_mib = 128, cpu_millis = 500 }";
/// The longest that a platform lets a call take: an hour.
const MAX_TIMEOUT_S: u64 = 3600;

/// What all tiers share.
pub(super) fn shared(root: &Table<'_, '_>) -> Deploy {
    let Some(table) = root.table("deploy", "a [deploy] table") else { return Deploy::default() };
    let deploy = Deploy {
        image: image(&table, "image"),
        base_image: image(&table, "base_image"),
        namespace: namespace(&table),
        funnels: table.parsed("funnels", "\"direct\" or \"functions\"").unwrap_or_default(),
    };
    table.finish();
    deploy
}

/// A tier's own.
pub(super) fn of_tier(table: &Table<'_, '_>) -> TierDeploy {
    let Some(table) = table.table("deploy", "a [tier.deploy] table") else {
        return TierDeploy::default();
    };
    let timeout = table.whole("timeout_s", 1..=MAX_TIMEOUT_S).map(Duration::from_secs);
    let deploy = TierDeploy {
        context: table.text("context", CONTEXT).map(str::to_owned),
        gateway: url(&table, "gateway"),
        internal_gateway: url(&table, "internal_gateway"),
        namespace: namespace(&table),
        image: image(&table, "image"),
        model: model(&table),
        architecture: table.parsed("architecture", "\"amd64\" or \"arm64\""),
        requests: resources(&table, "requests"),
        limits: resources(&table, "limits"),
        replicas: replicas(&table),
        partitions: table.whole("partitions", 1..=100_000).map(|partitions| partitions as u32),
        timeout: timeout.unwrap_or(DEFAULT_CALL_TIMEOUT),
    };
    fits(&table, &deploy);
    table.finish();
    deploy
}

fn image(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let image = table.text(key, IMAGE)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if !image.chars().all(legal) || image.starts_with(['/', ':', '-']) {
        table.problem(key, format!("is \"{image}\", expected {IMAGE}"));
        return None;
    }
    Some(image.to_owned())
}

fn namespace(table: &Table<'_, '_>) -> Option<String> {
    let namespace = table.text("namespace", NAMESPACE)?;
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let is_one = namespace.len() <= 63
        && namespace.bytes().all(legal)
        && !namespace.starts_with('-')
        && !namespace.ends_with('-');
    if !is_one {
        table.problem("namespace", format!("is \"{namespace}\", expected {NAMESPACE}"));
        return None;
    }
    Some(namespace.to_owned())
}

fn url(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let url = table.text(key, GATEWAY)?;
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if !host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace)) {
        table.problem(key, format!("is \"{url}\", expected {GATEWAY}"));
        return None;
    }
    Some(url.trim_end_matches('/').to_owned())
}

/// Whoever fetches a file that another one keeps has to know that it is the file that was meant.
fn model(table: &Table<'_, '_>) -> Option<String> {
    let model = table.text("model", MODEL)?;
    let is_one = model.split_once("#sha256=").is_some_and(|(url, sum)| {
        let is_url = url.starts_with("https://") || url.starts_with("http://");
        is_url && sum.len() == 64 && sum.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    if !is_one {
        table.problem("model", format!("is \"{model}\", expected {MODEL}, of 64 digits"));
        return None;
    }
    Some(model.to_owned())
}

fn resources(table: &Table<'_, '_>, key: &'static str) -> Resources {
    let Some(table) = table.table(key, RESOURCES) else { return Resources::default() };
    let resources = Resources {
        memory_mib: table.whole("memory_mib", 1..=1 << 20),
        cpu_millis: table.whole("cpu_millis", 1..=1_000_000),
    };
    table.finish();
    resources
}

fn replicas(table: &Table<'_, '_>) -> Option<Scale> {
    let table = table.table("replicas", "a table as { min = 1, max = 3 }")?;
    let (min, max) = (table.whole("min", 0..=1000), table.whole("max", 1..=1000));
    let scale = Scale {
        min: min.unwrap_or(1.min(max.unwrap_or(1))) as usize,
        max: max.unwrap_or(1.max(min.unwrap_or(1))) as usize,
    };
    if scale.max < scale.min {
        table.problem("min", format!("is {}, expected at most `max`, {}", scale.min, scale.max));
    }
    table.finish();
    Some(scale)
}

fn fits(table: &Table<'_, '_>, deploy: &TierDeploy) {
    if let (Some(replicas), Some(partitions)) = (deploy.replicas, deploy.partitions)
        && (partitions as usize) < replicas.max
    {
        let text = format!(
            "has `max` = {}, expected at most `partitions`, {partitions}: further replicas get none of them",
            replicas.max
        );
        table.problem("replicas", text);
    }
    let pairs = [
        ("memory_mib", deploy.requests.memory_mib, deploy.limits.memory_mib),
        ("cpu_millis", deploy.requests.cpu_millis, deploy.limits.cpu_millis),
    ];
    for (key, request, limit) in pairs {
        if let (Some(request), Some(limit)) = (request, limit)
            && limit < request
        {
            let text =
                format!("has `{key}` = {request}, expected at most that of `limits`, {limit}");
            table.problem("requests", text);
        }
    }
}
