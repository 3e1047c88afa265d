//! The embedded services in a process of their own, so that their work is nobody's cost: creates and fills the streams, says
//! where they and their front are, and serves until its standard input ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use futures_util::{StreamExt as _, TryStreamExt as _};
use host::aws::AwsSettings;
use host::local::{Endpoint, LocalKey, LocalStream, LocalTable, Options};
use host::ports::KeyType;
use serde::{Deserialize, Serialize};

use super::front::{Front, Instead, SHARDS};
use crate::events::{event, partition_key};
use crate::pipeline::REGION;
use crate::report::tell;

/// What `PutRecords` takes at most.
const PUT_RECORDS_MAX: u64 = 500;
/// Requests under way while a stream is filled.
const FILLING: usize = 4;
/// Where everything is taken and nothing kept: a stream and a table.
pub(super) const NULL: &str = "null";
/// Where everything is kept: a stream and a table.
pub(super) const KEPT: &str = "kept";
/// Where nothing is ever answered: a stream and a table.
pub(super) const SILENT: &str = "silent";
/// Where shards take so much: streams, whose front is elsewhere.
pub(super) const LIMITED: [&str; 4] = ["limited-a", "limited-b", "limited-c", "limited-d"];
/// Without any record.
pub(super) const EMPTY: &str = "empty";
/// What stalled sinks are to write: about 200 MB.
pub(super) const WAITING: Source = Source { name: "waiting", records: 200_000, size: 1_000 };
/// What throttled sinks are to write.
pub(super) const FEED: Source = Source { name: "feed", records: 700_000, size: 200 };
/// What is written once and again: to streams, and to tables.
pub(super) const TO_STREAMS: [Source; 2] = [
    Source { name: "records-300", records: 150_000, size: 300 },
    Source { name: "records-1k", records: 75_000, size: 1024 },
];
pub(super) const TO_TABLES: [Source; 2] = [
    Source { name: "items-300", records: 30_000, size: 300 },
    Source { name: "items-1k", records: 15_000, size: 1024 },
];

/// A stream to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) name: &'static str,
    pub(super) records: u64,
    /// Bytes of a record.
    pub(super) size: usize,
}

/// The services' process, ended with this value.
pub(super) struct Server {
    child: Child,
    pub(super) at: Places,
}

/// Where the services are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Places {
    /// The embedded ones.
    pub(super) embedded: String,
    /// Their front.
    pub(super) front: String,
}

impl Server {
    pub(super) fn start() -> Result<Self> {
        tell("filling the streams");
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("--serve-sinks").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let at = serde_json::from_str(&line).context("the services did not start")?;
        Ok(Self { child, at })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing in it is to be kept. Where it cannot be killed it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Serves.
#[tokio::main(flavor = "multi_thread")]
pub(crate) async fn serve() -> Result<()> {
    let sources = || TO_STREAMS.iter().chain(&TO_TABLES).chain([&WAITING, &FEED]);
    let names = sources().map(|source| source.name).chain([NULL, KEPT, SILENT, EMPTY]).chain(LIMITED);
    let shards = u32::try_from(SHARDS)?;
    let stream = |name: &str| LocalStream { name: name.to_owned(), shards, seed: None };
    let key = || LocalKey { name: "event_id".to_owned(), of: KeyType::Text };
    let table = |name: &str| LocalTable { name: name.to_owned(), partition_key: key(), sort_key: None };
    let options = Options {
        streams: names.map(stream).collect(),
        tables: [NULL, KEPT, SILENT].map(table).into(),
        ..Options::default()
    };
    let endpoint = Endpoint::start(options).await?;
    let embedded = endpoint.url();
    let client = AwsSettings::local(REGION, &embedded).kinesis().await;
    for source in sources() {
        fill(&client, source).await?;
    }
    let instead = [(NULL, Instead::Take), (SILENT, Instead::Silence)];
    let instead = instead.map(|(name, instead)| (name.to_owned(), Arc::new(instead)));
    let front = Front::serve(&embedded, instead.into()).await?;
    announce(&serde_json::to_string(&Places { embedded, front })?);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
fn announce(places: &str) {
    println!("{places}");
}

async fn fill(client: &Client, source: &Source) -> Result<()> {
    let requests = (0..source.records).step_by(usize::try_from(PUT_RECORDS_MAX)?).map(|first| async move {
        let numbers = first..source.records.min(first + PUT_RECORDS_MAX);
        let entry = |number: u64| {
            let data = Blob::new(event(number, source.size));
            PutRecordsRequestEntry::builder().partition_key(partition_key(number)).data(data).build()
        };
        let entries = numbers.map(entry).collect::<Result<Vec<_>, _>>()?;
        let output = client.put_records().stream_name(source.name).set_records(Some(entries)).send().await?;
        ensure!(output.failed_record_count.unwrap_or_default() == 0, "{} was not filled: {output:?}", source.name);
        Ok(())
    });
    futures_util::stream::iter(requests).buffer_unordered(FILLING).try_collect::<()>().await
}
