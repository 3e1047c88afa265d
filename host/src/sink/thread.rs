//! The thread that writes: takes what the subtasks hand over, batch by batch, and answers with receipts.
//!
//! Where all sinks are on this machine, what is written is confirmed and the receipt leaves at once. Where there are sinks
//! that write to services, the thread hands them their entries and waits while one of them has no room; receipts then
//! leave when the services have settled the entries ([`super::confirmations`]).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{self as blocking, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use host_core::checkpoint::SinkMark;
use host_core::coordinator::{Event, Receipt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::columns::{Column, ElementBatch};
use crate::entry::Entries;
use crate::flow::Held;
use crate::pipeline::failure::Failure;
use crate::pipeline::{Input, Totals};
use crate::ports::Sink;
use crate::sink::confirmations::{Confirmations, Gone, Leaving, Surroundings, Word};
use crate::sink::service::{Handed, Origin, Service, Stations};
use crate::subtask::Made;

/// A sink and which elements it takes.
pub struct RoutedSink {
    /// Its name in the manifest.
    pub name: String,
    /// The routes it takes; empty = every element.
    pub when: Vec<String>,
    /// Where its elements go.
    pub output: Output,
}

/// Where the elements of a sink go.
pub enum Output {
    /// Somewhere on this machine: written by the sinks' thread itself.
    Local(Box<dyn Sink>),
    /// To a service, as the entries that a converter makes of them.
    Service(Box<dyn Service>),
}

/// What a subtask made of consecutive records of one shard: maybe no element at all, which is confirmed just the same.
pub struct Delivery {
    /// The records' receipt, as it will be once the elements are written; the sinks' marks come in then.
    pub receipt: Receipt,
    /// What goes to the sinks.
    pub elements: ElementBatch,
    /// What goes to sinks that write to services; as long as there are such sinks that take any of it.
    pub outgoing: Vec<Outgoing>,
    /// Their event times, if the component gave any.
    pub made: Option<Made>,
    /// The records' share of the byte budget, given back once the elements are written.
    pub held: Option<Held>,
}

/// Entries of one delivery for one sink.
#[derive(Debug)]
pub struct Outgoing {
    /// Index of the sink in the manifest.
    pub sink: u32,
    /// The entries, in the order of their records.
    pub entries: Entries,
    /// The record that each entry came from, counted within the delivery: never decreasing.
    pub record: Vec<u32>,
    /// Where these records stand.
    pub stations: Stations,
}

/// What reaches the sinks' thread.
pub enum ToSinks {
    /// Elements to write, and records to confirm.
    Deliver(Box<Delivery>),
    /// A subtask gave up; reported once everything before it is written, so that the position right before it holds.
    Failed(Failure),
    /// A subtask's thread ended without a word; everything that it delivered came before this.
    Lost {
        /// Which one.
        subtask: u32,
    },
}

/// The thread: what it writes to the sinks on this machine may only be the next run's to write once it has ended.
pub struct SinksThread {
    /// Hears nothing, but of the end.
    end: blocking::Receiver<Infallible>,
}

impl SinksThread {
    /// Waits until the thread has ended and let go of its sinks; says whether it has, in this time. It is the machine's
    /// time, whatever clock the runtime has: a thread works in no other.
    pub async fn ended(self, within: Duration) -> bool {
        let waiting = spawn_blocking(move || self.end.recv_timeout(within));
        matches!(waiting.await, Ok(Err(RecvTimeoutError::Disconnected)))
    }
}

/// Starts the thread. It ends when the run is cut off or all senders are gone, after a failure, or when a service is gone, which has told why.
///
/// # Errors
/// The system has no thread to give.
pub fn spawn(
    pipeline: &str,
    sinks: Vec<RoutedSink>,
    mut input: mpsc::Receiver<ToSinks>,
    output: mpsc::Sender<Input>,
    totals: Arc<Totals>,
    around: Surroundings,
) -> std::io::Result<SinksThread> {
    let (alive, end) = blocking::channel();
    let has_services = sinks.iter().any(|sink| matches!(sink.output, Output::Service(_)));
    let over = Over { cut: around.cut.clone(), runtime: around.runtime.clone() };
    let confirmations = has_services.then(|| Confirmations::start(around, output.clone(), Arc::clone(&totals)));
    let sinks = Sinks::new(sinks, confirmations.as_ref());
    let name = format!("{pipeline} sinks");
    thread::Builder::new().name(name).spawn(move || {
        // Dropped last, also by a panic: the sinks are let go of by then.
        let (_alive, mut sinks) = (alive, sinks);
        match confirmations {
            None => sinks.write_all(|| over.or(&mut input), &output, &totals),
            Some(confirmations) => {
                drop(output);
                // Services that are gone have failed and said so, or patience with them is over.
                drop(sinks.hand_over_all(|| over.or(&mut input), &confirmations));
            }
        }
    })?;
    Ok(SinksThread { end })
}

/// Knows when the run is over, whoever may still send.
struct Over {
    cut: CancellationToken,
    runtime: Handle,
}

impl Over {
    /// The next message; `None` once nobody can send any more or the run is over.
    fn or(&self, input: &mut mpsc::Receiver<ToSinks>) -> Option<ToSinks> {
        let message = self.runtime.block_on(self.cut.run_until_cancelled(input.recv()));
        message.flatten().filter(|_| !self.cut.is_cancelled())
    }
}

/// A sink as the thread knows it.
struct Routed {
    when: Vec<String>,
    way: Way,
}

enum Way {
    Local(Box<dyn Sink>),
    Service(mpsc::Sender<Handed>),
}

struct Sinks {
    sinks: Vec<Routed>,
    /// Deliveries handed over so far.
    delivered: u64,
}

impl Sinks {
    fn new(sinks: Vec<RoutedSink>, confirmations: Option<&Confirmations>) -> Self {
        let routed = |RoutedSink { name, when, output }| {
            let way = match (output, confirmations) {
                (Output::Local(sink), _) => Way::Local(sink),
                (Output::Service(service), Some(confirmations)) => Way::Service(confirmations.serve(&name, service)),
                (Output::Service(_), None) => unreachable!("with a service there are confirmations"),
            };
            Routed { when, way }
        };
        Self { sinks: sinks.into_iter().map(routed).collect(), delivered: 0 }
    }

    /// Without services: what is written is confirmed.
    fn write_all(&mut self, mut next: impl FnMut() -> Option<ToSinks>, output: &mpsc::Sender<Input>, totals: &Totals) {
        while let Some(message) = next() {
            let answer = match message {
                ToSinks::Deliver(delivery) => match self.deliver(*delivery, totals) {
                    Ok(receipt) => Input::Event(Event::Delivered(receipt)),
                    Err(failure) => Input::Failed(failure),
                },
                ToSinks::Failed(failure) => Input::Failed(failure),
                ToSinks::Lost { subtask } => Input::Lost { subtask },
            };
            let failed = matches!(answer, Input::Failed(_));
            if output.blocking_send(answer).is_err() || failed {
                return;
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery, totals: &Totals) -> Result<Receipt, Failure> {
        let Delivery { mut receipt, elements, outgoing: _, made, held } = delivery;
        self.write(&mut receipt, &elements)?;
        totals.elements_out.add(elements.len() as u64);
        receipt.event_time = made.map(Made::delivered);
        drop(held);
        Ok(receipt)
    }

    /// With services: what is written here and settled there is confirmed.
    fn hand_over_all(
        &mut self,
        mut next: impl FnMut() -> Option<ToSinks>,
        confirmations: &Confirmations,
    ) -> Result<(), Gone> {
        while let Some(message) = next() {
            match message {
                ToSinks::Deliver(delivery) => match self.hand_over(*delivery, confirmations)? {
                    Ok(()) => {}
                    Err(failure) => return confirmations.say(Word::Failed(failure)),
                },
                ToSinks::Failed(failure) => return confirmations.say(Word::Failed(failure)),
                ToSinks::Lost { subtask } => confirmations.say(Word::Lost { subtask })?,
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, delivery: Delivery, confirmations: &Confirmations) -> Result<Result<(), Failure>, Gone> {
        let permit = confirmations.permit()?;
        let Delivery { mut receipt, elements, outgoing, made, held } = delivery;
        if let Err(failure) = self.write(&mut receipt, &elements) {
            return Ok(Err(failure));
        }
        let held = held.map(Arc::new);
        let delivery = self.delivered;
        self.delivered += 1;
        let arrived = confirmations.now();
        let handed: Vec<(u32, Handed)> = outgoing
            .into_iter()
            .filter(|outgoing| !outgoing.entries.is_empty())
            .map(|Outgoing { sink, entries, record, stations }| {
                let (shard, session, last) = (receipt.shard.clone(), receipt.session, receipt.last.clone());
                let origin = Arc::new(Origin { delivery, shard, session, last, stations });
                (sink, Handed { origin, entries, record, arrived, held: held.clone() })
            })
            .collect();
        drop(held);
        let entries = handed.iter().map(|(_, handed)| handed.entries.len() as u64).sum();
        let leaving = Box::new(Leaving { receipt, made, elements: elements.len() as u64, permit });
        drop(elements);
        confirmations.say(Word::Opened { delivery, entries, leaving })?;
        for (sink, handed) in handed {
            let routed = self.sinks.get(sink as usize).map(|routed| &routed.way);
            let Some(Way::Service(service)) = routed else { unreachable!("only services are handed entries") };
            service.blocking_send(handed).map_err(|_gone| Gone)?;
        }
        Ok(Ok(()))
    }

    /// Writes to the sinks on this machine; their marks go into the receipt.
    fn write(&mut self, receipt: &mut Receipt, elements: &ElementBatch) -> Result<(), Failure> {
        if elements.is_empty() {
            return Ok(());
        }
        for (index, routed) in (0_u32..).zip(self.sinks.iter_mut()) {
            let Way::Local(sink) = &mut routed.way else { continue };
            let mark = match chosen(&routed.when, elements) {
                Some(payloads) => sink.write(&payloads)?,
                None => sink.write(&elements.payload)?,
            };
            receipt.marks.extend(mark.map(|mark| SinkMark { sink: index, mark }));
        }
        Ok(())
    }
}

/// The payloads that this sink takes, or `None` if it takes all of them.
fn chosen(when: &[String], elements: &ElementBatch) -> Option<Column> {
    if when.is_empty() || elements.route.is_empty() {
        return None;
    }
    let takes: Vec<bool> = elements.routes.iter().map(|route| when.contains(route)).collect();
    let mut payloads = Column::default();
    for (payload, &route) in elements.payload.iter().zip(&elements.route) {
        let taken = route == 0 || takes.get(route as usize - 1).copied().unwrap_or(false);
        if taken {
            payloads.push(payload);
        }
    }
    Some(payloads)
}
