//! From the text of a pipeline file to a [`Pipeline`].

mod deploy;
mod functions;
mod uplink;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tables::{Invalid, Table};
use wire::Encoding;

use crate::{
    DEFAULT_IN_FLIGHT, DEFAULT_LINGER, DEFAULT_LISTEN, DEFAULT_LOG_DIR, DEFAULT_MAX_BATCH,
    DEFAULT_SCALE, EmbeddedBroker, ExitSettings, Pipeline, Retry, Scale, Servers, Tier, Topic,
};

/// More tiers than any continuum has; a bound so that a generated file cannot start thousands of pools.
const MAX_TIERS: usize = 16;
/// The address of the embedded broker, and the default.
const EMBEDDED: &str = "embedded";
const NAME: &str = "a name of letters, digits, `-`, `_` and `.`, at most 100 long";
const ENCODINGS: &str = "one of json, u8, i16, i32, f16, f32, f64, int8";
const CRITERIA: &str = "\"max-softmax\", \"margin\" or \"entropy\"";
const ENGINES: &str = "\"tract\" or \"onnxruntime\"";
const FEATURES: &str = "\"json\", \"f32\", \"f16\" or \"int8\"";
const SERVERS: &str = "\"embedded\" or \"host:port\", several separated by commas";

pub(crate) fn pipeline(text: &str, base: &Path) -> Result<Pipeline, Invalid> {
    tables::read(text, |root| read_root(root, base))
}

fn read_root(root: Table<'_, '_>, base: &Path) -> Pipeline {
    let name = pipeline_name(&root);
    let tables = root.tables("tier", "[[tier]] tables");
    if !root.has("tier") {
        root.missing("tier", "at least one [[tier]] table");
    }
    if tables.len() > MAX_TIERS {
        root.problem(
            "tier",
            format!("occurs {} times, expected at most {MAX_TIERS}", tables.len()),
        );
    }
    let runtime = functions::runtime(&root, base);
    let known = runtime.iter().flat_map(|runtime| &runtime.functions);
    let known: Vec<String> = known.map(|function| function.name.clone()).collect();
    let mut taken = Taken::default();
    let next: Vec<Option<Next>> =
        tables.iter().skip(1).map(|table| Some(Next::of(table))).chain([None]).collect();
    let tiers: Vec<Tier> = tables
        .into_iter()
        .zip(next)
        .map(|(table, next)| {
            tier(
                table,
                next.as_ref(),
                &Around { pipeline: &name, base, functions: &known },
                &mut taken,
            )
        })
        .collect();
    let embedded = tiers.iter().any(|tier| {
        [&tier.input, &tier.output].iter().any(|topic| topic.servers == Servers::Embedded)
    });
    let broker = broker(&root, embedded, base);
    let deploy = deploy::shared(&root);
    root.finish();
    Pipeline { name, broker, tiers, runtime, deploy }
}

fn pipeline_name(root: &Table<'_, '_>) -> String {
    let name = if let Some(table) = root.table("pipeline", "a [pipeline] table") {
        let name = name_of(&table, "name");
        if !table.has("name") {
            table.missing("name", NAME);
        }
        table.finish();
        name
    } else {
        if !root.has("pipeline") {
            root.missing("pipeline", "a [pipeline] table with a `name`");
        }
        None
    };
    name.unwrap_or_default()
}

fn broker(root: &Table<'_, '_>, embedded: bool, base: &Path) -> Option<EmbeddedBroker> {
    let table = root.table("broker", "a [broker] table");
    if table.is_some() && !embedded {
        root.problem(
            "broker",
            "describes the embedded broker, but no tier's `bootstrap_servers` is \"embedded\"",
        );
    }
    let read = |table: &Table<'_, '_>| EmbeddedBroker {
        dir: base.join(table.text("dir", "a folder").unwrap_or(DEFAULT_LOG_DIR)),
        listen: table
            .parsed("listen", "an address as 127.0.0.1:9092")
            .unwrap_or_else(default_listen),
    };
    let broker = table.as_ref().map_or_else(
        || EmbeddedBroker { dir: base.join(DEFAULT_LOG_DIR), listen: default_listen() },
        read,
    );
    if let Some(table) = table {
        table.finish();
    }
    embedded.then_some(broker)
}

fn default_listen() -> std::net::SocketAddr {
    DEFAULT_LISTEN.parse().expect("the default is an address")
}

/// What each name and each topic of the file is already used for.
#[derive(Default)]
struct Taken {
    names: Vec<String>,
    topics: HashMap<Topic, String>,
}

impl Taken {
    fn note(&mut self, table: &Table<'_, '_>, tier: &Tier) {
        if !tier.name.is_empty() && self.names.contains(&tier.name) {
            table.problem("name", "is the name of another tier too, expected one of its own");
            return;
        }
        self.names.push(tier.name.clone());
        // Answers of several tiers may share a topic; nothing else may.
        let inbound = [("input", &tier.input), ("dead_letter", &tier.dead_letter)];
        let buffer = tier.uplink.iter().map(|uplink| ("buffer", &uplink.buffer.topic));
        for (key, topic) in inbound.into_iter().chain(buffer).chain([("output", &tier.output)]) {
            let purpose = format!("`{key}` of tier `{}`", tier.name);
            match self.topics.get(topic) {
                Some(other) if key != "output" || !other.starts_with("`output`") => table.problem(
                    key,
                    format!("is topic \"{}\", expected another one: it is {other}", topic.name),
                ),
                _ => drop(self.topics.insert(topic.clone(), purpose)),
            }
        }
    }
}

/// What a tier has to know of the next one.
struct Next {
    name: String,
    servers: String,
}

impl Next {
    /// Its problems are noted when it is read itself.
    fn of(table: &Table<'_, '_>) -> Self {
        let text = |key| table.peek(key).map(str::to_owned);
        Self {
            name: text("name").unwrap_or_default(),
            servers: text("bootstrap_servers").unwrap_or_else(|| EMBEDDED.to_owned()),
        }
    }
}

/// What surrounds a tier in its file.
struct Around<'a> {
    pipeline: &'a str,
    base: &'a Path,
    /// Names of the functions.
    functions: &'a [String],
}

fn tier(
    mut table: Table<'_, '_>,
    next: Option<&Next>,
    around: &Around<'_>,
    taken: &mut Taken,
) -> Tier {
    let &Around { pipeline, base, functions } = around;
    let name = name_of(&table, "name");
    match &name {
        Some(name) => table.rename(format!("tier `{name}`")),
        None if table.has("name") => {}
        None => table.missing("name", NAME),
    }
    let name = name.unwrap_or_default();
    let model = table.text("model", "the path of an .onnx file");
    if !table.has("model") {
        table.missing("model", "the path of an .onnx file");
    }
    let last = next.is_none();
    let own = table.peek("bootstrap_servers").unwrap_or(EMBEDDED).to_owned();
    let servers = servers(&table).unwrap_or(Servers::Embedded);
    let uplink = match next {
        None => {
            uplink::none(&table, "the last tier forwards nothing");
            None
        }
        Some(next) if next.servers == own => {
            uplink::none(&table, "the next tier's broker is this tier's own");
            None
        }
        Some(next) => {
            let topic = format!("{pipeline}.{name}-to-{}", next.name);
            Some(uplink::read(&table, &servers, topic))
        }
    };
    if last && table.has("exit") {
        table.problem("exit", "is set, but the last tier always answers: remove it");
    }
    let exit = exit(&table);
    let topic =
        |key: &'static str| topic(&table, key, &servers, &format!("{pipeline}.{name}-{key}"));
    let (input, samples) = topic("input");
    let features = table.parsed("features", FEATURES).filter(|features| {
        let is_one = Encoding::OF_FEATURES.contains(features);
        if !is_one {
            table.problem("features", format!("is \"{features}\", expected {FEATURES}"));
        }
        is_one
    });
    if last && table.has("features") {
        table.problem("features", "is set, but the last tier forwards none: remove it");
    }
    let read = Tier {
        model: model.map_or_else(PathBuf::new, |model| base.join(model)),
        engine: table.parsed("engine", ENGINES).unwrap_or_default(),
        exit,
        input,
        encoding: samples.encoding,
        shape: samples.shape,
        features: features.unwrap_or_default(),
        output: topic("output").0,
        dead_letter: topic("dead_letter").0,
        in_flight: table.whole("in_flight", 1..=65_536).map_or(DEFAULT_IN_FLIGHT, |n| n as usize),
        linger: table.whole("linger_ms", 0..=1000).map_or(DEFAULT_LINGER, Duration::from_millis),
        max_batch: table.whole("max_batch", 1..=1024).map_or(DEFAULT_MAX_BATCH, |n| n as usize),
        scale: scale(&table),
        retry: retry(&table),
        order: table.parsed("order", "\"key\", \"partition\" or \"none\"").unwrap_or_default(),
        uplink,
        before: functions::steps(&table, "before", functions),
        after: functions::steps(&table, "after", functions),
        deploy: deploy::of_tier(&table),
        name,
    };
    taken.note(&table, &read);
    table.finish();
    read
}

/// What replaces the artefact's own exit.
fn exit(table: &Table<'_, '_>) -> ExitSettings {
    let Some(table) = table.table("exit", "a table as { threshold = 0.8 }") else {
        return ExitSettings::default();
    };
    let exit = ExitSettings {
        criterion: table.parsed("criterion", CRITERIA),
        threshold: table.share("threshold"),
        temperature: table.positive("temperature").map(|temperature| temperature as f32),
        class_thresholds: table.shares("class_thresholds", "a table of labels, as { \"7\" = 0.9 }"),
    };
    table.finish();
    exit
}

fn name_of(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let name = table.text(key, NAME)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() > 100 || !name.chars().all(legal) {
        table.problem(key, format!("is \"{name}\", expected {NAME}"));
        return None;
    }
    Some(name.to_owned())
}

fn servers(table: &Table<'_, '_>) -> Option<Servers> {
    let text = table.text("bootstrap_servers", SERVERS)?;
    if text == EMBEDDED {
        return Some(Servers::Embedded);
    }
    let is_address = |server: &str| {
        let Some((host, port)) = server.trim().rsplit_once(':') else { return false };
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if !text.split(',').all(is_address) {
        table.problem("bootstrap_servers", format!("is \"{text}\", expected {SERVERS}"));
        return None;
    }
    Some(Servers::Bootstrap(text.to_owned()))
}

/// How the samples of a topic are written.
#[derive(Default)]
struct Samples {
    encoding: Encoding,
    shape: Option<Vec<usize>>,
}

/// A topic's table; its broker is the tier's unless an answer's topic names another one.
fn topic(
    table: &Table<'_, '_>,
    key: &'static str,
    tier: &Servers,
    default: &str,
) -> (Topic, Samples) {
    let Some(table) = table.table(key, "a table as { topic = \"name\" }") else {
        let topic = Topic { servers: tier.clone(), name: default.replace('_', "-") };
        return (topic, Samples::default());
    };
    let name = name_of(&table, "topic").unwrap_or_else(|| default.replace('_', "-"));
    let servers = if key == "output" { servers(&table) } else { None };
    let mut samples = Samples::default();
    if key == "input" {
        samples.encoding = table.parsed("encoding", ENCODINGS).unwrap_or_default();
        samples.shape = table.lengths("shape");
    }
    table.finish();
    (Topic { servers: servers.unwrap_or_else(|| tier.clone()), name }, samples)
}

fn scale(table: &Table<'_, '_>) -> Scale {
    let Some(table) = table.table("scale", "a table as { min = 0, max = 4 }") else {
        return DEFAULT_SCALE;
    };
    let max = table.whole("max", 1..=1024).map(|max| max as usize);
    let min = table.whole("min", 0..=1024).map(|min| min as usize);
    let scale = Scale {
        min: min.unwrap_or_else(|| DEFAULT_SCALE.min.min(max.unwrap_or(DEFAULT_SCALE.max))),
        max: max.unwrap_or_else(|| DEFAULT_SCALE.max.max(min.unwrap_or(DEFAULT_SCALE.min))),
    };
    if scale.min > scale.max {
        table.problem("min", format!("is {}, expected at most `max`, {}", scale.min, scale.max));
    }
    table.finish();
    scale
}

fn retry(table: &Table<'_, '_>) -> Retry {
    let default = Retry::default();
    let Some(table) = table.table("retry", "a table as { attempts = 6 }") else { return default };
    let millis =
        |key, default| table.whole(key, 1..=3_600_000).map_or(default, Duration::from_millis);
    let retry = Retry {
        attempts: table.whole("attempts", 1..=1000).map_or(default.attempts, |n| n as u32),
        backoff_min: millis("backoff_ms_min", default.backoff_min),
        backoff_max: millis("backoff_ms_max", default.backoff_max),
    };
    if retry.backoff_min > retry.backoff_max {
        table.problem(
            "backoff_ms_min",
            format!(
                "is {}, expected at most `backoff_ms_max`, {}",
                retry.backoff_min.as_millis(),
                retry.backoff_max.as_millis()
            ),
        );
    }
    table.finish();
    retry
}
