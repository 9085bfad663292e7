//! The container image: one static program on an empty file system, with its bill of materials and all licences.
//!
//! | path | |
//! |---|---|
//! | `/offramp` | the program; `/bin/cat` and `/bin/sleep` are links to it, for probes and hooks that run them |
//! | `/models` | what `--models` names |
//! | `/sbom.cdx.json` | `CycloneDX` 1.5 |
//! | `/licenses` | ours, and each dependency's texts, once each |
//!
//! Nothing is pulled. The program is built here, for `aarch64` by Debian's toolchain.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::program::Running;
use crate::run;

const DOCKERFILE: &str = "FROM scratch
COPY root /
ENV PORT=8080
USER 65532:65532
EXPOSE 8080 8081 8082 8888
ENTRYPOINT [\"/offramp\"]
CMD [\"function\"]
";
/// Linked into one file that is loaded where it says.
const STATIC: &str = "-C target-feature=+crt-static -C relocation-model=static";
/// A package whose files are in the program though only a build depends on it.
const FONT: &str = "dejavu";
/// How long a Docker engine may take to start.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a program is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.name())
    }

    const fn docker(self) -> &'static str {
        match self {
            Self::X86_64 => "linux/amd64",
            Self::Aarch64 => "linux/arm64",
        }
    }
}

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let (mut arch, mut profile, mut tag, mut models) = (Arch::X86_64, "dist", None, None);
    let mut rest = arguments;
    while let [option, value, behind @ ..] = rest {
        match (*option, *value) {
            ("--arch", "x86_64") => arch = Arch::X86_64,
            ("--arch", "aarch64") => arch = Arch::Aarch64,
            ("--profile", value @ ("dist" | "release")) => profile = value,
            ("--tag", value) => tag = Some(value.to_owned()),
            ("--models", value) => models = Some(PathBuf::from(value)),
            _ => break,
        }
        rest = behind;
    }
    ensure!(
        rest.is_empty(),
        "image has --arch x86_64|aarch64, --profile dist|release, --tag NAME and --models DIR, not `{}`",
        rest.join(" ")
    );
    let tag = tag.unwrap_or_else(|| format!("offramp:{}", version()));
    let program = build(arch, profile, &[])?;
    let _engine = engine()?;
    let bytes = assemble(arch, &program, models.as_deref(), &tag)?;
    let (whole, pulled) = (bytes as f64 / 1e6, compressed(&tag)? as f64 / 1e6);
    eprintln!("xtask: image `{tag}` for {}: {whole:.1} MB, {pulled:.1} MB to pull", arch.name());
    Ok(())
}

pub(crate) const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Builds the static program, with more in the compiler's environment; returns where it is.
pub(crate) fn build(arch: Arch, profile: &str, more: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let dir = run::root().join("target").join("image");
    let dir = dir.to_str().context("the path of the checkout is not UTF-8")?;
    let mut environment = vec![
        ("CARGO_TARGET_DIR", dir),
        ("RUSTFLAGS", STATIC),
        ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
        ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ];
    environment.extend(more);
    let target = arch.target();
    if arch == Arch::Aarch64 && cfg!(not(target_arch = "aarch64")) {
        cross_toolchain()?;
        environment.extend([
            ("RUSTC", "/usr/bin/rustc"),
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc"),
        ]);
    }
    let arguments = ["build", "--profile", profile, "--package", "offramp", "--target", &target];
    run::cargo_with(&environment, &arguments)?;
    Ok(Path::new(dir).join(target).join(profile).join("offramp"))
}

/// Debian's compiler, and its library and a linker for the other architecture.
pub(crate) fn cross_toolchain() -> anyhow::Result<()> {
    let is_there = Path::new("/usr/lib/rustlib/aarch64-unknown-linux-gnu/lib").is_dir()
        && run::answers("aarch64-linux-gnu-gcc", "--version")
        && run::answers("qemu-aarch64-static", "--version");
    if is_there {
        return Ok(());
    }
    let packages = [
        "rustc-web",
        "libstd-rust-web-dev:arm64",
        "gcc-aarch64-linux-gnu",
        "libc6-dev-arm64-cross",
        "qemu-user-static",
    ];
    run::program("dpkg", &["--add-architecture", "arm64"])
        .and_then(|()| run::program("apt-get", &["update", "--quiet"]))
        .and_then(|()| {
            let install = ["install", "--yes", "--quiet"];
            run::program("apt-get", &[&install[..], &packages].concat())
        })
        .with_context(|| {
            format!(
                "building for aarch64 needs Debian's {}, which could not be installed",
                packages.join(", ")
            )
        })
}

/// A Docker engine: the one that runs, or one that is started here and ends with this.
pub(crate) fn engine() -> anyhow::Result<Option<Running>> {
    if run::answers("docker", "version") {
        return Ok(None);
    }
    run::installed("dockerd", "--version", "docker.io")?;
    let log = std::fs::File::create(run::root().join("target").join("dockerd.log"))?;
    let mut dockerd = Command::new("dockerd");
    dockerd.stdout(Stdio::null()).stderr(log);
    let mut running = Running(dockerd.spawn().context("dockerd could not be started")?);
    let deadline = Instant::now() + ENGINE_TIMEOUT;
    while !run::answers("docker", "version") {
        if let Some(status) = running.0.try_wait()? {
            bail!("no Docker engine here: dockerd ended ({status}); target/dockerd.log says why");
        }
        ensure!(Instant::now() < deadline, "dockerd does not answer; target/dockerd.log says why");
        crate::program::wait(Duration::from_millis(200));
    }
    Ok(Some(running))
}

/// Puts an image together; returns its size in bytes.
pub(crate) fn assemble(
    arch: Arch,
    program: &Path,
    models: Option<&Path>,
    tag: &str,
) -> anyhow::Result<u64> {
    let context = run::root().join("target").join("image").join(format!("context-{}", arch.name()));
    if context.exists() {
        std::fs::remove_dir_all(&context)?;
    }
    let root = context.join("root");
    for folder in ["bin", "etc", "licenses", "models", "tmp"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777))?;
    std::fs::copy(program, root.join("offramp"))
        .with_context(|| format!("`{}` is not there", program.display()))?;
    std::fs::set_permissions(root.join("offramp"), std::fs::Permissions::from_mode(0o755))?;
    for name in ["cat", "sleep"] {
        symlink("../offramp", root.join("bin").join(name))?;
    }
    std::fs::write(root.join("etc/passwd"), "offramp:x:65532:65532::/tmp:/sbin/nologin\n")?;
    for file in models.map(std::fs::read_dir).transpose()?.into_iter().flatten() {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "onnx") {
            std::fs::copy(&file, root.join("models").join(file.file_name().unwrap_or_default()))?;
        }
    }
    let packages = packages(&arch.target())?;
    std::fs::write(root.join("sbom.cdx.json"), serde_json::to_string(&bill(&packages))?)?;
    std::fs::write(root.join("licenses/THIRD-PARTY.txt"), licences(&packages)?)?;
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        std::fs::copy(run::root().join(name), root.join("licenses").join(name))?;
    }
    std::fs::write(context.join("Dockerfile"), DOCKERFILE)?;
    let context = context.to_str().context("the path of the checkout is not UTF-8")?;
    run::program(
        "docker",
        &["build", "--quiet", "--platform", arch.docker(), "--tag", tag, context],
    )?;
    let size = Command::new("docker")
        .args(["image", "inspect", "--format", "{{.Size}}", tag])
        .output()
        .context("docker could not be started")?;
    let size = String::from_utf8_lossy(&size.stdout).trim().to_owned();
    size.parse().with_context(|| format!("docker says that the image has `{size}` bytes"))
}

/// Bytes of an image as registries give it away.
fn compressed(tag: &str) -> anyhow::Result<u64> {
    let mut save = Command::new("docker").args(["save", tag]).stdout(Stdio::piped()).spawn()?;
    let image = save.stdout.take().context("stdout is piped")?;
    let packed = Command::new("gzip").arg("-6").stdin(image).output().context("gzip")?;
    ensure!(save.wait()?.success(), "docker does not save `{tag}`");
    Ok(packed.stdout.len() as u64)
}

/// What is linked into the program, by name and version.
fn packages(target: &str) -> anyhow::Result<Vec<Value>> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", target];
    let metadata: Value = serde_json::from_str(&run::cargo_output(&arguments)?)?;
    let nodes =
        metadata["resolve"]["nodes"].as_array().context("cargo metadata resolves nothing")?;
    let nodes: BTreeMap<&str, &Value> =
        nodes.iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let all = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let is_program = |package: &&Value| package["name"] == "offramp" && package["source"].is_null();
    let program = all.iter().find(is_program).and_then(|package| package["id"].as_str());
    let mut reached = BTreeSet::new();
    let mut next = vec![program.context("the program is not among its packages")?];
    while let Some(id) = next.pop() {
        if !reached.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).and_then(|node| node["deps"].as_array());
        for dependency in dependencies.into_iter().flatten() {
            // Neither what builds nor what tests is linked, but for the font that a build packs.
            let kinds = dependency["dep_kinds"].as_array();
            let is_linked = kinds.into_iter().flatten().any(|kind| kind["kind"].is_null());
            if is_linked || dependency["name"] == FONT {
                next.extend(dependency["pkg"].as_str());
            }
        }
    }
    let is_reached =
        |package: &&Value| package["id"].as_str().is_some_and(|id| reached.contains(id));
    Ok(all.iter().filter(is_reached).cloned().collect())
}

fn bill(packages: &[Value]) -> Value {
    let components = packages.iter().map(|package| {
        let (name, version) = (package["name"].as_str(), package["version"].as_str());
        let (name, version) = (name.unwrap_or_default(), version.unwrap_or_default());
        json!({
            "type": "library",
            "name": name,
            "version": version,
            "purl": format!("pkg:cargo/{name}@{version}"),
            "licenses": [{ "expression": package["license"].as_str().unwrap_or("NOASSERTION") }],
        })
    });
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "application", "name": "offramp", "version": version() } },
        "components": components.collect::<Vec<_>>(),
    })
}

/// The texts of all licences, each once, with the packages that come with it.
///
/// Of a package that may be had under either of two, MIT's is taken.
fn licences(packages: &[Value]) -> anyhow::Result<String> {
    let mut texts: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    let mut without = BTreeSet::new();
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
        let name = format!("{} {} ({})", text("name"), text("version"), text("license"));
        let folder = PathBuf::from(text("manifest_path"));
        let mut files = Vec::new();
        licence_files(folder.parent().context("a manifest is in a folder")?, &mut files)?;
        let licence = text("license").replace('/', " OR ");
        let leaves_a_choice = licence.contains("MIT OR") || licence.contains("OR MIT");
        if leaves_a_choice && files.iter().any(|file| file_name(file).contains("MIT")) {
            files.retain(|file| !file_name(file).contains("APACHE"));
        }
        let mut has_text = false;
        for file in files {
            if let Ok(text) = std::fs::read_to_string(file) {
                // The same words are broken into lines in several ways.
                let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
                let first = || (text.trim().to_owned(), BTreeSet::new());
                texts.entry(words).or_insert_with(first).1.insert(name.clone());
                has_text = true;
            }
        }
        if !has_text {
            without.insert(name);
        }
    }
    let mut all = String::from("What is linked into offramp, and its licences.\n");
    for (text, names) in texts.values() {
        let names = names.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        write!(all, "\n{}\n{names}\n\n{text}\n", "=".repeat(72))?;
    }
    if !without.is_empty() {
        let names = without.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        write!(all, "\n{}\nWithout a text of their own:\n{names}\n", "=".repeat(72))?;
    }
    Ok(all)
}

/// Files with licences in a package, and in the folders of what it carries.
fn licence_files(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = file_name(&path);
        if path.is_dir() {
            licence_files(&path, files)?;
        } else if ["LICEN", "COPYING", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            files.push(path);
        }
    }
    Ok(())
}

/// The name of a file, in capitals.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().to_uppercase()
}
