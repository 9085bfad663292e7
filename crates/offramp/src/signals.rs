//! Stopping on SIGINT and SIGTERM.

use function::stop::{self, Stop};
use tokio::signal::unix::{SignalKind, signal};

/// A [`Stop`] that is said at the first SIGINT or SIGTERM. A second one ends the process at once.
pub(crate) fn stop_on_signal() -> anyhow::Result<Stop> {
    let (stopper, stop) = stop::channel();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Lives as long as the process.
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
        };
        next().await;
        tracing::info!("stopping; once more to stop at once");
        stopper.stop();
        next().await;
        std::process::exit(1);
    });
    Ok(stop)
}
