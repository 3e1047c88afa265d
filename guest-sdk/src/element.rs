use crate::bindings::kinesis::sluicebox::pipeline::elements::ElementBatch;
use crate::columns::value;

/// One element as a deserializer emitted it: a view into the batch, which costs nothing until it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    batch: &'a ElementBatch,
    index: usize,
}

impl<'a> Element<'a> {
    pub(crate) fn new(batch: &'a ElementBatch, index: usize) -> Self {
        Self { batch, index }
    }

    /// What it holds, in the format that its deserializer tells.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        value(&self.batch.payload, self.index)
    }

    /// What keeps elements in order and spreads them over shards: any bytes, up to 2,048. Where the deserializer set none,
    /// the partition key of the record.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        value(&self.batch.key, self.index)
    }

    /// Milliseconds since the epoch. Where the deserializer set none, the arrival time of the record.
    #[must_use]
    pub fn event_time(&self) -> i64 {
        self.batch.event_time[self.index]
    }

    /// Where the deserializer sent it; `None` to every sink.
    #[must_use]
    pub fn route(&self) -> Option<&'a str> {
        let route = self.batch.route.get(self.index)?.checked_sub(1)?;
        Some(&self.batch.routes[route as usize])
    }
}
