//! How a consumer of enhanced fan-out is found or registered.

/// What the service says of a consumer (`ConsumerStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerStatus {
    /// `CREATING`.
    Creating,
    /// `ACTIVE`: subscriptions are possible.
    Active,
    /// `DELETING`: its name is free once it is gone.
    Deleting,
}
