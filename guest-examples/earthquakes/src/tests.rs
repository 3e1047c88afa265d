use sluicebox_guest::testing::{Instance, TestRecord};

use super::*;

const FEATURE: &str = r#"{"type":"Feature","properties":{"mag":2.5,"place":"37km NNE of Amboy, Washington",
    "time":1517363399650,"felt":null},"geometry":{"type":"Point","coordinates":[-122.197,46.2035,3.28]},"id":"uw1"}"#;

fn opened(minimum: f64) -> Instance<Earthquakes> {
    Instance::open([("minimum_magnitude", minimum.into())]).expect("a number is a minimum")
}

#[test]
fn an_event_becomes_flat_json_with_its_own_time_and_key() {
    let outcome = opened(2.5).deserialize(&[TestRecord::new(FEATURE)]);
    let element = &outcome.elements[0];
    assert_eq!(
        String::from_utf8_lossy(&element.payload),
        r#"{"id":"uw1","time":"2018-01-31T01:49:59.650Z","magnitude":2.5,"place":"37km NNE of Amboy, Washington","longitude":-122.197,"latitude":46.2035,"depth_km":3.28}"#
    );
    assert_eq!((element.event_time, element.key.as_slice()), (1_517_363_399_650, b"uw1".as_slice()));
}

#[test]
fn weak_and_unmeasured_events_are_filtered() {
    let unmeasured = FEATURE.replace("2.5", "null");
    let outcome = opened(2.6).deserialize(&[TestRecord::new(FEATURE), TestRecord::new(unmeasured)]);
    assert_eq!((outcome.elements.len(), outcome.errors.len()), (0, 0));
}

#[test]
fn a_threshold_parts_the_strong_from_the_weak_and_without_it_nothing_is_on_a_route() {
    let routes = |mut earthquakes: Instance<Earthquakes>| {
        let records = [TestRecord::new(FEATURE), TestRecord::new(FEATURE.replace("2.5", "2.4"))];
        let elements = earthquakes.deserialize(&records).elements;
        elements.into_iter().map(|element| element.route).collect::<Vec<_>>()
    };
    assert_eq!(
        routes(Instance::open([("strong_magnitude", 2.5.into())]).expect("a number")),
        [Some("strong".to_owned()), Some("weak".to_owned())]
    );
    assert_eq!(routes(opened(0.0)), [None, None]);
}

#[test]
fn what_is_no_event_is_poison_that_says_why() {
    let without_magnitude = FEATURE.replace("\"mag\":2.5,", "");
    let outcome = opened(0.0).deserialize(&[TestRecord::new("hello"), TestRecord::new(without_magnitude)]);
    let told: Vec<_> = outcome.errors.iter().map(|(_, error)| (error.code(), error.message())).collect();
    assert_eq!(told[0], ("not-json", "not JSON: expected value at line 1 column 1; it begins \"hello\""));
    assert_eq!(told[1].0, "not-an-earthquake");
    assert!(told[1].1.contains("missing field `mag`"), "{}", told[1].1);
}

#[test]
fn the_minimum_is_a_number_and_zero_by_default() {
    assert!(Instance::<Earthquakes>::open([("minimum_magnitude", "strong".into())]).is_err());
    let whole = Instance::<Earthquakes>::open([("minimum_magnitude", 3.into())]).expect("an integer is a number");
    assert_eq!(whole.deserializer().minimum_magnitude, 3.0);
    assert_eq!(Instance::<Earthquakes>::open([]).expect("a default").deserializer().minimum_magnitude, 0.0);
}
