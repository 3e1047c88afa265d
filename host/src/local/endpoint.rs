//! The endpoint: started, served, shut down.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::serve::ListenerExt;
use ferrokinesis::store::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::sync::{RwLock, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::gate::{BODY_BYTES_MAX, Backing, Gate, admit};
use super::ledger::Ledger;
use super::setup::{SetUp, set_up};
use super::tables::Tables;
use super::{LocalError, Notice, Options, StreamSummary, Summary};

/// Open shards of all streams together.
const SHARDS_MAX: u32 = 100_000;
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);
/// How long a stop waits for answers under way.
const DRAIN: Duration = Duration::from_secs(2);

/// A running endpoint. Dropping it stops it without waiting; what was acknowledged is durable either way.
pub struct Endpoint {
    bound: SocketAddr,
    directory: Option<PathBuf>,
    region: String,
    identity: String,
    notices: Vec<Notice>,
    gate: Arc<Gate>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Endpoint {
    /// Listens, restores what the directory holds, creates and seeds the listed streams, then answers.
    ///
    /// # Errors
    /// Whatever keeps it from serving exactly what was asked for; nothing of a seed is kept then.
    pub async fn start(options: Options) -> Result<Endpoint, LocalError> {
        if !options.bind.ip().is_loopback() {
            return Err(LocalError::NotLoopback { bind: options.bind });
        }
        let refused = |source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                return LocalError::PortInUse { bind: options.bind };
            }
            LocalError::Bind { bind: options.bind, source }
        };
        let listener = TcpListener::bind(options.bind).await.map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;

        let store = Store::new(StoreOptions {
            create_stream_ms: 0,
            delete_stream_ms: 0,
            update_stream_ms: 0,
            shard_limit: SHARDS_MAX,
            aws_account_id: options.account.clone(),
            aws_region: options.region.clone(),
            ..StoreOptions::default()
        });
        let SetUp { mut turn, identity, mut notices } = set_up(&store, &options).await?;
        let (tables, differing) = Tables::start(options.directory.as_deref(), &options.tables).await?;
        notices.extend(differing);
        for notice in &notices {
            tracing::warn!(%notice, "what is embedded differs from the list");
        }
        turn.sweep(&store).await?;

        let gate = Arc::new(Gate {
            store: store.clone(),
            durable: options.directory.is_some(),
            turn: RwLock::new(turn),
            changed: watch::Sender::new(0),
            seats: Arc::default(),
            tables,
        });
        drop(tokio::spawn(keep_swept(Arc::downgrade(&gate))));
        let router = ferrokinesis::create_router(store)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn_with_state(Arc::clone(&gate), admit));
        let (stop, server) = serve(listener, router);
        let Options { directory, region, .. } = options;
        Ok(Endpoint { bound, directory, region, identity, notices, gate, stop, server })
    }

    /// `http://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.bound)
    }

    /// Made once at random with the journal, and as long-lived: 32 hex digits. Positions that were kept under another
    /// identity belong to other streams, whatever their names. In memory each start has another.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What it serves now.
    pub async fn summary(&self) -> Summary {
        let totals = Ledger::totals(&self.gate.store).await.into_iter();
        Summary {
            url: self.url(),
            region: self.region.clone(),
            directory: self.directory.clone(),
            tables: self.gate.tables.totals().await,
            streams: totals.map(|(name, open_shards, records)| StreamSummary { name, open_shards, records }).collect(),
            notices: self.notices.clone(),
        }
    }

    /// Serves until `stop` resolves, then shuts down.
    ///
    /// # Errors
    /// [`LocalError::Stopped`] if the endpoint stopped by itself.
    pub async fn serve_until(mut self, stop: impl Future<Output = ()>) -> Result<(), LocalError> {
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut self.server => Some(ended),
        };
        let Some(ended) = ended else {
            self.shutdown().await;
            return Ok(());
        };
        let source = match ended {
            Ok(Ok(())) => io::Error::other("no more connections"),
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        };
        Err(LocalError::Stopped { bind: self.bound, source })
    }

    /// Refuses further changes, lets answers under way leave, stops listening and gives the directory back.
    pub async fn shutdown(self) {
        let Endpoint { gate, stop, mut server, .. } = self;
        let closed = gate.turn.write().await.close();
        // The server may have ended by itself; then nobody listens any more.
        stop.send(()).unwrap_or_default();
        if timeout(DRAIN, &mut server).await.is_err() {
            server.abort();
        }
        if let Some(journal) = closed {
            journal.release().await;
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("bound", &self.bound)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Answers on its own task until the sender is used or dropped.
fn serve(listener: TcpListener, router: Router) -> (oneshot::Sender<()>, JoinHandle<io::Result<()>>) {
    let (stop, stopped) = oneshot::channel();
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its small packets back");
        }
    });
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { drop(stopped.await) });
    (stop, tokio::spawn(served.into_future()))
}

/// Sweeps retention until the endpoint is gone.
async fn keep_swept(gate: Weak<Gate>) {
    let mut due = interval(SWEEP_INTERVAL);
    due.tick().await;
    loop {
        due.tick().await;
        let Some(gate) = gate.upgrade() else { return };
        let mut turn = gate.turn.write().await;
        if let Backing::Closed = turn.backing {
            return;
        }
        if let Err(error) = turn.sweep(&gate.store).await {
            tracing::warn!(%error, "retention was not swept");
        }
    }
}
