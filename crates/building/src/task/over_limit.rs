//! The failure of a package whose commands went over one of its limits, in whichever sandbox.

use patchadm_bulk_values::conf::Limits;
use patchadm_bulk_values::journal::FailureCause;

use super::order::TaskFailure;
use crate::sandbox::{StopCause, UsageMeasure};

/// Returns the failure; none if no limit was the reason for the end.
pub(super) fn over_limit(
    stopped: Option<StopCause>,
    limits: &Limits,
    phase: Option<String>,
) -> Option<TaskFailure> {
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
                UsageMeasure::Looks => "processes",
            };
            (FailureCause::Processes, format!("{count} {what}"))
        }
        StopCause::Processor(time) => {
            (FailureCause::Cpu, format!("a process with {} s of processor time", time.as_secs()))
        }
        StopCause::Disk(bytes) => (FailureCause::Disk, format!("{bytes} bytes on the disk")),
        StopCause::Closed(path) => (
            FailureCause::Disk,
            format!("{path} is a directory that cannot be read, which may hold anything"),
        ),
        StopCause::Output(bytes) => (FailureCause::Output, format!("{bytes} bytes of output")),
        StopCause::Asked => return None,
    };
    let limit = cause.limit().and_then(|name| limits.get(name));
    let detail = format!("{used}, limit {}", limit.unwrap_or_default());
    Some(TaskFailure { cause, phase, detail, limit })
}
