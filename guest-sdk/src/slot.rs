//! Where the one instance of a component is kept between the calls of the host. For the macros that export a role.
#![doc(hidden)]

use std::cell::RefCell;

use crate::bindings::sluicebox::pipeline::types::{GuestError, OpenContext};
use crate::{Config, Error};

const OPENED: &str = "the host opens an instance before it uses it";

#[derive(Debug)]
pub struct Slot<T>(RefCell<Option<T>>);

impl<T> Slot<T> {
    #[must_use]
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }

    pub fn open(&self, context: OpenContext, open: impl FnOnce(&Config) -> Result<T, Error>) -> Result<(), GuestError> {
        *self.0.borrow_mut() = Some(open(&Config::from(context))?);
        Ok(())
    }

    pub fn with<R>(&self, call: impl FnOnce(&mut T) -> Result<R, Error>) -> Result<R, GuestError> {
        Ok(call(self.0.borrow_mut().as_mut().expect(OPENED))?)
    }

    pub fn look<R>(&self, at: impl FnOnce(&T) -> R) -> R {
        at(self.0.borrow().as_ref().expect(OPENED))
    }
}
