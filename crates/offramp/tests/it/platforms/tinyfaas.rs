//! tinyFaaS: a probe and one route.

use super::{Container, body, check_calls, model};

#[test]
fn a_probe_and_a_function() {
    let container =
        Container::start(&[("OFFRAMP_PLATFORM", "tinyfaas"), ("OFFRAMP_MODEL", &model())]);
    assert_eq!(container.get("/health").status, 200);
    check_calls(&container, "/fn");
    assert_eq!(container.post("/", &body(0)).status, 404);
}
