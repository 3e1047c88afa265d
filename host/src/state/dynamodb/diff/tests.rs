//! Whatever the change, and wherever the process dies between its transactions: what is left loses nothing.

use fastrand::Rng;
use host_core::moment::EpochMillis;
use host_core::shard::{Position, SequenceNumber, ShardId};

use super::*;
use crate::state::StartPoint;
use crate::state::dynamodb::rows::{Held, applied_id};

/// The tables, by key.
type Items = BTreeMap<(bool, String), Attributes>;

fn identity(n: i64) -> StreamIdentity {
    StreamIdentity { arn: format!("arn:aws:kinesis:us-east-1:000000000000:stream/s{n}"), created: EpochMillis(n) }
}

fn after(sequence: u64) -> Position {
    Position::after(SequenceNumber::parse(&sequence.to_string()).expect("decimal"))
}

fn row(shard: String, position: Position) -> ShardRow {
    let finished_at = position.is_end().then_some(EpochMillis(9));
    ShardRow {
        shard: ShardId::new(&shard),
        parents: Vec::new(),
        children: Vec::new(),
        range: None,
        position,
        watermark: None,
        complete_until: None,
        finished_at,
    }
}

fn started() -> Stream {
    Stream { start: StartPoint::TrimHorizon, consumer: None, rows: BTreeMap::new() }
}

fn make(items: &mut Items, writes: &[Write]) {
    for write in writes {
        let (is_lease, name) = (write.table == In::Leases, if write.table == In::Leases { LEASE_KEY } else { ID });
        let key = (is_lease, write.item[name].as_s().expect("a text").clone());
        let there = items.contains_key(&key);
        match &write.found {
            Found::Whatever => {}
            Found::Nothing => assert!(!there, "{key:?} is there"),
            Found::At(..) => assert!(there, "{key:?} is not there"),
        }
        if write.goes {
            items.remove(&key)
        } else {
            items.insert(key, write.item.clone())
        };
    }
}

fn read(items: &Items) -> Held {
    let of = |leases| items.iter().filter(move |((is_lease, _), _)| *is_lease == leases).map(|(_, item)| item.clone());
    rows::read(&of(true).collect::<Vec<_>>(), &of(false).collect::<Vec<_>>()).expect("reads back")
}

fn write_all(items: &mut Items, old: &Held, new: &Pipeline, applied: &BTreeMap<String, Vec<String>>) -> Vec<Items> {
    let author = Author { owner: "host:1", generation: 1, guards: &old.guards, applied };
    let mut prefixes = vec![items.clone()];
    for writes in diff(&old.pipeline, new, author) {
        assert!(writes.len() <= PARTS_MAX, "{}", writes.len());
        make(items, &writes);
        prefixes.push(items.clone());
    }
    prefixes
}

fn some_pipeline(random: &mut Rng) -> Pipeline {
    let mut pipeline = Pipeline::default();
    for n in 0..random.i64(1..4) {
        let mut stream = started();
        for shard in 0..random.usize(0..200) {
            let position = if random.u8(0..10) == 0 { Position::ShardEnd } else { after(random.u64(10..20)) };
            stream.rows.insert(format!("{shard:04}"), row(format!("{shard:04}"), position));
        }
        pipeline.streams.insert(identity(n), stream);
    }
    pipeline.marks = [("kept".to_owned(), 100), ("shrinks".to_owned(), 100)].into();
    pipeline
}

/// A commit of a run: rows move on, end with children, go; a mark grows.
fn commit(random: &mut Rng, old: &Pipeline) -> Pipeline {
    let mut new = old.clone();
    for stream in new.streams.values_mut() {
        for (shard, found) in std::mem::take(&mut stream.rows) {
            match random.u8(0..4) {
                0 if found.position.is_end() => {}
                1 if !found.position.is_end() => {
                    let child = format!("{shard}-child");
                    let children = vec![ShardId::new(&child)];
                    stream.rows.insert(child.clone(), row(child, Position::TrimHorizon));
                    stream.rows.insert(shard.clone(), ShardRow { children, ..row(shard, Position::ShardEnd) });
                }
                2 if !found.position.is_end() => drop(stream.rows.insert(shard.clone(), row(shard, after(30)))),
                _ => drop(stream.rows.insert(shard, found)),
            }
        }
    }
    new.marks.insert("kept".to_owned(), 200);
    new.marks.insert("new".to_owned(), 1);
    new
}

#[test]
fn every_prefix_of_a_commit_leaves_a_state_from_which_a_restart_loses_nothing() {
    let mut random = Rng::with_seed(7);
    let mut between = 0;
    for case in 0..60 {
        let (mut items, empty) = (Items::new(), BTreeMap::new());
        let old = some_pipeline(&mut random);
        write_all(&mut items, &Held::default(), &old, &empty);
        let held = read(&items);
        assert_eq!(held.pipeline, old, "case {case}");
        let new = commit(&mut random, &old);
        let prefixes = write_all(&mut items, &held, &new, &empty);
        between += prefixes.len().saturating_sub(2);
        assert_eq!(read(&items).pipeline, new, "case {case}");
        for prefix in prefixes {
            let found = read(&prefix).pipeline;
            for (identity, stream) in &found.streams {
                for (shard, row) in &stream.rows {
                    let before = old.streams[identity].rows.get(shard);
                    let is_new = before.is_none_or(|before| before.position != row.position);
                    assert!(!is_new || found.marks["kept"] == 200, "case {case}: {shard} is ahead of its file");
                    for child in &row.children {
                        assert!(stream.rows.contains_key(child.as_str()), "case {case}: {shard} ended without {child}");
                    }
                }
                for (shard, before) in old.streams[identity].rows.iter().filter(|(_, row)| !row.position.is_end()) {
                    let position = stream.rows.get(shard).map(|row| &row.position);
                    assert!(position.is_some_and(|now| !before.position.is_past(now)), "case {case}: {shard} is lost");
                }
            }
        }
    }
    assert!(between > 30, "{between} crashes were tried");
}

#[test]
fn every_prefix_of_a_start_or_an_end_of_a_stream_has_it_whole_or_not_at_all() {
    let mut random = Rng::with_seed(8);
    for case in 0..20 {
        let (old, empty) = (some_pipeline(&mut random), BTreeMap::new());
        let mut items = Items::new();
        for prefix in write_all(&mut items, &Held::default(), &old, &empty) {
            for (identity, stream) in read(&prefix).pipeline.streams {
                assert_eq!(stream, old.streams[&identity], "case {case}");
            }
        }
        let held = read(&items);
        let gone = Pipeline { streams: BTreeMap::new(), ..old.clone() };
        for prefix in write_all(&mut items, &held, &gone, &empty) {
            for (identity, stream) in read(&prefix).pipeline.streams {
                assert_eq!(stream, old.streams[&identity], "case {case}");
            }
        }
        assert!(items.keys().all(|(is_lease, _)| !is_lease), "case {case}");
    }
}

/// Back to an earlier moment: a file is cut back only behind positions that are back already, a parent loses its children
/// only once it is unfinished again, and what sinks have applied goes with the position that it belongs to.
#[test]
fn every_prefix_of_an_edit_backwards_repeats_rather_than_loses() {
    let mut random = Rng::with_seed(9);
    for case in 0..30 {
        let earlier = some_pipeline(&mut random);
        let later = commit(&mut random, &earlier);
        let mut items = Items::new();
        write_all(&mut items, &Held::default(), &later, &BTreeMap::new());
        for (identity, stream) in &later.streams {
            for shard in stream.rows.keys() {
                let id = applied_id("once", identity, shard);
                let item = Attributes::from([(ID.to_owned(), text(&id))]);
                items.insert((false, id), item);
            }
        }
        let held = read(&items);
        let mut target = earlier.clone();
        target.marks.insert("shrinks".to_owned(), 50);
        for prefix in write_all(&mut items, &held, &target, &held.applied) {
            let found = read(&prefix);
            for (identity, stream) in &found.pipeline.streams {
                for (shard, row) in &stream.rows {
                    let is_back =
                        earlier.streams[identity].rows.get(shard).is_some_and(|back| back.position == row.position);
                    let marks = &found.pipeline.marks;
                    assert!(is_back || marks["kept"] == 200 && marks["shrinks"] == 100, "case {case}: {shard}");
                    let was = later.streams[identity].rows.get(shard);
                    let is_moved = was.is_none_or(|was| was != row);
                    let applied = found.applied.contains_key(&applied_to(identity, shard));
                    assert!(!(is_moved && applied), "case {case}: {shard} would be passed over");
                    for child in &row.children {
                        assert!(stream.rows.contains_key(child.as_str()), "case {case}: {shard} ended without {child}");
                    }
                }
            }
        }
        assert_eq!(read(&items).pipeline, target, "case {case}");
    }
}
