//! What the core finds worth telling, as lines of the log.

use host_core::coordinator::Notice;
use host_core::gap::{Gap, GapReason};
use host_core::shard::ShardId;

use super::Stream;

/// Writes one line.
pub(super) fn log(notice: &Notice, streams: &[Stream]) {
    let stream_of = |shard: &ShardId| name(streams, shard.stream());
    match notice {
        Notice::ParentMissing { shard, parent } => {
            let stream = stream_of(shard);
            tracing::info!(stream, %shard, %parent, "a parent is neither known nor listed; listing again before its child is read");
        }
        Notice::ParentPresumedExpired { parent } => {
            tracing::info!(stream = stream_of(parent), %parent, "a parent is gone from the stream: its records have expired");
        }
        Notice::PresumedParentListed { parent } => {
            tracing::warn!(stream = stream_of(parent), %parent, "a parent that was taken as expired is listed after all and is read now, after its children");
        }
        Notice::EndWithoutChildren { shard } => {
            tracing::warn!(stream = stream_of(shard), %shard, "a shard ended and no listing shows children for all of its keys");
        }
        Notice::KeySpaceGap { stream, hole } => {
            let (start, end) = (hole.start, hole.end);
            tracing::warn!(stream = name(streams, *stream), start, end, "no shard that is still to be read owns these hash keys");
        }
        Notice::Forgotten { shard } => {
            tracing::debug!(stream = stream_of(shard), %shard, "a finished shard is past retention; its row is dropped");
        }
        Notice::AssignerOverruled { why } => {
            tracing::warn!(why, "the assigner component's answer could not be used; the built-in assigner decided instead");
        }
        Notice::Gap(gap) => passed_over(gap, stream_of(&gap.shard)),
    }
}

/// A gap that the manifest says to pass over (GAP-1).
pub(super) fn passed_over(gap: &Gap, stream: &str) {
    let time = |at: Option<_>| at.map_or_else(|| "?".to_owned(), crate::state::rfc3339);
    let to = gap.to.as_ref().map_or("?", |to| to.as_str());
    tracing::warn!(
        stream,
        shard = %gap.shard,
        from = %gap.from,
        to,
        since = time(gap.since),
        until = time(gap.until),
        reason = reason(gap.reason),
        "gap: records may have been lost before they were read; reading on, as on_gap = \"continue\" says"
    );
}

/// Why there is a gap, in a few words.
#[must_use]
pub const fn reason(reason: GapReason) -> &'static str {
    match reason {
        GapReason::Trimmed => "records were trimmed before they were read",
        GapReason::StalePosition => "the position is older than the stream's retention",
        GapReason::ShardGone => "the shard is gone from the stream",
        GapReason::StreamRecreated => "the stream was deleted and created again",
    }
}

fn name(streams: &[Stream], index: u32) -> &str {
    streams.get(index as usize).map_or("?", |stream| stream.name.as_str())
}
