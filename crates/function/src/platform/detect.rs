//! Which platform a process runs on, from what each of them leaves in its containers.

use std::path::Path;

use super::{Platform, Variables};

/// Files that tell of a platform.
const FILES: [&str; 4] = [
    "/etc/nuclio/config/processor/processor.yaml",
    "/etc/podinfo/name",
    "/userfunc",
    "/var/openfaas/secrets",
];

/// What a process sees of where it runs.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Its environment variables.
    pub variables: Variables,
    /// Those of the files in question that are there.
    pub files: Vec<String>,
}

/// A platform, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The platform.
    pub platform: Platform,
    /// What told.
    pub evidence: String,
}

/// What is seen tells of several platforms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this may be {}; expected signs of one platform, or `--platform` (OFFRAMP_PLATFORM)",
    .0.iter().map(|one| format!("`{}` ({})", one.platform, one.evidence)).collect::<Vec<_>>().join(" or ")
)]
pub struct Conflicting(Vec<Detected>);

impl Evidence {
    /// What this process sees.
    pub fn of_this_process() -> Self {
        let files = FILES.into_iter().filter(|file| Path::new(file).exists());
        Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            files: files.map(str::to_owned).collect(),
        }
    }
}

/// The platform that was told, or the one that all signs tell of; none at all is [`Platform::Plain`].
///
/// # Errors
///
/// The signs tell of several.
pub fn detect(told: Option<Platform>, evidence: &Evidence) -> Result<Detected, Conflicting> {
    if let Some(platform) = told {
        return Ok(Detected { platform, evidence: "told".to_owned() });
    }
    let has = |name: &str| evidence.variables.contains_key(name);
    let is_there = |file: &str| evidence.files.iter().any(|there| there == file);
    let [processor, pod, package, secrets] = FILES;
    let signs = [
        (Platform::Knative, has("K_SERVICE") && has("K_REVISION"), "K_SERVICE and K_REVISION"),
        (Platform::OpenWhisk, has("__OW_API_HOST"), "__OW_API_HOST"),
        (Platform::Nuclio, has("NUCLIO_FUNCTION_NAME"), "NUCLIO_FUNCTION_NAME"),
        (Platform::Nuclio, is_there(processor), processor),
        (Platform::Fission, is_there(pod) && is_there(package), "/etc/podinfo/name and /userfunc"),
        (Platform::OpenFaas, has("OPENFAAS_NAME"), "OPENFAAS_NAME"),
        (Platform::OpenFaas, has("fprocess"), "fprocess"),
        (Platform::OpenFaas, is_there(secrets), secrets),
    ];
    let mut found: Vec<Detected> = Vec::new();
    for (platform, is_seen, sign) in signs {
        if is_seen && found.iter().all(|one| one.platform != platform) {
            found.push(Detected { platform, evidence: sign.to_owned() });
        }
    }
    match found.len() {
        0 => Ok(Detected { platform: Platform::Plain, evidence: "no platform's signs".to_owned() }),
        1 => Ok(found.remove(0)),
        _ => Err(Conflicting(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(variables: &[&str], files: &[&str]) -> Evidence {
        Evidence {
            variables: variables.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect(),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
        }
    }

    #[test]
    fn every_platform_is_known_by_what_it_leaves() {
        let [processor, pod, package, secrets] = FILES;
        let cases: [(&[&str], &[&str], Platform); 11] = [
            (&[], &[], Platform::Plain),
            (&["KUBERNETES_SERVICE_HOST", "PORT"], &[], Platform::Plain),
            (&["K_SERVICE", "K_REVISION", "PORT"], &[], Platform::Knative),
            (&["K_SERVICE"], &[], Platform::Plain),
            (&["__OW_API_HOST"], &[], Platform::OpenWhisk),
            (&["NUCLIO_FUNCTION_NAME"], &[processor], Platform::Nuclio),
            (&[], &[processor], Platform::Nuclio),
            (&[], &[pod, package], Platform::Fission),
            (&[], &[package], Platform::Plain),
            (&["fprocess"], &[], Platform::OpenFaas),
            (&["OPENFAAS_NAME"], &[secrets], Platform::OpenFaas),
        ];
        for (variables, files, platform) in cases {
            let detected = detect(None, &seen(variables, files)).unwrap();
            assert_eq!(detected.platform, platform, "{variables:?} {files:?}");
        }
    }

    #[test]
    fn signs_of_two_platforms_are_refused_unless_one_is_told() {
        let both = seen(&["K_SERVICE", "K_REVISION", "__OW_API_HOST"], &[]);
        let error = detect(None, &both).unwrap_err().to_string();
        for part in ["`knative` (K_SERVICE and K_REVISION)", "`openwhisk` (__OW_API_HOST)"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(detect(Some(Platform::Knative), &both).unwrap().platform, Platform::Knative);
    }
}
