//! Each platform's contract, driven as that platform would drive it: the program in its environment, requests written out
//! of the contract, and nothing of the platform itself.

mod detection;
mod events;
mod fission;
mod knative;
mod nuclio;
mod openfaas;
mod openwhisk;
mod tensors;
mod tinyfaas;
mod topics;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::images::{demo_models, digits, json};
use crate::process::{Service, offramp};

/// A container that runs, and where it listens.
struct Container {
    service: Service,
    port: Port,
}

/// Where a container listens.
#[derive(Debug, Clone, Copy)]
struct Port(SocketAddr);

impl std::ops::Deref for Container {
    type Target = Port;

    fn deref(&self) -> &Port {
        &self.port
    }
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// The head, in lower case.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

/// The program as a container's entry point, with these variables and nothing else of ours: a process, or a container of
/// the image that `OFFRAMP_TEST_IMAGE` names, with no rights, nothing to write but `/tmp`, and 64 MiB.
fn entry_point(variables: &[(&str, &str)]) -> Command {
    // Where it says a port, it is listened to.
    let says_port = variables.iter().any(|(name, _)| *name == "PORT");
    let listen: &[_] = if says_port { &[] } else { &[("OFFRAMP_LISTEN", "127.0.0.1:0")] };
    let Ok(image) = std::env::var("OFFRAMP_TEST_IMAGE") else {
        let mut command = offramp(&["function"]);
        command.envs(listen.iter().chain(variables).copied());
        return command;
    };
    let root = crate::images::root().display().to_string();
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--label", "offramp-test", "--network", "host", "--read-only"]);
    command.args(["--memory", "64m", "--memory-swap", "64m", "--cap-drop", "ALL"]);
    command.args(["--security-opt", "no-new-privileges", "--volume", "/tmp:/tmp"]);
    command.args(["--volume", &format!("{root}:{root}:ro")]);
    for (name, value) in [listen, variables].concat() {
        command.args(["--env", &format!("{name}={value}")]);
    }
    command.arg(image);
    command
}

impl Container {
    /// One that starts with all that it needs.
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut container = Self::start_blank(variables);
        container.service.wait_for(" ready");
        container
    }

    /// One that may have to be told which function it is.
    fn start_blank(variables: &[(&str, &str)]) -> Self {
        let mut service = Service::spawn(&mut entry_point(variables));
        let address = service.wait_for("container ")["listening"].parse().unwrap();
        Self { service, port: Port(address) }
    }
}

impl Port {
    fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = body.len();
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let headers: String = headers.collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: container\r\nConnection: close\r\n{headers}\
             Content-Length: {length}\r\n\r\n"
        );
        self.send_raw(&[head.as_bytes(), body].concat())
    }

    /// Sends bytes as they are, and reads until the other side closes.
    fn send_raw(self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.0).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: answer[end + 4..].to_vec() }
    }

    fn get(self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    fn post(self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("Content-Type", "application/json")], body.as_bytes())
    }
}

/// The edge's sub-model.
fn model() -> String {
    demo_models()[0].display().to_string()
}

/// The paper's body for a digit.
fn body(at: usize) -> String {
    let image: Value = serde_json::from_str(&json(&digits(at + 1), at)).unwrap();
    serde_json::json!({ "key": format!("k{at}"), "value": image, "headers": { "h": "1" } })
        .to_string()
}

/// Whether this is the answer to [`body`], with a digit's probabilities.
fn check_answer(done: &Value) {
    assert_eq!(done["statusCode"], 200, "{done}");
    let back = if done["fate"] == "answered" { &done["answer"] } else { &done["forward"] };
    assert_eq!(back["headers"]["h"], "1", "{done}");
    assert!(back["value"][0].as_array().is_some_and(|row| 10 <= row.len()), "{done}");
}

/// Checks a call of each kind that all platforms have in common.
fn check_calls(container: &Container, path: &str) {
    check_answer(&container.post(path, &body(0)).json());
    let list = format!("[{}, {}]", body(1), body(2));
    let done = container.post(path, &list).json();
    assert_eq!(done.as_array().unwrap().len(), 2);
    done.as_array().unwrap().iter().for_each(check_answer);
    // In chunks, without a length.
    let (first, second) =
        (body(3), format!("POST {path} HTTP/1.1\r\nHost: c\r\nConnection: close\r\n"));
    let (a, b) = first.split_at(first.len() / 2);
    let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
    let request =
        format!("{second}Transfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(a), chunk(b));
    check_answer(&container.send_raw(request.as_bytes()).json());
    let refused = container.post(path, "{\"value\": [1, 2]}");
    assert_eq!((refused.status, &refused.json()["code"]), (400, &"wrong-shape".into()));
    for answer in [refused, container.post(path, &body(0))] {
        let length = answer.body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()), "{answer:?}");
    }
}

/// A folder with a package: the sub-model and a variable.
fn package(dir: &Path) {
    std::fs::copy(&demo_models()[0], dir.join("edge.onnx")).unwrap();
    std::fs::write(dir.join("offramp.env"), "# a package\nOFFRAMP_TIER=packed\n").unwrap();
    open_to_all(dir);
}

/// Lets a container read and write in a folder of a test.
fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// Waits until something is so.
fn until(is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + crate::process::DEADLINE;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it did not come about");
        std::thread::yield_now();
    }
}
