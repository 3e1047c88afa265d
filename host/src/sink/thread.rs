//! The thread that writes: takes what the subtasks hand over, batch by batch, and answers with receipts.

use std::thread::{self, JoinHandle};

use host_core::checkpoint::SinkMark;
use host_core::coordinator::{Event, Receipt};
use host_core::shard::Position;
use tokio::sync::mpsc;

use crate::columns::{Column, ElementBatch};
use crate::entry::Entries;
use crate::flow::Held;
use crate::pipeline::failure::Failure;
use crate::pipeline::{Input, Totals};
use crate::ports::Sink;
use crate::subtask::Made;

/// A sink and which elements it takes.
pub struct RoutedSink {
    /// Its name in the manifest.
    pub name: String,
    /// The routes it takes; empty = every element.
    pub when: Vec<String>,
    /// Where its elements go.
    pub sink: Box<dyn Sink>,
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
    /// The position after each record of the delivery, for a sink that keeps positions itself; else empty.
    pub positions: Vec<Position>,
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

/// Starts the thread. It ends when all senders are gone or after it reported a failure of its own.
///
/// # Errors
/// The system has no thread to give.
pub fn spawn(
    pipeline: &str,
    mut sinks: Vec<RoutedSink>,
    mut input: mpsc::Receiver<ToSinks>,
    output: mpsc::Sender<Input>,
    totals: std::sync::Arc<Totals>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("{pipeline} sinks")).spawn(move || {
        while let Some(message) = input.blocking_recv() {
            let answer = match message {
                ToSinks::Deliver(delivery) => match deliver(&mut sinks, *delivery, &totals) {
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
    })
}

fn deliver(sinks: &mut [RoutedSink], delivery: Delivery, totals: &Totals) -> Result<Receipt, Failure> {
    let Delivery { mut receipt, elements, outgoing: _, made, held } = delivery;
    if !elements.is_empty() {
        for (index, routed) in (0_u32..).zip(sinks.iter_mut()) {
            let mark = match chosen(routed, &elements) {
                Some(payloads) => routed.sink.write(&payloads)?,
                None => routed.sink.write(&elements.payload)?,
            };
            receipt.marks.extend(mark.map(|mark| SinkMark { sink: index, mark }));
        }
    }
    totals.elements_out.add(elements.len() as u64);
    receipt.event_time = made.map(Made::delivered);
    drop(held);
    Ok(receipt)
}

/// The payloads that this sink takes, or `None` if it takes all of them.
fn chosen(routed: &RoutedSink, elements: &ElementBatch) -> Option<Column> {
    if routed.when.is_empty() || elements.route.is_empty() {
        return None;
    }
    let takes: Vec<bool> = elements.routes.iter().map(|route| routed.when.contains(route)).collect();
    let mut payloads = Column::default();
    for (payload, &route) in elements.payload.iter().zip(&elements.route) {
        let taken = route == 0 || takes.get(route as usize - 1).copied().unwrap_or(false);
        if taken {
            payloads.push(payload);
        }
    }
    Some(payloads)
}
