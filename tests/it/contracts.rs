//! Every implementation of a port, the in-memory fake included, passes the port's suite.

mod lease_store;
