//! From the service's structs to the host's own, for pages and for events alike.

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ChildShard, EncryptionType, HashKeyRange, Record, Shard};
use host_core::shard::{HashRange, ShardDescription, ShardId};

use crate::columns::{BATCH_DATA_BYTES_MAX, NO_ARRIVAL, RecordColumns, RecordView, cut};
use crate::ports::{Page, ShardIterator};

/// Turns one answer into columns and checks them. The service's own structs end here.
pub(super) fn page(output: GetRecordsOutput) -> Result<Page, String> {
    let batches = cut(&output.records, BATCH_DATA_BYTES_MAX, view);
    check_order(&batches, &[])?;
    let children = output.child_shards.unwrap_or_default().into_iter().map(describe_child).collect();
    let next = output.next_shard_iterator.map(ShardIterator);
    Ok(Page { batches, next, millis_behind_latest: output.millis_behind_latest, children })
}

/// Everything downstream counts on sequence numbers: that they are numbers, and that they ascend. Two records under one
/// number, which an emulator is known to hand out, would be one position. Done on columns, where they lie side by side:
/// among the service's structs each would be a cache miss of its own. `before` is the number of the record before, empty if there is
/// none.
pub(super) fn check_order(batches: &[RecordColumns], before: &[u8]) -> Result<(), String> {
    let mut last = significant(before);
    for text in batches.iter().flat_map(|batch| batch.sequence_number.iter()) {
        // Without a way out early the comparison is vectorised.
        let all_digits = text.iter().fold(true, |all, byte| all & byte.is_ascii_digit());
        if text.is_empty() || text.len() > 128 || !all_digits {
            let shown: String = String::from_utf8_lossy(text).chars().take(140).collect();
            return Err(format!("SequenceNumber {shown:?} is not 1 to 128 decimal digits"));
        }
        let number = significant(text);
        if !last.is_empty() && (number.len(), number) <= (last.len(), last) {
            let (text, last) = (String::from_utf8_lossy(text), String::from_utf8_lossy(last));
            return Err(format!("SequenceNumber {text} follows {last}: records out of order"));
        }
        last = number;
    }
    Ok(())
}

fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|digit| **digit == b'0').count();
    &number[zeros..]
}

pub(super) fn view(record: &Record) -> RecordView<'_> {
    RecordView {
        sequence_number: &record.sequence_number,
        arrival: record.approximate_arrival_timestamp.as_ref().map_or(NO_ARRIVAL, millis),
        partition_key: record.partition_key.as_deref().unwrap_or_default(),
        kms: record.encryption_type == Some(EncryptionType::Kms),
        data: record.data.as_ref(),
    }
}

/// Milliseconds since the epoch. On the wire a timestamp is a floating-point number of seconds, which falls short of some
/// milliseconds by a hair, so it is rounded: cut off, a record would seem to have arrived a millisecond early.
pub(super) fn millis(at: &DateTime) -> i64 {
    at.secs().saturating_mul(1000).saturating_add(i64::from((at.subsec_nanos() + 500_000) / 1_000_000))
}

pub(super) fn describe_shard(shard: Shard) -> ShardDescription {
    let mut parents = Vec::with_capacity(2);
    for parent in [shard.parent_shard_id, shard.adjacent_parent_shard_id].into_iter().flatten() {
        push_parent(&mut parents, &parent);
    }
    let closed = shard.sequence_number_range.is_some_and(|range| range.ending_sequence_number.is_some());
    let range = shard.hash_key_range.as_ref().and_then(hash_range);
    ShardDescription { id: ShardId::new(&shard.shard_id), parents, range, closed }
}

pub(super) fn describe_child(child: ChildShard) -> ShardDescription {
    let mut parents = Vec::with_capacity(2);
    for parent in &child.parent_shards {
        push_parent(&mut parents, parent);
    }
    let range = child.hash_key_range.as_ref().and_then(hash_range);
    ShardDescription { id: ShardId::new(&child.shard_id), parents, range, closed: false }
}

fn push_parent(parents: &mut Vec<ShardId>, parent: &str) {
    let parent = ShardId::new(parent);
    if !parent.as_str().is_empty() && !parents.contains(&parent) {
        parents.push(parent);
    }
}

/// The slice of the key space, unless its text makes none: lineage stands without it.
fn hash_range(range: &HashKeyRange) -> Option<HashRange> {
    let start = range.starting_hash_key.parse().ok()?;
    let end = range.ending_hash_key.parse().ok()?;
    (start <= end).then_some(HashRange { start, end })
}
