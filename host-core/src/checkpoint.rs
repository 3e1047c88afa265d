//! What is durable: one row per shard, changed by commits that happen whole or not at all.
//!
//! A set of rows that is closed under lineage is a consistent cut, so no barrier is needed: a commit is any number of
//! shard positions moved forward together with the marks that the sinks handed out for exactly those positions. The end
//! of a shard and the rows of its children travel in one commit: there is no moment at which the parent is finished and
//! the children are unknown.

use std::collections::BTreeMap;

use crate::moment::EpochMillis;
use crate::shard::{HashRange, Position, ShardId};

/// The durable row of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// The shard.
    pub shard: ShardId,
    /// Its parents, as the listing told them when the row was made.
    pub parents: Vec<ShardId>,
    /// Its children, once known.
    pub children: Vec<ShardId>,
    /// Its slice of the key space, where the service has one.
    pub range: Option<HashRange>,
    /// How far the sinks have it.
    pub position: Position,
    /// The event time up to which the shard is complete, if any element told one.
    pub watermark: Option<EpochMillis>,
    /// Every record that arrived earlier is with the sinks, in the service's arrival time; `None` while no such time is
    /// known ([`crate::gap`]).
    pub complete_until: Option<EpochMillis>,
    /// Wall-clock time at which the shard's end became durable; only with [`Position::ShardEnd`].
    pub finished_at: Option<EpochMillis>,
}

/// A position moved forward, or one that stays while the shard is complete up to a later time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The shard.
    pub shard: ShardId,
    /// The position that the store must hold now; anything else refuses the whole commit.
    pub from: Position,
    /// The new position: past `from`; or `from` itself, no end, where `complete_until` is later than the row's.
    pub to: Position,
    /// Children learned since the row was written; empty leaves the row's children alone.
    pub children: Vec<ShardId>,
    /// The shard's watermark at `to`.
    pub watermark: Option<EpochMillis>,
    /// Every record that arrived earlier is with the sinks; the row keeps the later of its own and this.
    pub complete_until: Option<EpochMillis>,
    /// Set when `to` is the shard's end.
    pub finished_at: Option<EpochMillis>,
}

/// How much of a sink belongs to the positions of the same commit: for a file, its length in bytes. After a restart the
/// sink goes back to it, and what was written beyond is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkMark {
    /// Index of the sink in the manifest.
    pub sink: u32,
    /// The sink's own measure; a file's is its length in bytes.
    pub mark: u64,
}

/// One atomic change of the durable state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Grows by one per commit of a run, so that an answer finds its question.
    pub id: u64,
    /// Rows that must not exist yet.
    pub create: Vec<ShardRow>,
    /// Rows that must exist, at `from`.
    pub advance: Vec<Advance>,
    /// Finished rows past the stream's retention.
    pub forget: Vec<ShardId>,
    /// Marks of sinks that have them, as of exactly these positions.
    pub marks: Vec<SinkMark>,
}

/// Why a store refuses a commit: somebody else wrote since the rows were read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A row to be created is there.
    #[error("shard {shard} has a row already: another run owns this pipeline's state")]
    Exists {
        /// The shard.
        shard: ShardId,
    },
    /// A row to be advanced or forgotten is not there.
    #[error("shard {shard} has no row: another run, or a command, removed it")]
    Missing {
        /// The shard.
        shard: ShardId,
    },
    /// A row to be advanced is elsewhere.
    #[error("shard {shard} is {found}, not {expected}: another run owns this pipeline's state")]
    Moved {
        /// The shard.
        shard: ShardId,
        /// What the commit was built on.
        expected: Position,
        /// What the row says.
        found: Position,
    },
    /// A row would not move forward.
    #[error("shard {shard} would move from {from} to {to}, which is not forward, nor complete up to a later time")]
    NotForward {
        /// The shard.
        shard: ShardId,
        /// Where it is.
        from: Position,
        /// Where it would go.
        to: Position,
    },
}

impl Commit {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.create.is_empty() && self.advance.is_empty() && self.forget.is_empty() && self.marks.is_empty()
    }

    /// What a store has after this commit: the definition that every store is measured by. Marks are the store's to keep.
    ///
    /// # Errors
    /// A row is not as the commit expects; then `rows` is untouched.
    pub fn apply(&self, rows: &mut BTreeMap<ShardId, ShardRow>) -> Result<(), Refusal> {
        self.check(rows)?;
        for row in &self.create {
            rows.insert(row.shard.clone(), row.clone());
        }
        for advance in &self.advance {
            if let Some(row) = rows.get_mut(&advance.shard) {
                advance.apply(row);
            }
        }
        for shard in &self.forget {
            rows.remove(shard);
        }
        Ok(())
    }

    fn check(&self, rows: &BTreeMap<ShardId, ShardRow>) -> Result<(), Refusal> {
        for row in &self.create {
            if rows.contains_key(&row.shard) {
                return Err(Refusal::Exists { shard: row.shard.clone() });
            }
        }
        for advance in &self.advance {
            let shard = advance.shard.clone();
            let Some(row) = rows.get(&shard) else { return Err(Refusal::Missing { shard }) };
            if row.position != advance.from {
                let (expected, found) = (advance.from.clone(), row.position.clone());
                return Err(Refusal::Moved { shard, expected, found });
            }
            if !advance.is_forward(row) {
                return Err(Refusal::NotForward { shard, from: advance.from.clone(), to: advance.to.clone() });
            }
        }
        match self.forget.iter().find(|shard| !rows.contains_key(*shard)) {
            Some(shard) => Err(Refusal::Missing { shard: shard.clone() }),
            None => Ok(()),
        }
    }
}

impl Advance {
    fn is_forward(&self, row: &ShardRow) -> bool {
        let stays = self.to == self.from && !self.to.is_end();
        self.to.is_past(&self.from) || (stays && self.complete_until > row.complete_until)
    }

    fn apply(&self, row: &mut ShardRow) {
        row.position = self.to.clone();
        row.watermark = row.watermark.max(self.watermark);
        row.complete_until = row.complete_until.max(self.complete_until);
        row.finished_at = self.finished_at;
        if !self.children.is_empty() {
            row.children.clone_from(&self.children);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, position: Position) -> ShardRow {
        ShardRow {
            shard: ShardId::new(id),
            parents: Vec::new(),
            children: Vec::new(),
            range: None,
            position,
            watermark: None,
            complete_until: None,
            finished_at: None,
        }
    }

    fn advance(id: &str, from: Position, to: Position) -> Advance {
        let (shard, children) = (ShardId::new(id), Vec::new());
        Advance { shard, from, to, children, watermark: None, complete_until: None, finished_at: None }
    }

    #[test]
    fn a_commit_with_one_stale_position_changes_nothing() {
        let at = |millis| Position::AtTimestamp(EpochMillis(millis));
        let mut rows: BTreeMap<_, _> =
            [row("a", Position::TrimHorizon), row("b", at(2))].map(|row| (row.shard.clone(), row)).into();
        let before = rows.clone();
        let commit = Commit {
            create: vec![row("c", Position::TrimHorizon)],
            advance: vec![
                advance("a", Position::TrimHorizon, Position::ShardEnd),
                advance("b", at(1), Position::ShardEnd),
            ],
            ..Commit::default()
        };
        let refusal = commit.apply(&mut rows).expect_err("b is elsewhere");
        assert_eq!(
            refusal.to_string(),
            "shard b is at-timestamp 2, not at-timestamp 1: another run owns this pipeline's state"
        );
        assert_eq!(rows, before);
    }

    #[test]
    fn a_position_may_stay_only_where_the_shard_is_complete_up_to_a_later_time() {
        let start = Position::TrimHorizon;
        let mut rows: BTreeMap<_, _> =
            [row("a", start.clone()), row("b", Position::ShardEnd)].map(|row| (row.shard.clone(), row)).into();
        let mut stay = |id: &str, at: &Position, until: Option<i64>| {
            let complete_until = until.map(EpochMillis);
            let advance = Advance { complete_until, ..advance(id, at.clone(), at.clone()) };
            Commit { advance: vec![advance], ..Commit::default() }.apply(&mut rows)
        };
        assert!(matches!(stay("a", &start, None), Err(Refusal::NotForward { .. })));
        assert_eq!(stay("a", &start, Some(5)), Ok(()));
        for until in [Some(5), Some(4), None] {
            assert!(matches!(stay("a", &start, until), Err(Refusal::NotForward { .. })));
        }
        assert!(matches!(stay("b", &Position::ShardEnd, Some(9)), Err(Refusal::NotForward { .. })), "an end is an end");
        let onward = Commit { advance: vec![advance("a", start, Position::ShardEnd)], ..Commit::default() };
        onward.apply(&mut rows).expect("forward");
        assert_eq!(rows[&ShardId::new("a")].complete_until, Some(EpochMillis(5)), "it never falls");
    }

    #[test]
    fn a_commit_cannot_move_a_row_back_or_make_it_twice() {
        let mut rows: BTreeMap<_, _> = [row("a", Position::ShardEnd)].map(|row| (row.shard.clone(), row)).into();
        let back =
            Commit { advance: vec![advance("a", Position::ShardEnd, Position::TrimHorizon)], ..Commit::default() };
        assert!(matches!(back.apply(&mut rows), Err(Refusal::NotForward { .. })));
        let again = Commit { create: vec![row("a", Position::TrimHorizon)], ..Commit::default() };
        assert!(matches!(again.apply(&mut rows), Err(Refusal::Exists { .. })));
        let gone = Commit { forget: vec![ShardId::new("b")], ..Commit::default() };
        assert!(matches!(gone.apply(&mut rows), Err(Refusal::Missing { .. })));
    }
}
