//! The binary with sinks that write to services: the real SDK, a service that misbehaves on demand, and what a user reads.

mod arriving;
mod counting;
mod online;
mod refused;
mod troubled;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tests::process::{Finished, Running, run};
use tests::simulated::{Attribute, KeyType, Limits, Setup, SimulatedAws};

/// The stream that is read.
const STREAM: &str = "words";
/// The stream that is written to.
const COPY: &str = "copies";
/// The table that is written to. Its key is `id`.
const TABLE: &str = "items";

const TO_END: [&str; 3] = ["run", "--until-caught-up", "p.toml"];

/// A folder with a manifest in it, and the services that it names.
struct Place {
    folder: TempDir,
    aws: SimulatedAws,
}

/// A manifest, as far as tests vary it. Each text is TOML of its own table.
struct Pipeline {
    deserializer: &'static str,
    top: &'static str,
    on_error: &'static str,
    store: &'static str,
    retry: &'static str,
    sinks: String,
}

const TO_FILE: &str = "[[sink]]\ntype = \"file\"\npath = \"out.txt\"\n";
const PASSTHROUGH: &str = "builtin = \"passthrough\"";
const JSON_TO_ITEM: &str = "builtin = \"json-to-item\"";
/// Requests that do not wait for company.
const PROMPT: &str = "max_age = \"20ms\"\nmax_count = 25";

/// A sink into the stream `copies`: with these keys, this converter, and these in its `[sink.batch]`.
fn to_stream(keys: &str, converter: &str, batch: &str) -> String {
    format!(
        "[[sink]]\nname = \"copy\"\ntype = \"kinesis\"\nstream_arn = \"{}\"\n{keys}\n[sink.converter]\n{converter}\n[sink.batch]\n{batch}\n",
        tests::ferro::arn(COPY).as_str()
    )
}

/// A sink into the table `items`.
fn to_table(keys: &str, converter: &str, batch: &str) -> String {
    format!(
        "[[sink]]\nname = \"table\"\ntype = \"dynamodb\"\ntable = \"{TABLE}\"\n{keys}\n[sink.converter]\n{converter}\n[sink.batch]\n{batch}\n"
    )
}

/// A converter that is one of the example components.
fn component(name: &str, config: &str) -> String {
    format!(
        "component = {:?}\nconfig = {{ {config} }}\nlimits = {{ cpu_per_batch = \"1s\", wall_per_batch = \"20s\" }}",
        tests::component(name)
    )
}

impl Place {
    /// A source of `shards` shards, a target of two, and a table.
    async fn new(shards: u32) -> Self {
        let setup = Setup { limits: Limits::any_rate(), ..Setup::default() };
        let place = Self { folder: tempfile::tempdir().expect("a folder"), aws: SimulatedAws::start_with(setup).await };
        place.aws.kinesis().create(STREAM, shards);
        place.aws.kinesis().create(COPY, 2);
        place.aws.dynamodb().create(TABLE, ("id", KeyType::Text), None);
        place
    }

    fn pipeline(sinks: impl Into<String>) -> Pipeline {
        Pipeline {
            deserializer: "passthrough",
            top: "",
            on_error: "",
            store: "",
            retry: "min_delay = \"1ms\", max_delay = \"20ms\"",
            sinks: sinks.into(),
        }
    }

    fn text(&self, pipeline: &Pipeline) -> String {
        let Pipeline { deserializer, top, on_error, store, retry, sinks } = pipeline;
        let (component, endpoint) = (tests::component(deserializer), &self.aws.endpoint);
        let arn = tests::ferro::arn(STREAM);
        format!(
            "version = 1\nname = \"words\"\n{top}\n[source]\ntype = \"kinesis\"\nstream_arn = \"{}\"\n\
             initial_position = \"trim-horizon\"\n[source.polling]\nempty_interval = \"20ms\"\n\
             max_calls_per_second = \"unlimited\"\n[deserializer]\ncomponent = {component:?}\n[deserializer.limits]\n\
             cpu_per_batch = \"1s\"\nwall_per_batch = \"20s\"\n[on_error]\n{on_error}\n[checkpoint]\ninterval = \"100ms\"\n\
             {store}\n{sinks}\n[aws]\nendpoint = {endpoint:?}\nretry = {{ {retry} }}\ncredentials = \"basic\"\n\
             [aws.basic]\naccess_key_id = \"test\"\nsecret_access_key = \"test\"\n",
            arn.as_str()
        )
    }

    fn manifest(&self, pipeline: &Pipeline) {
        std::fs::write(self.folder.path().join("p.toml"), self.text(pipeline)).expect("a writable folder");
    }

    /// Writes records numbered `from..to`, each a JSON object with the key `id` of its record and its number `n`.
    fn put(&self, from: usize, to: usize) {
        for number in from..to {
            let key = format!("key-{}", number % 13);
            self.put_one(&key, &json!({ "id": key, "n": number }).to_string());
        }
    }

    fn put_one(&self, key: &str, data: &str) {
        self.aws.kinesis().put(STREAM, key, data);
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run(self.folder.path(), arguments)
    }

    fn start(&self) -> Running {
        Running::start(self.folder.path(), &["run", "p.toml"])
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// What the target has, as its writers put it there: keys and data.
    fn copies(&self) -> Vec<(String, Vec<u8>)> {
        let truth = self.aws.kinesis().truth(COPY);
        truth.records().map(|(record, _)| (record.key.clone(), record.data.clone())).collect()
    }

    /// What the target has, compared with what was read.
    fn compared(&self) -> tests::simulated::Verdict {
        let copies = self.copies();
        self.aws.kinesis().truth(STREAM).compare(copies.iter().map(|(key, data)| (key.as_str(), data.as_slice())))
    }

    /// The numbers that each item had, one after the other.
    fn items(&self) -> BTreeMap<String, Vec<usize>> {
        let mut items: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for write in self.aws.dynamodb().writes(TABLE) {
            let item = write.after.expect("nothing is deleted");
            let Attribute::Text(id) = &item["id"] else { panic!("{item:?}") };
            let Attribute::Number(number) = &item["n"] else { panic!("{item:?}") };
            let number = number.to_string().parse().expect("a whole number");
            items.entry(id.clone()).or_default().push(number);
        }
        items
    }

    /// Panics unless each item was written in the order of its records and has what the last of `records` says.
    #[track_caller]
    fn expect_items(&self, records: usize) {
        let items = self.items();
        assert_eq!(items.len(), records.min(13));
        for (id, numbers) in items {
            let newest = numbers.iter().scan(0, |seen, number| {
                *seen = (*seen).max(*number);
                Some(*seen)
            });
            let first_time = newest.zip(&numbers).filter(|(newest, number)| newest == *number);
            assert!(first_time.count() > 0, "{id}: {numbers:?}");
            let last = (0..records).rev().find(|number| format!("key-{}", number % 13) == id);
            assert_eq!(numbers.last().copied(), last, "{id}: {numbers:?}");
        }
    }

    /// Where each shard of the source stands, as `state list` tells it.
    fn positions(&self) -> Vec<String> {
        // A run may be going on, and what it says is not to be touched.
        let aside = self.folder.path().join("aside");
        std::fs::create_dir_all(&aside).expect("a writable folder");
        let listed = run(&aside, &["state", "list", "--json", "../p.toml"]).expect_code(0);
        let report: Json = serde_json::from_str(&listed.stdout).expect("JSON on stdout");
        let shards = report["streams"][0]["shards"].as_array().unwrap_or_else(|| panic!("{report}")).clone();
        shards.iter().map(|shard| shard["position"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The sequence number of the only record of the source with `text` in it.
    fn sequence(&self, text: &str) -> String {
        let truth = self.aws.kinesis().truth(STREAM);
        let found: Vec<_> =
            truth.records().filter(|(record, _)| String::from_utf8_lossy(&record.data).contains(text)).collect();
        assert_eq!(found.len(), 1, "{text}");
        found[0].0.sequence.to_string()
    }

    fn has_state(&self) -> bool {
        self.folder.path().join(".sluicebox/state.db").exists()
    }

    /// What a run wrote, with what differs from run to run replaced.
    fn plain(&self, text: &str) -> String {
        text.replace(&self.aws.endpoint, "ENDPOINT").replace(&self.folder.path().display().to_string(), "FOLDER")
    }
}
