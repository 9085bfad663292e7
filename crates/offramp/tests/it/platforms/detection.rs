//! Which platform a container finds itself on.

use super::{Container, entry_point, model};

#[test]
fn the_platform_is_said_with_what_told() {
    let model = model();
    let cases: [(&[_], _, _); 5] = [
        (&[], "plain", "no platform's signs"),
        (&[("K_SERVICE", "s"), ("K_REVISION", "r")], "knative", "K_SERVICE and K_REVISION"),
        (&[("fprocess", "x")], "openfaas", "fprocess"),
        (&[("__OW_API_HOST", "h")], "openwhisk", "__OW_API_HOST"),
        (&[("__OW_API_HOST", "h"), ("OFFRAMP_PLATFORM", "plain")], "plain", "told"),
    ];
    for (variables, platform, evidence) in cases {
        let variables = [variables, &[("OFFRAMP_MODEL", model.as_str())]].concat();
        let mut service = crate::process::Service::spawn(&mut entry_point(&variables));
        let line = service.wait_for_line("container ");
        assert!(line.contains(&format!("platform={platform} ")), "{line}");
        assert!(line.contains(evidence), "{line}");
    }
}

#[test]
fn signs_of_two_platforms_are_refused() {
    let both = [("K_SERVICE", "s"), ("K_REVISION", "r"), ("NUCLIO_FUNCTION_NAME", "f")];
    let output = entry_point(&both).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("`knative` (K_SERVICE and K_REVISION) or `nuclio`"), "{said}");
}

#[test]
fn a_connector_does_not_go_where_containers_freeze() {
    let variables = [("__OW_API_HOST", "h"), ("OFFRAMP_FUNCTION", "connector")];
    let output = entry_point(&variables).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("can't run on `openwhisk`"), "{said}");
}

#[test]
fn a_plain_container_answers_every_probe() {
    let container = Container::start(&[("OFFRAMP_MODEL", &model())]);
    for path in ["/_/health", "/_/ready", "/-/ready", "/-/live"] {
        assert_eq!(container.get(path).status, 200, "{path}");
    }
    super::check_calls(&container, "/");
}

#[test]
fn a_sub_model_may_be_fetched_by_url() {
    use sha2::Digest as _;

    let bytes = std::fs::read(model()).unwrap();
    let sha256 = format!("{:x}", sha2::Sha256::digest(&bytes));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/edge.onnx", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                bytes.len()
            );
            std::io::Read::read(&mut &stream, &mut [0; 4096]).unwrap();
            std::io::Write::write_all(&mut &stream, &[head.as_bytes(), &bytes].concat()).unwrap();
        }
    });
    let dir = tempfile::tempdir().unwrap();
    super::open_to_all(dir.path());
    let scratch = ("TMPDIR", dir.path().to_str().unwrap());
    let container =
        Container::start(&[scratch, ("OFFRAMP_MODEL", &format!("{url}#sha256={sha256}"))]);
    super::check_calls(&container, "/");
    let wrong = format!("{url}#sha256={}", "0".repeat(64));
    let output = entry_point(&[scratch, ("OFFRAMP_MODEL", &wrong)]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("has another SHA-256"), "{said}");
}
