//! Values that are typed in a shape of their own.

use std::path::PathBuf;

use host_core::shard::{Position, SequenceNumber, ShardId};

use crate::config::{
    InvalidKey, KEY_TYPES, LocalTable, is_json_pointer, is_stream_name, is_table_name, key_attribute, point_in_time,
};

/// A stream to create: `NAME[:SHARDS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamArg {
    /// The stream's name.
    pub name: String,
    /// Its shards, 1 to 1,000.
    pub shards: u32,
}

/// Records for a stream: `NAME=FILE:POINTER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedArg {
    /// The stream's name.
    pub stream: String,
    /// A file with one JSON value a line, relative to the current directory.
    pub path: PathBuf,
    /// JSON pointer (RFC 6901) to the partition key.
    pub partition_key: String,
}

pub(super) fn parse_stream(text: &str) -> Result<StreamArg, String> {
    let (name, shards) = match text.split_once(':') {
        None => (text, 1),
        Some((name, shards)) => {
            let count = shards.parse().ok().filter(|count| (1..=1000).contains(count));
            (name, count.ok_or_else(|| format!("a stream has 1 to 1000 shards, not {shards:?}; write it as orders:4"))?)
        }
    };
    Ok(StreamArg { name: stream_name(name)?, shards })
}

pub(super) fn parse_table(text: &str) -> Result<LocalTable, String> {
    let shape = "write NAME=KEY or NAME=KEY,SORT, such as totals=customer,day:N";
    let (name, keys) = text.split_once('=').ok_or(shape)?;
    if !is_table_name(name) {
        return Err(format!("a table's name is 3 to 255 of letters, digits, `.`, `_` and `-`, not {name:?}"));
    }
    let key = |text: &str| {
        key_attribute(text).map_err(|invalid| match invalid {
            InvalidKey::Type => format!("{text:?} has no type of a key: {KEY_TYPES}"),
            InvalidKey::Name => format!("{text:?} names no attribute of 1 to 255 bytes; {shape}"),
        })
    };
    let (partition_key, sort_key) = match keys.split_once(',') {
        None => (key(keys)?, None),
        Some((partition_key, sort_key)) => (key(partition_key)?, Some(key(sort_key)?)),
    };
    if sort_key.as_ref().is_some_and(|sort_key| sort_key.name == partition_key.name) {
        return Err(format!("{:?} cannot be partition key and sort key of one table", partition_key.name));
    }
    Ok(LocalTable { name: name.to_owned(), partition_key, sort_key })
}

pub(super) fn parse_seed(text: &str) -> Result<SeedArg, String> {
    let shape = "write NAME=FILE:POINTER, such as orders=orders.ndjson:/id";
    let (stream, rest) = text.split_once('=').ok_or(shape)?;
    // A path may hold colons, and a pointer begins with a slash: the last `:/` is the seam.
    let seam = rest.rfind(":/").filter(|seam| *seam > 0).ok_or(shape)?;
    let (path, pointer) = (&rest[..seam], &rest[seam + 1..]);
    if !is_json_pointer(pointer) {
        return Err(format!("{pointer:?} is no JSON pointer: write `~0` for `~` and `~1` for `/` in a key"));
    }
    Ok(SeedArg { stream: stream_name(stream)?, path: PathBuf::from(path), partition_key: pointer.to_owned() })
}

fn stream_name(text: &str) -> Result<String, String> {
    if is_stream_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("a stream's name is 1 to 128 of letters, digits, `.`, `_` and `-`, not {text:?}"))
    }
}

pub(super) fn parse_shard(text: &str) -> Result<ShardId, String> {
    let fine = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fine { Ok(ShardId::new(text)) } else { Err("a shard's ID is 1 to 128 characters without spaces".to_owned()) }
}

pub(super) fn parse_position(text: &str) -> Result<Position, String> {
    let (word, rest) = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
    match (word, rest) {
        ("trim-horizon", None) => Ok(Position::TrimHorizon),
        ("shard-end", None) => Ok(Position::ShardEnd),
        ("at-timestamp", Some(time)) => match point_in_time(time) {
            Some(at) => Ok(Position::AtTimestamp(at)),
            None => Err(format!("{time:?} is no point in time: write RFC 3339 with an offset, or seconds since 1970")),
        },
        ("after", Some(record)) => {
            let (sequence, sub) = record.split_once('/').unwrap_or((record, "0"));
            let sequence = SequenceNumber::parse(sequence).map_err(|error| error.to_string())?;
            let Ok(sub_sequence) = sub.parse() else {
                return Err(format!("{sub:?} is no index inside of an aggregated record"));
            };
            Ok(Position::After { sequence, sub_sequence })
        }
        ("latest", None) => {
            Err("\"latest\" is no place in a shard: name a time, as in at-timestamp:2018-02-01T00:00:00Z".to_owned())
        }
        _ => Err("positions are trim-horizon, at-timestamp:TIME, after:SEQUENCE[/SUB] and shard-end".to_owned()),
    }
}
