//! The test plan.

// What users read: mistakes in manifests, the reference, the help of each command.
mod manifest;
