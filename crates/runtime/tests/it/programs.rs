//! Functions as child processes: killed, hanging, leaking, broken, and from zero.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runtime::functions::{Drivers, Functions};
use runtime::process::Programs;
use runtime::{Deployment, Request, Response, Secrets};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// More than anything here takes, on a machine that does something else too.
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    dir: TempDir,
    functions: Functions,
}

/// The example `function`, which is built with the tests.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("examples/function")
}

fn open(dir: &Path) -> Functions {
    let programs = dir.join("programs");
    if std::fs::create_dir(&programs).is_ok() {
        std::os::unix::fs::symlink(program(), programs.join("function")).unwrap();
    }
    let program = Programs::new(programs, secrets(dir), dir.join("run")).unwrap();
    let drivers = Drivers { built_in: [].into(), program: Arc::new(program) };
    Functions::open(dir.join("state"), drivers).unwrap()
}

fn secrets(dir: &Path) -> Secrets {
    Secrets::open(dir.join("secrets")).unwrap()
}

fn node() -> Node {
    let dir = TempDir::new().unwrap();
    let functions = open(dir.path());
    Node { dir, functions }
}

fn deployment(labels: &[(&str, &str)], env: &[(&str, &str)]) -> Deployment {
    let label =
        |&(key, value): &(&str, &str)| (format!("com.openfaas.scale.{key}"), value.to_owned());
    Deployment {
        service: "echo".into(),
        image: "function:latest".into(),
        labels: labels.iter().map(label).collect(),
        env_vars: env.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..Deployment::default()
    }
}

impl Node {
    async fn call(&self, path: &str) -> Response {
        self.try_call(path).await.unwrap()
    }

    async fn try_call(&self, path: &str) -> Result<Response, String> {
        let mut request = Request::new(Bytes::from_static(b"hello"));
        *request.uri_mut() = path.parse().unwrap();
        let called = timeout(PATIENCE, self.functions.call("echo", request)).await;
        called.unwrap().unwrap().map_err(|error| error.to_string())
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Node) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            assert!(started.elapsed() < PATIENCE, "not within a minute: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn pids(&self) -> Vec<u32> {
        let status = self.functions.get("echo").unwrap().pool.status();
        status.instances.iter().filter_map(|instance| instance.pid).collect()
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.functions.get("echo").unwrap().logs.after(0);
        lines.into_iter().map(|line| line.text).collect()
    }
}

fn pid(response: &Response) -> u32 {
    response.headers()["x-pid"].to_str().unwrap().parse().unwrap()
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn is_stopped(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
}

fn send(signal: &str, pid: u32) {
    let sent = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_called_and_what_it_says_is_kept() {
    let node = node();
    secrets(node.dir.path()).create("openfaas-fn", "api-key", b"s3cret").unwrap();
    let mut deployment = deployment(&[], &[("COLOUR", "green")]);
    deployment.secrets = vec!["api-key".into()];
    node.functions.deploy(deployment).unwrap();
    let answer = node.call("/echo").await;
    assert_eq!(answer.body(), "hello");
    assert_eq!(node.call("/env/COLOUR").await.body(), "green");
    let file = node.call("/env/OFFRAMP_SECRET_API_KEY_FILE").await;
    let file = std::str::from_utf8(file.body()).unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "s3cret");
    node.call("/say/something").await;
    node.until("its output is in the logs", |node| node.lines() == ["something"]).await;
    let pid = pid(&answer);
    node.functions.remove("echo").unwrap();
    node.until("the process is gone", |_| !is_there(pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_lost_while_instances_are_killed() {
    let node = Arc::new(node());
    node.functions.deploy(deployment(&[("min", "3")], &[])).unwrap();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                for _ in 0..60 {
                    assert_eq!(node.call("/wait/20").await.body(), "hello");
                }
            })
        })
        .collect();
    let mut killed = 0;
    while calls.iter().any(|calls| !calls.is_finished()) {
        if let Some(&pid) = node.pids().get(killed % 3)
            && is_there(pid)
        {
            send("-KILL", pid);
            killed += 1;
        }
        sleep(Duration::from_millis(150)).await;
    }
    for calls in calls {
        calls.await.unwrap();
    }
    let status = node.functions.get("echo").unwrap().pool.status();
    assert_eq!((status.failed, status.answered), (0, 480));
    assert!(5 < killed && 0 < status.broken_instances, "{killed} kills, {status:?}");
    assert!(status.last_failure.unwrap().contains("signal: 9"));
    node.functions.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_hangs_is_replaced() {
    let node = node();
    node.functions.deploy(deployment(&[], &[])).unwrap();
    let first = pid(&node.call("/echo").await);
    // Its own call makes each instance hang, until it is given up; those of others are carried out meanwhile.
    let hung = node.try_call("/hang");
    let echoed = async {
        node.until("the first one hangs", |_| is_stopped(first)).await;
        node.call("/echo").await
    };
    let echoed = tokio::select! {
        biased;
        called = hung => panic!("no instance answers this, but: {called:?}"),
        echoed = echoed => echoed,
    };
    assert_ne!(pid(&echoed), first);
    assert!(!is_there(first));
    let status = node.functions.get("echo").unwrap().pool.status();
    assert!(0 < status.broken_instances, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_leaks_ends_at_its_limit() {
    let node = node();
    let mut deployment = deployment(&[], &[]);
    deployment.limits.memory = "64Mi".into();
    node.functions.deploy(deployment).unwrap();
    assert_eq!(node.call("/leak/16").await.body(), "1");
    let error = node.try_call("/leak/100").await.unwrap_err();
    assert!(error.contains("instances broke off under the call"), "{error}");
    node.until("the reason is there", |node| {
        let status = node.functions.get("echo").unwrap().pool.status();
        status.last_failure.is_some_and(|reason| {
            reason.starts_with("it was killed at its limit of 64.0 MiB memory")
        })
    })
    .await;
    assert_eq!(node.call("/echo").await.body(), "hello");
    node.functions.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_update_leaves_the_function_as_it_was() {
    let node = Arc::new(node());
    node.functions.deploy(deployment(&[], &[])).unwrap();
    let first = pid(&node.call("/echo").await);
    let calls = tokio::spawn({
        let node = Arc::clone(&node);
        async move {
            for _ in 0..100 {
                assert_eq!(pid(&node.call("/wait/10").await), first);
            }
        }
    });
    node.functions.update(deployment(&[], &[("OFFRAMP_TEST_EXIT", "7")])).unwrap();
    node.until("the logs say why", |node| {
        let why = "no update to function:latest, the function stays as it was: it ended with exit status: 7; \
                   its last line was: this one is broken";
        node.lines().iter().any(|line| line == why)
    })
    .await;
    calls.await.unwrap();
    node.functions.update(deployment(&[], &[("COLOUR", "blue")])).unwrap();
    node.until("the update is there", |node| {
        node.functions.get("echo").unwrap().spec.env.contains_key("COLOUR")
    })
    .await;
    assert_eq!(node.call("/env/COLOUR").await.body(), "blue");
    node.until("the old process is gone", |_| !is_there(first)).await;
    node.functions.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_there_again_and_nothing_of_the_earlier_run_is() {
    let node = node();
    node.functions.deploy(deployment(&[], &[])).unwrap();
    let answer = node.call("/child").await;
    let (first, grandchild) = (pid(&answer), std::str::from_utf8(answer.body()).unwrap());
    let grandchild: u32 = grandchild.parse().unwrap();
    // As if the process had been killed: nobody ends what it has started.
    let again = open(node.dir.path());
    node.until("what was left is ended", |_| !is_there(first) && !is_there(grandchild)).await;
    let request = Request::new(Bytes::from_static(b"hello"));
    let answer = again.call("echo", request).await.unwrap().unwrap();
    assert_eq!(answer.body(), "hello");
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_run_is_refused_with_the_reason() {
    let node = node();
    let refused = |change: fn(&mut Deployment)| {
        let mut deployment = deployment(&[], &[]);
        change(&mut deployment);
        let error = node.functions.deploy(deployment).unwrap_err().to_string();
        error.replace(&*node.dir.path().to_string_lossy(), "DIR")
    };
    assert_eq!(
        refused(|deployment| deployment.image = "host:5000/nobody/knows:1".into()),
        "function `echo`: there is no program `knows` in DIR/programs, expected one of: function"
    );
    assert_eq!(
        refused(|deployment| deployment.env_process = "/bin/sh -c true".into()),
        "function `echo`: `/bin/sh` is not the name of a program in DIR/programs"
    );
    assert_eq!(
        refused(|deployment| deployment.env_process = "../../bin/sh".into()),
        "function `echo`: `../../bin/sh` is not the name of a program in DIR/programs"
    );
    assert_eq!(
        refused(|deployment| deployment.secrets = vec!["none".into()]),
        "function `echo`: there is no secret `none`, expected it to be created first"
    );
    node.functions.deploy(deployment(&[], &[])).unwrap();
    assert_eq!(
        refused(|_| {}),
        "function `echo` exists already, expected a new name, or an update"
    );
}
