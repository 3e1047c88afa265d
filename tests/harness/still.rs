//! Paused time beside real threads.
//!
//! A runtime whose clock is paused moves it on as soon as its tasks have nothing left to do, and knows nothing of subtasks
//! and sinks that are at work on threads of their own: a minute passes while one of them writes an element. That is what a
//! test of a quiet hour wants, and it is wrong where something must happen without any time in between.

use std::future::Future;
use std::sync::mpsc;

/// While it lives, paused time stands still whatever the tasks do.
#[derive(Debug)]
pub struct Stillness {
    _held: mpsc::Sender<()>,
}

impl Stillness {
    /// Begins now. Only within a runtime of one thread.
    #[must_use]
    pub fn begin() -> Self {
        let (held, until_dropped) = mpsc::channel();
        // The runtime does not move its clock while something blocks.
        drop(tokio::task::spawn_blocking(move || until_dropped.recv()));
        Self { _held: held }
    }
}

/// Awaits what needs no time.
pub async fn still<T>(future: impl Future<Output = T>) -> T {
    let _stillness = Stillness::begin();
    future.await
}
