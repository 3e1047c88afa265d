//! SIGINT and SIGTERM: the first asks to drain, the second ends the process at once.

use std::io;

use tokio_util::sync::CancellationToken;

use crate::commands::FAILED;

/// A token that the first signal cancels. Needs a running tokio runtime.
///
/// # Errors
/// The system refuses signal handlers.
pub fn stop_on_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let asked = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        asked.cancel();
        signals.next().await;
        tracing::warn!("stopping at once: what is under way is done again by the next run");
        at_once();
    });
    Ok(stop)
}

#[expect(clippy::exit, reason = "a second signal asks for exactly this: no drain, no checkpoint")]
fn at_once() {
    std::process::exit(i32::from(FAILED));
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
