//! Which subtask reads a shard.
//!
//! The answer depends on nothing but the shard and the number of subtasks, so it is the same after every restart and no
//! table of assignments needs to be kept. It is therefore blind to load. The standard library's hashers are no choice:
//! their algorithm is not promised to stay.

use crate::shard::{HashRange, ShardId};

/// The subtask of a shard, below `parallelism` (0 is taken as 1): the place of its range's midpoint in the key space,
/// `floor(midpoint * parallelism / 2^128)`, exactly; without a range, its id's hash modulo `parallelism`.
#[must_use]
pub fn uniform(shard: &ShardId, range: Option<HashRange>, parallelism: u32) -> u32 {
    let subtasks = parallelism.max(1);
    let subtask = match range {
        Some(range) => scale(midpoint(range), u128::from(subtasks)),
        None => u128::from(fnv1a(shard.as_str().as_bytes()) % u64::from(subtasks)),
    };
    u32::try_from(subtask).expect("a fraction of a 32-bit number fits into 32 bits")
}

const fn midpoint(range: HashRange) -> u128 {
    // The sum of both ends has 129 bits.
    range.start / 2 + range.end / 2 + (range.start & range.end & 1)
}

/// `floor(key * n / 2^128)` for `n < 2^32`. The product has 160 bits, so it is made of two halves.
const fn scale(key: u128, n: u128) -> u128 {
    let high = (key >> 64) * n;
    let low = (key & u64::MAX as u128) * n;
    (high + (low >> 64)) >> 64
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn equal_slices_go_to_equal_shares() {
        let quarter = u128::MAX / 4 + 1;
        let shard = ShardId::new("shardId-000000000000");
        for slice in 0..4_u32 {
            let start = quarter * u128::from(slice);
            let range = HashRange { start, end: start + (quarter - 1) };
            assert_eq!(uniform(&shard, Some(range), 4), slice);
            assert_eq!(uniform(&shard, Some(range), 2), slice / 2);
        }
    }

    #[test]
    fn the_whole_key_space_has_its_midpoint_just_below_the_middle() {
        let all = HashRange { start: 0, end: u128::MAX };
        assert_eq!(midpoint(all), u128::MAX / 2);
        let shard = ShardId::new("s");
        assert_eq!(uniform(&shard, Some(all), 2), 0);
        let last = HashRange { start: u128::MAX, end: u128::MAX };
        assert_eq!(uniform(&shard, Some(last), u32::MAX), u32::MAX - 1);
        assert_eq!(uniform(&shard, Some(last), 0), 0);
    }

    #[test]
    fn shards_without_ranges_keep_their_subtask() {
        let subtask = |id: &str| uniform(&ShardId::new(id), None, 4);
        assert_eq!(subtask("foobar"), 0);
        assert_eq!(subtask("a"), 0);
        assert_eq!(subtask("shardId-00000001700000000000-0a1b2c3d"), subtask("shardId-00000001700000000000-0a1b2c3d"));
    }
}
