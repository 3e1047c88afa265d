//! What would change if everything became as it was at another moment. Rows, starts and marks are compared one by one, so
//! that the plan says what moves where, and what stays is not written.

use std::collections::BTreeMap;

use host_core::checkpoint::ShardRow;
use host_core::shard::{Position, ShardId};

use super::plan::Change;
use super::step::Step;
use super::{Plan, Snapshot, label, position};
use crate::state::stored::{StoredRow, StoredStream};
use crate::state::{ComponentDigest, StreamState, rfc3339};

/// What is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The streams, each with its start and all of its rows. A stream of the pipeline that is not among them is left alone.
    pub streams: Vec<StreamState>,
    /// All marks; a sink that is not among them has none afterwards.
    pub marks: Vec<(String, u64)>,
    /// Which components made it.
    pub components: Vec<ComponentDigest>,
}

/// How many shards do what.
#[derive(Default)]
struct Counts {
    backwards: usize,
    forwards: usize,
    elsewhere: usize,
    appear: usize,
    disappear: usize,
}

/// Makes the plan that leads from what there is, if anything, to `target`. Changes nothing.
#[must_use]
pub fn plan_restore(snapshot: &Snapshot, target: &Target) -> Plan {
    let mut plan = Plan::empty(snapshot);
    plan.may_create = true;
    plan.components.clone_from(&target.components);
    let several = snapshot.stored.streams.len().max(target.streams.len()) > 1;
    let mut counts = Counts::default();
    for wanted in &target.streams {
        let found = snapshot.stored.streams.iter().find(|stream| stream.identity == wanted.identity);
        plan.restore_start(wanted, found);
        plan.restore_rows(snapshot, wanted, found, several, &mut counts);
    }
    plan.restore_marks(snapshot, &target.marks);
    plan.warnings.extend(counts.warnings());
    plan
}

impl Plan {
    fn restore_start(&mut self, wanted: &StreamState, found: Option<&StoredStream>) {
        let (stream, start) = (wanted.identity.clone(), wanted.start);
        let (from, step) = match found {
            Some(found) if found.start == start => return,
            Some(found) => (position::print(&found.start.position()), Step::SetStart { stream, start }),
            None => ("none".to_owned(), Step::AddStream { stream, start }),
        };
        self.changes.push(Change {
            what: format!("start of {}, created {}", wanted.identity.arn, rfc3339(wanted.identity.created)),
            from,
            to: position::print(&start.position()),
            step,
        });
    }

    fn restore_rows(
        &mut self,
        snapshot: &Snapshot,
        wanted: &StreamState,
        found: Option<&StoredStream>,
        several: bool,
        counts: &mut Counts,
    ) {
        let mut rows: BTreeMap<&ShardId, &StoredRow> = BTreeMap::new();
        rows.extend(found.iter().flat_map(|stream| &stream.rows).map(|stored| (&stored.row.shard, stored)));
        for row in &wanted.rows {
            let there = found.and_then(|stream| rows.remove(&row.shard).map(|stored| (stream, stored)));
            let what = label(several, &wanted.identity, &row.shard);
            let Some((stream, stored)) = there else {
                counts.appear += 1;
                self.insert(what, "none".to_owned(), wanted, row);
                continue;
            };
            if stored.row == *row {
                continue;
            }
            counts.moved(&stored.row.position, &row.position);
            let from = position::print(&stored.row.position);
            if (&stored.row.parents, stored.row.range) == (&row.parents, row.range) {
                let to = described(&stored.row, row);
                let step = Step::Update { stream: stream.identity.clone(), counter: stored.counter, row: row.clone() };
                self.changes.push(Change { what, from, to, step });
            } else {
                // An update leaves what a shard is as it is.
                self.remove(snapshot, stream, stored);
                self.insert(what, "none".to_owned(), wanted, row);
            }
        }
        for stored in rows.into_values() {
            let Some(stream) = found else { continue };
            counts.disappear += 1;
            self.remove(snapshot, stream, stored);
        }
    }

    fn insert(&mut self, what: String, from: String, wanted: &StreamState, row: &ShardRow) {
        let step = Step::Insert { stream: wanted.identity.clone(), row: row.clone() };
        self.changes.push(Change { what, from, to: position::print(&row.position), step });
    }

    fn restore_marks(&mut self, snapshot: &Snapshot, wanted: &[(String, u64)]) {
        let mut found: BTreeMap<&str, u64> =
            snapshot.stored.marks.iter().map(|(sink, mark)| (sink.as_str(), *mark)).collect();
        for (sink, to) in wanted {
            let from = found.remove(sink.as_str());
            if from == Some(*to) {
                continue;
            }
            self.changes.push(Change {
                what: format!("mark of sink {sink}"),
                from: from.map_or("none".to_owned(), |mark| mark.to_string()),
                to: to.to_string(),
                step: Step::SetMark { sink: sink.clone(), from, to: *to },
            });
        }
        for (sink, mark) in found {
            self.remove_mark(sink, mark);
        }
    }
}

/// Where a row goes; what else of it changes, if it stays where it is.
fn described(from: &ShardRow, to: &ShardRow) -> String {
    let at = position::print(&to.position);
    if from.position != to.position {
        return at;
    }
    match to.complete_until {
        Some(until) if to.complete_until != from.complete_until => format!("{at}, complete until {}", rfc3339(until)),
        Some(_) | None => format!("{at}, with what was known of it then"),
    }
}

impl Counts {
    fn moved(&mut self, from: &Position, to: &Position) {
        if from.is_past(to) {
            self.backwards += 1;
        } else if to.is_past(from) {
            self.forwards += 1;
        } else if from != to {
            self.elsewhere += 1;
        }
    }

    fn warnings(&self) -> Vec<String> {
        let shards = |count: usize| if count == 1 { "1 shard".to_owned() } else { format!("{count} shards") };
        let verb = |count: usize, one: &'static str, many: &'static str| if count == 1 { one } else { many };
        let line = |count: usize, one, many, meaning: &str| {
            (count > 0).then(|| format!("{} {}: {meaning}", shards(count), verb(count, one, many)))
        };
        [
            line(self.backwards, "moves backwards", "move backwards", "the sinks get their records again"),
            line(self.forwards, "moves forward", "move forward", "the sinks never get the records between"),
            line(self.elsewhere, "starts elsewhere", "start elsewhere", "nothing of them was read at either moment"),
            line(self.appear, "appears", "appear", "this state does not know them"),
            line(
                self.disappear,
                "disappears",
                "disappear",
                "unknown at that moment, they are found again and read from their beginning",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
