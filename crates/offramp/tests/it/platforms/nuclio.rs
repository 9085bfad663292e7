//! Nuclio, whose processor the image takes the place of: its probes on two ports.

use super::{Container, check_calls, model};

#[test]
fn probes_and_calls() {
    let container =
        Container::start(&[("NUCLIO_FUNCTION_NAME", "edge"), ("OFFRAMP_MODEL", &model())]);
    assert_eq!(container.get("/__internal/health").status, 200);
    check_calls(&container, "/");
    check_calls(&container, "/live");
    let probes = super::Port("127.0.0.1:8082".parse().unwrap());
    for path in ["/live", "/ready"] {
        assert_eq!(probes.get(path).status, 200, "{path}");
    }
    assert_eq!(probes.get("/").status, 404);
}
