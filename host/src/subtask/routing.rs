//! Which elements somebody takes. One that goes to a route which no sink takes would be a silent loss, so the manifest
//! says what happens to it (`on_error.unrouted`).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::config::Unrouted;

/// How many routes are told by name: a component may make up as many as it likes.
const ROUTES_TOLD: usize = 64;

/// What is known of the routes of a pipeline, beside what the converters of a subtask take.
#[derive(Debug)]
pub struct Routing {
    /// `when` of each sink that takes elements as they are; empty = every element.
    plain: Vec<Vec<String>>,
    unrouted: Unrouted,
    told: Mutex<BTreeSet<String>>,
}

/// Whether a sink with this `when` takes a route.
fn admits(when: &[String], route: &String) -> bool {
    when.is_empty() || when.contains(route)
}

impl Routing {
    /// `plain`: `when` of each sink that takes elements as they are, without a converter; empty = every element.
    #[must_use]
    pub fn new(plain: Vec<Vec<String>>, unrouted: Unrouted) -> Self {
        Self { plain, unrouted, told: Mutex::default() }
    }

    /// What happens to elements on a route that no sink takes.
    pub(super) const fn unrouted(&self) -> Unrouted {
        self.unrouted
    }

    /// Whether elements that go to every sink go to one that takes them as they are.
    pub(super) fn has_plain(&self) -> bool {
        !self.plain.is_empty()
    }

    /// Whether a sink takes elements of this route as they are.
    pub(super) fn is_plain(&self, route: &String) -> bool {
        self.plain.iter().any(|when| admits(when, route))
    }

    /// Whether this route is taken by a sink that takes elements as they are, or by one of `converted`.
    pub(super) fn is_taken<'a>(&self, route: &String, mut converted: impl Iterator<Item = &'a [String]>) -> bool {
        self.is_plain(route) || converted.any(|when| admits(when, route))
    }

    /// Says that elements of a route are dropped, once for each route of the run.
    pub(super) fn tell(&self, route: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= ROUTES_TOLD || told.contains(route) {
            return;
        }
        told.insert(route.to_owned());
        let is_last = told.len() == ROUTES_TOLD;
        drop(told);
        tracing::warn!(
            route,
            "no sink takes this route: its elements are counted and dropped, as on_error.unrouted = \"drop\" says"
        );
        if is_last {
            tracing::warn!(routes = ROUTES_TOLD, "further routes that no sink takes are counted and not told by name");
        }
    }
}
