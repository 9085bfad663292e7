//! What is wrong with a file, all of it at once.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line of the file, from 1.
    pub line: usize,
    /// Names the key, its value and what was expected.
    pub text: String,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// At least one problem, in the order of the file.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{count} problem{}", if count == 1 { "" } else { "s" })?;
        for Problem { line, text } in &self.problems {
            write!(f, "\n  line {line}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Collects problems while a file is read.
#[derive(Debug)]
pub(crate) struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
}

impl<'t> Problems<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Notes a problem at a byte position of the file.
    pub(crate) fn add(&mut self, at: usize, text: impl Into<String>) {
        let line = 1 + self.text.bytes().take(at).filter(|&byte| byte == b'\n').count();
        self.found.push(Problem { line, text: text.into() });
    }

    /// The value, if nothing was wrong.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Invalid> {
        self.found.sort();
        self.found.dedup();
        if self.found.is_empty() { Ok(value) } else { Err(Invalid { problems: self.found }) }
    }
}
