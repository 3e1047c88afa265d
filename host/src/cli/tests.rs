use clap::CommandFactory;
use clap::error::ErrorKind;
use host_core::moment::EpochMillis;
use host_core::shard::SequenceNumber;

use super::*;
use crate::config::LocalKey;
use crate::ports::KeyType;

fn typed(words: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.command)
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_usage_exits_with_2() {
    for words in
        ["sluicebox", "sluicebox run", "sluicebox walk", "sluicebox local --port x", "sluicebox state delete m.toml"]
    {
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
fn tables_are_taken_apart() {
    let words = "sluicebox local --table quakes=id --table totals=customer:S,day:N --table raw=a:b:B";
    let Command::Local(local) = typed(words).expect("fine") else { panic!("another command") };
    let key = |name: &str, of| LocalKey { name: name.to_owned(), of };
    let table = |name: &str, partition_key, sort_key| LocalTable { name: name.to_owned(), partition_key, sort_key };
    let expected = [
        table("quakes", key("id", KeyType::Text), None),
        table("totals", key("customer", KeyType::Text), Some(key("day", KeyType::Number))),
        table("raw", key("a:b", KeyType::Bytes), None),
    ];
    assert_eq!(local.tables, expected);
    for wrong in ["quakes", "ab=id", "quakes=", "quakes=id:X", "quakes=id,", "quakes=:N", "quakes=id,id:N", "a b=id"] {
        assert!(parse_table(wrong).is_err(), "{wrong}");
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
