//! The crate as its users see it, on the published files where they are at hand.

#![cfg(test)]

mod collector;
mod published;
mod report;

use std::path::PathBuf;

/// The paper's data: `shared/data/paper` beside the project's root. `None`, with a note on stderr, where it is not there.
fn paper() -> Option<PathBuf> {
    let path =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")).join("paper");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("{} is not there: only generated files are tested", path.display());
    None
}
