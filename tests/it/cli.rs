//! The binary as its user meets it: everything is done wrong on purpose, and each time it says whose turn it is, keeps
//! what was right, and exits with the code that the documentation names.

mod records;
mod refused;
mod offline;
mod local;
mod stop;
mod positions;
mod savepoints;
mod sinks;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value as Json;
use tempfile::TempDir;
use tests::ferro::Ferro;
use tests::process::{Finished, Running, run};

const SHARD: &str = "shardId-000000000000";
const STREAM: &str = "words";

/// A folder with manifests in it, and an endpoint with the stream `words` of one shard.
struct Scene {
    folder: TempDir,
    ferro: Ferro,
}

/// A manifest, as far as tests vary it. Each text is TOML of its own table.
struct Pipeline {
    name: &'static str,
    top: &'static str,
    source: &'static str,
    component: PathBuf,
    config: &'static str,
    limits: &'static str,
    grants: &'static str,
    on_error: &'static str,
    sinks: &'static str,
    aws: String,
    more: &'static str,
}

/// Elements go to `out.txt`.
const TO_FILE: &str = "[[sink]]\ntype = \"file\"\npath = \"out.txt\"";
const TO_STDOUT: &str = "[[sink]]\ntype = \"stdout\"";
/// The budget is what no honest call on a busy machine uses up, and no test waits long for a dishonest one to use up.
const QUICK: &str = "cpu_per_batch = \"150ms\"\nwall_per_batch = \"20s\"";

impl Pipeline {
    fn new(endpoint: &str, component: &str) -> Self {
        Self {
            name: STREAM,
            top: "",
            source: "initial_position = \"trim-horizon\"",
            component: tests::component(component),
            config: "",
            limits: QUICK,
            grants: "",
            on_error: "",
            sinks: TO_FILE,
            aws: format!("endpoint = {endpoint:?}\nretry = {{ min_delay = \"1ms\", max_delay = \"10ms\" }}"),
            more: "",
        }
    }

    fn text(&self) -> String {
        let Self { name, top, source, component, config, limits, grants, on_error, sinks, aws, more } = self;
        let mut text = format!("version = 1\nname = {name:?}\n{top}\n");
        writeln!(
            text,
            "[source]\ntype = \"kinesis\"\nstream_arn = \"{}\"\n{source}",
            tests::ferro::arn(STREAM).as_str()
        )
        .expect("writing to a string does not fail");
        text.push_str("[source.polling]\nempty_interval = \"20ms\"\nmax_calls_per_second = \"unlimited\"\n");
        write!(
            text,
            "[deserializer]\ncomponent = {component:?}\n[deserializer.config]\n{config}\n[deserializer.limits]\n{limits}\n\
             [deserializer.grants]\n{grants}\n[on_error]\n{on_error}\n[checkpoint]\ninterval = \"100ms\"\n{sinks}\n\
             [aws]\ncredentials = \"basic\"\n{aws}\n[aws.basic]\naccess_key_id = \"test\"\nsecret_access_key = \"test\"\n{more}\n"
        )
        .expect("writing to a string does not fail");
        text
    }
}

/// The one command that most tests give.
const TO_END: [&str; 3] = ["run", "--until-caught-up", "p.toml"];

impl Scene {
    async fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().expect("a folder"), ferro: Ferro::start().await };
        scene.ferro.create(STREAM, 1).await;
        scene
    }

    fn pipeline(&self, component: &str) -> Pipeline {
        Pipeline::new(&self.ferro.endpoint, component)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).expect("a writable folder");
    }

    fn manifest(&self, pipeline: &Pipeline) {
        self.write("p.toml", &pipeline.text());
    }

    async fn put(&self, texts: &[&str]) {
        let records: Vec<_> = texts.iter().map(|text| ("key".to_owned(), text.as_bytes().to_vec())).collect();
        self.ferro.put(STREAM, None, &records).await;
    }

    /// Sequence numbers and texts of all records.
    async fn records(&self) -> Vec<(String, String)> {
        use aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon;
        let client = &self.ferro.client;
        let request = client.get_shard_iterator().stream_name(STREAM).shard_id(SHARD);
        let opened = request.shard_iterator_type(TrimHorizon).send().await.expect("opened");
        let page = client.get_records().set_shard_iterator(opened.shard_iterator).send().await.expect("read");
        let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
        page.records.into_iter().map(|record| (record.sequence_number, text(record.data.as_ref()))).collect()
    }

    /// The sequence number of the only record with this text.
    async fn sequence(&self, text: &str) -> String {
        let records = self.records().await;
        let found: Vec<_> = records.iter().filter(|(_, found)| found == text).collect();
        assert_eq!(found.len(), 1, "{text} in {records:?}");
        found[0].0.clone()
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run(self.folder.path(), arguments)
    }

    fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.folder.path(), arguments)
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn out(&self) -> Vec<String> {
        self.file("out.txt").lines().map(str::to_owned).collect()
    }

    /// Where the shard stands, as `state list` tells it.
    fn position(&self) -> String {
        let listed = self.run(&["state", "list", "--json", "p.toml"]).expect_code(0);
        let report: Json = serde_json::from_str(&listed.stdout).expect("JSON on stdout");
        report["streams"][0]["shards"][0]["position"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned()
    }

    /// Whether any run came as far as the positions.
    fn has_state(&self) -> bool {
        self.folder.path().join(".sluicebox/state.db").exists()
    }
}
