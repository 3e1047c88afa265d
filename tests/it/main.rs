//! The test plan.

mod components;
