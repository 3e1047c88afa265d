//! Room for what a subscription pushes, found before it is taken (LIM-1).
//!
//! An event is in memory as a whole before anybody can look at it, and the service decides when it comes. Asking for room
//! then is too late: a thousand shards that are behind would each hold an event that nobody has room for. Reserving it
//! before there is an event is as bad: a thousand silent shards would hold all there is. But every message of an event
//! stream begins with its length (four bytes, big-endian). So the body that the SDK reads is wrapped: once a length is
//! here, room for so many bytes is awaited, and until it is there nothing more is read, which closes the window of the
//! transport. What lies outside the budget is the first piece of one message per subscription, and what the transport
//! holds within its window.
//!
//! Room is for whole messages, in the order of asking, and whoever listens for the next message holds none for the one
//! before. So two subscriptions that need each other's cannot come about, nor one that needs its own.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;
use http_body::{Body, Frame};

use crate::flow::{Budget, Held};

/// What a message's length is written in.
const PRELUDE_BYTES: usize = 4;
/// The shortest message: prelude and checksums (the event stream encoding of AWS).
const MESSAGE_BYTES_MIN: usize = 16;
/// No message is longer (the same).
const MESSAGE_BYTES_MAX: usize = 24 << 20;

/// Room for the events of one subscription, shared by its body and its receiver.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    budget: Budget,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Room for messages that were let through and not accounted for by their receiver.
    granted: VecDeque<Held>,
    is_waiting: bool,
}

impl Meter {
    /// Room in `budget`.
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, state: Arc::default() }
    }

    /// The room of the message that was received last.
    pub(super) fn last(&self) -> Held {
        self.state().granted.drain(..).next_back().unwrap_or_else(|| self.budget.nothing())
    }

    /// Whether a message has begun to arrive and waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        self.state().is_waiting
    }

    /// The state is whole after every change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        // A refusal is an ordinary answer.
        if response.status().is_success() {
            let body = std::mem::replace(response.body_mut(), SdkBody::taken());
            *response.body_mut() = SdkBody::from_body_1_x(Metered::new(body, self.clone()));
        }
        Ok(())
    }
}

/// A body is shared between threads, so a boxed future of the usual kind will not do.
type Reserving = Pin<Box<dyn Future<Output = Held> + Send + Sync>>;

/// A body that lets a message through once there is room for it.
struct Metered<B> {
    inner: B,
    meter: Meter,
    /// What has arrived and was not let through: the rest of one piece.
    arrived: Bytes,
    /// Bytes of the message at hand for which there is room.
    left: usize,
    reserving: Option<(usize, Reserving)>,
    is_over: bool,
}

impl<B> Metered<B> {
    fn new(inner: B, meter: Meter) -> Self {
        Self { inner, meter, arrived: Bytes::new(), left: 0, reserving: None, is_over: false }
    }

    /// The next bytes for which there is room; `None` if more must arrive first.
    fn poll_granted(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some((length, reserving)) = &mut self.reserving {
                let room = ready!(reserving.as_mut().poll(context));
                let mut state = self.meter.state();
                state.is_waiting = false;
                state.granted.push_back(room);
                self.left = *length;
                drop(state);
                self.reserving = None;
            }
            if self.left > 0 && !self.arrived.is_empty() {
                let bytes = self.arrived.split_to(self.left.min(self.arrived.len()));
                self.left -= bytes.len();
                return Poll::Ready(Some(bytes));
            }
            if self.left == 0 {
                // The decoder is done with the message before. If that is still here, it was no event, and nobody accounts
                // for it: an event that needs the whole budget would wait for it for ever.
                self.meter.state().granted.clear();
            }
            if self.left > 0 || self.arrived.len() < PRELUDE_BYTES {
                return Poll::Ready(None);
            }
            let length =
                self.arrived.iter().take(PRELUDE_BYTES).fold(0, |length, byte| length << 8 | usize::from(*byte));
            if !(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&length) {
                // No message; the decoder will say so.
                self.left = usize::MAX;
                continue;
            }
            let budget = self.meter.budget.clone();
            self.meter.state().is_waiting = true;
            self.reserving = Some((length, Box::pin(async move { budget.reserve(length).await })));
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Metered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = ready!(this.poll_granted(context)) {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.is_over {
                // What cannot even tell its length was cut off; the decoder will say so.
                let rest = std::mem::take(&mut this.arrived);
                return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    // Only a length that is cut in two makes bytes move.
                    Ok(data) if this.arrived.is_empty() => this.arrived = data,
                    Ok(data) => this.arrived = [&this.arrived, &data].map(|part| &part[..]).concat().into(),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.is_over = true,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.arrived.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use futures_util::FutureExt as _;

    use super::*;

    /// Pieces, then the end; notes how many were taken.
    struct Pieces {
        pieces: VecDeque<Vec<u8>>,
        taken: Arc<Mutex<usize>>,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = self.pieces.pop_front();
            *self.taken.lock().expect("one thread") += usize::from(piece.is_some());
            Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
        }
    }

    fn message(length: u32) -> Vec<u8> {
        let mut message = length.to_be_bytes().to_vec();
        message.resize(length as usize, 7);
        message
    }

    fn body(pieces: Vec<Vec<u8>>, budget: &Budget) -> (Metered<Pieces>, Meter, Arc<Mutex<usize>>) {
        let (meter, taken) = (Meter::new(budget.clone()), Arc::default());
        let pieces = Pieces { pieces: pieces.into(), taken: Arc::clone(&taken) };
        (Metered::new(pieces, meter.clone()), meter, taken)
    }

    async fn frame(body: &mut Metered<Pieces>) -> Option<Bytes> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        frame.ok()?.into_data().ok()
    }

    async fn all(body: &mut Metered<Pieces>) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(frame) = frame(body).await {
            bytes.extend(frame);
        }
        bytes
    }

    #[tokio::test]
    async fn bytes_pass_unchanged_however_they_are_cut() {
        let whole = [message(300), message(16), message(5_000)].concat();
        for size in [1, 3, 4, 5, 299, 301, 10_000] {
            let budget = Budget::new(1 << 20);
            let (mut body, _, _) = body(whole.chunks(size).map(<[u8]>::to_vec).collect(), &budget);
            assert_eq!(all(&mut body).await, whole, "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_message_waits_for_room_and_nothing_behind_its_first_piece_is_taken_meanwhile() {
        let budget = Budget::new(8 << 10);
        let full = budget.reserve(8 << 10).await;
        let pieces = message(4 << 10).chunks(1 << 10).map(<[u8]>::to_vec).collect();
        let (mut body, meter, taken) = body(pieces, &budget);
        assert!(frame(&mut body).now_or_never().is_none(), "there is no room");
        assert!(frame(&mut body).now_or_never().is_none());
        assert!(meter.is_waiting());
        assert_eq!(*taken.lock().expect("one thread"), 1);
        drop(full);
        for _ in 0..4 {
            assert_eq!(frame(&mut body).await.map(|bytes| bytes.len()), Some(1 << 10));
        }
        assert!(!meter.is_waiting());
        assert_eq!(budget.held(), 4 << 10, "it is kept until the event is dealt with");
        let room = meter.last();
        assert_eq!(budget.held(), 4 << 10);
        drop(room);
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn silence_holds_no_room() {
        let budget = Budget::new(8 << 10);
        let (mut body, meter, _) = body(vec![message(64)], &budget);
        frame(&mut body).await.expect("a message");
        drop(meter.last());
        assert_eq!(budget.held(), 0);
        assert!(!meter.is_waiting());
    }

    #[tokio::test]
    async fn a_message_passes_before_the_next_one_asks_for_room() {
        let budget = Budget::new(8 << 10);
        let (mut body, meter, _) = body(vec![[message(6 << 10), message(6 << 10)].concat()], &budget);
        assert_eq!(frame(&mut body).await.map(|bytes| bytes.len()), Some(6 << 10), "one message and no byte more");
        let first = meter.last();
        assert!(frame(&mut body).now_or_never().is_none(), "there is room for one");
        drop(first);
        assert_eq!(frame(&mut body).await.map(|bytes| bytes.len()), Some(6 << 10));
    }

    #[tokio::test]
    async fn a_message_larger_than_the_budget_passes_once_everything_is_free() {
        let budget = Budget::new(4 << 10);
        let (mut body, _, _) = body(vec![message(64 << 10)], &budget);
        assert_eq!(all(&mut body).await.len(), 64 << 10);
    }

    #[tokio::test]
    async fn a_message_that_nobody_accounts_for_holds_no_room_once_the_next_is_asked_for() {
        let budget = Budget::new(4 << 10);
        let (mut opened, _, _) = body(vec![message(64)], &budget);
        frame(&mut opened).await.expect("a message");
        assert!(frame(&mut opened).await.is_none());
        assert_eq!(budget.held(), 0);
        let (mut body, _, _) = body(vec![[message(64), message(64 << 10)].concat()], &budget);
        assert_eq!(all(&mut body).now_or_never().map(|bytes| bytes.len()), Some(64 + (64 << 10)));
    }

    #[tokio::test]
    async fn what_is_no_message_is_left_to_the_decoder() {
        let budget = Budget::new(4 << 10);
        for bytes in [vec![0, 0, 0, 1, 9, 9], vec![0xff; 90], vec![0, 0]] {
            let (mut body, meter, _) = body(vec![bytes.clone()], &budget);
            assert_eq!(all(&mut body).await, bytes);
            drop(meter.last());
        }
    }
}
