//! A file of several targets: `[[target]]` tables with the keys of one.
//!
//! ```toml
//! [[target]]
//! topic = "mnist.edge-output"
//! group = "fog"
//! deployment = "fog"
//! feeds_next = true            # what it forwards comes to the next target's topic
//!
//! [[target]]
//! topic = "mnist.cloud-input"
//! …
//! ```

use std::path::{Path, PathBuf};

use tables::{Invalid, Table};

use super::target::{Given, Target};

/// More targets than one process should look after each second.
const MAX_TARGETS: usize = 64;
const MOST: u64 = 1 << 32;

/// Reads the targets of a file. Paths in it are relative to `base`.
pub(super) fn parse(text: &str, base: &Path, servers: &str) -> Result<Vec<Target>, Invalid> {
    tables::read(text, |root| {
        let tables = root.tables("target", "[[target]] tables");
        if tables.is_empty() && !root.has("target") {
            root.missing("target", "at least one [[target]] table");
        }
        if tables.len() > MAX_TARGETS {
            let text = format!("occurs {} times, expected at most {MAX_TARGETS}", tables.len());
            root.problem("target", text);
        }
        let last = tables.len();
        let mut targets: Vec<Target> = Vec::new();
        for (at, mut table) in tables.into_iter().enumerate() {
            if let Some(name) =
                ["name", "function", "deployment"].iter().find_map(|key| table.peek(key))
            {
                table.rename(format!("target `{name}`"));
            }
            let given = given(&table, base);
            if given.feeds_next && at + 1 == last {
                table.problem("feeds_next", "is true, expected another target after this one");
            }
            match given.target(servers) {
                Ok(target) if targets.iter().any(|other| other.name == target.name) => {
                    table.problem("name", format!("is \"{}\" for a second target", target.name));
                }
                Ok(target) => targets.push(target),
                Err(problems) => {
                    for problem in problems {
                        table.problem(problem.key, problem.text);
                    }
                }
            }
            table.finish();
        }
        root.finish();
        targets
    })
}

fn given(table: &Table<'_, '_>, base: &Path) -> Given {
    let text = |key, expected| table.text(key, expected).map(str::to_owned);
    let path = |key| table.text(key, "a path").map(|path| -> PathBuf { base.join(path) });
    let count = |key| table.whole(key, 0..=1000).map(|count| count as u32);
    let ms = |key| table.whole(key, 0..=MOST);
    Given {
        name: text("name", "a name"),
        bootstrap_servers: text("bootstrap_servers", "\"host:port\", several separated by commas"),
        topic: text("topic", "the name of a topic"),
        group: text("group", "the name of a consumer group"),
        commit_ms: ms("commit_ms"),
        gateway: text("gateway", "the URL of a gateway"),
        function: text("function", "\"NAME\" or \"NAME.NAMESPACE\""),
        user: text("user", "the name of a user"),
        password_file: path("password_file"),
        deployment: text("deployment", "the name of a Deployment"),
        namespace: text("namespace", "the name of a namespace"),
        api_server: text("api_server", "the URL of an API server"),
        token_file: path("token_file"),
        ca_file: path("ca_file"),
        beyond_partitions: table.flag("beyond_partitions").unwrap_or(false),
        min_scale: count("min_scale"),
        max_scale: count("max_scale"),
        wait_ms: ms("wait_ms"),
        service_ms: table.number("service_ms", 0.0..=1e9),
        concurrency: count("concurrency"),
        cold_start_ms: ms("cold_start_ms"),
        down_window_ms: ms("down_window_ms"),
        idle_ms: ms("idle_ms"),
        forward_share: table.share("forward_share"),
        feeds_next: table.flag("feeds_next").unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::Place;
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let invalid = parse(text, Path::new("/etc"), "b:9092").unwrap_err();
        let found: Vec<String> =
            invalid.problems.iter().map(|p| format!("{}: {}", p.line, p.text)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_and_flags_give_the_same_target() {
        let text = "[[target]]\ntopic = \"t\"\ngroup = \"g\"\ngateway = \"http://g:8080\"\n\
                    function = \"edge\"\nuser = \"u\"\npassword_file = \"p\"\nmax_scale = 7\n\
                    service_ms = 2.5\nfeeds_next = true\nforward_share = 0.2\n\n\
                    [[target]]\ntopic = \"t\"\ngroup = \"g\"\nbootstrap_servers = \"c:9\"\n\
                    deployment = \"cloud\"\napi_server = \"http://127.0.0.1:8001\"\n";
        let targets = parse(text, Path::new("/etc"), "b:9092").unwrap();
        let own = |text: &str| Some(text.to_owned());
        let given = Given {
            topic: own("t"),
            group: own("g"),
            gateway: own("http://g:8080"),
            function: own("edge"),
            user: own("u"),
            password_file: Some("/etc/p".into()),
            max_scale: Some(7),
            service_ms: Some(2.5),
            forward_share: Some(0.2),
            feeds_next: true,
            ..Given::default()
        };
        assert_eq!(targets[0], given.target("b:9092").unwrap());
        assert_eq!(targets[1].servers, "c:9");
        assert!(
            matches!(&targets[1].place, Place::Deployment { namespace, .. } if namespace == "default")
        );
        assert!(targets[1].is_bounded_by_partitions);
    }

    #[test]
    fn every_problem_is_found_with_its_line() {
        check("", &["1: `target` is missing, expected at least one [[target]] table"]);
        check(
            "[[target]]\ntopik = \"t\"\ngroup = \"g\"\nfunction = \"edge\"\nmin_scale = -1\n\
             gateway = \"http://g:8080\"\nfeeds_next = true\n",
            &[
                "1: target `edge`: `topic` is missing, expected the topic that its records come from",
                "2: target `edge`: `topik` is not a known key; did you mean `topic`?",
                "5: target `edge`: `min_scale` is -1, expected a whole number from 0 to 1000",
                "7: target `edge`: `feeds_next` is true, expected another target after this one",
            ],
        );
        let one = "[[target]]\ntopic = \"t\"\ngroup = \"g\"\nfunction = \"edge\"\n\
                   gateway = \"http://g:8080\"\n";
        check(&one.repeat(2), &["6: target `edge`: `name` is \"edge\" for a second target"]);
    }
}
