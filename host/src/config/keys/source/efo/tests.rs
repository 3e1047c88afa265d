//! What `[source.efo]` means, and that nothing of it is dropped unseen. The words of refusals lie beside the manifests of
//! `tests/it`.

use std::path::Path;
use std::time::Duration;

use super::super::super::super::{ConsumerArn, Consumers, Efo, Lifecycle, Manifest, Reader, Retry};

const FIRST: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const SECOND: &str = "arn:aws:kinesis:eu-central-1:000000000000:stream/s";

/// The reader of a manifest over both streams, or the messages of its mistakes.
fn reader(tables: &str) -> Result<Reader, Vec<String>> {
    let text = format!(
        "version = 1\nname = \"p\"\ndeserializer.component = \"c.wasm\"\nsink = [{{ type = \"discard\" }}]\n[source]\ntype = \
         \"kinesis\"\nstream_arns = [\"{FIRST}\", \"{SECOND}\"]\n{tables}"
    );
    Manifest::parse(&text, Path::new("p.toml"), |_| None)
        .map(|manifest| manifest.source.reader)
        .map_err(|mistakes| mistakes.list().iter().map(|mistake| mistake.message.clone()).collect())
}

fn fan_out(tables: &str) -> Efo {
    match reader(tables).expect("a good manifest") {
        Reader::Efo(efo) => efo,
        other @ (Reader::Polling(_) | Reader::Auto(..)) => panic!("read by {other:?}"),
    }
}

#[test]
fn a_name_is_enough_for_a_managed_consumer() {
    let retry = Retry { max_attempts: 100, min_delay: Duration::from_secs(2), max_delay: Duration::from_secs(60) };
    let lifecycle =
        Lifecycle::Managed { name: "c".to_owned(), keep: false, deregister_timeout: Duration::from_secs(10) };
    let expected = Efo { lifecycle, subscription_timeout: Duration::from_secs(60), describe_retry: retry };
    assert_eq!(fan_out("reader = \"efo\"\nefo.consumer_name = \"c\""), expected);
}

#[test]
fn arns_come_in_the_order_of_the_streams() {
    let (first, second) = (format!("{FIRST}/consumer/a:1"), format!("{SECOND}/consumer/b:2"));
    let parsed = |text: &str| ConsumerArn::parse(text).expect("an ARN");
    let expected = Lifecycle::SelfManaged(Consumers::Arns(vec![parsed(&first), parsed(&second)]));
    for list in [format!("{first:?}, {second:?}"), format!("{second:?}, {first:?}")] {
        let tables = format!("reader = \"efo\"\nefo.lifecycle = \"self-managed\"\nefo.consumer_arns = [{list}]");
        assert_eq!(fan_out(&tables).lifecycle, expected, "{list}");
    }
}

#[test]
fn streams_of_one_name_in_two_regions_are_not_taken_for_each_other() {
    let tables = format!(
        "reader = \"efo\"\nefo.lifecycle = \"self-managed\"\nefo.consumer_arns = [\"{SECOND}/consumer/a:1\", \
         \"{SECOND}/consumer/a:2\"]"
    );
    let mistakes = reader(&tables).expect_err("one stream has none");
    assert_eq!(mistakes, [format!("no consumer of {FIRST} is named"), format!("two consumers of {SECOND} are named")]);
}

#[test]
fn a_reader_is_changed_by_one_word() {
    let with = |word: &str| reader(&format!("reader = {word:?}\nefo.consumer_name = \"c\"\npolling.max_records = 7"));
    assert!(matches!(with("polling"), Ok(Reader::Polling(polling)) if polling.max_records == 7));
    assert!(matches!(with("efo"), Ok(Reader::Efo(_))));
    assert!(matches!(with("auto"), Ok(Reader::Auto(_, polling)) if polling.max_records == 7));
}

#[test]
fn only_polling_does_without_a_consumer() {
    assert!(matches!(reader("efo.subscription_timeout = \"1s\""), Ok(Reader::Polling(_))));
    for word in ["efo", "auto"] {
        for table in ["", "efo.subscription_timeout = \"1s\"", "efo.lifecycle = \"self-managed\""] {
            let mistakes = reader(&format!("reader = {word:?}\n{table}")).expect_err(table);
            assert_eq!(mistakes, [format!("reader = {word:?} needs a consumer, and [source.efo] names none")]);
        }
    }
}

#[test]
fn a_table_that_is_not_heeded_is_checked_all_the_same() {
    for word in ["polling", "efo", "auto"] {
        let tables = format!(
            "reader = {word:?}\nefo.consumer_name = \"c\"\nefo.lifecycle = \"self-managed\"\nefo.keep_consumer = \
             true\npolling.max_records = 0"
        );
        assert_eq!(reader(&tables).map_err(|mistakes| mistakes.len()), Err(2), "{word}");
    }
}
