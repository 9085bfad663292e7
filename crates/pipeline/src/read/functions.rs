//! `[gateway]`, `[runtime]`, `[[function]]`, and the `before` and `after` of a tier.

use std::path::Path;
use std::time::Duration;

use tables::Table;

use crate::functions::{
    Auth, Callee, DEFAULT_GATEWAY_LISTEN, DEFAULT_PROGRAMS_DIR, DEFAULT_STATE_DIR,
    DEFAULT_STEP_TIMEOUT, Function, Gateway, Runtime, Step,
};

/// More than a small node has room for; a bound on a generated file.
const MAX_FUNCTIONS: usize = 100;
/// As the runtime has it, for names that are part of an address.
const NAME: &str = "a name of letters, digits, `-` and `_`, at most 63 long";
const COMMAND: &str =
    "a program and its arguments, none with spaces in it, as [\"./decode\", \"--fast\"]";
const STEPS: &str =
    "a list of tables as [{ function = \"decode\" }, { url = \"http://host:8080/\" }]";

/// The runtime, if the file has functions or a gateway.
pub(super) fn runtime(root: &Table<'_, '_>, base: &Path) -> Option<Runtime> {
    let gateway = root.table("gateway", "a [gateway] table");
    let tables = root.tables("function", "[[function]] tables");
    if MAX_FUNCTIONS < tables.len() {
        let times = tables.len();
        root.problem("function", format!("occurs {times} times, expected at most {MAX_FUNCTIONS}"));
    }
    let settings = root.table("runtime", "a [runtime] table");
    if gateway.is_none() && tables.is_empty() {
        if settings.is_some() {
            root.problem("runtime", "is there, but neither a [gateway] nor a [[function]]");
        }
        return None;
    }
    let folder = |key, default| {
        let folder = settings.as_ref().and_then(|table| table.text(key, "a folder"));
        base.join(folder.unwrap_or(default))
    };
    let (dir, programs) =
        (folder("dir", DEFAULT_STATE_DIR), folder("programs", DEFAULT_PROGRAMS_DIR));
    if let Some(table) = settings {
        table.finish();
    }
    let gateway = gateway.map(|table| read_gateway(table, base));
    let mut functions: Vec<Function> = Vec::new();
    for table in tables {
        let function = function(table, base, &functions);
        functions.push(function);
    }
    Some(Runtime { dir, programs, gateway, functions })
}

fn read_gateway(table: Table<'_, '_>, base: &Path) -> Gateway {
    let listen = table.parsed("listen", "an address as 127.0.0.1:8080");
    let user = table.text("user", "a user's name").map(str::to_owned);
    let password_file = table.text("password_file", "the path of a file");
    let auth = match (user, password_file) {
        (Some(user), Some(file)) => Some(Auth { user, password_file: base.join(file) }),
        (None, None) => None,
        (Some(_), None) => {
            table.missing("password_file", "the path of a file, since there is a `user`");
            None
        }
        (None, Some(_)) => {
            table.missing("user", "a user's name, since there is a `password_file`");
            None
        }
    };
    table.finish();
    let default = || DEFAULT_GATEWAY_LISTEN.parse().expect("the default is an address");
    Gateway { listen: listen.unwrap_or_else(default), auth }
}

fn function(mut table: Table<'_, '_>, base: &Path, others: &[Function]) -> Function {
    let name = table.text("name", NAME).map(str::to_owned);
    match &name {
        Some(name) => table.rename(format!("function `{name}`")),
        None => table.missing("name", NAME),
    }
    let name = name.unwrap_or_default();
    let is_legal = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
    if 63 < name.len() || !name.bytes().all(is_legal) {
        table.problem("name", format!("is \"{name}\", expected {NAME}"));
    }
    if !name.is_empty() && others.iter().any(|other| other.name == name) {
        table.problem("name", "is the name of another function too, expected one of its own");
    }
    let texts = |key, expected: &str| -> Vec<String> {
        let texts = table.texts(key, expected).unwrap_or_default();
        texts.into_iter().map(str::to_owned).collect()
    };
    let mut command = texts("command", COMMAND);
    if command.iter().any(|part| part.contains(char::is_whitespace)) {
        table.problem("command", format!("has a part with spaces in it, expected {COMMAND}"));
    }
    if let Some(program) = command.first_mut() {
        *program = base.join(&*program).to_string_lossy().into_owned();
    }
    let image = table.text("image", "a built-in function, as \"offramp/inference\"");
    match (image, command.is_empty()) {
        (None, true) => table.missing("command", &format!("{COMMAND}, or an `image`")),
        (Some(_), false) => {
            table.problem("image", "is set, and so is `command`: remove one of them");
        }
        _ => {}
    }
    let scale = table.table("scale", "a table as { min = 0, max = 4, zero_after_s = 60 }");
    let instances = |key, from| {
        scale.as_ref().and_then(|scale| scale.whole(key, from..=1000)).map(|n| n as u32)
    };
    let (min_scale, max_scale) = (instances("min", 0), instances("max", 1));
    let zero_after = scale
        .as_ref()
        .and_then(|scale| scale.whole("zero_after_s", 1..=86_400))
        .map(Duration::from_secs);
    if let Some(scale) = scale {
        if let (Some(min), Some(max)) = (min_scale, max_scale)
            && max < min
        {
            scale.problem("min", format!("is {min}, expected at most `max`, {max}"));
        }
        scale.finish();
    }
    let read = Function {
        image: image.unwrap_or_default().to_owned(),
        command,
        env: table.text_by_name("env", "a table of texts, as { COLOUR = \"green\" }"),
        secrets: texts("secrets", "a list of names"),
        topics: texts("topics", "a list of topics"),
        min_scale,
        max_scale,
        zero_after,
        concurrency: table.whole("concurrency", 1..=100_000).map(|n| n as u32),
        timeout: table.whole("timeout_ms", 1..=3_600_000).map(Duration::from_millis),
        memory_mib: table.whole("memory_mib", 1..=1 << 20),
        cpu_millis: table.whole("cpu_millis", 1..=1_000_000),
        health_path: table.text("health_path", "a path as \"/healthz\"").map(str::to_owned),
        name,
    };
    table.finish();
    read
}

/// The functions before or after a tier's inference; `known` are those of the file.
pub(super) fn steps(table: &Table<'_, '_>, key: &'static str, known: &[String]) -> Vec<Step> {
    let tables = table.tables(key, STEPS);
    let step = |table: Table<'_, '_>| {
        let function = table.text("function", "the name of a [[function]]");
        let url = table.text("url", "http://host:port/path");
        let timeout = table.whole("timeout_ms", 1..=600_000).map(Duration::from_millis);
        let callee = match (function, url) {
            (Some(name), None) => {
                if !known.iter().any(|known| known == name) {
                    let text = format!("is \"{name}\", expected the name of a [[function]]");
                    table.problem("function", text);
                }
                Some(Callee::Function(name.to_owned()))
            }
            (None, Some(url)) => {
                if !url.starts_with("http://") {
                    table.problem("url", format!("is \"{url}\", expected http://host:port/path"));
                }
                Some(Callee::Url(url.to_owned()))
            }
            (Some(_), Some(_)) => {
                table.problem("url", "is set, and so is `function`: remove one of them");
                None
            }
            (None, None) => {
                table.missing("function", "the name of a [[function]], or a `url`");
                None
            }
        };
        table.finish();
        Some(Step { callee: callee?, timeout: timeout.unwrap_or(DEFAULT_STEP_TIMEOUT) })
    };
    tables.into_iter().filter_map(step).collect()
}
