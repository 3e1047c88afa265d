//! The test plan: one binary, a module per promise.

// Every implementation of a port owes the same.
mod contracts;
// What users read: mistakes in manifests, the reference, the help of each command.
mod manifest;
// A killed host comes back.
mod recovery;
