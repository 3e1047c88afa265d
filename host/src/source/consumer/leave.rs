//! The end: the pipeline's own consumer is deregistered.

use std::future::Future;
use std::time::Duration;

use super::{Consumer, Wanted};
use crate::ports::ConsumerKey;
use crate::source::classify::{SourceError, SourceErrorKind};

/// Pause after the first failure; doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(2);

impl Consumer {
    /// Deregisters the consumer if this pipeline registered it and is not to keep it; tries again within `timeout` what may
    /// pass. What is left then is told with the command that removes it: it is no failure of the run, and the note of it
    /// stays, so that the next graceful stop tries again.
    pub async fn deregister(&self, timeout: Duration) {
        let Wanted::Managed { name, keep: false } = &self.wanted else { return };
        let mut last = None;
        let left = tokio::time::timeout(timeout, self.leave(name, &mut last)).await;
        if left == Ok(true) {
            return;
        }
        let why = last.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string());
        tracing::warn!(
            stream = self.stream.name(),
            reason = why,
            "consumer {name:?} may still be registered, and costs money as long as it is; the next stop of this pipeline tries \
             again, or remove it with `{}`",
            self.deregister_command(name)
        );
    }

    /// Whether nothing of the pipeline's own is left.
    async fn leave(&self, name: &str, last: &mut Option<SourceError>) -> bool {
        let mut latest = self.latest.lock().await;
        let Some(ours) = latest.noted.clone().filter(|ours| ours.name == name) else { return true };
        let arn = match ours.arn {
            Some(arn) => Some(arn),
            // A registration whose answer nobody waited for.
            None => match repeat(last, || self.api.describe_consumer(ConsumerKey::Name(name))).await {
                Some(found) => found.map(|found| found.arn),
                None => return false,
            },
        };
        if let Some(arn) = &arn
            && repeat(last, || self.api.deregister_consumer(arn)).await.is_none()
        {
            return false;
        }
        tracing::info!(stream = self.stream.name(), "consumer {name:?} is deregistered");
        // A note that stays matches no later consumer: the ARN of this one never comes back.
        if let Err(error) = self.note(&mut latest.noted, None).await {
            tracing::debug!(%error, "the note of the consumer stays");
        }
        true
    }
}

/// Makes a call until it succeeds or fails for good.
async fn repeat<T, F, Fut>(last: &mut Option<SourceError>, mut call: F) -> Option<T>
where
    T: Default,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, SourceError>>,
{
    let mut bound = PAUSE;
    loop {
        let error = match call().await {
            Ok(answer) => return Some(answer),
            Err(error) if error.kind == SourceErrorKind::ConsumerGone => return Some(T::default()),
            Err(error) => error,
        };
        let may_pass = error.kind.may_pass();
        *last = Some(error);
        if !may_pass {
            return None;
        }
        tokio::time::sleep(bound.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
        bound = bound.saturating_mul(2).min(PAUSE_MAX);
    }
}
