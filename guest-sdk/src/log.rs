//! Log lines with fields. The host adds tenant, pipeline, stage and subtask, and limits the rate.
//!
//! ```
//! use sluicebox_guest::log;
//! log::warn!("unknown currency", currency = "XTS", amount = 12);
//! ```

use std::fmt::Display;

use crate::host;

pub use crate::{__debug as debug, __error as error, __info as info, __trace as trace, __warn as warn};

/// How much a line matters, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each step, for the author.
    Trace,
    /// What an author needs to find a fault.
    Debug,
    /// What an operator likes to know.
    Info,
    /// Something is wrong and the component copes.
    Warn,
    /// Something is lost.
    Error,
}

/// Whether a line of this level is kept. The macros ask before they format anything.
#[must_use]
pub fn enabled(level: Level) -> bool {
    level >= host::max_level()
}

/// Writes a line. The host keeps 4,096 bytes of the message and 16 fields. Constant messages with facts in fields are
/// easier to find again.
pub fn emit(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    host::emit(level, message, fields);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $message:expr $(, $field:ident = $value:expr)* $(,)?) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::emit($crate::log::Level::$level, $message, &[$((stringify!($field), &$value)),*]);
        }
    };
}

/// Writes a line of level trace.
#[doc(hidden)]
#[macro_export]
macro_rules! __trace { ($($line:tt)*) => { $crate::__log!(Trace, $($line)*) }; }

/// Writes a line of level debug.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug { ($($line:tt)*) => { $crate::__log!(Debug, $($line)*) }; }

/// Writes a line of level info.
#[doc(hidden)]
#[macro_export]
macro_rules! __info { ($($line:tt)*) => { $crate::__log!(Info, $($line)*) }; }

/// Writes a line of level warn.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn { ($($line:tt)*) => { $crate::__log!(Warn, $($line)*) }; }

/// Writes a line of level error.
#[doc(hidden)]
#[macro_export]
macro_rules! __error { ($($line:tt)*) => { $crate::__log!(Error, $($line)*) }; }
