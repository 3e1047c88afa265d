//! The command line: what can be typed, and nothing of what it does.
//!
//! Names, meanings and exit codes are a public contract. Standard output is data; everything else goes to standard error.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use host_core::shard::{Position, SequenceNumber, ShardId};

use crate::config::{is_json_pointer, is_stream_name, point_in_time};

/// What was typed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "sluicebox",
    bin_name = "sluicebox",
    version,
    about = "Runs WebAssembly components over Amazon Kinesis streams",
    long_about = "Runs WebAssembly components over Amazon Kinesis streams: reads every record in order, hands it to a \
                  sandboxed component, writes what the component makes of it, and remembers how far it got.",
    after_help = EXIT_CODES,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log.
    #[command(flatten)]
    pub log: Log,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed while running
  2  the command line, a manifest or a component is wrong; nothing was started

Standard output is data; messages, logs and progress go to standard error.";

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Logging")]
pub struct Log {
    /// What to log: error, warn, info, debug or trace, or by module as in "info,host=debug"
    #[arg(
        long = "log",
        global = true,
        value_name = "FILTER",
        env = "SLUICEBOX_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    pub filter: String,
    /// How log lines look
    #[arg(
        long = "log-format",
        global = true,
        value_name = "human|json",
        value_enum,
        hide_possible_values = true,
        default_value_t = LogFormat::Human
    )]
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For eyes
    Human,
    /// One JSON object a line
    Json,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run pipelines until they are stopped
    #[command(
        long_about = "Run pipelines until they are stopped. A pipeline resumes where its checkpoint says; SIGINT or SIGTERM \
                  drains it, writes a last checkpoint and ends within its `shutdown_timeout`. A second signal ends at once."
    )]
    Run(Run),
    /// Validate manifests and their components, touching no stream
    #[command(
        long_about = "Validate manifests and their components, touching no stream: every mistake in each manifest, whether each \
                  component has the role it is used in, and whether its imports are within its grants. With --online, what \
                  the manifests name is asked for, too, and nothing is changed."
    )]
    Check(Check),
    /// Tell what a component is, what it can touch and what it cannot
    #[command(
        long_about = "Tell what a component is: its roles, its imports, who made it and how large it is; and so what it can touch \
                  and what it cannot. The component does not run."
    )]
    Inspect(Inspect),
    /// Serve the embedded AWS endpoint until stopped
    #[command(
        long_about = "Serve the embedded AWS endpoint on 127.0.0.1 until stopped, with the streams that manifests list under \
                  `[local]` and those given here. Anything that speaks to Kinesis can use it, with any credentials."
    )]
    Local(Local),
    /// Read and edit the positions of a pipeline
    #[command(subcommand)]
    State(State),
    /// Keep all that is durable of a pipeline in a file, and go back to it
    #[command(subcommand)]
    Savepoint(Savepoint),
    /// Print the manifest's JSON Schema
    #[command(after_help = "\
Examples:
  sluicebox schema > sluicebox.schema.json

Editors that know TOML use it when a manifest begins with
  #:schema ./sluicebox.schema.json")]
    Schema,
}

/// `sluicebox run`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  sluicebox run orders.toml
  sluicebox run --local --until-caught-up examples/earthquakes.toml

Exit codes:
  0  stopped by a signal, or caught up
  1  a pipeline failed; its positions are safe, and the next run resumes there
  2  the command line, a manifest or a component is wrong; nothing was started")]
pub struct Run {
    /// Read from the embedded AWS endpoint, with the streams of `[local]`, instead of AWS
    #[arg(long)]
    pub local: bool,
    /// Read each shard to where its stream ends now, wait until the sinks have everything, and exit
    #[arg(long)]
    pub until_caught_up: bool,
    /// Manifests: one pipeline each
    #[arg(value_name = "MANIFEST", required = true)]
    pub manifests: Vec<PathBuf>,
}

/// `sluicebox check`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  sluicebox check orders.toml
  sluicebox check pipelines/*.toml && echo fine
  sluicebox check --online orders.toml

Exit codes:
  0  all of them would start
  1  what --online asked for is missing or does not answer; every error is on standard error
  2  at least one would not; every mistake is on standard error")]
pub struct Check {
    /// Also look at what the manifests name: streams, tables and the table of positions must answer; reads only
    #[arg(long)]
    pub online: bool,
    /// Manifests: one pipeline each
    #[arg(value_name = "MANIFEST", required = true)]
    pub manifests: Vec<PathBuf>,
}

/// `sluicebox inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  sluicebox inspect components/orders.wasm
  sluicebox inspect --json components/orders.wasm | jq .imports")]
pub struct Inspect {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// A component's file (.wasm)
    #[arg(value_name = "COMPONENT")]
    pub component: PathBuf,
}

/// `sluicebox local`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  sluicebox local examples/earthquakes.toml
  sluicebox local --port 0 --stream orders:4 --seed orders=orders.ndjson:/id
  aws --endpoint-url http://127.0.0.1:4567 kinesis list-streams")]
pub struct Local {
    /// TCP port; 0 takes a free one and prints it
    #[arg(long, value_name = "PORT", default_value_t = 4567)]
    pub port: u16,
    /// A stream to create, with its number of shards (default 1); may be repeated
    #[arg(long = "stream", value_name = "NAME[:SHARDS]", value_parser = parse_stream, action = ArgAction::Append)]
    pub streams: Vec<StreamArg>,
    /// First records of a stream: a file with one JSON value a line, and the JSON pointer to the partition key in each; may
    /// be repeated
    #[arg(long = "seed", value_name = "NAME=FILE:POINTER", value_parser = parse_seed, action = ArgAction::Append)]
    pub seeds: Vec<SeedArg>,
    /// Manifests whose `[local]` streams to create
    #[arg(value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
}

/// A stream to create: `NAME[:SHARDS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamArg {
    /// The stream's name.
    pub name: String,
    /// Its shards, 1 to 1,000.
    pub shards: u32,
}

/// Records for a stream: `NAME=FILE:POINTER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedArg {
    /// The stream's name.
    pub stream: String,
    /// A file with one JSON value a line, relative to the current directory.
    pub path: PathBuf,
    /// JSON pointer (RFC 6901) to the partition key.
    pub partition_key: String,
}

/// `sluicebox state`. Where a shard is named, its stream may be, too.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum State {
    /// List the positions of a pipeline, one shard a line
    #[command(after_help = "\
Examples:
  sluicebox state list orders.toml
  sluicebox state list --json orders.toml | jq '.streams[].shards[].position'")]
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Use the state that `run --local` keeps with the embedded streams
        #[arg(long)]
        local: bool,
        /// The pipeline's manifest
        #[arg(value_name = "MANIFEST")]
        manifest: PathBuf,
    },
    /// Show all that is kept about one shard
    #[command(after_help = "\
Examples:
  sluicebox state show orders.toml shardId-000000000000")]
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Use the state that `run --local` keeps with the embedded streams
        #[arg(long)]
        local: bool,
        /// The shard's stream, by name or ARN; needed where several streams have a shard of that ID
        #[arg(long, value_name = "STREAM")]
        stream: Option<String>,
        /// The pipeline's manifest
        #[arg(value_name = "MANIFEST")]
        manifest: PathBuf,
        /// The shard
        #[arg(value_name = "SHARD", value_parser = parse_shard)]
        shard: ShardId,
    },
    /// Move the position of one shard, forwards or backwards
    #[command(
        long_about = "Move the position of one shard, forwards or backwards. Backwards delivers records again, forwards passes \
                      over them. The plan is printed first, and done only with --yes or after a terminal's answer; the \
                      pipeline must not be running.",
        after_help = "\
Positions:
  trim-horizon             the oldest record that the stream keeps comes next
  at-timestamp:TIME        the first record that arrived at TIME comes next
  after:SEQUENCE[/SUB]     the record behind this sequence number comes next
  shard-end                the shard is done

TIME is RFC 3339 with an offset, or seconds since 1970.

Examples:
  sluicebox state set orders.toml shardId-000000000000 trim-horizon
  sluicebox state set --yes orders.toml shardId-000000000000 at-timestamp:2018-02-01T00:00:00Z"
    )]
    Set {
        /// Print the plan as one JSON object
        #[arg(long)]
        json: bool,
        /// Use the state that `run --local` keeps with the embedded streams
        #[arg(long)]
        local: bool,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
        /// The shard's stream, by name or ARN; needed where several streams have a shard of that ID
        #[arg(long, value_name = "STREAM")]
        stream: Option<String>,
        /// The pipeline's manifest
        #[arg(value_name = "MANIFEST")]
        manifest: PathBuf,
        /// The shard
        #[arg(value_name = "SHARD", value_parser = parse_shard)]
        shard: ShardId,
        /// What comes next; see below
        #[arg(value_name = "POSITION", value_parser = parse_position)]
        position: Position,
    },
    /// Forget the position of one shard, or of all
    #[command(
        long_about = "Forget the position of one shard, or of all: the pipeline starts there as if it had never run. The plan \
                      is printed first, and done only with --yes or after a terminal's answer; the pipeline must not be \
                      running.",
        after_help = "\
Examples:
  sluicebox state delete orders.toml shardId-000000000000
  sluicebox state delete --all --yes orders.toml"
    )]
    Delete {
        /// Print the plan as one JSON object
        #[arg(long)]
        json: bool,
        /// Use the state that `run --local` keeps with the embedded streams
        #[arg(long)]
        local: bool,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
        /// The shard's stream, by name or ARN; needed where several streams have a shard of that ID
        #[arg(long, value_name = "STREAM")]
        stream: Option<String>,
        /// Forget all shards of the pipeline
        #[arg(long, conflicts_with = "shard")]
        all: bool,
        /// The pipeline's manifest
        #[arg(value_name = "MANIFEST")]
        manifest: PathBuf,
        /// The shard
        #[arg(value_name = "SHARD", value_parser = parse_shard, required_unless_present = "all")]
        shard: Option<ShardId>,
    },
}

/// `sluicebox savepoint`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Savepoint {
    /// Write a savepoint, whether the pipeline runs or not
    #[command(
        long_about = "Write a savepoint: every position, the marks of sinks and what produced them, as of one moment, in one \
                      JSON file with a hash of its content. The pipeline may run meanwhile and does not notice. The file \
                      appears whole or not at all, and an existing file is never overwritten; its path is printed on \
                      standard output.",
        after_help = "\
Examples:
  sluicebox savepoint create orders.toml
  sluicebox savepoint create --stop --output before-upgrade.json orders.toml

Exit codes:
  0  the savepoint is written and on the disk
  1  there is no savepoint: nothing to save, the file exists, the pipeline did not stop
  2  the command line or the manifest is wrong"
    )]
    Create {
        /// Stop the pipeline first, as SIGTERM does: it delivers what it has read, and the savepoint has all of that
        #[arg(long)]
        stop: bool,
        /// The file to write; without it, PIPELINE-TIME.savepoint.json beside the manifest
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Use the state that `run --local` keeps with the embedded streams
        #[arg(long)]
        local: bool,
        /// The pipeline's manifest
        #[arg(value_name = "MANIFEST")]
        manifest: PathBuf,
    },
    /// Verify a savepoint and print what is in it
    #[command(after_help = "\
Examples:
  sluicebox savepoint inspect orders-20180201T000000Z.savepoint.json
  sluicebox savepoint inspect --json before-upgrade.json | jq '.content.streams[].shards[].position'

Exit codes:
  0  it is whole and unaltered
  1  it is torn, altered or contradicts itself
  2  there is no such file, it is no savepoint, or a newer release wrote it")]
    Inspect {
        /// Print the savepoint as one JSON object
        #[arg(long)]
        json: bool,
        /// A savepoint's file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Take a pipeline back to a savepoint
    #[command(
        long_about = "Take a pipeline back to a savepoint: the next run goes on exactly there. The plan is printed first, and \
                      done only with --yes or after a terminal's answer; the pipeline must not be running. The manifest has \
                      to name the streams of the savepoint; parallelism and components may be others.",
        after_help = "\
Examples:
  sluicebox savepoint restore orders-20180201T000000Z.savepoint.json orders.toml
  sluicebox savepoint restore --fork --yes before-upgrade.json orders-copy.toml

Exit codes:
  0  done, or there was nothing to change
  1  nothing was changed: the pipeline runs, the savepoint does not fit, or nobody said yes
  2  the command line or the manifest is wrong, or FILE is no savepoint"
    )]
    Restore {
        /// Print the plan as one JSON object
        #[arg(long)]
        json: bool,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
        /// Let a pipeline of another name or tenant begin as a copy; marks of sinks stay with the original
        #[arg(long)]
        fork: bool,
        /// Leave the marks of sinks out: files keep all they have, and grow by what is read again
        #[arg(long)]
        without_marks: bool,
        /// Restore the state that `run --local` keeps with the embedded streams
        #[arg(long)]
        local: bool,
        /// A savepoint's file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The pipeline's manifest
        #[arg(value_name = "MANIFEST")]
        manifest: PathBuf,
    },
}

fn parse_stream(text: &str) -> Result<StreamArg, String> {
    let (name, shards) = match text.split_once(':') {
        None => (text, 1),
        Some((name, shards)) => {
            let count = shards.parse().ok().filter(|count| (1..=1000).contains(count));
            (name, count.ok_or_else(|| format!("a stream has 1 to 1000 shards, not {shards:?}; write it as orders:4"))?)
        }
    };
    Ok(StreamArg { name: stream_name(name)?, shards })
}

fn parse_seed(text: &str) -> Result<SeedArg, String> {
    let shape = "write NAME=FILE:POINTER, such as orders=orders.ndjson:/id";
    let (stream, rest) = text.split_once('=').ok_or(shape)?;
    // A path may hold colons, and a pointer begins with a slash: the last `:/` is the seam.
    let seam = rest.rfind(":/").filter(|seam| *seam > 0).ok_or(shape)?;
    let (path, pointer) = (&rest[..seam], &rest[seam + 1..]);
    if !is_json_pointer(pointer) {
        return Err(format!("{pointer:?} is no JSON pointer: write `~0` for `~` and `~1` for `/` in a key"));
    }
    Ok(SeedArg { stream: stream_name(stream)?, path: PathBuf::from(path), partition_key: pointer.to_owned() })
}

fn stream_name(text: &str) -> Result<String, String> {
    if is_stream_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("a stream's name is 1 to 128 of letters, digits, `.`, `_` and `-`, not {text:?}"))
    }
}

fn parse_shard(text: &str) -> Result<ShardId, String> {
    let fine = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fine { Ok(ShardId::new(text)) } else { Err("a shard's ID is 1 to 128 characters without spaces".to_owned()) }
}

fn parse_position(text: &str) -> Result<Position, String> {
    let (word, rest) = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
    match (word, rest) {
        ("trim-horizon", None) => Ok(Position::TrimHorizon),
        ("shard-end", None) => Ok(Position::ShardEnd),
        ("at-timestamp", Some(time)) => match point_in_time(time) {
            Some(at) => Ok(Position::AtTimestamp(at)),
            None => Err(format!("{time:?} is no point in time: write RFC 3339 with an offset, or seconds since 1970")),
        },
        ("after", Some(record)) => {
            let (sequence, sub) = record.split_once('/').unwrap_or((record, "0"));
            let sequence = SequenceNumber::parse(sequence).map_err(|error| error.to_string())?;
            let Ok(sub_sequence) = sub.parse() else {
                return Err(format!("{sub:?} is no index inside of an aggregated record"));
            };
            Ok(Position::After { sequence, sub_sequence })
        }
        ("latest", None) => {
            Err("\"latest\" is no place in a shard: name a time, as in at-timestamp:2018-02-01T00:00:00Z".to_owned())
        }
        _ => Err("positions are trim-horizon, at-timestamp:TIME, after:SEQUENCE[/SUB] and shard-end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use host_core::moment::EpochMillis;

    use super::*;

    fn typed(words: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.command)
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for words in [
            "sluicebox",
            "sluicebox run",
            "sluicebox walk",
            "sluicebox local --port x",
            "sluicebox state delete m.toml",
        ] {
            assert_eq!(typed(words).expect_err(words).exit_code(), 2, "{words}");
        }
        assert_eq!(
            typed("sluicebox state delete --all m.toml shard").expect_err("both").kind(),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(typed("sluicebox --help").expect_err("help").exit_code(), 0);
    }

    #[test]
    fn streams_and_seeds_are_taken_apart() {
        let words = "sluicebox local --port 0 --stream orders:4 --stream b --seed orders=a:/b/c.ndjson:/key~1x/0";
        let Command::Local(local) = typed(words).expect("fine") else { panic!("another command") };
        let stream = |name: &str, shards| StreamArg { name: name.to_owned(), shards };
        assert_eq!(local.streams, [stream("orders", 4), stream("b", 1)]);
        let seed = SeedArg {
            stream: "orders".to_owned(),
            path: PathBuf::from("a:/b/c.ndjson"),
            partition_key: "/key~1x/0".to_owned(),
        };
        assert_eq!(local.seeds, [seed]);
        for wrong in ["orders", "orders=x.ndjson", "orders=:/id", "=x:/id", "orders=x:/~2"] {
            assert!(parse_seed(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "a b", "orders:0", "orders:1001", "orders:"] {
            assert!(parse_stream(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_position_is_typed_as_it_is_explained() {
        let after =
            |sub_sequence| Position::After { sequence: SequenceNumber::parse("12").expect("decimal"), sub_sequence };
        let time = Position::AtTimestamp(EpochMillis(1_517_443_200_500));
        for (text, position) in [
            ("trim-horizon", Position::TrimHorizon),
            ("shard-end", Position::ShardEnd),
            ("after:12", after(0)),
            ("after:12/3", after(3)),
            ("at-timestamp:2018-02-01T00:00:00.5Z", time.clone()),
            ("at-timestamp:1517443200.5", time),
        ] {
            assert_eq!(parse_position(text), Ok(position), "{text}");
        }
        for wrong in ["", "latest", "after", "after:x", "after:1/x", "at-timestamp:tomorrow", "trim-horizon:1"] {
            assert!(parse_position(wrong).is_err(), "{wrong}");
        }
    }
}
