//! One property per guarantee of the core. The simulator asks for all of them at once, over whole lives; these ask for
//! one at a time, and shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use host_core::assignment;
use host_core::checkpoint::{Commit, ShardRow};
use host_core::coordinator::{
    AssignerPolicy, Coordinator, Effect, Event, OnGap, ReadReport, Receipt, Scope, Settings, ShardState, StartPoint,
    StreamSettings,
};
use host_core::ledger::Ledger;
use host_core::moment::{EpochMillis, Moment};
use host_core::shard::{HashRange, Position, SequenceNumber, ShardDescription, ShardId};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

const START: EpochMillis = EpochMillis(1_000_000);

fn settings() -> Settings {
    Settings {
        streams: vec![StreamSettings {
            start: StartPoint::AtTimestamp(START),
            start_spent: false,
            retention: Duration::from_secs(86_400),
        }],
        parallelism: 3,
        assigner: AssignerPolicy::Uniform,
        discovery_interval: Duration::from_secs(10),
        audit_interval: Duration::from_secs(10),
        checkpoint_interval: Duration::from_millis(30),
        preserve_shard_order: true,
        until_caught_up: false,
        idle_after: Duration::from_secs(60),
        max_drift: None,
        on_gap: OnGap::Fail,
    }
}

/// Shards made by `ops`: the lowest bit says split or merge, the rest says where.
fn family(ops: &[u8]) -> Vec<ShardDescription> {
    let all = HashRange { start: 0, end: u128::MAX };
    let mut shards =
        vec![ShardDescription { id: ShardId::new("s0"), parents: Vec::new(), range: Some(all), closed: false }];
    let mut open = vec![0_usize];
    for op in ops {
        let place = usize::from(op >> 1) % open.len();
        let first = open[place];
        let range = shards[first].range.expect("all have one");
        let (parents, ranges) = if op & 1 == 1 && place + 1 < open.len() {
            let second = open.remove(place + 1);
            let end = shards[second].range.expect("all have one").end;
            (vec![first, second], vec![HashRange { start: range.start, end }])
        } else {
            let middle = range.start + (range.end - range.start) / 2;
            let (low, high) = (range.start..=middle, middle + 1..=range.end);
            (vec![first], vec![low, high].into_iter().map(|r| HashRange { start: *r.start(), end: *r.end() }).collect())
        };
        let parent_ids: Vec<_> = parents.iter().map(|parent| shards[*parent].id.clone()).collect();
        parents.iter().for_each(|parent| shards[*parent].closed = true);
        let born = shards.len();
        for (offset, range) in ranges.iter().enumerate() {
            let id = ShardId::new(&format!("s{}", born + offset));
            shards.push(ShardDescription { id, parents: parent_ids.clone(), range: Some(*range), closed: false });
        }
        open.splice(place..=place, born..shards.len());
    }
    shards
}

#[derive(Clone, Debug, Default)]
struct Reader {
    session: u64,
    read: u64,
    /// Ranges read and not confirmed, with their event times.
    pending: Vec<(u64, u64, EpochMillis)>,
    stopped: bool,
    closing: bool,
}

/// A shell that does one thing at a time, as it is told.
struct Driver {
    core: Coordinator,
    settings: Settings,
    shards: Vec<ShardDescription>,
    rows: BTreeMap<ShardId, ShardRow>,
    now: u64,
    out: Option<Commit>,
    listing: bool,
    readers: BTreeMap<ShardId, Reader>,
    opened: Vec<(ShardId, Position)>,
    finished: bool,
}

impl Driver {
    fn new(shards: Vec<ShardDescription>, settings: Settings) -> Self {
        let core = Coordinator::new(settings.clone(), Vec::new(), Moment::default());
        let mut driver = Self {
            core,
            settings,
            shards,
            rows: BTreeMap::new(),
            now: 0,
            out: None,
            listing: false,
            readers: BTreeMap::new(),
            opened: Vec::new(),
            finished: false,
        };
        driver.send(Event::Tick);
        driver
    }

    fn restart(&mut self) {
        let rows = self.rows.values().cloned().collect();
        self.core = Coordinator::new(self.settings.clone(), rows, Moment::from_millis(self.now));
        (self.out, self.listing) = (None, false);
        self.readers.clear();
        self.opened.clear();
        self.send(Event::Tick);
    }

    /// Sends one event, takes the effects in, and returns them.
    fn send(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.now += 7;
        let wall = EpochMillis(2_000_000 + i64::try_from(self.now).expect("small"));
        self.core.handle(Moment::from_millis(self.now), wall, event, &mut effects);
        for effect in &effects {
            match effect {
                Effect::List { .. } => self.listing = true,
                Effect::Open { shard, session, from, .. } => {
                    self.opened.push((shard.clone(), from.clone()));
                    self.readers.insert(shard.clone(), Reader { session: *session, ..Reader::default() });
                }
                Effect::Close { shard, .. } => self.readers.get_mut(shard).expect("it was opened").closing = true,
                Effect::Commit(commit) => {
                    assert!(self.out.is_none(), "CKP-2: two commits are out");
                    self.out = Some(commit.clone());
                }
                Effect::Stop(gap) => panic!("nothing is lost here: {gap:?}"),
                Effect::Notice(_) | Effect::Pause { .. } | Effect::Resume { .. } | Effect::Assign(_) => {}
                Effect::Finished => self.finished = true,
            }
        }
        effects
    }

    fn list(&mut self, shards: Vec<ShardDescription>) -> Vec<Effect> {
        self.listing = false;
        self.send(Event::Listed { stream: 0, scope: Scope::Full, shards })
    }

    fn commit(&mut self) -> Vec<Effect> {
        let Some(commit) = self.out.take() else { return self.send(Event::Tick) };
        commit.apply(&mut self.rows).expect("CKP-2: a commit follows from the rows");
        self.send(Event::Committed { id: commit.id })
    }

    fn pick(&self, which: u8, wanted: impl Fn(&ShardId, &Reader) -> bool) -> Option<ShardId> {
        let fitting: Vec<_> = self.readers.iter().filter(|(id, reader)| wanted(id, reader)).map(|(id, _)| id).collect();
        (!fitting.is_empty()).then(|| fitting[usize::from(which) % fitting.len()].clone())
    }

    fn read(&mut self, which: u8, millis: u8) -> Vec<Effect> {
        let Some(shard) = self.pick(which, |_, reader| !reader.stopped) else { return Vec::new() };
        let reader = self.readers.get_mut(&shard).expect("just picked");
        let (first, records) = (reader.read, u64::from(which % 4) + 1);
        let time = EpochMillis(i64::from(millis) + i64::try_from(self.now).expect("small"));
        reader.read += records;
        reader.pending.push((first, records, time));
        let report =
            ReadReport { session: reader.session, records, last: after(first + records), earliest: Some(time), shard };
        self.send(Event::Read(report))
    }

    fn deliver(&mut self, which: u8) -> Vec<Effect> {
        let Some(shard) = self.pick(which, |_, reader| !reader.pending.is_empty()) else { return Vec::new() };
        let reader = self.readers.get_mut(&shard).expect("just picked");
        let (first, count, time) = reader.pending.swap_remove(usize::from(which) % reader.pending.len());
        let receipt = Receipt {
            session: reader.session,
            first,
            count,
            last: after(first + count),
            arrived: Some(time),
            event_time: None,
            marks: Vec::new(),
            shard,
        };
        self.send(Event::Delivered(receipt))
    }

    fn stop(&mut self, which: u8) -> Vec<Effect> {
        let closed = |id: &ShardId| self.shards.iter().any(|shard| shard.id == *id && shard.closed);
        let stops = |id: &ShardId, reader: &Reader| !reader.stopped && (reader.closing || closed(id));
        let Some(shard) = self.pick(which, stops) else { return Vec::new() };
        let reader = self.readers.get_mut(&shard).expect("just picked");
        reader.stopped = true;
        let session = reader.session;
        if reader.closing {
            self.send(Event::Closed { shard, session })
        } else {
            self.send(Event::ReadToEnd { shard, session, children: Vec::new() })
        }
    }

    /// One step: what `kind` says, if it can be.
    fn step(&mut self, (kind, which): (u8, u8)) -> Vec<Effect> {
        match kind % 6 {
            0 if self.listing => self.list(self.shards.clone()),
            1 => self.commit(),
            2 => self.read(which, which),
            3 => self.deliver(which),
            4 => self.stop(which),
            _ => self.send(Event::Tick),
        }
    }

    /// Everything that can happen happens, until nothing does.
    fn settle(&mut self) {
        for round in 0..400_u32 {
            self.now += 1_000;
            let which = u8::try_from(round % 251).expect("small");
            (0..6).for_each(|kind| {
                if kind != 2 {
                    self.step((kind, which));
                }
            });
        }
    }

    fn in_flight(&self) -> u64 {
        self.readers.values().flat_map(|reader| &reader.pending).map(|(_, count, _)| count).sum()
    }

    fn parents(&self, id: &ShardId) -> Vec<ShardId> {
        self.shards.iter().filter(|shard| shard.id == *id).flat_map(|shard| shard.parents.clone()).collect()
    }
}

fn after(ordinal: u64) -> Position {
    Position::after(
        SequenceNumber::parse(&format!("9999999999999999999999999999999999999999{ordinal:03}")).expect("decimal"),
    )
}

fn ops() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..7)
}

fn script() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((any::<u8>(), any::<u8>()), 0..160)
}

fn every_open(effects: &[Effect], mut check: impl FnMut(&ShardId, &Position) -> TestCaseResult) -> TestCaseResult {
    effects.iter().try_for_each(|effect| match effect {
        Effect::Open { shard, from, .. } => check(shard, from),
        Effect::List { .. }
        | Effect::Close { .. }
        | Effect::Pause { .. }
        | Effect::Resume { .. }
        | Effect::Assign(_)
        | Effect::Commit(_)
        | Effect::Stop(_)
        | Effect::Notice(_)
        | Effect::Finished => Ok(()),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// LIN-1: a child is opened only when the end of each of its parents is durable.
    #[test]
    fn a_child_opens_when_its_parents_ends_are_durable(ops in ops(), script in script()) {
        let mut driver = Driver::new(family(&ops), settings());
        for step in script {
            let effects = driver.step(step);
            every_open(&effects, |shard, _| {
                for parent in driver.parents(shard) {
                    prop_assert!(driver.rows.get(&parent).is_some_and(|row| row.position.is_end()), "{shard} before {parent}");
                }
                Ok(())
            })?;
        }
    }

    /// LIN-2: whatever listings repeat, lack or reorder, every shard is opened once and none twice.
    #[test]
    fn listings_are_idempotent_and_order_free(
        ops in ops(),
        listings in prop::collection::vec((any::<u8>(), any::<u8>()), 1..12),
        script in script(),
    ) {
        let shards = family(&ops);
        let mut driver = Driver::new(shards.clone(), settings());
        let mut script = script.into_iter();
        for (turn, lack) in listings {
            let mut listing = shards.clone();
            listing.rotate_left(usize::from(turn) % shards.len());
            if lack % 3 == 0 && driver.rows.len() == shards.len() {
                listing.remove(usize::from(lack) % shards.len());
            }
            listing.push(listing.first().unwrap_or(&shards[0]).clone());
            driver.list(listing);
            script.by_ref().take(12).for_each(|step| { driver.step(step); });
        }
        driver.settle();
        let opened: Vec<_> = driver.opened.iter().map(|(id, _)| id.clone()).collect();
        let once: BTreeSet<_> = opened.iter().cloned().collect();
        prop_assert_eq!(opened.len(), once.len(), "no shard is opened twice: {:?}", opened);
        prop_assert_eq!(once, shards.iter().map(|shard| shard.id.clone()).collect::<BTreeSet<_>>());
    }

    /// LIN-3: shards of the first listing start at the configured point, all later ones at their beginning.
    #[test]
    fn later_shards_start_at_their_beginning(ops in ops(), more in ops(), script in script()) {
        let first = family(&ops);
        let all = family(&[ops, more].concat());
        let mut driver = Driver::new(all, settings());
        driver.list(first.clone());
        script.into_iter().for_each(|step| { driver.step(step); });
        driver.settle();
        for (shard, from) in &driver.opened {
            let at_start = first.iter().any(|listed| listed.id == *shard);
            let expected = if at_start { Position::AtTimestamp(START) } else { Position::TrimHorizon };
            prop_assert_eq!(from, &expected, "{}", shard);
        }
    }

    /// POS-1: nothing is read before where it starts is durable; a restart keeps the start that was, not the one that is.
    #[test]
    fn a_start_is_durable_before_the_first_read(ops in ops(), script in script(), later in 1..1_000_i64) {
        let mut driver = Driver::new(family(&ops), settings());
        for (index, step) in script.into_iter().enumerate() {
            let effects = driver.step(step);
            every_open(&effects, |shard, from| {
                prop_assert_eq!(driver.rows.get(shard).map(|row| &row.position), Some(from));
                Ok(())
            })?;
            if index % 40 == 39 {
                let settled = !driver.rows.is_empty();
                driver.settings.streams[0].start = StartPoint::AtTimestamp(EpochMillis(START.0 + if settled { later } else { 0 }));
                driver.restart();
            }
        }
        for (shard, from) in &driver.opened {
            let kept = !matches!(from, Position::AtTimestamp(at) if *at != START);
            prop_assert!(kept, "{} is opened at {}", shard, from);
        }
    }

    /// ASN-1: the subtask is the exact share of the midpoint, below the parallelism, and a shard has one reader at a time.
    #[test]
    fn a_shard_goes_to_the_share_of_its_midpoint(a in any::<u128>(), b in any::<u128>(), n in 1..=u32::MAX) {
        let range = HashRange { start: a.min(b), end: a.max(b) };
        let subtask = assignment::uniform(&ShardId::new("s"), Some(range), n);
        prop_assert!(subtask < n);
        // The definition again, bit by bit: the share is the integer part of midpoint * n / 2^128.
        let midpoint = range.start + (range.end - range.start) / 2;
        let mut carry = 0_u128;
        let mut shift = 0;
        while shift < 128 {
            let digit = (midpoint >> shift) & 0xffff;
            carry = (digit * u128::from(n) + carry) >> 16;
            shift += 16;
        }
        prop_assert_eq!(u128::from(subtask), carry);
    }

    /// ORD-1: a child is opened only after every record read from its parents is confirmed.
    #[test]
    fn a_child_opens_after_its_parents_records_are_confirmed(ops in ops(), script in script()) {
        let mut driver = Driver::new(family(&ops), settings());
        driver.list(driver.shards.clone());
        driver.commit();
        for step in script {
            let effects = driver.step(step);
            every_open(&effects, |shard, _| {
                for parent in driver.parents(shard) {
                    let reader = driver.readers.get(&parent);
                    prop_assert!(reader.is_some_and(|reader| reader.stopped && reader.pending.is_empty()), "{shard}, {parent}");
                }
                Ok(())
            })?;
        }
    }

    /// DEL-1: a drain is over only when every record read is confirmed, and the positions say so.
    #[test]
    fn a_drain_waits_for_every_record(ops in ops(), script in script()) {
        let mut driver = Driver::new(family(&ops), settings());
        script.into_iter().for_each(|step| { driver.step(step); });
        driver.send(Event::Drain);
        for which in 0..=255_u8 {
            for kind in [1, 3, 4] {
                prop_assert!(!driver.finished || driver.in_flight() == 0);
                driver.step((kind, which));
            }
        }
        for (shard, reader) in driver.readers.iter().filter(|(_, reader)| reader.read > 0) {
            let position = &driver.rows[shard].position;
            prop_assert!(position.is_end() || *position == after(reader.read), "{shard} is at {position}");
        }
        prop_assert!(driver.finished);
    }

    /// CKP-1: the position is the end of the longest confirmed prefix, in whatever order receipts come.
    #[test]
    fn a_position_never_passes_an_unconfirmed_record(
        sizes in prop::collection::vec(1..5_u64, 1..20),
        order in prop::collection::vec(any::<u16>(), 20),
    ) {
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        let mut total = 0;
        for size in sizes {
            pieces.push((total, size));
            total += size;
        }
        let mut ledger = Ledger::new(Position::TrimHorizon);
        ledger.read(total);
        let mut confirmed = BTreeSet::new();
        for draw in order {
            if pieces.is_empty() {
                break;
            }
            let (first, count) = pieces.swap_remove(usize::from(draw) % pieces.len());
            confirmed.extend(first..first + count);
            let (shard, last) = (ShardId::new("s"), after(first + count));
            ledger.confirm(Receipt { shard, session: 1, first, count, last, arrived: None, event_time: None, marks: Vec::new() });
            let prefix = (0..).take_while(|ordinal| confirmed.contains(ordinal)).count();
            let expected = if prefix == 0 { Position::TrimHorizon } else { after(u64::try_from(prefix).expect("small")) };
            prop_assert_eq!(ledger.position(), &expected);
            prop_assert_eq!(ledger.is_settled(), confirmed.len() == usize::try_from(total).expect("small"));
        }
    }

    /// CKP-2: over any number of lives, every commit starts where the last durable one ended, and moves forward.
    #[test]
    fn positions_never_move_backwards(ops in ops(), script in script()) {
        let mut driver = Driver::new(family(&ops), settings());
        for (index, step) in script.into_iter().enumerate() {
            let before = driver.rows.clone();
            driver.step(step);
            for (shard, row) in &before {
                let now = &driver.rows[shard].position;
                prop_assert!(*now == row.position || now.is_past(&row.position), "{shard}: {} to {now}", row.position);
            }
            if index % 50 == 49 {
                driver.restart();
            }
        }
    }

    /// GAP-1: a position that stays takes nothing back: neither the place, nor the time up to which a shard is complete.
    #[test]
    fn a_row_that_stays_in_place_only_gets_more_complete(
        ops in ops(),
        script in script(),
        tips in prop::collection::vec((any::<u8>(), 0..40_000_000_i64), 160),
    ) {
        let mut driver = Driver::new(family(&ops), settings());
        for (index, (step, (which, at))) in script.into_iter().zip(tips).enumerate() {
            let before = driver.rows.clone();
            driver.step(step);
            if let Some(shard) = driver.pick(which, |_, reader| !reader.stopped) {
                let session = driver.readers[&shard].session;
                driver.send(Event::AtTip { shard, session, at: EpochMillis(at) });
            }
            for (shard, row) in &before {
                let now = &driver.rows[shard];
                prop_assert!(now.position == row.position || now.position.is_past(&row.position), "{row:?}, {now:?}");
                prop_assert!(now.complete_until >= row.complete_until, "{row:?}, {now:?}");
            }
            if index % 60 == 59 {
                driver.restart();
            }
        }
    }

    /// The census is what a count of all shards gives.
    #[test]
    fn the_census_is_a_count_of_all_shards(ops in ops(), script in script()) {
        let mut driver = Driver::new(family(&ops), settings());
        for step in script {
            driver.step(step);
            let count = |state| driver.core.shards().filter(|view| view.state == state).count();
            let census = driver.core.census();
            prop_assert_eq!(census.waiting, count(ShardState::Waiting));
            prop_assert_eq!(census.reading, count(ShardState::Reading));
            prop_assert_eq!(census.ending, count(ShardState::Ending));
            prop_assert_eq!(census.finished, count(ShardState::Finished));
            prop_assert_eq!(census.unsettled, driver.core.shards().filter(|view| view.in_flight > 0).count());
        }
    }

    /// CKP-1: what one stream confirms moves no position of another whose shards have the same names.
    #[test]
    fn streams_do_not_move_each_others_positions(ops in ops(), script in script()) {
        let mut settings = settings();
        settings.streams.push(settings.streams[0]);
        let mut driver = Driver::new(family(&ops), settings);
        driver.list(driver.shards.clone());
        driver.send(Event::Listed { stream: 1, scope: Scope::Full, shards: driver.shards.clone() });
        for step in script {
            driver.step(step);
            for reader in driver.readers.iter_mut().filter(|(id, _)| id.stream() == 1).map(|(_, reader)| reader) {
                reader.pending.clear();
            }
        }
        driver.commit();
        let others = driver.rows.values().filter(|row| row.shard.stream() == 1);
        for row in others {
            prop_assert_eq!(&row.position, &Position::AtTimestamp(START), "{}", row.shard);
        }
    }

    /// WMK-1: the watermark never falls, and never rises past an element that is read and not delivered.
    #[test]
    fn the_watermark_stays_before_what_is_in_flight(ops in ops(), script in script()) {
        let mut driver = Driver::new(family(&ops), settings());
        driver.list(driver.shards.clone());
        driver.commit();
        let mut last = None;
        for step in script {
            driver.now += 40;
            driver.step(step);
            let watermark = driver.core.watermark();
            prop_assert!(watermark >= last);
            let earliest = driver.readers.values().flat_map(|reader| &reader.pending).map(|(_, _, time)| *time).min();
            prop_assert!(watermark == last || earliest.is_none_or(|earliest| watermark <= Some(earliest)));
            last = watermark;
        }
    }
}
