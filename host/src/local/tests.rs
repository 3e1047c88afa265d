//! The embedded endpoint over its wire, and over restarts.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_smithy_types::base64;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{Endpoint, LocalError, LocalStream, Notice, Options, Seed};

/// One connection that speaks the API's JSON over HTTP/1.1.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn of(endpoint: &Endpoint) -> Client {
        Client::to(&endpoint.url()).await
    }

    async fn to(url: &str) -> Client {
        let address = url.strip_prefix("http://").expect("a plain address");
        let connection = TcpStream::connect(address).await.expect("the endpoint listens");
        connection.set_nodelay(true).expect("the connection is open");
        Client(BufReader::new(connection))
    }

    async fn request(&mut self, operation: &str, request: &Value) {
        let body = request.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: local\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-date: 20260101T000000Z\r\n\
             x-amz-target: Kinesis_20131202.{operation}\r\ncontent-length: {}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c\r\n\r\n",
            body.len()
        );
        self.0.write_all(head.as_bytes()).await.expect("the head is sent");
        self.0.write_all(body.as_bytes()).await.expect("the body is sent");
    }

    /// Status and body of one call.
    async fn send(&mut self, operation: &str, request: &Value) -> (u16, Value) {
        self.request(operation, request).await;
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.expect("an answer arrives");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length is a number");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("the body arrives");
        (status.expect("the answer has a status"), serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The answer of a call that is expected to succeed.
    async fn call(&mut self, operation: &str, request: Value) -> Value {
        let (status, answer) = self.send(operation, &request).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    async fn put(&mut self, stream: &str, key: &str, data: &str) -> (String, String) {
        let request = json!({ "StreamName": stream, "PartitionKey": key, "Data": base64::encode(data) });
        let answer = self.call("PutRecord", request).await;
        (text(&answer["ShardId"]), text(&answer["SequenceNumber"]))
    }

    async fn iterator(&mut self, request: Value) -> String {
        text(&self.call("GetShardIterator", request).await["ShardIterator"])
    }

    /// Sequence numbers and payloads from the iterator to the first empty page.
    async fn drain(&mut self, mut iterator: String) -> Vec<(String, String)> {
        let mut records = Vec::new();
        loop {
            let page = self.call("GetRecords", json!({ "ShardIterator": iterator })).await;
            let found = page["Records"].as_array().expect("a page has records");
            for record in found {
                let data = base64::decode(text(&record["Data"])).expect("data is base64");
                let data = String::from_utf8(data).expect("these tests put text");
                records.push((text(&record["SequenceNumber"]), data));
            }
            match page["NextShardIterator"].as_str() {
                Some(next) if !found.is_empty() => iterator = next.to_owned(),
                Some(_) | None => return records,
            }
        }
    }

    async fn read_shard(&mut self, stream: &str, shard: &str) -> Vec<(String, String)> {
        let request = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let iterator = self.iterator(request).await;
        self.drain(iterator).await
    }

    async fn shards(&mut self, stream: &str) -> Vec<Value> {
        let answer = self.call("ListShards", json!({ "StreamName": stream })).await;
        answer["Shards"].as_array().expect("a listing has shards").clone()
    }

    /// All payloads of a stream, sorted.
    async fn read_stream(&mut self, stream: &str) -> Vec<String> {
        let mut payloads = Vec::new();
        for shard in self.shards(stream).await {
            payloads.extend(self.read_shard(stream, &text(&shard["ShardId"])).await.into_iter().map(|(_, data)| data));
        }
        payloads.sort();
        payloads
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("text was expected, not {value}")).to_owned()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("{number:06}")).collect()
}

fn quakes(shards: u32, seed: Option<Seed>) -> LocalStream {
    LocalStream { name: "quakes".to_owned(), shards, seed }
}

fn in_directory(directory: &Path, streams: Vec<LocalStream>) -> Options {
    Options { directory: Some(directory.to_owned()), streams, ..Options::default() }
}

async fn start(options: Options) -> Endpoint {
    Endpoint::start(options).await.expect("the endpoint starts")
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A seed of lines in a file of the directory.
fn seed_of(directory: &Path, lines: &str) -> Seed {
    let file = directory.join("seed.ndjson");
    fs::write(&file, lines).expect("the seed is written");
    Seed { file, partition_key: "/id".to_owned(), digest: None }
}

/// What a kill would leave at this moment: the files as they are, not as a close would leave them.
fn killed(directory: &Path) -> TempDir {
    let copy = temporary();
    for entry in fs::read_dir(directory).expect("the directory is there") {
        let entry = entry.expect("the directory is read");
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("the file is copied");
    }
    copy
}

#[tokio::test]
async fn a_position_from_before_a_restart_reads_on_after_it() {
    let directory = temporary();
    let endpoint = start(in_directory(directory.path(), vec![quakes(1, None)])).await;
    let mut client = Client::of(&endpoint).await;
    let (shard, _) = client.put("quakes", "a", "one").await;
    let (_, second) = client.put("quakes", "a", "two").await;
    let (_, third) = client.put("quakes", "a", "three").await;
    let after = json!({
        "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/quakes", "ShardId": shard, "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "StartingSequenceNumber": second,
    });
    let iterator = client.iterator(after.clone()).await;
    let latest = json!({ "StreamName": "quakes", "ShardId": shard, "ShardIteratorType": "LATEST" });
    endpoint.shutdown().await;

    let endpoint = start(in_directory(directory.path(), vec![quakes(1, None)])).await;
    let mut client = Client::of(&endpoint).await;
    let newest = client.iterator(latest).await;
    let (_, fourth) = client.put("quakes", "a", "four").await;
    assert!(fourth > third && fourth.len() == third.len(), "{fourth} does not follow {third}");
    let rest = vec![(third, "three".to_owned()), (fourth, "four".to_owned())];
    assert_eq!(client.drain(iterator).await, rest, "with the iterator of before");
    let iterator = client.iterator(after).await;
    assert_eq!(client.drain(iterator).await, rest, "with an iterator of now");
    assert_eq!(client.drain(newest).await, rest[1..], "from the newest on");
    let future =
        json!({ "StreamName": "quakes", "ShardId": shard, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 4e9 });
    assert_eq!(client.send("GetShardIterator", &future).await.0, 400, "the service refuses a timestamp of the future");
}

#[tokio::test]
async fn the_lineage_of_splits_and_merges_survives_a_kill() {
    let directory = temporary();
    let endpoint = start(in_directory(directory.path(), vec![quakes(1, None)])).await;
    let mut client = Client::of(&endpoint).await;
    client.put("quakes", "a", "before").await;
    let middle = (u128::MAX / 2).to_string();
    let split = json!({ "StreamName": "quakes", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": middle });
    client.call("SplitShard", split).await;
    client.put("quakes", "a", "between").await;
    let merge = json!({
        "StreamName": "quakes", "ShardToMerge": "shardId-000000000001", "AdjacentShardToMerge": "shardId-000000000002",
    });
    client.call("MergeShards", merge).await;
    client.put("quakes", "a", "behind").await;
    let shards = client.shards("quakes").await;
    assert_eq!(shards.len(), 4, "one, its two children, theirs");
    assert_eq!(shards[3]["ParentShardId"], "shardId-000000000001");
    assert_eq!(shards[3]["AdjacentParentShardId"], "shardId-000000000002");

    let left = killed(directory.path());
    let endpoint = start(in_directory(left.path(), vec![quakes(1, None)])).await;
    assert_eq!(endpoint.summary().await.notices, [], "the count of a resharded stream is no difference");
    let mut client = Client::of(&endpoint).await;
    assert_eq!(client.shards("quakes").await, shards);
    client.put("quakes", "a", "even later").await;
    assert_eq!(client.read_stream("quakes").await, ["before", "behind", "between", "even later"]);
}

#[tokio::test]
async fn descriptions_consumers_tags_and_policies_survive_a_kill() {
    let directory = temporary();
    let endpoint = start(in_directory(directory.path(), vec![quakes(2, None)])).await;
    let mut client = Client::of(&endpoint).await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/quakes";
    client.call("IncreaseStreamRetentionPeriod", json!({ "StreamName": "quakes", "RetentionPeriodHours": 48 })).await;
    client.call("AddTagsToStream", json!({ "StreamName": "quakes", "Tags": { "owner": "seismology" } })).await;
    let consumer = json!({ "StreamARN": arn, "ConsumerName": "reader" });
    let consumer = client.call("RegisterStreamConsumer", consumer).await["Consumer"]["ConsumerARN"].clone();
    client.call("TagResource", json!({ "ResourceARN": consumer, "Tags": { "reads": "all" } })).await;
    client.call("PutResourcePolicy", json!({ "ResourceARN": arn, "Policy": "{}" })).await;
    let described = client.call("DescribeStream", json!({ "StreamName": "quakes" })).await;

    let left = killed(directory.path());
    let endpoint = start(in_directory(left.path(), vec![])).await;
    let mut client = Client::of(&endpoint).await;
    assert_eq!(client.call("DescribeStream", json!({ "StreamName": "quakes" })).await, described);
    assert_eq!(described["StreamDescription"]["RetentionPeriodHours"], 48);
    let tags = client.call("ListTagsForStream", json!({ "StreamName": "quakes" })).await;
    assert_eq!(tags["Tags"][0]["Value"], "seismology");
    let registered = client.call("DescribeStreamConsumer", json!({ "ConsumerARN": consumer })).await;
    assert_eq!(registered["ConsumerDescription"]["ConsumerStatus"], "ACTIVE");
    let tags = client.call("ListTagsForResource", json!({ "ResourceARN": consumer })).await;
    assert_eq!(tags["Tags"][0]["Value"], "all");
    assert_eq!(client.call("GetResourcePolicy", json!({ "ResourceARN": arn })).await["Policy"], "{}");
}

#[tokio::test]
async fn a_deleted_stream_takes_its_records_along() {
    let directory = temporary();
    let endpoint = start(in_directory(directory.path(), vec![quakes(1, None)])).await;
    let mut client = Client::of(&endpoint).await;
    client.put("quakes", "a", "old").await;
    client.call("DeleteStream", json!({ "StreamName": "quakes" })).await;
    let left = killed(directory.path());
    client.call("CreateStream", json!({ "StreamName": "quakes", "ShardCount": 1 })).await;
    client.put("quakes", "a", "new").await;
    endpoint.shutdown().await;

    let endpoint = start(in_directory(left.path(), vec![])).await;
    assert_eq!(Client::of(&endpoint).await.call("ListStreams", json!({})).await["StreamNames"], json!([]));
    let endpoint = start(in_directory(directory.path(), vec![])).await;
    assert_eq!(Client::of(&endpoint).await.read_stream("quakes").await, ["new"]);
}

/// The same test is the server: run again with this variable, it serves a directory until it is killed.
const SERVES: &str = "SLUICEBOX_TEST_SERVES";

/// Killed with signal 9 at the latest when the test ends, however it ends.
struct Server(Child);

impl Server {
    fn kill(&mut self) {
        self.0.kill().expect("the server is ours");
        self.0.wait().expect("the server is ours");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test]
async fn every_acknowledged_record_survives_kill_9() {
    if let Some(directory) = std::env::var_os(SERVES) {
        let endpoint = start(in_directory(Path::new(&directory), vec![quakes(4, None)])).await;
        writeln!(std::io::stdout(), "\nserves at {}", endpoint.url()).expect("somebody listens");
        endpoint.serve_until(std::future::pending()).await.expect("it is killed before it stops");
        return;
    }
    let directory = temporary();
    let server = Command::new(std::env::current_exe().expect("this test has a path"))
        .args(["--exact", "local::tests::every_acknowledged_record_survives_kill_9", "--nocapture"])
        .env(SERVES, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test runs again");
    let mut server = Server(server);
    let mut said = std::io::BufReader::new(server.0.stdout.take().expect("its output is piped"));
    let url = loop {
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut said, &mut line).expect("its output is text");
        assert_ne!(read, 0, "the server ended before it served");
        if let Some(url) = line.trim().strip_prefix("serves at ") {
            break url.to_owned();
        }
    };
    let refused = Endpoint::start(in_directory(directory.path(), vec![])).await.expect_err("the server owns it");
    assert!(matches!(refused, LocalError::Owned { owner: Some(owner), .. } if owner == server.0.id()), "{refused}");
    let mut client = Client::to(&url).await;
    for number in numbers(0..200) {
        client.put("quakes", &number, &number).await;
    }
    server.kill();

    let endpoint = start(in_directory(directory.path(), vec![quakes(4, None)])).await;
    assert_eq!(Client::of(&endpoint).await.read_stream("quakes").await, numbers(0..200));
}

#[tokio::test]
async fn a_stream_is_seeded_once() {
    let directory = temporary();
    let lines = "{\"id\":\"a\",\"n\":1}\n\n{\"id\":17}\r\n  \n{\"id\":\"b\"}";
    let seed = seed_of(directory.path(), lines);
    let kept = directory.path().join("kept");
    let endpoint = start(in_directory(&kept, vec![quakes(2, Some(seed.clone()))])).await;
    let payloads = Client::of(&endpoint).await.read_stream("quakes").await;
    assert_eq!(payloads, ["{\"id\":\"a\",\"n\":1}", "{\"id\":\"b\"}", "{\"id\":17}"]);
    let identity = endpoint.identity().to_owned();
    let left = killed(&kept);
    endpoint.shutdown().await;

    for directory in [kept.as_path(), left.path()] {
        let endpoint = start(in_directory(directory, vec![quakes(2, Some(seed.clone()))])).await;
        assert_eq!(Client::of(&endpoint).await.read_stream("quakes").await, payloads);
        assert_eq!(endpoint.identity(), identity);
        assert_eq!(endpoint.summary().await.notices, []);
        endpoint.shutdown().await;
    }
}

#[tokio::test]
async fn a_seed_with_a_bad_line_names_it_and_leaves_nothing_behind() {
    let directory = temporary();
    let kept = directory.path().join("kept");
    for (lines, line, fault) in [
        ("{\"id\":1}\n\n{\"key\":2}\n", 3, "has nothing at its partition key"),
        ("{\"id\":[1]}\n", 1, "has neither a string nor a number"),
        ("{\"id\":1}\n{\"id\":", 2, "is no JSON document"),
        ("{\"id\":\"\"}", 1, "has a partition key of 0 characters"),
    ] {
        let seed = seed_of(directory.path(), lines);
        let options = in_directory(&kept, vec![quakes(1, Some(seed.clone()))]);
        let error = Endpoint::start(options).await.expect_err("the seed is bad").to_string();
        assert!(error.contains(&format!("line {line} of seed {}", seed.file.display())), "{error}");
        assert!(error.contains(fault) && error.contains("\"/id\""), "{error}");
    }
    let endpoint = start(in_directory(&kept, vec![])).await;
    assert_eq!(Client::of(&endpoint).await.call("ListStreams", json!({})).await["StreamNames"], json!([]));
}

#[tokio::test]
async fn a_seed_other_than_the_expected_file_is_refused() {
    let directory = temporary();
    let found = "8c736521c2a65a56a60a8b6cea5b5e4bd8e5d1c6d6f5ed2ff0a1bb47b8e5dd65";
    let seed = Seed { digest: Some(found.to_owned()), ..seed_of(directory.path(), "{\"id\":1}\n") };
    let options = Options { streams: vec![quakes(1, Some(seed.clone()))], ..Options::default() };
    let error = Endpoint::start(options).await.expect_err("the digest is another file's");
    let LocalError::SeedDigest { found, .. } = error else { panic!("{error}") };
    let seed = Seed { digest: Some(found.to_uppercase()), ..seed };
    start(Options { streams: vec![quakes(1, Some(seed))], ..Options::default() }).await;
}

#[tokio::test]
async fn what_differs_from_the_list_is_told_and_changes_nothing() {
    let directory = temporary();
    let kept = directory.path().join("kept");
    let seed = seed_of(directory.path(), "{\"id\":1}\n");
    start(in_directory(&kept, vec![quakes(2, Some(seed))])).await.shutdown().await;
    let seed = seed_of(directory.path(), "{\"id\":2}\n");
    let endpoint = start(in_directory(&kept, vec![quakes(3, Some(seed.clone()))])).await;
    let summary = endpoint.summary().await;
    let stream = "quakes".to_owned();
    assert_eq!(
        summary.notices,
        [
            Notice::OtherShardCount { stream: stream.clone(), listed: 3, open: 2 },
            Notice::OtherSeed { stream, file: seed.file },
        ]
    );
    assert!(summary.to_string().contains("quakes: 2 open shards, 1 records"), "{summary}");
    assert!(summary.to_string().contains(&format!("AWS_ENDPOINT_URL_KINESIS={}", endpoint.url())), "{summary}");
}

#[tokio::test]
async fn the_journal_grows_with_the_data_and_not_with_the_writes() {
    let directory = temporary();
    let endpoint = start(in_directory(directory.path(), vec![quakes(2, None)])).await;
    let mut client = Client::of(&endpoint).await;
    let payload = "x".repeat(900);
    for _ in 0..200 {
        client.put("quakes", "a", &payload).await;
    }
    endpoint.shutdown().await;
    let bytes = fs::metadata(directory.path().join("streams.db")).expect("the journal is there").len();
    assert!((200 * 900..2 * 200 * 900).contains(&bytes), "{bytes} bytes for 200 records of 900");
}

#[tokio::test]
async fn what_the_journal_does_not_have_is_neither_acknowledged_nor_shown() {
    let directory = temporary();
    let endpoint = start(in_directory(directory.path(), vec![quakes(1, None)])).await;
    let mut client = Client::of(&endpoint).await;
    let (shard, _) = client.put("quakes", "a", "one").await;
    let full = Connection::open(directory.path().join("streams.db")).expect("the journal is a database");
    full.execute_batch("CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'full'); END")
        .expect("the journal is writable");
    let put = json!({ "StreamName": "quakes", "PartitionKey": "a", "Data": base64::encode("two") });
    let (status, answer) = client.send("PutRecord", &put).await;
    assert_eq!((status, &answer["__type"]), (500, &json!("InternalFailure")), "{answer}");
    let read = json!({ "StreamName": "quakes", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    assert_eq!(client.send("GetShardIterator", &read).await.0, 500, "reads wait for the journal");
    assert_eq!(client.send("PutRecord", &put).await.0, 500, "and so do further changes");

    full.execute_batch("DROP TRIGGER full").expect("the journal is writable");
    client.put("quakes", "a", "three").await;
    let all = ["one", "three", "two"];
    assert_eq!(client.read_stream("quakes").await, all, "a refused record was put once, as the refused call was");
    let endpoint = start(in_directory(killed(directory.path()).path(), vec![])).await;
    assert_eq!(Client::of(&endpoint).await.read_stream("quakes").await, all);
}

#[tokio::test]
async fn a_subscription_never_tells_what_the_journal_does_not_have() {
    let directory = temporary();
    let endpoint = start(in_directory(directory.path(), vec![quakes(1, None)])).await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/quakes";
    let consumer = json!({ "StreamARN": arn, "ConsumerName": "reader" });
    let consumer = Client::of(&endpoint).await.call("RegisterStreamConsumer", consumer).await;
    endpoint.shutdown().await;
    let endpoint = start(in_directory(directory.path(), vec![])).await;
    let mut subscriber = Client::of(&endpoint).await;
    let subscribe = json!({
        "ConsumerARN": consumer["Consumer"]["ConsumerARN"], "ShardId": "shardId-000000000000",
        "StartingPosition": { "Type": "TRIM_HORIZON" },
    });
    subscriber.request("SubscribeToShard", &subscribe).await;
    let mut client = Client::of(&endpoint).await;
    client.put("quakes", "a", "acknowledged").await;
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains(&base64::encode("acknowledged")) {
        assert_ne!(subscriber.0.read_buf(&mut told).await.expect("events arrive"), 0, "it ended early");
        assert!(told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    }

    let full = Connection::open(directory.path().join("streams.db")).expect("the journal is a database");
    full.execute_batch("CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'full'); END")
        .expect("the journal is writable");
    let put = json!({ "StreamName": "quakes", "PartitionKey": "a", "Data": base64::encode("refused") });
    assert_eq!(client.send("PutRecord", &put).await.0, 500);
    // The subscription breaks, which a reader mends by another one from where it is.
    while subscriber.0.read_buf(&mut told).await.is_ok_and(|read| read > 0) {
        assert!(!String::from_utf8_lossy(&told).contains(&base64::encode("refused")), "it tells what may vanish");
    }
}

/// A stream of one shard with a consumer, which is subscribed to.
struct Subscribable {
    endpoint: Endpoint,
    consumer: String,
}

/// A connection whose answer is events.
struct Subscriber(Client);

impl Subscribable {
    async fn start() -> Subscribable {
        let options = Options { streams: vec![quakes(1, None)], ..Options::default() };
        let endpoint = start(options).await;
        let consumer = Subscribable::register(&endpoint, "reader").await;
        Subscribable { endpoint, consumer }
    }

    /// The ARN of a new consumer, once it is active.
    async fn register(endpoint: &Endpoint, name: &str) -> String {
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/quakes";
        let mut client = Client::of(endpoint).await;
        let request = json!({ "StreamARN": arn, "ConsumerName": name });
        let arn = text(&client.call("RegisterStreamConsumer", request).await["Consumer"]["ConsumerARN"]);
        let described = json!({ "ConsumerARN": arn });
        while client.call("DescribeStreamConsumer", described.clone()).await["ConsumerDescription"]["ConsumerStatus"]
            != "ACTIVE"
        {}
        arn
    }

    async fn subscribe(&self, position: Value) -> Subscriber {
        subscribed(&self.endpoint, &self.consumer, &position).await
    }

    /// The code of a refusal.
    async fn refused(&self, position: Value) -> String {
        let request = json!({ "ConsumerARN": self.consumer, "ShardId": SHARD, "StartingPosition": position });
        let (status, answer) = Client::of(&self.endpoint).await.send("SubscribeToShard", &request).await;
        assert_eq!(status, 400, "{answer}");
        text(&answer["__type"])
    }
}

async fn subscribed(endpoint: &Endpoint, consumer: &str, position: &Value) -> Subscriber {
    let request = json!({ "ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": position });
    let mut subscriber = Subscriber(Client::of(endpoint).await);
    subscriber.0.request("SubscribeToShard", &request).await;
    let head = subscriber.line().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{position}: {head}");
    while !subscriber.line().await.is_empty() {}
    assert_eq!(subscriber.frame().await, Some(Value::Null), "what comes first says nothing");
    subscriber
}

impl Subscriber {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.0.read_line(&mut line).await.expect("an answer arrives");
        line.trim_end().to_owned()
    }

    /// What one frame carries, which is one chunk of the body; `None` at the end.
    async fn frame(&mut self) -> Option<Value> {
        let length = usize::from_str_radix(&self.line().await, 16).expect("a chunk has a length");
        let mut chunk = vec![0; length];
        self.0.0.read_exact(&mut chunk).await.expect("the chunk arrives");
        assert_eq!(self.line().await, "");
        let headers = chunk.get(4..8)?.try_into().map(u32::from_be_bytes).expect("four bytes");
        let payload = &chunk[12 + usize::try_from(headers).expect("few")..length - 4];
        Some(serde_json::from_slice(payload).unwrap_or_default())
    }

    /// The next event that has records, with their data.
    async fn records(&mut self) -> (Vec<String>, Value) {
        loop {
            let event = self.frame().await.expect("not the end");
            let records = event["Records"].as_array().expect("an event has records");
            let data = |record: &Value| String::from_utf8(base64::decode(text(&record["Data"])).expect("base64"));
            let data: Vec<String> = records.iter().map(|record| data(record).expect("these tests put text")).collect();
            if !data.is_empty() {
                return (data, event);
            }
        }
    }
}

const SHARD: &str = "shardId-000000000000";

#[tokio::test]
async fn a_subscription_begins_where_it_is_told() {
    let stream = Subscribable::start().await;
    let mut client = Client::of(&stream.endpoint).await;
    let mut empty = stream.subscribe(json!({ "Type": "TRIM_HORIZON" })).await;
    let before = empty.frame().await.expect("an event")["ContinuationSequenceNumber"].clone();
    drop(empty);
    let mut placed = Vec::new();
    for data in ["one", "two", "three"] {
        placed.push(client.put("quakes", "a", data).await.1);
    }
    let second = |ahead: u64| std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() + ahead;
    // A consumer for each subscription: who was there may not have been seen to leave yet.
    let names: Vec<String> = (0..18).map(|number| format!("reader-{number}")).collect();
    let consumers = names.iter().map(|name| Subscribable::register(&stream.endpoint, name));
    let mut consumers = futures_util::future::join_all(consumers).await;
    let mut told = async |position: Value, count: usize| {
        let consumer = consumers.pop().expect("as many as there are subscriptions");
        let mut subscriber = subscribed(&stream.endpoint, &consumer, &position).await;
        let first = subscriber.frame().await.expect("an event");
        assert_eq!(first["Records"].as_array().map(Vec::len), Some(count), "{position}: {first}");
        first
    };
    for (position, count) in [
        (json!({ "Type": "TRIM_HORIZON" }), 3),
        (json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": before }), 3),
        (json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": placed[0] }), 2),
        (json!({ "Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": placed[1] }), 2),
        (json!({ "Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": placed[0] }), 3),
        (json!({ "Type": "AT_TIMESTAMP", "Timestamp": second(0) - 60 }), 3),
        (json!({ "Type": "AT_TIMESTAMP", "Timestamp": second(60) }), 0),
        (json!({ "Type": "LATEST" }), 0),
    ] {
        let first = told(position.clone(), count).await;
        // And wherever that was, its continuation repeats nothing and misses nothing.
        let continuation = first["ContinuationSequenceNumber"].clone();
        let after = json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": continuation });
        assert_eq!(told(after, 0).await["ContinuationSequenceNumber"], continuation, "{position}");
    }
    let latest = told(json!({ "Type": "LATEST" }), 0).await["ContinuationSequenceNumber"].clone();
    client.put("quakes", "a", "four").await;
    told(json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": latest }), 1).await;
    for position in [
        json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "x" }),
        json!({ "Type": "AT_SEQUENCE_NUMBER" }),
        json!({ "Type": "AT_TIMESTAMP" }),
    ] {
        assert_eq!(stream.refused(position).await, "InvalidArgumentException");
    }
}

/// Without a write there would be the next event a pulse later, so most of these rounds would be too late.
#[tokio::test]
async fn a_write_wakes_a_subscription() {
    let stream = Subscribable::start().await;
    let mut client = Client::of(&stream.endpoint).await;
    let mut subscriber = stream.subscribe(json!({ "Type": "LATEST" })).await;
    let mut took = Vec::new();
    for number in numbers(0..20) {
        subscriber.frame().await.expect("a pulse");
        let begun = std::time::Instant::now();
        client.put("quakes", "a", &number).await;
        assert_eq!(subscriber.records().await.0, [number]);
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[10].as_millis() < 100, "{took:?}");
}

#[tokio::test]
async fn only_the_last_event_of_a_closed_shard_tells_its_children() {
    let stream = Subscribable::start().await;
    let mut client = Client::of(&stream.endpoint).await;
    // More than one event holds, by their number and by their size.
    let record = |data: &str| json!({ "PartitionKey": "a", "Data": base64::encode(data) });
    let (small, large) = ("x".to_owned(), "y".repeat(300_000));
    for (count, data) in [(500, &small), (500, &small), (500, &small), (500, &small), (500, &small), (10, &large)] {
        let records = vec![record(data); count];
        let put = client.call("PutRecords", json!({ "StreamName": "quakes", "Records": records })).await;
        assert_eq!(put["FailedRecordCount"], 0);
    }
    let half = (u128::MAX / 2).to_string();
    let split = json!({ "StreamName": "quakes", "ShardToSplit": SHARD, "NewStartingHashKey": half });
    client.call("SplitShard", split).await;
    let mut subscriber = stream.subscribe(json!({ "Type": "TRIM_HORIZON" })).await;
    let (mut count, mut events) = (0, 0);
    loop {
        let event = subscriber.frame().await.expect("not the end");
        count += event["Records"].as_array().expect("an event has records").len();
        events += 1;
        let is_last = count == 2_510;
        assert_eq!(event["ChildShards"].as_array().map(Vec::len), is_last.then_some(2), "after {count}");
        assert_eq!(event["ContinuationSequenceNumber"].is_null(), is_last, "after {count}");
        assert_eq!(event["MillisBehindLatest"] == 0, is_last, "after {count}");
        if is_last {
            break;
        }
    }
    assert!(events > 3, "{events}");
    assert_eq!(subscriber.frame().await, None);
}

#[tokio::test]
async fn a_subscription_is_alone_for_five_seconds_and_then_makes_room() {
    let stream = Subscribable::start().await;
    let horizon = json!({ "Type": "TRIM_HORIZON" });
    let mut first = stream.subscribe(horizon.clone()).await;
    assert_eq!(stream.refused(horizon.clone()).await, "ResourceInUseException");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_millis(5_001)).await;
    tokio::time::resume();
    let mut second = stream.subscribe(horizon.clone()).await;
    while let Some(told) = first.frame().await {
        assert!(told["Records"].is_array() || told["message"] == "another subscription took over", "{told}");
    }
    assert_eq!(stream.refused(horizon).await, "ResourceInUseException");
    second.frame().await.expect("the second goes on");
}

#[tokio::test]
async fn a_subscription_ends_with_its_consumer() {
    let stream = Subscribable::start().await;
    let mut subscriber = stream.subscribe(json!({ "Type": "TRIM_HORIZON" })).await;
    let gone = json!({ "ConsumerARN": stream.consumer });
    Client::of(&stream.endpoint).await.call("DeregisterStreamConsumer", gone).await;
    let mut last = Value::Null;
    while let Some(told) = subscriber.frame().await {
        last = told;
    }
    assert!(text(&last["message"]).starts_with("Consumer arn:"), "{last}");
}

#[tokio::test]
async fn a_journal_that_cannot_be_ours_is_refused() {
    let directory = temporary();
    let path = directory.path().join("streams.db");
    start(in_directory(directory.path(), vec![])).await.shutdown().await;
    let other = Options { region: "eu-west-1".to_owned(), ..in_directory(directory.path(), vec![]) };
    let error = Endpoint::start(other).await.expect_err("the ARNs are another region's");
    assert!(matches!(error, LocalError::OtherAccount { .. }), "{error}");
    let journal = Connection::open(&path).expect("the journal is a database");
    journal.pragma_update(None, "user_version", 99).expect("the journal is writable");
    let error = Endpoint::start(in_directory(directory.path(), vec![])).await.expect_err("a later version wrote it");
    assert!(matches!(error, LocalError::Newer { found: 99, .. }), "{error}");
    drop(journal);
    fs::write(&path, "no database at all, but long enough to be read as the head of one".repeat(20)).expect("written");
    let error = Endpoint::start(in_directory(directory.path(), vec![])).await.expect_err("it is no database");
    assert!(matches!(error, LocalError::Corrupt { .. }), "{error}");
    let error = Endpoint::start(in_directory(&path, vec![])).await.expect_err("it is no directory");
    assert!(matches!(error, LocalError::Directory { .. }), "{error}");
}

#[tokio::test]
async fn a_directory_and_a_port_have_one_owner() {
    let directory = temporary();
    let endpoint = start(in_directory(directory.path(), vec![])).await;
    let error = Endpoint::start(in_directory(directory.path(), vec![])).await.expect_err("it is owned");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    let port = endpoint.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("the url has a port");
    let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let error = Endpoint::start(Options { bind, ..Options::default() }).await.expect_err("it is in use");
    assert!(matches!(error, LocalError::PortInUse { .. }), "{error}");
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let error =
        Endpoint::start(Options { bind: everywhere, ..Options::default() }).await.expect_err("it is not loopback");
    assert!(matches!(error, LocalError::NotLoopback { .. }), "{error}");
    endpoint.shutdown().await;
    start(in_directory(directory.path(), vec![])).await;
}

#[tokio::test]
async fn a_listed_stream_that_the_service_would_refuse_is_an_error() {
    for (name, shards) in [("quakes", 0), ("no spaces", 1), ("", 1)] {
        let streams = vec![LocalStream { name: name.to_owned(), shards, seed: None }];
        let error = Endpoint::start(Options { streams, ..Options::default() }).await.expect_err("no such stream");
        assert!(matches!(error, LocalError::Refused { .. }), "{error}");
    }
    let streams = vec![quakes(1, None), quakes(1, None)];
    let error = Endpoint::start(Options { streams, ..Options::default() }).await.expect_err("it is listed twice");
    assert!(error.to_string().contains("listed twice"), "{error}");
}
