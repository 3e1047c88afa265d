//! One listing of a stream's shards, as an answer to the core.

use std::sync::{MutexGuard, PoisonError};

use host_core::coordinator::{Event, Scope};
use host_core::shard::ShardDescription;

use super::{Input, Stream};
use crate::pipeline::failure::Failure;
use crate::source::classify::SourceError;
use crate::source::health::PatientCall;

/// What went wrong with a listing.
enum Trouble {
    Call(SourceError),
    /// Another stream has taken the name.
    Recreated,
}

/// Asks once. A failure that may pass is word for the core, which asks again; the first listing of a run has less
/// patience than the later ones.
pub(super) async fn list(index: u32, scope: Scope, stream: &Stream) -> Input {
    match ask(&scope, stream).await {
        Ok(shards) => {
            let mut patience = patience(stream);
            patience.succeeded();
            patience.run();
            let shards = shards.into_iter().map(|shard| shard.in_stream(index)).collect();
            Input::Event(Event::Listed { stream: index, scope, shards })
        }
        Err(Trouble::Recreated) => Input::Failed(Failure::Recreated { stream: stream.name.clone() }),
        Err(Trouble::Call(error)) => match patience(stream).failed(&error) {
            Some(_) => Input::Event(Event::ListingFailed { stream: index }),
            None => Input::Failed(Failure::Source(error)),
        },
    }
}

fn patience(stream: &Stream) -> MutexGuard<'_, PatientCall> {
    stream.listing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An audit also looks whether this is still the stream that it was: its shards would carry the same identifiers.
async fn ask(scope: &Scope, stream: &Stream) -> Result<Vec<ShardDescription>, Trouble> {
    let after = match scope {
        Scope::Full => None,
        Scope::After(shard) => Some(shard),
    };
    if after.is_none() {
        let description = stream.api.describe().await.map_err(Trouble::Call)?;
        if description.created != stream.created {
            return Err(Trouble::Recreated);
        }
    }
    stream.api.list_shards(after).await.map_err(Trouble::Call)
}
