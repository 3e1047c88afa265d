//! The command line: what can be typed, and nothing of what it does.
//!
//! Names, meanings and exit codes are a public contract. Standard output is data; everything else goes to standard error.

mod values;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use host_core::shard::{Position, ShardId};

pub use self::values::{SeedArg, StreamArg};
use self::values::{parse_position, parse_seed, parse_shard, parse_stream, parse_table};
use crate::config::LocalTable;

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
        long_about = "Serve the embedded AWS endpoint on 127.0.0.1 until stopped, with the streams and tables that manifests \
                  list under `[local]` and those given here. Anything that speaks to Kinesis or DynamoDB can use it, \
                  with any credentials."
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
  sluicebox local --stream orders --table totals=customer,day:N
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
    /// A table to create, with its partition key and, if it has one, its sort key: texts unless `:N` (number) or `:B` (bytes)
    /// says otherwise; may be repeated
    #[arg(
        long = "table",
        value_name = "NAME=KEY[:S|N|B][,SORT[:S|N|B]]",
        value_parser = parse_table,
        action = ArgAction::Append
    )]
    pub tables: Vec<LocalTable>,
    /// Manifests whose `[local]` streams and tables to create
    #[arg(value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
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

#[cfg(test)]
mod tests;
