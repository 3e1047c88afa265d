//! The binary, writing to services that are not ours: from a stream into streams, and into tables where the service has them,
//! some of them by route.

use std::collections::BTreeMap;
use std::path::Path;

use host::aws::AwsSettings;
use host::item::{Item, Value};
use host::ports::{KeyAttribute, KeyType, StreamApi as _};
use host_core::shard::Position;
use tests::component;
use tests::process::Running;
use tests::remote::{Provider, stream_name};
use tests::service::{Service, arn};
use tests::stream_contract::records_in;
use tests::tables::{create, scan};
use tokio::sync::watch;

use crate::{on, on_every_backend};

const KEYS: u64 = 25;
/// Records of each key.
const ROUNDS: u64 = 40;
/// Of each key, every fifth is a strong one.
const STRONG: u64 = 5;
/// After so many rounds the host is killed, and once more after twice as many.
const KILLED_AFTER: u64 = 12;
const KILLS: usize = 2;
/// Exactly once, so that it tells when the end is reached.
const FILE: &str = "out.txt";

/// Record `number` of key `key`: partition key and data.
fn record(key: u64, number: u64) -> (String, Vec<u8>) {
    let (id, kind) = (format!("key-{key}"), if is_strong(number) { "strong" } else { "weak" });
    let data = format!(r#"{{"id":"{id}","kind":"{kind}","number":{number}}}"#);
    (id, data.into_bytes())
}

const fn is_strong(number: u64) -> bool {
    number.is_multiple_of(STRONG)
}

/// Where everything is: names that no other test has.
struct World {
    service: Service,
    source: String,
    all: String,
    strong: String,
    /// Of all and of the strong ones, where the service has tables.
    tables: Option<[String; 2]>,
}

impl World {
    async fn create(service: Service, has_tables: bool) -> Self {
        let [source, all, strong] = ["source", "copied", "strong"].map(stream_name);
        for stream in [&source, &all, &strong] {
            service.create(stream, 2).await;
        }
        let tables = has_tables.then(|| ["copied", "strong"].map(stream_name));
        let world = Self { service, source, all, strong, tables };
        let key = KeyAttribute { name: "id".to_owned(), of: KeyType::Text };
        for table in world.tables.iter().flatten() {
            create(&world.dynamodb().await, table, &key, None).await;
        }
        world
    }

    async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        AwsSettings::local("us-east-1", &self.service.endpoint).access().await.dynamodb()
    }

    fn write_manifest(&self, folder: &Path) {
        let (source, component) = (arn(&self.source), component("router"));
        let (source, endpoint) = (source.as_str(), &self.service.endpoint);
        let mut text = format!(
            r#"version = 1
name = "written"
parallelism = 2
[source]
type = "kinesis"
stream_arn = {source:?}
initial_position = "trim-horizon"
[source.polling]
max_records = 200
max_calls_per_second = "unlimited"
max_bytes_per_second = "unlimited"
empty_interval = "20ms"
[deserializer]
component = {component:?}
config = {{ route_field = "kind" }}
routes = ["strong", "weak"]
[deserializer.limits]
cpu_per_batch = "5s"
wall_per_batch = "60s"
[checkpoint]
interval = "100ms"
[aws]
endpoint = {endpoint:?}
credentials = "basic"
[aws.basic]
access_key_id = "test"
secret_access_key = "test"
[[sink]]
name = "file"
type = "file"
path = "{FILE}"
"#
        );
        for (name, stream, when) in [("all", &self.all, ""), ("strong", &self.strong, r#"when = ["strong"]"#)] {
            let (target, converter) = (arn(stream), r#"builtin = "passthrough""#);
            text += &sink(name, "kinesis", &format!("stream_arn = {:?}", target.as_str()), when, converter);
        }
        for (table, when) in self.tables.iter().flatten().zip(["", r#"when = ["strong"]"#]) {
            text += &sink(table, "dynamodb", &format!("table = {table:?}"), when, r#"builtin = "json-to-item""#);
        }
        std::fs::write(folder.join("pipeline.toml"), text).expect("a writable folder");
    }

    /// The numbers that a stream has of each key, in the order of its shards.
    async fn stored(&self, stream: &str) -> BTreeMap<String, Vec<u64>> {
        let api = self.service.stream(stream).await;
        let mut stored: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for shard in api.list_shards(None).await.expect("a listing") {
            let mut iterator = api.open(&shard.id, &Position::TrimHorizon).await.expect("an iterator");
            loop {
                let page = api.read(&shard.id, &iterator, 10_000).await.expect("a page");
                let records = records_in(&page.batches);
                if records.is_empty() {
                    break;
                }
                for (key, data) in records {
                    let (id, number) = told(&data);
                    assert_eq!(key, id, "the element's key is the partition key");
                    stored.entry(id).or_default().push(number);
                }
                iterator = page.next.expect("the shard is open");
            }
        }
        stored
    }

    /// The number that a table has of each key.
    async fn items(&self, table: &str) -> BTreeMap<String, u64> {
        let of = |item: &Item| match (item.get("id"), item.get("number")) {
            (Some(Value::Text(id)), Some(Value::Number(number))) => (id.clone(), number.parse().expect("whole")),
            other => panic!("an item has {other:?}"),
        };
        scan(&self.dynamodb().await, table).await.iter().map(of).collect()
    }
}

fn sink(name: &str, of: &str, target: &str, when: &str, converter: &str) -> String {
    format!(
        "[[sink]]\nname = {name:?}\ntype = {of:?}\n{target}\n{when}\n[sink.converter]\n{converter}\n[sink.batch]\nmax_age = \"20ms\"\n"
    )
}

/// Key and number of an element.
fn told(element: &[u8]) -> (String, u64) {
    let json: serde_json::Value = serde_json::from_slice(element).expect("JSON");
    (json["id"].as_str().expect("a text").to_owned(), json["number"].as_u64().expect("a number"))
}

/// Writes all rounds, and tells how many are written.
async fn write(service: Service, stream: String, written: watch::Sender<u64>) {
    for round in 0..ROUNDS {
        let records: Vec<_> = (0..KEYS).map(|key| record(key, round)).collect();
        service.put(&stream, None, &records).await;
        written.send_replace(round + 1);
    }
}

/// Each key has all its `numbers`, each for the first time in their order; only a kill may make it go back, to a number
/// that it had, and from there it goes on without a gap.
fn assert_in_order(stored: &BTreeMap<String, Vec<u64>>, numbers: &[u64], what: &str) {
    let keys: Vec<_> = stored.keys().cloned().collect();
    let mut wanted: Vec<_> = (0..KEYS).map(|key| format!("key-{key}")).collect();
    wanted.sort();
    assert_eq!(keys, wanted, "{what}");
    for (key, found) in stored {
        let place = |number: &u64| numbers.iter().position(|wanted| wanted == number);
        let places: Option<Vec<usize>> = found.iter().map(place).collect();
        let places = places.unwrap_or_else(|| panic!("{what}, {key} has what is not its: {found:?}"));
        assert_eq!((places[0], places.last()), (0, Some(&(numbers.len() - 1))), "{what}, {key}: {found:?}");
        let breaks: Vec<_> = places.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
        assert!(breaks.iter().all(|pair| pair[1] <= pair[0]), "{what}, {key} skips: {found:?}");
        assert!(breaks.len() <= KILLS, "{what}, {key} goes back more often than it was killed: {found:?}");
    }
}

async fn carry<P: Provider>(has_tables: bool) {
    let (service, _held) = P::serve().await;
    let world = World::create(service, has_tables).await;
    let folder = tempfile::tempdir().expect("a folder");
    world.write_manifest(folder.path());
    let (told, mut written) = watch::channel(0);
    let writing = tokio::spawn(write(world.service.clone(), world.source.clone(), told));
    for kill in 1..=KILLS as u64 {
        let mut host = Running::start(folder.path(), &["run", "pipeline.toml"]);
        written.wait_for(|rounds| *rounds >= KILLED_AFTER * kill).await.expect("it tells its last round");
        // Not before it has done something.
        let count = usize::try_from(KEYS * KILLED_AFTER * (kill - 1)).expect("few");
        host.wait_for(FILE, |text| text.lines().count() > count);
        host.kill();
    }
    writing.await.expect("written");
    let mut last = Running::start(folder.path(), &["run", "pipeline.toml"]);
    let count = usize::try_from(KEYS * ROUNDS).expect("few");
    last.wait_for(FILE, |text| text.lines().count() >= count);
    last.terminate();
    drop(last.finish().expect_code(0));
    let all: Vec<u64> = (0..ROUNDS).collect();
    let strong: Vec<u64> = all.iter().copied().filter(|number| is_strong(*number)).collect();
    assert_in_order(&world.stored(&world.all).await, &all, "all");
    assert_in_order(&world.stored(&world.strong).await, &strong, "the strong ones");
    for (table, numbers) in world.tables.iter().flatten().zip([&all, &strong]) {
        let newest = *numbers.last().expect("there are some");
        let wanted: BTreeMap<_, _> = (0..KEYS).map(|key| (format!("key-{key}"), newest)).collect();
        assert_eq!(world.items(table).await, wanted, "{table}");
    }
}

/// DEL-1, ORD-1, CKP-1: whatever a kill interrupts, each target stream has every element of its routes, and each key's in
/// order, apart from what comes again after the kill.
async fn target_streams_get_their_routes_whole_and_in_order_over_kills<P: Provider>() {
    carry::<P>(false).await;
}

/// DEL-1, ORD-1, CKP-1: the same, and each table ends with the last element of every key.
async fn tables_beside_them_end_with_the_last_of_every_key<P: Provider>() {
    carry::<P>(true).await;
}

on_every_backend! { target_streams_get_their_routes_whole_and_in_order_over_kills }

on! { ministack_with_tables = crate::pypi_server::Ministack: tables_beside_them_end_with_the_last_of_every_key }
on! { embedded_with_tables = crate::Embedded: tables_beside_them_end_with_the_last_of_every_key }
