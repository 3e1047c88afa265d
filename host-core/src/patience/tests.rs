use super::*;

const LIMITS: RetryLimits =
    RetryLimits { max_attempts: 4, min_delay: Duration::from_millis(300), max_delay: Duration::from_secs(1) };

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn pause(verdict: Verdict) -> u128 {
    let Verdict::Again { after, .. } = verdict else { panic!("given up") };
    after.as_millis()
}

#[test]
fn pauses_double_to_the_bound_and_on_to_ten_times_it_while_the_call_struggles() {
    let mut patience = Patience::new(LIMITS, Phase::Running);
    let pauses: Vec<_> = (0..10).map(|second| pause(patience.failed(at(second), Trouble::Transient, 1.0))).collect();
    assert_eq!(pauses, [300, 600, 1_000, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
    patience.succeeded(at(11));
    assert_eq!(pause(patience.failed(at(12), Trouble::Throttled, 1.0)), 300, "a success forgives");
}

#[test]
fn pauses_are_drawn_from_the_whole_range() {
    let drawn = |jitter| pause(Patience::new(LIMITS, Phase::Running).failed(at(0), Trouble::Throttled, jitter));
    assert_eq!([0.0, 0.5, 1.0, f64::NAN, -3.0].map(drawn), [0, 150, 300, 300, 0]);
}

#[test]
fn a_run_bears_a_throttle_for_hours_and_tells_it_once_and_its_end_once() {
    let mut patience = Patience::new(LIMITS, Phase::Running);
    let (mut now, mut told) = (0, Vec::new());
    while now < 4 * 3_600_000 {
        let Verdict::Again { after, struggling } = patience.failed(at(now), Trouble::Throttled, 0.7) else {
            panic!("given up after {now} ms")
        };
        told.extend(struggling);
        now += 20 + u64::try_from(after.as_millis()).expect("short");
    }
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].attempts, 4);
    assert!(matches!(patience.health(), Health::Struggling { since, .. } if since == at(0)));
    let spell = patience.succeeded(at(now)).expect("what was told is taken back");
    assert_eq!(spell.lasted, at(now).0);
    assert_eq!((patience.health(), patience.succeeded(at(now))), (Health::Healthy, None));
}

#[test]
fn few_attempts_that_take_long_are_a_struggle_too() {
    let limits = RetryLimits { max_attempts: 50, ..LIMITS };
    let mut patience = Patience::new(limits, Phase::Running);
    for (now, is_told) in [(0, false), (29_999, false), (30_000, true), (45_000, false)] {
        let Verdict::Again { struggling, .. } = patience.failed(at(now), Trouble::Transient, 1.0) else {
            panic!("given up")
        };
        assert_eq!(struggling.is_some(), is_told, "{now}");
    }
}

#[test]
fn a_short_spell_is_never_told() {
    let mut patience = Patience::new(LIMITS, Phase::Running);
    for now in 0..3 {
        assert!(matches!(patience.failed(at(now), Trouble::Transient, 1.0), Verdict::Again { struggling: None, .. }));
    }
    assert_eq!(patience.succeeded(at(3)), None);
}

fn attempts(limits: RetryLimits, phase: Phase, trouble: Trouble) -> Option<u32> {
    let mut patience = Patience::new(limits, phase);
    (1..=1_000).find(|attempt| patience.failed(at(u64::from(*attempt)), trouble, 0.5) == Verdict::GiveUp)
}

#[test]
fn a_start_gives_up_where_a_run_does_not() {
    let many = RetryLimits { max_attempts: 50, ..LIMITS };
    for (trouble, starting, running) in [
        (Trouble::Throttled, Some(50), None),
        (Trouble::Transient, Some(50), None),
        (Trouble::Unreachable, Some(5), None),
        (Trouble::Denied, Some(1), Some(3)),
    ] {
        assert_eq!(attempts(many, Phase::Starting, trouble), starting, "{trouble:?}");
        assert_eq!(attempts(many, Phase::Running, trouble), running, "{trouble:?}");
    }
    assert_eq!(attempts(RetryLimits { max_attempts: 1, ..LIMITS }, Phase::Starting, Trouble::Unreachable), Some(1));
}

#[test]
fn credentials_that_are_renewed_in_time_leave_no_trace() {
    let mut patience = Patience::new(LIMITS, Phase::Running);
    assert_eq!(pause(patience.failed(at(0), Trouble::Denied, 0.0)), 1_000, "time is what they need");
    assert_eq!(pause(patience.failed(at(1_000), Trouble::Denied, 0.0)), 2_000);
    assert_eq!(patience.succeeded(at(3_000)), None);
    assert_eq!(pause(patience.failed(at(4_000), Trouble::Denied, 0.0)), 1_000, "and they are borne again");
}

#[test]
fn refusals_between_throttles_are_counted_all_the_same() {
    let mut patience = Patience::new(LIMITS, Phase::Running);
    for now in 0..2 {
        assert_ne!(patience.failed(at(now), Trouble::Denied, 0.0), Verdict::GiveUp);
        assert_ne!(patience.failed(at(now), Trouble::Throttled, 0.0), Verdict::GiveUp);
    }
    assert_eq!(patience.failed(at(3), Trouble::Denied, 0.0), Verdict::GiveUp);
    assert_eq!(patience.health(), Health::Failed);
    assert_eq!(patience.failed(at(4), Trouble::Throttled, 0.0), Verdict::GiveUp, "what is given up stays so");
}

#[test]
fn a_start_that_became_a_run_is_borne_like_one() {
    let mut patience = Patience::new(LIMITS, Phase::Starting);
    patience.succeeded(at(0));
    patience.run();
    assert!((0..99).all(|now| patience.failed(at(now), Trouble::Transient, 0.5) != Verdict::GiveUp));
}
