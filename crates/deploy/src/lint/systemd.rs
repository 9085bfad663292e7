//! systemd: keys that it logs and passes over.

use super::duration::seconds;
use super::{At, Findings, Source};

/// What a connector takes to finish the records that it has in flight.
const DRAIN_S: f64 = 20.0;

/// The keys of units like ours. There are hundreds more, so that only what is nearly one of these is a slip.
const KEYS: [(&str, &[&str]); 3] = [
    (
        "Unit",
        &[
            "Description",
            "Documentation",
            "Wants",
            "Requires",
            "BindsTo",
            "PartOf",
            "Conflicts",
            "After",
            "Before",
            "OnFailure",
            "StartLimitBurst",
            "StartLimitIntervalSec",
            "ConditionPathExists",
            "AssertPathExists",
        ],
    ),
    (
        "Service",
        &[
            "Type",
            "User",
            "Group",
            "DynamicUser",
            "WorkingDirectory",
            "Environment",
            "EnvironmentFile",
            "ExecStart",
            "ExecStartPre",
            "ExecStartPost",
            "ExecReload",
            "ExecStop",
            "ExecStopPost",
            "Restart",
            "RestartSec",
            "TimeoutStartSec",
            "TimeoutStopSec",
            "TimeoutSec",
            "KillMode",
            "KillSignal",
            "Delegate",
            "MemoryMax",
            "MemoryHigh",
            "CPUQuota",
            "TasksMax",
            "LimitNOFILE",
            "StateDirectory",
            "RuntimeDirectory",
            "CacheDirectory",
            "ReadWritePaths",
            "ReadOnlyPaths",
            "AmbientCapabilities",
            "CapabilityBoundingSet",
            "LockPersonality",
            "MemoryDenyWriteExecute",
            "NoNewPrivileges",
            "PrivateDevices",
            "PrivateTmp",
            "ProtectClock",
            "ProtectControlGroups",
            "ProtectHome",
            "ProtectHostname",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectKernelTunables",
            "ProtectProc",
            "ProtectSystem",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "SystemCallArchitectures",
            "SystemCallFilter",
            "UMask",
            "StandardOutput",
            "StandardError",
            "SyslogIdentifier",
            "WatchdogSec",
            "Nice",
            "CPUWeight",
            "IOWeight",
        ],
    ),
    ("Install", &["WantedBy", "RequiredBy", "Also", "Alias", "DefaultInstance"]),
];

/// Whether a file is a unit, by its name.
pub(super) fn is_unit(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "service")
}

pub(super) fn check(source: &Source, findings: &mut Findings<'_>) {
    let mut section = "";
    let mut runs_tier = false;
    let mut stop: Option<(usize, &str)> = None;
    for (at, line) in source.text.lines().enumerate() {
        let at = |key: String| At { file: &source.name, line: at + 1, key };
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            let known = KEYS.iter().any(|(known, _)| *known == name);
            if !known && !name.starts_with("X-") {
                let expected = "[Unit], [Service] or [Install]";
                findings.error(
                    at(format!("[{name}]")),
                    "a section",
                    expected,
                    "systemd passes over what it does not know",
                );
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        keys(section, key.trim(), value, at, findings);
        runs_tier |=
            key == "ExecStart" && (value.contains(" up") || value.contains(" function connector"));
        if key == "TimeoutStopSec" {
            stop = Some((at(String::new()).line, value));
        }
    }
    if let Some((line, value)) = stop.filter(|_| runs_tier)
        && seconds(value).is_some_and(|time| time <= DRAIN_S)
    {
        let at = At { file: &source.name, line, key: "TimeoutStopSec".to_owned() };
        let why = "offramp finishes what is in flight within that; records of one that is killed come again";
        findings.error(at, value, format!("more than {DRAIN_S}"), why);
    }
}

fn keys<'a>(
    section: &str,
    key: &str,
    value: &str,
    at: impl Fn(String) -> At<'a>,
    findings: &mut Findings<'_>,
) {
    let Some((_, known)) = KEYS.iter().find(|(known, _)| *known == section) else { return };
    if known.contains(&key) {
        return;
    }
    let here = at(format!("{section}.{key}"));
    let elsewhere = KEYS.iter().find(|(_, known)| known.contains(&key));
    let nearest =
        known.iter().min_by_key(|one| strsim::levenshtein(key, one)).expect("there are some");
    if let Some((other, _)) = elsewhere {
        findings.error(
            here,
            value,
            format!("it in [{other}]"),
            "systemd passes over what it does not know",
        );
    } else if strsim::levenshtein(key, nearest) <= 1 + nearest.len() / 8 {
        let expected = format!("a known key: did you mean `{nearest}`?");
        findings.error(here, value, expected, "systemd passes over what it does not know");
    }
}
