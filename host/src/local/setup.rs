//! From a directory and a list of streams to a store that is ready to be served.

use std::collections::BTreeMap;

use aws_smithy_types::base64;
use ferrokinesis::actions::{Operation, dispatch};
use ferrokinesis::store::Store;
use ferrokinesis::validation;
use serde_json::{Value, json};

use super::gate::{Backing, Turn, settled};
use super::journal::{Change, Journal, JournalStream, SharedJournal, random_identity};
use super::ledger::{Ledger, Scope, open_shards};
use super::seed::{SeedReader, SeedRecord};
use super::{LocalError, LocalStream, Notice, Options, Seed};

/// `PutRecords` takes no more records than this.
const PUT_RECORDS_MAX: usize = 500;
/// `PutRecords` takes 5 MiB; a seed's requests stay below.
const PUT_BYTES_MAX: usize = 4 << 20;

/// A store that has what the directory holds and what the list asks for.
pub(super) struct SetUp {
    pub(super) turn: Turn,
    pub(super) identity: String,
    pub(super) notices: Vec<Notice>,
}

/// How a stream that exists was set up.
struct Origin {
    shards_listed: Option<u32>,
    seed: Option<String>,
}

/// Fills the empty `store`: restores, creates, seeds.
pub(super) async fn set_up(store: &Store, options: &Options) -> Result<SetUp, LocalError> {
    let (mut turn, identity, origins) = match &options.directory {
        Some(directory) => {
            let (directory, region, account) = (directory.clone(), options.region.clone(), options.account.clone());
            let opened = tokio::task::spawn_blocking(move || {
                let journal = Journal::open(&directory, &region, &account)?;
                let streams = journal.streams()?;
                Ok((journal, streams))
            });
            let (journal, streams) =
                opened.await.expect("opening a journal is never cancelled and returns its errors")?;
            let identity = journal.identity().to_owned();
            let journal = SharedJournal::new(journal);
            let ledger = Ledger::restore(store, &journal, &streams).await?;
            let origins = streams.into_iter().map(|stream| {
                let JournalStream { name, shards_listed, seed, .. } = stream;
                (name, Origin { shards_listed, seed })
            });
            (Turn::new(ledger, Backing::Durable(journal)), identity, origins.collect())
        }
        None => (Turn::new(Ledger::default(), Backing::Memory), random_identity()?, BTreeMap::new()),
    };
    let mut notices = Vec::new();
    for (place, listed) in options.streams.iter().enumerate() {
        if options.streams[..place].iter().any(|earlier| earlier.name == listed.name) {
            return Err(refused(&listed.name, Operation::CreateStream, "it is listed twice"));
        }
        let seed = set_up_stream(store, listed, origins.get(&listed.name), &mut notices).await?;
        let set_up = Change::SetUp { stream: listed.name.clone(), shards: listed.shards, seed };
        // The stream, its seed and the mark: one transaction.
        turn.record_with(store, Scope::Everything, [set_up]).await?;
    }
    Ok(SetUp { turn, identity, notices })
}

/// Creates and seeds a stream as far as that was not done before. The digest of the seed, if it was put now.
async fn set_up_stream(
    store: &Store,
    listed: &LocalStream,
    origin: Option<&Origin>,
    notices: &mut Vec<Notice>,
) -> Result<Option<String>, LocalError> {
    let LocalStream { name, shards, seed } = listed;
    if !store.contains_stream(name).await {
        let request = json!({ "StreamName": name, "ShardCount": shards });
        call(store, name, Operation::CreateStream, request).await?;
        settled(store).await?;
    } else if origin.and_then(|origin| origin.shards_listed) != Some(*shards) {
        let open = store.get_stream(name).await.map_or(0, |stream| open_shards(&stream));
        if open != usize::try_from(*shards).unwrap_or(usize::MAX) {
            notices.push(Notice::OtherShardCount { stream: name.clone(), listed: *shards, open });
        }
    }
    match (seed, origin.and_then(|origin| origin.seed.as_ref())) {
        (Some(seed), None) => put_seed(store, name, seed).await.map(Some),
        (Some(seed), Some(digest)) => {
            // A file that is gone since is no concern: the stream has its records.
            let now = SeedReader::open(&Seed { digest: None, ..seed.clone() }).and_then(SeedReader::finish);
            if now.is_ok_and(|now| now != *digest) {
                notices.push(Notice::OtherSeed { stream: name.clone(), file: seed.file.clone() });
            }
            Ok(None)
        }
        (None, _) => Ok(None),
    }
}

/// Puts all records of a seed into the store; its digest.
async fn put_seed(store: &Store, stream: &str, seed: &Seed) -> Result<String, LocalError> {
    let mut reader = SeedReader::open(seed)?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(SeedRecord { partition_key, data }) = reader.next()? {
        let size = partition_key.len() + data.len();
        if batch.len() == PUT_RECORDS_MAX || bytes + size > PUT_BYTES_MAX {
            put(store, stream, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
        bytes += size;
        batch.push(json!({ "PartitionKey": partition_key, "Data": base64::encode(data) }));
    }
    if !batch.is_empty() {
        put(store, stream, batch).await?;
    }
    reader.finish()
}

async fn put(store: &Store, stream: &str, records: Vec<Value>) -> Result<(), LocalError> {
    let request = json!({ "StreamName": stream, "Records": records });
    let answer = call(store, stream, Operation::PutRecords, request).await?;
    match answer["FailedRecordCount"].as_u64() {
        Some(0) => Ok(()),
        Some(_) | None => Err(refused(stream, Operation::PutRecords, &answer.to_string())),
    }
}

/// One operation as the endpoint itself would do it: checked first.
async fn call(store: &Store, stream: &str, operation: Operation, request: Value) -> Result<Value, LocalError> {
    let rules = operation.validation_rules();
    let fields: Vec<_> = rules.iter().map(|(name, field)| (*name, field)).collect();
    let checked = validation::check_types(&request, &fields);
    let checked = checked.and_then(|request| {
        validation::check_validations(&request, &fields, None)?;
        Ok(request)
    });
    let answer = match checked {
        Ok(request) => dispatch(store, operation, request).await,
        Err(error) => Err(error),
    };
    answer.map(Option::unwrap_or_default).map_err(|error| {
        let message = error.body.message.as_deref().unwrap_or("no reason given");
        refused(stream, operation, &format!("{}: {message}", error.body.error_type))
    })
}

fn refused(stream: &str, operation: Operation, message: &str) -> LocalError {
    LocalError::Refused { stream: stream.to_owned(), operation: operation.to_string(), message: message.to_owned() }
}
