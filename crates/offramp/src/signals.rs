//! Stopping on SIGINT and SIGTERM.

use std::sync::Arc;

use function::stop::{self, Stop, Stopper};
use tokio::signal::unix::{SignalKind, signal};

/// A [`Stop`] that is said at the first SIGINT or SIGTERM. A second one ends the process at once.
pub(crate) fn stop_on_signal() -> anyhow::Result<Stop> {
    stopping().map(|(_, stop)| stop)
}

/// The same, and what else may say it.
pub(crate) fn stopping() -> anyhow::Result<(Arc<Stopper>, Stop)> {
    let (stopper, stop) = stop::channel();
    let stopper = Arc::new(stopper);
    let said = Arc::clone(&stopper);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Lives as long as the process.
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
        };
        next().await;
        tracing::info!("stopping; once more to stop at once");
        said.stop();
        next().await;
        std::process::exit(1);
    });
    Ok((stopper, stop))
}
