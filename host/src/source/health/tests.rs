use host_core::moment::Moment;
use host_core::patience::{DENIED_ATTEMPTS, UNREACHABLE_ATTEMPTS};

use super::*;
use crate::ports::StreamApi as _;
use crate::source::classify::{CallSite, Place, Role};
use crate::source::memory::{Call, MemoryStream};

const LIMITS: RetryLimits =
    RetryLimits { max_attempts: 7, min_delay: Duration::from_millis(300), max_delay: Duration::from_secs(1) };

fn subject(shard: usize) -> Subject {
    Subject { stream: "quakes".to_owned(), purpose: Purpose::Reading(ShardId::new(&format!("shard-{shard}"))) }
}

fn listing() -> Subject {
    Subject { stream: "quakes".to_owned(), purpose: Purpose::Listing }
}

#[test]
fn of_many_struggles_a_few_are_told_and_the_last_end_tells_of_all() {
    let mut board = Board::default();
    let told = (0..100).filter(|shard| board.struggles(&subject(*shard), "throttled") == News::Struggling).count();
    assert_eq!(told, TOLD_MAX);
    assert_eq!(board.ends(&subject(0)), News::Recovered);
    assert_eq!(board.ends(&subject(0)), News::Nothing, "once");
    assert_eq!(board.struggles(&subject(0), "throttled"), News::Struggling, "there is room for one again");
    let ends: Vec<News> = (0..100).rev().map(|shard| board.ends(&subject(shard))).collect();
    assert_eq!(ends.iter().filter(|news| **news == News::Nothing).count(), 95);
    assert_eq!(ends.last(), Some(&News::AllWell(95)));
    assert_eq!(board.struggles(&subject(7), "throttled"), News::Struggling);
    assert_eq!(board.ends(&subject(7)), News::Recovered, "what was well in between is not told again");
}

async fn attempts(code: &str, is_running: bool) -> (u64, bool, Arc<Health>) {
    let stream = MemoryStream::new("quakes", 1);
    stream.fail_next(Call::ListShards, None, code, 40);
    let health = Arc::new(Health::default());
    let mut call = PatientCall::starting(listing(), LIMITS, Arc::clone(&health), Clock::start());
    if is_running {
        call.run();
    }
    let succeeded = call.repeat(|| stream.list_shards(None)).await.is_ok();
    (stream.calls(Call::ListShards), succeeded, health)
}

#[tokio::test(start_paused = true)]
async fn a_start_gives_up_after_its_attempts_and_a_run_goes_on_until_it_succeeds() {
    for (code, starting, running) in [
        ("LimitExceededException", u64::from(LIMITS.max_attempts), None),
        ("InternalFailure", u64::from(LIMITS.max_attempts), None),
        ("UnknownOperationException", u64::from(UNREACHABLE_ATTEMPTS), None),
        ("AccessDeniedException", 1, Some(u64::from(DENIED_ATTEMPTS))),
        ("ValidationException", 1, Some(1)),
        ("ResourceNotFoundException", 1, Some(1)),
    ] {
        let (calls, succeeded, health) = attempts(code, false).await;
        assert_eq!((calls, succeeded), (starting, false), "{code}");
        assert_eq!(health.retries.get(), starting - 1, "{code}: the last attempt is not repeated");
        assert!(health.struggling().is_none(), "{code}: what is given up struggles no more");
        let (calls, succeeded, health) = attempts(code, true).await;
        assert_eq!((calls, succeeded), (running.unwrap_or(41), running.is_none()), "{code}");
        assert!(health.struggling().is_none(), "{code}");
    }
}

/// What the log says while `act` runs. It runs once before, unheard: a line that another thread meets for the first time
/// just when the listener is added would stay unheard for good.
fn logged(act: impl Fn()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics here").extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).without_time().with_ansi(false).finish();
    act();
    tracing::subscriber::with_default(subscriber, || {
        // Another test may have met these lines first, when nobody listened.
        tracing::callsite::rebuild_interest_cache();
        act();
    });
    let bytes = lines.0.lock().expect("no test panics here").clone();
    String::from_utf8(bytes).expect("log lines are text")
}

fn throttle() -> SourceError {
    let place = Place {
        stream: "quakes".to_owned(),
        region: "us-east-1".to_owned(),
        account: "0".to_owned(),
        endpoint: None,
        credentials: String::new(),
        role: Role::Source,
    };
    let site = CallSite { place: &place, operation: "GetRecords", shard: None };
    site.answered(Some("LimitExceededException"), 400, "slow down")
}

#[test]
fn a_struggle_of_ten_minutes_is_one_line_and_its_end_another() {
    let log = logged(|| {
        let (health, error) = (Health::default(), throttle());
        let mut patience = Patience::new(LIMITS, Phase::Running);
        for second in 0..600 {
            let now = Moment(Duration::from_secs(second));
            health.failed(&subject(7), &error, patience.failed(now, Trouble::Throttled, 0.5));
        }
        health.succeeded(&subject(7), patience.succeeded(Moment(Duration::from_secs(600))));
    });
    let lines: Vec<&str> = log.lines().collect();
    let [begin, end] = lines.as_slice() else { panic!("{log}") };
    assert!(
        begin.contains("WARN") && begin.contains("reading shard shard-7 of stream \"quakes\" has failed"),
        "{begin}"
    );
    assert!(begin.contains("LimitExceededException: slow down") && begin.contains("attempts=7"), "{begin}");
    assert!(end.contains("INFO") && end.contains("succeeds again") && end.contains("after=\"10m\""), "{end}");
}

#[test]
fn what_is_given_up_struggles_no_more() {
    let health = Health::default();
    let spell = Spell { attempts: 7, lasted: Duration::from_secs(40) };
    let again = Verdict::Again { after: Duration::ZERO, struggling: Some(spell) };
    for end in [
        |health: &Health| health.failed(&subject(1), &throttle(), Verdict::GiveUp),
        |health: &Health| {
            health.gone(&subject(1));
        },
    ] {
        health.failed(&subject(1), &throttle(), again);
        assert!(health.struggling().is_some());
        end(&health);
        assert!(health.struggling().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_struggle_is_on_the_board_while_it_lasts_and_its_attempts_are_counted_by_class() {
    let stream = MemoryStream::new("quakes", 1);
    stream.fail_next(Call::ListShards, None, "LimitExceededException", 30);
    stream.fail_next(Call::ListShards, None, "InternalFailure", 2);
    let health = Arc::new(Health::default());
    let mut call = PatientCall::starting(listing(), LIMITS, Arc::clone(&health), Clock::start());
    call.run();
    for attempt in 1..=32_u32 {
        let error = stream.list_shards(None).await.expect_err("scripted");
        assert!(call.failed(&error).is_some());
        assert_eq!(health.struggling().is_some(), attempt >= LIMITS.max_attempts, "{attempt}");
    }
    let (count, first) = health.struggling().expect("it struggles");
    assert_eq!((count, first.as_str()), (1, "listing the shards of stream \"quakes\" (throttled)"));
    assert_eq!(health.retries.to_string(), "30 throttled, 2 transient");
    call.succeeded();
    assert!(health.struggling().is_none());
}
