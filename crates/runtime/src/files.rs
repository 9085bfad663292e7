//! Files that are there whole or not at all, whenever the machine stops.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Read and written by this process's user alone.
pub(crate) const PRIVATE: u32 = 0o600;
/// A folder that only this process's user looks into.
const PRIVATE_DIR: u32 = 0o700;

/// Writes a file so that a crash leaves what was there before, or the new text. It is on the disk when this returns.
pub(crate) fn write_whole(path: &Path, text: &[u8], mode: u32) -> std::io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let new = path.with_file_name(name);
    // One of an earlier run may have another mode.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Has the names in a folder on the disk.
fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Makes a folder, and those above it, that nobody else looks into.
pub(crate) fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(dir)
}
