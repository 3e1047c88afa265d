use std::borrow::Cow;

use crate::bindings::kinesis::sluicebox::pipeline::kinesis_source::RecordBatch;
use crate::columns::value;

/// One record of a Kinesis stream: a view into the batch, which costs nothing until it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    batch: &'a RecordBatch,
    index: usize,
}

impl<'a> Record<'a> {
    pub(crate) fn new(batch: &'a RecordBatch, index: usize) -> Self {
        Self { batch, index }
    }

    /// `Data`: what the producer wrote. Of an aggregated record, the user record's own data.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        value(&self.batch.data, self.index)
    }

    /// `PartitionKey`, with U+FFFD where it is not UTF-8, which the service does not allow.
    #[must_use]
    pub fn partition_key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.partition_key_bytes())
    }

    /// `PartitionKey`, unchecked.
    #[must_use]
    pub fn partition_key_bytes(&self) -> &'a [u8] {
        value(&self.batch.partition_key, self.index)
    }

    /// `SequenceNumber`: decimal digits, usually 56. User records of one aggregated record share it.
    #[must_use]
    pub fn sequence_number(&self) -> &'a str {
        digits(value(&self.batch.sequence_number, self.index))
    }

    /// Which user record of an aggregated one this is, from 0. `None` if nothing in the batch was aggregated.
    #[must_use]
    pub fn sub_sequence(&self) -> Option<u64> {
        self.batch.sub_sequence.get(self.index).copied()
    }

    /// The explicit hash key of an aggregated user record: decimal digits.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<&'a str> {
        let column = &self.batch.explicit_hash_key;
        if column.ends.is_empty() {
            return None;
        }
        Some(digits(value(column, self.index))).filter(|key| !key.is_empty())
    }

    /// `ApproximateArrivalTimestamp` in milliseconds since the epoch, -1 where the service told none. Not monotonic.
    #[must_use]
    pub fn arrival_ms(&self) -> i64 {
        self.batch.approximate_arrival[self.index]
    }

    /// `EncryptionType` is `KMS`.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.batch.encryption.get(self.index) == Some(&1)
    }

    /// `ShardId`.
    #[must_use]
    pub fn shard_id(&self) -> &'a str {
        &self.batch.shard.shard_id
    }

    /// `StreamARN`.
    #[must_use]
    pub fn stream_arn(&self) -> &'a str {
        &self.batch.shard.stream_arn
    }

    /// `MillisBehindLatest` of the answer that held the record: a hint.
    #[must_use]
    pub fn millis_behind_latest(&self) -> Option<i64> {
        self.batch.shard.millis_behind_latest
    }

    /// 1 when the record is handed over for the first time since the host started, one more at each replay.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.batch.attempt
    }
}

fn digits(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}
