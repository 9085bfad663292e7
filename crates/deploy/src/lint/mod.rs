//! What a platform accepts and yet does otherwise than meant, in anybody's artefacts.
//!
//! [`check`] reads files together, because one may contradict another: a trigger names a function that is in none of
//! them. Every key has to be known to its platform; the rules of each platform are in a module of its own, and each
//! says what was expected and why.

mod compose;
mod document;
mod duration;
mod fission;
mod keda;
mod knative;
mod kubernetes;
mod nuclio;
mod openfaas;
mod openwhisk;
mod settings;
mod systemd;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use document::Document;
pub use settings::VARIABLES;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What findings call it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Which OpenFaaS the files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Edition {
    /// The free one, with its limits.
    #[default]
    Community,
    /// Any other.
    Commercial,
}

/// What can't be seen in the files.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whose limits hold.
    pub edition: Edition,
    /// Partitions of topics.
    pub partitions: BTreeMap<String, u32>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It does not do what it says, or is refused.
    Error,
    /// It does something that is rarely wanted.
    Warning,
}

/// Something that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Line of the file, from 1.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// Path of the key, as `functions.edge.label`.
    pub key: String,
    /// What stands there.
    pub value: String,
    /// What was expected.
    pub expected: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, key, value, expected, why, .. } = self;
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{file}:{line}: {severity}: `{key}` is {value}, expected {expected}")?;
        if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
    }
}

/// All that is wrong with files that belong together, by file and line.
pub fn check(sources: &[Source], settings: &Settings) -> Vec<Finding> {
    let mut findings = Findings { found: Vec::new(), settings };
    let mut documents: Vec<Document<'_>> = Vec::new();
    for source in sources {
        if systemd::is_unit(&source.name) {
            systemd::check(source, &mut findings);
        } else {
            documents.extend(document::read(source, &mut findings));
        }
    }
    for document in &documents {
        document::keys(document, &mut findings);
        settings::check(document, &mut findings);
    }
    openfaas::check(&documents, &mut findings);
    fission::check(&documents, &mut findings);
    openwhisk::check(&documents, &mut findings);
    knative::check(&documents, &mut findings);
    keda::check(&documents, &mut findings);
    kubernetes::check(&documents, &mut findings);
    nuclio::check(&documents, &mut findings);
    compose::check(&documents, &mut findings);
    findings.found.sort();
    findings.found.dedup();
    findings.found
}

/// What was found so far, and what it was looked at with.
struct Findings<'s> {
    found: Vec<Finding>,
    settings: &'s Settings,
}

/// Where something stands: its file, its line, and its key.
struct At<'a> {
    file: &'a str,
    line: usize,
    key: String,
}

impl Findings<'_> {
    fn error(
        &mut self,
        at: At<'_>,
        value: impl fmt::Display,
        expected: impl fmt::Display,
        why: &str,
    ) {
        self.add(Severity::Error, at, value.to_string(), expected.to_string(), why);
    }

    fn warning(
        &mut self,
        at: At<'_>,
        value: impl fmt::Display,
        expected: impl fmt::Display,
        why: &str,
    ) {
        self.add(Severity::Warning, at, value.to_string(), expected.to_string(), why);
    }

    fn add(&mut self, severity: Severity, at: At<'_>, value: String, expected: String, why: &str) {
        let At { file, line, key } = at;
        let (file, why) = (file.to_owned(), why.to_owned());
        self.found.push(Finding { file, line, severity, key, value, expected, why });
    }

    fn partitions(&self, topic: &str) -> Option<i64> {
        self.settings.partitions.get(topic).map(|partitions| i64::from(*partitions))
    }
}
