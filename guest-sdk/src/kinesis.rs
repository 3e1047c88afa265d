//! Deserializers of Kinesis records, and converters for Kinesis sinks.

use crate::bindings::kinesis::sluicebox::pipeline::elements::Deserialized;
use crate::bindings::kinesis::sluicebox::pipeline::kinesis_source::RecordBatch;
use crate::{Config, Elements, Error, Record};

mod converter;
mod entries;

pub use crate::bindings::kinesis::sluicebox::pipeline::elements::{ElementFormat, ElementSchema};
pub use converter::{ElementConverter, convert};
pub use entries::{Entries, EntryBuilder};

/// Makes elements of Kinesis records. Export an implementation with [`kinesis_deserializer`](crate::kinesis_deserializer);
/// the crate's documentation says what an instance may rely on.
pub trait Deserializer: Sized + 'static {
    /// Makes an instance. Reads its configuration, makes its metrics.
    ///
    /// # Errors
    /// A retryable error is tried again in a new instance, any other stops the pipeline.
    fn open(config: &Config) -> Result<Self, Error>;

    /// Makes elements of one record. Emitting nothing filters it.
    ///
    /// # Errors
    /// What this record emitted is taken back, and the error is the record's alone: the other records of the batch are
    /// not affected.
    fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error>;

    /// What the payloads are. Opaque bytes unless the author says otherwise.
    fn schema(&self) -> ElementSchema {
        ElementSchema { format: ElementFormat::Opaque, fingerprint: 0 }
    }

    /// Called before an orderly end, never after a trap. What it returns is handed to [`restore`](Self::restore) of the
    /// instance that follows.
    ///
    /// # Errors
    /// Written to the log; the pipeline ends all the same.
    fn close(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    /// Takes over what the instance before this one returned from [`close`](Self::close).
    ///
    /// # Errors
    /// The instance is not used.
    fn restore(&mut self, _snapshot: &[u8]) -> Result<(), Error> {
        Err(Error::poison("no-snapshots", "the component has no use for a snapshot"))
    }
}

/// Runs a deserializer over one batch, record by record, and packs what it emits. For components that implement the
/// raw traits of [`bindings`](crate::bindings) themselves.
///
/// # Errors
/// A payload was written by taking away earlier ones: the batch as a whole is lost.
pub fn deserialize<D: Deserializer>(deserializer: &mut D, batch: &RecordBatch) -> Result<Deserialized, Error> {
    let mut out = Elements::new(&batch.approximate_arrival, &batch.partition_key, &batch.data);
    for (index, input) in (0..batch.data.ends.len()).zip(0..) {
        out.begin(input);
        let result = deserializer.deserialize(&Record::new(batch, index), &mut out);
        out.end(result)?;
    }
    Ok(out.finish())
}

/// Makes a component of a [`Deserializer`]: once, in a crate of type `cdylib` that is built for `wasm32-wasip2`.
/// Elsewhere it only checks that the type can be exported.
#[macro_export]
macro_rules! kinesis_deserializer {
    ($deserializer:ty) => {
        const _: () = {
            use $crate::bindings::kinesis::exports::sluicebox::pipeline::kinesis_deserializer;
            use $crate::bindings::sluicebox::pipeline::types::GuestError;
            use $crate::kinesis::Deserializer;

            $crate::__component!($deserializer as Deserializer);

            impl kinesis_deserializer::Guest for Component {
                fn produced() -> $crate::kinesis::ElementSchema {
                    INSTANCE.with(|slot| slot.look(Deserializer::schema))
                }

                fn deserialize(
                    batch: kinesis_deserializer::RecordBatch,
                ) -> ::std::result::Result<kinesis_deserializer::Deserialized, GuestError> {
                    INSTANCE.with(|slot| slot.with(|deserializer| $crate::kinesis::deserialize(deserializer, &batch)))
                }
            }

    $crate::export_component!(Component: kinesis_deserializer);
        };
    };
}
