//! Fission: the fetcher's requests to an environment, and a container that needs none.

use serde_json::json;

use super::{Container, body, check_answer, check_calls, model, package};

const FISSION: (&str, &str) = ("OFFRAMP_PLATFORM", "fission");

fn load_request(filepath: &str) -> String {
    json!({
        "filepath": filepath,
        "functionName": "inference",
        "url": "",
        "FunctionMetadata": {
            "name": "edge", "namespace": "default", "uid": "9c1a-7", "resourceVersion": "12",
            "labels": {}, "annotations": {},
        },
        "envVersion": 3,
    })
    .to_string()
}

#[test]
fn it_is_specialized_once() {
    let dir = tempfile::tempdir().unwrap();
    package(dir.path());
    let folder = dir.path().display().to_string();
    let container = Container::start_blank(&[FISSION]);
    assert_eq!(container.get("/healthz").status, 200);
    let early = container.post("/", &body(0));
    assert_eq!(early.status, 500);
    assert!(early.text().contains("not specialized"), "{early:?}");

    let answer = container.post("/v2/specialize", "edge");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("expected Fission's load request"), "{answer:?}");
    let answer = container.post("/v2/specialize", &load_request("/nowhere"));
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("/nowhere"), "{answer:?}");
    // What failed may be tried again.
    let answer = container.post("/v2/specialize", &load_request(&folder));
    assert_eq!(answer.status, 200, "{answer:?}");
    for path in ["/v2/specialize", "/specialize"] {
        let again = container.post(path, &load_request(&folder));
        assert_eq!((again.status, again.text().as_str()), (400, "Not a generic container"));
    }
    for path in ["/", "/sub/path", "/run"] {
        check_calls(&container, path);
    }
    assert_eq!(container.post("/", &body(0)).json()["answer"]["headers"]["offramp-tier"], "packed");
    assert_eq!(container.get("/healthz").status, 200);
}

#[test]
fn a_package_may_be_a_file_or_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    package(dir.path());
    let archive = dir.path().join("deployarchive");
    zip(&archive, dir.path());
    for file in [dir.path().join("edge.onnx"), archive] {
        let container = Container::start_blank(&[FISSION]);
        let answer = container.post("/v2/specialize", &load_request(file.to_str().unwrap()));
        assert_eq!(answer.status, 200, "{answer:?}");
        check_answer(&container.post("/", &body(0)).json());
    }
}

#[test]
fn an_unknown_function_is_named() {
    let container = Container::start_blank(&[FISSION]);
    let request = json!({ "filepath": "", "functionName": "module.entry" }).to_string();
    let answer = container.post("/v2/specialize", &request);
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("`module.entry` is not a function"), "{answer:?}");
}

#[test]
fn a_container_with_all_it_needs_takes_calls_at_once() {
    let container = Container::start(&[FISSION, ("OFFRAMP_MODEL", &model())]);
    check_calls(&container, "/");
    // As an environment whose image has the sub-model.
    assert_eq!(container.post("/specialize", "").status, 200);
    assert_eq!(container.post("/specialize", "").status, 400);
    check_calls(&container, "/");
}

/// Both files of a package, stored.
pub(super) fn zip(archive: &std::path::Path, folder: &std::path::Path) {
    let made = std::process::Command::new("python3")
        .args(["-m", "zipfile", "-c"])
        .arg(archive)
        .args([folder.join("edge.onnx"), folder.join("offramp.env")])
        .status();
    assert!(made.is_ok_and(|status| status.success()), "python3 makes no archive");
}
