//! Development tasks: `cargo xtask` and one of `ci`, `tidy`, `peers`, `parity`, `clients`, `faults`, `fuzz`,
//! `chaos`, `outage`, `faas-cli`, `image`, `containers`, `manifests`, `kafka`, `bench`, `rival`, `engine`, `node`.

mod bench;
mod chaos;
mod clients;
mod containers;
mod engine;
mod faas_cli;
mod faults;
mod fuzz;
mod image;
mod kafka;
mod manifests;
mod node;
mod parity;
mod peers;
mod program;
mod rival;
mod run;
mod tidy;

use anyhow::bail;

const USAGE: &str = "usage: cargo xtask TASK

  ci       all checks that need nothing but Rust and a C compiler: format, lints, docs, tests, tidy
  tidy     the dependency invariants of ARCHITECTURE.md, dead files, file sizes
  peers    tests against real peers, fetched and started here: kcat, confluent-kafka, tritonclient, the CloudEvents SDK,
           Keras, tf2onnx, ONNX Runtime; [--networks] only those of imported networks
  parity   the broker's behavioural tests, against Apache Kafka and against ours
  clients  Kafka clients in five languages against the embedded broker: [--against kafka] [CLIENT]...
  faults   the broker killed 200 times under load, on a full disk, and with syncs that fail (needs root)
  fuzz     the broker's requests, fuzzed: [--seconds N] [--save] [--replay FILE] [TARGET]...
  chaos    the tiers under load while their processes are killed, stopped and cut off, at random: [--seconds N]
           [--stage functions|nodes] [--against offramp|kafka] [--seed N]
  outage   an edge node whose uplink is cut for a minute, records held and answered by it: [--seconds N]
  faas-cli a session with the real faas-cli against the gateway, which is fetched: [--if-installed]
  image    the container image, without a base: [--arch x86_64|aarch64] [--profile dist|release] [--tag NAME]
           [--models DIR]
  containers
           every platform's contract against the image in Docker and against the program for aarch64, emulated:
           [--if-possible] [--only docker|aarch64]
  manifests  what `offramp deploy render` writes, against published schemas, which are fetched: [--if-fetched]
  kafka    Apache Kafka on 127.0.0.1, fetched and run until it is stopped: [--port N] [--dir D]
  bench    the broker's figures, beside Apache Kafka's: [--runs N] [--only offramp|kafka]
  rival    one edge tier beside the same in Python, confluent-kafka with ONNX Runtime and with Keras:
           [--runs N] [--records N] [--rate R] [--data DIR] [--without-keras]
  engine   the engines' figures for sub-models, beside ONNX Runtime's in Python: [MODEL.onnx]...
  node     an edge node's figures: memory within a control group, cold starts, calls over HTTP (needs root):
           [--program PATH]";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["ci"] => ci(),
        ["tidy"] => tidy::check(),
        ["peers"] => peers::test(),
        ["peers", "--networks"] => peers::networks(),
        ["parity"] => parity::test(),
        ["clients", arguments @ ..] => clients::test(arguments),
        ["faults"] => faults::test(),
        ["fuzz", arguments @ ..] => fuzz::run(arguments),
        ["chaos", options @ ..] => chaos::test(options),
        ["outage", options @ ..] => chaos::outage::test(options),
        ["faas-cli", options @ ..] => faas_cli::test(options),
        ["image", options @ ..] => image::run(options),
        ["containers", options @ ..] => containers::test(options),
        ["manifests", options @ ..] => manifests::test(options),
        ["kafka", options @ ..] => kafka::run(options),
        ["bench", options @ ..] => bench::run(options),
        ["rival", options @ ..] => rival::run(options),
        ["engine", models @ ..] => engine::run(models),
        ["node", options @ ..] => node::run(options),
        _ => bail!("{USAGE}"),
    }
}

/// One profile throughout, so that dependencies are built once.
fn ci() -> anyhow::Result<()> {
    run::cargo(&["fmt", "--all", "--check"])?;
    tidy::check()?;
    run::cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // The docs are for whoever works here, so private items are in them and may be linked to.
    run::cargo_with(
        &[("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links")],
        &["doc", "--release", "--workspace", "--no-deps", "--document-private-items"],
    )?;
    run::cargo(&["test", "--release", "--workspace"])
}
