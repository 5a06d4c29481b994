//! A package is built: in a sandbox with what it needs installed, and what comes out is packed, checked and kept.

use std::path::Path;

use patchadm_bulk_values::conf::{CheckLevel, LimitName, Limits};
use patchadm_bulk_values::journal::FailureCause;
use patchadm_core::namespaces::EnclosureEnd;

use super::build_sandbox::{build_command, build_root, install, lay_out};
use super::checking::check;
use super::inputs::{BuildCosts, TaskInputs};
use super::keeping::{KeptBuild, copy_result, keep, keep_check};
use super::made_pkginfo::PackageIdentity;
use super::order::{TaskEnd, TaskEvent, TaskFailure};
use super::over_limit::over_limit;
use super::packing::{PackedResult, PackingInput};
use super::packing_process::pack_in_sandbox;
use super::sandbox_run::{memory_file, run_to_end};
use super::step::{StepError, TaskError};
use super::teller::TaskTeller;
use super::watch::TaskWatch;
use crate::driver::DRIVER_INSIDE;
use crate::first_names::first_names;
use crate::keys::{changed_file, machine_type};
use crate::logs::{remove_phase_logs, write_phase_logs};
use crate::object_places::root_of_base;
use crate::runs::log_directory;
use crate::sandbox::{SandboxEnd, SandboxLimits, SandboxWatch, TaskLog, enclosure};
use crate::shared_paths::{OF_BASE, must_be_beside};
use crate::tree_files::TreeFiles;

/// Whoever is told of the task, and what is seen of it while it is at work.
type ToldTask<'a> = (&'a TaskTeller, &'a TaskWatch<'a>);

/// The phase in which a build fails for want of a distfile.
const FETCH_PHASE: &str = "fetch";

/// The maximum number of phases reported for one build.
const MOST_PHASES: usize = 1_000;

/// Carries out the task.
pub(super) fn build(inputs: &TaskInputs<'_>, teller: &TaskTeller) -> Result<TaskEnd, TaskError> {
    let mut costs = BuildCosts::default();
    let watch = TaskWatch::of(teller, &inputs.work.conf.build_dir);
    let stepped = steps(inputs, (teller, &watch), &mut costs).map_err(|error| watch.blame(error));
    let (differs, failure) = match stepped {
        Ok(differs) => (differs, None),
        Err(StepError::Package(failure)) => {
            let logs = log_directory(inputs.work, inputs.order.run)?;
            let written = write_phase_logs(&logs, &inputs.order.package);
            written.map_err(|error| TaskError::from(error).of_kept("logs"))?;
            (None, Some(failure.cut()))
        }
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
    let (order, teller) = (inputs.order, told.0);
    let logs = log_directory(inputs.work, order.run)?;
    let name = format!("{}.log", order.package);
    logs.remove(name.as_bytes())?;
    remove_phase_logs(&logs, &order.package)?;
    let mut log = TaskLog::begin(logs.create(name.as_bytes())?, order.limits.get(LimitName::Output));
    let mut ticks = |memory, bytes| told.1.tick(memory, bytes);
    teller.installs(true);
    let layer = install(inputs, &mut log, &mut ticks)?;
    teller.installs(false);
    let results = inputs.place.empty("results")?;
    let packed = if order.checks_only {
        copy_result(inputs, &results)?
    } else {
        built(inputs, layer.as_deref(), &mut log, told, costs)?
    };
    must_be_beside_base(inputs, &packed)?;
    let level = inputs.work.conf.check;
    let mut leftovers = Vec::new();
    if level != CheckLevel::None && !packed.packages.is_empty() {
        teller.installs(true);
        leftovers = check(inputs, layer.as_deref(), &packed, (&mut log, &mut ticks))?;
        teller.installs(false);
        if level == CheckLevel::Strict && !leftovers.is_empty() {
            let detail = format!("after its removal there are still {}", first_names(&leftovers));
            return Err(TaskFailure::of(FailureCause::Check, detail).into());
        }
    }
    if order.checks_only {
        keep_check(inputs, leftovers)?;
        return Ok(None);
    }
    let build = KeptBuild { results: &results, packed: &packed, leftovers, level, costs, logs: &logs };
    keep(inputs, &build).map_err(|error| match error {
        StepError::Machine(error) => error.of_kept("results").into(),
        failed @ StepError::Package(_) => failed,
    })
}

/// Checks that a result has nothing in the place of an object of a base that is a directory of its own.
fn must_be_beside_base(inputs: &TaskInputs<'_>, packed: &PackedResult) -> Result<(), StepError> {
    let Some(base) = root_of_base(&inputs.work.conf.base)? else { return Ok(()) };
    for (file, _) in &packed.packages {
        let detail = match must_be_beside(&base, &inputs.place.part("results").join(file))? {
            Ok(None) => continue,
            Ok(Some(conflict)) => format!("it delivers {}, which is that of {OF_BASE}", conflict.path),
            Err(error) => error.to_string(),
        };
        return Err(TaskFailure::of(FailureCause::Result, detail).into());
    }
    Ok(())
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
    let files = TreeFiles::of_tree(&inputs.work.conf.tree, inputs.base.ids.reader(inputs.user.id()));
    if let Some(file) = changed_file(&files, &order.location, &order.inputs) {
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
    let limits = SandboxLimits::of(&order.limits);
    let enclosure = enclosure(&root, command, &limits, Some(place.inside()))?;
    let input = memory_file(&order.record)?;
    let written = ["upper", "work", "out"].map(|part| place.part(part));
    let began = std::time::Instant::now();
    let mut phases = Vec::new();
    let mut phase = |name: String| {
        if phases.len() >= MOST_PHASES {
            return;
        }
        phases.push((name.clone(), u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)));
        told.0.tell(&TaskEvent::Phase(name));
    };
    let mut ticks = |memory, bytes| told.1.tick(memory, bytes);
    let mut group = place.control_group(limits.of_group());
    let mut watch = SandboxWatch {
        group: &mut group,
        written: &written,
        errors: None,
        phase: &mut phase,
        ticks: &mut ticks,
    };
    let ended = run_to_end(place, &enclosure, (&limits, &input), log, &mut watch)?;
    costs.ms = u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX);
    (costs.cpu_ms, costs.peak_memory) = (ended.processor_ms, ended.peak_memory);
    let last = phases.last().map(|(name, _)| name.clone());
    costs.phases = phases;
    failure_of(&ended, &order.limits, last).map_or(Ok(()), |failure| Err(failure.into()))
}

/// Returns the failure of a build that has ended like this.
fn failure_of(ended: &SandboxEnd, limits: &Limits, phase: Option<String>) -> Option<TaskFailure> {
    if let Some(failure) = over_limit(ended.stopped.clone(), limits, phase.clone()) {
        return Some(failure);
    }
    let (cause, detail) = match ended.end? {
        // That one was lost is no failure of the package.
        EnclosureEnd::Exited(0) | EnclosureEnd::Lost(_) => return None,
        EnclosureEnd::Exited(code) => {
            let is_fetch = phase.as_deref() == Some(FETCH_PHASE);
            let cause = if is_fetch { FailureCause::Distfile } else { FailureCause::Exit };
            (cause, format!("exit {code}"))
        }
        EnclosureEnd::Signalled(signal) => (FailureCause::Signal, format!("signal {signal}")),
    };
    Some(TaskFailure { phase, ..TaskFailure::of(cause, detail) })
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
