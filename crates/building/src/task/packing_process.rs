//! The process that packs what a build has left. It has the rights of the build, and sees three directories and nothing of the
//! machine, so whatever the output holds, nothing else gets into a package. No process of the build is alive any more.

use std::fs::File;
use std::io;
use std::time::Duration;

use patchadm_bulk_values::conf::{LimitName, Limits};
use patchadm_bulk_values::journal::FailureCause;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_rootfs::Dir;
use patchadm_svr4::package::{Mode, Params};
use serde::{Deserialize, Serialize};

use super::inputs::TaskInputs;
use super::order::TaskFailure;
use super::over_limit::over_limit;
use super::packing::{NOTED, PackedResult, PackingInput, pack};
use super::place::VIEW;
use super::sandbox_run::{Ticks, fail_if_full, memory_file, run_work};
use super::step::{StepError, TaskError};
use crate::sandbox::{SandboxLimits, StopCause, TaskLog, enclosure_of_work};

/// The name of packing as a work that the first process of an enclosure does itself.
pub const PACKING: &str = "pack";

/// The file in the scratch directory with what came of it.
const ANSWER: &str = "answer.json";

/// The largest answer, in bytes.
const LARGEST_ANSWER: u64 = 16 << 20;

/// The time that packing may take, and the bytes that it needs for itself.
const LONGEST: Duration = Duration::from_secs(1800);
const ROOM: u64 = 64 << 20;

/// What came of packing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PackingAnswer {
    /// These packages, each a file with parameters, and these other files.
    Packed { packages: Vec<(String, Vec<(String, String)>)>, files: Vec<String>, remarks: Vec<String> },
    /// What was left is no result.
    Failed(TaskFailure),
    /// The machine has failed.
    Trouble(String),
}

/// Packs what an order says, in an enclosure.
pub fn pack_in_enclosure(order: File) -> io::Result<i32> {
    let input: PackingInput = serde_json::from_reader(order)?;
    let answer = match pack(&input) {
        Ok(PackedResult { packages, files, remarks }) => {
            let noted = |params: &Params| {
                NOTED.iter().map(|name| ((*name).to_owned(), params.text(name).into_owned())).collect()
            };
            let packages = packages.into_iter().map(|(file, params)| (file, noted(&params))).collect();
            PackingAnswer::Packed { packages, files, remarks }
        }
        Err(StepError::Package(failure)) => PackingAnswer::Failed(failure.cut()),
        Err(StepError::Machine(error)) => PackingAnswer::Trouble(error.to_string()),
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    if bytes.len() as u64 > LARGEST_ANSWER {
        let detail = format!("its packages have {} bytes of parameters and names", bytes.len());
        bytes = serde_json::to_vec(&PackingAnswer::Failed(TaskFailure::of(FailureCause::Result, detail)))?;
    }
    let scratch = Dir::of_host(&input.scratch).map_err(io::Error::other)?;
    let mut file = scratch.create(ANSWER.as_bytes()).map_err(io::Error::other)?;
    file.put(&bytes).map_err(io::Error::other)?;
    Ok(0)
}

/// Packs what a build has left, in a sandbox with nothing but that, an empty directory, and one for the results.
pub(super) fn pack_in_sandbox(
    inputs: &TaskInputs<'_>,
    input: &PackingInput,
    (log, ticks): (&mut TaskLog, Ticks<'_>),
) -> Result<PackedResult, StepError> {
    let (place, ids) = (inputs.place, inputs.base.ids);
    let parts = [("out", &input.out), ("made", &input.scratch), ("results", &input.to)];
    for (part, _) in parts {
        ids.give(&place.dir, part.as_bytes(), inputs.user.id())?;
    }
    let directories = parts.map(|(part, inside)| (place.part(part), inside.clone()));
    let view = place.part(VIEW);
    let limits = packing_limits(&inputs.order.limits);
    let enclosure =
        enclosure_of_work(PACKING, (&view, &directories), (ids, inputs.user), &limits, place.inside());
    // A value of strings and numbers: serialising it cannot fail.
    let order = memory_file(&serde_json::to_string(input).unwrap_or_default())?;
    let written = ["made", "results"].map(|part| place.part(part));
    let ended = run_work(place, enclosure, (&limits, order), (&written, log), ticks)?;
    if ended.end != Some(EnclosureEnd::Exited(0)) {
        fail_if_full(&place.path)?;
        let phase = Some("pack".to_owned());
        return Err(match (ended.end, ended.stopped) {
            (_, Some(StopCause::Time(took))) => {
                let detail = format!("it took {} s to pack it", took.as_secs());
                TaskFailure::of(FailureCause::Result, detail).into()
            }
            (end, stopped) => match over_limit(stopped, &inputs.order.limits, phase) {
                Some(failure) => failure.into(),
                None => io::Error::other(format!(
                    "the process that packs ended otherwise than it should: {end:?}"
                ))
                .into(),
            },
        });
    }
    let scratch = Dir::of_host(&place.part("made"))?;
    let answer = scratch.read_regular(ANSWER.as_bytes(), LARGEST_ANSWER)?.unwrap_or_default();
    match serde_json::from_slice(&answer).map_err(io::Error::from)? {
        PackingAnswer::Packed { packages, files, remarks } => {
            let packages = packages.into_iter().map(|(file, noted)| {
                let mut params = Params::new();
                for (name, value) in &noted {
                    params.set(name, value);
                }
                (file, params)
            });
            let packed = PackedResult { packages: packages.collect(), files, remarks };
            take_back(inputs, &packed)?;
            Ok(packed)
        }
        PackingAnswer::Failed(failure) => Err(failure.into()),
        PackingAnswer::Trouble(reason) => {
            fail_if_full(&place.path)?;
            Err(TaskError::Io(io::Error::other(reason)).into())
        }
    }
}

/// Returns the limits for packing: the package's own, plus space for intermediate files and for the result. Each is about as
/// large as the output of a build may be.
fn packing_limits(limits: &Limits) -> SandboxLimits {
    let disk = limits.get(LimitName::Disk).unwrap_or_default();
    let limits = SandboxLimits::of(limits).within(Some(LONGEST));
    let limits = limits.with_room(disk.saturating_mul(2).saturating_add(ROOM));
    // It is a process of ours, which ends by itself.
    SandboxLimits { cpu: None, ..limits }
}

/// Makes what was packed readable for the sandboxes to come.
fn take_back(inputs: &TaskInputs<'_>, packed: &PackedResult) -> Result<(), StepError> {
    let results = Dir::of_host(&inputs.place.part("results"))?;
    for file in packed.packages.iter().map(|(file, _)| file).chain(&packed.files) {
        results.set_mode(file.as_bytes(), Mode::of(0o644))?;
    }
    Ok(())
}
