//! What clients report, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What is asked of every client, in the order of the table.
const CHECKS: [&str; 14] = [
    "produce",
    "compression",
    "idempotence",
    "bulk",
    "resume",
    "seek",
    "rebalance",
    "death",
    "cooperative",
    "static",
    "topics",
    "configs",
    "groups",
    "offsets",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    /// The client can't; its script says why.
    Cannot,
}

/// One client's outcomes.
#[derive(Debug)]
pub(crate) struct Column {
    client: &'static str,
    outcomes: BTreeMap<&'static str, Outcome>,
    took: Duration,
}

impl Column {
    pub(crate) fn new(client: &'static str) -> Self {
        Self { client, outcomes: BTreeMap::new(), took: Duration::ZERO }
    }

    /// Takes a line of a client's output in; whether it was about a check.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        let Some((word, rest)) = line.split_once(' ') else { return false };
        let (name, why) = rest.split_once(": ").unwrap_or((rest, "no reason"));
        let outcome = match word {
            "ok" => Outcome::Passed,
            "FAIL" => Outcome::Failed(why.to_owned()),
            "-" => Outcome::Cannot,
            _ => return false,
        };
        let Some(check) = CHECKS.into_iter().find(|check| *check == name) else { return false };
        self.outcomes.insert(check, outcome);
        true
    }

    /// Nothing more comes. A check that was not reported has failed: a client that crashed, or a check that was
    /// forgotten, is not to look like one that passed.
    pub(crate) fn end(&mut self, why: &str, took: Duration) {
        self.took = took;
        for check in CHECKS {
            self.outcomes.entry(check).or_insert_with(|| Outcome::Failed(why.to_owned()));
        }
    }
}

/// All clients' outcomes. Shown, it ends with the counts alone on a line.
#[derive(Debug)]
pub(crate) struct Report {
    columns: Vec<Column>,
}

impl Report {
    pub(crate) fn new(mut columns: Vec<Column>) -> Self {
        columns.sort_by_key(|column| column.client);
        Self { columns }
    }

    fn outcomes(&self) -> impl Iterator<Item = (&'static str, &'static str, &Outcome)> {
        self.columns.iter().flat_map(|column| {
            column.outcomes.iter().map(|(check, outcome)| (column.client, *check, outcome))
        })
    }

    pub(crate) fn failed(&self) -> usize {
        self.outcomes().filter(|(.., outcome)| matches!(outcome, Outcome::Failed(_))).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, cells: &[String]| {
            write!(f, "{name:12}")?;
            for (column, cell) in self.columns.iter().zip(cells) {
                write!(f, "  {cell:>width$}", width = column.client.len().max(4))?;
            }
            writeln!(f)
        };
        let cells = |cell: &dyn Fn(&Column) -> String| -> Vec<String> {
            self.columns.iter().map(cell).collect()
        };
        row(f, "", &cells(&|column| column.client.to_owned()))?;
        for check in CHECKS {
            let cell = |column: &Column| match column.outcomes.get(check) {
                Some(Outcome::Passed) => "ok".to_owned(),
                Some(Outcome::Cannot) => "-".to_owned(),
                Some(Outcome::Failed(_)) | None => "FAIL".to_owned(),
            };
            row(f, check, &cells(&cell))?;
        }
        row(f, "seconds", &cells(&|column| column.took.as_secs().to_string()))?;
        writeln!(f)?;
        for (client, check, outcome) in self.outcomes() {
            if let Outcome::Failed(why) = outcome {
                writeln!(f, "{client}: {check}: {why}")?;
            }
        }
        let passed = self.outcomes().filter(|(.., outcome)| **outcome == Outcome::Passed).count();
        write!(f, "{passed} passed, {} failed", self.failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(client: &'static str, lines: &[&str]) -> Column {
        let mut column = Column::new(client);
        for line in lines {
            column.read(line);
        }
        column.end("not reported", Duration::from_secs(7));
        column
    }

    #[test]
    fn a_check_that_is_not_reported_has_failed() {
        let ok: Vec<String> = CHECKS.map(|check| format!("ok {check}")).into();
        let mut lines: Vec<&str> = ok.iter().map(String::as_str).collect();
        assert_eq!(Report::new(vec![column("a", &lines)]).failed(), 0);
        lines.pop();
        let report = Report::new(vec![column("a", &lines)]);
        assert!(report.to_string().ends_with("a: offsets: not reported\n13 passed, 1 failed"));
    }

    #[test]
    fn lines_are_read_and_others_are_passed_over() {
        let mut column = Column::new("a");
        assert!(column.read("FAIL seek: at 3: expected 4"));
        assert_eq!(column.outcomes["seek"], Outcome::Failed("at 3: expected 4".to_owned()));
        assert!(column.read("- static: it has no ids"));
        assert_eq!(column.outcomes["static"], Outcome::Cannot);
        for other in ["", "ok", "ok nothing", "running 1 test", "test matrix::x ... ok"] {
            assert!(!column.read(other), "{other}");
        }
    }
}
