//! The test plan.

mod contracts;
mod state_survives_kill;
mod state_refusals;
mod state_edits;
