//! The image against every platform's contract, and the same program for the other architecture.
//!
//! The tests are those of `crates/offramp/tests/it/platforms`; here what they start is a container, as a user of no
//! rights, on a file system that can't be written, within 64 MiB, or the program for aarch64 under an emulator.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::image::{Arch, assemble, build, cross_toolchain, engine};
use crate::run;

const IMAGE: &str = "offramp:under-test";
/// As it is shipped.
const PROFILE: &str = "dist";
/// The image at its largest, so that it suits a small machine's disk and link.
const MAX_BYTES: u64 = 25_000_000;
/// Optimising the whole program takes half of a build, and changes nothing that the tests of another architecture see.
const QUICKLY: [(&str, &str); 2] =
    [("CARGO_PROFILE_DIST_LTO", "off"), ("CARGO_PROFILE_DIST_CODEGEN_UNITS", "16")];

pub(crate) fn test(arguments: &[&str]) -> anyhow::Result<()> {
    let (must, only) = match arguments {
        ["--if-possible", only @ ..] => (false, only),
        only => (true, only),
    };
    let (docker, emulated) = match only {
        [] => (true, true),
        ["--only", "docker"] => (true, false),
        ["--only", "aarch64"] => (false, true),
        _ => anyhow::bail!(
            "containers has --if-possible and --only docker|aarch64, not `{}`",
            arguments.join(" ")
        ),
    };
    if docker {
        match engine() {
            Ok(_engine) => in_docker()?,
            Err(error) if !must => eprintln!("xtask: not tested in a container: {error:#}"),
            Err(error) => return Err(error),
        }
    }
    if emulated {
        match cross_toolchain() {
            Ok(()) => on_aarch64()?,
            Err(error) if !must => eprintln!("xtask: not tested for aarch64: {error:#}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn in_docker() -> anyhow::Result<()> {
    let program = build(Arch::X86_64, PROFILE, &[])?;
    let bytes = assemble(Arch::X86_64, &program, None, IMAGE)?;
    ensure!(bytes <= MAX_BYTES, "the image has {bytes} bytes, expected at most {MAX_BYTES}");
    // Some listen on a port of the platform's: a container that an interrupted run left would have it.
    remove_left()?;
    let tested = tests(&[("OFFRAMP_TEST_IMAGE", IMAGE)], &["platforms::"]);
    remove_left()?;
    tested
}

/// Clients that were killed leave their containers.
fn remove_left() -> anyhow::Result<()> {
    let left = Command::new("docker")
        .args(["ps", "--all", "--quiet", "--filter", "label=offramp-test"])
        .output()
        .context("docker could not be started")?;
    let left = String::from_utf8_lossy(&left.stdout);
    let ids: Vec<_> = left.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(());
    }
    run::program("docker", &[&["rm", "--force"], &ids[..]].concat())
}

fn on_aarch64() -> anyhow::Result<()> {
    let program = build(Arch::Aarch64, PROFILE, &QUICKLY)?;
    let program = program.to_str().context("the path of the checkout is not UTF-8")?;
    let under = format!("qemu-aarch64-static {program}");
    // The contracts, and the published counts of the paper's models.
    tests(&[("OFFRAMP_TEST_PROGRAM", &under)], &["platforms::", "paper::"])?;
    let mut demo = Command::new("qemu-aarch64-static");
    demo.args([program, "demo", "--records", "200", "--rate", "50", "-o", "json"]);
    let mnist = run::root().join("../shared/data/mnist");
    if mnist.is_dir() {
        demo.arg("--data").arg(mnist);
    }
    eprintln!("xtask: the demo on aarch64");
    let output = demo.output().context("qemu-aarch64-static could not be started")?;
    ensure!(output.status.success(), "the demo: {}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(summary["answered"] == 200, "the demo answered {}, expected 200", summary["answered"]);
    Ok(())
}

fn tests(environment: &[(&str, &str)], names: &[&str]) -> anyhow::Result<()> {
    // An emulated program, or a container's start, takes its time.
    run::tests(environment, &[&["--test-threads", "2"], names].concat())
}
