//! The broker that the clients are checked against, gone with whoever started it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;

use crate::kafka::{KEEPER, Kafka, Waits};
use crate::run;

/// It starts in milliseconds, and several times that beside a build.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Which broker the clients are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    Ours,
    Kafka,
}

impl Against {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "the embedded broker",
            Self::Kafka => "Kafka",
        }
    }
}

/// A broker of its own on a free port, on an empty log. Dropping it ends it and removes what it wrote.
#[derive(Debug)]
pub(crate) enum Broker {
    Ours(Ours),
    Kafka { address: String, _kafka: Kafka },
}

impl Broker {
    pub(crate) fn start(against: Against, logs: &Path) -> anyhow::Result<Self> {
        match against {
            Against::Ours => Ours::start(&logs.join("broker.log")).map(Self::Ours),
            Against::Kafka => {
                let kafka = Kafka::start(Waits::Short)?;
                Ok(Self::Kafka { address: kafka.bootstrap(), _kafka: kafka })
            }
        }
    }

    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Ours(Ours { address, .. }) | Self::Kafka { address, .. } => address,
        }
    }
}

/// `offramp broker`, in the care of a keeper.
#[derive(Debug)]
pub(crate) struct Ours {
    address: String,
    /// Closing it ends the broker.
    lifeline: Option<ChildStdin>,
    keeper: Child,
}

impl Ours {
    fn start(log: &Path) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("offramp-matrix-{}", std::process::id()));
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(run::root().join("target/release/offramp"))
            .args(["broker", "--listen", "127.0.0.1:0", "--dir"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("`sh` could not be started")?;
        let lifeline = keeper.stdin.take();
        let said = BufReader::new(keeper.stderr.take().expect("standard error is piped"));
        let mut kept = File::create(log)?;
        let (sender, addresses) = mpsc::channel();
        // Ends with the broker.
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                let mut words = line.split_whitespace();
                if let Some(address) = words.find_map(|word| word.strip_prefix("listening=")) {
                    // Nobody listens any more where the start has failed.
                    let _ = sender.send(address.to_owned());
                }
                if writeln!(kept, "{line}").is_err() {
                    return;
                }
            }
        });
        let mut ours = Self { address: String::new(), lifeline, keeper };
        ours.address = addresses
            .recv_timeout(START_TIMEOUT)
            .with_context(|| format!("`offramp broker` does not listen; see {}", log.display()))?;
        Ok(ours)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.keeper.wait();
    }
}
