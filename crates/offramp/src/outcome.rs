//! From a command's result to what a person reads and a program's exit code.
//!
//! 0: done. 1: failed. 2: the arguments are wrong (clap's). 78: the configuration is wrong (`EX_CONFIG` of
//! BSD's `sysexits`): trying again without changing it is useless.

use std::io::Write as _;
use std::process::ExitCode;

const EX_CONFIG: u8 = 78;

/// The configuration is wrong: a pipeline file, a model that it names, a flag's value that only a look at the
/// world could judge.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub(crate) struct ConfigError(pub(crate) anyhow::Error);

/// Marks an error as one of configuration.
pub(crate) trait OrConfig<T> {
    fn or_config(self) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrConfig<T> for Result<T, E> {
    fn or_config(self) -> anyhow::Result<T> {
        self.map_err(|error| ConfigError(error.into()).into())
    }
}

pub(crate) fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    // Nothing is left to do if stderr is closed.
    let _ = writeln!(std::io::stderr(), "error: {}", message(&error));
    if error.chain().any(<dyn std::error::Error>::is::<ConfigError>) {
        ExitCode::from(EX_CONFIG)
    } else {
        ExitCode::FAILURE
    }
}

/// The error and its causes, without those that the text before them says already.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// The reader of our output went away, as `head` does: not our failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("no space").context("disk: no space").context("not written");
        assert_eq!(message(&error), "not written: disk: no space");
    }
}
