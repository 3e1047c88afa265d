//! What can go wrong with a component. Every error here is the component's doing unless it says otherwise, and its text
//! may be shown to the component's owner: it holds no path and no stack frame of the host.

use std::path::PathBuf;
use std::time::Duration;

use crate::component::Role;
use crate::component::validate::Violation;

/// What the host should do about an error that a component returned (`error-class` of the contract).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// It will never succeed: the pipeline's `on_error.poison` decides.
    Poison,
    /// The input is fine, something the component depends on was not: try again with a growing delay.
    Retryable,
    /// The instance's own state is suspect: it was dropped, replay the batch.
    Fatal,
}

/// An error as a component returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestError {
    /// What to do about it.
    pub class: ErrorClass,
    /// A metric label: 1 to 64 bytes of `a-z`, `0-9`, `-`, `_` and `.`; `invalid-code` if the component sent another.
    pub code: String,
    /// For a reader: at most 1,024 bytes, control characters escaped.
    pub message: String,
}

impl std::fmt::Display for GuestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Why a call into a component failed. After each of them but [`ComponentError::Refused`] of class poison or retryable
/// the instance is gone, and the next call makes a fresh one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentError {
    /// The code trapped, or broke a rule of the component model.
    #[error("the component trapped in {during}: {reason}{}; the fault is in its code", LastWords(.last_words.as_deref()))]
    Trapped {
        /// The exported function, or `start`.
        during: &'static str,
        /// The WebAssembly reason, in one line.
        reason: String,
        /// The end of what the component wrote to standard error during the call, such as a panic's message.
        last_words: Option<String>,
    },
    /// It used up its CPU time.
    #[error(
        "the component used {used:.0?} of CPU in {during}, its budget is {budget:?}; mend its loop{}",
        OrRaise(.during, "limits.cpu_per_batch")
    )]
    CpuBudgetExceeded {
        /// The exported function, or `start`.
        during: &'static str,
        /// When the host stopped it.
        used: Duration,
        /// What it may use.
        budget: Duration,
    },
    /// It took too long.
    #[error("the component did not return from {during} within {budget:?}; mend it{}", OrRaise(.during, "limits.wall_per_batch"))]
    TimedOut {
        /// The exported function, or `start`.
        during: &'static str,
        /// What it may take.
        budget: Duration,
    },
    /// It asked for more memory than it may have, and gave up when it did not get it.
    #[error(
        "the component ran out of memory in {during}: its memories and tables may hold {limit} bytes in all; mend its leak or raise `limits.memory`"
    )]
    OutOfMemory {
        /// The exported function, or `start`.
        during: &'static str,
        /// Bytes it may have.
        limit: usize,
    },
    /// It returned more than it may.
    #[error(
        "the component handed over more than {limit} bytes in one call of {during}; mend it{}",
        OrRaise(.during, OUTPUT_RATIO)
    )]
    OutputTooLarge {
        /// The exported function.
        during: &'static str,
        /// Bytes it may return, with all columns counted.
        limit: usize,
    },
    /// What it returned breaks the contract.
    #[error("the component broke the contract: {0}; nothing of what it returned was used")]
    Violation(#[from] Violation),
    /// It returned an error for the whole call.
    #[error("the component refused {during}: {} ({})", .error.message, .error.code)]
    Refused {
        /// `open`, `deserialize`, `convert`, `assign` or `close`.
        during: &'static str,
        /// What it said.
        error: GuestError,
    },
    /// The host has no room for another instance. The host's fault, not the component's.
    #[error("this host has no room for another instance: {reason}; run fewer pipelines or subtasks in one process")]
    NoRoom {
        /// Which resource ran out.
        reason: String,
    },
}

impl ComponentError {
    /// Whether the component asks for the same call again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error.class == ErrorClass::Retryable)
    }

    /// Whether the component is to blame; the host is otherwise.
    #[must_use]
    pub fn is_components_fault(&self) -> bool {
        !matches!(self, Self::NoRoom { .. })
    }

    /// A low-cardinality name for metrics and dead letters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trapped { .. } => "trapped",
            Self::CpuBudgetExceeded { .. } => "cpu-budget-exceeded",
            Self::TimedOut { .. } => "timed-out",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::OutputTooLarge { .. } => "output-too-large",
            Self::Violation(_) => "contract-violation",
            Self::Refused { .. } => "refused",
            Self::NoRoom { .. } => "no-room",
        }
    }

    /// Whether the instance is still good for the next call.
    #[must_use]
    pub fn leaves_the_instance_usable(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error.class != ErrorClass::Fatal)
    }
}

const OUTPUT_RATIO: &str = "limits.output_ratio";

/// Batches and rounds have limits that the manifest sets; what is called once has fixed ones.
struct OrRaise<'a>(&'a str, &'static str);

impl std::fmt::Display for OrRaise<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            // A round's answer is bounded by its question: an honest one never grows too large.
            "assign" if self.1 == OUTPUT_RATIO => Ok(()),
            "deserialize" | "convert" | "assign" => write!(f, " or raise `{}`", self.1),
            _ => Ok(()),
        }
    }
}

struct LastWords<'a>(Option<&'a str>);

impl std::fmt::Display for LastWords<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(words) => write!(f, " (it said: {words})"),
            None => Ok(()),
        }
    }
}

/// Why a component cannot be used at all. Shown to whoever wrote the manifest, so it names the file as they did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read component {}: check the path and its permissions", .path.display())]
    Unreadable {
        /// As the caller gave it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any component should be.
    #[error(
        "component {} has {size} bytes, {max} are allowed: build it for release and strip it", .path.display()
    )]
    TooBig {
        /// As the caller gave it.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// Allowed size in bytes.
        max: u64,
    },
    /// The file is something else.
    #[error("{} is not a WebAssembly component: {what}", .path.display())]
    NotAComponent {
        /// As the caller gave it.
        path: PathBuf,
        /// What it is instead, and what to do.
        what: &'static str,
    },
    /// It does not validate or compile.
    #[error("component {} is not valid here: {reason}", .path.display())]
    Invalid {
        /// As the caller gave it.
        path: PathBuf,
        /// What the compiler said, in one line.
        reason: String,
    },
    /// It does not play the role that the manifest gives it.
    #[error(
        "component {} cannot be a {role}: it does not export {missing}; {}", .path.display(), Roles(.found)
    )]
    WrongRole {
        /// As the caller gave it.
        path: PathBuf,
        /// The role that was asked for.
        role: Role,
        /// The first interface that it lacks.
        missing: String,
        /// The roles that it has.
        found: Vec<Role>,
    },
    /// It has the role, and this host does not run it.
    #[error("component {} is a {role}, which this host does not run", .path.display())]
    RoleNotRun {
        /// As the caller gave it.
        path: PathBuf,
        /// The role that was asked for.
        role: Role,
    },
    /// It was built against another version of the contract.
    #[error(
        "component {} was made for {found}, this host speaks version {host}: build it against that version of the contract", .path.display()
    )]
    ContractVersion {
        /// As the caller gave it.
        path: PathBuf,
        /// The interface and version that it names.
        found: String,
        /// The version of the host.
        host: &'static str,
    },
    /// It imports what it was not granted.
    #[error("component {} imports what it is not granted: {}; {advice}", .path.display(), .imports.join(", "))]
    NotGranted {
        /// As the caller gave it.
        path: PathBuf,
        /// The interfaces, as the component names them.
        imports: Vec<String>,
        /// What to do.
        advice: &'static str,
    },
    /// Its interfaces have the right names and the wrong types.
    #[error("component {} does not fit the contract: {reason}; build it against the host's wit/", .path.display())]
    Mismatch {
        /// As the caller gave it.
        path: PathBuf,
        /// Which item differs, in one line.
        reason: String,
    },
}

struct Roles<'a>(&'a [Role]);

impl std::fmt::Display for Roles<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("it has no role of this contract");
        }
        f.write_str("it is a ")?;
        for (index, role) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " and a " };
            write!(f, "{separator}{role}")?;
        }
        Ok(())
    }
}
