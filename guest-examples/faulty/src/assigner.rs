//! Sins of the shard assigner; honest answers hand the shards out in turn.

use std::hint::black_box;

use sluicebox_guest::bindings::assigner::exports::sluicebox::pipeline::shard_assigner::{Decision, Reader, Shard};
use sluicebox_guest::{Config, Error};

/// What the configuration asks for.
#[derive(Default)]
pub(crate) struct Sinner {
    always: Option<String>,
}

impl Sinner {
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let sin = config.text("assign")?.map(str::to_owned);
        let attempt = config.integer("assign_attempt")?;
        Ok(Self { always: sin.filter(|_| attempt.is_none_or(|attempt| attempt == i64::from(config.attempt()))) })
    }

    pub(crate) fn assign(&self, unassigned: &[Shard], readers: &[Reader]) -> Result<Vec<Decision>, Error> {
        let count = u32::try_from(unassigned.len()).unwrap_or(u32::MAX);
        let turns = readers.iter().cycle();
        let mut answer: Vec<_> =
            (0..count).zip(turns).map(|(shard, reader)| Decision { shard, subtask: reader.subtask }).collect();
        let of_shards = || unassigned.iter().map(|shard| shard.shard_id.as_str()).find(|id| SINS.contains(id));
        match self.always.as_deref().or_else(of_shards).unwrap_or_default() {
            "assign-trap" => crate::trap(),
            "assign-spin" => crate::spin(),
            "assign-grow" => crate::grow(),
            "assign-flood" => answer = black_box(vec![Decision { shard: 0, subtask: 0 }; 1_000_000]),
            "assign-refuse" => return Err(Error::poison("refused", "refused, as asked")),
            "assign-retry" => return Err(Error::retryable("not-yet", "not ready, as asked")),
            "assign-fatal" => return Err(Error::fatal("broken", "broken, as asked")),
            "assign-nothing" => answer.clear(),
            "assign-foreign" => answer[0].shard = count,
            "assign-twice" => answer[0].shard = count - 1,
            "assign-more" => answer.push(answer[0]),
            "assign-nobody" => answer[0].subtask = u32::try_from(readers.len()).unwrap_or(u32::MAX),
            _ => {}
        }
        Ok(answer)
    }
}

const SINS: [&str; 12] = [
    "assign-trap",
    "assign-spin",
    "assign-grow",
    "assign-flood",
    "assign-refuse",
    "assign-retry",
    "assign-fatal",
    "assign-nothing",
    "assign-foreign",
    "assign-twice",
    "assign-more",
    "assign-nobody",
];
