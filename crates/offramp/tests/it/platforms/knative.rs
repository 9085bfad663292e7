//! Knative Serving's runtime contract: the port, the probes, and what a receiver of events makes of statuses. Events
//! themselves are in `events`.

use super::{Container, check_calls, entry_point, model};
use crate::process::{Service, free_address};

const KNATIVE: [(&str, &str); 2] = [("K_SERVICE", "edge"), ("K_REVISION", "edge-00001")];

#[test]
fn probes_and_calls() {
    let container = Container::start(&[KNATIVE[0], KNATIVE[1], ("OFFRAMP_MODEL", &model())]);
    for path in ["/-/ready", "/-/live"] {
        assert_eq!(container.get(path).status, 200);
    }
    let options = container.send("OPTIONS", "/", &[], b"");
    assert_eq!((options.status, options.header("allow")), (200, Some("post, options")));
    for path in ["/", "/init", "/v2/specialize/x", "/healthz"] {
        if !path.starts_with("/v2") {
            check_calls(&container, path);
        }
    }
}

#[test]
fn it_listens_on_the_port_that_it_is_told() {
    let port = free_address().port().to_string();
    let mut command =
        entry_point(&[KNATIVE[0], KNATIVE[1], ("PORT", &port), ("OFFRAMP_MODEL", &model())]);
    let mut service = Service::spawn(&mut command);
    assert_eq!(service.wait_for("container ")["listening"], format!("0.0.0.0:{port}"));
    service.terminate();
}
