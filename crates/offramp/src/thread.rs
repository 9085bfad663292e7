//! Threads for those who pass records to one another.
//!
//! A record goes to and fro between broker, consumer, inference and producer some nine times. At rates at which a thread
//! sleeps in between, being woken is most of what a record costs: an edge node whose parts all ran on one runtime of two
//! threads took 400 µs of processor time for each of 1,000 records a second, and 255 with broker and tier on one thread.

use std::convert::Infallible;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// What still reads or writes a file when a thread ends may take this long.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A thread with a runtime of its own. It ends when this is dropped, whatever still runs on it.
#[derive(Debug)]
pub(crate) struct Thread {
    runtime: Handle,
    _until_dropped: oneshot::Sender<Infallible>,
}

impl Thread {
    /// Starts one.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (until_dropped, dropped) = oneshot::channel();
        std::thread::Builder::new().name("records".to_owned()).spawn(move || {
            let Err(_dropped) = runtime.block_on(dropped);
            runtime.shutdown_timeout(END_TIMEOUT);
        })?;
        Ok(Self { runtime: handle, _until_dropped: until_dropped })
    }

    /// Its runtime.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
