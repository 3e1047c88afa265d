//! Contracts of the host's ports: one suite each, run on every implementation, the in-memory fake included.

mod fan_out;
mod leases;
mod sink;
mod put;
mod stream;
mod table;
