//! A session with the real `faas-cli`, unchanged, against the gateway: what a person does with it, from login to
//! removal, with what it prints and how it exits.
//!
//! `faas-cli` is the one of `OFFRAMP_FAAS_CLI` or of the path, or else is installed into `target/peers/go` with Go,
//! which is Debian's where there is none. Where it can't be had, that is said, and fails. What it sends, it sends in
//! `crates/runtime/tests/it/faas_cli.rs` as well, on any machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::program::{self, Running};
use crate::run;

/// Pinned: a client that changes by itself would make yesterday's commit fail.
const PACKAGE: &str = "github.com/openfaas/faas-cli@0.17.8";
/// No command takes longer, those that wait with it.
const COMMAND_TIMEOUT_S: &str = "90";
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(30);
const USER: &str = "admin";
const PASSWORD: &str = "secret";
/// Both, as they are sent.
const AUTHORIZATION: &str = "Basic YWRtaW46c2VjcmV0";

pub(crate) fn test(arguments: &[&str]) -> anyhow::Result<()> {
    let cli = match (found(), arguments) {
        (Some(cli), [] | ["--if-installed"]) => cli,
        (None, ["--if-installed"]) => {
            eprintln!("xtask: faas-cli is not installed: no session with it was run");
            return Ok(());
        }
        (None, []) => fetch()?,
        _ => bail!("usage: cargo xtask faas-cli [--if-installed]"),
    };
    run::cargo(&["build", "--release", "--package", "runtime", "--example", "gateway"])?;
    let dir = program::temporary("faas-cli")?;
    let (gateway, address) = start_gateway(&dir.join("state"))?;
    let mut session = Session { cli, home: dir.join("home"), address, failed: Vec::new() };
    std::fs::create_dir_all(&session.home)?;
    session.run()?;
    drop(gateway);
    std::fs::remove_dir_all(&dir)?;
    if !session.failed.is_empty() {
        bail!("faas-cli was not served as it should be:\n  {}", session.failed.join("\n  "));
    }
    Ok(())
}

fn installed_here() -> PathBuf {
    run::root().join("target").join("peers").join("go").join("faas-cli")
}

/// A `faas-cli` that runs.
fn found() -> Option<PathBuf> {
    let named = std::env::var_os("OFFRAMP_FAAS_CLI").map(PathBuf::from);
    let candidates = named.into_iter().chain([PathBuf::from("faas-cli"), installed_here()]);
    let mut running = candidates.filter(|cli| {
        let version = Command::new(cli).args(["version", "--short-version"]).output();
        version.is_ok_and(|output| output.status.success())
    });
    running.next()
}

fn fetch() -> anyhow::Result<PathBuf> {
    run::installed("go", "version", "golang-go")?;
    let cli = installed_here();
    let dir = cli.parent().context("it lies in a folder")?;
    let into = format!("GOBIN={}", dir.to_str().context("the path of the checkout is not UTF-8")?);
    run::program("env", &[&into, "go", "install", PACKAGE]).with_context(|| {
        format!("{PACKAGE} could not be installed; set OFFRAMP_FAAS_CLI to one that is there")
    })?;
    Ok(cli)
}

fn start_gateway(dir: &Path) -> anyhow::Result<(Running, String)> {
    let example = run::root().join("target").join("release").join("examples").join("gateway");
    let mut command = Command::new(example);
    command.arg("--dir").arg(dir).args(["--auth", &format!("{USER}:{PASSWORD}")]);
    let (running, ready) = program::start(&mut command, "gateway ready")?;
    let address = ready.split_whitespace().find_map(|word| word.strip_prefix("listening="));
    Ok((running, address.context("the gateway does not say where it listens")?.to_owned()))
}

/// What a command should come to.
#[derive(Clone, Copy)]
enum Exits {
    Well,
    Badly,
}

/// Commands, one after the other.
struct Session {
    cli: PathBuf,
    /// Where it keeps whom it is logged in as.
    home: PathBuf,
    address: String,
    failed: Vec<String>,
}

impl Session {
    fn run(&mut self) -> anyhow::Result<()> {
        use Exits::{Badly, Well};
        self.check("list", "", Badly, &["unauthorized"])?;
        let login = "login --username admin --password-stdin";
        self.check(login, "wrong", Badly, &["either username or password is incorrect"])?;
        self.check(login, PASSWORD, Well, &["credentials saved for admin"])?;
        self.check("ready", "", Well, &[])?;
        self.check("version --warn-update=false", "", Well, &["offramp", "process"])?;
        self.functions()?;
        self.secrets()?;
        self.namespaces()?;
        self.check("remove echo", "", Well, &[])?;
        self.check("remove echo", "", Badly, &[])?;
        self.check("remove stacked", "", Well, &[])?;
        self.check("describe echo", "", Badly, &[])
    }

    fn functions(&mut self) -> anyhow::Result<()> {
        use Exits::{Badly, Well};
        let deploy = "deploy --image echo:1 --name echo --env a=b --label l=1";
        self.check(deploy, "", Well, &["Deployed. 202 Accepted.", "/function/echo"])?;
        self.check("ready echo", "", Well, &[])?;
        self.check("deploy --image echo:2 --name echo", "", Well, &["Deployed. 202 Accepted."])?;
        let replace = "deploy --image echo:3 --name echo --replace --update=false";
        self.check(replace, "", Well, &["Deployed. 202 Accepted."])?;
        self.check("deploy --image nowhere --name other", "", Badly, &["not built in"])?;
        let stack = format!(
            "version: 1.0\nprovider:\n  name: openfaas\n  gateway: http://{}\nfunctions:\n  stacked:\n    \
             image: echo:latest\n    skip_build: true\n    environment:\n      a: b\n    labels:\n      \
             com.openfaas.scale.max: \"3\"\n",
            self.address
        );
        std::fs::write(self.home.join("stack.yaml"), stack)?;
        self.check("deploy -f stack.yaml", "", Well, &["stacked", "Deployed. 202 Accepted."])?;
        self.check("list", "", Well, &["echo", "stacked"])?;
        self.check("ready stacked", "", Well, &[])?;
        self.check("invoke echo", "hello", Well, &["hello"])?;
        self.check("invoke nothing", "hello", Badly, &["is not there"])?;
        let (url, told) = callback()?;
        let header = format!("invoke echo --async --header X-Callback-Url={url}");
        self.check(&header, "later", Well, &[])?;
        match told.recv_timeout(CALLBACK_TIMEOUT) {
            Ok(told) if told.contains("later") && told.contains("x-function-status: 200") => {}
            told => self.failed.push(format!("the callback was told {told:?}")),
        }
        self.check("describe echo", "", Well, &["Ready", "echo:3", "Invocations"])?;
        self.check("logs echo --follow=false", "", Well, &["POST /"])?;
        self.check("logs echo --follow=false --since=1h --lines=1", "", Well, &["POST /"])?;
        let scaled = rest(&self.address, "scale-function/stacked", "{\"replicas\": 3}")?;
        if !scaled.contains("202 Accepted") {
            self.failed.push(format!("scaled: {scaled}"));
        }
        self.check("describe stacked", "", Well, &["3"])
    }

    fn secrets(&mut self) -> anyhow::Result<()> {
        use Exits::{Badly, Well};
        self.check("secret create api-key --from-literal=one", "", Well, &["Created: 201"])?;
        // It says that it is there, and some versions exit as if all were well.
        let again = self.output("secret create api-key --from-literal=one", "")?.1;
        if !again.contains("already exists") {
            self.failed.push(format!("a secret that is there: {again}"));
        }
        self.check("secret list", "", Well, &["api-key"])?;
        self.check("secret update api-key --from-literal=two", "", Well, &["Updated: 202"])?;
        let with = "deploy --image echo:4 --name echo --secret api-key";
        self.check(with, "", Well, &["Deployed. 202 Accepted."])?;
        self.check("secret remove api-key", "", Well, &[])?;
        self.check("secret remove api-key", "", Badly, &["unable to find secret"])
    }

    fn namespaces(&mut self) -> anyhow::Result<()> {
        use Exits::Well;
        self.check("namespaces", "", Well, &["openfaas-fn"])?;
        self.check("namespace create dev", "", Well, &[])?;
        self.check("namespaces", "", Well, &["openfaas-fn", "dev"])?;
        let deploy = "deploy --image echo --name echo --namespace dev";
        self.check(deploy, "", Well, &["Deployed. 202 Accepted.", "/function/echo.dev"])?;
        self.check("invoke echo --namespace dev", "there", Well, &["there"])?;
        self.check("list --namespace dev", "", Well, &["echo"])?;
        self.check("remove echo --namespace dev", "", Well, &[])?;
        self.check("namespace remove dev", "", Well, &[])
    }

    /// Runs a command, and notes what is not as it should be.
    fn check(
        &mut self,
        command: &str,
        input: &str,
        exits: Exits,
        prints: &[&str],
    ) -> anyhow::Result<()> {
        let (is_well, printed) = self.output(command, input)?;
        let missing: Vec<&str> =
            prints.iter().filter(|part| !printed.contains(**part)).copied().collect();
        let is_as_expected = is_well == matches!(exits, Exits::Well) && missing.is_empty();
        eprintln!("xtask: {} faas-cli {command}", if is_as_expected { "ok  " } else { "FAIL" });
        if !is_as_expected {
            let exit = if is_well { "well" } else { "badly" };
            self.failed.push(format!("`{command}` exited {exit}, lacks {missing:?}: {printed}"));
        }
        Ok(())
    }

    /// Whether a command exited well, and all that it printed.
    fn output(&self, command: &str, input: &str) -> anyhow::Result<(bool, String)> {
        let mut child = Command::new("timeout")
            .arg(COMMAND_TIMEOUT_S)
            .arg(&self.cli)
            .args(command.split(' '))
            .env("HOME", &self.home)
            .env("OPENFAAS_CONFIG", self.home.join("openfaas"))
            .env("OPENFAAS_URL", format!("http://{}", self.address))
            .current_dir(&self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("faas-cli could not be started")?;
        // One that does not read its input has closed it.
        let _ = child.stdin.take().context("it is piped")?.write_all(input.as_bytes());
        let output = child.wait_with_output()?;
        let printed = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&printed).into_owned()))
    }
}

/// Posts to the gateway what no command of `faas-cli` does; the whole answer.
fn rest(address: &str, path: &str, body: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /system/{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {AUTHORIZATION}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A callback's URL, and the request that comes to it.
fn callback() -> anyhow::Result<(String, Receiver<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/done", listener.local_addr()?);
    let (tell, told) = channel();
    std::thread::spawn(move || -> anyhow::Result<()> {
        let (stream, _) = listener.accept()?;
        let mut reader = BufReader::new(stream);
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let at = request.len();
            reader.read_line(&mut request)?;
            let line = request[at..].trim_end();
            if let Some(("content-length", value)) = line.split_once(": ") {
                length = value.parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        request += &String::from_utf8_lossy(&body);
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        tell.send(request)?;
        Ok(())
    });
    Ok((url, told))
}
