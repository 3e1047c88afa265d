//! Who is registered.

use std::time::Duration;

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ConsumerStatus as Status;
use tests::simulated::{ConsumerStatus, Limits};

use super::super::wire::{refused, still};
use super::{EPOCH, STREAM};

#[tokio::test]
async fn a_consumer_is_creating_then_active_and_told_by_its_arn_or_by_both_names() {
    let (aws, client) = still(1).await;
    aws.kinesis().take_time(Duration::from_secs(30));
    let stream = aws.kinesis().arn(STREAM);
    let request = client.register_stream_consumer().stream_arn(&stream).consumer_name("one");
    let registered = request.send().await.expect("registered").consumer.expect("a consumer");
    let arn = format!("{stream}/consumer/one:{}", EPOCH / 1000);
    assert_eq!((registered.consumer_name(), registered.consumer_arn()), ("one", arn.as_str()));
    assert_eq!(registered.consumer_status(), &Status::Creating);
    assert_eq!(registered.consumer_creation_timestamp(), &DateTime::from_millis(EPOCH));
    for (wait, status) in [(0, Status::Creating), (29_999, Status::Creating), (1, Status::Active)] {
        aws.clock().advance(Duration::from_millis(wait));
        let by_arn = client.describe_stream_consumer().consumer_arn(&arn).send().await.expect("described");
        let description = by_arn.consumer_description().expect("a description");
        assert_eq!((description.consumer_status(), description.stream_arn()), (&status, stream.as_str()));
        let by_names = client.describe_stream_consumer().stream_arn(&stream).consumer_name("one").send().await;
        assert_eq!(by_names.expect("described").consumer_description(), Some(description));
    }
    let summary = client.describe_stream_summary().stream_name(STREAM).send().await.expect("described");
    assert_eq!(summary.stream_description_summary().and_then(|summary| summary.consumer_count()), Some(1));
}

#[tokio::test]
async fn what_is_not_there_is_told_by_its_name() {
    let (aws, client) = still(1).await;
    let stream = aws.kinesis().arn(STREAM);
    let (code, message) =
        refused(client.describe_stream_consumer().stream_arn(&stream).consumer_name("none").send().await);
    assert_eq!(code, "ResourceNotFoundException");
    assert_eq!(message, "Consumer none, account 000000000000, stream quakes not found.");
    let arn = format!("{stream}/consumer/none:1");
    let (code, message) = refused(client.describe_stream_consumer().consumer_arn(&arn).send().await);
    assert_eq!(code, "ResourceNotFoundException");
    assert_eq!(message, format!("Consumer {arn} not found."));
    let (code, _) = refused(client.deregister_stream_consumer().consumer_arn(&arn).send().await);
    assert_eq!(code, "ResourceNotFoundException");
    let missing = aws.kinesis().arn("missing");
    let (code, message) =
        refused(client.register_stream_consumer().stream_arn(&missing).consumer_name("one").send().await);
    assert_eq!(code, "ResourceNotFoundException");
    assert_eq!(message, "Stream missing under account 000000000000 not found.");
    let (code, _) = refused(client.describe_stream_consumer().consumer_arn("no arn").send().await);
    assert_eq!(code, "InvalidArgumentException");
    let (code, _) = refused(client.register_stream_consumer().stream_arn(&stream).consumer_name("a b").send().await);
    assert_eq!(code, "InvalidArgumentException");
}

#[tokio::test]
async fn a_name_is_given_once_and_20_consumers_at_most_of_which_5_are_being_created() {
    let (aws, client) = still(1).await;
    let stream = aws.kinesis().arn(STREAM);
    let register = |name: String| client.register_stream_consumer().stream_arn(&stream).consumer_name(name).send();
    for number in 0..20 {
        register(format!("consumer-{number}")).await.expect("registered");
    }
    let (code, message) = refused(register("consumer-7".to_owned()).await);
    assert_eq!(code, "ResourceInUseException");
    assert_eq!(message, "Consumer consumer-7 under stream quakes already exists for account 000000000000.");
    assert_eq!(refused(register("one-more".to_owned()).await).0, "LimitExceededException");
    let limits = Limits { consumers: 100, consumers_creating: 5, ..Limits::any_rate() };
    aws.kinesis().limit(limits);
    aws.kinesis().take_time(Duration::from_secs(30));
    for number in 20..25 {
        register(format!("consumer-{number}")).await.expect("registered");
    }
    assert_eq!(refused(register("one-more".to_owned()).await).0, "LimitExceededException");
    aws.clock().advance(Duration::from_secs(30));
    register("one-more".to_owned()).await.expect("registered");
}

#[tokio::test]
async fn five_registrations_and_20_descriptions_a_second_and_stream() {
    let (aws, client) = still(1).await;
    aws.kinesis().limit(Limits::aws());
    let stream = aws.kinesis().arn(STREAM);
    let register = |number: u32| {
        client.register_stream_consumer().stream_arn(&stream).consumer_name(format!("consumer-{number}")).send()
    };
    let describe = || client.describe_stream_consumer().stream_arn(&stream).consumer_name("consumer-0").send();
    for number in 0..5 {
        register(number).await.expect("registered");
    }
    assert_eq!(refused(register(5).await).0, "LimitExceededException");
    for _ in 0..20 {
        describe().await.expect("described");
    }
    assert_eq!(refused(describe().await).0, "LimitExceededException");
    aws.clock().advance(Duration::from_secs(1));
    register(5).await.expect("registered");
    describe().await.expect("described");
}

#[tokio::test]
async fn a_deregistered_consumer_is_deleting_then_gone_and_the_next_of_its_name_has_another_arn() {
    let (aws, client) = still(1).await;
    let stream = aws.kinesis().arn(STREAM);
    let first = aws.kinesis().register_consumer(STREAM, "one");
    aws.kinesis().take_time(Duration::from_millis(500));
    client.deregister_stream_consumer().consumer_arn(&first).send().await.expect("deregistered");
    assert_eq!(aws.kinesis().consumers(STREAM)[0].status, ConsumerStatus::Deleting);
    let (code, message) = refused(client.deregister_stream_consumer().consumer_arn(&first).send().await);
    assert_eq!(code, "ResourceInUseException");
    assert!(message.starts_with("Consumer one with creation timestamp 1800000000 under stream: quakes"), "{message}");
    let register = || client.register_stream_consumer().stream_arn(&stream).consumer_name("one").send();
    assert_eq!(refused(register().await).0, "ResourceInUseException");
    aws.clock().advance(Duration::from_millis(500));
    assert!(aws.kinesis().consumers(STREAM).is_empty());
    let (code, _) = refused(client.describe_stream_consumer().consumer_arn(&first).send().await);
    assert_eq!(code, "ResourceNotFoundException");
    // Within the same second.
    let second = register().await.expect("registered").consumer.expect("a consumer").consumer_arn;
    assert_ne!(first, second);
    let (code, _) = refused(client.describe_stream_consumer().consumer_arn(&first).send().await);
    assert_eq!(code, "ResourceNotFoundException");
    client.describe_stream_consumer().consumer_arn(&second).send().await.expect("described");
}

#[tokio::test]
async fn consumers_are_listed_page_by_page() {
    let (aws, client) = still(1).await;
    let stream = aws.kinesis().arn(STREAM);
    for name in ["c", "a", "b", "d", "e"] {
        aws.kinesis().register_consumer(STREAM, name);
    }
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let request = client.list_stream_consumers().stream_arn(&stream).max_results(2).set_next_token(token);
        let page = request.send().await.expect("listed");
        names.push(page.consumers().iter().map(|consumer| consumer.consumer_name().to_owned()).collect::<String>());
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["ab", "cd", "e"]);
    let all = client.list_stream_consumers().stream_arn(&stream).send().await.expect("listed");
    assert_eq!((all.consumers().len(), all.next_token()), (5, None));
}

#[tokio::test]
async fn a_stream_with_consumers_is_deleted_only_if_that_is_enforced() {
    let (aws, client) = still(1).await;
    aws.kinesis().register_consumer(STREAM, "one");
    assert_eq!(refused(client.delete_stream().stream_name(STREAM).send().await).0, "ResourceInUseException");
    client.delete_stream().stream_name(STREAM).enforce_consumer_deletion(true).send().await.expect("deleted");
    aws.kinesis().create(STREAM, 1);
    assert!(aws.kinesis().consumers(STREAM).is_empty());
}
