//! What rendering results in: files by name, and what a person should know of them.

use std::path::PathBuf;

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it belongs, relative to the output folder.
    pub path: String,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// This text.
    Text(String),
    /// This text, which is a program to run.
    Script(String),
    /// What another file has: a sub-model.
    CopyOf(PathBuf),
}

impl File {
    pub(crate) fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Text(text.into()) }
    }
}

/// All files of a pipeline for a platform.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendering {
    /// The files, in the order in which they are to be read.
    pub files: Vec<File>,
    /// What the platform does otherwise than the pipeline file may have one think.
    pub notes: Vec<String>,
}

/// The head of a file: who has written it, and from what.
pub(crate) fn header(comment: &str, what: &str) -> String {
    format!(
        "{comment} {what}\n{comment} Written by `offramp deploy render`: change the pipeline file instead.\n"
    )
}
