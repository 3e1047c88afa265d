use super::*;
use crate::shard::SequenceNumber;

fn id(text: &str) -> ShardId {
    ShardId::new(text)
}

fn description(shard: &str, parents: &[&str]) -> ShardDescription {
    let parents = parents.iter().map(|parent| id(parent)).collect();
    ShardDescription { id: id(shard), parents, range: None, closed: false }
}

fn row(shard: &str, position: Position) -> (ShardId, ShardRow) {
    let row = ShardRow {
        shard: id(shard),
        parents: Vec::new(),
        children: Vec::new(),
        range: None,
        position,
        watermark: None,
        complete_until: None,
        finished_at: None,
    };
    (id(shard), row)
}

fn lineage(shards: &[ShardDescription]) -> Lineage {
    let mut lineage = Lineage::default();
    shards.iter().for_each(|shard| {
        lineage.learn(shard);
    });
    lineage.listed(shards);
    lineage
}

fn now(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

#[test]
fn a_child_waits_for_both_parents_of_a_merge() {
    let lineage = lineage(&[description("a", &[]), description("b", &[]), description("c", &["a", "b"])]);
    let mut rows = BTreeMap::from([
        row("a", Position::ShardEnd),
        row("b", Position::TrimHorizon),
        row("c", Position::TrimHorizon),
    ]);
    assert_eq!(lineage.gate(&id("c"), &rows), Gate::WaitsForEnd);
    rows.extend([row("b", Position::ShardEnd)]);
    assert_eq!(lineage.gate(&id("c"), &rows), Gate::Open);
}

#[test]
fn a_missing_parent_is_presumed_expired_after_two_listings_and_no_sooner() {
    let mut lineage = lineage(&[description("c", &["p"])]);
    let rows = BTreeMap::from([row("c", Position::TrimHorizon)]);
    assert_eq!(lineage.gate(&id("c"), &rows), Gate::WaitsForParent);
    let first = lineage.weigh_absences(&rows, now(5), now(0)).pop().expect("p is missing");
    assert_eq!((first.verdict, first.ask_at), (Verdict::New, Some(now(5))));
    assert_eq!(lineage.gate(&id("c"), &rows), Gate::WaitsForParent);
    let second = lineage.weigh_absences(&rows, now(9), now(6)).pop().expect("p is missing");
    assert_eq!((second.verdict, second.ask_at), (Verdict::Expired, None));
    assert_eq!(lineage.gate(&id("c"), &rows), Gate::Open);
}

#[test]
fn a_listing_that_lacks_the_child_too_is_evidence_only_after_a_pause() {
    let mut lineage = lineage(&[]);
    lineage.learn(&description("c", &["p"]));
    let rows = BTreeMap::from([row("c", Position::TrimHorizon)]);
    for (at, verdict) in [
        (0, Verdict::New),
        (10, Verdict::Known),
        (1_000, Verdict::Known),
        (1_500, Verdict::Known),
        (2_000, Verdict::Expired),
    ] {
        let absence = lineage.weigh_absences(&rows, now(at), now(at)).pop().expect("p is missing");
        assert_eq!(absence.verdict, verdict, "at {at}");
    }
}

#[test]
fn a_listing_that_shows_the_parent_wipes_the_count() {
    let mut lineage = lineage(&[description("c", &["p"])]);
    let rows = BTreeMap::from([row("c", Position::TrimHorizon)]);
    lineage.weigh_absences(&rows, now(0), now(0));
    lineage.learn(&description("p", &[]));
    assert!(lineage.weigh_absences(&rows, now(1), now(1)).is_empty());
    assert_eq!(lineage.gate(&id("c"), &rows), Gate::WaitsForEnd);
    assert!(!lineage.is_investigating());
}

#[test]
fn a_shard_that_has_begun_does_not_ask_for_parents_that_are_forgotten() {
    let mut lineage = lineage(&[description("c", &["p"])]);
    let number = SequenceNumber::parse("7").expect("decimal");
    let rows = BTreeMap::from([row("c", Position::after(number))]);
    assert_eq!(lineage.gate(&id("c"), &rows), Gate::Open);
    assert!(lineage.weigh_absences(&rows, now(0), now(0)).is_empty());
}

#[test]
fn a_shard_is_not_its_own_parent() {
    let lineage = lineage(&[description("a", &["a"])]);
    assert_eq!(lineage.gate(&id("a"), &BTreeMap::new()), Gate::Open);
}

#[test]
fn children_cover_their_parent_when_their_ranges_do() {
    let with = |shard: &str, parents: &[&str], start, end| ShardDescription {
        range: Some(HashRange { start, end }),
        ..description(shard, parents)
    };
    let mut lineage = lineage(&[with("a", &[], 0, 99), with("b", &["a"], 0, 49)]);
    assert!(!lineage.children_cover(&id("a")) && !lineage.children_cover(&id("b")));
    lineage.learn(&with("c", &["a"], 50, 99));
    assert!(lineage.children_cover(&id("a")));
    lineage.forget(&id("b"));
    assert_eq!(lineage.children(&id("a")).collect::<Vec<_>>(), [&id("c")]);
}
