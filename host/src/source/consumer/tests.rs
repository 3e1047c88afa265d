use std::collections::VecDeque;
use std::sync::Mutex as Blocking;

use futures_util::future::join_all;
use host_core::shard::{Position, ShardId};

use super::*;
use crate::config::ConsumerArn;
use crate::flow::Budget;
use crate::pipeline::failure::Whose;
use crate::ports::{ConsumerDescription, Subscription};
use crate::source::classify::{CallSite, Role};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/quakes";
const LIMITS: RetryLimits =
    RetryLimits { max_attempts: 100, min_delay: Duration::from_secs(2), max_delay: Duration::from_secs(60) };
const TIMEOUT: Duration = Duration::from_secs(10);

/// A stream's consumers, and what happens to calls and between them.
#[derive(Default)]
struct World {
    consumers: Vec<ConsumerDescription>,
    /// Codes that the next calls of an operation end with. `lost` is carried out first.
    failures: VecDeque<(&'static str, &'static str)>,
    /// Descriptions after which a consumer has another status; `None`: it is gone.
    changes: VecDeque<(u32, Option<ConsumerStatus>)>,
    describes: u32,
    born_creating: bool,
    registrations: u32,
    /// Calls and notes in their order.
    log: Vec<String>,
    /// A describe never answers.
    is_silent: bool,
}

#[derive(Clone, Default)]
struct Fake(Arc<Blocking<World>>);

impl Fake {
    fn with(consumers: &[(&str, ConsumerStatus)]) -> Self {
        let fake = Self::default();
        for (n, (name, status)) in consumers.iter().enumerate() {
            let arn = format!("{ARN}/consumer/{name}:{}", n + 100);
            fake.world().consumers.push(ConsumerDescription { name: (*name).to_owned(), arn, status: *status });
        }
        fake
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().expect("no test panics with it")
    }

    fn fail(&self, operation: &'static str, code: &'static str, times: usize) {
        self.world().failures.extend(std::iter::repeat_n((operation, code), times));
    }

    /// After so many descriptions more, the first consumer has this status, or is gone.
    fn change_after(&self, describes: u32, to: Option<ConsumerStatus>) {
        let mut world = self.world();
        let at = world.describes + describes;
        world.changes.push_back((at, to));
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.world().log)
    }

    fn count(&self, operation: &str) -> usize {
        self.world().log.iter().filter(|line| line.starts_with(operation)).count()
    }

    fn note(&self) -> Note {
        let fake = self.clone();
        Arc::new(move |consumer| {
            let fake = fake.clone();
            Box::pin(async move {
                let mut world = fake.world();
                let said = match consumer {
                    Some(RegisteredConsumer { name, arn: Some(arn) }) => {
                        format!("note {name} {}", arn.rsplit(':').next().expect("one at least"))
                    }
                    Some(RegisteredConsumer { name, arn: None }) => format!("note {name}"),
                    None => "note nothing".to_owned(),
                };
                world.log.push(said);
                Ok(())
            })
        })
    }

    /// Logs the call. Its failure, if one is due, and whether it is carried out.
    fn call(&self, operation: &'static str) -> (Option<SourceError>, bool) {
        let mut world = self.world();
        world.log.push(operation.to_owned());
        let code = match world.failures.front() {
            Some((due, code)) if *due == operation => *code,
            _ => return (None, true),
        };
        world.failures.pop_front();
        (Some(error(operation, if code == "lost" { "InternalFailure" } else { code })), code == "lost")
    }
}

fn place() -> Place {
    Place {
        stream: "quakes".to_owned(),
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        endpoint: None,
        credentials: "the test".to_owned(),
        role: Role::Source,
    }
}

fn error(operation: &'static str, code: &str) -> SourceError {
    CallSite { place: &place(), operation, shard: None }.answered(Some(code), 400, "as scripted")
}

impl FanOutApi for Fake {
    fn describe_consumer<'a>(
        &'a self,
        consumer: ConsumerKey<'a>,
    ) -> BoxFuture<'a, Result<Option<ConsumerDescription>, SourceError>> {
        Box::pin(async move {
            let (failed, _) = self.call("describe");
            if self.world().is_silent {
                std::future::pending::<()>().await;
            }
            // As long as a call takes: others come meanwhile.
            tokio::time::sleep(Duration::from_millis(10)).await;
            if let Some(error) = failed {
                return Err(error);
            }
            let mut world = self.world();
            let describes = world.describes;
            if world.changes.front().is_some_and(|(at, _)| *at <= describes) {
                match world.changes.pop_front() {
                    Some((_, Some(status))) => world.consumers[0].status = status,
                    Some((_, None)) => drop(world.consumers.remove(0)),
                    None => {}
                }
            }
            world.describes += 1;
            let is_meant = |found: &&ConsumerDescription| match consumer {
                ConsumerKey::Name(name) => found.name == name,
                ConsumerKey::Arn(arn) => found.arn == arn,
            };
            Ok(world.consumers.iter().find(is_meant).cloned())
        })
    }

    fn list_consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerDescription>, SourceError>> {
        Box::pin(async {
            match self.call("list") {
                (Some(error), _) => Err(error),
                (None, _) => Ok(self.world().consumers.clone()),
            }
        })
    }

    fn register_consumer<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<ConsumerDescription, SourceError>> {
        Box::pin(async move {
            let (failed, is_done) = self.call("register");
            let mut world = self.world();
            if world.consumers.iter().any(|found| found.name == name) {
                return Err(error("register", "ResourceInUseException"));
            }
            if is_done {
                world.registrations += 1;
                let status = if world.born_creating { ConsumerStatus::Creating } else { ConsumerStatus::Active };
                let arn = format!("{ARN}/consumer/{name}:{}", world.registrations);
                let consumer = ConsumerDescription { name: name.to_owned(), arn, status };
                world.consumers.insert(0, consumer.clone());
                return failed.map_or(Ok(consumer), Err);
            }
            Err(failed.expect("only a failure is not carried out"))
        })
    }

    fn deregister_consumer<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            if let (Some(error), _) = self.call("deregister") {
                return Err(error);
            }
            self.world().consumers.retain(|found| found.arn != arn);
            Ok(())
        })
    }

    fn subscribe<'a>(
        &'a self,
        _: &'a str,
        _: &'a ShardId,
        _: &'a Position,
        _: Duration,
        _: &'a Budget,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, SourceError>> {
        unreachable!("a consumer does not subscribe")
    }
}

fn managed(keep: bool) -> Lifecycle {
    Lifecycle::Managed { name: "fast".to_owned(), keep, deregister_timeout: TIMEOUT }
}

fn named() -> Lifecycle {
    Lifecycle::SelfManaged(Consumers::Named("fast".to_owned()))
}

fn enrolment(fake: &Fake, lifecycle: Lifecycle, noted: Option<RegisteredConsumer>) -> Enrolment {
    Enrolment {
        api: Arc::new(fake.clone()),
        stream: StreamArn::parse(ARN).expect("an ARN"),
        place: place(),
        index: 0,
        lifecycle,
        describe_retry: LIMITS,
        noted,
        note: fake.note(),
        health: Arc::default(),
        clock: Clock::start(),
    }
}

async fn enrol(fake: &Fake, lifecycle: Lifecycle) -> Result<Consumer, ConsumerError> {
    Consumer::enrol(enrolment(fake, lifecycle, None)).await
}

async fn refusal(fake: &Fake, lifecycle: Lifecycle) -> ConsumerError {
    enrol(fake, lifecycle).await.expect_err("no consumer is to be had")
}

fn noted(arn: Option<&str>) -> Option<RegisteredConsumer> {
    Some(RegisteredConsumer { name: "fast".to_owned(), arn: arn.map(|n| format!("{ARN}/consumer/fast:{n}")) })
}

/// K-RG-4, and W20: what is there is used, at the price of one call.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_there_is_reused_and_left_alone() {
    for lifecycle in [managed(false), named()] {
        let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
        let consumer = enrol(&fake, lifecycle).await.expect("it is there");
        assert_eq!(*consumer.arn(), format!("{ARN}/consumer/fast:100"));
        consumer.deregister(TIMEOUT).await;
        assert_eq!(fake.log(), ["describe"]);
    }
}

/// K-RG-4: with the status awaited.
#[tokio::test(start_paused = true)]
async fn a_managed_consumer_is_registered_noted_before_and_after_and_awaited() {
    let fake = Fake::default();
    fake.world().born_creating = true;
    fake.change_after(3, Some(ConsumerStatus::Active));
    let consumer = enrol(&fake, managed(false)).await.expect("registered");
    assert_eq!(fake.log(), ["describe", "note fast", "register", "note fast 1", "describe", "describe", "describe"]);
    assert_eq!(*consumer.arn(), format!("{ARN}/consumer/fast:1"));
}

/// K-RG-5.
#[tokio::test(start_paused = true)]
async fn what_was_registered_is_deregistered_at_the_end_unless_it_is_kept() {
    let fake = Fake::default();
    enrol(&fake, managed(false)).await.expect("registered").deregister(TIMEOUT).await;
    assert_eq!(fake.log()[4..], ["deregister", "note nothing"]);
    assert!(fake.world().consumers.is_empty());

    let kept = Fake::default();
    enrol(&kept, managed(true)).await.expect("registered").deregister(TIMEOUT).await;
    assert_eq!(kept.count("deregister"), 0);
}

/// K-RG-3.
#[tokio::test(start_paused = true)]
async fn a_self_managed_consumer_that_is_not_there_is_refused_at_once_with_the_command() {
    let fake = Fake::default();
    let before = tokio::time::Instant::now();
    let refused = refusal(&fake, named()).await;
    assert!(before.elapsed() < Duration::from_secs(1));
    assert_eq!(fake.log(), ["describe"]);
    assert_eq!(
        refused.to_string(),
        format!(
            "consumer \"fast\" of stream \"quakes\" is not registered in us-east-1, and source.efo.lifecycle = \"self-managed\" \
             leaves that to you; register it with `aws kinesis register-stream-consumer --stream-arn {ARN} --consumer-name fast \
             --region us-east-1`, or set source.efo.lifecycle = \"managed\" and the pipeline does that itself"
        )
    );
    assert!(refused.leaves_polling() && refused.whose() == Whose::Operator);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_named_by_its_arn_is_looked_for_by_its_arn() {
    let fake = Fake::with(&[("other", ConsumerStatus::Active), ("fast", ConsumerStatus::Active)]);
    let arns = |n: &str| {
        let arn = ConsumerArn::parse(&format!("{ARN}/consumer/fast:{n}")).expect("a consumer's ARN");
        Lifecycle::SelfManaged(Consumers::Arns(vec![arn]))
    };
    let consumer = enrol(&fake, arns("101")).await.expect("it is there");
    assert!(consumer.arn().ends_with("fast:101"));
    let refused = refusal(&fake, arns("7")).await.to_string();
    assert!(refused.contains("--consumer-name fast ") && refused.contains("put the ARN of the answer"), "{refused}");
}

/// FLINK-37908: an earlier run's consumer is still on its way out.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_being_deleted_at_the_start_is_waited_for_and_registered_anew() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Deleting)]);
    fake.change_after(3, None);
    let consumer = Consumer::enrol(enrolment(&fake, managed(false), noted(Some("100")))).await.expect("registered");
    assert_eq!(fake.log(), ["describe", "describe", "describe", "describe", "note fast", "register", "note fast 1"]);
    consumer.deregister(TIMEOUT).await;
    assert_eq!(fake.count("deregister"), 1, "the new one is ours");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_never_arrives_or_never_goes_ends_a_start_with_what_to_look_at() {
    for (status, until) in [(ConsumerStatus::Creating, "ACTIVE"), (ConsumerStatus::Deleting, "gone")] {
        let fake = Fake::with(&[("fast", status)]);
        let refused = refusal(&fake, managed(false)).await;
        let text = refused.to_string();
        assert!(text.contains(&format!("has been {} for ", status_name(status))) && text.ends_with(until), "{text}");
        assert!(text.contains("aws kinesis describe-stream-consumer --stream-arn"), "{text}");
        assert_eq!(fake.count("describe"), 101);
        assert_eq!(refused.whose(), Whose::Service);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_consumers_is_told_with_some_of_their_names_and_at_once() {
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let others: Vec<_> = names.iter().map(|name| (name.as_str(), ConsumerStatus::Active)).collect();
    let fake = Fake::with(&others);
    fake.fail("register", "LimitExceededException", 1);
    let refused = refusal(&fake, managed(false)).await;
    assert_eq!(fake.log(), ["describe", "note fast", "register", "list", "note nothing"]);
    assert_eq!(
        refused.to_string(),
        format!(
            "consumer \"fast\" could not be registered: stream \"quakes\" has 20 consumers, which is all that it may have (\"c0\", \
             \"c1\", \"c2\", \"c3\", \"c4\" and 15 more); deregister one that nobody reads with (`aws kinesis \
             deregister-stream-consumer --stream-arn {ARN} --consumer-name NAME --region us-east-1`), or choose source.reader \
             = \"auto\" or \"polling\""
        )
    );
    assert!(refused.leaves_polling());
}

#[tokio::test(start_paused = true)]
async fn a_throttle_of_calls_is_no_limit_of_consumers() {
    let fake = Fake::with(&[("other", ConsumerStatus::Active)]);
    fake.fail("register", "LimitExceededException", 3);
    enrol(&fake, managed(false)).await.expect("the throttle passes");
    assert_eq!((fake.count("register"), fake.count("list")), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn what_keeps_fan_out_away_is_told_from_what_keeps_the_stream_away() {
    for (operation, code, leaves_polling) in [
        ("describe", "AccessDeniedException", true),
        ("register", "AccessDeniedException", true),
        ("describe", "UnknownOperationException", true),
        ("register", "NotImplemented", true),
        ("describe", "ResourceNotFoundException", false),
        ("register", "ResourceNotFoundException", false),
        ("describe", "ValidationException", false),
        ("describe", "InternalFailure", false),
    ] {
        let fake = Fake::default();
        fake.fail(operation, code, 200);
        let refused = refusal(&fake, managed(false)).await;
        assert_eq!(refused.leaves_polling(), leaves_polling, "{operation} {code}: {refused}");
        let calls = fake.count(operation);
        assert_eq!(calls, if code == "InternalFailure" { 101 } else { 1 }, "{operation} {code}");
        assert!(refused.to_string().contains("as scripted"), "{refused}");
    }
}

/// A crash between the intention and the registration: the next start registers, and knows what it did.
#[tokio::test(start_paused = true)]
async fn an_intention_that_came_to_nothing_is_carried_out_by_the_next_start() {
    let fake = Fake::default();
    let consumer = Consumer::enrol(enrolment(&fake, managed(false), noted(None))).await.expect("registered");
    assert_eq!(fake.log(), ["describe", "register", "note fast 1"], "the intention is there already");
    consumer.deregister(TIMEOUT).await;
    assert!(fake.world().consumers.is_empty());
}

/// A crash between the registration and its note.
#[tokio::test(start_paused = true)]
async fn a_consumer_registered_right_before_a_crash_is_the_pipelines_own() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
    let consumer = Consumer::enrol(enrolment(&fake, managed(false), noted(None))).await.expect("it is there");
    assert_eq!(fake.log(), ["describe", "note fast 100"]);
    consumer.deregister(TIMEOUT).await;
    assert!(fake.world().consumers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_of_an_earlier_run_is_the_pipelines_own_by_its_arn_only() {
    for (arn, left) in [("100", 0), ("99", 1)] {
        let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
        let consumer = Consumer::enrol(enrolment(&fake, managed(false), noted(Some(arn)))).await.expect("it is there");
        consumer.deregister(TIMEOUT).await;
        assert_eq!(fake.world().consumers.len(), left, "{arn}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_whose_answer_was_lost_is_recognized() {
    let fake = Fake::default();
    fake.fail("register", "lost", 1);
    let consumer = enrol(&fake, managed(false)).await.expect("it happened");
    assert_eq!(fake.log(), ["describe", "note fast", "register", "describe", "note fast 1"]);
    consumer.deregister(TIMEOUT).await;
    assert!(fake.world().consumers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_somebody_else_registered_first_is_not_deregistered() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
    let race = fake.clone();
    // Absent at the first look: somebody else registers it between that and ours.
    race.world().consumers[0].name = "late".to_owned();
    let mut enrolment = enrolment(&fake, managed(false), None);
    let note = fake.note();
    enrolment.note = Arc::new(move |consumer| {
        if consumer.as_ref().is_some_and(|consumer| consumer.arn.is_none()) {
            race.world().consumers[0].name = "fast".to_owned();
        }
        note(consumer)
    });
    let consumer = Consumer::enrol(enrolment).await.expect("it is there");
    assert_eq!(fake.log(), ["describe", "note fast", "register", "describe", "note nothing"]);
    consumer.deregister(TIMEOUT).await;
    assert_eq!(fake.world().consumers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_registered_that_could_not_be_noted() {
    let fake = Fake::default();
    let mut enrolment = enrolment(&fake, managed(false), None);
    enrolment.note = Arc::new(|_| Box::pin(async { Err(Failure::Vanished { part: "positions" }) }));
    let refused = Consumer::enrol(enrolment).await.expect_err("not noted");
    assert!(matches!(&refused, ConsumerError::Unnoted { .. }) && !refused.leaves_polling(), "{refused}");
    assert_eq!(fake.count("register"), 0);
}

/// Else whoever registers a consumer of that name later would lose it to our next stop.
#[tokio::test(start_paused = true)]
async fn a_refused_registration_leaves_no_intention_and_a_lost_one_does() {
    for (code, withdrawn) in [("AccessDeniedException", 1), ("ValidationException", 1), ("InternalFailure", 0)] {
        let fake = Fake::default();
        fake.fail("register", code, 200);
        refusal(&fake, managed(false)).await;
        assert_eq!(fake.count("note nothing"), withdrawn, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_readers_that_ask_at_once_make_one_description() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
    let consumer = enrol(&fake, named()).await.expect("it is there");
    let arn = consumer.arn();
    for _ in 0..2 {
        fake.log();
        let found = join_all((0..100).map(|_| consumer.missing(&arn))).await;
        assert!(found.into_iter().all(|found| found.is_ok_and(|found| found == Found::Same)));
        assert_eq!(fake.log(), ["describe"], "and those that ask afterwards another one");
    }
}

#[tokio::test(start_paused = true)]
async fn who_knows_an_older_consumer_learns_of_the_present_one_without_a_call() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
    let consumer = enrol(&fake, named()).await.expect("it is there");
    fake.log();
    assert_eq!(consumer.missing("arn:older").await.expect("told"), Found::Another);
    assert_eq!(fake.log(), Vec::<String>::new());
}

/// FLINK-37908: deleted from outside in a run.
#[tokio::test(start_paused = true)]
async fn a_managed_consumer_deleted_from_outside_is_registered_again_once_and_is_ours() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
    let consumer = enrol(&fake, managed(false)).await.expect("it is there");
    let arn = consumer.arn();
    {
        let mut world = fake.world();
        world.consumers[0].status = ConsumerStatus::Deleting;
        world.born_creating = true;
    }
    fake.change_after(2, None);
    fake.change_after(4, Some(ConsumerStatus::Active));
    fake.log();
    let found = join_all((0..100).map(|_| consumer.missing(&arn))).await;
    assert!(found.into_iter().all(|found| found.is_ok_and(|found| found == Found::Another)));
    let expected = ["describe", "describe", "describe", "note fast", "register", "note fast 1", "describe", "describe"];
    assert_eq!(fake.log(), expected);
    assert_eq!((&*consumer.arn(), consumer.registered_again()), (&*format!("{ARN}/consumer/fast:1"), 1));
    consumer.deregister(TIMEOUT).await;
    assert!(fake.world().consumers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_self_managed_consumer_that_comes_back_is_waited_for_and_told_meanwhile() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
    let enrolment = enrolment(&fake, named(), None);
    let health = Arc::clone(&enrolment.health);
    let consumer = Consumer::enrol(enrolment).await.expect("it is there");
    let arn = consumer.arn();
    fake.world().consumers.clear();
    let ((), found) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let told = health.struggling().expect("it is told");
            assert_eq!(told, (1, "waiting for the consumer of stream \"quakes\" (consumer gone)".to_owned()));
            let status = ConsumerStatus::Active;
            let consumer =
                ConsumerDescription { name: "fast".to_owned(), arn: format!("{ARN}/consumer/fast:7"), status };
            fake.world().consumers.push(consumer);
        },
        consumer.missing(&arn)
    );
    assert_eq!(found.expect("it came back"), Found::Another);
    assert!(consumer.arn().ends_with("fast:7"));
    assert_eq!((health.struggling(), fake.count("register")), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_self_managed_consumer_that_stays_away_ends_the_run_for_all_readers_at_once() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
    let enrolment = enrolment(&fake, named(), None);
    let health = Arc::clone(&enrolment.health);
    let consumer = Consumer::enrol(enrolment).await.expect("it is there");
    let arn = consumer.arn();
    fake.world().consumers.clear();
    fake.log();
    for found in join_all((0..10).map(|_| consumer.missing(&arn))).await {
        let failure = found.expect_err("it stays away");
        assert!(matches!(&failure, Failure::Consumer(ConsumerError::NotFound { .. })), "{failure}");
        assert_eq!((failure.exit_code(), failure.whose()), (1, Whose::Operator));
    }
    assert_eq!((fake.count("describe"), health.struggling()), (101, None));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_search_is_taken_up_by_the_next_who_waits() {
    let fake = Fake::with(&[("fast", ConsumerStatus::Active)]);
    let consumer = enrol(&fake, managed(false)).await.expect("it is there");
    let arn = consumer.arn();
    fake.world().is_silent = true;
    let first = tokio::time::timeout(Duration::from_secs(1), consumer.missing(&arn)).await;
    assert!(first.is_err(), "the reader is stopped while it asks");
    fake.world().is_silent = false;
    assert_eq!(consumer.missing(&arn).await.expect("it is there"), Found::Same);
}

/// K-RG-5: an end is never held up, and never an error.
#[tokio::test(start_paused = true)]
async fn a_deregistration_is_tried_again_within_its_time_and_then_left() {
    let fake = Fake::default();
    let consumer = enrol(&fake, managed(false)).await.expect("registered");
    fake.fail("deregister", "ResourceInUseException", 3);
    consumer.deregister(TIMEOUT).await;
    assert_eq!((fake.count("deregister"), fake.world().consumers.len()), (4, 0));

    for (code, calls) in [("LimitExceededException", 7..13), ("AccessDeniedException", 1..2)] {
        let fake = Fake::default();
        let consumer = enrol(&fake, managed(false)).await.expect("registered");
        fake.fail("deregister", code, 1_000);
        let before = tokio::time::Instant::now();
        consumer.deregister(TIMEOUT).await;
        assert!(before.elapsed() <= TIMEOUT);
        assert!(calls.contains(&fake.count("deregister")), "{code}: {}", fake.count("deregister"));
        assert_eq!(fake.count("note nothing"), 0, "{code}: the next stop tries again");
    }
}
