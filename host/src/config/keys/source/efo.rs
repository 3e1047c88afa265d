//! Keys of enhanced fan-out: `[source.efo]`.
//!
//! People change readers by one word, so the table is checked whatever the reader is: what they change back to has not
//! rotted meanwhile. Only that it names a consumer is asked for by the readers that need one.

use std::ops::Range;
use std::time::Duration;

use super::super::super::forms::{Choice, ConsumerNamed, EachConsumer, Flag, Form as _, Lasting, OneConsumer, Placed};
use super::super::super::walk::Table;
use super::super::super::{ConsumerArn, Consumers, Efo, Lifecycle, StreamArn};
use super::super::retry;

#[cfg(test)]
mod tests;

/// A reader that cannot do without a consumer.
pub(super) struct Demand {
    pub(super) reader: &'static str,
    /// Where it is chosen.
    pub(super) at: Option<Range<usize>>,
}

/// Words of `lifecycle`.
#[derive(Clone, Copy)]
enum Owner {
    Managed,
    SelfManaged,
}

/// What a table says of consumers, one key a field; `None` where the value of a key is a mistake.
struct Said {
    name: Option<Option<String>>,
    arn: Option<Option<ConsumerArn>>,
    arns: Option<Option<Placed<ConsumerArn>>>,
    keep: Option<bool>,
    deregister_timeout: Option<Duration>,
}

/// `Some(None)` if the table is good and names no consumer, which only a reader without one may leave out.
pub(super) fn efo(
    table: &mut Table<'_, '_>,
    streams: Option<&[StreamArn]>,
    demand: Option<Demand>,
) -> Option<Option<Efo>> {
    let name = table.optional(
        "consumer_name",
        ConsumerNamed,
        "",
        "What the consumer is called, on every stream. Pipelines that read the same stream need names of their own: of two \
         subscriptions of one consumer to a shard the later ends the earlier.",
    );
    let owner = table.default(
        "lifecycle",
        Choice(&[("managed", Owner::Managed), ("self-managed", Owner::SelfManaged)]),
        "managed",
        "Who registers the consumer and deregisters it: the pipeline, or somebody else, so that the pipeline needs no right \
         to do so.",
    );
    let arn = table.optional(
        "consumer_arn",
        OneConsumer,
        "with `lifecycle = \"self-managed\"` and one stream",
        "The consumer, instead of `consumer_name`.",
    );
    let arns = table.optional(
        "consumer_arns",
        EachConsumer,
        "with `lifecycle = \"self-managed\"`",
        "The consumers, one of each stream and in any order, instead of `consumer_name`.",
    );
    let keep = table.default(
        "keep_consumer",
        Flag,
        false,
        "Whether the consumer stays registered, and billed, when the pipeline is stopped. Only with `lifecycle = \"managed\"`.",
    );
    let deregister_timeout = table.default(
        "deregister_timeout",
        Lasting("100ms", "1h"),
        "10s",
        "Time for deregistering the consumer at a stop. Only with `lifecycle = \"managed\"`.",
    );
    let subscription_timeout = table.default(
        "subscription_timeout",
        Lasting("100ms", "10m"),
        "60s",
        "Time from a call of `SubscribeToShard` until it is granted.",
    );
    let describe_retry = table.section(
        "describe_retry",
        "How a consumer is waited for until it is active (`DescribeStreamConsumer`). Any other answer counts as a failure.",
        |table| {
            let attempts = "Failures in a row after which the consumer is no longer waited for.";
            retry(table, (100, attempts), ("2s", "60s"))
        },
    );
    let names_none = ["consumer_name", "consumer_arn", "consumer_arns"].iter().all(|key| table.at(key).is_none());
    if let (true, Some(demand)) = (names_none, demand) {
        lacks(table, owner, demand);
    }
    let said = Said { name, arn, arns, keep, deregister_timeout };
    let lifecycle = match owner? {
        Owner::Managed => managed(table, said),
        Owner::SelfManaged => self_managed(table, said, streams),
    }?;
    let (subscription_timeout, describe_retry) = (subscription_timeout?, describe_retry?);
    Some(lifecycle.map(|lifecycle| Efo { lifecycle, subscription_timeout, describe_retry }))
}

/// Complains that a consumer is needed and none named.
fn lacks(table: &mut Table<'_, '_>, owner: Option<Owner>, Demand { reader, at }: Demand) {
    let line = format!("consumer_name = {}", ConsumerNamed.example());
    let help = match (table.here(), owner) {
        (None, _) => format!("add\n[source.efo]\n{line}"),
        (Some(_), Some(Owner::Managed) | None) => format!("add {line} to [source.efo]"),
        (Some(_), Some(Owner::SelfManaged)) => {
            format!("add {line} to [source.efo], or the consumer's ARN as `consumer_arn`")
        }
    };
    table.complain(at, format!("reader = {reader:?} needs a consumer, and [source.efo] names none"), help);
}

fn managed(table: &mut Table<'_, '_>, said: Said) -> Option<Option<Lifecycle>> {
    let by_arn = ["consumer_arn", "consumer_arns"].map(|key| (key, table.at(key)));
    let help = match said.name {
        Some(None) => "write the consumer's name as `consumer_name`, or add lifecycle = \"self-managed\"",
        Some(Some(_)) | None => "remove it, or write lifecycle = \"self-managed\" and remove `consumer_name`",
    };
    let mut fits = true;
    for (key, at) in by_arn.into_iter().filter(|(_, at)| at.is_some()) {
        let message = format!(
            "`{key}` has a meaning only with lifecycle = \"self-managed\": a managed consumer has no ARN before the pipeline \
             registers it"
        );
        table.complain(at, message, help);
        fits = false;
    }
    let (name, keep, deregister_timeout) = (said.name?, said.keep?, said.deregister_timeout?);
    fits.then(|| name.map(|name| Lifecycle::Managed { name, keep, deregister_timeout }))
}

fn self_managed(table: &mut Table<'_, '_>, said: Said, streams: Option<&[StreamArn]>) -> Option<Option<Lifecycle>> {
    for key in ["keep_consumer", "deregister_timeout"] {
        if let Some(at) = table.at(key) {
            let message = format!(
                "`{key}` has a meaning only with lifecycle = \"managed\": a self-managed consumer is never deregistered here"
            );
            table.complain(Some(at), message, "remove it, or write lifecycle = \"managed\"");
        }
    }
    let by_arn = ["consumer_arn", "consumer_arns"].into_iter().find(|key| table.at(key).is_some());
    if let (Some(at), Some(key)) = (table.at("consumer_name"), by_arn) {
        let message = format!("`consumer_name` and `{key}` exclude each other: an ARN tells the name, too");
        table.complain(Some(at), message, "remove one of the two keys");
    }
    let arns = arns(table, said.arn, said.arns, streams)?;
    let consumers = match (said.name?, arns) {
        (None, None) => None,
        (Some(name), None) => Some(Consumers::Named(name)),
        // Beside a name, the mistake is noted.
        (_, Some(arns)) => Some(Consumers::Arns(arns)),
    };
    Some(consumers.map(Lifecycle::SelfManaged))
}

/// The consumers by ARN, in the order of the streams; `Some(None)` if there is no key for them.
fn arns(
    table: &mut Table<'_, '_>,
    one: Option<Option<ConsumerArn>>,
    many: Option<Option<Placed<ConsumerArn>>>,
    streams: Option<&[StreamArn]>,
) -> Option<Option<Vec<ConsumerArn>>> {
    match (table.at("consumer_arn"), table.at("consumer_arns")) {
        (None, None) => Some(None),
        (Some(_), Some(at)) => {
            let help = "move the ARN of `consumer_arn` into the list, or remove one of the two keys";
            table.complain(Some(at), "`consumer_arn` and `consumer_arns` exclude each other", help);
            None
        }
        (Some(at), None) => {
            let (arn, streams) = (one??, streams?);
            if streams.len() > 1 {
                let message = format!("`consumer_arn` is one consumer, but the source reads {} streams", streams.len());
                let help =
                    "write the ARN of one consumer for each into `consumer_arns`, or a `consumer_name` that all have";
                table.complain(Some(at), message, help);
                return None;
            }
            one_of_each(table, &at, vec![(at.clone(), arn)], streams).map(Some)
        }
        (None, Some(at)) => one_of_each(table, &at, many??, streams?).map(Some),
    }
}

/// Puts consumers into the order of their streams, and complains unless each stream has exactly one and no other has any.
fn one_of_each(
    table: &mut Table<'_, '_>,
    at: &Range<usize>,
    consumers: Placed<ConsumerArn>,
    streams: &[StreamArn],
) -> Option<Vec<ConsumerArn>> {
    let mut found: Vec<Option<ConsumerArn>> = vec![None; streams.len()];
    let mut strangers = Vec::new();
    for (span, consumer) in consumers {
        let index = streams.iter().position(|stream| stream == consumer.stream());
        match index.map(|index| &mut found[index]) {
            None => strangers.push((span, consumer)),
            Some(Some(_)) => {
                let message = format!("two consumers of {} are named", consumer.stream());
                table.complain(Some(span), message, "remove one of the two: a stream is read through one");
            }
            Some(place @ None) => *place = Some(consumer),
        }
    }
    let mut without = streams.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(stream, _)| stream);
    for (span, stranger) in strangers {
        let (name, stream) = (stranger.name(), stranger.stream());
        let message = format!("{name:?} is a consumer of {stream}, which the source does not read");
        // Most likely it stands in the place of one that is missing.
        let help = match without.next() {
            Some(other) => format!("write the ARN of a consumer of {other}"),
            None => "remove it, or add its stream to the source".to_owned(),
        };
        table.complain(Some(span), message, help);
    }
    for stream in without {
        let message = format!("no consumer of {stream} is named");
        let help = format!("add its ARN, which looks like \"{stream}/consumer/NAME:SECONDS\"");
        table.complain(Some(at.clone()), message, help);
    }
    found.into_iter().collect()
}
