//! A request's members.

use serde_json::Value;

use super::reading::StartAt;
use super::{ACCOUNT, REGION};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::client("InvalidArgumentException", message)
}

/// One request's members.
pub(super) struct Input<'a>(pub(super) &'a Value);

impl<'a> Input<'a> {
    pub(super) fn text(&self, member: &str) -> Option<&'a str> {
        self.0.get(member)?.as_str()
    }

    pub(super) fn required(&self, member: &str) -> Result<&'a str, Refusal> {
        self.text(member).ok_or_else(|| missing(member))
    }

    pub(super) fn count(&self, member: &str) -> Option<u64> {
        self.0.get(member)?.as_u64()
    }

    pub(super) fn required_count(&self, member: &str) -> Result<u32, Refusal> {
        self.count(member).and_then(|count| u32::try_from(count).ok()).ok_or_else(|| missing(member))
    }

    pub(super) fn flag(&self, member: &str) -> bool {
        self.0.get(member).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Milliseconds; on the wire it is a fraction of seconds.
    pub(super) fn timestamp(&self, member: &str) -> Option<Millis> {
        Some((self.0.get(member)?.as_f64()? * 1000.0).round() as Millis)
    }

    /// The stream's name, by whichever of both ways it is told.
    pub(super) fn stream(&self) -> Result<&'a str, Refusal> {
        let Some(arn) = self.text("StreamARN") else {
            return self
                .text("StreamName")
                .ok_or_else(|| invalid("Either StreamName or StreamARN should be provided."));
        };
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let name = parts.last().and_then(|resource| resource.strip_prefix("stream/"));
        let ["arn", "aws", "kinesis", region, account, _] = parts[..] else {
            return Err(invalid(format!("Invalid StreamARN {arn}.")));
        };
        let name = name.ok_or_else(|| invalid(format!("Invalid StreamARN {arn}.")))?;
        if self.text("StreamName").is_some_and(|other| other != name) {
            return Err(invalid("StreamName and StreamARN do not match."));
        }
        if region != REGION || account != ACCOUNT {
            return Err(Refusal::client(
                "ResourceNotFoundException",
                format!("Stream {name} under account {account} not found."),
            ));
        }
        Ok(name)
    }

    /// Where reading is to begin: of this kind, at this sequence number or at the timestamp here.
    pub(super) fn start_at(&self, kind: &str, sequence: Option<&str>) -> Result<StartAt, Refusal> {
        Ok(match (kind, sequence) {
            ("TRIM_HORIZON", None) => StartAt::TrimHorizon,
            ("LATEST", None) => StartAt::Latest,
            ("AT_SEQUENCE_NUMBER", Some(sequence)) => StartAt::At(sequence.to_owned()),
            ("AFTER_SEQUENCE_NUMBER", Some(sequence)) => StartAt::After(sequence.to_owned()),
            ("AT_TIMESTAMP", None) => StartAt::Timestamp(self.timestamp("Timestamp").ok_or_else(|| {
                invalid(
                    "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.",
                )
            })?),
            _ => {
                let sequence = if sequence.is_some() { "also a" } else { "no" };
                return Err(invalid(format!(
                    "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {sequence} StartingSequenceNumber."
                )));
            }
        })
    }
}

pub(super) fn missing(member: &str) -> Refusal {
    let mut member = member.to_owned();
    member[..1].make_ascii_lowercase();
    Refusal::client(
        "ValidationException",
        format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
        ),
    )
}
