//! What the service's own text tells beyond the code.

use host_core::shard::ShardId;

/// What an answer must say for a row to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Says {
    Anything,
    /// One of these, in lower case.
    OneOf(&'static [&'static str]),
    /// That this is what does not exist.
    Missing(Missing),
}

/// What a `ResourceNotFoundException` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Missing {
    Stream,
    Shard,
}

impl Says {
    /// Whether `text` says so, of a call about `stream` and perhaps `shard`.
    pub(in super::super) fn holds(self, text: &str, stream: &str, shard: Option<&ShardId>) -> bool {
        match self {
            Self::Anything => true,
            Self::OneOf(fragments) => {
                let text = text.to_lowercase();
                fragments.iter().any(|fragment| text.contains(fragment))
            }
            Self::Missing(what) => missing(text, stream, shard) == Some(what),
        }
    }

    /// The condition, for the reference.
    pub(in super::super) fn shown(self) -> &'static str {
        match self {
            Self::Anything => "",
            Self::OneOf([first, ..]) if first.starts_with("starting") => " about a sequence number",
            Self::OneOf(_) => " about a timestamp that lies ahead",
            Self::Missing(Missing::Stream) => " of a stream",
            Self::Missing(Missing::Shard) => " of a shard",
        }
    }
}

/// Which resource the text names as missing: the service says "Stream NAME under account N not found." and "Shard ID in
/// stream NAME under account N does not exist", others word it otherwise. A call that names no shard can miss only the
/// stream. `None` if the text does not tell; then somebody must look.
fn missing(text: &str, stream: &str, shard: Option<&ShardId>) -> Option<Missing> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
    // A full stop may be the sentence's or the name's; and a stream may be called "shard".
    let words: Vec<&str> = words
        .filter(|word| *word != stream)
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| !word.is_empty() && *word != stream)
        .collect();
    let says = |wanted: &str| words.iter().any(|word| word.eq_ignore_ascii_case(wanted));
    let names_a_shard =
        words.iter().any(|word| word.starts_with("shardId-") || shard.is_some_and(|shard| *word == shard.as_str()));
    match shard {
        _ if names_a_shard => Some(Missing::Shard),
        None => Some(Missing::Stream),
        Some(_) if says("stream") => Some(Missing::Stream),
        Some(_) if says("shard") => Some(Missing::Shard),
        Some(_) => None,
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
            assert_eq!(missing(text, stream, Some(&shard)), what, "{text}");
        }
    }

    #[test]
    fn a_call_that_names_no_shard_can_miss_only_the_stream() {
        for text in ["", "Requested resource not found", "Stream quakes under account 1 not found."] {
            assert_eq!(missing(text, "quakes", None), Some(Missing::Stream), "{text}");
        }
    }
}
