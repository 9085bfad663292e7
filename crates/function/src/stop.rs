//! The word to stop, heard by every task of a process.

use tokio::sync::watch;

/// Says stop, once, to every [`Stop`].
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears the word to stop. Clones hear the same one.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A connected pair.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Says stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns when the word was said, or when nobody is left to say it.
    pub async fn said(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Whether the word was said.
    pub fn is_said(&self) -> bool {
        *self.0.borrow()
    }
}
