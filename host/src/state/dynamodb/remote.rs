//! The tables, and the thread that talks to them: a store is called by threads that wait, the SDK by tasks that do not.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, CancellationReason, KeySchemaElement, KeyType, Put,
    ScalarAttributeType, TableStatus, TransactWriteItem, Update,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures_util::future::BoxFuture;
use host_core::moment::Moment;
use host_core::patience::{Patience, Phase, RetryLimits, Trouble, Verdict};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::Options;
use super::diff::{In, Write};
use super::rows::{Attributes, CLAIM, ID, LEASE_KEY, StoredClaim, number, text};
use crate::clock::Clock;
use crate::config::Table;
use crate::sink::dynamodb::api::address_of;
use crate::source::classify::{SourceError, SourceErrorKind, TablePlace, TableSite};

/// How often a table that is being created is looked at, and for how long.
const CREATING_INTERVAL: Duration = Duration::from_millis(200);
const CREATING_MAX: Duration = Duration::from_secs(120);

/// The longest that one call may take: it moves little, and a lease is not much longer.
const CALL_MAX: Duration = Duration::from_secs(10);
/// How often everything is read until nothing was written meanwhile.
const RESTS_MAX: usize = 20;
/// What the table of whatever is no lease is called, behind the name of that of leases.
pub(super) const BESIDE: &str = "-sluicebox";

/// What went wrong with a call.
#[derive(Debug)]
pub(super) enum Trial {
    /// Conditions do not hold: whether each part's does, where the service tells.
    Unmet(Vec<bool>),
    /// The table is not there.
    NoTable(Box<SourceError>),
    /// It failed for good, or for too long, and whether something may have been written.
    Failed { error: Box<SourceError>, may_be_written: bool },
}

/// A table, and how to speak of it.
struct Known {
    table: Table,
    place: TablePlace,
    key: &'static str,
    /// How requests name it; by its ARN unless told otherwise.
    address: OnceLock<String>,
}

impl Known {
    fn address(&self) -> String {
        self.address.get().cloned().unwrap_or_else(|| address_of(&self.table))
    }
}

/// The two tables of a pipeline.
pub(super) struct Tables {
    client: Client,
    leases: Known,
    others: Known,
    retry: RetryLimits,
    clock: Clock,
    heart: Mutex<Option<AbortHandle>>,
}

type Job = Box<dyn FnOnce(Arc<Tables>) -> BoxFuture<'static, ()> + Send>;

/// The way to the thread. It ends with this.
pub(super) struct Remote {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Remote {
    /// Starts the thread.
    pub(super) fn start(options: &Options) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let (settings, retry) = (options.aws.clone(), options.retry);
        let beside = Table { name: format!("{}{BESIDE}", options.table.name), ..options.table.clone() };
        let known = |table: Table, key| {
            let place = TablePlace { region: table.region.clone(), ..TablePlace::of(&table, &settings) };
            Known { table, place, key, address: OnceLock::new() }
        };
        let (leases, others) = (known(options.table.clone(), LEASE_KEY), known(beside, ID));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("positions table".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let limit = settings.call_timeout.min(CALL_MAX);
                let client = settings.access().await.in_region(&leases.table.region).within(limit).dynamodb();
                let clock = Clock::start();
                let tables = Arc::new(Tables { client, leases, others, retry, clock, heart: Mutex::default() });
                while let Some(job) = queue.recv().await {
                    job(Arc::clone(&tables)).await;
                }
                tables.still();
            });
        })?;
        Ok(Self { jobs })
    }

    /// Does `work` there and waits for its answer.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Tables>) -> BoxFuture<'static, T> + Send + 'static,
    ) -> T {
        let (answer, answered) = sync_channel(1);
        let job: Job = Box::new(move |tables| {
            Box::pin(async move {
                // Who asked waits for it.
                drop(answer.send(work(tables).await));
            })
        });
        self.jobs.send(job).unwrap_or_default();
        answered.recv().expect("the thread lives as long as this, and answers every job")
    }
}

impl Tables {
    /// Creates the tables that are not there, and waits until both take writes.
    pub(super) async fn ensure(&self) -> Result<(), Trial> {
        for known in [&self.leases, &self.others] {
            match self.status(known).await {
                Ok(_) => {}
                Err(Trial::NoTable(_)) => self.create(known).await?,
                Err(error) => return Err(error),
            }
            let begun = self.clock.now();
            while !self.is_active(known).await? {
                if self.clock.now().since(begun) > CREATING_MAX {
                    let site = TableSite { place: &known.place, operation: "DescribeTable" };
                    let error = Box::new(site.malformed(&format!("not ACTIVE within {} s", CREATING_MAX.as_secs())));
                    return Err(Trial::Failed { error, may_be_written: false });
                }
                sleep(CREATING_INTERVAL).await;
            }
        }
        Ok(())
    }

    async fn status(&self, known: &Known) -> Result<Option<TableStatus>, Trial> {
        let described = self.described_as(known, &known.address()).await;
        let is_own = known.place.endpoint.is_some() && known.table.account.is_some() && known.address.get().is_none();
        let Err(Trial::NoTable(_) | Trial::Failed { .. }) = &described else { return described };
        if !is_own {
            return described;
        }
        // Some emulators take only names.
        match self.described_as(known, &known.table.name).await {
            Ok(status) => {
                known.address.get_or_init(|| known.table.name.clone());
                Ok(status)
            }
            Err(_) => described,
        }
    }

    async fn described_as(&self, known: &Known, address: &str) -> Result<Option<TableStatus>, Trial> {
        let call = || self.client.describe_table().table_name(address).send();
        let answer = self.patiently(known, "DescribeTable", Phase::Starting, call).await?;
        Ok(answer.table.and_then(|table| table.table_status))
    }

    async fn is_active(&self, known: &Known) -> Result<bool, Trial> {
        match self.status(known).await {
            Ok(status) => Ok(matches!(status, Some(TableStatus::Active | TableStatus::Updating))),
            // A table that was just created may not be known everywhere yet.
            Err(Trial::NoTable(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, known: &Known) -> Result<(), Trial> {
        let whole = "name and type are set";
        let address = known.address();
        let call = || {
            let schema =
                KeySchemaElement::builder().attribute_name(known.key).key_type(KeyType::Hash).build().expect(whole);
            let of = AttributeDefinition::builder().attribute_name(known.key).attribute_type(ScalarAttributeType::S);
            let create = self.client.create_table().table_name(&address).billing_mode(BillingMode::PayPerRequest);
            create.key_schema(schema).attribute_definitions(of.build().expect(whole)).send()
        };
        let mut patience = Patience::new(self.retry, Phase::Starting);
        loop {
            let Err(error) = call().await else {
                tracing::info!(table = known.table.name, "created the table, which keeps positions");
                return Ok(());
            };
            let error = TableSite { place: &known.place, operation: "CreateTable" }.sdk_error(&error);
            // Somebody else was faster, or an answer was lost.
            if error.kind == SourceErrorKind::InUse {
                return Ok(());
            }
            let verdict =
                trouble_of(error.kind).map(|trouble| patience.failed(self.clock.now(), trouble, fastrand::f64()));
            let Some(Verdict::Again { after, .. }) = verdict else {
                return Err(Trial::Failed { error: Box::new(error), may_be_written: false });
            };
            sleep(after).await;
        }
    }

    /// Everything: leases, and whatever is none, marks being read behind the positions that they belong to.
    pub(super) async fn read(&self) -> Result<(Vec<Attributes>, Vec<Attributes>), Trial> {
        Ok((self.scan(&self.leases).await?, self.scan(&self.others).await?))
    }

    /// Everything as it was at one moment: read until nothing was written meanwhile.
    pub(super) async fn read_at_rest(&self) -> Result<(Vec<Attributes>, Vec<Attributes>), Trial> {
        // Looked at first, so that a table that is asked for by its ARN is found.
        self.status(&self.leases).await?;
        self.status(&self.others).await?;
        let written = |item: Option<Attributes>| {
            item.and_then(|item| StoredClaim::read(&item).ok()).map(|claim| (claim.generation, claim.commits))
        };
        let mut before = written(self.claim().await?);
        for _ in 0..RESTS_MAX {
            let found = self.read().await?;
            let after = written(self.claim().await?);
            if before == after {
                return Ok(found);
            }
            before = after;
        }
        let site = TableSite { place: &self.leases.place, operation: "Scan" };
        let error = Box::new(site.malformed("it is written to faster than it can be read"));
        Err(Trial::Failed { error, may_be_written: false })
    }

    async fn scan(&self, known: &Known) -> Result<Vec<Attributes>, Trial> {
        let (mut items, mut from) = (Vec::new(), None);
        let address = known.address();
        loop {
            let scan = || {
                let scan = self.client.scan().table_name(&address).consistent_read(true);
                scan.set_exclusive_start_key(from.clone()).send()
            };
            let page = self.patiently(known, "Scan", Phase::Starting, scan).await?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    /// The claim's item.
    pub(super) async fn claim(&self) -> Result<Option<Attributes>, Trial> {
        let address = self.others.address();
        let get = || {
            let get = self.client.get_item().table_name(&address).consistent_read(true);
            get.key(ID, text(CLAIM)).send()
        };
        Ok(self.patiently(&self.others, "GetItem", Phase::Starting, get).await?.item)
    }

    /// Puts a claim in the place of `before`, and `history` beside it; `false` if that is not there any more.
    pub(super) async fn take(
        &self,
        claim: &StoredClaim,
        before: Option<Before>,
        history: &Attributes,
    ) -> Result<bool, Trial> {
        let whole = "all that it needs is set";
        let put = Put::builder().table_name(self.others.address()).set_item(Some(claim.item()));
        let put = match before {
            None => put.condition_expression(format!("attribute_not_exists({ID})")),
            Some(Before { generation, beat }) => {
                let put = put.expression_attribute_values(":generation", number(generation));
                match beat {
                    None => put.condition_expression("generation = :generation"),
                    Some(beat) => put
                        .condition_expression("generation = :generation AND beat = :beat")
                        .expression_attribute_values(":beat", number(beat)),
                }
            }
        };
        let beside = Put::builder().table_name(self.others.address()).set_item(Some(history.clone()));
        let parts = vec![
            TransactWriteItem::builder().put(put.build().expect(whole)).build(),
            TransactWriteItem::builder().put(beside.build().expect(whole)).build(),
        ];
        match self.transact(parts, Phase::Starting).await {
            Ok(()) => Ok(true),
            // Ours, if an answer was lost on the way.
            Err(Trial::Unmet(_)) => {
                let found = self.claim().await?.and_then(|item| StoredClaim::read(&item).ok());
                Ok(found.is_some_and(|found| found.nonce == claim.nonce))
            }
            Err(error) => Err(error),
        }
    }

    /// Carries out the writes together, if the claim still is of `generation`. The first answer of [`Trial::Unmet`] is the
    /// claim's.
    pub(super) async fn write(&self, generation: u64, writes: &[Write]) -> Result<(), Trial> {
        let table = |of| match of {
            In::Leases => self.leases.address(),
            In::Others => self.others.address(),
        };
        let writes = writes.iter().map(|write| write.part(table));
        self.transact(std::iter::once(self.proof(generation)).chain(writes).collect(), Phase::Running).await
    }

    async fn transact(&self, parts: Vec<TransactWriteItem>, phase: Phase) -> Result<(), Trial> {
        // A call that is repeated because its answer was lost is known again by it, for ten minutes.
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        let transact = || {
            let transact = self.client.transact_write_items().set_transact_items(Some(parts.clone()));
            transact.client_request_token(&token).send()
        };
        self.patiently(&self.leases, "TransactWriteItems", phase, transact).await.map(drop)
    }

    /// Proves the claim, and counts what was written under it: whoever reads while somebody writes can tell.
    fn proof(&self, generation: u64) -> TransactWriteItem {
        let update = Update::builder().table_name(self.others.address()).key(ID, text(CLAIM));
        let update = update.update_expression("ADD commits :one").condition_expression("generation = :generation");
        let update = update.expression_attribute_values(":one", number(1));
        let update = update.expression_attribute_values(":generation", number(generation));
        TransactWriteItem::builder().update(update.build().expect("all that it needs is set")).build()
    }

    /// Says that the claim is released; `false` if it is not of `generation` any more.
    pub(super) async fn release(&self, generation: u64) -> Result<bool, Trial> {
        self.still();
        let values = [(":released", AttributeValue::Bool(true)), (":generation", number(generation))];
        let update = || self.update("SET released = :released", "generation = :generation", &values);
        match self.patiently(&self.others, "UpdateItem", Phase::Running, update).await {
            Ok(_) => Ok(true),
            Err(Trial::Unmet(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says every `interval` that the owner of `generation` lives, until it is released or replaced.
    pub(super) fn beat(self: &Arc<Self>, generation: u64, interval: Duration) {
        let tables = Arc::clone(self);
        let beating = tokio::spawn(async move {
            let mut is_silent = false;
            let mut pause = interval;
            loop {
                sleep(pause).await;
                pause = interval;
                let problem = match timeout(interval, tables.beat_once(generation)).await {
                    Ok(Ok(())) => {
                        if std::mem::take(&mut is_silent) {
                            tracing::info!(table = tables.others.table.name, "said again that this process lives");
                        }
                        continue;
                    }
                    // The next write will say so.
                    Ok(Err(Trial::Unmet(_))) => return,
                    Ok(Err(Trial::NoTable(error) | Trial::Failed { error, .. })) => error.to_string(),
                    Err(_late) => format!("no answer within {interval:?}"),
                };
                // A commit may have been in the way.
                pause = interval / 8;
                if !std::mem::replace(&mut is_silent, true) {
                    tracing::debug!(problem, "could not say that this process lives; trying on");
                }
            }
        });
        let before = self.heart.lock().unwrap_or_else(PoisonError::into_inner).replace(beating.abort_handle());
        before.iter().for_each(AbortHandle::abort);
    }

    async fn beat_once(&self, generation: u64) -> Result<(), Trial> {
        let values =
            [(":one", number(1)), (":generation", number(generation)), (":released", AttributeValue::Bool(false))];
        let condition = "generation = :generation AND released = :released";
        let update = self.update("ADD beat :one", condition, &values).await;
        update.map(drop).map_err(|error| trial(&error, self.others.site("UpdateItem")).0)
    }

    /// Says nothing any more.
    pub(super) fn still(&self) {
        let heart = self.heart.lock().unwrap_or_else(PoisonError::into_inner).take();
        heart.iter().for_each(AbortHandle::abort);
    }

    fn update(
        &self,
        change: &str,
        condition: &str,
        values: &[(&str, AttributeValue)],
    ) -> impl Future<
        Output = Result<
            aws_sdk_dynamodb::operation::update_item::UpdateItemOutput,
            SdkError<aws_sdk_dynamodb::operation::update_item::UpdateItemError, HttpResponse>,
        >,
    > + use<> {
        let mut update = self.client.update_item().table_name(self.others.address()).key(ID, text(CLAIM));
        update = update.update_expression(change).condition_expression(condition);
        for (name, value) in values {
            update = update.expression_attribute_values(*name, value.clone());
        }
        update.send()
    }

    /// Repeats a call that may be repeated, `max_attempts` times: at a start with a start's patience, in a run with a
    /// run's, but not for ever, since whoever ends a run waits for this.
    async fn patiently<T, E, F>(
        &self,
        known: &Known,
        operation: &'static str,
        phase: Phase,
        call: impl Fn() -> F,
    ) -> Result<T, Trial>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut patience = Patience::new(self.retry, phase);
        let mut was_lost = false;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let (trial, trouble) = trial(&error, known.site(operation));
            was_lost |= matches!(trial, Trial::Failed { may_be_written: true, .. });
            let Some(trouble) = trouble else { return Err(told(trial, was_lost)) };
            let verdict = patience.failed(self.now(), trouble, fastrand::f64());
            let is_over = patience.attempts() >= self.retry.max_attempts;
            match verdict {
                Verdict::Again { after, struggling } if !is_over => {
                    if let Some(spell) = struggling {
                        tracing::warn!(
                            table = known.table.name,
                            operation,
                            attempts = spell.attempts,
                            "positions cannot be kept; trying on while reading goes on"
                        );
                    }
                    sleep(after).await;
                }
                Verdict::Again { .. } | Verdict::GiveUp => return Err(told(trial, was_lost)),
            }
        }
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }
}

fn told(trial: Trial, was_lost: bool) -> Trial {
    match trial {
        Trial::Failed { error, may_be_written } => Trial::Failed { error, may_be_written: may_be_written || was_lost },
        Trial::Unmet(_) | Trial::NoTable(_) => trial,
    }
}

/// An error as whoever keeps positions is told of it: what a sink would be advised to is nothing to them.
pub(super) fn in_words(error: &SourceError) -> String {
    let advice = if error.kind == SourceErrorKind::Denied && error.advice().starts_with("grant ") {
        let actions = match error.operation {
            "TransactWriteItems" => "dynamodb:PutItem, UpdateItem and DeleteItem",
            "CreateTable" => "dynamodb:CreateTable (or create both tables beforehand, as the documentation tells)",
            "DescribeTable" => "dynamodb:DescribeTable",
            "GetItem" => "dynamodb:GetItem",
            "UpdateItem" => "dynamodb:UpdateItem",
            _ => "dynamodb:Scan",
        };
        format!("grant {actions}, on it and on the other of the two tables")
    } else {
        error.advice().replace("the sink's table", "[checkpoint] store")
    };
    format!("{}: {} ({}); {advice}", error.problem, error.message, error.operation)
}

/// What a claim that is to be replaced must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) generation: u64,
    /// `None`: its owner is known to be gone, whatever of it still arrives.
    pub(super) beat: Option<u64>,
}

impl Known {
    const fn site(&self, operation: &'static str) -> TableSite<'_> {
        TableSite { place: &self.place, operation }
    }
}

/// What an error means, and whether the call may be repeated.
fn trial<E>(error: &SdkError<E, HttpResponse>, site: TableSite<'_>) -> (Trial, Option<Trouble>)
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let service = error.as_service_error();
    match service.and_then(ProvideErrorMetadata::code) {
        Some("ConditionalCheckFailedException") => return (Trial::Unmet(vec![true]), None),
        Some("TransactionCanceledException") => {
            let reasons = service.map(reasons).unwrap_or_default();
            if let Some(cancelled) = cancelled(&reasons, site) {
                return cancelled;
            }
        }
        Some(_) | None => {}
    }
    let error = Box::new(site.sdk_error(error));
    let kind = error.kind;
    if kind == SourceErrorKind::TableGone {
        return (Trial::NoTable(error), None);
    }
    (Trial::Failed { error, may_be_written: kind == SourceErrorKind::Transient }, trouble_of(kind))
}

/// What waiting may mend.
const fn trouble_of(kind: SourceErrorKind) -> Option<Trouble> {
    match kind {
        SourceErrorKind::Throttled => Some(Trouble::Throttled),
        SourceErrorKind::Transient | SourceErrorKind::InUse => Some(Trouble::Transient),
        SourceErrorKind::Unreachable => Some(Trouble::Unreachable),
        SourceErrorKind::Denied => Some(Trouble::Denied),
        SourceErrorKind::ExpiredIterator
        | SourceErrorKind::TooEarly
        | SourceErrorKind::Trimmed
        | SourceErrorKind::StalePosition
        | SourceErrorKind::ShardGone
        | SourceErrorKind::StreamGone
        | SourceErrorKind::TableGone
        | SourceErrorKind::ConsumerGone
        | SourceErrorKind::NotFound
        | SourceErrorKind::Rejected
        | SourceErrorKind::Invalid => None,
    }
}

fn reasons<E: std::error::Error + 'static>(error: &E) -> Vec<CancellationReason> {
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
    let error: &(dyn std::error::Error + 'static) = error;
    match error.downcast_ref::<TransactWriteItemsError>() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons().to_vec()
        }
        Some(_) | None => Vec::new(),
    }
}

/// What the parts of a cancelled transaction say; `None` if they say nothing.
fn cancelled(reasons: &[CancellationReason], site: TableSite<'_>) -> Option<(Trial, Option<Trouble>)> {
    let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
    let unmet: Vec<bool> = reasons.iter().map(|reason| code(reason) == "ConditionalCheckFailed").collect();
    if unmet.contains(&true) {
        return Some((Trial::Unmet(unmet), None));
    }
    let errors = reasons.iter().filter(|reason| code(reason) != "None");
    let errors = errors.map(|reason| site.answered(reason.code(), 400, reason.message().unwrap_or_default()));
    // What will not pass weighs more than what may.
    let error = errors.min_by_key(|error| error.kind.may_pass())?;
    let trouble = trouble_of(error.kind);
    Some((Trial::Failed { error: Box::new(error), may_be_written: false }, trouble))
}
