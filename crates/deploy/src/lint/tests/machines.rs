//! Mistakes on one machine.

use super::check_each;

#[test]
fn mistakes_in_a_compose_file_are_found() {
    let good = include_str!("../../../tests/lint/compose.yaml");
    check_each(
        "compose.yaml",
        good,
        &[
            (" --advertise broker:9092", "", "--advertise SERVICE:PORT"),
            ("    volumes: ['log:/data']\n", "", "warning: … a volume for --dir"),
            ("'log:/data'", "'logs:/data'", "is logs … a volume under `volumes`"),
            ("depends_on: [broker]", "depends_on: [brokr]", "is brokr … one of broker, edge"),
            ("    stop_grace_period: 45s\n", "", "10s, the default … more than 20s"),
            ("stop_grace_period", "stop_grace_periods", "did you mean `stop_grace_period`"),
            (
                "ports: ['9100']",
                "ports: ['9100:9100']",
                "is 9100:9100, expected no port of the host",
            ),
            ("ports: ['9100']", "container_name: edge", "container_name` … no such key"),
            ("OFFRAMP_METRICS=", "OFFRAMP_METRIC=", "OFFRAMP_METRICS?"),
        ],
    );
}

#[test]
fn mistakes_in_a_unit_are_found() {
    let good = include_str!("../../../../../docs/offramp.service");
    check_each(
        "offramp.service",
        good,
        &[
            ("TimeoutStopSec=45", "TimeoutStopSec=10", "is 10 … more than 20"),
            ("ReadWritePaths=", "ReadWritePath=", "did you mean `ReadWritePaths`"),
            ("Restart=always", "After=x", "Service.After` is x, expected it in [Unit]"),
            ("[Install]", "[Instal]", "[Unit], [Service] or [Install]"),
        ],
    );
}
