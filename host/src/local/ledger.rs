//! What of the store is in the journal already, and from there what a turn has changed; and the way back, from the
//! journal into an empty store.

use std::collections::BTreeMap;

use aws_smithy_types::base64;
use ferrokinesis::persistence::PersistentStream;
use ferrokinesis::sequence::shard_ix_to_hex;
use ferrokinesis::store::Store;
use ferrokinesis::types::{Consumer, ConsumerStatus, HashKeyRange, StoredRecord, Stream};
use serde::{Deserialize, Serialize};

use super::LocalError;
use super::journal::{Change, JournalRecord, JournalStream, SharedJournal};

/// Records that are read from the journal, or numbers that are drawn, at once.
const PAGE_RECORDS: usize = 2_000;

/// What of the store the journal has, or is about to have.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    streams: BTreeMap<String, Known>,
    settings: String,
}

#[derive(Debug)]
struct Known {
    document: String,
    shards: Vec<Tail>,
}

/// How far a shard is journaled.
#[derive(Clone, Debug)]
struct Tail {
    next_index: u64,
    last: Option<String>,
}

impl Default for Tail {
    /// A shard starts at index 1: 0 is the number of its own beginning.
    fn default() -> Tail {
        Tail { next_index: 1, last: None }
    }
}

/// How much of the store to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Records only: what `PutRecord` and `PutRecords` change.
    Records,
    /// Everything.
    Everything,
}

/// A stream's document: all that the store knows of it besides its records.
#[derive(Debug, Serialize, Deserialize)]
struct StreamDocument {
    stream: PersistentStream,
    policy: Option<String>,
    consumers: Vec<ConsumerDocument>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ConsumerDocument {
    consumer: Consumer,
    policy: Option<String>,
    tags: BTreeMap<String, String>,
}

impl Ledger {
    /// What the store has and the journal does not. The changes count as journaled from now on: the caller keeps them
    /// until they are.
    pub(super) async fn observe(&mut self, store: &Store, scope: Scope) -> Vec<Change> {
        let mut changes = Vec::new();
        match scope {
            Scope::Records => {}
            Scope::Everything => self.observe_streams(store, &mut changes).await,
        }
        for (stream, known) in &mut self.streams {
            for (shard, tail) in known.shards.iter_mut().enumerate() {
                let next_index = store.current_shard_seq(stream, index(shard)).await;
                if next_index != tail.next_index {
                    let records = records_behind(store, stream, shard, tail).await;
                    tail.next_index = next_index;
                    changes.push(Change::Append { stream: stream.clone(), shard, next_index, records });
                }
            }
        }
        changes
    }

    async fn observe_streams(&mut self, store: &Store, changes: &mut Vec<Change>) {
        let names = store.list_stream_names().await;
        self.streams.retain(|stream, _| {
            let kept = names.contains(stream);
            if !kept {
                changes.push(Change::Drop { stream: stream.clone() });
            }
            kept
        });
        for name in names {
            let Some((document, shards)) = document_of(store, &name).await else { continue };
            let known = self.streams.entry(name.clone());
            let known = known.or_insert_with(|| Known { document: String::new(), shards: Vec::new() });
            known.shards.resize(shards.max(known.shards.len()), Tail::default());
            if known.document != document {
                known.document.clone_from(&document);
                changes.push(Change::Describe { stream: name, document });
            }
        }
        let settings = store.get_account_settings().await.to_string();
        if self.settings != settings {
            self.settings.clone_from(&settings);
            changes.push(Change::Settings { document: settings });
        }
    }

    /// Takes what is past retention from the store, and says what the journal has to forget: per shard everything
    /// before the first record that the store still has, which includes what the store dropped while it was read.
    pub(super) async fn sweep(&self, store: &Store) -> Vec<Change> {
        ferrokinesis::retention::sweep_once(store).await;
        let mut changes = Vec::new();
        for (stream, known) in &self.streams {
            for shard in 0..known.shards.len() {
                let (start, end) = (shard_ix_to_hex(index(shard)) + "/", shard_ix_to_hex(index(shard) + 1));
                let first = store.get_records_range_limited(stream, &start, &end, 1).await;
                let before = first.first().map(|(key, _)| sequence_of(key));
                changes.push(Change::Trim { stream: stream.clone(), shard, before });
            }
        }
        changes
    }

    /// Streams with their open shards and how many records were ever put.
    pub(super) async fn totals(store: &Store) -> Vec<(String, usize, u64)> {
        let mut totals = Vec::new();
        for name in store.list_stream_names().await {
            let Ok(stream) = store.get_stream(&name).await else { continue };
            let open = open_shards(&stream);
            let mut records = 0;
            for shard in 0..stream.shards.len() {
                records += store.current_shard_seq(&name, index(shard)).await.saturating_sub(1);
            }
            totals.push((name, open, records));
        }
        totals
    }

    /// Fills an empty store with what the journal has.
    pub(super) async fn restore(
        store: &Store,
        journal: &SharedJournal,
        streams: &[JournalStream],
    ) -> Result<Ledger, LocalError> {
        let mut ledger = Ledger { settings: journal.with(|journal| journal.settings()).await?, ..Ledger::default() };
        let damaged = Damage::in_journal(journal).await;
        let settings = serde_json::from_str(&ledger.settings).map_err(|error| damaged.says(error))?;
        store.put_account_settings(&settings).await.map_err(|error| damaged.says(error))?;
        for entry in streams {
            let known = restore_stream(store, entry).await.map_err(|what| damaged.says(what))?;
            ledger.streams.insert(entry.name.clone(), known);
        }
        let mut after = 0;
        loop {
            let page = journal.with(move |journal| journal.records_after(after, PAGE_RECORDS)).await?;
            let Some(last) = page.last() else { return Ok(ledger) };
            after = last.id;
            let mut batches: BTreeMap<String, Vec<(String, StoredRecord)>> = BTreeMap::new();
            for placed in page {
                let known = ledger.streams.get_mut(&placed.stream);
                let tail = known.and_then(|known| known.shards.get_mut(placed.shard));
                let tail = tail.ok_or_else(|| damaged.says(format!("a record of no shard of {}", placed.stream)))?;
                let key = format!("{}/{}", shard_ix_to_hex(index(placed.shard)), placed.record.sequence);
                tail.last = Some(key.clone());
                batches.entry(placed.stream).or_default().push((key, stored(placed.record)));
            }
            for (stream, batch) in batches {
                store.put_records_batch(&stream, &batch).await.map_err(|error| damaged.says(error))?;
            }
        }
    }
}

/// How many shards of a stream are open.
pub(super) fn open_shards(stream: &Stream) -> usize {
    stream.shards.iter().filter(|shard| shard.sequence_number_range.ending_sequence_number.is_none()).count()
}

/// Says that the journal holds something that does not fit together.
struct Damage {
    path: std::path::PathBuf,
}

impl Damage {
    async fn in_journal(journal: &SharedJournal) -> Damage {
        Damage { path: journal.with(|journal| journal.path().to_owned()).await }
    }

    fn says(&self, what: impl ToString) -> LocalError {
        LocalError::Corrupt { path: self.path.clone(), what: what.to_string() }
    }
}

/// The document of a stream, and how many shards it has; `None` if it is gone meanwhile.
async fn document_of(store: &Store, name: &str) -> Option<(String, usize)> {
    let stream = store.get_stream(name).await.ok()?;
    let mut consumers = Vec::new();
    for consumer in store.list_consumers_for_stream(&stream.stream_arn).await {
        // The store takes half a second to register or to deregister one; kept is what it comes to.
        let consumer = match consumer.consumer_status {
            ConsumerStatus::Deleting => continue,
            ConsumerStatus::Creating | ConsumerStatus::Active => {
                Consumer { consumer_status: ConsumerStatus::Active, ..consumer }
            }
        };
        let policy = store.get_policy(&consumer.consumer_arn).await;
        let tags = store.get_resource_tags(&consumer.consumer_arn).await;
        consumers.push(ConsumerDocument { consumer, policy, tags });
    }
    consumers.sort_by(|left, right| left.consumer.consumer_arn.cmp(&right.consumer.consumer_arn));
    let shards = stream.shards.len();
    let policy = store.get_policy(&stream.stream_arn).await;
    let stream = PersistentStream::from_stream(name.to_owned(), &stream, Vec::new());
    let document = StreamDocument { stream, policy, consumers };
    let document = serde_json::to_string(&document).expect("the document has string keys and finite numbers");
    Some((document, shards))
}

/// The records of a shard behind its tail, which moves to the last of them.
async fn records_behind(store: &Store, stream: &str, shard: usize, tail: &mut Tail) -> Vec<JournalRecord> {
    // The least key that is greater than the last one.
    let start = tail.last.as_ref().map_or_else(|| shard_ix_to_hex(index(shard)) + "/", |last| format!("{last}\0"));
    let found = store.get_records_range(stream, &start, &shard_ix_to_hex(index(shard) + 1)).await;
    if let Some((key, _)) = found.last() {
        tail.last = Some(key.clone());
    }
    found.into_iter().map(|(key, record)| journaled(&key, record)).collect()
}

fn journaled(key: &str, record: StoredRecord) -> JournalRecord {
    JournalRecord {
        sequence: sequence_of(key),
        partition_key: record.partition_key,
        arrived: record.approximate_arrival_timestamp,
        data: base64::decode(record.data).expect("the store refuses a record whose data is no canonical base64"),
    }
}

fn stored(record: JournalRecord) -> StoredRecord {
    StoredRecord {
        partition_key: record.partition_key,
        data: base64::encode(record.data),
        approximate_arrival_timestamp: record.arrived,
    }
}

/// Puts a stream back with its shards, consumers and policies, and lets its shards count on where they were.
async fn restore_stream(store: &Store, entry: &JournalStream) -> Result<Known, String> {
    let document: StreamDocument = serde_json::from_str(&entry.document).map_err(|error| error.to_string())?;
    let (name, stream, _) = document.stream.into_parts();
    let mut shards = vec![Tail::default(); stream.shards.len()];
    for (shard, next_index) in &entry.next_index {
        let tail = shards.get_mut(*shard).ok_or_else(|| format!("a count of no shard of {name}"))?;
        tail.next_index = *next_index;
    }
    store.put_stream(&name, stream.clone()).await.map_err(|error| error.to_string())?;
    for (shard, tail) in shards.iter().enumerate() {
        count_on(store, &stream, shard, tail.next_index).await?;
    }
    let arn = stream.stream_arn.clone();
    store.put_stream(&name, stream).await.map_err(|error| error.to_string())?;
    if let Some(policy) = document.policy {
        store.put_policy(&arn, &policy).await.map_err(|error| error.to_string())?;
    }
    for ConsumerDocument { consumer, policy, tags } in document.consumers {
        let arn = consumer.consumer_arn.clone();
        store.put_consumer(&arn, consumer).await.map_err(|error| error.to_string())?;
        store.put_resource_tags(&arn, &tags).await.map_err(|error| error.to_string())?;
        if let Some(policy) = policy {
            store.put_policy(&arn, &policy).await.map_err(|error| error.to_string())?;
        }
    }
    Ok(Known { document: entry.document.clone(), shards })
}

/// Brings a shard's next sequence index to `next_index`. The store has no call to set it, so numbers are drawn and
/// thrown away, from a version of the stream in which this shard alone is open and takes every hash key (about a
/// microsecond each). Closed shards count on too: their `LATEST` is behind their last record.
async fn count_on(store: &Store, stream: &Stream, shard: usize, next_index: u64) -> Result<(), String> {
    let mut alone = stream.clone();
    for (other, entry) in alone.shards.iter_mut().enumerate() {
        let range = &mut entry.sequence_number_range;
        range.ending_sequence_number = (other != shard).then(|| range.starting_sequence_number.clone());
    }
    alone.shards[shard].hash_key_range = HashKeyRange::new("0".to_owned(), u128::MAX.to_string());
    store.put_stream(&stream.stream_name, alone).await.map_err(|error| error.to_string())?;
    let any_key = vec![0; PAGE_RECORDS];
    loop {
        let missing = next_index.saturating_sub(store.current_shard_seq(&stream.stream_name, index(shard)).await);
        let draw = usize::try_from(missing).unwrap_or(PAGE_RECORDS).min(PAGE_RECORDS);
        if draw == 0 {
            return Ok(());
        }
        let drawn = store.allocate_sequences_batch(&stream.stream_name, &any_key[..draw]).await;
        drawn.map_err(|error| error.to_string())?;
    }
}

/// A shard's index as the store counts it.
fn index(shard: usize) -> i64 {
    i64::try_from(shard).expect("a stream has fewer shards than an i64 can count")
}

/// The sequence number in a key of the store, `shard/sequence`.
fn sequence_of(key: &str) -> String {
    key.split_once('/').map_or(key, |(_, sequence)| sequence).to_owned()
}

#[cfg(test)]
mod tests {
    use ferrokinesis::actions::{Operation, dispatch};
    use ferrokinesis::sequence::{SeqObj, parse_sequence, stringify_sequence};
    use ferrokinesis::store::StoreOptions;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn retention_trims_the_journal_as_it_trims_the_store() {
        let store = Store::new(StoreOptions { create_stream_ms: 0, ..StoreOptions::default() });
        let request = json!({ "StreamName": "quakes", "ShardCount": 2 });
        dispatch(&store, Operation::CreateStream, request).await.expect("the stream is new");
        super::super::gate::settled(&store).await.expect("it becomes active");
        let mut ledger = Ledger::default();
        ledger.observe(&store, Scope::Everything).await;
        // One record that arrived a day and an hour ago, one of now.
        let drawn = store.allocate_sequences_batch("quakes", &[0, 0]).await.expect("the stream is active");
        let old = parse_sequence(&drawn[0].seq_num).expect("the store writes sequence numbers");
        let old = stringify_sequence(&SeqObj { seq_time: old.seq_time.map(|time| time - 25 * 3_600_000), ..old });
        let record =
            StoredRecord { partition_key: "a".to_owned(), data: String::new(), approximate_arrival_timestamp: 0.0 };
        for sequence in [&old, &drawn[1].seq_num] {
            store.put_record("quakes", &format!("00000000/{sequence}"), &record).await.expect("the store takes it");
        }
        let appended = ledger.observe(&store, Scope::Records).await;
        let [Change::Append { shard: 0, next_index: 3, records, .. }] = &appended[..] else { panic!("{appended:?}") };
        assert_eq!(records.len(), 2);

        let stream = "quakes".to_owned();
        assert_eq!(
            ledger.sweep(&store).await,
            [
                Change::Trim { stream: stream.clone(), shard: 0, before: Some(drawn[1].seq_num.clone()) },
                Change::Trim { stream, shard: 1, before: None },
            ]
        );
        assert_eq!(ledger.observe(&store, Scope::Everything).await, [], "nothing is journaled twice");
    }
}
