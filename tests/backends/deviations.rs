//! The one list of what test backends do otherwise than Kinesis, as far as our checks see it. A check that observes a
//! difference calls [`judge`]: a difference that is not listed fails the check, and so does an entry that is no longer
//! seen. So the list stays true, and docs/backends.md is made from it.

use std::fmt::Debug;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendName {
    /// The fake behind the port `StreamApi`, in memory.
    Memory,
    /// The simulated AWS of these tests.
    Simulated,
    /// The crate `ferrokinesis`, without the host's mending.
    Ferrokinesis,
    /// `sluicebox local`: `ferrokinesis` with the host's mending and journal.
    Embedded,
    /// The npm package `kinesis-local`.
    KinesisLocal,
    /// The npm package `kinesalite`.
    Kinesalite,
    /// The PyPI package `ministack`.
    Ministack,
}

impl BackendName {
    /// The name and version in documents and messages.
    #[must_use]
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Memory => "the in-memory fake",
            Self::Simulated => "the simulated AWS",
            Self::Ferrokinesis => "ferrokinesis 0.7.0",
            Self::Embedded => "sluicebox local",
            Self::KinesisLocal => "kinesis-local 0.6.2",
            Self::Kinesalite => "kinesalite 3.3.3",
            Self::Ministack => "ministack 1.5.33",
        }
    }
}

/// A way to differ from Kinesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// `AT_TIMESTAMP` past the last record.
    ReplaysPastTheLastRecord,
    /// `AT_TIMESTAMP` past the last record, the other way.
    HangsPastTheLastRecord,
    /// `GetRecords` at the end of a shard.
    TellsNoChildren,
    /// `ApproximateArrivalTimestamp`.
    StampsWholeSeconds,
    /// `ApproximateArrivalTimestamp` after a split.
    StampsNewShardsAhead,
    /// `MillisBehindLatest`.
    IsNeverBehind,
    /// `GetRecords` with a text that is no iterator.
    FailsOnNoIterator,
    /// `GetRecords` with a text that is no iterator, the other way.
    CallsNoIteratorExpired,
    /// `SplitShard` and `MergeShards`.
    ForgetsParents,
    /// `UpdateShardCount`.
    CannotUpdateShardCount,
    /// `UpdateShardCount`, the other way.
    OrphansOnUpdateShardCount,
    /// `SubscribeToShard` at the end of a shard.
    PushesPastTheEnd,
    /// `ContinuationSequenceNumber` at the end of a shard.
    ContinuesPastTheEnd,
    /// `SubscribeToShard` while there is a subscription.
    ServesTwoSubscriptions,
    /// `SubscribeToShard` while there is a subscription, the other way.
    NeverTakesOver,
    /// `SubscribeToShard` of a consumer that does not exist.
    RefusesInAnEvent,
    /// `SubscribeToShard` to a shard that does not exist.
    SubscribesToNoShard,
    /// `PutRecords` with a partition key that is not ASCII.
    CountsBytesOfKeys,
    /// `PutRecords` with a partition key beyond the characters of two bytes.
    CountsUnitsOfKeys,
    /// `PutRecords` with a partition key of no characters.
    TakesEmptyKeys,
    /// `PutRecords` with a record of the largest size.
    CountsNoKeys,
    /// `PutRecords` with a request of the largest size.
    TakesHalfARequest,
    /// `PutRecords` with a request beyond the largest size.
    TakesMoreThanARequest,
    /// `PutRecords` with more records than the most.
    TakesAnyCount,
    /// `PutRecords` of more than a shard takes in a second.
    TakesAnyRate,
}

impl Difference {
    /// What the backend does.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::ReplaysPastTheLastRecord => "an iterator at a time past the last record begins at an older record",
            Self::HangsPastTheLastRecord => "a request for an iterator at a time past the last record is not answered",
            Self::TellsNoChildren => "the last page of a closed shard tells no `ChildShards`",
            Self::StampsWholeSeconds => "arrival times are whole seconds",
            Self::StampsNewShardsAhead => "what arrives in a new shard is stamped up to a second ahead of the clock",
            Self::IsNeverBehind => "`MillisBehindLatest` is 0 while records are left",
            Self::FailsOnNoIterator => "a text that is no iterator is answered as a failure of the service",
            Self::CallsNoIteratorExpired => "a text that is no iterator is answered as an expired one",
            Self::ForgetsParents => "a shard that splits or merges is gone at once, and its records with it",
            Self::CannotUpdateShardCount => "there is no `UpdateShardCount`",
            Self::OrphansOnUpdateShardCount => "shards that come from `UpdateShardCount` name no parents",
            Self::PushesPastTheEnd => "a subscription to a closed shard goes on without records, and tells no children",
            Self::ContinuesPastTheEnd => "the last event of a closed shard tells where to go on",
            Self::ServesTwoSubscriptions => "a second subscription is granted at once, beside the first",
            Self::NeverTakesOver => "a second subscription is refused as long as there is the first",
            Self::RefusesInAnEvent => "a subscription that is refused is granted, and its first event is the error",
            Self::SubscribesToNoShard => "a subscription to a shard that does not exist is granted and stays empty",
            Self::CountsBytesOfKeys => "a partition key has at most 256 bytes, not characters",
            Self::CountsUnitsOfKeys => "a partition key has at most 256 UTF-16 code units, not characters",
            Self::TakesEmptyKeys => "a partition key may be empty",
            Self::CountsNoKeys => "the size of a record is that of its data, without the partition key",
            Self::TakesHalfARequest => "a request of `PutRecords` holds 5 MiB, not 10",
            Self::TakesMoreThanARequest => "a request of `PutRecords` that is one byte too large is taken",
            Self::TakesAnyCount => "a request of `PutRecords` may hold more than 500 records",
            Self::TakesAnyRate => "a shard takes any number of bytes a second",
        }
    }

    /// The check that sees it, and asks less of a backend that is listed.
    #[must_use]
    pub const fn check(self) -> &'static str {
        match self {
            Self::ReplaysPastTheLastRecord | Self::HangsPastTheLastRecord => {
                "reading_past_the_last_record_gives_nothing_old"
            }
            Self::TellsNoChildren | Self::ForgetsParents => {
                "a_closed_shard_ends_without_a_next_iterator_after_its_last_record"
            }
            Self::StampsWholeSeconds => "arrival_times_have_milliseconds",
            Self::StampsNewShardsAhead => "the_first_record_of_a_new_shard_arrives_by_the_clock",
            Self::IsNeverBehind => "a_page_that_leaves_records_says_that_it_is_behind",
            Self::FailsOnNoIterator | Self::CallsNoIteratorExpired => "a_text_that_is_no_iterator_is_invalid",
            Self::CannotUpdateShardCount | Self::OrphansOnUpdateShardCount => {
                "doubling_the_shards_makes_children_of_the_old_ones"
            }
            Self::PushesPastTheEnd | Self::ContinuesPastTheEnd => "a_subscription_ends_with_the_children_of_its_shard",
            Self::ServesTwoSubscriptions | Self::NeverTakesOver => {
                "a_second_subscription_is_refused_at_first_and_takes_over_later"
            }
            Self::CountsBytesOfKeys | Self::CountsUnitsOfKeys | Self::TakesEmptyKeys => {
                "a_partition_key_has_256_characters_of_any_script"
            }
            Self::CountsNoKeys => "a_record_holds_a_mebibyte_with_its_key_and_not_a_byte_more",
            Self::TakesAnyCount => "a_request_holds_five_hundred_records",
            Self::TakesHalfARequest | Self::TakesMoreThanARequest => {
                "a_request_holds_ten_mebibytes_with_its_keys_and_not_a_byte_more"
            }
            Self::TakesAnyRate => "what_a_shard_does_not_take_is_thrown_back_and_the_rest_is_taken",
            Self::RefusesInAnEvent | Self::SubscribesToNoShard => {
                "a_subscription_without_a_consumer_or_a_shard_is_refused_as_such"
            }
        }
    }
}

/// An entry of the list.
#[derive(Clone, Copy, Debug)]
pub struct Deviation {
    /// Whose.
    pub backend: BackendName,
    /// What.
    pub difference: Difference,
    /// Why it is so, and what the host makes of it.
    pub why: &'static str,
}

/// The list.
pub const DEVIATIONS: [Deviation; 43] = [
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::ReplaysPastTheLastRecord,
        why: "it starts at the oldest record when it finds none as young; the host drops what is older than its start",
    },
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::TellsNoChildren,
        why: "not implemented; the host finds children by listing",
    },
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::StampsWholeSeconds,
        why: "milliseconds are divided away; the host keeps a record of the very second of its start",
    },
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::StampsNewShardsAhead,
        why: "a child begins a second after the split and no record is stamped earlier; `--until-caught-up` reads on until a record is stamped well past the start of the run",
    },
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::IsNeverBehind,
        why: "told 0 on a page that stops short; the host believes it together with an empty page only",
    },
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::ServesTwoSubscriptions,
        why: "not implemented; two pipelines with one consumer both read everything, where the service would let them take turns",
    },
    Deviation {
        backend: BackendName::Embedded,
        difference: Difference::TellsNoChildren,
        why: "as ferrokinesis, which it serves",
    },
    Deviation {
        backend: BackendName::Embedded,
        difference: Difference::StampsWholeSeconds,
        why: "as ferrokinesis, which it serves",
    },
    Deviation {
        backend: BackendName::Embedded,
        difference: Difference::StampsNewShardsAhead,
        why: "as ferrokinesis, which it serves",
    },
    Deviation {
        backend: BackendName::Embedded,
        difference: Difference::IsNeverBehind,
        why: "as ferrokinesis, which it serves",
    },
    Deviation {
        backend: BackendName::Embedded,
        difference: Difference::OrphansOnUpdateShardCount,
        why: "as ferrokinesis, which it serves; without lineage no reader can keep the order of a key: split and merge instead",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::IsNeverBehind,
        why: "told 0 on a page that stops short; the host believes it together with an empty page only",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::FailsOnNoIterator,
        why: "HTTP 500; the host takes it for a failure that passes, and gives up after its attempts",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::HangsPastTheLastRecord,
        why: "it answers with the first record as young, and forgets to answer when there is none; the host gives the call up after its timeout and asks again, and `latest` is not tried",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::TellsNoChildren,
        why: "older than that field of the API; the host finds children by listing",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::StampsNewShardsAhead,
        why: "a child begins a second after the split and no record is stamped earlier; `--until-caught-up` reads on until a record is stamped well past the start of the run",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::IsNeverBehind,
        why: "told 0 on a page that stops short; the host believes it together with an empty page only",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::CannotUpdateShardCount,
        why: "older than that operation; split and merge instead",
    },
    Deviation {
        backend: BackendName::Ministack,
        difference: Difference::CallsNoIteratorExpired,
        why: "it knows the iterators of the last five minutes, and no others; the host asks for a new one",
    },
    Deviation {
        backend: BackendName::Ministack,
        difference: Difference::ForgetsParents,
        why: "it has no closed shards; nothing can save the records, so shards stay as they are in the tests of it",
    },
    Deviation {
        backend: BackendName::Ministack,
        difference: Difference::OrphansOnUpdateShardCount,
        why: "it begins anew with empty shards of the old names",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::PushesPastTheEnd,
        why: "it never looks whether the shard is closed; only a listing tells",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::NeverTakesOver,
        why: "it keeps who came first, and for some seconds after that one is gone; who renews a subscription is refused for as long",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::RefusesInAnEvent,
        why: "it checks when the answer has begun; the errors are the same",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::SubscribesToNoShard,
        why: "it never looks for the shard; only a listing tells",
    },
    Deviation {
        backend: BackendName::Ministack,
        difference: Difference::ContinuesPastTheEnd,
        why: "it gives every event one; only the children tell the end",
    },
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::CountsBytesOfKeys,
        why: "it measures the text's UTF-8; an entry with such a key is refused and given up, as a component's error",
    },
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::CountsNoKeys,
        why: "the service counts both since records may be larger than 1 MiB; the host refuses what is larger with its key",
    },
    Deviation {
        backend: BackendName::Ferrokinesis,
        difference: Difference::TakesHalfARequest,
        why: "the limit of former years, which is also what sinks send at most unless told otherwise",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::CountsUnitsOfKeys,
        why: "it measures texts as JavaScript does; an entry with such a key is refused and given up, as a component's error",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::CountsNoKeys,
        why: "it looks at each on its own, as the service did when records had 1 MiB of data; the host refuses what is larger with its key",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::TakesMoreThanARequest,
        why: "it never adds a request up; the host does, and sends no more than the service takes",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::TakesAnyCount,
        why: "it never counts; the host sends no more than 500",
    },
    Deviation {
        backend: BackendName::KinesisLocal,
        difference: Difference::TakesAnyRate,
        why: "it has none of the limits per shard; the host keeps below them by itself",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::CountsUnitsOfKeys,
        why: "it measures texts as JavaScript does; an entry with such a key is refused and given up, as a component's error",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::CountsNoKeys,
        why: "it looks at each on its own, as the service did when records had 1 MiB of data; the host refuses what is larger with its key",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::TakesHalfARequest,
        why: "it is the body of the HTTP request that it limits, and its answer is a bare status 413; sinks send 5 MiB at most unless told otherwise",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::TakesMoreThanARequest,
        why: "a body of 7 MB holds a little more than 5 MiB in base64; the host sends no more than it is told",
    },
    Deviation {
        backend: BackendName::Kinesalite,
        difference: Difference::TakesAnyRate,
        why: "it has none of the limits per shard; the host keeps below them by itself",
    },
    Deviation {
        backend: BackendName::Ministack,
        difference: Difference::TakesEmptyKeys,
        why: "it looks at the upper bound only; the host refuses such an entry before it is sent",
    },
    Deviation {
        backend: BackendName::Ministack,
        difference: Difference::CountsNoKeys,
        why: "it looks at each on its own, as the service did when records had 1 MiB of data; the host refuses what is larger with its key",
    },
    Deviation {
        backend: BackendName::Ministack,
        difference: Difference::TakesHalfARequest,
        why: "the limit of former years, which is also what sinks send at most unless told otherwise",
    },
    Deviation {
        backend: BackendName::Ministack,
        difference: Difference::TakesAnyRate,
        why: "it has none of the limits per shard; the host keeps below them by itself",
    },
];

/// Whether the list has it.
#[must_use]
pub fn is_listed(backend: BackendName, difference: Difference) -> bool {
    DEVIATIONS.iter().any(|entry| entry.backend == backend && entry.difference == difference)
}

/// Compares what a check saw with the list.
///
/// # Panics
/// The backend deviates and is not listed, or is listed and does not deviate.
#[track_caller]
pub fn judge(backend: BackendName, difference: Difference, deviates: bool, seen: &dyn Debug) {
    let (name, told) = (backend.shown(), difference.told());
    match (is_listed(backend, difference), deviates) {
        (false, true) => panic!("{name}: {told}, and tests/backends/deviations.rs does not list that; seen: {seen:?}"),
        (true, false) => panic!("{name}: not true any more that {told}: drop it from the list; seen: {seen:?}"),
        (true, true) | (false, false) => {}
    }
}
