//! Who is registered for enhanced fan-out with a stream, and which of its shards each has.

use std::collections::BTreeMap;
use std::time::Duration;

use super::limits::{Limits, Window};
use super::shard::shard_id;
use super::stream::{Status, Stream};
use super::{ACCOUNT, Kinesis, REGION};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

/// `ConsumerStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerStatus {
    /// It cannot read yet.
    Creating,
    /// It can read.
    Active,
    /// It cannot read any more.
    Deleting,
}

impl ConsumerStatus {
    /// As AWS writes it.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }
}

/// What a description tells of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerView {
    /// Its name.
    pub name: String,
    /// Its ARN, which ends with the second of its creation.
    pub arn: String,
    /// Its creation.
    pub created: Millis,
    /// What it can do.
    pub status: ConsumerStatus,
}

#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) arn: String,
    created: Millis,
    /// What the consumer is until when.
    changing: (ConsumerStatus, Millis),
    /// Who subscribed to which shard last: its token, and when.
    holders: BTreeMap<u32, (u64, Millis)>,
}

impl Consumer {
    fn status(&self, now: Millis) -> ConsumerStatus {
        match self.changing {
            (ConsumerStatus::Deleting, _) => ConsumerStatus::Deleting,
            (status, until) if now < until => status,
            _ => ConsumerStatus::Active,
        }
    }

    /// Whether its deletion is over.
    fn is_over(&self, now: Millis) -> bool {
        matches!(self.changing, (ConsumerStatus::Deleting, until) if until <= now)
    }

    fn view(&self, name: &str, now: Millis) -> ConsumerView {
        ConsumerView { name: name.to_owned(), arn: self.arn.clone(), created: self.created, status: self.status(now) }
    }

    /// Whether a subscription still has its shard.
    pub(crate) fn holds(&self, shard: u32, token: u64) -> bool {
        self.holders.get(&shard).is_some_and(|(holder, _)| *holder == token)
    }
}

/// The consumers of one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumers {
    by_name: BTreeMap<String, Consumer>,
    /// When the last consumer of a name was created that is gone.
    former: BTreeMap<String, Millis>,
    tokens: u64,
    registrations: Window,
    descriptions: Window,
}

impl Consumers {
    /// Forgets those whose deletion is over.
    fn refresh(&mut self, now: Millis) {
        for (name, consumer) in self.by_name.extract_if(.., |_, consumer| consumer.is_over(now)) {
            self.former.insert(name, consumer.created);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self, now: Millis) -> usize {
        self.by_name.values().filter(|consumer| !consumer.is_over(now)).count()
    }
}

/// The stream's and the consumer's name in a consumer's ARN.
pub(crate) fn parse(arn: &str) -> Option<(&str, &str)> {
    let resource = arn.strip_prefix("arn:aws:kinesis:")?.strip_prefix(REGION)?.strip_prefix(':')?;
    let path = resource.strip_prefix(ACCOUNT)?.strip_prefix(":stream/")?;
    let (stream, consumer) = path.split_once("/consumer/")?;
    let (consumer, created) = consumer.rsplit_once(':')?;
    created.bytes().all(|byte| byte.is_ascii_digit()).then_some((stream, consumer))
}

/// There is no consumer of that ARN, or not any more.
pub(crate) fn no_such_arn(arn: &str) -> Refusal {
    Refusal::client("ResourceNotFoundException", format!("Consumer {arn} not found."))
}

impl Stream {
    fn no_such_consumer(&self, name: &str) -> Refusal {
        let (stream, account) = (&self.name, &self.account);
        Refusal::client(
            "ResourceNotFoundException",
            format!("Consumer {name}, account {account}, stream {stream} not found."),
        )
    }

    fn too_many_calls(&self) -> Refusal {
        let (name, account) = (&self.name, &self.account);
        Refusal::client("LimitExceededException", format!("Rate exceeded for stream {name} under account {account}."))
    }

    /// `RegisterStreamConsumer`.
    pub(crate) fn register(
        &mut self,
        name: &str,
        now: Millis,
        until: Millis,
        limits: &Limits,
    ) -> Result<ConsumerView, Refusal> {
        if matches!(self.status(now), Status::Creating | Status::Deleting) {
            self.check_active(now)?;
        }
        if self.consumers.registrations.at(now).0 >= limits.registrations {
            return Err(self.too_many_calls());
        }
        self.consumers.refresh(now);
        let (stream, account) = (&self.name, &self.account);
        if self.consumers.by_name.contains_key(name) {
            return Err(Refusal::client(
                "ResourceInUseException",
                format!("Consumer {name} under stream {stream} already exists for account {account}."),
            ));
        }
        let consumers = &mut self.consumers;
        let is_creating = |consumer: &&Consumer| consumer.status(now) == ConsumerStatus::Creating;
        let creating = consumers.by_name.values().filter(is_creating).count();
        for (found, limit, which) in [
            (consumers.by_name.len(), limits.consumers, "registered"),
            (creating, limits.consumers_creating, "in status CREATING"),
        ] {
            if found >= limit {
                return Err(Refusal::client(
                    "LimitExceededException",
                    format!(
                        "The limit of {limit} consumers {which} is reached for stream {stream} under account {account}."
                    ),
                ));
            }
        }
        consumers.registrations.add(now, 1);
        // Two incarnations differ in their creation, down to the seconds that ARNs hold.
        let created = consumers.former.get(name).map_or(now, |former| now.max(former + 1000));
        let consumer = Consumer {
            arn: format!("{}/consumer/{name}:{}", self.arn, created.div_euclid(1000)),
            created,
            changing: (ConsumerStatus::Creating, until),
            holders: BTreeMap::new(),
        };
        let view = consumer.view(name, now);
        consumers.by_name.insert(name.to_owned(), consumer);
        Ok(view)
    }

    /// The consumer of that name.
    pub(crate) fn consumer(&mut self, name: &str, now: Millis) -> Result<&mut Consumer, Refusal> {
        self.consumers.refresh(now);
        if !self.consumers.by_name.contains_key(name) {
            return Err(self.no_such_consumer(name));
        }
        Ok(self.consumers.by_name.get_mut(name).expect("looked for right above"))
    }

    /// `DescribeStreamConsumer`.
    pub(crate) fn describe_consumer(
        &mut self,
        name: &str,
        now: Millis,
        limits: &Limits,
    ) -> Result<ConsumerView, Refusal> {
        if self.consumers.descriptions.at(now).0 >= limits.consumer_descriptions {
            return Err(self.too_many_calls());
        }
        self.consumers.descriptions.add(now, 1);
        Ok(self.consumer(name, now)?.view(name, now))
    }

    /// All consumers, by name.
    pub(crate) fn all_consumers(&mut self, now: Millis) -> Vec<ConsumerView> {
        self.consumers.refresh(now);
        self.consumers.by_name.iter().map(|(name, consumer)| consumer.view(name, now)).collect()
    }

    /// `DeregisterStreamConsumer`: it ceases to read at once, and to be there later.
    pub(crate) fn deregister(&mut self, name: &str, now: Millis, until: Millis) -> Result<(), Refusal> {
        let status = self.consumer(name, now)?.status(now);
        if status != ConsumerStatus::Active {
            return Err(self.inactive(name));
        }
        self.consumer(name, now)?.changing = (ConsumerStatus::Deleting, until);
        self.ring();
        Ok(())
    }

    /// Refuses the deletion of a stream that has consumers.
    pub(crate) fn check_unconsumed(&self, now: Millis) -> Result<(), Refusal> {
        if self.consumers.count(now) == 0 {
            return Ok(());
        }
        let (name, account) = (&self.name, &self.account);
        Err(Refusal::client(
            "ResourceInUseException",
            format!(
                "Stream {name} under account {account} has registered consumers and EnforceConsumerDeletion is not set."
            ),
        ))
    }

    fn inactive(&self, name: &str) -> Refusal {
        let created = self.consumers.by_name.get(name).map_or(0, |consumer| consumer.created.div_euclid(1000));
        let (stream, account) = (&self.name, &self.account);
        Refusal::client(
            "ResourceInUseException",
            format!(
                "Consumer {name} with creation timestamp {created} under stream: {stream}, account {account} is not in ACTIVE status."
            ),
        )
    }

    /// Gives a shard to a new subscription of a consumer, if it is free; returns the subscription's token.
    pub(crate) fn hold(&mut self, name: &str, shard: u32, now: Millis, gap: Duration) -> Result<u64, Refusal> {
        if self.consumer(name, now)?.status(now) != ConsumerStatus::Active {
            return Err(self.inactive(name));
        }
        let gap = i64::try_from(gap.as_millis()).unwrap_or(i64::MAX);
        if self.consumer(name, now)?.holders.get(&shard).is_some_and(|(_, since)| now - since < gap) {
            return Err(self.taken(name, shard));
        }
        self.consumers.tokens += 1;
        let token = self.consumers.tokens;
        self.consumer(name, now)?.holders.insert(shard, (token, now));
        self.ring_shard(shard);
        Ok(token)
    }

    /// Another subscription has that shard.
    pub(crate) fn taken(&self, name: &str, shard: u32) -> Refusal {
        let (stream, account, shard) = (&self.name, &self.account, shard_id(shard));
        Refusal::client(
            "ResourceInUseException",
            format!("Another active subscription exists for this consumer: {account}:{stream}:{name}:{shard}"),
        )
    }

    /// Refuses the subscription of a consumer that is gone, or going.
    pub(crate) fn check_reading(&mut self, name: &str, arn: &str, now: Millis) -> Result<&Consumer, Refusal> {
        match self.consumer(name, now) {
            Ok(consumer) if consumer.arn == arn && consumer.status(now) != ConsumerStatus::Deleting => Ok(consumer),
            _ => Err(no_such_arn(arn)),
        }
    }
}

impl Kinesis {
    /// Registers a consumer, whatever the limits; it is active at once, however long that takes else. Returns its ARN.
    ///
    /// # Panics
    /// The stream has one of that name.
    pub fn register_consumer(&self, stream: &str, name: &str) -> String {
        let any = Limits { consumers: usize::MAX, ..Limits::any_rate() };
        let register = |stream: &mut Stream, now| stream.register(name, now, now, &any);
        self.on(stream, register).expect("the name is free").arn
    }

    /// Removes a consumer at once. Its subscriptions end with `ResourceNotFoundException`.
    ///
    /// # Panics
    /// There is none of that name.
    pub fn remove_consumer(&self, stream: &str, name: &str) {
        let remove = |stream: &mut Stream, now| {
            stream.consumer(name, now)?.changing = (ConsumerStatus::Deleting, now);
            stream.ring();
            Ok::<_, Refusal>(())
        };
        self.on(stream, remove).expect("the consumer exists");
    }

    /// The consumers of a stream, by name.
    #[must_use]
    pub fn consumers(&self, stream: &str) -> Vec<ConsumerView> {
        self.on(stream, Stream::all_consumers)
    }
}
