//! The stand-in for the host that tests of components run on.

use sluicebox_guest::testing::{self, Instance, TestRecord};
use sluicebox_guest::{Config, Elements, Error, Record, config, kinesis, log, metrics, time};

/// Uses everything that a component can ask of its host.
struct Curious {
    seen: metrics::Counter,
    size: metrics::Histogram,
    last: metrics::Gauge,
}

impl kinesis::Deserializer for Curious {
    fn open(config: &Config) -> Result<Self, Error> {
        log::info!("opened", pipeline = config.pipeline(), subtask = config.subtask());
        Ok(Self {
            seen: metrics::Counter::new("seen", &[("kind", "all")]),
            size: metrics::Histogram::new("size", &[]),
            last: metrics::Gauge::new("last", &[]),
        })
    }

    fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error> {
        self.seen.add(1);
        self.size.observe(record.data().len() as f64);
        self.last.set(record.arrival_ms() as f64);
        let greeting = config::get("greeting")?.unwrap_or_default();
        let secret = config::secret("pepper")?;
        out.element().event_time(time::now()).write(|payload| {
            payload.extend_from_slice(greeting.as_bytes());
            payload.extend_from_slice(&secret);
            payload.extend_from_slice(record.sequence_number().as_bytes());
        });
        Ok(())
    }
}

sluicebox_guest::kinesis_deserializer!(Curious);

#[test]
fn a_component_sees_what_the_test_sets_and_the_test_what_the_component_tells() {
    testing::set_now(1_234);
    testing::set_value("greeting", "hello ");
    let mut curious = Instance::<Curious>::open([]).expect("opens");
    let lines = testing::take_log();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].level, lines[0].message.as_str()), (log::Level::Info, "opened"));
    assert_eq!(lines[0].fields[1], ("subtask".to_owned(), "0".to_owned()));

    let refused = curious.deserialize(&[TestRecord::new("a")]);
    assert_eq!(refused.errors[0].1.code(), "not-granted");

    testing::set_secret("pepper", b"s ");
    let outcome = curious.deserialize(&[TestRecord::new("abc").arrival_ms(77), TestRecord::new("")]);
    assert_eq!(outcome.elements[0].payload, b"hello s 1");
    assert_eq!(outcome.elements[1].payload, b"hello s 2");
    assert_eq!(outcome.elements[0].event_time, 1_234);
    assert_eq!(testing::metric("seen{kind=all}"), Some(3.0));
    assert_eq!(testing::metric("size"), Some(4.0));
    assert_eq!(testing::metric("last"), Some(0.0));
}
