//! What goes wrong between the host and the service, by chance. A fault is a rule that holds for a few calls; who writes
//! and who changes the shards is spared, because that happens behind the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tests::moments::Moments;
use tests::simulated::{Children, Fault, Habits, Lag, LastPage, Mishap, RuleId, SimulatedAws};
use tokio::time::sleep;

use crate::load::STREAMS;
use crate::services::{self, Sinks};

const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A rule that met no call by then is lifted, so that none lie in wait for the next life.
const RULE_LASTS: Duration = Duration::from_secs(2);

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP 400, too many calls.
    Throttle,
    /// HTTP 500 or 503.
    Failure,
    /// HTTP 400, an iterator too old.
    Expired,
    /// A connection cut before the answer or in the middle of it.
    Cut,
    /// An answer that comes late, or drop by drop.
    Late,
    /// No answer for longer than most lives last, or than the host waits.
    Hang,
    /// An answer that is no JSON.
    Garbled,
    /// A subscription that ends before its time: cut, reset, damaged, with an exception, or in order.
    Broken,
    /// A subscription that says nothing more and does not end.
    Silent,
    /// What was asked for is done, and nobody is told.
    Lost,
    /// What was asked for is done long after the caller gave up.
    Belated,
    /// A part of a batch is not written.
    Partial,
    /// A shard takes no entries for a while, or a table few.
    Burden,
}

impl Kind {
    /// All, in the order of the ledger.
    pub(crate) const ALL: [Self; 13] = [
        Self::Throttle,
        Self::Failure,
        Self::Expired,
        Self::Cut,
        Self::Late,
        Self::Hang,
        Self::Garbled,
        Self::Broken,
        Self::Silent,
        Self::Lost,
        Self::Belated,
        Self::Partial,
        Self::Burden,
    ];

    /// As the ledger shows it.
    pub(crate) const fn shown(self) -> &'static str {
        match self {
            Self::Throttle => "throttles",
            Self::Failure => "status 500 and 503",
            Self::Expired => "expired iterators",
            Self::Cut => "cut connections",
            Self::Late => "late answers",
            Self::Hang => "no answer",
            Self::Garbled => "garbled answers",
            Self::Broken => "broken subscriptions",
            Self::Silent => "silent subscriptions",
            Self::Lost => "done, not answered",
            Self::Belated => "done late",
            Self::Partial => "parts of batches",
            Self::Burden => "refusing shards, slow tables",
        }
    }

    fn fault(self, operation: &str, moments: &mut Moments) -> Fault {
        match self {
            Self::Throttle if THROTTLED.contains(&operation) => Fault::throttled(),
            Self::Throttle => Fault::limit_exceeded(),
            Self::Failure if TABLES.contains(&operation) => Fault::internal_server_error(),
            Self::Failure if moments.happens(50) => Fault::unavailable(),
            Self::Failure => Fault::internal(),
            Self::Expired => Fault::expired_iterator(),
            Self::Cut if moments.happens(50) => Fault::Disconnect,
            Self::Cut => Fault::Cut { after: moments.index(2_000) },
            Self::Late if moments.happens(50) => Fault::Trickle { bytes: 512, pause: moments.milliseconds(1..20) },
            Self::Late => Fault::Delay(moments.milliseconds(100..3_000)),
            Self::Hang => Fault::Hang,
            Self::Garbled => Fault::Garble,
            Self::Broken => Fault::after(moments.below(20), mishap(moments)),
            Self::Silent => Fault::after(moments.below(5), Mishap::Stall),
            Self::Lost => Fault::Lose,
            Self::Belated => Fault::Belate,
            Self::Partial | Self::Burden => Fault::Unprocessed(1 + moments.index(24)),
        }
    }
}

/// How many calls each kind was meant for.
#[derive(Debug, Default)]
pub(crate) struct Injected([AtomicU64; Kind::ALL.len()]);

impl Injected {
    pub(crate) fn counted(&self) -> [(Kind, u64); Kind::ALL.len()] {
        Kind::ALL.map(|kind| (kind, self.0[kind as usize].load(Relaxed)))
    }
}

/// Operations that fail, and between how many calls a fault comes. Measured in calls and not in time: a host that backs
/// off is not to meet nothing but faults.
const OPERATIONS: [(&str, u64); 6] = [
    ("GetRecords", 40),
    ("GetShardIterator", 12),
    ("ListShards", 6),
    ("SubscribeToShard", 6),
    ("DescribeStreamConsumer", 12),
    ("RegisterStreamConsumer", 4),
];

/// Operations of sinks that write to services.
const SERVED: [(&str, u64); 3] = [("PutRecords", 60), ("BatchWriteItem", 150), ("DescribeTable", 12)];
/// What is refused by its rate has a code of its own there.
const THROTTLED: [&str; 4] = ["GetRecords", "GetShardIterator", "PutRecords", "BatchWriteItem"];
/// A failure has another code there.
const TABLES: [&str; 2] = ["BatchWriteItem", "DescribeTable"];

/// Injects until the end comes; what comes after that is served well.
pub(crate) async fn fail(
    aws: Arc<SimulatedAws>,
    end: Instant,
    sinks: Sinks,
    mut moments: Moments,
    injected: Arc<Injected>,
) {
    let mut rules: Vec<(Instant, RuleId)> = Vec::new();
    let served = if sinks.are_services() { &SERVED[..] } else { &[] };
    let mut due: Vec<(&str, u64, u64)> =
        OPERATIONS.iter().chain(served).map(|(name, every)| (*name, *every, 1)).collect();
    let mut burdened_until = sinks.are_services().then(Instant::now);
    while Instant::now() < end {
        sleep(LOOK_INTERVAL).await;
        // Those that last are not in line.
        rules.retain(|(until, rule)| {
            let is_over = *until <= Instant::now();
            if is_over {
                aws.faults().lift(*rule);
            }
            !is_over
        });
        for (operation, every, due) in &mut due {
            let calls = aws.counted(|counted| counted.calls(operation));
            if calls < *due {
                continue;
            }
            *due = calls + *every / 4 + moments.below(*every);
            let kind = kind(operation, &mut moments);
            let lasts_longer = matches!(kind, Kind::Hang | Kind::Silent | Kind::Belated);
            let calls = if lasts_longer { 1 } else { 1 + moments.below(3) };
            let fault = kind.fault(operation, &mut moments);
            let rule = aws.faults().on(operation).times(calls).inject(fault);
            injected.0[kind as usize].fetch_add(calls, Relaxed);
            let lasts = if lasts_longer { moments.milliseconds(1_000..40_000) } else { RULE_LASTS };
            rules.push((Instant::now() + lasts, rule));
            if moments.happens(5) {
                aws.kinesis().habits(STREAMS[moments.index(2)], |habits| *habits = others(&mut moments));
            }
        }
        if burdened_until.is_some_and(|until| until <= Instant::now()) {
            services::relieve(&aws);
            let lasts = services::burden(&aws, &mut moments);
            injected.0[Kind::Burden as usize].fetch_add(1, Relaxed);
            burdened_until = Some(Instant::now() + lasts);
        }
    }
    aws.faults().mend();
    STREAMS.iter().for_each(|stream| aws.kinesis().habits(stream, |habits| *habits = Habits::default()));
    if sinks.are_services() {
        services::relieve(&aws);
    }
}

fn kind(operation: &str, moments: &mut Moments) -> Kind {
    if operation == "SubscribeToShard" && moments.happens(60) {
        return if moments.happens(5) { Kind::Silent } else { Kind::Broken };
    }
    let writes = matches!(operation, "PutRecords" | "BatchWriteItem");
    if writes && moments.happens(40) {
        return match moments.below(10) {
            0..4 if operation == "BatchWriteItem" => Kind::Partial,
            0..9 => Kind::Lost,
            _ => Kind::Belated,
        };
    }
    match moments.below(100) {
        0..25 => Kind::Throttle,
        25..45 => Kind::Failure,
        45..60 if operation == "GetRecords" => Kind::Expired,
        45..75 => Kind::Cut,
        75..90 => Kind::Late,
        90..92 => Kind::Hang,
        _ => Kind::Garbled,
    }
}

fn mishap(moments: &mut Moments) -> Mishap {
    match moments.below(8) {
        0 => Mishap::Cut,
        1 => Mishap::Reset,
        2 => Mishap::End,
        3 => Mishap::Garble,
        4 => Mishap::exception("ResourceInUseException"),
        5 => Mishap::exception("LimitExceededException"),
        6 => Mishap::exception("KMSThrottlingException"),
        _ => Mishap::exception("InternalFailureException"),
    }
}

/// Habits that are the service's right: listings that are behind, ends told in another way, a distance that is wrong.
fn others(moments: &mut Moments) -> Habits {
    Habits {
        children: if moments.happens(50) { Children::Told } else { Children::Omitted },
        last_page: if moments.happens(50) { LastPage::WithRecords } else { LastPage::Empty },
        lag: [Lag::Told, Lag::Zero, Lag::Omitted][moments.index(3)],
        listing_lag: if moments.happens(50) { Duration::ZERO } else { moments.milliseconds(0..4_000) },
        ..Habits::default()
    }
}
