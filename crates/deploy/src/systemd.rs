//! systemd: a unit for each tier, and one for the broker where a tier asks for the embedded one.
//!
//! Tiers of other machines are in the same pipeline file; only the units differ.

use std::fmt::Write as _;

use crate::file::{File, Rendering, header};
use crate::image;
use crate::plan::{METRICS_PORT, Place, Plan, STOP_TIMEOUT_S, pipeline_file};

/// Where the units expect what is rendered.
pub(crate) fn home(plan: &Plan<'_>) -> String {
    format!("/etc/offramp/{}", plan.name)
}

pub(crate) fn render(plan: &Plan<'_>) -> Rendering {
    let mut files = image::models(plan, "models");
    let head = header("#", "The pipeline as the units read it.");
    files.push(File::text("offramp.toml", head + &pipeline_file(plan, "models")));
    if let Some(broker) = &plan.pipeline.broker {
        let name = format!("offramp-{}-broker", plan.name);
        let command = format!("broker --dir /var/lib/{name} --listen {}", broker.listen);
        let unit = Unit {
            description: format!("offramp broker of pipeline {}", plan.pipeline.name),
            after: "network-online.target".to_owned(),
            command,
            state: Some(name.clone()),
            memory_mib: None,
            cpu_millis: None,
        };
        files.push(File::text(format!("{name}.service"), unit.text(plan)));
    }
    for (at, place) in plan.places().enumerate() {
        let name = format!("offramp-{}", place.name);
        files.push(File::text(format!("{name}.service"), tier(plan, place, at).text(plan)));
    }
    let notes = vec![format!(
        "the units expect this folder at {}, the program at /usr/local/bin/offramp, and only the units of this machine's tiers \
         enabled",
        home(plan)
    )];
    Rendering { files, notes }
}

fn tier(plan: &Plan<'_>, place: &Place<'_>, at: usize) -> Unit {
    let limits = place.tier.deploy.limits;
    let broker = plan.pipeline.broker.as_ref();
    let broker =
        broker.map(|_| format!(" offramp-{}-broker.service", plan.name)).unwrap_or_default();
    Unit {
        description: format!("offramp tier {} of pipeline {}", place.tier.name, plan.pipeline.name),
        after: format!("network-online.target{broker}"),
        command: format!(
            "up --tier {} --metrics 127.0.0.1:{} offramp.toml",
            place.tier.name,
            usize::from(METRICS_PORT) + at
        ),
        state: None,
        memory_mib: limits.memory_mib,
        cpu_millis: limits.cpu_millis,
    }
}

/// What one unit has and another has not.
struct Unit {
    description: String,
    after: String,
    command: String,
    /// A folder below `/var/lib` that is its own.
    state: Option<String>,
    memory_mib: Option<u64>,
    cpu_millis: Option<u64>,
}

impl Unit {
    fn text(&self, plan: &Plan<'_>) -> String {
        let mut text = header("#", &format!("{}.", self.description));
        let mut line = |line: &str| writeln!(text, "{line}").expect("a text takes any length");
        line("[Unit]");
        line(&format!("Description={}", self.description));
        line("Wants=network-online.target");
        line(&format!("After={}", self.after));
        line("\n[Service]");
        line("DynamicUser=yes");
        line(&format!("WorkingDirectory={}", home(plan)));
        line(&format!("ExecStart=/usr/local/bin/offramp {}", self.command));
        if let Some(state) = &self.state {
            line(&format!("StateDirectory={state}"));
        } else {
            line("ExecReload=/bin/kill -HUP $MAINPID");
        }
        line("Restart=always");
        line("RestartSec=2");
        line(&format!("TimeoutStopSec={STOP_TIMEOUT_S}"));
        if let Some(mib) = self.memory_mib {
            line(&format!("MemoryMax={mib}M"));
        }
        if let Some(millis) = self.cpu_millis {
            line(&format!("CPUQuota={}%", millis.div_ceil(10)));
        }
        for hardening in [
            "LimitNOFILE=65536",
            "CapabilityBoundingSet=",
            "LockPersonality=yes",
            "NoNewPrivileges=yes",
            "PrivateDevices=yes",
            "PrivateTmp=yes",
            "ProtectHome=yes",
            "ProtectKernelTunables=yes",
            "ProtectSystem=strict",
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
            "SystemCallArchitectures=native",
        ] {
            line(hardening);
        }
        line("\n[Install]");
        line("WantedBy=multi-user.target");
        text
    }
}
