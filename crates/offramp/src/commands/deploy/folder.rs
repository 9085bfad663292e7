//! The folder that is rendered into: what is there, what may be overwritten, and what is left of the time before.
//!
//! A list of what was rendered lies in the folder. What it names may be written anew and, once it is not rendered any
//! more, removed: a platform's tool that deploys a folder would deploy it. Anything else is somebody else's.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use deploy::{Content, File, Rendering};

use crate::outcome::OrConfig as _;

/// The list's name.
const LIST: &str = ".offramp-rendered";

/// What is done with files that are somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Refuse,
    Overwrite,
}

/// Writes all files, and says so.
pub(super) fn write(dir: &Path, rendering: &Rendering, foreign: Foreign) -> anyhow::Result<()> {
    let contents: Vec<Vec<u8>> =
        rendering.files.iter().map(content).collect::<anyhow::Result<_>>().or_config()?;
    let before = listed(dir);
    let files = || rendering.files.iter().zip(&contents);
    if foreign == Foreign::Refuse {
        let taken = files().filter(|(file, content)| {
            let there = std::fs::read(dir.join(&file.path));
            !before.contains(&file.path) && there.is_ok_and(|there| there != **content)
        });
        let taken: Vec<String> =
            taken.map(|(file, _)| dir.join(&file.path).display().to_string()).collect();
        if !taken.is_empty() {
            return Err(anyhow!(
                "already there, and not rendered by this: {}; expected another folder, or --force",
                taken.join(", ")
            ))
            .or_config();
        }
    }
    let mut out = std::io::stdout().lock();
    for (File { path, content, .. }, bytes) in files() {
        let path = dir.join(path);
        let folder = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("folder `{}`", folder.display()))?;
        std::fs::write(&path, bytes).with_context(|| format!("file `{}`", path.display()))?;
        if matches!(content, Content::Script(_)) {
            make_executable(&path)?;
        }
        writeln!(out, "wrote {}", path.display())?;
    }
    let paths: BTreeSet<String> = rendering.files.iter().map(|file| file.path.clone()).collect();
    for stale in before.difference(&paths) {
        let path = dir.join(stale);
        if std::fs::remove_file(&path).is_ok() {
            writeln!(out, "removed {}", path.display())?;
        }
    }
    let list = paths.into_iter().map(|path| path + "\n").collect::<Vec<_>>().concat();
    let path = dir.join(LIST);
    std::fs::write(&path, list).with_context(|| format!("file `{}`", path.display()))
}

fn content(file: &File) -> anyhow::Result<Vec<u8>> {
    match &file.content {
        Content::Text(text) | Content::Script(text) => Ok(text.clone().into_bytes()),
        Content::CopyOf(source) => {
            let what =
                || format!("`{}` of the pipeline, which goes to `{}`", source.display(), file.path);
            std::fs::read(source).with_context(what)
        }
    }
}

/// What was rendered here before. Paths out of the folder are none of ours, whoever has written them there.
fn listed(dir: &Path) -> BTreeSet<String> {
    let list = std::fs::read_to_string(dir.join(LIST)).unwrap_or_default();
    let is_inside = |line: &&str| {
        let parts = PathBuf::from(line);
        parts.components().all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    list.lines().filter(is_inside).map(str::to_owned).collect()
}

fn make_executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, permissions)
        .with_context(|| format!("file `{}`", path.display()))
}
