//! How a stream may differ from the well-behaved default.

use std::time::Duration;

use crate::simulated::service::Refusal;

/// The key that a stream is encrypted with, and what comes of using it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// None.
    #[default]
    None,
    /// It works.
    Kms,
    /// `KMSAccessDeniedException`.
    KmsAccessDenied,
    /// `KMSDisabledException`.
    KmsDisabled,
    /// `KMSInvalidStateException`.
    KmsInvalidState,
    /// `KMSNotFoundException`.
    KmsNotFound,
    /// `KMSOptInRequired`.
    KmsOptInRequired,
    /// `KMSThrottlingException`.
    KmsThrottling,
}

impl Encryption {
    pub(super) fn check(self) -> Result<(), Refusal> {
        let code = match self {
            Self::None | Self::Kms => return Ok(()),
            Self::KmsAccessDenied => "KMSAccessDeniedException",
            Self::KmsDisabled => "KMSDisabledException",
            Self::KmsInvalidState => "KMSInvalidStateException",
            Self::KmsNotFound => "KMSNotFoundException",
            Self::KmsOptInRequired => "KMSOptInRequired",
            Self::KmsThrottling => "KMSThrottlingException",
        };
        Err(Refusal::client(code, "The ciphertext could not be decrypted with the stream's key."))
    }
}

/// What the last page of a closed shard says of its children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Children {
    /// `ChildShards` is there, as with AWS.
    #[default]
    Told,
    /// It is missing, as with emulators.
    Omitted,
}

/// How a closed shard ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastPage {
    /// The page with the last records has no next iterator.
    #[default]
    WithRecords,
    /// An empty page follows.
    Empty,
}

/// What becomes of a `ShardFilter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filters {
    /// It holds.
    #[default]
    Honoured,
    /// It is ignored, `ExclusiveStartShardId` too: every listing shows everything.
    Ignored,
}

/// What pages say of the distance to the tip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// The truth.
    #[default]
    Told,
    /// Always 0, as most emulators say.
    Zero,
    /// Nothing.
    Omitted,
}

/// How a subscription ends whose consumer and shard another one took over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TakeOver {
    /// With `ResourceInUseException`.
    #[default]
    Refused,
    /// In order, as if its time were up.
    Orderly,
}

/// In which ways a stream differs from the well-behaved default. All of them are the service's right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// `ChildShards` at the end of a shard.
    pub children: Children,
    /// The end of a shard.
    pub last_page: LastPage,
    /// `ShardFilter` of listings.
    pub filters: Filters,
    /// `MillisBehindLatest`.
    pub lag: Lag,
    /// Listings show what was this long ago.
    pub listing_lag: Duration,
    /// The end of a subscription that is taken over.
    pub take_over: TakeOver,
}
