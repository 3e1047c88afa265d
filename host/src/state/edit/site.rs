//! Where positions are, for whoever looks at them or changes them from outside a run: what both kinds of store answer.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::step::{Edit, Edited};
use crate::state::stored::StoredPipeline;
use crate::state::{Owner, PipelineId, StoreError, dynamodb, lock, sqlite};

/// A file or a table.
#[derive(Clone, Debug)]
pub enum Site {
    /// A SQLite file.
    File(PathBuf),
    /// A table of DynamoDB, and how it is reached.
    Table(Box<dynamodb::Options>),
}

/// What was found.
pub(super) struct Look {
    /// `None`: nothing of the pipeline.
    pub(super) stored: Option<StoredPipeline>,
    /// Who owned it, if a live process did; it may have left no name.
    pub(super) live: Option<Option<Owner>>,
}

impl Site {
    /// Looks, changing nothing. Of a table whose owner has not released it this waits until the owner is known to live,
    /// or a whole lease to know that it does not.
    pub(super) fn look(&self, pipeline: &PipelineId) -> Result<Look, StoreError> {
        match self {
            Self::File(path) => {
                let stored = sqlite::look(path, pipeline)?;
                let lock = lock::path_for(path, pipeline);
                let live = lock::holder(&lock);
                let live =
                    live.map_err(|source| StoreError::Io { doing: "lock", path: lock, source: source.into() })?;
                Ok(Look { stored, live })
            }
            Self::Table(options) => {
                let (stored, live) = dynamodb::look(options, pipeline)?;
                Ok(Look { stored, live: live.map(Some) })
            }
        }
    }

    /// Makes an edit, unless a live process owns the pipeline.
    pub(super) fn intervene(&self, edit: &Edit<'_>) -> Result<Edited, StoreError> {
        match self {
            Self::File(path) => sqlite::intervene(path, edit),
            Self::Table(options) => dynamodb::intervene(options, edit),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Table(options) => write!(f, "dynamodb:{}", options.table.name),
        }
    }
}

impl Serialize for Site {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<&Path> for Site {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for Site {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Site> for Site {
    fn from(site: &Site) -> Self {
        site.clone()
    }
}
