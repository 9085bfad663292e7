//! A broker that is killed again and again, that runs out of disk, and whose disk fails.
//!
//! `OFFRAMP_KILLS` sets how often it is killed. The tests that need a file system of their own or strace are
//! run by `cargo xtask faults`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka::{Event, Producer, Reader, Start, admin};
use tokio::task::{JoinHandle, JoinSet};
use wire::Record;

use crate::process::{DEADLINE, Service, broker, free_address, offramp};

const TOPIC: &str = "t";
/// Records that wait for their acknowledgement at once.
const IN_FLIGHT: usize = 200;

/// Sends numbered records without end, from an idempotent producer, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<BTreeSet<u64>>,
}

impl Load {
    fn start(servers: &str) -> Self {
        let (servers, stop) = (servers.to_owned(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let producer = Producer::new(&servers).unwrap();
            let (mut sending, mut acknowledged) = (JoinSet::new(), BTreeSet::new());
            let mut next = 0u64;
            while !stopped.load(Ordering::Relaxed) || !sending.is_empty() {
                if !stopped.load(Ordering::Relaxed) && sending.len() < IN_FLIGHT {
                    let confirmation = producer.enqueue(TOPIC, &numbered(next)).await.unwrap();
                    let number = next;
                    sending.spawn(async move { confirmation.confirmed().await.map(|_| number) });
                    next += 1;
                } else if let Some(sent) = sending.join_next().await {
                    // Refused for good: it may or may not be there.
                    acknowledged.extend(sent.unwrap().ok());
                }
            }
            acknowledged
        });
        Self { stop, task }
    }

    /// Stops sending, waits for what is under way, and returns which numbers were acknowledged.
    async fn end(self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        tokio::time::timeout(DEADLINE, self.task).await.expect("the last acknowledgements").unwrap()
    }
}

fn numbered(number: u64) -> Record {
    let key = Bytes::from((number % 16).to_string());
    let value = Bytes::from(format!("{number} {}", "x".repeat(number as usize % 300)));
    Record { key: Some(key), value: Some(value), ..Record::default() }
}

/// All numbers that are in the topic, and how many are there more than once.
async fn stored(servers: &str) -> (BTreeSet<u64>, usize) {
    let reader = Reader::open(servers, &[TOPIC], None, Start::Beginning).await.unwrap();
    let (mut numbers, mut duplicated) = (BTreeSet::new(), 0);
    while let Event::Record(_, record) = reader.next().await.unwrap() {
        let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let number = text.split(' ').next().unwrap().parse().unwrap();
        duplicated += usize::from(!numbers.insert(number));
    }
    (numbers, duplicated)
}

/// Checks that what was acknowledged is there, and nothing twice.
async fn check(servers: &str, acknowledged: &BTreeSet<u64>) {
    let (numbers, duplicated) = stored(servers).await;
    let lost: Vec<_> = acknowledged.difference(&numbers).collect();
    eprintln!(
        "{} acknowledged, {} stored, {} lost, {duplicated} duplicated",
        acknowledged.len(),
        numbers.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(duplicated, 0);
}

async fn create_topic(servers: &str) {
    // Small segments, so that kills meet rolls and seals as well.
    let settings = [("segment.bytes".to_owned(), "100000".to_owned())];
    admin::create_topic(servers, TOPIC, Some(4), &settings).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_and_duplicate_nothing() {
    let kills = std::env::var("OFFRAMP_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let listen = free_address().to_string();
    let (mut running, servers) = broker(dir.path(), &listen);
    create_topic(&servers).await;
    let load = Load::start(&servers);
    for kill in 0..kills {
        // From right after the start to some hundred milliseconds into the load, in a fixed sequence.
        let pause = Duration::from_millis((kill * 37) % 400);
        tokio::time::sleep(pause).await;
        running.kill();
        running = broker(dir.path(), &listen).0;
        if (kill + 1) % 50 == 0 {
            eprintln!("{} kills", kill + 1);
        }
    }
    let acknowledged = load.end().await;
    assert!(kills < acknowledged.len() as u64, "hardly anything was sent");
    check(&servers, &acknowledged).await;
}

/// A file system of its own for a broker's directory.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(dir: &Path, size: &str) -> Self {
        let options = format!("size={size}");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir)
            .status()
            .expect("mount is there");
        assert!(status.success(), "a tmpfs cannot be mounted: this needs root");
        Self(dir.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to mount a small file system: cargo xtask faults"]
async fn a_full_disk_stops_acknowledging_and_space_starts_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let _tmpfs = Tmpfs::mount(dir.path(), "3m");
    let log = dir.path().join("log");
    let (mut running, servers) = broker(&log, "127.0.0.1:0");
    create_topic(&servers).await;
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let load = Load::start(&servers);
    let said = running.wait_for_line("a batch cannot be written");
    assert!(said.contains("No space left on device"), "{said}");
    std::fs::remove_file(&ballast).unwrap();
    // Room for some hundred kilobytes more: acknowledgements go on.
    let acknowledged = load.end().await;
    check(&servers, &acknowledged).await;
    // And what was acknowledged outlives the process.
    running.kill();
    let (_running, servers) = broker(&log, "127.0.0.1:0");
    check(&servers, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace: cargo xtask faults"]
async fn failing_syncs_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let program = offramp(&[]);
    let mut command = Command::new("strace");
    // The first syncs create the directory and the topic; then every seventh fails.
    command
        // As a grandchild (-D), so that to kill the command is to kill the broker.
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"])
        .args(["-e", "inject=fdatasync:error=EIO:when=10+7"])
        .arg(program.get_program())
        .args(["broker", "--dir", log.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let mut running = Service::spawn(&mut command);
    let servers = running.wait_for("broker ready")["listening"].clone();
    create_topic(&servers).await;
    let load = Load::start(&servers);
    for _ in 0..5 {
        running.wait_for("a failed log was opened again");
    }
    let acknowledged = load.end().await;
    check(&servers, &acknowledged).await;
    running.kill();
    let (_running, servers) = broker(&log, "127.0.0.1:0");
    check(&servers, &acknowledged).await;
}
