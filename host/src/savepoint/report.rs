//! What `sluicebox savepoint inspect` prints for people; its JSON is the file's.

use std::fmt;

use super::{Savepoint, components};
use crate::state::Ending;
use crate::state::edit::Table;

impl fmt::Display for Savepoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (content, stored) = (self.content(), self.stored());
        writeln!(f, "savepoint of pipeline {}, generation {}", self.pipeline(), stored.generation)?;
        let claim = stored.claims.get(&stored.generation);
        let by = claim.map_or("nobody known", |claim| claim.owner.name.as_str());
        let how = match (content.running, claim.map(|claim| claim.ending)) {
            (true, _) => format!("while {by} ran it"),
            (false, Some(Ending::Unreleased)) => format!("after {by}, which died, had it"),
            (false, Some(Ending::Released) | None) => format!("after {by} had it"),
        };
        writeln!(f, "  taken         {}, {how}", content.taken_at)?;
        writeln!(f, "  with          sluicebox {}, parallelism {}", content.sluicebox, content.parallelism)?;
        writeln!(f, "  hash          {}, verified", self.hash())?;
        for component in components(stored) {
            writeln!(f, "  {:<12}  {}", component.role, component.digest)?;
        }
        write!(f, "{}", Table::of(stored, self.pipeline()))
    }
}
