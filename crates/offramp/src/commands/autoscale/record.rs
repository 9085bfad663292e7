//! What has been decided, for a program: a JSON object a line.

use std::io::Write as _;

use serde::Serialize;

/// A decision that changes something. The names of its fields are the JSON's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Record {
    /// When, in milliseconds since the epoch.
    pub(super) at_ms: i64,
    /// The target.
    pub(super) name: String,
    /// Instances there were.
    pub(super) from: u32,
    /// Instances there shall be.
    pub(super) to: u32,
    /// Why.
    pub(super) reason: String,
    /// What became of it.
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// The platform has taken it.
    Asked,
    /// The platform has not.
    Failed,
    /// It was only said.
    DryRun,
}

impl Record {
    /// Prints it to stdout.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(self)?)?;
        out.flush()?;
        Ok(())
    }
}
