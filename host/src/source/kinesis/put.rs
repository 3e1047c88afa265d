//! Writing: `PutRecords`, and what its answers mean entry by entry.
//!
//! An answer that succeeds may still have refused any of its entries, each with a code of its own. The codes are judged by
//! the same table as those of whole requests. Two are documented, a throttle of the entry's shard and a failure inside the
//! service; what else may come there is read by what it means:
//!
//! - What waiting mends is tried again, as is a code that nobody knows.
//! - What is wrong with the entry itself is its end.
//! - What is wrong with the stream, its key or the caller (`KMSDisabledException`) is no entry's fault. If the answer took
//!   nothing, it is as good as a refusal of the whole request, and told as one. If it took some, the others are tried again:
//!   the next request tells.

use std::sync::Arc;

use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::batching::{Outcome, Setback};
use host_core::shard::ShardId;

use super::{Address, KinesisStream};
use crate::entry::KinesisEntry;
use crate::ports::{Put, PutApi};
use crate::source::classify::{CallSite, SourceError, SourceErrorKind};

/// The HTTP status that stands for the code of an entry that nobody knows: it may pass.
const STATUS_OF_UNKNOWN: u16 = 500;
/// Codes are cut to this, in characters.
const CODE_CHARS_MAX: usize = 64;

/// What an answer says of one entry.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Said<'a> {
    /// `ShardId`.
    pub(in crate::source) shard: Option<&'a str>,
    /// `ErrorCode` and `ErrorMessage`, if it was refused.
    pub(in crate::source) refusal: Option<(&'a str, &'a str)>,
}

/// Judges an answer entry by entry.
///
/// # Errors
/// Nothing was taken, for a reason that is no entry's own.
pub(in crate::source) fn judge<'a>(
    site: CallSite<'_>,
    answer: impl Iterator<Item = Said<'a>>,
) -> Result<Vec<Put>, SourceError> {
    let mut is_any_taken = false;
    let mut of_all = None;
    let mut one = |Said { shard, refusal }: Said<'a>| {
        let Some((code, message)) = refusal else {
            is_any_taken = true;
            return Put { outcome: Outcome::Done, shard: shard.map(ShardId::new), code: None };
        };
        let error = site.answered(Some(code), STATUS_OF_UNKNOWN, message);
        let outcome = match error.kind {
            SourceErrorKind::Throttled => Outcome::Retry(Setback::Throttled),
            SourceErrorKind::Rejected => Outcome::Poison(error.message),
            SourceErrorKind::Transient
            | SourceErrorKind::Unreachable
            | SourceErrorKind::InUse
            | SourceErrorKind::TooEarly => Outcome::Retry(Setback::Failed),
            SourceErrorKind::Invalid
            | SourceErrorKind::TableGone
            | SourceErrorKind::Denied
            | SourceErrorKind::ExpiredIterator
            | SourceErrorKind::Trimmed
            | SourceErrorKind::StalePosition
            | SourceErrorKind::ShardGone
            | SourceErrorKind::ConsumerGone
            | SourceErrorKind::StreamGone
            | SourceErrorKind::NotFound => {
                of_all.get_or_insert(error);
                Outcome::Retry(Setback::Failed)
            }
        };
        Put { outcome, shard: None, code: Some(code.chars().take(CODE_CHARS_MAX).collect()) }
    };
    let puts = answer.map(&mut one).collect();
    of_all.filter(|_| !is_any_taken).map_or(Ok(puts), Err)
}

impl PutApi for KinesisStream {
    fn put_records<'a>(&'a self, entries: &'a [Arc<KinesisEntry>]) -> BoxFuture<'a, Result<Vec<Put>, SourceError>> {
        async move {
            let site = self.site("PutRecords", None);
            let send = |address: Address| {
                let records = entries.iter().map(|entry| record(entry)).collect();
                let request = self.client.put_records().set_records(Some(records));
                request.set_stream_arn(address.arn).set_stream_name(address.name).send()
            };
            let output = self.call(site, send).await?;
            puts(&output, entries.len(), site)
        }
        .boxed()
    }
}

fn record(entry: &KinesisEntry) -> PutRecordsRequestEntry {
    let KinesisEntry { partition_key, explicit_hash_key, data } = entry;
    PutRecordsRequestEntry::builder()
        .partition_key(partition_key)
        .set_explicit_hash_key(explicit_hash_key.map(|key| key.to_string()))
        .data(Blob::new(data.as_slice()))
        .build()
        .expect("key and data are set")
}

fn puts(output: &PutRecordsOutput, entries: usize, site: CallSite<'_>) -> Result<Vec<Put>, SourceError> {
    let records = output.records();
    if records.len() != entries {
        return Err(site.malformed(&format!("{} results for {entries} records", records.len())));
    }
    if records.iter().any(|record| record.error_code().is_none() && record.sequence_number().is_none()) {
        return Err(site.malformed("a result has neither SequenceNumber nor ErrorCode"));
    }
    let said = records.iter().map(|record| Said {
        shard: record.shard_id(),
        refusal: record.error_code().map(|code| (code, record.error_message().unwrap_or_default())),
    });
    judge(site, said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::canned::{Answer, Canned, exception};

    async fn put(answer: Answer, entries: usize) -> Result<Vec<Put>, SourceError> {
        let entry = || KinesisEntry { partition_key: "k".to_owned(), explicit_hash_key: None, data: vec![1] };
        let entries: Vec<_> = (0..entries).map(|_| Arc::new(entry())).collect();
        let stream = Canned::serve(vec![answer]).await.stream().await.as_target();
        stream.put_records(&entries).await
    }

    fn results(results: &[&str]) -> Answer {
        Answer::Json(200, format!("{{\"FailedRecordCount\":0,\"Records\":[{}]}}", results.join(",")))
    }

    #[tokio::test]
    async fn each_result_is_read_whatever_the_count_of_failures_says() {
        let refused = r#"{"ErrorCode":"InternalFailure","ErrorMessage":"Internal Service Failure"}"#;
        let taken = r#"{"ShardId":"shardId-000000000007","SequenceNumber":"1","ErrorCode":null}"#;
        let unplaced = r#"{"SequenceNumber":"2"}"#;
        let puts = put(results(&[refused, taken, unplaced]), 3).await.expect("an answer");
        let shard = Some(ShardId::new("shardId-000000000007"));
        let failed = Outcome::Retry(Setback::Failed);
        assert_eq!(
            puts,
            [
                Put { outcome: failed, shard: None, code: Some("InternalFailure".to_owned()) },
                Put { outcome: Outcome::Done, shard, code: None },
                Put { outcome: Outcome::Done, shard: None, code: None },
            ]
        );
    }

    #[tokio::test]
    async fn an_answer_that_does_not_tell_of_each_record_tells_of_none() {
        let taken = r#"{"SequenceNumber":"1"}"#;
        for answer in [results(&[]), results(&[taken]), results(&[taken; 3]), results(&[taken, "{}"])] {
            let error = put(answer, 2).await.expect_err("two are owed");
            assert_eq!(error.kind, SourceErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains("result"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_request_that_something_on_the_way_finds_too_large_may_be_taken_in_parts() {
        let error = put(Answer::Json(413, "<html>too large</html>".to_owned()), 2).await.expect_err("refused");
        assert!(error.kind == SourceErrorKind::Rejected && error.advice().contains("max_bytes"), "{error}");
        for code in ["InvalidArgumentException", "ValidationException", "SerializationException"] {
            // As the texts that mean something else to a reader.
            for text in ["sequence number", "in the future", "records.1.member.partitionKey"] {
                let error = put(exception(400, code, text), 2).await.expect_err("refused");
                assert!(error.kind == SourceErrorKind::Rejected, "{error}");
            }
        }
        for code in ["NewException", "DryRunOperationException", "MissingParameter", "AccessDeniedException"] {
            let error = put(exception(400, code, "no"), 2).await.expect_err("refused");
            assert_ne!(error.kind, SourceErrorKind::Rejected, "{error}");
        }
    }
}
