//! `sluicebox local`: the embedded endpoint on its own, until stopped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::cli::Local;
use crate::commands::run::local_directory;
use crate::commands::signals::stop_on_signal;
use crate::commands::{DONE, FAILED, WRONG, complain, print, read_manifests, with_causes};
use crate::config::Manifest;
use crate::local::{Endpoint, LocalError, LocalStream, LocalTable, Options, Seed};
use crate::progress::Screen;

/// Two manifests want the same stream to be different things.
#[derive(Debug, thiserror::Error)]
#[error(
    "stream {stream} is listed differently by two manifests; let both list the same shards and seed, or only one of them list it"
)]
pub struct StreamListedTwice {
    stream: String,
}

/// Serves the streams of manifests and of the command line.
#[must_use]
pub fn local(arguments: &Local, screen: &Screen) -> u8 {
    let Some(manifests) = read_manifests(screen, &arguments.manifests) else { return WRONG };
    let options = match options(arguments, &manifests) {
        Ok(options) => options,
        Err(error) => {
            complain(screen, &error);
            return WRONG;
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(screen, &format!("no runtime: {error}"));
            return FAILED;
        }
    };
    match runtime.block_on(serve(options, screen)) {
        Ok(()) => DONE,
        Err(error) => {
            complain(screen, &error);
            FAILED
        }
    }
}

async fn serve(options: Options, screen: &Screen) -> Result<(), String> {
    let stop = stop_on_signal().map_err(|error| format!("no signal handlers: {error}"))?;
    let endpoint = Endpoint::start(options).await.map_err(|error| with_causes(&error))?;
    print(screen, &endpoint.summary().await);
    endpoint.serve_until(stop.cancelled_owned()).await.map_err(|error: LocalError| with_causes(&error))
}

fn options(arguments: &Local, manifests: &[Manifest]) -> Result<Options, String> {
    let mut streams: BTreeMap<String, LocalStream> = BTreeMap::new();
    for stream in streams_of(manifests).map_err(|error| error.to_string())? {
        streams.insert(stream.name.clone(), stream);
    }
    for stream in &arguments.streams {
        streams
            .insert(stream.name.clone(), LocalStream { name: stream.name.clone(), shards: stream.shards, seed: None });
    }
    for seed in &arguments.seeds {
        let Some(stream) = streams.get_mut(&seed.stream) else {
            return Err(format!(
                "--seed names stream {}, which is not there; add --stream {}",
                seed.stream, seed.stream
            ));
        };
        stream.seed = Some(Seed { file: seed.path.clone(), partition_key: seed.partition_key.clone(), digest: None });
    }
    let listed = tables_of(manifests)?.into_iter().chain(arguments.tables.iter().cloned());
    // As with streams, what is given here holds.
    let tables: BTreeMap<String, LocalTable> = listed.map(|table| (table.name.clone(), table)).collect();
    let mut directories: Vec<_> =
        manifests.iter().map(|manifest| manifest.local.durable.then(|| local_directory(manifest))).collect();
    directories.dedup();
    if directories.len() > 1 {
        return Err(
            "the manifests keep their streams in different places; serve them one directory at a time".to_owned()
        );
    }
    let first = manifests.first().map(|manifest| manifest.source.stream());
    let defaults = Options::default();
    Ok(Options {
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)),
        directory: directories.pop().flatten(),
        region: first.map_or(defaults.region, |stream| stream.region().to_owned()),
        account: first.map_or(defaults.account, |stream| stream.account().to_owned()),
        streams: streams.into_values().collect(),
        tables: tables.into_values().collect(),
    })
}

/// The tables that manifests list under `[local]`.
///
/// # Errors
/// Two of them list one table differently.
pub fn tables_of<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> Result<Vec<LocalTable>, String> {
    let mut tables: BTreeMap<&str, &LocalTable> = BTreeMap::new();
    for table in manifests.into_iter().flat_map(|manifest| &manifest.local.tables) {
        if tables.insert(&table.name, table).is_some_and(|other| other != table) {
            return Err(format!(
                "table {} is listed differently by two manifests; let both list the same key, or only one of them list it",
                table.name
            ));
        }
    }
    Ok(tables.into_values().cloned().collect())
}

/// The streams that manifests list under `[local]`.
///
/// # Errors
/// Two of them list one stream differently.
pub fn streams_of<'a>(
    manifests: impl IntoIterator<Item = &'a Manifest>,
) -> Result<Vec<LocalStream>, StreamListedTwice> {
    let mut streams: BTreeMap<&str, &crate::config::LocalStream> = BTreeMap::new();
    for stream in manifests.into_iter().flat_map(|manifest| &manifest.local.streams) {
        if streams.insert(&stream.name, stream).is_some_and(|other| other != stream) {
            return Err(StreamListedTwice { stream: stream.name.clone() });
        }
    }
    let local = |stream: &crate::config::LocalStream| LocalStream {
        name: stream.name.clone(),
        shards: stream.shards,
        seed: stream.seed.as_ref().map(|seed| Seed {
            file: seed.path.clone(),
            partition_key: seed.partition_key.clone(),
            digest: None,
        }),
    };
    Ok(streams.into_values().map(local).collect())
}
