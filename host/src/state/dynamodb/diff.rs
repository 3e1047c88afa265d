//! What a change of a pipeline is in writes, and which of them must not be apart.
//!
//! A transaction takes a hundred parts, one of which proves the claim. A change that needs more is made in several, in an
//! order in which a crash between two of them loses nothing:
//!
//! - marks first: with a mark that is newer than the positions beside it a file keeps what is read and written again; with
//!   one that is older it would be cut back behind its positions, and lose what lies between;
//! - the end of a shard together with the rows of its children;
//! - of a stream that starts, rows before the stream itself, and of one that is forgotten the stream before its rows: rows
//!   without their stream count for nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use host_core::checkpoint::ShardRow;

use super::rows::{self, Attributes, ID, LEASE_KEY, checkpoint, lease_key, mark_id, number, stream_id, text};
use crate::state::StreamIdentity;
use crate::state::model::{Pipeline, Stream};

/// Parts of one transaction beside the proof of the claim.
const PARTS_MAX: usize = 99;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum In {
    Leases,
    Others,
}

/// What a write asks of the item that is there.
#[derive(Clone, Debug, PartialEq)]
enum Found {
    Whatever,
    Nothing,
    /// A lease with this position and counter.
    At(Box<ShardRow>, u64),
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Write {
    table: In,
    /// The whole item, or the key of one that goes.
    item: Attributes,
    goes: bool,
    found: Found,
    /// The stream and shard whose row it is, for messages.
    pub(super) of: Option<(StreamIdentity, String)>,
    /// The lease's key, and its counter after the write.
    pub(super) counter: Option<(String, u64)>,
}

/// The writes that make `new` of `old`, in transactions.
pub(super) fn diff(old: &Pipeline, new: &Pipeline, counters: &HashMap<String, u64>, owner: &str) -> Vec<Vec<Write>> {
    let leases = Leases { counters, owner };
    let mut groups: Vec<Vec<Write>> = Vec::new();
    let changed = |(sink, mark): &(&String, &u64)| old.marks.get(*sink) != Some(*mark);
    groups.extend(new.marks.iter().filter(changed).map(|(sink, mark)| vec![put_mark(sink, *mark)]));
    for (identity, stream) in &new.streams {
        match old.streams.get(identity) {
            None => {
                groups.extend(stream.rows.values().map(|row| vec![leases.put(identity, row, Found::Whatever)]));
                groups.push(vec![put_stream(identity, stream)]);
            }
            Some(before) => {
                if before.consumer != stream.consumer {
                    groups.push(vec![put_stream(identity, stream)]);
                }
                leases.rows(identity, before, stream, &mut groups);
            }
        }
    }
    for (identity, stream) in old.streams.iter().filter(|(identity, _)| !new.streams.contains_key(identity)) {
        let key = Attributes::from([(ID.to_owned(), text(stream_id(identity)))]);
        groups.push(vec![Write {
            table: In::Others,
            item: key,
            goes: true,
            found: Found::Whatever,
            of: None,
            counter: None,
        }]);
        groups.extend(stream.rows.values().map(|row| vec![leases.delete(identity, row, Found::Whatever)]));
    }
    pack(groups)
}

/// As few transactions as the order of groups allows.
fn pack(groups: Vec<Vec<Write>>) -> Vec<Vec<Write>> {
    let mut packed: Vec<Vec<Write>> = Vec::new();
    for group in groups {
        match packed.last_mut() {
            Some(last) if last.len() + group.len() <= PARTS_MAX => last.extend(group),
            Some(_) | None => packed.push(group),
        }
    }
    packed
}

fn put_mark(sink: &str, mark: u64) -> Write {
    let item = Attributes::from([(ID.to_owned(), text(mark_id(sink))), ("mark".to_owned(), number(mark))]);
    Write { table: In::Others, item, goes: false, found: Found::Whatever, of: None, counter: None }
}

fn put_stream(identity: &StreamIdentity, stream: &Stream) -> Write {
    let item = rows::stream(identity, stream);
    Write { table: In::Others, item, goes: false, found: Found::Whatever, of: None, counter: None }
}

struct Leases<'a> {
    counters: &'a HashMap<String, u64>,
    owner: &'a str,
}

impl Leases<'_> {
    /// Changes of a stream's rows.
    fn rows(&self, identity: &StreamIdentity, old: &Stream, new: &Stream, groups: &mut Vec<Vec<Write>>) {
        let mut created: BTreeMap<&str, &ShardRow> = new
            .rows
            .iter()
            .filter(|(shard, _)| !old.rows.contains_key(*shard))
            .map(|(shard, row)| (shard.as_str(), row))
            .collect();
        let advanced = |(shard, row): (&String, _)| {
            old.rows.get(shard).filter(|before| *before != row).map(|before| (before, row))
        };
        for (before, row) in new.rows.iter().filter_map(advanced) {
            let mut group = vec![self.put(identity, row, self.at(identity, before))];
            if row.position.is_end() {
                let children: BTreeSet<&str> = row.children.iter().map(|child| child.as_str()).collect();
                let theirs = children.into_iter().filter_map(|child| created.remove(child));
                group.extend(theirs.map(|row| self.put(identity, row, Found::Nothing)));
            }
            groups.push(group);
        }
        groups.extend(created.into_values().map(|row| vec![self.put(identity, row, Found::Nothing)]));
        let gone = old.rows.iter().filter(|(shard, _)| !new.rows.contains_key(*shard));
        groups.extend(gone.map(|(_, row)| vec![self.delete(identity, row, self.at(identity, row))]));
    }

    fn at(&self, identity: &StreamIdentity, row: &ShardRow) -> Found {
        Found::At(Box::new(row.clone()), self.counter(&lease_key(identity, row.shard.as_str())))
    }

    fn counter(&self, key: &str) -> u64 {
        self.counters.get(key).copied().unwrap_or(0)
    }

    fn put(&self, identity: &StreamIdentity, row: &ShardRow, found: Found) -> Write {
        let key = lease_key(identity, row.shard.as_str());
        let counter = self.counter(&key) + 1;
        Write {
            table: In::Leases,
            item: rows::lease(identity, row, self.owner, counter),
            goes: false,
            found,
            of: Some((identity.clone(), row.shard.as_str().to_owned())),
            counter: Some((key, counter)),
        }
    }

    fn delete(&self, identity: &StreamIdentity, row: &ShardRow, found: Found) -> Write {
        let key = lease_key(identity, row.shard.as_str());
        Write {
            table: In::Leases,
            item: Attributes::from([(LEASE_KEY.to_owned(), text(&key))]),
            goes: true,
            found,
            of: Some((identity.clone(), row.shard.as_str().to_owned())),
            counter: Some((key, 0)),
        }
    }
}

impl Write {
    /// As a part of a transaction on these tables.
    pub(super) fn part(&self, tables: impl Fn(In) -> String) -> TransactWriteItem {
        let table = tables(self.table);
        let (condition, values) = match &self.found {
            Found::Whatever => (None, None),
            Found::Nothing => (Some(format!("attribute_not_exists({LEASE_KEY})")), None),
            Found::At(row, counter) => {
                let (at, sub_sequence, _) = checkpoint(&row.position);
                let values = Attributes::from([
                    (":checkpoint".to_owned(), text(at)),
                    (":sub".to_owned(), number(sub_sequence)),
                    (":counter".to_owned(), number(counter)),
                ]);
                let condition =
                    "checkpoint = :checkpoint AND checkpointSubSequenceNumber = :sub AND leaseCounter = :counter";
                (Some(condition.to_owned()), Some(values))
            }
        };
        let whole = "all that such a part needs is set";
        let part = TransactWriteItem::builder();
        if self.goes {
            let delete = Delete::builder().table_name(table).set_key(Some(self.item.clone()));
            let delete = delete.set_condition_expression(condition).set_expression_attribute_values(values);
            part.delete(delete.build().expect(whole)).build()
        } else {
            let put = Put::builder().table_name(table).set_item(Some(self.item.clone()));
            let put = put.set_condition_expression(condition).set_expression_attribute_values(values);
            part.put(put.build().expect(whole)).build()
        }
    }
}
