//! Connections for subscriptions.
//!
//! Over TLS the SDK speaks HTTP/2, where everything that one client asks for travels over one connection. That connection
//! has a bounded number of requests under way, past which a request waits unsent, and one window for all of them: a few
//! shards that nobody reads at the moment would fill it, and stall the others. So subscriptions stay away from the client
//! of all other calls, and few share one. A line costs about half a megabyte and, with its first connection, a millisecond for
//! the certificates that are trusted: only reading them can be shared. Lines are filled from the first on, so that the last ones empty and are dropped.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{Config, SharedHttpClient, StalledStreamProtectionConfig};

/// How many subscriptions share a connection. Sixteen shards that nobody reads hold up 16 x 2 MB at most, and the windows
/// for that are the connection's 5 MB: so even then few stall, and for as long as their reader is slow.
const SUBSCRIPTIONS_PER_LINE: usize = 16;

/// Makes HTTP clients that share connections with no other.
type Connect = Box<dyn Fn() -> SharedHttpClient + Send + Sync>;

/// Clients for subscriptions, made on demand; each has connections of its own.
pub(super) struct Lines {
    config: Config,
    connect: Connect,
    open: Mutex<Vec<Arc<Client>>>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("open", &self.open).finish_non_exhaustive()
    }
}

/// A place on a line, given back when dropped.
#[derive(Clone, Debug)]
pub(super) struct Line(Arc<Client>);

impl Line {
    pub(super) fn client(&self) -> &Client {
        &self.0
    }
}

impl Lines {
    /// Lines to where `config` leads, with its credentials. None of its limits of time holds but that of connecting: a
    /// subscription may be silent for as long as its shard is.
    pub(super) fn new(config: &Config, connect: Connect) -> Self {
        let connect_timeout = config.timeout_config().and_then(TimeoutConfig::connect_timeout);
        let mut timeouts = TimeoutConfig::builder();
        timeouts.set_connect_timeout(connect_timeout);
        let timeouts =
            timeouts.disable_operation_timeout().disable_operation_attempt_timeout().disable_read_timeout().build();
        let config = config
            .to_builder()
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self { config, connect, open: Mutex::default() }
    }

    /// A place on the first line that has one.
    pub(super) fn lease(&self) -> Line {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let leased = |line: &Arc<Client>| Arc::strong_count(line) - 1;
        if let Some(line) = open.iter().find(|line| leased(line) < SUBSCRIPTIONS_PER_LINE) {
            let lease = Line(Arc::clone(line));
            open.retain(|line| leased(line) > 0);
            return lease;
        }
        let config = self.config.to_builder().http_client((self.connect)()).build();
        let line = Arc::new(Client::from_conf(config));
        open.push(Arc::clone(&line));
        Line(line)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::aws::{AwsSettings, Connections};

    async fn lines() -> Lines {
        let client = AwsSettings::local("us-east-1", "http://127.0.0.1:1").kinesis().await;
        let connections = Connections::of_environment();
        Lines::new(client.config(), Box::new(move || connections.client()))
    }

    fn clients(leases: &[Line]) -> usize {
        let mut clients: Vec<_> = leases.iter().map(|line| Arc::as_ptr(&line.0)).collect();
        clients.sort();
        clients.dedup();
        clients.len()
    }

    #[tokio::test]
    async fn sixteen_share_a_line_and_what_is_given_back_is_leased_again() {
        let lines = lines().await;
        let mut leases: Vec<Line> = (0..16).map(|_| lines.lease()).collect();
        assert_eq!(clients(&leases), 1);
        leases.extend((0..17).map(|_| lines.lease()));
        assert_eq!(clients(&leases), 3);
        leases.remove(0);
        leases.push(lines.lease());
        assert_eq!(clients(&leases), 3, "the place on the first line");
        assert!(Arc::ptr_eq(&leases[0].0, &leases[leases.len() - 1].0));
    }

    #[tokio::test]
    async fn lines_that_are_empty_are_dropped() {
        let lines = lines().await;
        drop((0..40).map(|_| lines.lease()).collect::<Vec<_>>());
        let _held = lines.lease();
        assert_eq!(lines.open.lock().expect("no panic").len(), 1);
    }

    #[tokio::test]
    async fn nothing_but_connecting_has_a_limit_and_nothing_watches_the_flow() {
        let lines = lines().await;
        let timeouts = lines.config.timeout_config().expect("set");
        assert_eq!(timeouts.connect_timeout(), Some(Duration::from_secs(3)));
        assert_eq!((timeouts.read_timeout(), timeouts.operation_timeout()), (None, None));
        assert_eq!(timeouts.operation_attempt_timeout(), None);
        assert!(!lines.config.stalled_stream_protection().expect("set").is_enabled());
        assert_eq!(lines.config.retry_config().expect("set").max_attempts(), 1);
    }
}
