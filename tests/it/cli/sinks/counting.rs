//! Counters in a table, exact whatever becomes of the processes that count: killed, replaced, begun anew on purpose.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use host::aws::AwsSettings;
use tests::simulated::Fault;

use super::*;

const KEYS: u64 = 20;
const STORE: &str = "store = \"dynamodb:positions\"";
const SHARD: &str = "shardId-000000000000";

/// Counts the objects of each `id` in `seen`.
fn counting(more: &str) -> Pipeline {
    let converter = component("to_dynamodb", "key = \"id\", count_attribute = \"seen\"");
    let batch = "max_age = \"5ms\"\nmax_count = 12\nrequest_timeout = \"400ms\"";
    let sink = to_table("guarantee = \"exactly-once\"", &converter, batch);
    Pipeline { store: STORE, ..Place::pipeline(sink + more) }
}

/// splitmix64: other moments in each life, the same ones in each test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Objects of some keys: every shard has records of every key.
fn object(number: u64, chance: &mut Chance) -> (String, String) {
    let id = format!("id-{:02}", chance.below(KEYS));
    (format!("spread-{number}"), json!({ "id": id, "n": number }).to_string())
}

fn id_of(data: &[u8]) -> String {
    let object: Json = serde_json::from_slice(data).expect("JSON");
    object["id"].as_str().expect("a text").to_owned()
}

impl Place {
    fn put_objects(&self, numbers: std::ops::Range<u64>, chance: &mut Chance) {
        for number in numbers {
            let (key, data) = object(number, chance);
            self.put_one(&key, &data);
        }
    }

    /// Records in the stream, by id.
    fn written(&self) -> BTreeMap<String, u64> {
        let mut written = BTreeMap::new();
        for (record, _) in self.aws.kinesis().truth(STREAM).records() {
            *written.entry(id_of(&record.data)).or_default() += 1;
        }
        written
    }

    /// What the table says, by id.
    fn counters(&self) -> BTreeMap<String, u64> {
        let counter = |item: tests::simulated::Item| {
            let Attribute::Text(id) = &item["id"] else { panic!("{item:?}") };
            let Attribute::Number(seen) = &item["seen"] else { panic!("{item:?}") };
            (id.clone(), seen.to_string().parse().expect("a whole number"))
        };
        self.aws.dynamodb().items(TABLE).into_iter().map(counter).collect()
    }

    /// Panics unless each counter was raised once for each record, by one.
    #[track_caller]
    fn expect_exact(&self) {
        let written = self.written();
        assert_eq!(self.counters(), written, "left: the table, right: the stream");
        let key = |id: &str| json!({ "id": { "S": id } });
        let effects: BTreeMap<_, _> = written.iter().map(|(id, count)| (key(id).to_string(), *count)).collect();
        assert_eq!(self.aws.dynamodb().effects(TABLE), effects, "left: the table, right: the stream");
        for (id, count) in &written {
            let seen = self.aws.dynamodb().writes_of(TABLE, &key(id)).into_iter().map(|write| {
                let after = write.after.expect("nothing is deleted");
                let Attribute::Number(seen) = &after["seen"] else { panic!("{after:?}") };
                seen.to_string()
            });
            assert!(seen.eq((1..=*count).map(|seen| seen.to_string())), "{id} was not raised one by one");
        }
    }

    /// Transactions into the table that were asked for.
    fn transactions(&self) -> u64 {
        self.aws.counted(|counted| counted.of_table("TransactWriteItems", TABLE).calls)
    }

    /// Waits until the table has seen every record, or more than every one.
    async fn until_counted(&self) {
        let records = self.written().values().sum::<u64>();
        let tables = self.aws.dynamodb();
        let seen = || tables.effects(TABLE).values().sum::<u64>();
        self.aws.until("every record to be counted", |_| seen() >= records).await;
    }

    /// Waits until so many more are.
    async fn until_transactions(&self, more: u64) {
        let calls = self.transactions() + more;
        let what = format!("{more} more transactions");
        self.aws.until(&what, |counted| counted.of_table("TransactWriteItems", TABLE).calls >= calls).await;
    }
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture: how much was thrown at it is a figure worth seeing")]
fn report(line: &str) {
    println!("{line}");
}

/// Now and then, to any transaction: of counters, and of positions alone.
fn trouble(place: &Place) {
    let faults = [
        (Fault::Lose, 0.06),
        (Fault::throttled(), 0.04),
        (Fault::internal_server_error(), 0.04),
        (Fault::Conflict(0), 0.04),
        (Fault::Conflict(1), 0.04),
        (Fault::Delay(Duration::from_millis(20)), 0.1),
    ];
    for (fault, probability) in faults {
        place.aws.faults().on("TransactWriteItems").probability(probability).inject(fault);
    }
    place.aws.faults().on("UpdateItem").probability(0.05).inject(Fault::Lose);
}

/// CKP-1: whenever the binary is killed, and whatever the service does meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_and_a_split_leave_every_counter_exact() {
    const LIVES: u64 = 10;
    const EACH: u64 = 140;
    let place = Place::new(2).await;
    place.manifest(&counting(""));
    trouble(&place);
    let (mut chance, mut late, mut moments) = (Chance(7), None, Vec::new());
    let begun = Instant::now();
    place.put_objects(0..100, &mut chance);
    for life in 0..LIVES {
        let from = 100 + life * EACH;
        place.put_objects(from..from + EACH / 2, &mut chance);
        if life == 4 {
            place.aws.kinesis().split(STREAM, SHARD);
        }
        // Something that this life asks for is carried out in the next.
        let belated = place.aws.faults().on("TransactWriteItems").table(TABLE).skip(chance.below(6)).times(1);
        let belated = belated.inject(Fault::Belate);
        let (before, running) = (place.transactions(), place.start());
        place.until_transactions(1).await;
        place.put_objects(from + EACH / 2..from + EACH, &mut chance);
        place.until_transactions(chance.below(26)).await;
        if let Some(late) = late.replace(belated) {
            place.aws.faults().lift(late);
        }
        place.until_transactions(chance.below(4)).await;
        running.kill();
        moments.push(place.transactions() - before);
    }
    let last = place.start();
    place.until_transactions(3).await;
    place.aws.faults().mend();
    last.terminate();
    drop(last.finish().expect_code(0));
    drop(place.run(&TO_END).expect_code(0));
    place.expect_exact();
    let (records, counters) = (place.written().values().sum::<u64>(), place.counters().len());
    report(&format!(
        "{records} records on {counters} counters, killed after {moments:?} transactions, {} in all, in {:.1?}: no effect \
         missing, none twice",
        place.transactions(),
        begun.elapsed()
    ));
}

/// CKP-1: a process that stood still for longer than a lease is replaced, and goes on when it can do nothing any more, whether
/// it was writing or had nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_suspended_and_replaced_changes_no_counter_and_says_why_it_ends() {
    let (busy, idle) = tokio::join!(replaced(true), replaced(false));
    report(&format!("{busy}\n{idle}"));
    // Who is refused first says it: the sink, or a heartbeat of the positions.
    for said in [busy, idle] {
        assert!(said == SINK_REFUSED || said.starts_with(CLAIM_REFUSED), "{said}");
    }
}

const SINK_REFUSED: &str = "error: default/words: sink \"table\": another process has taken this pipeline over and writes its \
                            table now, so this one stops; what it had not written yet is the other one's to write";
const CLAIM_REFUSED: &str = "error: default/words: pipeline default/words was taken over by ";

/// What the first of two processes said at its end, suspended with transactions under way or with nothing to do.
async fn replaced(is_busy: bool) -> String {
    let place = Place::new(2).await;
    place.manifest(&counting(""));
    let mut chance = Chance(11);
    place.put_objects(0..200, &mut chance);
    // One transaction of each shard is on its way when the process stops, and arrives when it is replaced.
    let belated = is_busy.then(|| {
        let belated = place.aws.faults().on("TransactWriteItems").table(TABLE).skip(5).times(2);
        belated.inject(Fault::Belate)
    });
    let mut first = place.start();
    if is_busy {
        place.aws.until_hung(2).await;
    } else {
        place.until_counted().await;
    }
    first.suspend();
    place.put_objects(200..300, &mut chance);
    let aside = place.folder.path().join("second");
    std::fs::create_dir(&aside).expect("a writable folder");
    let second = Running::start(&aside, &["run", "../p.toml"]);
    place.until_transactions(3).await;
    if let Some(belated) = belated {
        place.aws.faults().lift(belated);
    }
    place.put_objects(300..350, &mut chance);
    place.until_counted().await;
    assert!(first.is_running(), "it cannot have ended while it stood still");
    first.resume();
    let ended = first.finish().expect_code(1);
    place.put_objects(350..400, &mut chance);
    place.until_counted().await;
    second.terminate();
    drop(second.finish().expect_code(0));
    place.put_objects(400..420, &mut chance);
    drop(place.run(&TO_END).expect_code(0));
    place.expect_exact();
    let said: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(said.len(), 1, "{}", ended.stderr);
    said[0].to_owned()
}

/// CKP-1: the tables of positions are made before the sink asks for them, and an edit takes back what the sink had applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_run_counts_once_from_an_empty_folder_and_again_after_an_edit() {
    const LOCAL: [&str; 4] = ["run", "--local", "--until-caught-up", "p.toml"];
    let local = "[local]\nstreams = [{ name = \"words\", shards = 1, seed = \"words.ndjson\", partition_key = \"/n\" }]\n\
                 tables = [{ name = \"items\", partition_key = \"id\" }]\n";
    let place = Place::new(1).await;
    place.manifest(&counting(local));
    let mut chance = Chance(13);
    let seed: Vec<_> = (0..300).map(|number| object(number, &mut chance).1).collect();
    std::fs::write(place.folder.path().join("words.ndjson"), seed.join("\n") + "\n").expect("a writable folder");
    let mut counts = BTreeMap::<String, u64>::new();
    for data in &seed {
        *counts.entry(id_of(data.as_bytes())).or_default() += 1;
    }
    place.run(&LOCAL).expect_code(0).expect_stderr("sink \"table\": 300 entries written");
    assert_eq!(embedded(&place).await, counts);
    place.run(&LOCAL).expect_code(0).expect_stderr("0 records in");
    assert_eq!(embedded(&place).await, counts, "a second run adds nothing");
    let back = ["state", "set", "--local", "--yes", "p.toml", SHARD, "trim-horizon"];
    drop(place.run(&back).expect_code(0));
    place.run(&LOCAL).expect_code(0).expect_stderr("sink \"table\": 300 entries written");
    counts.values_mut().for_each(|count| *count *= 2);
    assert_eq!(embedded(&place).await, counts);
    place.aws.counted(|counted| assert_eq!(counted.connected, 0, "nothing of this is AWS's"));
}

/// The counters of the embedded table.
async fn embedded(place: &Place) -> BTreeMap<String, u64> {
    for stream in ["stdout", "stderr"] {
        drop(std::fs::remove_file(place.folder.path().join(stream)));
    }
    let mut local = Running::start(place.folder.path(), &["local", "--port", "0", "p.toml"]);
    local.wait_for("stdout", |text| text.contains("AWS_REGION"));
    let said = place.file("stdout");
    let endpoint = said.lines().find_map(|line| line.strip_prefix("endpoint")).expect("it says where it is").trim();
    let client = AwsSettings::local("us-east-1", endpoint).access().await.dynamodb();
    let found = client.scan().table_name(TABLE).send().await.expect("the table is there");
    local.terminate();
    drop(local.finish().expect_code(0));
    let counter = |item: std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>| {
        let id = item["id"].as_s().expect("a text").clone();
        (id, item["seen"].as_n().expect("a number").parse().expect("a whole number"))
    };
    found.items.unwrap_or_default().into_iter().map(counter).collect()
}
