//! What the service's own text tells beyond the code.

use host_core::shard::ShardId;

use super::super::Role;

/// The operations of enhanced fan-out.
pub(in super::super) const FAN_OUT: &[&str] = &[
    "DescribeStreamConsumer",
    "ListStreamConsumers",
    "RegisterStreamConsumer",
    "DeregisterStreamConsumer",
    "SubscribeToShard",
];
/// The operation that writes.
pub(in super::super) const PUT: &[&str] = &["PutRecords"];
/// Those that may miss a consumer; the others miss the stream.
const OF_A_CONSUMER: &[&str] = &["DescribeStreamConsumer", "DeregisterStreamConsumer", "SubscribeToShard"];

/// What an answer must say for a row to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Says {
    Anything,
    /// One of these, in lower case.
    OneOf(&'static [&'static str]),
    /// Nothing: that the call was one of these operations.
    Called(&'static [&'static str]),
    /// Nothing: that a sink writes to the stream.
    OfTarget,
    /// That this is what does not exist.
    Missing(Missing),
}

/// What a `ResourceNotFoundException` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Missing {
    Stream,
    Shard,
    Consumer,
}

/// What a call was about.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Subject<'a> {
    pub(in super::super) operation: &'a str,
    pub(in super::super) stream: &'a str,
    pub(in super::super) shard: Option<&'a ShardId>,
    pub(in super::super) role: Role,
}

impl Says {
    /// Whether `text` says so, of a call about `subject`.
    pub(in super::super) fn holds(self, text: &str, subject: Subject<'_>) -> bool {
        match self {
            Self::Anything => true,
            Self::OneOf(fragments) => {
                let text = text.to_lowercase();
                fragments.iter().any(|fragment| text.contains(fragment))
            }
            Self::Called(operations) => operations.contains(&subject.operation),
            Self::OfTarget => subject.role == Role::Target,
            Self::Missing(what) => missing(text, subject) == Some(what),
        }
    }

    /// The condition, for the reference.
    pub(in super::super) fn shown(self) -> String {
        let fixed = match self {
            Self::Anything => "",
            Self::OneOf([first, ..]) if first.starts_with("starting") => " about a sequence number",
            Self::OneOf(_) => " about a timestamp that lies ahead",
            Self::Called([only]) => return format!(" to `{only}`"),
            Self::Called(_) => " to a call of fan-out",
            Self::OfTarget => " to a call about the stream of a sink",
            Self::Missing(Missing::Stream) => " of a stream",
            Self::Missing(Missing::Shard) => " of a shard",
            Self::Missing(Missing::Consumer) => " of a consumer",
        };
        fixed.to_owned()
    }
}

/// How a text names a consumer: by the word, or by the field of the request.
const CONSUMER: [&str; 3] = ["consumer", "ConsumerName", "ConsumerARN"];

/// Which resource the text names as missing: the service says "Stream NAME under account N not found.", "Shard ID in
/// stream NAME under account N does not exist" and "Consumer ARN not found.", others word it otherwise. A call that names
/// neither shard nor consumer can miss only the stream. `None` if the text does not tell; then somebody must look.
fn missing(text: &str, Subject { operation, stream, shard, role: _ }: Subject<'_>) -> Option<Missing> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
    let first = words.clone().find(|word| !word.is_empty()).unwrap_or_default();
    // A full stop may be the sentence's or the name's; and a stream may be called "shard".
    let words: Vec<&str> = words
        .filter(|word| *word != stream)
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| !word.is_empty() && *word != stream)
        .collect();
    let says = |wanted: &str| words.iter().any(|word| word.eq_ignore_ascii_case(wanted));
    let is_of_a_consumer = OF_A_CONSUMER.contains(&operation);
    let names_a_shard =
        words.iter().any(|word| word.starts_with("shardId-") || shard.is_some_and(|shard| *word == shard.as_str()));
    // A sentence that begins with the word means the thing, whatever the stream is called; and only a consumer's ARN has
    // something behind the stream's name.
    let is_consumer = |word: &str| CONSUMER.iter().any(|wanted| word.eq_ignore_ascii_case(wanted));
    let names_a_consumer = is_of_a_consumer
        && (words.iter().any(|word| is_consumer(word)) || is_consumer(first) || text.contains("/consumer/"));
    match shard {
        Some(_) if names_a_shard => Some(Missing::Shard),
        _ if names_a_consumer => Some(Missing::Consumer),
        None if names_a_shard => Some(Missing::Shard),
        None if !is_of_a_consumer => Some(Missing::Stream),
        _ if says("stream") => Some(Missing::Stream),
        Some(_) if says("shard") => Some(Missing::Shard),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_read_from_the_text_whatever_stream_and_shard_are_called() {
        let shard = ShardId::new("shardId-000000000005");
        for (text, stream, what) in [
            (
                "Shard shardId-000000000005 in stream quakes under account 1 does not exist",
                "quakes",
                Some(Missing::Shard),
            ),
            (
                "Could not find shard shardId-000000000005 in stream quakes under account 1.",
                "quakes",
                Some(Missing::Shard),
            ),
            ("Stream quakes under account 1 not found.", "quakes", Some(Missing::Stream)),
            ("Stream shard under account 1 not found.", "shard", Some(Missing::Stream)),
            ("Stream shardId-9 under account 1 not found.", "shardId-9", Some(Missing::Stream)),
            ("could not find stream-of-shards.", "stream-of-shards", None),
            ("Cannot find the stream shardId-9.", "shardId-9", Some(Missing::Stream)),
            ("no such shard", "quakes", Some(Missing::Shard)),
            ("Requested resource not found", "quakes", None),
            ("", "quakes", None),
        ] {
            for operation in ["GetShardIterator", "SubscribeToShard"] {
                let subject = Subject { operation, stream, shard: Some(&shard), role: Role::Source };
                assert_eq!(missing(text, subject), what, "{operation}: {text}");
            }
        }
    }

    #[test]
    fn a_missing_consumer_is_told_from_a_missing_shard_and_a_missing_stream() {
        let shard = ShardId::new("shardId-000000000005");
        let arn = "Consumer arn:aws:kinesis:us-east-1:1:stream/quakes/consumer/app:7 not found.";
        let of_odd_stream = "arn:aws:kinesis:us-east-1:1:stream/consumer/consumer/app:7 not found.";
        for (text, stream, what) in [
            (arn, "quakes", Some(Missing::Consumer)),
            (of_odd_stream, "consumer", Some(Missing::Consumer)),
            ("Consumer app under stream quakes not found.", "quakes", Some(Missing::Consumer)),
            ("consumer not found", "consumer", Some(Missing::Consumer)),
            ("ConsumerName app not found on stream quakes", "quakes", Some(Missing::Consumer)),
            ("Stream ConsumerName not found.", "ConsumerName", Some(Missing::Stream)),
            ("Stream consumer under account 1 not found.", "consumer", Some(Missing::Stream)),
            ("Stream arn:aws:kinesis:us-east-1:1:stream/consumer not found.", "consumer", Some(Missing::Stream)),
            ("Stream my-consumer under account 1 not found.", "my-consumer", Some(Missing::Stream)),
            ("Shard shardId-000000000005 of consumer app not found", "quakes", Some(Missing::Shard)),
        ] {
            let subject = Subject { operation: "SubscribeToShard", stream, shard: Some(&shard), role: Role::Source };
            assert_eq!(missing(text, subject), what, "{text}");
            if what != Some(Missing::Shard) {
                let subject = Subject { operation: "DescribeStreamConsumer", stream, shard: None, role: Role::Source };
                assert_eq!(missing(text, subject), what, "{text}");
                let subject = Subject { operation: "RegisterStreamConsumer", stream, shard: None, role: Role::Source };
                assert_eq!(missing(text, subject), Some(Missing::Stream), "{text}");
            }
        }
        let silent = Subject { operation: "DescribeStreamConsumer", stream: "quakes", shard: None, role: Role::Source };
        assert_eq!(missing("Requested resource not found", silent), None);
    }

    #[test]
    fn a_call_that_names_no_shard_can_miss_only_the_stream() {
        for text in ["", "Requested resource not found", "Stream quakes under account 1 not found."] {
            let subject = Subject { operation: "ListShards", stream: "quakes", shard: None, role: Role::Source };
            assert_eq!(missing(text, subject), Some(Missing::Stream), "{text}");
        }
    }
}
