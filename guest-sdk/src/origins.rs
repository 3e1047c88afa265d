//! Which input of a batch each output came from, and which inputs failed: the same for every role that makes outputs of
//! inputs. An input that fails leaves nothing but its error.

use crate::Error;
use crate::bindings::sluicebox::pipeline::types::RecordError;

#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// The input that is being worked on.
    input: u32,
    /// How many outputs there were before it.
    found: usize,
    /// What went wrong with it in a call that returns nothing.
    fault: Option<Error>,
    index: Vec<u32>,
    errors: Vec<RecordError>,
}

impl Origins {
    /// Room for this many outputs.
    pub(crate) fn with_capacity(outputs: usize) -> Self {
        Self { index: Vec::with_capacity(outputs), ..Self::default() }
    }

    /// How many outputs there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The input of each output.
    pub(crate) fn index(&self) -> &[u32] {
        &self.index
    }

    /// Begins the next input.
    pub(crate) fn begin(&mut self, input: u32) {
        self.input = input;
        self.found = self.index.len();
    }

    /// The input made one more output.
    pub(crate) fn output(&mut self) {
        self.index.push(self.input);
    }

    /// The input fails whatever its author returns. The first fault is told.
    pub(crate) fn fail(&mut self, fault: impl FnOnce() -> Error) {
        self.fault.get_or_insert_with(fault);
    }

    /// Ends the input. Whether it failed: then its outputs must be taken out of the columns.
    pub(crate) fn end(&mut self, result: Result<(), Error>) -> bool {
        let fault = self.fault.take();
        let Err(error) = result.and_then(|()| fault.map_or(Ok(()), Err)) else {
            return false;
        };
        self.index.truncate(self.found);
        self.errors.push(RecordError { input_index: self.input, error: error.into() });
        true
    }

    /// The `input-index` of a batch of `inputs`, and its errors.
    pub(crate) fn finish(mut self, inputs: usize) -> (Vec<u32>, Vec<RecordError>) {
        let is_identity = self.errors.is_empty()
            && self.index.len() == inputs
            && self.index.iter().zip(0..).all(|(input, index)| *input == index);
        if is_identity {
            self.index.clear();
        }
        (self.index, self.errors)
    }
}
