//! The fake: keeps elements where a test can look.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::columns::Column;
use crate::ports::{Settle, Sink, SinkError};

/// A sink in memory with marks (the number of elements kept). Clones look at the same elements.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    shared: Arc<Mutex<Shared>>,
    /// Elements came.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Shared {
    elements: Vec<Vec<u8>>,
    refuse_after: Option<usize>,
}

impl MemorySink {
    /// The elements kept so far, in the order they came.
    #[must_use]
    pub fn elements(&self) -> Vec<Vec<u8>> {
        self.locked(|shared| shared.elements.clone())
    }

    /// Refuses every write once `count` elements are kept; `None` takes writes again.
    pub fn refuse_after(&self, count: Option<usize>) {
        self.locked(|shared| shared.refuse_after = count);
    }

    /// Waits until the elements are as told. Cancel-safe.
    pub async fn until(&self, holds: impl Fn(&[Vec<u8>]) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if self.locked(|shared| holds(&shared.elements)) {
                return;
            }
            changed.await;
        }
    }

    fn locked<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        look(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for MemorySink {
    fn resume(&mut self, mark: Option<u64>) -> Result<Option<u64>, SinkError> {
        self.locked(|shared| {
            let found = shared.elements.len() as u64;
            let recorded = mark.unwrap_or(found);
            if found < recorded {
                return Err(SinkError::Shrunk { sink: "memory".into(), target: "memory".into(), found, recorded });
            }
            shared.elements.truncate(usize::try_from(recorded).unwrap_or(usize::MAX));
            Ok(Some(recorded))
        })
    }

    fn write(&mut self, payloads: &Column) -> Result<Option<u64>, SinkError> {
        let written = self.locked(|shared| {
            if shared.refuse_after.is_some_and(|limit| shared.elements.len() >= limit) {
                let source = io::Error::other("refused on request");
                return Err(SinkError::Write { sink: "memory".into(), target: "memory".into(), source });
            }
            shared.elements.extend(payloads.iter().map(<[u8]>::to_vec));
            Ok(Some(shared.elements.len() as u64))
        });
        self.changed.notify_waiters();
        written
    }

    fn settle(&self) -> Result<Option<Settle>, SinkError> {
        Ok(None)
    }
}
