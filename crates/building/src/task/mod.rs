//! Builds one package. A task is a separate process on any machine, with [`serve_task`] as its main function.
//!
//! The run and the process exchange JSON, one value per line. The order is the first line of standard input; when that
//! closes, the task ends everything.

mod building;
pub(crate) mod entering;
pub(crate) mod failed;
mod guarded;
pub(crate) mod installing;
mod packing;
pub(crate) mod place;
mod probing;
mod progress;
pub(crate) mod sandbox_run;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use patchadm_bulk_values::conf::{LimitName, Limits};
use patchadm_bulk_values::journal::FailureCause;
use patchadm_bulk_values::result::{KeyInputs, ResultKey};
use patchadm_rootfs::{LockError, RootError};
use serde::{Deserialize, Serialize};

use crate::sandbox::{ObjectOverrun, SandboxError, StopCause, UsageMeasure};
use crate::sources::ExpectedDistfile;

pub use building::serve_task;
pub use entering::{EnterSandboxError, EnteringCommand};
pub use packing::{PACKING, PackedIdentity, pack_in_enclosure};
pub use probing::{PROBE_PROCESS, serve_probe};
pub(crate) use probing::{VERSION, must_be_accessible, with_layer_kind};

/// Format of the lines.
pub const TASK_FORMAT: u32 = 1;

/// In bytes.
pub const LONGEST_LINE: usize = 64 << 10;

/// In bytes; the record is the largest part.
pub(crate) const LARGEST_ORDER: usize = 32 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOrder {
    pub task: u32,
    pub work: String,
    pub run: u64,
    pub package: String,
    pub location: String,
    pub key: ResultKey,
    pub inputs: KeyInputs,
    /// With DEPENDS, one field per line.
    pub record: String,
    /// The distfiles that it reads.
    pub distfiles: Vec<ExpectedDistfile>,
    /// Packages to install, in the order of their dependencies, with the keys of their results.
    pub install: Vec<(String, ResultKey)>,
    /// Packages also needed at run time.
    pub needs: Vec<String>,
    pub limits: Limits,
    pub jobs: u32,
    pub slot: String,
    /// Modification time of the sources, in seconds since 1970.
    pub source_date_epoch: i64,
    /// Use the host's network.
    pub has_network: bool,
    pub base: String,
    /// Only check an existing result.
    pub checks_only: bool,
    /// For the result, RFC 3339.
    pub time: String,
    /// Start of the command that performs the run, RFC 3339.
    #[serde(default)]
    pub began: String,
    /// Contents that may differ between two builds.
    #[serde(default)]
    pub varies: Vec<String>,
    /// The last success.
    #[serde(default)]
    pub previous: Option<ResultKey>,
    /// True on the run's machine: the run flushes results, many at a time, and removes task directories at its end.
    #[serde(default)]
    pub is_local: bool,
    /// Variables of `MULTI_VERSION`.
    pub variables: BTreeMap<String, String>,
}

impl TaskOrder {
    pub(crate) fn to_line(&self) -> Vec<u8> {
        // Strings and numbers: serializing these cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskEvent {
    /// The task works, on this machine and as this process.
    Started {
        host: String,
        pid: u32,
    },
    Phase(String),
    /// True while packages are being installed.
    Installs(bool),
    /// A sign of life.
    Alive {
        /// Peak in bytes.
        memory: u64,
        /// Bytes.
        log: u64,
    },
    End(TaskEnd),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEnd {
    /// `None` if the pool has the result.
    pub failure: Option<TaskFailure>,
    /// The machine's failure; nothing is known of the package then.
    pub trouble: Option<String>,
    /// No space for results and logs, on any machine.
    #[serde(default)]
    pub is_full: bool,
    /// No space in `build_dir` of its machine.
    #[serde(default)]
    pub lacks_room: bool,
    /// First file that differs from an existing result, after a rebuild.
    pub differs: Option<String>,
    pub ms: u64,
    pub cpu_ms: u64,
    /// Peak in bytes.
    pub peak_memory: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    pub cause: FailureCause,
    pub phase: Option<String>,
    pub detail: String,
    /// The exceeded limit, if any.
    pub limit: Option<u64>,
}

/// Maximum bytes of a reason: even with every byte escaped, it fits into a line.
const LONGEST_REASON: usize = 8 << 10;

/// Returns whole characters of at most this many bytes.
fn start_of(text: &str, most: usize) -> &str {
    let end =
        text.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= most).last();
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// Truncates a reason to fit into a line, except for names in a long list.
pub(crate) fn cut(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        let start = start_of(&reason, LONGEST_REASON);
        let words = start.rfind(char::is_whitespace).filter(|end| *end > LONGEST_REASON / 2);
        reason.truncate(words.map_or(start.len(), |end| end + 1));
        reason.push('…');
    }
    reason
}

impl TaskFailure {
    fn cut(self) -> Self {
        Self { detail: cut(self.detail), ..self }
    }

    pub fn of(cause: FailureCause, detail: impl Into<String>) -> Self {
        Self { cause, phase: None, detail: detail.into(), limit: None }
    }
}

impl TaskEnd {
    pub fn trouble(reason: impl Into<String>) -> Self {
        Self { trouble: Some(cut(reason.into())), ..Self::default() }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no space is left for {0}")]
    Full(String),
    #[error("no space is left in `build_dir`, {}", .0.display())]
    FullBuildDir(PathBuf),
    #[error("no space is left in `build_dir`: {0}")]
    NoRoom(String),
    #[error("space: little is left in `build_dir`, {}, and this build grew the most", .0.display())]
    GaveWay(PathBuf),
    #[error("memory: little is left on the machine, and this build used the most")]
    GaveMemory,
    /// Everything inside has ended with it. The kernel or somebody on the machine did that, or what ran inside: whoever
    /// knows what that was tries once more, and then blames it.
    #[error("the first process of its sandbox was ended by signal {0}")]
    Lost(i32),
}

impl TaskError {
    /// Turns a no-space error for kept data into [`TaskError::Full`].
    fn of_kept(self, kept: &str) -> Self {
        match self {
            Self::Root(error) | Self::Sandbox(SandboxError::Log(error)) if error.is_no_space() => {
                Self::Full(format!("{kept}: {error}"))
            }
            other => other,
        }
    }

    /// Returns true if a call failed because the file system or the quota is full, or only the reserve is left.
    fn is_no_space(&self) -> bool {
        match self {
            Self::Root(error) | Self::Sandbox(SandboxError::Log(error)) => error.is_no_space(),
            Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Returns true if `build_dir` has no space for the task.
    fn lacks_room(&self) -> bool {
        matches!(self, Self::FullBuildDir(_) | Self::NoRoom(_) | Self::GaveWay(_))
    }
}

#[derive(Debug)]
pub(crate) enum StepError {
    Package(TaskFailure),
    /// Nothing is known of the package.
    Machine(TaskError),
}

impl From<TaskFailure> for StepError {
    fn from(failure: TaskFailure) -> Self {
        Self::Package(failure)
    }
}

impl<E: Into<TaskError>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::Machine(error.into())
    }
}

/// `None` without an exceeded limit.
fn over_limit(stopped: Option<StopCause>, limits: &Limits, phase: Option<String>) -> Option<TaskFailure> {
    let (cause, used) = match stopped? {
        StopCause::Time(took) => (FailureCause::Time, format!("{} s", took.as_secs())),
        StopCause::Silence(silent) => {
            (FailureCause::Silence, format!("no output for {} s", silent.as_secs()))
        }
        StopCause::Memory(bytes, measure) => {
            let whose = match measure {
                UsageMeasure::ControlGroup => "in its control group",
                UsageMeasure::Looks => "in its processes",
            };
            (FailureCause::Memory, format!("{bytes} bytes of memory {whose}"))
        }
        StopCause::Processes(count, measure) => {
            let what = match measure {
                UsageMeasure::ControlGroup => "processes and threads in its control group",
                UsageMeasure::Looks => "processes and threads",
            };
            (FailureCause::Processes, format!("{count} {what}"))
        }
        StopCause::Processor(time) => {
            (FailureCause::Cpu, format!("a process that used {} s of CPU time", time.as_secs()))
        }
        StopCause::Disk(bytes) => (FailureCause::Disk, format!("{bytes} bytes on the disk")),
        StopCause::Closed(path) => (FailureCause::Disk, format!("{path} is a directory that cannot be read")),
        StopCause::InSocket => {
            let has_disk = limits.get(LimitName::Disk).is_some();
            let cause = if has_disk { FailureCause::Disk } else { FailureCause::Memory };
            (cause, "open files in a socket, where they cannot be counted".to_owned())
        }
        StopCause::Uncountable => {
            let has_disk = limits.get(LimitName::Disk).is_some();
            let cause = if has_disk { FailureCause::Disk } else { FailureCause::Memory };
            let detail = "open and mapped files that cannot be counted, because there are too many or their paths are too long";
            return Some(TaskFailure { phase, ..TaskFailure::of(cause, detail) });
        }
        StopCause::Objects(ObjectOverrun { kind, count, most }) => {
            // No setting widens it.
            let detail = format!("{count} {kind}, limit {most}");
            return Some(TaskFailure { phase, ..TaskFailure::of(FailureCause::Memory, detail) });
        }
        StopCause::Output(bytes) => (FailureCause::Output, format!("{bytes} bytes of output")),
        StopCause::Asked | StopCause::Space | StopCause::MachineMemory => return None,
    };
    let limit = cause.limit().and_then(|name| limits.get(name));
    let detail = format!("{used}, limit {}", limit.unwrap_or_default());
    Some(TaskFailure { cause, phase, detail, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_in_a_reason_ends_with_a_whole_name() {
        let names: Vec<String> = (0..2_000).map(|number| format!("/left/by/it/{number:05}")).collect();
        let detail = TaskFailure::of(FailureCause::Check, names.join(", ")).cut().detail;
        assert!(detail.len() <= LONGEST_REASON + '…'.len_utf8(), "{}", detail.len());
        let listed = detail.strip_suffix(", …").expect("it says that there are more");
        let count = listed.split(", ").count();
        assert_eq!(listed, names[..count].join(", "));
        // One word is cut between its characters.
        let detail = TaskFailure::of(FailureCause::Check, "ö".repeat(LONGEST_REASON)).cut().detail;
        assert_eq!(detail, format!("{}…", "ö".repeat(LONGEST_REASON / 2)));
    }
}
