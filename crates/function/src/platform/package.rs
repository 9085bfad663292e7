//! What is deployed without a builder: a sub-model, alone or with variables beside it.
//!
//! A package is an `.onnx` file, or a folder (or a ZIP archive of one) that holds at most one, and, if there is
//! something to set, `offramp.env` with a line `NAME=VALUE` for each variable.

use std::path::{Path, PathBuf};

use super::Variables;

const MODEL: &str = "OFFRAMP_MODEL";
const VARIABLES: &str = "offramp.env";
/// Bytes that the files of an archive have together, at most.
const MAX_BYTES: u64 = 512 << 20;

/// The variables that a package sets, `scratch` being a folder for what an archive holds. Errors name the file.
pub(super) fn read(path: &Path, scratch: &Path) -> Result<Variables, String> {
    let shown = path.display();
    if path.is_dir() {
        return of_folder(&inner(path));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        format!("package `{shown}`: {error}; expected a folder, a ZIP archive or an .onnx file")
    })?;
    if bytes.starts_with(b"PK") {
        return of_archive(&bytes, scratch).map_err(|error| format!("package `{shown}`: {error}"));
    }
    Ok(model(path))
}

/// The variables that a package sets that came as bytes: an archive, or a sub-model.
pub(super) fn of_bytes(bytes: &[u8], scratch: &Path) -> Result<Variables, String> {
    if bytes.starts_with(b"PK") {
        return of_archive(bytes, scratch).map_err(|error| format!("the package: {error}"));
    }
    let file = scratch.join("model.onnx");
    write(&file, bytes)?;
    Ok(model(&file))
}

fn model(file: &Path) -> Variables {
    Variables::from([(MODEL.to_owned(), file.to_string_lossy().into_owned())])
}

fn of_archive(archive: &[u8], scratch: &Path) -> Result<Variables, String> {
    for (name, content) in model::unzip(archive, MAX_BYTES)? {
        // Folders of an archive are of no use to us, and names could lead out of ours.
        let Some(name) = Path::new(&name).file_name().filter(|_| !name.ends_with('/')) else {
            continue;
        };
        write(&scratch.join(name), &content)?;
    }
    of_folder(scratch)
}

fn write(file: &Path, content: &[u8]) -> Result<(), String> {
    std::fs::write(file, content).map_err(|error| format!("`{}`: {error}", file.display()))
}

/// The only thing in a folder, if that is a folder: what packed it may have kept its name.
fn inner(folder: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    match (entries.next(), entries.next()) {
        (Some(only), None) if only.path().is_dir() => only.path(),
        _ => folder.to_owned(),
    }
}

fn of_folder(folder: &Path) -> Result<Variables, String> {
    let shown = folder.display();
    let failed = |error: std::io::Error| format!("package `{shown}`: {error}");
    let mut variables = Variables::new();
    match std::fs::read_to_string(folder.join(VARIABLES)) {
        Ok(text) => {
            variables = lines(&text).map_err(|error| format!("package `{shown}`: {error}"))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    if let Some(told) = variables.get(MODEL).filter(|told| !told.contains("://")) {
        // Relative to the package; an absolute one stays what it is.
        variables.insert(MODEL.to_owned(), folder.join(told).to_string_lossy().into_owned());
        return Ok(variables);
    }
    let mut models = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "onnx") {
            models.push(file);
        }
    }
    match models.len() {
        0 => {}
        1 => variables.extend(model(&models[0])),
        several => {
            return Err(format!(
                "package `{shown}` holds {several} .onnx files, expected one, or {MODEL} in `{VARIABLES}`"
            ));
        }
    }
    Ok(variables)
}

/// `NAME=VALUE` lines; empty ones and such that begin with `#` say nothing.
fn lines(text: &str) -> Result<Variables, String> {
    let mut variables = Variables::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        let (name, value) = pair.filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            format!("`{VARIABLES}`, line {}: `{line}`, expected NAME=VALUE", at + 1)
        })?;
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_model_and_variables() {
        let folder = tempfile::tempdir().unwrap();
        let of = || of_folder(folder.path());
        assert_eq!(of(), Ok(Variables::new()));
        std::fs::write(folder.path().join("edge.onnx"), "").unwrap();
        let model = folder.path().join("edge.onnx").display().to_string();
        assert_eq!(of().unwrap()[MODEL], model);
        std::fs::write(folder.path().join("fog.onnx"), "").unwrap();
        assert!(of().unwrap_err().contains("holds 2 .onnx files"));
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("edge")).unwrap();
        std::fs::write(outer.path().join("edge/edge.onnx"), "").unwrap();
        assert!(read(outer.path(), outer.path()).unwrap()[MODEL].ends_with("edge/edge.onnx"));
        let variables = "# which\nOFFRAMP_MODEL = edge.onnx\n\nOFFRAMP_THRESHOLD=0.9\n";
        std::fs::write(folder.path().join(VARIABLES), variables).unwrap();
        let read = of().unwrap();
        assert_eq!((&read[MODEL], read["OFFRAMP_THRESHOLD"].as_str()), (&model, "0.9"));
        std::fs::write(folder.path().join(VARIABLES), "OFFRAMP_THRESHOLD 0.9").unwrap();
        assert!(of().unwrap_err().contains("line 1: `OFFRAMP_THRESHOLD 0.9`, expected NAME=VALUE"));
    }

    #[test]
    fn a_file_is_a_model_or_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deployarchive");
        std::fs::write(&file, "an onnx file").unwrap();
        assert_eq!(read(&file, folder.path()).unwrap()[MODEL], file.display().to_string());
        std::fs::write(&file, b"PK\x03\x04 cut off").unwrap();
        assert!(read(&file, folder.path()).unwrap_err().contains("it has no directory"));
        let none = read(&folder.path().join("none"), folder.path()).unwrap_err();
        assert!(none.contains("none") && none.contains("expected a folder"), "{none}");
    }
}
