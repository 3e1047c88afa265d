//! Deserializers of Kinesis records.

use std::cell::RefCell;

use crate::bindings::sluicebox::pipeline::elements::Deserialized;
use crate::bindings::sluicebox::pipeline::kinesis_source::RecordBatch;
use crate::bindings::sluicebox::pipeline::types::{GuestError, OpenContext};
use crate::{Config, Elements, Error, Record};

pub use crate::bindings::sluicebox::pipeline::elements::{ElementFormat, ElementSchema};

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

/// The one instance of a component, between the calls of the host.
#[doc(hidden)]
pub struct Slot<D>(RefCell<Option<D>>);

#[doc(hidden)]
impl<D: Deserializer> Slot<D> {
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }

    pub fn open(&self, context: OpenContext) -> Result<(), GuestError> {
        *self.0.borrow_mut() = Some(D::open(&Config::from(context))?);
        Ok(())
    }

    pub fn restore(&self, snapshot: &[u8]) -> Result<(), GuestError> {
        self.with(|deserializer| deserializer.restore(snapshot))
    }

    pub fn close(&self) -> Result<Option<Vec<u8>>, GuestError> {
        self.with(D::close)
    }

    pub fn produced(&self) -> ElementSchema {
        self.0.borrow().as_ref().expect("the host opens an instance before it uses it").schema()
    }

    pub fn deserialize(&self, batch: &RecordBatch) -> Result<Deserialized, GuestError> {
        self.with(|deserializer| deserialize(deserializer, batch))
    }

    fn with<T>(&self, call: impl FnOnce(&mut D) -> Result<T, Error>) -> Result<T, GuestError> {
        let mut slot = self.0.borrow_mut();
        let deserializer = slot.as_mut().expect("the host opens an instance before it uses it");
        Ok(call(deserializer)?)
    }
}

/// Makes a component of a [`Deserializer`]: once, in a crate of type `cdylib` that is built for `wasm32-wasip2`.
/// Elsewhere it only checks that the type can be exported.
#[macro_export]
macro_rules! kinesis_deserializer {
    ($deserializer:ty) => {
        const _: () = {
            use $crate::bindings::exports::sluicebox::pipeline::{kinesis_deserializer, lifecycle};
            use $crate::bindings::sluicebox::pipeline::types::{GuestError, OpenContext};

            ::std::thread_local! {
                static INSTANCE: $crate::kinesis::Slot<$deserializer> = const { $crate::kinesis::Slot::empty() };
            }

            struct Component;

            impl lifecycle::Guest for Component {
                fn open(context: OpenContext) -> ::std::result::Result<(), GuestError> {
                    INSTANCE.with(|instance| instance.open(context))
                }

                fn restore(snapshot: ::std::vec::Vec<u8>) -> ::std::result::Result<(), GuestError> {
                    INSTANCE.with(|instance| instance.restore(&snapshot))
                }

                fn close() -> ::std::result::Result<::std::option::Option<::std::vec::Vec<u8>>, GuestError> {
                    INSTANCE.with(|instance| instance.close())
                }
            }

            impl kinesis_deserializer::Guest for Component {
                fn produced() -> $crate::kinesis::ElementSchema {
                    INSTANCE.with(|instance| instance.produced())
                }

                fn deserialize(
                    batch: kinesis_deserializer::RecordBatch,
                ) -> ::std::result::Result<kinesis_deserializer::Deserialized, GuestError> {
                    INSTANCE.with(|instance| instance.deserialize(&batch))
                }
            }

            $crate::export_component!(Component);
        };
    };
}

/// Exports a type that implements the raw traits of [`bindings`](crate::bindings): `lifecycle::Guest` and
/// `kinesis_deserializer::Guest`. Only for `wasm32`, elsewhere it only checks that it does.
#[macro_export]
macro_rules! export_component {
    ($component:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::export!($component with_types_in $crate::bindings);

        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn exports<C>()
            where
                C: $crate::bindings::exports::sluicebox::pipeline::lifecycle::Guest
                    + $crate::bindings::exports::sluicebox::pipeline::kinesis_deserializer::Guest,
            {
            }
            exports::<$component>();
        };
    };
}
