//! The test plan: one binary, a module per promise.

// Every implementation of a port owes the same.
mod contracts;
// What users read: mistakes in manifests, the reference, the help of each command.
mod manifest;
// A component that loops, grows, traps, floods or lies stops itself only; and what the example components do.
mod components;
// A component that assigns shards: its sins, an example, what the commands say.
mod assigner;
// Positions survive a kill in the middle of a write, are refused by name and in words, and can be edited.
mod state_survives_kill;
mod state_refusals;
mod state_edits;
// All that is durable in one file, whole or refused, and back again.
mod savepoints;
// What is promised is documented, and the tests that hold it are listed.
mod guarantees;
// What other services do otherwise is documented.
mod deviations;
// The binary, used wrongly on purpose.
mod cli;
// The whole host in process: shards, families, errors, room, commits, stops.
mod pipeline;
// A killed host comes back.
mod recovery;
// Every kind of credentials signs, renews itself, fails in words, and shows no secret.
mod access;
// The simulated AWS keeps to the protocol, and the host keeps its promises against it.
mod simulated;
