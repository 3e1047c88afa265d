//! The plain view of a round, and the stand-in for the host that tests of assigners run on.

use sluicebox_guest::assigner::{Decision, Placement, Reader, Shard, ShardAssigner};
use sluicebox_guest::bindings::assigner::exports::sluicebox::pipeline::shard_assigner as raw;
use sluicebox_guest::testing::{self, AssignerInstance, TestShard, readers};
use sluicebox_guest::{Config, Error, assigner, log, metrics};

/// Gives shards of the upper half of the key space to the last subtask, and does what ids ask for.
struct Halves {
    rounds: metrics::Counter,
}

impl ShardAssigner for Halves {
    fn open(config: &Config) -> Result<Self, Error> {
        log::info!("opened", stage = config.stage(), kind = config.text("kind")?.unwrap_or("none"));
        Ok(Self { rounds: metrics::Counter::new("rounds", &[]) })
    }

    fn assign(
        &mut self,
        unassigned: &[Shard],
        current: &[Placement],
        readers: &[Reader],
    ) -> Result<Vec<Decision>, Error> {
        self.rounds.add(1);
        let last = readers.last().map_or(u32::MAX, |reader| reader.subtask);
        let mut decisions = Vec::new();
        for shard in unassigned.iter().rev() {
            let is_upper = shard.range().is_some_and(|range| *range.start() > u128::MAX / 2);
            match shard.shard_id() {
                "leave" => {}
                "refuse" => return Err(Error::retryable("not-yet", current.len())),
                "twice" => decisions.extend([shard.on(0), shard.on(0)]),
                "nobody" => decisions.push(shard.on(last + 1)),
                _ => decisions.push(shard.on(if is_upper { last } else { 0 })),
            }
        }
        Ok(decisions)
    }
}

sluicebox_guest::shard_assigner!(Halves);

fn opened() -> AssignerInstance<Halves> {
    AssignerInstance::open([]).expect("opens")
}

#[test]
fn decisions_come_back_in_the_order_of_the_question() {
    let half = u128::MAX / 2;
    let shards = [
        TestShard::new("low").range(0..=half),
        TestShard::new("high").range(half + 1..=u128::MAX),
        TestShard::new("leave"),
        TestShard::new("without"),
    ];
    let answer = opened().assign(&shards, &[], &readers([1, 1, 1])).expect("decided");
    assert_eq!(answer, [Some(0), Some(2), None, Some(0)]);
    assert_eq!(testing::metric("rounds"), Some(1.0));
}

#[test]
fn it_is_opened_as_the_assigner_with_its_configuration() {
    let _opened = AssignerInstance::<Halves>::open([("kind", "own".into())]).expect("opens");
    let lines = testing::take_log();
    assert_eq!(lines[0].fields, [("stage", "assigner"), ("kind", "own")].map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn its_errors_are_those_of_the_round() {
    let placed = [TestShard::new("a").on(1), TestShard::new("b").on(0)];
    let error = opened().assign(&[TestShard::new("refuse")], &placed, &readers([1])).expect_err("refused");
    assert_eq!((error.code(), error.message()), ("not-yet", "2"));
}

#[test]
#[should_panic(expected = "twice was decided twice")]
fn deciding_twice_is_found_natively() {
    let _answer = opened().assign(&[TestShard::new("twice")], &[], &readers([1]));
}

#[test]
#[should_panic(expected = "subtask 2 is no reader")]
fn a_subtask_that_is_none_is_found_natively() {
    let _answer = opened().assign(&[TestShard::new("nobody")], &[], &readers([1, 1]));
}

/// Looks at what it is handed.
struct Witness(Vec<Shard>);

impl ShardAssigner for Witness {
    fn open(_config: &Config) -> Result<Self, Error> {
        Ok(Self(Vec::new()))
    }

    fn assign(&mut self, unassigned: &[Shard], _: &[Placement], _: &[Reader]) -> Result<Vec<Decision>, Error> {
        self.0.extend_from_slice(unassigned);
        Ok(Vec::new())
    }
}

#[test]
fn hash_keys_are_whole_numbers_and_nothing_is_lost_on_the_way() {
    let key = |high, low| raw::HashKey { high, low };
    let sent = raw::Shard {
        stream_arn: "arn".into(),
        shard_id: "s".into(),
        parents: vec![raw::Parent { shard_id: "p".into(), subtask: Some(4) }],
        range: Some(raw::HashRange { start: key(1, 2), end: key(u64::MAX, u64::MAX) }),
    };
    let mut witness = Witness(Vec::new());
    assert_eq!(assigner::assign(&mut witness, vec![sent], &[], &[]).map(|answer| answer.len()), Ok(0));
    let seen = &witness.0[0];
    assert_eq!(seen.range(), Some((1 << 64) + 2..=u128::MAX));
    assert_eq!((seen.stream_arn(), seen.shard_id()), ("arn", "s"));
    assert_eq!((seen.parents()[0].shard_id.as_str(), seen.parents()[0].subtask), ("p", Some(4)));
    assert_eq!(seen.on(9).shard, 0);
}
