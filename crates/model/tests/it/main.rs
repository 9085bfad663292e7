//! The crate as its users see it, on real files where they are at hand.

#![cfg(test)]

mod calibrate;
mod committed;
mod evaluate;
mod garbage;
mod golden;
mod guarantee;
mod keras;
mod onnx;
mod onnx_runtime;

use std::path::PathBuf;

/// A directory of data that is too big or too foreign to be part of the project: `shared/data`
/// beside the project's root. `None`, with a note on stderr, where it is not there.
fn shared_data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let path = path.join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("{} is not there", path.display());
    None
}
