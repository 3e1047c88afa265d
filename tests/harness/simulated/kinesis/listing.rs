//! `ListShards`: which shards, page by page.

use aws_smithy_types::base64;

use super::habits::Filters;
use super::limits::Limits;
use super::reading::check_sum;
use super::shard::{Shard, ShardView, shard_number};
use super::stream::{Status, Stream};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

/// `ShardFilter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    All,
    AfterShard(u32),
    AtTrimHorizon,
    FromTrimHorizon,
    AtLatest,
    AtTimestamp(Millis),
    FromTimestamp(Millis),
}

/// One listing, at the page to be given next. A following page goes on with the first one's filter and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) stream: String,
    pub(crate) created: Millis,
    pub(crate) filter: Filter,
    /// The first shard that may be shown.
    pub(crate) from: u32,
    pub(crate) size: usize,
    pub(crate) issued: Millis,
}

impl Listing {
    pub(crate) fn encode(&self) -> String {
        let (kind, value) = match self.filter {
            Filter::All => (0, 0),
            Filter::AfterShard(number) => (1, i64::from(number)),
            Filter::AtTrimHorizon => (2, 0),
            Filter::FromTrimHorizon => (3, 0),
            Filter::AtLatest => (4, 0),
            Filter::AtTimestamp(at) => (5, at),
            Filter::FromTimestamp(at) => (6, at),
        };
        let Self { stream, created, filter: _, from, size, issued } = self;
        let text = format!("{stream}|{created}|{kind}|{value}|{from}|{size}|{issued}");
        base64::encode(format!("{:016x}|{text}", check_sum(&text)))
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = base64::decode(text).ok()?;
        let (sum, text) = std::str::from_utf8(&bytes).ok()?.split_once('|')?;
        if u64::from_str_radix(sum, 16).ok()? != check_sum(text) {
            return None;
        }
        let mut parts = text.split('|');
        let stream = parts.next()?.to_owned();
        let mut number = || parts.next()?.parse::<i64>().ok();
        let (created, kind, value) = (number()?, number()?, number()?);
        let (from, size, issued) = (number()?, number()?, number()?);
        let filter = match kind {
            0 => Filter::All,
            1 => Filter::AfterShard(u32::try_from(value).ok()?),
            2 => Filter::AtTrimHorizon,
            3 => Filter::FromTrimHorizon,
            4 => Filter::AtLatest,
            5 => Filter::AtTimestamp(value),
            6 => Filter::FromTimestamp(value),
            _ => return None,
        };
        let (from, size) = (u32::try_from(from).ok()?, usize::try_from(size).ok()?);
        Some(Self { stream, created, filter, from, size, issued })
    }

    /// A page's size, as asked for or by default.
    pub(crate) fn page_size(asked: Option<u64>, limits: &Limits) -> usize {
        asked
            .and_then(|asked| usize::try_from(asked).ok())
            .unwrap_or(limits.listing_page)
            .clamp(1, limits.listing_page_max)
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::client("InvalidArgumentException", message)
}

impl Stream {
    /// One page, and where to go on.
    pub(crate) fn list(
        &mut self,
        listing: &Listing,
        now: Millis,
        limits: &Limits,
    ) -> Result<(Vec<ShardView>, Option<Listing>), Refusal> {
        if self.listings.at(now).0 >= limits.listings {
            let (name, account) = (&self.name, &self.account);
            return Err(Refusal::client(
                "LimitExceededException",
                format!("Rate exceeded for stream {name} under account {account}."),
            ));
        }
        self.listings.add(now, 1);
        if self.status(now) == Status::Creating {
            return Err(self.check_active(now).expect_err("a stream that is being created is not active"));
        }
        let life = i64::try_from(limits.token_life.as_millis()).unwrap_or(i64::MAX);
        if now - listing.issued > life || listing.created != self.created {
            return Err(Refusal::client("ExpiredNextTokenException", "NextToken has expired."));
        }
        self.refresh_all(now);
        let horizon = self.horizon(now);
        let filter = self.effective(listing.filter, now)?;
        let wanted = |shard: &Shard, view: &ShardView| {
            let was_open_at = |at: Millis| shard.created <= at && shard.closed.is_none_or(|closed| closed > at);
            match filter {
                Filter::All | Filter::FromTrimHorizon => true,
                Filter::AfterShard(number) => shard.number > number,
                // A shard that is younger than the horizon was not open at it, unless the stream began with it.
                Filter::AtTrimHorizon => was_open_at(horizon.max(self.created)),
                Filter::AtLatest => !view.is_closed(),
                Filter::AtTimestamp(at) => was_open_at(at),
                Filter::FromTimestamp(at) => shard.closed.is_none_or(|closed| closed >= at),
            }
        };
        let mut shown = Vec::new();
        for (shard, view) in self.listed(now, listing.from) {
            if !wanted(shard, &view) {
                continue;
            }
            if shown.len() == listing.size {
                return Ok((shown, Some(Listing { from: shard.number, issued: now, ..listing.clone() })));
            }
            shown.push(view);
        }
        Ok((shown, None))
    }

    /// The filter as this stream takes it.
    fn effective(&self, filter: Filter, now: Millis) -> Result<Filter, Refusal> {
        if self.habits.filters == Filters::Ignored {
            return Ok(Filter::All);
        }
        if let Filter::AtTimestamp(at) | Filter::FromTimestamp(at) = filter {
            if at > now {
                return Err(invalid(format!(
                    "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: {at}, currentTimestampInMillis: {now}"
                )));
            }
            let oldest = self.horizon(now).max(self.created);
            if at < self.horizon(now) {
                return Err(invalid(format!(
                    "The timestampInMillis parameter cannot be less than the trim horizon. timestampInMillis: {at}, trimHorizonInMillis: {oldest}"
                )));
            }
        }
        Ok(filter)
    }

    /// `ExclusiveStartShardId` as the first shard that may be shown.
    pub(crate) fn after(&self, id: Option<&str>) -> Result<u32, Refusal> {
        match id {
            Some(id) if self.habits.filters == Filters::Honoured => {
                shard_number(id).map(|number| number + 1).ok_or_else(|| invalid(format!("Invalid ShardId {id}.")))
            }
            _ => Ok(0),
        }
    }
}
