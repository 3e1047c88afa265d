//! What a change of a pipeline is in writes, and which of them must not be apart.
//!
//! A transaction takes a hundred parts, one of which proves the claim. A change that needs more is made in several, in an
//! order in which a crash between two of them loses nothing:
//!
//! - marks that grow first, and those that shrink (an edit's) or appear last: with a mark that is newer than the positions
//!   beside it, or with none, a file keeps what is read and written again; with one that is older it would be cut back behind
//!   its positions, and lose what lies between;
//! - the end of a shard together with the rows of its children;
//! - within a stream, rows that move before rows that go: while its children are gone a parent must not be finished;
//! - a row that an edit moves together with what sinks have applied of it;
//! - of a stream that starts, rows before the stream itself, and of one that is forgotten the stream before its rows: rows
//!   without their stream count for nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use host_core::checkpoint::ShardRow;

use super::rows::{
    self, Attributes, Guard, ID, LEASE_KEY, applied_to, checkpoint, lease_key, mark_id, number, stream_id, text,
};
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
    /// The lease's key, and what guards it after the write.
    pub(super) guard: Option<(String, Guard)>,
}

/// Who makes a change, of what, and what of it others keep.
#[derive(Clone, Copy)]
pub(super) struct Author<'a> {
    pub(super) owner: &'a str,
    pub(super) generation: u64,
    /// Of leases, by key.
    pub(super) guards: &'a HashMap<String, Guard>,
    /// What sinks have applied and must not be held to once its shard's row changes: ids by what they are applied to.
    pub(super) applied: &'a BTreeMap<String, Vec<String>>,
}

/// The writes that make `new` of `old`, in transactions.
pub(super) fn diff(old: &Pipeline, new: &Pipeline, author: Author<'_>) -> Vec<Vec<Write>> {
    let mut groups: Vec<Vec<Write>> = Vec::new();
    let (grown, others): (Vec<_>, Vec<_>) =
        new.marks.iter().partition(|(sink, mark)| old.marks.get(*sink).is_some_and(|before| before <= mark));
    let grown = grown.into_iter().filter(|(sink, mark)| old.marks.get(*sink) != Some(*mark));
    groups.extend(grown.map(|(sink, mark)| vec![put_mark(sink, *mark)]));
    let gone = old.marks.keys().filter(|sink| !new.marks.contains_key(*sink));
    groups.extend(gone.map(|sink| vec![delete_other(&mark_id(sink))]));
    for (identity, stream) in &new.streams {
        match old.streams.get(identity) {
            None => {
                groups.extend(stream.rows.values().map(|row| vec![author.put(identity, row, Found::Whatever)]));
                groups.push(vec![put_stream(identity, stream)]);
            }
            Some(before) => {
                if (&before.consumer, before.start) != (&stream.consumer, stream.start) {
                    groups.push(vec![put_stream(identity, stream)]);
                }
                author.rows(identity, before, stream, &mut groups);
            }
        }
    }
    for (identity, stream) in old.streams.iter().filter(|(identity, _)| !new.streams.contains_key(identity)) {
        // Of shards without a row, too.
        let theirs = applied_to(identity, "");
        let applied = author.applied.iter().filter(|(to, _)| to.starts_with(&theirs)).flat_map(|(_, ids)| ids);
        groups.extend(applied.map(|id| vec![delete_other(id)]));
        groups.push(vec![delete_other(&stream_id(identity))]);
        groups.extend(stream.rows.values().map(|row| vec![author.delete(identity, row, Found::Whatever)]));
    }
    groups.extend(others.into_iter().map(|(sink, mark)| vec![put_mark(sink, *mark)]));
    pack(groups)
}

/// The writes that remove leases which count for nothing.
pub(super) fn sweep(orphans: &[String]) -> Vec<Vec<Write>> {
    let write = |key: &String| {
        let item = Attributes::from([(LEASE_KEY.to_owned(), text(key))]);
        vec![Write { table: In::Leases, item, goes: true, found: Found::Whatever, of: None, guard: None }]
    };
    pack(orphans.iter().map(write).collect())
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
    Write { table: In::Others, item, goes: false, found: Found::Whatever, of: None, guard: None }
}

fn put_stream(identity: &StreamIdentity, stream: &Stream) -> Write {
    let item = rows::stream(identity, stream);
    Write { table: In::Others, item, goes: false, found: Found::Whatever, of: None, guard: None }
}

fn delete_other(id: &str) -> Write {
    let item = Attributes::from([(ID.to_owned(), text(id))]);
    Write { table: In::Others, item, goes: true, found: Found::Whatever, of: None, guard: None }
}

impl Author<'_> {
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
                group.extend(theirs.flat_map(|row| self.create(identity, row)));
            }
            group.extend(self.unapply(identity, row.shard.as_str()));
            groups.push(group);
        }
        groups.extend(created.into_values().map(|row| self.create(identity, row)));
        for (shard, row) in old.rows.iter().filter(|(shard, _)| !new.rows.contains_key(*shard)) {
            groups.extend(self.unapply(identity, shard).map(|write| vec![write]));
            groups.push(vec![self.delete(identity, row, self.at(identity, row))]);
        }
    }

    fn create(&self, identity: &StreamIdentity, row: &ShardRow) -> Vec<Write> {
        let put = self.put(identity, row, Found::Nothing);
        std::iter::once(put).chain(self.unapply(identity, row.shard.as_str())).collect()
    }

    fn unapply(&self, identity: &StreamIdentity, shard: &str) -> impl Iterator<Item = Write> {
        let ids = self.applied.get(&applied_to(identity, shard)).map_or(&[][..], Vec::as_slice);
        ids.iter().map(|id| delete_other(id))
    }

    fn at(&self, identity: &StreamIdentity, row: &ShardRow) -> Found {
        Found::At(Box::new(row.clone()), self.counter(&lease_key(identity, row.shard.as_str())))
    }

    fn counter(&self, key: &str) -> u64 {
        self.guards.get(key).map_or(0, |guard| guard.counter)
    }

    fn put(&self, identity: &StreamIdentity, row: &ShardRow, found: Found) -> Write {
        let key = lease_key(identity, row.shard.as_str());
        let guard = Guard { counter: self.counter(&key) + 1, generation: self.generation };
        Write {
            table: In::Leases,
            item: rows::lease(identity, row, self.owner, guard),
            goes: false,
            found,
            of: Some((identity.clone(), row.shard.as_str().to_owned())),
            guard: Some((key, guard)),
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
            guard: Some((key, Guard::default())),
        }
    }
}

impl Write {
    /// Whether the tables hold what this would make: whether it was made, if a call's answer was lost.
    pub(super) fn is_made(&self, leases: &[Attributes], others: &[Attributes]) -> bool {
        let (key, items) = match self.table {
            In::Leases => (LEASE_KEY, leases),
            In::Others => (ID, others),
        };
        let found = items.iter().find(|item| item.get(key) == self.item.get(key));
        match (found, self.table) {
            (None, In::Leases | In::Others) => self.goes,
            (Some(found), In::Others) => !self.goes && *found == self.item,
            // Sets come back in any order.
            (Some(found), In::Leases) => {
                let lease = |item| rows::read_lease(item).ok().flatten();
                !self.goes && lease(found).is_some() && lease(found) == lease(&self.item)
            }
        }
    }

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

#[cfg(test)]
mod tests;
