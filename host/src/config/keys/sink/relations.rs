//! What sinks and the rest of the manifest have to agree on: the time for a call, the routes, the streams that are read,
//! the positions that are part of a transaction.
//!
//! Sinks are asked before what stands below them in the manifest, so this is looked at when all of it is known. What is
//! missing for a mistake of its own is passed over: that one is told, and the others still are.

use std::ops::Range;
use std::time::Duration;

use super::super::super::forms::Placed;
use super::super::super::section::nearest;
use super::super::super::walk::Table;
use super::super::super::{
    Checkpoint, DynamodbSink, Guarantee, Sink, SinkOutput, StateStore, StreamArn, Table as Target, Unrouted,
};
use super::Draft;

/// What is known of the rest of the manifest.
pub(in super::super) struct Surroundings<'a> {
    pub(in super::super) streams: Option<&'a [StreamArn]>,
    pub(in super::super) routes: Option<&'a Placed<String>>,
    pub(in super::super) checkpoint: Option<&'a Checkpoint>,
    pub(in super::super) unrouted: Option<Unrouted>,
    pub(in super::super) call_timeout: Option<Duration>,
}

/// The sinks, complete, unless they contradict what is around them.
pub(in super::super) fn agree(
    table: &mut Table<'_, '_>,
    drafts: Vec<Draft>,
    around: &Surroundings<'_>,
) -> Option<Vec<Sink>> {
    if let Some(routes) = around.routes {
        routed(table, &drafts, routes, around.unrouted?);
    }
    for draft in &drafts {
        match &draft.sink.output {
            SinkOutput::Kinesis(sink) => no_loop(table, draft.at.stream.clone(), &sink.stream, around.streams),
            SinkOutput::Dynamodb(sink) => positions(table, draft, sink, around.checkpoint),
            SinkOutput::Stdout | SinkOutput::File { .. } | SinkOutput::Discard => {}
        }
    }
    let call_timeout = around.call_timeout?;
    Some(drafts.into_iter().map(|draft| draft.complete(call_timeout)).collect())
}

impl Draft {
    fn complete(mut self, call_timeout: Duration) -> Sink {
        let timeout = self.request_timeout.unwrap_or(call_timeout);
        match &mut self.sink.output {
            SinkOutput::Kinesis(sink) => sink.batch.request_timeout = timeout,
            SinkOutput::Dynamodb(sink) => sink.batch.request_timeout = timeout,
            SinkOutput::Stdout | SinkOutput::File { .. } | SinkOutput::Discard => {}
        }
        self.sink
    }
}

/// Every route that a sink takes must be one that there is, and every route that there is must be taken, unless what is on
/// others is dropped on purpose.
fn routed(table: &mut Table<'_, '_>, drafts: &[Draft], routes: &Placed<String>, unrouted: Unrouted) {
    let names: Vec<&str> = routes.iter().map(|(_, route)| route.as_str()).collect();
    let mut meant: Vec<&str> = Vec::new();
    for (span, route) in drafts.iter().filter_map(|draft| draft.when.as_ref()).flatten() {
        if names.contains(&route.as_str()) {
            continue;
        }
        let near = nearest(&names, route);
        meant.extend(near);
        let help = match near {
            Some(name) => format!("did you mean {name:?}? Or add this one to `routes` in [deserializer]"),
            None => "write one of `routes`, or add this one there".to_owned(),
        };
        let message =
            "`when`: this route is none of the `routes` of [deserializer], so this sink would wait for nothing";
        table.complain(Some(span.clone()), message, help);
    }
    let takes_all = drafts.iter().any(|draft| draft.when.is_none());
    if takes_all || unrouted == Unrouted::Drop {
        return;
    }
    for (span, route) in routes {
        let is_taken = drafts.iter().filter_map(|draft| draft.when.as_ref()).flatten().any(|(_, taken)| taken == route);
        // One that was misspelt is told already.
        if !is_taken && !meant.contains(&route.as_str()) {
            let help =
                "add it to the `when` of a sink, add a sink without `when`, or write unrouted = \"drop\" in [on_error]";
            table.complain(Some(span.clone()), "`routes`: no sink takes this route", help);
        }
    }
}

/// A pipeline that writes to what it reads never ends, and each element of it may become several.
fn no_loop(table: &mut Table<'_, '_>, at: Option<Range<usize>>, stream: &StreamArn, read: Option<&[StreamArn]>) {
    if read.is_some_and(|read| read.contains(stream)) {
        let message = "`stream_arn`: the source reads this stream, so every element would come back, for ever";
        table.complain(at, message, "write to a stream that this pipeline does not read");
    }
}

/// A sink must leave the table of positions alone, and one that takes part in a transaction with positions must be able to.
fn positions(table: &mut Table<'_, '_>, draft: &Draft, sink: &DynamodbSink, checkpoint: Option<&Checkpoint>) {
    let Some(checkpoint) = checkpoint else { return };
    let once = sink.guarantee == Guarantee::ExactlyOnce;
    let at = draft.at.table.clone();
    match &checkpoint.store {
        StateStore::Sqlite(_) if once => {
            let message = "exactly-once needs the positions in a table: an item and the position behind it are written in one \
                           transaction";
            let help = "write store = \"dynamodb:NAME\" in [checkpoint], with a table in the region of this one, or \
                        guarantee = \"at-least-once\"";
            table.complain(draft.at.guarantee.clone(), message, help);
        }
        StateStore::Sqlite(_) => {}
        StateStore::Dynamodb(store) if is_same(store, &sink.table) => {
            let message = "`table`: the positions are kept in this table, and items would get between them";
            table.complain(at, message, "write to another table, or keep the positions in one of their own");
        }
        StateStore::Dynamodb(store) if once && store.region != sink.table.region => {
            let message = format!(
                "exactly-once cannot span regions: this table is in {}, that of the positions (`store`) in {}",
                sink.table.region, store.region
            );
            let help = "name a `store` in the region of this table, by its ARN, or write guarantee = \"at-least-once\"";
            table.complain(at, message, help);
        }
        StateStore::Dynamodb(store) if once && are_apart(store, &sink.table) => {
            let message =
                "exactly-once cannot span accounts: this table is in another one than that of the positions (`store`)";
            let help = "name a `store` in the account of this table, or write guarantee = \"at-least-once\"";
            table.complain(at, message, help);
        }
        StateStore::Dynamodb(_) => {}
    }
}

/// Whether both may be one table: a name alone is in the account of the credentials, which is known at the start only.
fn is_same(one: &Target, other: &Target) -> bool {
    one.name == other.name && one.region == other.region && !are_apart(one, other)
}

/// Whether two tables are known to be in different accounts.
fn are_apart(one: &Target, other: &Target) -> bool {
    matches!((&one.account, &other.account), (Some(one), Some(other)) if one != other)
}
