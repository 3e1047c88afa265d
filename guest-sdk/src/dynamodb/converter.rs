use crate::bindings::dynamodb_converter::exports::sluicebox::pipeline::dynamodb_element_converter::RequestBatch;
use crate::bindings::kinesis::sluicebox::pipeline::elements::ElementBatch;
use crate::dynamodb::Requests;
use crate::{Config, Element, Error};

/// Makes requests for a DynamoDB table of elements. Export an implementation with
/// [`dynamodb_element_converter`](crate::dynamodb_element_converter); the [module](crate::dynamodb) has an example.
///
/// A subtask has one instance for each sink that names the component. It sees elements in the order of their shards, and
/// those of a failed batch again; what a deserializer may rely on holds here too.
pub trait ElementConverter: Sized + 'static {
    /// Makes an instance. Reads its configuration, makes its metrics.
    ///
    /// # Errors
    /// A retryable error is tried again in a new instance, any other stops the pipeline.
    fn open(config: &Config) -> Result<Self, Error>;

    /// Makes requests of one element: any number. None filters it, which the host counts.
    ///
    /// # Errors
    /// The requests of this element are taken back, and the error is the element's alone: the other elements of the batch
    /// are not affected.
    fn convert(&mut self, element: &Element<'_>, out: &mut Requests) -> Result<(), Error>;

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

/// Runs a converter over one batch, element by element, and packs its requests. For components that implement the raw
/// traits of [`bindings::dynamodb_converter`](crate::bindings::dynamodb_converter) themselves.
#[must_use]
pub fn convert<C: ElementConverter>(converter: &mut C, batch: &ElementBatch) -> RequestBatch {
    let mut out = Requests::new(batch.payload.ends.len());
    for (index, input) in (0..batch.payload.ends.len()).zip(0..) {
        out.begin(input);
        let result = converter.convert(&Element::new(batch, index), &mut out);
        out.end(result);
    }
    out.finish()
}

/// Makes a component of a [`dynamodb::ElementConverter`](crate::dynamodb::ElementConverter): once, in a crate of type
/// `cdylib` that is built for `wasm32-wasip2`. Elsewhere it only checks that the type can be exported.
#[macro_export]
macro_rules! dynamodb_element_converter {
    ($converter:ty) => {
        const _: () = {
            use $crate::bindings::dynamodb_converter::exports::sluicebox::pipeline::dynamodb_element_converter;
            use $crate::bindings::sluicebox::pipeline::types::GuestError;
            use $crate::dynamodb::ElementConverter;

            $crate::__component!($converter as ElementConverter);

            impl dynamodb_element_converter::Guest for Component {
                fn convert(
                    batch: dynamodb_element_converter::ElementBatch,
                ) -> ::std::result::Result<dynamodb_element_converter::RequestBatch, GuestError> {
                    INSTANCE.with(|slot| slot.with(|converter| Ok($crate::dynamodb::convert(converter, &batch))))
                }
            }

    $crate::export_component!(Component: dynamodb_element_converter);
        };
    };
}
