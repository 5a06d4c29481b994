//! A package is built: in a sandbox with what it needs installed, and what comes out is packed, checked and kept.

use std::path::Path;
use std::time::Duration;

use patchadm_bulk::conf::{CheckLevel, LimitName, Limits};
use patchadm_bulk::journal::FailureCause;
use patchadm_core::namespaces::EnclosureEnd;

use super::build_sandbox::{build_command, build_root, install, lay_out};
use super::checking::check;
use super::inputs::{BuildCosts, TaskInputs};
use super::keeping::{KeptBuild, copy_result, keep, keep_check};
use super::made_pkginfo::PackageIdentity;
use super::order::{TaskEnd, TaskEvent, TaskFailure};
use super::packing::{PackedResult, PackingInput};
use super::packing_process::pack_in_sandbox;
use super::sandbox_run::{memory_file, run_to_end};
use super::step::{StepError, TaskError};
use super::teller::TaskTeller;
use super::watch::TaskWatch;
use crate::control_groups::GroupLimits;
use crate::driver::DRIVER_INSIDE;
use crate::keys::{changed_file, machine_type};
use crate::runs::log_directory;
use crate::sandbox::{SandboxEnd, SandboxLimits, SandboxWatch, StopCause, TaskLog, UsageMeasure, enclosure};

/// Whoever is told of the task, and what is seen of it while it is at work.
type ToldTask<'a> = (&'a TaskTeller, &'a TaskWatch<'a>);

/// Carries out the task.
pub(super) fn build(inputs: &TaskInputs<'_>, teller: &TaskTeller) -> Result<TaskEnd, TaskError> {
    let mut costs = BuildCosts::default();
    let watch = TaskWatch::of(teller, &inputs.work.conf.build_dir);
    let stepped = steps(inputs, (teller, &watch), &mut costs).map_err(|error| watch.blame(error));
    let (differs, failure) = match stepped {
        Ok(differs) => (differs, None),
        Err(StepError::Package(failure)) => (None, Some(failure)),
        Err(StepError::Machine(error)) => return Err(error.of_kept("logs")),
    };
    let BuildCosts { ms, cpu_ms, peak_memory, .. } = costs;
    Ok(TaskEnd {
        failure,
        trouble: None,
        is_full: false,
        lacks_room: false,
        differs,
        ms,
        cpu_ms,
        peak_memory,
    })
}

fn steps(
    inputs: &TaskInputs<'_>,
    told: ToldTask<'_>,
    costs: &mut BuildCosts,
) -> Result<Option<String>, StepError> {
    let order = inputs.order;
    let logs = log_directory(inputs.work, order.run)?;
    let name = format!("{}.log", order.package);
    logs.remove(name.as_bytes())?;
    let mut log = TaskLog::begin(logs.create(name.as_bytes())?, order.limits.get(LimitName::Output));
    let mut ticks = |memory, bytes| told.1.tick(memory, bytes);
    let layer = install(inputs, &mut log, &mut ticks)?;
    let results = inputs.place.empty("results")?;
    let packed = if order.checks_only {
        copy_result(inputs, &results)?
    } else {
        built(inputs, layer.as_deref(), &mut log, told, costs)?
    };
    let level = inputs.work.conf.check;
    let mut leftovers = Vec::new();
    if level != CheckLevel::None && !packed.packages.is_empty() {
        leftovers = check(inputs, layer.as_deref(), &packed, (&mut log, &mut ticks))?;
        if level == CheckLevel::Strict && !leftovers.is_empty() {
            let detail = format!("after its removal there are still {}", leftovers.join(", "));
            return Err(TaskFailure::of(FailureCause::Check, detail).into());
        }
    }
    if order.checks_only {
        keep_check(inputs, leftovers)?;
        return Ok(None);
    }
    let build = KeptBuild { results: &results, packed: &packed, leftovers, level, costs, logs: &logs };
    Ok(keep(inputs, &build).map_err(|error| error.of_kept("results"))?)
}

/// Builds and packs.
fn built(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    log: &mut TaskLog,
    told: ToldTask<'_>,
    costs: &mut BuildCosts,
) -> Result<PackedResult, StepError> {
    lay_out(inputs, layer)?;
    run(inputs, layer, log, told, costs)?;
    let order = inputs.order;
    if let Some(file) = changed_file(&inputs.work.conf.tree, &order.location, &order.inputs) {
        let detail = format!("its recipe was changed while it was built: {file}");
        return Err(TaskFailure::of(FailureCause::Result, detail).into());
    }
    pack_output(inputs, log, told)
}

/// Runs the build.
fn run(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    log: &mut TaskLog,
    told: ToldTask<'_>,
    costs: &mut BuildCosts,
) -> Result<(), StepError> {
    let (order, place) = (inputs.order, inputs.place);
    let root = build_root(inputs, layer);
    let command = build_command(inputs, vec![format!("{DRIVER_INSIDE}/build").into()]);
    let limits = sandbox_limits(&order.limits);
    let enclosure = enclosure(&root, command, &limits, Some(place.inside()))?;
    let input = memory_file(&order.record)?;
    let written = ["upper", "work", "out"].map(|part| place.part(part));
    let began = std::time::Instant::now();
    let mut phases = Vec::new();
    let mut phase = |name: String| {
        phases.push((name.clone(), u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)));
        told.0.tell(&TaskEvent::Phase(name));
    };
    let mut ticks = |memory, bytes| told.1.tick(memory, bytes);
    let mut group = place.control_group(GroupLimits { memory: limits.memory, processes: limits.processes });
    let mut watch =
        SandboxWatch { group: &mut group, written: &written, phase: &mut phase, ticks: &mut ticks };
    let ended = run_to_end(place, &enclosure, (&limits, &input), log, &mut watch)?;
    costs.ms = u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX);
    (costs.cpu_ms, costs.peak_memory) = (ended.processor_ms, ended.peak_memory);
    let last = phases.last().map(|(name, _)| name.clone());
    costs.phases = phases;
    failure_of(&ended, &order.limits, last).map_or(Ok(()), |failure| Err(failure.into()))
}

/// Returns the failure of a build that has ended like this.
fn failure_of(ended: &SandboxEnd, limits: &Limits, phase: Option<String>) -> Option<TaskFailure> {
    let over = |cause: FailureCause, used: String| {
        let limit = cause.limit().and_then(|name| limits.get(name));
        let detail = format!("{used}, limit {}", limit.unwrap_or_default());
        Some(TaskFailure { cause, phase: phase.clone(), detail, limit })
    };
    match ended.stopped {
        Some(StopCause::Time(took)) => over(FailureCause::Time, format!("{} s", took.as_secs())),
        Some(StopCause::Silence(silent)) => {
            over(FailureCause::Silence, format!("no output for {} s", silent.as_secs()))
        }
        Some(StopCause::Memory(bytes, measure)) => {
            let whose = match measure {
                UsageMeasure::ControlGroup => "in its control group",
                UsageMeasure::Looks => "in its processes",
            };
            over(FailureCause::Memory, format!("{bytes} bytes of memory {whose}"))
        }
        Some(StopCause::Processes(count, measure)) => {
            let what = match measure {
                UsageMeasure::ControlGroup => "processes and threads in its control group",
                UsageMeasure::Looks => "processes",
            };
            over(FailureCause::Processes, format!("{count} {what}"))
        }
        Some(StopCause::Processor(time)) => {
            over(FailureCause::Cpu, format!("a process with {} s of processor time", time.as_secs()))
        }
        Some(StopCause::Disk(bytes)) => over(FailureCause::Disk, format!("{bytes} bytes on the disk")),
        Some(StopCause::Output(bytes)) => over(FailureCause::Output, format!("{bytes} bytes of output")),
        Some(StopCause::Asked) | None => match ended.end {
            // That one was lost is no failure of the package.
            Some(EnclosureEnd::Exited(0) | EnclosureEnd::Lost(_)) | None => None,
            Some(EnclosureEnd::Exited(code)) => {
                let detail = format!("exit {code}");
                Some(TaskFailure { cause: FailureCause::Exit, phase, detail, limit: None })
            }
            Some(EnclosureEnd::Signalled(signal)) => {
                let detail = format!("signal {signal}");
                Some(TaskFailure { cause: FailureCause::Signal, phase, detail, limit: None })
            }
        },
    }
}

fn sandbox_limits(limits: &Limits) -> SandboxLimits {
    let time = |name| limits.get(name).map(Duration::from_secs);
    SandboxLimits {
        time: time(LimitName::Time),
        silence: time(LimitName::Silence),
        cpu: time(LimitName::Cpu),
        memory: limits.get(LimitName::Memory),
        processes: limits.get(LimitName::Processes),
        disk: limits.get(LimitName::Disk),
    }
}

/// Packs what the build has left.
fn pack_output(
    inputs: &TaskInputs<'_>,
    log: &mut TaskLog,
    told: ToldTask<'_>,
) -> Result<PackedResult, StepError> {
    let (order, place) = (inputs.order, inputs.place);
    let field = |name: &str| {
        let value = order.record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().to_owned()
    };
    let (name, version) = order.package.rsplit_once('-').unwrap_or((&order.package, "0"));
    let identity = PackageIdentity {
        name: name.to_owned(),
        version: version.to_owned(),
        location: order.location.clone(),
        categories: field("CATEGORIES").split_ascii_whitespace().map(str::to_owned).collect(),
        machine: machine_type(),
        stamp: format!("bulk{}", order.source_date_epoch),
    };
    let needs = inputs.install.iter().filter(|entry| order.needs.contains(&entry.result.pkgname));
    let needs = needs.flat_map(|entry| &entry.result.packages).map(|package| package.pkg.clone()).collect();
    place.empty("made")?;
    let input = PackingInput {
        out: "/out".into(),
        scratch: "/made".into(),
        to: "/results".into(),
        identity,
        needs,
        latest: order.source_date_epoch,
        of_host: inputs.base.mounted.clone(),
        limit: order.limits.get(LimitName::Disk),
    };
    let mut ticks = |memory, bytes| told.1.tick(memory, bytes);
    pack_in_sandbox(inputs, &input, (log, &mut ticks))
}
