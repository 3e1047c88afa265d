//! Positions in a table, looked at and changed from outside a run.

use host::state::edit::{self, EditError, Request, Selection, Site, Snapshot};
use host::state::{LeaseStore as _, StoreError};
use host_core::moment::EpochMillis;
use host_core::shard::ShardId;
use serde_json::json;

use super::*;

fn site(scene: &Scene) -> Site {
    Site::Table(Box::new(scene.options(TABLE)))
}

fn set(shard: &str, to: Position) -> Request {
    let shards = Selection::Only(vec![ShardId::new(shard)]);
    Request::Set { stream: None, shards, to, now: EpochMillis(5) }
}

fn applied(scene: &Scene) -> Vec<String> {
    let ids = scene.aws.dynamodb().items(BESIDE).into_iter().map(|item| item["id"].to_json()["S"].to_string());
    let mut ids: Vec<String> = ids.filter(|id| id.contains("applied/")).map(|id| id.replace('"', "")).collect();
    ids.sort_unstable();
    ids
}

/// Two shards, of each of which two sinks have applied something.
fn prepared(scene: &Scene) -> DynamoStore {
    let mut store = scene.started();
    store.commit(&[stream()], &create(vec![row("a", after(5)), row("b", after(7))]), &[]).expect("new");
    for sink in ["one", "two"] {
        for shard in ["a", "b"] {
            let id = format!("applied/{sink}/1700000000000/{}/{shard}", stream().arn);
            scene.aws.dynamodb().put(BESIDE, &json!({ "id": { "S": id }, "generation": { "N": "1" } }));
        }
    }
    store
}

#[test]
fn a_set_moves_a_position_and_takes_along_what_sinks_have_applied_of_that_shard() {
    let scene = Scene::new();
    let mut store = prepared(&scene);
    store.release().expect("the owner");
    let listed = edit::list(site(&scene), &id()).expect("state").to_string();
    assert!(listed.contains("released first:1") && listed.contains("after:7"), "{listed}");
    let plan = edit::plan(&Snapshot::take(site(&scene), &id()).expect("state"), &set("a", after(2))).expect("a plan");
    assert_eq!(serde_json::to_value(&plan).expect("JSON")["database"], "dynamodb:quakes-positions");
    assert_eq!(edit::apply(&plan, &owner("operator")).expect("nobody owns it"), 2);
    let (_next, claimed) = scene.claim();
    assert_eq!((claimed.generation, rows(&claimed)), (3, &[row("a", after(2)), row("b", after(7))][..]));
    assert!(applied(&scene).iter().all(|id| id.ends_with("/b")) && applied(&scene).len() == 2, "{:?}", applied(&scene));
    let again = edit::apply(&plan, &owner("operator"));
    assert!(matches!(again, Err(EditError::Outdated { .. })), "{again:?}");
}

#[test]
fn a_live_owner_refuses_an_edit_and_a_forgotten_writer_is_fenced_by_one() {
    let scene = Scene::new();
    let mut store = prepared(&scene);
    let snapshot = Snapshot::take(site(&scene), &id()).expect("state");
    assert_eq!(snapshot.live().flatten().expect("it beats").name, "first:1");
    let plan = edit::plan(&snapshot, &set("a", after(2))).expect("a plan");
    let refused = edit::apply(&plan, &owner("operator")).expect_err("it lives");
    assert!(
        matches!(&refused, EditError::Store(StoreError::OwnedByAnother { owner: Some(by), .. }) if by.name == "first:1")
    );
    store.commit(&[stream()], &moved(advance("a", after(5), after(6))), &[]).expect("it was not disturbed");
    drop(store);
    let delete = Request::Delete { stream: None, shards: Selection::All };
    let plan = edit::plan(&Snapshot::take(site(&scene), &id()).expect("state"), &delete).expect("a plan");
    edit::apply(&plan, &owner("operator")).expect("it is dead");
    assert_eq!(applied(&scene), Vec::<String>::new());
    assert_eq!(scene.aws.dynamodb().items(TABLE), Vec::new());
    let (_next, claimed) = scene.claim();
    assert_eq!((claimed.generation, claimed.streams.len()), (3, 0));
}

#[test]
fn looking_makes_no_table() {
    let scene = Scene::new();
    let missing = edit::list(site(&scene), &id()).expect_err("no table").to_string();
    assert!(missing.contains("table \"quakes-positions\" does not exist"), "{missing}");
    assert_eq!(scene.aws.counted(|counted| counted.calls("CreateTable")), 0);
    assert!(Snapshot::take_or_empty(site(&scene), &id()).expect("nothing").live().is_none());
}

/// What a crash left of an edit or a start counts for nothing, and is in nobody's way.
#[test]
fn rows_of_a_stream_without_a_start_are_swept_away() {
    let scene = Scene::new();
    let mut store = scene.started();
    store
        .commit(&[stream()], &create((0..150).map(|n| row(&format!("s{n:03}"), after(1))).collect()), &[])
        .expect("new");
    // The stream goes first, and the second transaction never comes.
    scene.aws.faults().on("TransactWriteItems").skip(1).inject(Fault::client("NoSuchThingException"));
    drop(store.forget_stream(&stream()).expect_err("cut short"));
    drop(store);
    scene.aws.faults().mend();
    assert!(!scene.aws.dynamodb().items(TABLE).is_empty());
    let (mut next, claimed) = scene.claim();
    assert_eq!(claimed.streams.len(), 0);
    assert_eq!(scene.aws.dynamodb().items(TABLE), Vec::new());
    next.start_stream(&stream(), StartPoint::TrimHorizon, &[]).expect("not started");
    next.commit(&[stream()], &create(vec![row("s149", Position::TrimHorizon)]), &[]).expect("nothing is in the way");
}
