//! Other programs that this one stands in for, under whose names an image without a shell links to it.
//!
//! `OpenFaaS` without HTTP probes runs `cat /tmp/.lock`, and older versions of Fission run `sleep` before they stop a
//! container.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Does what `cat FILE` or `sleep SECONDS` does, if called by such a name.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let name = arguments.next()?;
    let arguments: Vec<_> = arguments.collect();
    let done = match (Path::new(&name).file_name()?.to_str()?, arguments.as_slice()) {
        ("cat", [file]) => {
            std::fs::read(file).and_then(|bytes| std::io::stdout().write_all(&bytes))
        }
        ("sleep", [seconds]) => {
            sleep(seconds.to_str()?.parse().ok()?);
            Ok(())
        }
        ("cat" | "sleep", _) => Err(std::io::Error::other("expected one argument")),
        _ => return None,
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if stderr is closed.
            let _ = writeln!(std::io::stderr(), "{}: {error}", name.display());
            ExitCode::FAILURE
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "this is what it is called for")]
fn sleep(seconds: f64) {
    if let Ok(time) = Duration::try_from_secs_f64(seconds) {
        std::thread::sleep(time);
    }
}
