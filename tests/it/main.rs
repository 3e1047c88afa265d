//! The test plan.

mod contracts;
