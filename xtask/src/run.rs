//! Running programs, said aloud.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The integration tests, and with them the program, with the features that all packages together want: those of one
/// package would have the engine built once more.
pub(crate) const TESTS: [&str; 5] = ["test", "--release", "--workspace", "--test", "it"];

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Runs cargo; its output goes through.
pub(crate) fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    cargo_with(&[], arguments)
}

/// Runs cargo with further environment variables.
pub(crate) fn cargo_with(environment: &[(&str, &str)], arguments: &[&str]) -> anyhow::Result<()> {
    program_with(environment, env!("CARGO"), arguments, Stdio::inherit())
}

/// Runs the integration tests that these arguments of theirs name.
pub(crate) fn tests(environment: &[(&str, &str)], arguments: &[&str]) -> anyhow::Result<()> {
    cargo_with(environment, &[&TESTS[..], &["--"], arguments].concat())
}

/// Builds the integration tests and the program.
pub(crate) fn build_tests() -> anyhow::Result<()> {
    cargo(&[&TESTS[..], &["--no-run"]].concat())
}

/// Runs a program; its output goes to standard error, because standard output is the task's own.
pub(crate) fn program(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    program_with(&[], name, arguments, std::io::stderr().into())
}

/// Installs a Debian package unless its program answers already.
pub(crate) fn installed(name: &str, argument: &str, package: &str) -> anyhow::Result<()> {
    if !answers(name, argument) {
        program("apt-get", &["update", "--quiet"])
            .and_then(|()| program("apt-get", &["install", "--yes", "--quiet", package]))
            .with_context(|| {
                format!("{name} is not installed and could not be; install it and run this again")
            })?;
    }
    if !answers(name, argument) {
        bail!("{name} was installed and does not run");
    }
    Ok(())
}

/// Whether a program is there and answers.
pub(crate) fn answers(name: &str, argument: &str) -> bool {
    Command::new(name).arg(argument).output().is_ok_and(|output| output.status.success())
}

fn program_with(
    environment: &[(&str, &str)],
    name: &str,
    arguments: &[&str],
    output: Stdio,
) -> anyhow::Result<()> {
    let short = Path::new(name).file_name().unwrap_or(name.as_ref()).to_string_lossy();
    eprintln!("xtask: {short} {}", arguments.join(" "));
    let status = Command::new(name)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .stdout(output)
        .status()
        .with_context(|| format!("`{name}` could not be started"))?;
    if !status.success() {
        bail!("`{short} {}` failed: {status}", arguments.join(" "));
    }
    Ok(())
}

/// What cargo prints.
pub(crate) fn cargo_output(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .context("cargo could not be started")?;
    if !output.status.success() {
        bail!("`cargo {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
