//! Apache Kafka as a peer: fetched once, started on loopback, gone with whoever started it.
//!
//! ```text
//! target/peers/kafka/pom.xml      what Maven is asked for
//! target/peers/kafka/jars/        the class path: the broker, its tools, the Java client
//! target/peers/kafka/fetched      the pom that the jars came from; fetched anew when they differ
//! ```
//!
//! A shell keeps each broker: it kills the broker and removes its directory once its standard input ends, so
//! nothing stays behind however this process ends, by a signal that nobody can catch included.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::run;

/// The newest release, pinned: a peer that changes by itself would make yesterday's commit fail. Kafka 4 needs
/// Java 17.
const VERSION: &str = "4.4.0";
/// A start takes about three seconds, and several times that beside a build.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Between two looks at whether the broker answers, or whether anybody still wants it.
const PAUSE: Duration = Duration::from_millis(100);

/// Gets the broker's command as arguments; what it throws away is in `$1`, and standard input says how long.
/// The broker is killed, not asked: nobody reads what a graceful end would leave.
pub(crate) const KEEPER: &str = r#"
discard=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & broker=$!
(read -r _ <&3; kill -KILL $broker) 2>/dev/null &
wait $broker; status=$?
[ -z "$discard" ] || rm -rf -- "$discard"
exit $status
"#;

/// Runs a broker until a signal comes or the parent is gone. Its address goes to standard output.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let parent = parent_id();
    let (mut port, mut dir) = (None, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("`{argument}` needs a value"));
        match *argument {
            "--port" => {
                let value = value?;
                let number = value.parse().with_context(|| format!("`{value}` is no port"))?;
                port = Some(number);
            }
            "--dir" => dir = Some(PathBuf::from(value?)),
            other => bail!("`{other}` is not an option of kafka; it has --port N and --dir D"),
        }
    }
    let kafka = Kafka::start_at(port, None, dir.as_deref(), Waits::Short)?;
    eprintln!("xtask: Kafka {VERSION} answers; its jars are in {}", kafka.jars().display());
    writeln!(std::io::stdout(), "{}", kafka.bootstrap())?;
    loop {
        match kafka.exited.recv_timeout(PAUSE) {
            Err(RecvTimeoutError::Timeout) if parent_id() == parent => {}
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            ended => return Err(kafka.failure(ended.ok())),
        }
    }
}

/// How long Kafka waits for what tests wait for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Waits {
    AsShipped,
    Short,
}

impl Waits {
    fn settings(self) -> &'static str {
        match self {
            Self::AsShipped => "",
            Self::Short => "group.min.session.timeout.ms=100\nlog.cleaner.backoff.ms=100\n",
        }
    }
}

/// A broker of its own, on loopback. Dropping it ends it and removes what it wrote.
#[derive(Debug)]
pub(crate) struct Kafka {
    bootstrap: SocketAddr,
    jars: PathBuf,
    log: PathBuf,
    /// Closing it ends the broker.
    lifeline: Option<ChildStdin>,
    exited: Receiver<ExitStatus>,
    keeper: Option<JoinHandle<()>>,
}

impl Kafka {
    /// Starts a broker on a free port, in a directory that goes with it.
    pub(crate) fn start(waits: Waits) -> anyhow::Result<Self> {
        Self::start_at(None, None, None, waits)
    }

    /// A directory that was given is kept. Clients are told to come to the port `advertised`, if it is given.
    pub(crate) fn start_at(
        port: Option<u16>,
        advertised: Option<u16>,
        dir: Option<&Path>,
        waits: Waits,
    ) -> anyhow::Result<Self> {
        let jars = fetch()?;
        let (port, controller_port) = free_ports(port)?;
        let bootstrap = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let name = format!("offramp-kafka-{}-{port}", std::process::id());
        let temporary = std::env::temp_dir().join(name);
        let discard = dir.is_none().then_some(temporary.as_path());
        let dir = dir.unwrap_or(&temporary);
        std::fs::create_dir_all(dir).with_context(|| format!("`{}`", dir.display()))?;
        let kafka = format(&jars, dir, [port, advertised.unwrap_or(port), controller_port], waits)
            .and_then(|properties| Self::keep(&jars, dir, discard, &properties, bootstrap));
        match (kafka, discard) {
            (Ok(kafka), _) => {
                kafka.wait_until_it_answers()?;
                Ok(kafka)
            }
            (Err(error), discard) => {
                discard.map(std::fs::remove_dir_all);
                Err(error)
            }
        }
    }

    /// Starts the broker in the care of its keeper.
    fn keep(
        jars: &Path,
        dir: &Path,
        discard: Option<&Path>,
        properties: &Path,
        bootstrap: SocketAddr,
    ) -> anyhow::Result<Self> {
        let log = dir.join("kafka.log");
        let output = std::fs::File::create(&log)?;
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(discard.map_or(OsStr::new(""), Path::as_os_str))
            .args(["java", "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg("-cp")
            .arg(jars.join("*"))
            .arg("kafka.Kafka")
            .arg(properties)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Away from the terminal's signals, so that it has time to clean up.
            .process_group(0)
            .spawn()
            .context("`sh` could not be started")?;
        let lifeline = keeper.stdin.take();
        let (sender, exited) = mpsc::channel();
        let keeper = std::thread::spawn(move || {
            if let Ok(status) = keeper.wait() {
                // Nobody listens any more where the broker was dropped.
                let _ = sender.send(status);
            }
        });
        let (jars, keeper) = (jars.to_owned(), Some(keeper));
        Ok(Self { bootstrap, jars, log, lifeline, exited, keeper })
    }

    /// What clients call `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        self.bootstrap.to_string()
    }

    /// The broker's process: the one whose command names its directory.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        let dir = self.log.parent().context("the log lies in the broker's directory")?;
        let dir = dir.as_os_str().as_encoded_bytes();
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let names = |word: &[u8]| command.windows(word.len()).any(|part| part == word);
            if command.starts_with(b"java") && names(b"kafka.Kafka") && names(dir) {
                return Ok(pid);
            }
        }
        bail!("Kafka's process is not there")
    }

    /// The folder of the jars: with `/*` it is the class path of the Java client and Kafka's tools.
    pub(crate) fn jars(&self) -> &Path {
        &self.jars
    }

    fn wait_until_it_answers(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !answers(self.bootstrap) {
            match self.exited.recv_timeout(PAUSE) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    let log = self.log_tail();
                    bail!("Kafka does not answer after {START_TIMEOUT:?}; it says:\n{log}")
                }
                ended => return Err(self.failure(ended.ok())),
            }
        }
        Ok(())
    }

    fn failure(&self, status: Option<ExitStatus>) -> anyhow::Error {
        let status = status.map_or_else(|| "ended".to_owned(), |status| status.to_string());
        anyhow::anyhow!("Kafka ended ({status}); it said:\n{}", self.log_tail())
    }

    /// The end of what the broker has said, as far as its directory is still there.
    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Whether a broker at this address answers `ApiVersions`.
fn answers(address: SocketAddr) -> bool {
    // Length, key 18, version 0, correlation id 1, no client id.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let answer = || -> std::io::Result<[u8; 8]> {
        let mut stream = TcpStream::connect_timeout(&address, PAUSE)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&REQUEST)?;
        let mut response = [0; 8];
        stream.read_exact(&mut response)?;
        Ok(response)
    };
    answer().is_ok_and(|response| response.ends_with(&[0, 0, 0, 1]))
}

/// Two ports nobody has, or the given one and another.
fn free_ports(given: Option<u16>) -> anyhow::Result<(u16, u16)> {
    let bind = |port: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("port {port} of 127.0.0.1 can't be had"))
    };
    // Both at once, so that they differ.
    let (listener, controller) = (bind(given.unwrap_or(0))?, bind(0)?);
    Ok((listener.local_addr()?.port(), controller.local_addr()?.port()))
}

/// Writes the broker's settings, and formats its storage unless that was done before.
fn format(
    jars: &Path,
    dir: &Path,
    [port, advertised, controller]: [u16; 3],
    waits: Waits,
) -> anyhow::Result<PathBuf> {
    let data = dir.join("data");
    let properties = dir.join("server.properties");
    let settings = format!(
        "process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={data}
auto.create.topics.enable=true
group.initial.rebalance.delay.ms=200
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
{waits}",
        data = data.display(),
        waits = waits.settings()
    );
    std::fs::write(&properties, settings)?;
    if !data.join("meta.properties").exists() {
        let formatted = Command::new("java")
            .arg("-cp")
            .arg(jars.join("*"))
            .args(["kafka.tools.StorageTool", "format", "--cluster-id", "b2ZmcmFtcC1rYWZrYS1wZQ"])
            .arg("--config")
            .arg(&properties)
            .output()
            .context("`java` could not be started")?;
        if !formatted.status.success() {
            let said = String::from_utf8_lossy(&formatted.stderr);
            bail!("Kafka's storage in `{}` could not be formatted: {said}", data.display());
        }
    }
    Ok(properties)
}

/// The folder of Kafka's jars, filled if need be.
pub(crate) fn fetch() -> anyhow::Result<PathBuf> {
    run::installed("java", "-version", "default-jre-headless")?;
    let dir = run::root().join("target").join("peers").join("kafka");
    let (jars, fetched, pom) = (dir.join("jars"), dir.join("fetched"), pom());
    if std::fs::read_to_string(&fetched).is_ok_and(|fetched| fetched == pom) {
        return Ok(jars);
    }
    run::installed("mvn", "--version", "maven")?;
    if jars.exists() {
        std::fs::remove_dir_all(&jars)?;
    }
    std::fs::create_dir_all(&dir)?;
    let pom_file = dir.join("pom.xml");
    std::fs::write(&pom_file, &pom)?;
    let pom_file = pom_file.to_str().context("the path of the checkout is not UTF-8")?;
    let mut arguments = vec!["-B", "-q", "-Dstyle.color=never", "-f", pom_file];
    arguments.extend(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    arguments.push("-DoutputDirectory=jars");
    run::program("mvn", &arguments)
        .with_context(|| format!("Apache Kafka {VERSION} could not be fetched with Maven"))?;
    std::fs::write(fetched, pom)?;
    Ok(jars)
}

/// Asks for the broker, its tools and its client, and for a logger that says little.
fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.apache.kafka", "kafka-clients", VERSION),
        // The version of the API that Kafka is built with.
        dependency("org.slf4j", "slf4j-simple", "1.7.36"),
    ];
    format!(
        "<project>\n<modelVersion>4.0.0</modelVersion>\n<groupId>offramp</groupId>\
         <artifactId>kafka-peer</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{}\n</dependencies>\n</project>\n",
        dependencies.join("\n")
    )
}
