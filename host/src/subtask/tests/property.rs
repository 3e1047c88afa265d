//! Random scripts against a model that looks at one record after the other.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use super::*;

/// What becomes of a plan's records.
#[derive(Debug, Default, PartialEq, Eq)]
struct Model {
    elements: Vec<String>,
    entries: BTreeMap<u32, Vec<(u64, String)>>,
    confirmed: u64,
    stop: Option<Stop>,
    /// Records skipped and filtered, elements dropped.
    counts: [u64; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Refused,
    Unrouted,
}

impl Plan {
    /// Whether no attempt mends it.
    fn is_lasting(&self, fault: Option<Fault>) -> bool {
        fault.is_some_and(|fault| fault.until() >= self.policy.max_attempts)
    }

    fn is_taken(&self, route: u32) -> bool {
        self.plain.iter().chain(&self.converters).any(|when| self.admits(when, route))
    }

    fn model(&self) -> Model {
        let mut model = Model::default();
        for (number, script) in self.records.iter().enumerate() {
            let untaken = script.pieces.iter().filter(|piece| !self.is_taken(piece.route)).count() as u64;
            let is_refused = |sink: usize, when: &[String]| {
                let shown = script.pieces.iter().filter(|piece| self.is_taken(piece.route));
                shown
                    .filter(|piece| self.admits(when, piece.route))
                    .any(|piece| self.is_lasting(piece.acts[sink].fault))
            };
            if self.is_lasting(script.fault) {
                if !self.passes_over(&mut model) {
                    return model;
                }
                continue;
            }
            if untaken > 0 && self.unrouted == Unrouted::Fail {
                model.stop = Some(Stop::Unrouted);
                return model;
            }
            if self.converters.iter().enumerate().any(|(sink, when)| is_refused(sink, when)) {
                if !self.passes_over(&mut model) {
                    return model;
                }
                continue;
            }
            self.deliver(&mut model, number, script);
            model.counts[2] += untaken;
            model.confirmed += 1;
        }
        model
    }

    /// A record is refused; whether that is not the end.
    fn passes_over(&self, model: &mut Model) -> bool {
        match self.policy.poison {
            PoisonPolicy::Skip => {
                model.counts[0] += 1;
                model.confirmed += 1;
                true
            }
            PoisonPolicy::Fail => {
                model.stop = Some(Stop::Refused);
                false
            }
        }
    }

    fn deliver(&self, model: &mut Model, number: usize, script: &Script) {
        let (mut goes_anywhere, mut is_dropped) = (false, false);
        for (nth, piece) in script.pieces.iter().enumerate() {
            if !self.is_taken(piece.route) {
                is_dropped = true;
                continue;
            }
            model.elements.push(format!("{number}.{nth}"));
            goes_anywhere |= self.plain.iter().any(|when| self.admits(when, piece.route));
        }
        for (sink, when) in self.converters.iter().enumerate() {
            let pieces = script.pieces.iter().enumerate();
            for (nth, piece) in pieces.filter(|(_, piece)| self.is_taken(piece.route) && self.admits(when, piece.route))
            {
                for entry in 0..piece.acts[sink].entries {
                    let entries = model.entries.entry(self.sink(sink)).or_default();
                    entries.push((number as u64, format!("{number}.{nth}.{entry}")));
                    goes_anywhere = true;
                }
            }
        }
        model.counts[1] += u64::from(!goes_anywhere && !is_dropped);
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::Poison),
        2 => (1..5_u32).prop_map(Fault::Retryable),
        1 => (1..5_u32).prop_map(Fault::Fatal),
        2 => (1..5_u32).prop_map(Fault::Trap),
        1 => (1..5_u32).prop_map(|until| Fault::Batch(ErrorClass::Retryable, until)),
        1 => (1..5_u32).prop_map(|until| Fault::Batch(ErrorClass::Poison, until)),
        1 => (1..5_u32).prop_map(|until| Fault::Batch(ErrorClass::Fatal, until)),
    ]
}

fn when() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(ROUTES.map(str::to_owned).to_vec(), 0..=2)
}

fn script(converters: usize, routes: u32) -> impl Strategy<Value = Script> {
    let act = (weighted(0.07, fault()), 0..3_u8).prop_map(|(fault, entries)| Act { fault, entries });
    let piece = (0..=routes, vec(act, converters)).prop_map(|(route, acts)| Piece { route, acts });
    (weighted(0.1, fault()), vec(piece, 0..4)).prop_map(|(fault, pieces)| Script { fault, pieces })
}

fn plan() -> impl Strategy<Value = Plan> {
    let sinks = (vec(when(), 0..4), vec(when(), 0..3));
    let flags = (any::<[bool; 5]>(), 1..4_u32, 1..12_usize);
    // Routes that only some plans use, so that a plan whose elements all find a sink is not rare.
    (sinks, flags, 0..=3_u32).prop_flat_map(|((converters, mut plain), (flags, max_attempts, batch), routes)| {
        if converters.is_empty() && plain.is_empty() {
            plain.push(Vec::new());
        }
        let [fails, drops, is_routed, has_times, has_keys] = flags;
        let policy = OnError {
            poison: if fails { PoisonPolicy::Fail } else { PoisonPolicy::Skip },
            trap: TrapPolicy::Bisect,
            max_attempts,
        };
        let unrouted = if drops { Unrouted::Drop } else { Unrouted::Fail };
        vec(script(converters.len(), if is_routed { routes } else { 0 }), 0..30).prop_map(move |mut records| {
            if fails {
                // Nothing tells the culprit of a batch that is refused whole again and again: the run stops before all of it.
                let faults = records.iter_mut().flat_map(|script| {
                    script
                        .pieces
                        .iter_mut()
                        .flat_map(|piece| &mut piece.acts)
                        .map(|act| &mut act.fault)
                        .chain([&mut script.fault])
                });
                for fault in faults {
                    if let Some(Fault::Batch(ErrorClass::Retryable, until)) = fault {
                        *until = (*until).min(max_attempts - 1);
                    }
                }
            }
            let (converters, plain) = (converters.clone(), plain.clone());
            Plan {
                records,
                batch,
                converters,
                plain,
                policy,
                unrouted,
                is_routed,
                has_times,
                has_keys,
                given_up_at: None,
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// DEL-1, ORD-1: whatever the components do to batches, each record is delivered whole, once and in order, or skipped, or
    /// filtered, as if it had come alone.
    #[test]
    fn every_record_fares_as_if_it_had_come_alone(plan in plan()) {
        let ran = plan.run();
        let stop = match &ran.failure {
            None => None,
            Some(Failure::Poison { sequence, .. }) => {
                prop_assert_eq!(sequence, &format!("{}", 100 + ran.confirmed));
                Some(Stop::Refused)
            }
            Some(Failure::Route { .. }) => Some(Stop::Unrouted),
            Some(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        let [skipped, filtered, dropped, _] = ran.counts;
        let (elements, entries, confirmed) = (ran.elements, ran.entries, ran.confirmed);
        let counts = [skipped, filtered, dropped];
        prop_assert_eq!(Model { elements, entries, confirmed, stop, counts }, plan.model());
    }
}
