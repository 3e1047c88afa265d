//! Renewals.
