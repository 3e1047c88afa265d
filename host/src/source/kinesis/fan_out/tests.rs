use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use host_core::moment::EpochMillis;
use tokio::sync::mpsc::UnboundedSender;

use super::*;
use crate::aws::AwsSettings;
use crate::source::canned::{Answer, Canned, arn, event, exception, frame, granted, pieces};

const CONSUMER: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/earthquakes/consumer/app:1";
const PATIENCE: Duration = Duration::from_secs(30);

fn shard() -> ShardId {
    ShardId::new("shardId-000000000000")
}

async fn subscribe(stream: &KinesisStream) -> Result<Box<dyn Subscription>, SourceError> {
    let budget = Budget::new(64 << 20);
    stream.subscribe(CONSUMER, &shard(), &Position::TrimHorizon, PATIENCE, &budget).await
}

struct Open {
    send: UnboundedSender<Vec<u8>>,
    subscription: Box<dyn Subscription>,
    _server: Canned,
}

impl Open {
    fn send(&self, bytes: Vec<u8>) {
        self.send.send(bytes).expect("the server listens");
    }
}

async fn open() -> Open {
    let (send, answer) = pieces();
    send.send(granted()).expect("the server listens");
    let server = Canned::serve(vec![answer]).await;
    let subscription = subscribe(&server.stream().await).await.expect("granted");
    Open { send, subscription, _server: server }
}

fn records(numbers: &[&str], rest: &str) -> Vec<u8> {
    let record =
        |number: &&str| format!("{{\"SequenceNumber\":\"{number}\",\"Data\":\"AQ==\",\"PartitionKey\":\"k\"}}");
    let records: Vec<String> = numbers.iter().map(record).collect();
    event(&format!("{{\"Records\":[{}],\"MillisBehindLatest\":7{rest}}}", records.join(",")))
}

fn numbers(pushed: &Pushed) -> Vec<String> {
    let texts = pushed.batches.iter().flat_map(|batch| batch.sequence_number.iter());
    texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

#[tokio::test]
async fn everything_that_an_event_tells_is_there() {
    let mut open = open().await;
    open.send(records(&["7", "10"], ",\"ContinuationSequenceNumber\":\"12\""));
    let pushed = open.subscription.next().await.expect("an event").expect("not the end");
    assert_eq!(numbers(&pushed), ["7", "10"]);
    assert_eq!(pushed.continuation, Some(SequenceNumber::parse("12").expect("decimal")));
    assert_eq!((pushed.is_last, pushed.millis_behind_latest, pushed.children.len()), (false, Some(7), 0));
    open.send(Vec::new());
    assert!(open.subscription.next().await.expect("ended in good order").is_none());
}

#[tokio::test]
async fn a_shard_ends_where_nothing_continues_it() {
    let child = ",\"ChildShards\":[{\"ShardId\":\"c\",\"ParentShards\":[\"a\"],\"HashKeyRange\":{\"StartingHashKey\":\"0\",\"EndingHashKey\":\"9\"}}]";
    let on = ",\"ContinuationSequenceNumber\":\"12\"";
    let odd = ",\"ContinuationSequenceNumber\":\"x\"";
    for (numbers, rest, is_last) in [
        (&["7"][..], String::new(), true),
        (&[], String::new(), true),
        (&["7"], child.to_owned(), true),
        (&["7"], on.to_owned(), false),
        (&[], on.to_owned(), false),
        (&[], format!("{on}{child}"), true),
        // What is left comes next, or after the continuation.
        (&["7"], format!("{on}{child}"), false),
        (&["7"], format!("{odd}{child}"), true),
        (&["7"], odd.to_owned(), false),
    ] {
        let mut open = open().await;
        open.send(records(numbers, &rest));
        let pushed = open.subscription.next().await.expect("an event").expect("not the end");
        assert_eq!(pushed.is_last, is_last, "{numbers:?}{rest}");
        assert_eq!(pushed.continuation.is_some(), rest.contains("\"12\""), "{rest}");
        assert_eq!(pushed.children.len(), rest.matches("ShardId").count(), "{rest}");
    }
}

#[tokio::test]
async fn what_an_emulator_repeats_is_passed_over_and_ends_no_shard() {
    let (send, answer) = pieces();
    send.send(granted()).expect("the server listens");
    let server = Canned::serve(vec![answer]).await;
    let from = Position::after(SequenceNumber::parse("9").expect("decimal"));
    let sent = server.stream().await.subscribe(CONSUMER, &shard(), &from, PATIENCE, &Budget::new(64 << 20)).await;
    let mut subscription = sent.expect("granted");
    let rest = ",\"ContinuationSequenceNumber\":\"12\",\"ChildShards\":[{\"ShardId\":\"c\",\"ParentShards\":[\"a\"],\
                \"HashKeyRange\":{\"StartingHashKey\":\"0\",\"EndingHashKey\":\"9\"}}]";
    for (told, kept, is_last) in [(&["7", "8"][..], &[][..], false), (&["9", "10"], &["10"], false), (&[], &[], true)] {
        send.send(records(told, rest)).expect("the server listens");
        let pushed = subscription.next().await.expect("an event").expect("not the end");
        assert!(numbers(&pushed) == kept && pushed.is_last == is_last, "{told:?}: {pushed:?}");
    }
}

#[tokio::test]
async fn an_event_that_does_not_follow_the_one_before_is_refused() {
    for second in ["7", "6", "007", "x"] {
        let mut open = open().await;
        open.send(records(&["7"], ",\"ContinuationSequenceNumber\":\"7\""));
        open.send(records(&[], ",\"ContinuationSequenceNumber\":\"7\""));
        open.send(records(&[second, "8"], ""));
        for _ in 0..2 {
            open.subscription.next().await.expect("in order").expect("not the end");
        }
        let error = open.subscription.next().await.expect_err("out of order");
        assert_eq!(error.kind, SourceErrorKind::Invalid, "{second}: {error}");
    }
}

#[tokio::test]
async fn an_event_in_pieces_survives_a_future_that_is_dropped_between_them() {
    let mut open = open().await;
    let whole = records(&["7", "8"], ",\"ContinuationSequenceNumber\":\"8\"");
    for cut in [1, 6, 12, 40, whole.len() - 1] {
        let mut second = open_after(&mut open, &whole[..cut]).await;
        open.send(whole[cut..].to_vec());
        let pushed = second.next().await.expect("whole").expect("not the end");
        assert_eq!(numbers(&pushed), ["7", "8"], "cut at {cut}");
        open = self::open().await;
    }
}

/// The subscription, once it has taken the bytes in and was asked in vain.
async fn open_after(open: &mut Open, bytes: &[u8]) -> Box<dyn Subscription> {
    open.send(bytes.to_vec());
    let nothing = Box::new(Nothing);
    let mut subscription = std::mem::replace(&mut open.subscription, nothing);
    // As often as the bytes may need to arrive: each time the future is dropped before the event is whole.
    for _ in 0..500 {
        assert!(subscription.next().now_or_never().is_none(), "half an event");
        tokio::task::yield_now().await;
    }
    subscription
}

struct Nothing;

impl Subscription for Nothing {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Pushed>, SourceError>> {
        async { Ok(None) }.boxed()
    }

    fn awaits_room(&self) -> bool {
        false
    }

    fn silence(&self, _lasted: Duration) -> SourceError {
        unreachable!("nobody listens for so long")
    }
}

#[tokio::test]
async fn exceptions_within_a_subscription_mean_what_they_mean_elsewhere() {
    use SourceErrorKind::{ConsumerGone, Denied, InUse, ShardGone, StreamGone, Throttled, Transient};
    for (code, text, kind) in [
        ("ResourceInUseException", "another one subscribed", InUse),
        ("InternalFailureException", "oops", Transient),
        ("KMSThrottlingException", "slow", Throttled),
        ("KMSDisabledException", "off", Denied),
        ("KMSAccessDeniedException", "no", Denied),
        ("KMSNotFoundException", "none", Denied),
        ("ResourceNotFoundException", "Consumer app under stream earthquakes not found.", ConsumerGone),
        ("ResourceNotFoundException", "Stream earthquakes under account 0 not found.", StreamGone),
        ("ResourceNotFoundException", "Shard shardId-000000000000 not found", ShardGone),
        ("NewException", "what", Transient),
    ] {
        let mut open = open().await;
        let payload = format!("{{\"message\":\"{text}\"}}");
        open.send(frame(&[(":message-type", "exception"), (":exception-type", code)], &payload));
        let error = open.subscription.next().await.expect_err(code);
        assert_eq!((error.kind, error.operation), (kind, "SubscribeToShard"), "{code}: {error}");
        assert_eq!(error.message, format!("{code}: {text}"));
        assert!(open.subscription.next().await.expect("over").is_none());
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_transient_and_nothing_of_it_is_used() {
    let whole = records(&["7"], "");
    let mut garbled = whole.clone();
    *garbled.last_mut().expect("not empty") ^= 1;
    let half = whole[..whole.len() / 2].to_vec();
    // Cut off between frames, cut off in one, ended in one, garbled, of a kind that there is not.
    for (bytes, ends) in [
        (Vec::new(), false),
        (half.clone(), false),
        (half, true),
        (garbled, true),
        (event("no json"), true),
        (frame(&[(":message-type", "news")], ""), true),
    ] {
        let Open { send, mut subscription, _server } = open().await;
        if !bytes.is_empty() {
            send.send(bytes).expect("the server listens");
        }
        if ends {
            send.send(Vec::new()).expect("the server listens");
        }
        drop(send);
        let error = subscription.next().await.expect_err("broken");
        assert_eq!(error.kind, SourceErrorKind::Transient, "{error}");
    }
}

#[tokio::test]
async fn what_is_not_known_to_this_program_is_passed_over() {
    let mut open = open().await;
    open.send(frame(&[(":message-type", "event"), (":event-type", "Weather")], "{}"));
    open.send(records(&["7"], ""));
    assert_eq!(numbers(&open.subscription.next().await.expect("an event").expect("not the end")), ["7"]);
}

/// Time is paused, so that it jumps to whatever timer comes first as soon as nothing else is to be done.
#[tokio::test]
async fn no_limit_of_time_ends_a_subscription_that_is_only_silent() {
    let (send, answer) = pieces();
    send.send(granted()).expect("the server listens");
    let server = Canned::serve(vec![answer]).await;
    let mut settings = AwsSettings::local("us-east-1", &server.endpoint);
    settings.read_timeout = Duration::from_millis(300);
    settings.call_timeout = Duration::from_millis(300);
    // What watches the flow of other answers' bodies, far stricter than usual.
    let watch = StalledStreamProtectionConfig::enabled().grace_period(Duration::from_millis(50)).build();
    let config = settings.kinesis().await.config().to_builder().stalled_stream_protection(watch).build();
    let stream = KinesisStream::new(aws_sdk_kinesis::Client::from_conf(config), arn(), &settings);
    let mut subscription = subscribe(&stream).await.expect("granted");
    tokio::time::pause();
    for _ in 0..3 {
        let silent = tokio::time::timeout(Duration::from_secs(400), subscription.next()).await;
        assert!(silent.is_err(), "{silent:?}");
    }
    tokio::time::resume();
    // And by the other clock, which the SDK measures the flow of bodies with.
    let silent = tokio::time::timeout(Duration::from_millis(1_500), subscription.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    send.send(records(&["7"], "")).expect("the server listens");
    assert_eq!(numbers(&subscription.next().await.expect("an event").expect("not the end")), ["7"]);
}

#[tokio::test]
async fn the_grant_is_waited_for_as_long_as_told() {
    // No answer at all, and one that begins and says nothing.
    let (_send, nothing) = pieces();
    for answer in [Answer::Silence, nothing] {
        let server = Canned::serve(vec![answer]).await;
        let stream = server.stream().await;
        let limit = Duration::from_millis(50);
        let sent = stream.subscribe(CONSUMER, &shard(), &Position::TrimHorizon, limit, &Budget::new(1 << 20)).await;
        let error = sent.err().expect("no grant");
        assert_eq!(error.kind, SourceErrorKind::Transient, "{error}");
    }
}

#[tokio::test]
async fn requests_say_what_the_position_says() {
    let server = Canned::serve(vec![exception(400, "ResourceInUseException", "x")]).await;
    let stream = server.stream().await;
    let after = Position::after(SequenceNumber::parse("17").expect("decimal"));
    for from in [Position::TrimHorizon, Position::AtTimestamp(EpochMillis(7_250)), after, Position::ShardEnd] {
        let error =
            stream.subscribe(CONSUMER, &shard(), &from, PATIENCE, &Budget::new(1 << 20)).await.err().expect("refused");
        let kind = if from.is_end() { SourceErrorKind::Invalid } else { SourceErrorKind::InUse };
        assert_eq!(error.kind, kind, "{error}");
    }
    let requests = server.requests();
    let wanted = [
        "\"StartingPosition\":{\"Type\":\"TRIM_HORIZON\"}",
        "\"StartingPosition\":{\"Type\":\"AT_TIMESTAMP\",\"Timestamp\":7}",
        "\"StartingPosition\":{\"Type\":\"AFTER_SEQUENCE_NUMBER\",\"SequenceNumber\":\"17\"}",
    ];
    assert_eq!(requests.len(), wanted.len());
    for (request, wanted) in requests.iter().zip(wanted) {
        assert!(request.contains(wanted) && request.contains(CONSUMER), "{request}");
    }
}

#[tokio::test]
async fn consumers_are_listed_page_by_page_and_a_consumer_that_is_not_there_is_none() {
    let consumer = |name: &str, token: &str| {
        Answer::Json(
            200,
            format!(
                "{{\"Consumers\":[{{\"ConsumerName\":\"{name}\",\"ConsumerARN\":\"{CONSUMER}\",\"ConsumerStatus\":\"ACTIVE\",\
                 \"ConsumerCreationTimestamp\":7}}]{token}}}"
            ),
        )
    };
    let server = Canned::serve(vec![
        consumer("a", ",\"NextToken\":\"one\""),
        exception(400, "ExpiredNextTokenException", "old"),
        consumer("a", ",\"NextToken\":\"two\""),
        consumer("b", ""),
    ])
    .await;
    let listed = server.stream().await.list_consumers().await.expect("listed");
    let names: Vec<_> = listed.iter().map(|consumer| consumer.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);

    let gone = Canned::serve(vec![exception(400, "ResourceNotFoundException", "Consumer not found.")]).await;
    let stream = gone.stream().await;
    for key in [ConsumerKey::Name("app"), ConsumerKey::Arn(CONSUMER)] {
        assert_eq!(stream.describe_consumer(key).await.expect("told"), None);
    }
    stream.deregister_consumer(CONSUMER).await.expect("as good");
    let requests = gone.requests();
    assert!(requests[0].contains("\"StreamARN\":") && requests[0].contains("\"ConsumerName\":\"app\""));
    assert!(requests[1].contains(CONSUMER) && !requests[1].contains("\"StreamARN\":"));

    let stream_gone = exception(400, "ResourceNotFoundException", "Stream earthquakes under account 0 not found.");
    let server = Canned::serve(vec![stream_gone]).await;
    let error = server.stream().await.describe_consumer(ConsumerKey::Name("app")).await.expect_err("no stream");
    assert_eq!(error.kind, SourceErrorKind::StreamGone);
}

#[tokio::test]
async fn a_service_without_fan_out_is_told_from_one_that_fails() {
    for (answer, is_unsupported) in [
        (exception(400, "UnknownOperationException", ""), true),
        (exception(501, "InternalFailure", "API for service 'kinesis' not yet implemented or pro feature"), true),
        (exception(500, "InternalFailure", "The subscribe_to_shard action has not been implemented"), true),
        (Answer::Json(501, String::new()), true),
        (exception(500, "InternalFailureException", "oops"), false),
        (exception(400, "AccessDeniedException", "no"), false),
    ] {
        let server = Canned::serve(vec![answer]).await;
        let stream = server.stream().await;
        let error = subscribe(&stream).await.err().expect("refused");
        assert_eq!(error.is_unsupported(), is_unsupported, "{error}");
        let error = stream.list_consumers().await.expect_err("refused");
        assert_eq!(error.is_unsupported(), is_unsupported, "{error}");
    }
}

#[tokio::test]
async fn who_may_not_subscribe_is_told_the_actions_of_fan_out() {
    let server = Canned::serve(vec![exception(400, "AccessDeniedException", "no")]).await;
    let error = subscribe(&server.stream().await).await.err().expect("refused");
    for action in ["DescribeStreamConsumer", "RegisterStreamConsumer", "SubscribeToShard", "/consumer/"] {
        assert!(error.advice().contains(action), "{error}");
    }
    let polling = server.stream().await;
    let error = crate::ports::StreamApi::describe(&polling).await.expect_err("refused");
    assert!(error.advice().contains("GetRecords") && !error.advice().contains("Subscribe"), "{error}");
}
