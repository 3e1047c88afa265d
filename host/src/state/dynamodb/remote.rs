//! The tables, and the thread that talks to them: a store is called by threads that wait, the SDK by tasks that do not.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, CancellationReason, ConditionCheck, KeySchemaElement, KeyType,
    ScalarAttributeType, TableStatus, TransactWriteItem,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures_util::future::BoxFuture;
use host_core::moment::Moment;
use host_core::patience::{Patience, Phase, RetryLimits, Trouble, Verdict};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::diff::{In, Write};
use super::rows::{Attributes, CLAIM, ID, LEASE_KEY, StoredClaim, number, text};
use crate::aws::AwsSettings;
use crate::clock::Clock;

/// How often a table that is being created is looked at, and for how long.
const CREATING_INTERVAL: Duration = Duration::from_millis(200);
const CREATING_MAX: Duration = Duration::from_secs(120);

/// What went wrong with a call.
#[derive(Debug)]
pub(super) enum Trial {
    /// Conditions do not hold: whether each part's does, where the service tells.
    Unmet(Vec<bool>),
    /// The table is not there.
    NoTable,
    /// It failed for good, or for too long: what the service said, and whether something may have been written.
    Failed { message: String, may_be_written: bool },
}

/// The two tables of a pipeline.
pub(super) struct Tables {
    client: Client,
    /// The leases.
    pub(super) leases: String,
    /// Whatever is no lease.
    pub(super) others: String,
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
    pub(super) fn start(settings: AwsSettings, table: &str, retry: RetryLimits) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let (leases, others) = (table.to_owned(), super::beside(table));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("positions table".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let client = Client::new(settings.access().await.config());
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
        for (table, key) in [(&self.leases, LEASE_KEY), (&self.others, ID)] {
            if !self.is_there(table).await? {
                self.create(table, key).await?;
            }
            let begun = self.clock.now();
            while !self.is_active(table).await? {
                if self.clock.now().since(begun) > CREATING_MAX {
                    let message = format!("{table} was not active within {CREATING_MAX:?}");
                    return Err(Trial::Failed { message, may_be_written: false });
                }
                sleep(CREATING_INTERVAL).await;
            }
        }
        Ok(())
    }

    async fn status(&self, table: &str) -> Result<Option<TableStatus>, Trial> {
        let call = || self.client.describe_table().table_name(table).send();
        match self.patiently(call).await {
            Ok(answer) => Ok(answer.table.and_then(|table| table.table_status)),
            Err(error) => Err(error),
        }
    }

    async fn is_there(&self, table: &str) -> Result<bool, Trial> {
        match self.status(table).await {
            Ok(_) => Ok(true),
            Err(Trial::NoTable) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn is_active(&self, table: &str) -> Result<bool, Trial> {
        match self.status(table).await {
            Ok(status) => Ok(matches!(status, Some(TableStatus::Active | TableStatus::Updating))),
            // A table that was just created may not be known everywhere yet.
            Err(Trial::NoTable) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, table: &str, key: &str) -> Result<(), Trial> {
        let whole = "name and type are set";
        let call = || {
            let schema = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash).build().expect(whole);
            let of = AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S);
            let create = self.client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
            create.key_schema(schema).attribute_definitions(of.build().expect(whole)).send()
        };
        match self.patiently(call).await {
            Ok(_) => {
                tracing::info!(table, "created the table, which keeps positions");
                Ok(())
            }
            // Somebody else was faster.
            Err(Trial::Failed { message, .. }) if message.contains("ResourceInUseException") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Everything: leases, and whatever is none.
    pub(super) async fn read(&self) -> Result<(Vec<Attributes>, Vec<Attributes>), Trial> {
        Ok((self.scan(&self.leases).await?, self.scan(&self.others).await?))
    }

    async fn scan(&self, table: &str) -> Result<Vec<Attributes>, Trial> {
        let (mut items, mut from) = (Vec::new(), None);
        loop {
            let scan = || {
                let scan = self.client.scan().table_name(table).consistent_read(true);
                scan.set_exclusive_start_key(from.clone()).send()
            };
            let page = self.patiently(scan).await?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    /// The claim's item.
    pub(super) async fn claim(&self) -> Result<Option<Attributes>, Trial> {
        let get = || {
            let get = self.client.get_item().table_name(&self.others).consistent_read(true);
            get.key(ID, text(CLAIM)).send()
        };
        Ok(self.patiently(get).await?.item)
    }

    /// Puts a claim in the place of `before`; `false` if that is not there any more.
    pub(super) async fn take(&self, claim: &StoredClaim, before: Option<&StoredClaim>) -> Result<bool, Trial> {
        let put = || {
            let put = self.client.put_item().table_name(&self.others).set_item(Some(claim.item()));
            match before {
                None => put.condition_expression(format!("attribute_not_exists({ID})")),
                Some(before) => put
                    .condition_expression("generation = :generation AND beat = :beat")
                    .expression_attribute_values(":generation", number(before.generation))
                    .expression_attribute_values(":beat", number(before.beat)),
            }
            .send()
        };
        match self.patiently(put).await {
            Ok(_) => Ok(true),
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
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        let table = |of| match of {
            In::Leases => self.leases.clone(),
            In::Others => self.others.clone(),
        };
        let parts: Vec<TransactWriteItem> =
            std::iter::once(self.proof(generation)).chain(writes.iter().map(|write| write.part(table))).collect();
        let transact = || {
            let transact = self.client.transact_write_items().set_transact_items(Some(parts.clone()));
            transact.client_request_token(&token).send()
        };
        self.patiently(transact).await.map(drop)
    }

    fn proof(&self, generation: u64) -> TransactWriteItem {
        let check = ConditionCheck::builder().table_name(&self.others).key(ID, text(CLAIM));
        let check = check.condition_expression("generation = :generation");
        let check = check.expression_attribute_values(":generation", number(generation));
        TransactWriteItem::builder().condition_check(check.build().expect("all that it needs is set")).build()
    }

    /// Says that the claim is released; `false` if it is not of `generation` any more.
    pub(super) async fn release(&self, generation: u64) -> Result<bool, Trial> {
        self.still();
        let values = [(":released", AttributeValue::Bool(true)), (":generation", number(generation))];
        let update = || self.update("SET released = :released", &values);
        self.held(self.patiently(update).await)
    }

    /// Says every `interval` that the owner of `generation` lives, until it is released or replaced.
    pub(super) fn beat(self: &Arc<Self>, generation: u64, interval: Duration) {
        let tables = Arc::clone(self);
        let beating = tokio::spawn(async move {
            loop {
                sleep(interval).await;
                let values = [(":one", number(1)), (":generation", number(generation))];
                let update = tables.update("ADD beat :one", &values);
                match update.await.map_err(|error| trial(&error)) {
                    Ok(_) => {}
                    // The next write will say so.
                    Err((Trial::Unmet(_), _)) => return,
                    Err((error, _)) => {
                        tracing::warn!(table = tables.others, ?error, "could not say that this process lives")
                    }
                }
            }
        });
        let before = self.heart.lock().unwrap_or_else(PoisonError::into_inner).replace(beating.abort_handle());
        before.iter().for_each(AbortHandle::abort);
    }

    /// Says nothing any more.
    pub(super) fn still(&self) {
        let heart = self.heart.lock().unwrap_or_else(PoisonError::into_inner).take();
        heart.iter().for_each(AbortHandle::abort);
    }

    fn update(
        &self,
        change: &str,
        values: &[(&str, AttributeValue)],
    ) -> impl Future<
        Output = Result<
            aws_sdk_dynamodb::operation::update_item::UpdateItemOutput,
            SdkError<aws_sdk_dynamodb::operation::update_item::UpdateItemError, HttpResponse>,
        >,
    > + use<> {
        let mut update = self.client.update_item().table_name(&self.others).key(ID, text(CLAIM));
        update = update.update_expression(change).condition_expression("generation = :generation");
        for (name, value) in values {
            update = update.expression_attribute_values(*name, value.clone());
        }
        update.send()
    }

    fn held<T>(&self, answer: Result<T, Trial>) -> Result<bool, Trial> {
        match answer {
            Ok(_) => Ok(true),
            Err(Trial::Unmet(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Repeats a call that may be repeated, as a start does: up to `max_attempts`.
    async fn patiently<T, E, F>(&self, call: impl Fn() -> F) -> Result<T, Trial>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut patience = Patience::new(self.retry, Phase::Starting);
        let mut was_lost = false;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let (trial, trouble) = trial(&error);
            let Some(trouble) = trouble else { return Err(told(trial, was_lost)) };
            was_lost |= trouble == Trouble::Transient;
            match patience.failed(self.now(), trouble, fastrand::f64()) {
                Verdict::Again { after, .. } => sleep(after).await,
                Verdict::GiveUp => return Err(told(trial, was_lost)),
            }
        }
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }
}

fn told(trial: Trial, was_lost: bool) -> Trial {
    match trial {
        Trial::Failed { message, may_be_written } => {
            Trial::Failed { message, may_be_written: may_be_written || was_lost }
        }
        Trial::Unmet(_) | Trial::NoTable => trial,
    }
}

/// What an error means, and whether the call may be repeated.
fn trial<E>(error: &SdkError<E, HttpResponse>) -> (Trial, Option<Trouble>)
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let message = format!("{}", DisplayErrorContext(error));
    let failed = |may_be_written| Trial::Failed { message: message.clone(), may_be_written };
    let Some(service) = error.as_service_error() else {
        let is_unsent = matches!(error, SdkError::DispatchFailure(failure) if failure.is_io() && !failure.is_timeout());
        let is_ours = matches!(error, SdkError::ConstructionFailure(_));
        let trouble = if is_unsent { Trouble::Unreachable } else { Trouble::Transient };
        return (failed(!is_unsent && !is_ours), (!is_ours).then_some(trouble));
    };
    match service.code().unwrap_or_default() {
        "ConditionalCheckFailedException" => (Trial::Unmet(vec![true]), None),
        "ResourceNotFoundException" => (Trial::NoTable, None),
        "TransactionCanceledException" => cancelled(&reasons(service), message.clone()),
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => (failed(false), Some(Trouble::Throttled)),
        "TransactionConflictException" | "TransactionInProgressException" => (failed(false), Some(Trouble::Throttled)),
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidSignatureException" => (failed(false), None),
        _ if error.raw_response().is_some_and(|raw| raw.status().is_server_error()) => {
            (failed(true), Some(Trouble::Transient))
        }
        _ => (failed(false), None),
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

fn cancelled(reasons: &[CancellationReason], message: String) -> (Trial, Option<Trouble>) {
    let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
    let unmet: Vec<bool> = reasons.iter().map(|reason| code(reason) == "ConditionalCheckFailed").collect();
    if unmet.contains(&true) {
        return (Trial::Unmet(unmet), None);
    }
    let passes = |code: String| {
        ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"].contains(&code.as_str())
    };
    let trouble = reasons.iter().map(code).any(passes).then_some(Trouble::Throttled);
    (Trial::Failed { message, may_be_written: false }, trouble)
}
