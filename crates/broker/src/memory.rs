//! What requests and responses may take of memory in all.
//!
//! Frames that do not fit into a connection's first buffer take a share before they are read, and so do the
//! records of a fetch. When none is left, connections wait with what they have: peers feel it as a slow broker,
//! and the process does not grow.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shares are counted in units of this size.
const UNIT_BYTES: usize = 1024;

#[derive(Debug)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    all: usize,
}

/// Bytes that are in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Share(OwnedSemaphorePermit);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let all = units(bytes);
        Self { units: Arc::new(Semaphore::new(all)), all }
    }

    /// Waits for so many bytes, or for all there are if that is less.
    pub(crate) async fn share(&self, bytes: usize) -> Share {
        let units = units(bytes).min(self.all) as u32;
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        Share(permit.expect("the semaphore is never closed"))
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        (self.all - self.units.available_permits()) * UNIT_BYTES
    }
}

impl Share {
    /// Gives back what is not needed after all.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        drop(self.0.split(self.0.num_permits().saturating_sub(units(bytes))));
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn shares_wait_for_each_other_and_one_of_any_size_fits() {
        let memory = Memory::new(10_000);
        let mut all = memory.share(1_000_000).await;
        assert_eq!(memory.used(), 10 * UNIT_BYTES);
        assert!(timeout(Duration::ZERO, memory.share(1)).await.is_err());
        all.shrink_to(5000);
        assert_eq!(memory.used(), 5 * UNIT_BYTES);
        let more = memory.share(5000).await;
        assert!(timeout(Duration::ZERO, memory.share(1)).await.is_err());
        drop((all, more));
        assert_eq!(memory.used(), 0);
    }
}
