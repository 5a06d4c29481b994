//! The process of a task: installs dependencies, builds, packs and checks the package, and moves it into the pool.
//!
//! It reads its order from standard input, and writes events to standard output.

use std::collections::BTreeMap;
use std::io;
use std::io::{BufRead as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use patchadm_bulk_values::conf::{CheckLevel, LimitName, Limits};
use patchadm_bulk_values::journal::FailureCause;
use patchadm_bulk_values::result::{
    Blake3Digest, BuildResult, NewResult, PhaseTime, ResultFile, ResultPackage,
};
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::sha256_text;
use patchadm_rootfs::{Dir, FileType, INTERRUPTED, ObjectStatus, RootError};
use patchadm_svr4::package::{Mode, Params};

use super::entering::{BuildCosts, TaskInputs, build_command, build_root, install, lay_out};
use super::failed::{FailedBuild, forget, is_worth_keeping, keep_failed};
use super::installing::{InstallationEnd, RECORDS, SandboxInstallation, left_by_packages, stopped_while};
use super::packing::{PackedIdentity, PackedResult, PackingInput, pack_in_sandbox};
use super::place::{TaskPlace, must_end, remove_all};
use super::progress::{TaskTeller, TaskWatch};
use super::sandbox_run::{Ticks, memory_file, run_to_end};
use super::{
    LARGEST_ORDER, StepError, TASK_FORMAT, TaskEnd, TaskError, TaskEvent, TaskFailure, TaskOrder, over_limit,
    start_of,
};
use crate::base::{PLACES, base_layer, build_user};
use crate::differences::{ComparedFiles, ComparisonLimits, ObjectDifference, differences};
use crate::driver::{DRIVER_INSIDE, Driver};
use crate::ids::SandboxIds;
use crate::keys::{changed_file, machine_type};
use crate::logs::{remove_phase_logs, write_phase_logs};
use crate::name_list::first_names;
use crate::object_places::root_of_base;
use crate::pool::{Flush, FoundResult, LOG, Pool, PoolEntry, RESULT};
use crate::runs::log_directory;
use crate::sandbox::{LayerKind, SandboxEnd, SandboxLimits, SandboxWatch, TaskLog, enclosure};
use crate::shared_paths::{OF_BASE, must_be_beside};
use crate::space::{RoomWatch, is_full, must_have_room};
use crate::tree_copy::{copy_file, each_below, each_part};
use crate::tree_files::TreeFiles;
use crate::work::BulkWork;

/// Wait after making room, so that neighbours make room before a retry; and the task's share of the run's waiting time.
const AFTER_ROOM: Duration = Duration::from_secs(1);
const PART_OF_WAIT: u32 = 30;

/// Performs the order in the first line of `input`; events go to `output`. The task ends when `input` does.
pub fn serve_task(
    input: impl io::Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> io::Result<()> {
    let mut input = io::BufReader::new(input);
    let mut line = Vec::new();
    input.by_ref().take(LARGEST_ORDER as u64 + 1).read_until(b'\n', &mut line)?;
    let order = match serde_json::from_slice::<TaskOrder>(&line) {
        Ok(order) if order.task == TASK_FORMAT => Ok(order),
        Ok(order) => Err(format!("the order has format {}", order.task)),
        Err(error) => Err(format!("the order cannot be read: {error}")),
    };
    // Before a second thread starts, because a process with several threads cannot enter a user namespace.
    let opened = order.as_ref().map_err(Clone::clone).and_then(open);
    let is_ended = Arc::new(AtomicBool::new(false));
    let ends = is_ended.clone();
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(input.read(&mut rest), Ok(read) if read > 0) {}
        ends.store(true, Ordering::Relaxed);
    });
    let teller = TaskTeller::over(Box::new(output), is_ended);
    let build_dir = opened.as_ref().ok().map(|(work, ..)| work.conf.build_dir.clone());
    let mut end = match (&order, opened) {
        (Ok(order), opened) => {
            teller.tell(&TaskEvent::Started { host: host_name(), pid: std::process::id() });
            let between = opened.as_ref().map(|(work, ..)| work.conf.between_signs_of(&order.slot));
            let goes_on = teller.go_on(between.unwrap_or(AFTER_ROOM));
            let end = opened.and_then(|opened| perform(order, opened, &teller));
            drop(goes_on);
            end.unwrap_or_else(TaskEnd::trouble)
        }
        (Err(reason), _) => TaskEnd::trouble(reason.clone()),
    };
    // On a full disk, every failure counts as lack of space.
    end.lacks_room |= end.trouble.is_some() && build_dir.is_some_and(|build_dir| is_full(&build_dir));
    teller.tell(&TaskEvent::End(end));
    Ok(())
}

/// Opens the bulk build of an order, and switches to the ids of its sandboxes.
fn open(order: &TaskOrder) -> Result<(BulkWork, Driver, SandboxIds), String> {
    let work = BulkWork::open(&PathBuf::from(&order.work)).map_err(|error| error.to_string())?;
    let driver = Driver::find(&work).map_err(|error| error.to_string())?;
    work.make_build_dir().map_err(|error| error.to_string())?;
    let ids = SandboxIds::of_task(&work.conf)?;
    Ok((work, driver, ids))
}

/// An error is a failure of the machine.
fn perform(
    order: &TaskOrder,
    (work, driver, ids): (BulkWork, Driver, SandboxIds),
    teller: &TaskTeller,
) -> Result<TaskEnd, String> {
    let shown = |error: &dyn std::error::Error| error.to_string();
    let pool = Pool::open(&work.conf.pool).map_err(|error| shown(&error))?;
    let user = build_user(&work.conf);
    let is_ended = teller.ended();
    let base = base_layer(&work.conf, (ids, user), &order.base, &|| must_end(&is_ended));
    let base = base.map_err(|error| shown(&error))?;
    let mut install: Vec<PoolEntry> = Vec::new();
    for (package, key) in &order.install {
        match pool.find(key).map_err(|error| shown(&error))? {
            FoundResult::Result(entry) => install.push(*entry),
            FoundResult::Nothing => return Err(format!("the result of {package} is not in the pool")),
            FoundResult::Damaged(reason) => return Err(reason),
        }
    }
    let mut place = TaskPlace::make(&work.conf.build_dir, &work.id).map_err(|error| shown(&error))?;
    place.is_ended = is_ended;
    let inputs = TaskInputs {
        order,
        work: &work,
        driver: &driver,
        pool: &pool,
        base: &base,
        user,
        install: &install,
        place: &place,
    };
    let end = build(&inputs, teller);
    let lacks_room = end.as_ref().is_err_and(TaskError::lacks_room);
    let kept = &work.conf;
    let at = (kept.build_dir.as_path(), work.id.as_str());
    match &end {
        Ok(TaskEnd { failure: Some(failure), .. }) if kept.keep_failed > 0 && is_worth_keeping(failure) => {
            let build = FailedBuild { order: order.clone(), failure: failure.clone() };
            keep_failed(place, at, &build, kept.keep_failed).map_err(|error| shown(&error))?;
        }
        _ => {
            // After a machine failure the directory may be in any state.
            let left = if order.is_local && end.is_ok() {
                place.leave(&kept.build_dir, &work.id)
            } else {
                place.remove().map_err(Into::into)
            };
            left.map_err(|error| shown(&error))?;
            if kept.keep_failed > 0 && matches!(end, Ok(TaskEnd { failure: None, .. })) {
                forget(at, &order.package, &teller.ended()).map_err(|error| shown(&error))?;
            }
        }
    }
    if lacks_room {
        let part = kept.patience.for_room.map_or(AFTER_ROOM, |wait| wait / PART_OF_WAIT);
        std::thread::sleep(part.min(AFTER_ROOM));
    }
    Ok(end.unwrap_or_else(|error| {
        let is_full = matches!(error, TaskError::Full(_));
        TaskEnd { is_full, lacks_room, ..TaskEnd::trouble(error.to_string()) }
    }))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A missing distfile causes the failures of this phase.
const FETCH_PHASE: &str = "fetch";

const MOST_PHASES: usize = 1_000;

pub(super) fn build(inputs: &TaskInputs<'_>, teller: &TaskTeller) -> Result<TaskEnd, TaskError> {
    let mut costs = BuildCosts::default();
    let watch = TaskWatch::of(teller, &inputs.work.conf.build_dir);
    let stepped = perform_steps(inputs, &watch, &mut costs).map_err(|error| watch.blame(error));
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

fn perform_steps(
    inputs: &TaskInputs<'_>,
    watch: &TaskWatch<'_>,
    costs: &mut BuildCosts,
) -> Result<Option<String>, StepError> {
    let (order, teller) = (inputs.order, watch.teller);
    let logs = log_directory(inputs.work, order.run)?;
    let name = format!("{}.log", order.package);
    logs.remove(name.as_bytes())?;
    remove_phase_logs(&logs, &order.package)?;
    let log = TaskLog::begin(logs.create(name.as_bytes())?, order.limits.get(LimitName::Output));
    let mut log = log.leaving_reserve(&logs)?;
    let mut ticks = |memory, bytes| watch.tick(memory, bytes);
    teller.installs(true);
    let layer = install(inputs, &mut log, &mut ticks)?;
    teller.installs(false);
    let results = inputs.place.empty("results")?;
    let packed = if order.checks_only {
        copy_result(inputs, &results)?
    } else {
        build_in_sandbox(inputs, layer.as_deref(), &mut log, watch, costs)?;
        let files = TreeFiles::of_tree(&inputs.work.conf.tree, inputs.base.ids.reader(inputs.user.id()));
        if let Some(file) = changed_file(&files, &order.location, &order.inputs) {
            let detail = format!("its recipe was changed while it was built: {file}");
            return Err(TaskFailure::of(FailureCause::Result, detail).into());
        }
        pack_output(inputs, &mut log, watch)?
    };
    must_be_beside_base(inputs, &packed)?;
    let level = inputs.work.conf.check;
    let mut leftovers = Vec::new();
    if level != CheckLevel::None && !packed.packages.is_empty() {
        teller.installs(true);
        leftovers = check(inputs, layer.as_deref(), &packed, (&mut log, &mut ticks))?;
        teller.installs(false);
        if level == CheckLevel::Strict && !leftovers.is_empty() {
            let detail = format!("still present after its removal: {}", first_names(&leftovers));
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

/// Checks a result against objects of a separate base.
fn must_be_beside_base(inputs: &TaskInputs<'_>, packed: &PackedResult) -> Result<(), StepError> {
    let Some(base) = root_of_base(&inputs.work.conf.base)? else { return Ok(()) };
    for (file, _) in &packed.packages {
        let detail = match must_be_beside(&base, &inputs.place.part("results").join(file))? {
            Ok(None) => continue,
            Ok(Some(conflict)) => format!("it delivers {}, which belongs to {OF_BASE}", conflict.path),
            Err(error) => error.to_string(),
        };
        return Err(TaskFailure::of(FailureCause::Result, detail).into());
    }
    Ok(())
}

/// Builds in a new sandbox, and once more if its first process is lost, which may be an accident.
fn build_in_sandbox(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    log: &mut TaskLog,
    watch: &TaskWatch<'_>,
    costs: &mut BuildCosts,
) -> Result<(), StepError> {
    lay_out(inputs, layer)?;
    match run_build(inputs, layer, log, watch, costs) {
        Err(StepError::Machine(lost @ TaskError::Lost(_))) => {
            log.add(format!("==> {lost}: once more\n").as_bytes(), |_| {})?;
        }
        ended => return ended,
    }
    for part in ["upper", "scratch", "work", "out"] {
        inputs.place.empty(part)?;
    }
    lay_out(inputs, layer)?;
    run_build(inputs, layer, log, watch, costs).map_err(|error| match error {
        StepError::Machine(lost @ TaskError::Lost(_)) => {
            let phase = costs.phases.last().map(|(name, _)| name.clone());
            TaskFailure { phase, ..TaskFailure::of(FailureCause::Signal, lost.to_string()) }.into()
        }
        other => other,
    })
}

fn run_build(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    log: &mut TaskLog,
    watch: &TaskWatch<'_>,
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
        watch.teller.tell(&TaskEvent::Phase(name));
    };
    let mut ticks = |memory, bytes| watch.tick(memory, bytes);
    let gives_way = |growth| place.gives_way(growth);
    let mut group = place.control_group(limits.of_group());
    let mut sandbox_watch = SandboxWatch {
        group: &mut group,
        written: &written,
        errors: None,
        phase: &mut phase,
        ticks: &mut ticks,
        gives_way: Some(&gives_way),
    };
    let ended = run_to_end(place, &enclosure, (&limits, &input), log, &mut sandbox_watch);
    let last = phases.last().map(|(name, _)| name.clone());
    costs.phases = phases;
    let ended = ended?;
    costs.ms = u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX);
    (costs.cpu_ms, costs.peak_memory) = (ended.processor_ms, ended.peak_memory);
    failure_of(&ended, &order.limits, last).map_or(Ok(()), |failure| Err(failure.into()))
}

fn failure_of(ended: &SandboxEnd, limits: &Limits, phase: Option<String>) -> Option<TaskFailure> {
    if let Some(failure) = over_limit(ended.stopped.clone(), limits, phase.clone()) {
        return Some(failure);
    }
    let (cause, detail) = match ended.end? {
        // A lost first process is an error.
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

fn pack_output(
    inputs: &TaskInputs<'_>,
    log: &mut TaskLog,
    watch: &TaskWatch<'_>,
) -> Result<PackedResult, StepError> {
    let (order, place) = (inputs.order, inputs.place);
    let field = |name: &str| {
        let value = order.record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().to_owned()
    };
    let (name, version) = order.package.rsplit_once('-').unwrap_or((&order.package, "0"));
    let identity = PackedIdentity {
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
    let mut ticks = |memory, bytes| watch.tick(memory, bytes);
    match pack_in_sandbox(inputs, &input, (&mut *log, &mut ticks)) {
        Err(StepError::Machine(TaskError::Lost(_))) => {}
        packed => return packed,
    }
    // It may be an accident, or the output is too much for the program.
    place.empty("made")?;
    let results = Dir::of_host(&place.part("results"))?;
    for name in results.names()? {
        remove_all(&results, &name)?;
    }
    pack_in_sandbox(inputs, &input, (log, &mut ticks)).map_err(|error| match error {
        StepError::Machine(lost @ TaskError::Lost(_)) => {
            let detail = format!("it cannot be packed: {lost}");
            TaskFailure { phase: Some("pack".to_owned()), ..TaskFailure::of(FailureCause::Result, detail) }
                .into()
        }
        other => other,
    })
}

/// Entries made for the installation, which stay at the top of a layer.
const OURS: [&str; 3] = ["tmp", "dev", "proc"];

const MOST_LEFT: usize = 100;
const MOST_BYTES: usize = 8 << 10;

/// Installs and removes a result's packages in a new layer, and returns the paths that remain.
pub(super) fn check(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    packed: &PackedResult,
    (log, ticks): (&mut TaskLog, Ticks<'_>),
) -> Result<Vec<String>, StepError> {
    let (place, limits) = (inputs.place, &inputs.order.limits);
    for part in ["upper", "scratch"] {
        place.empty(part)?;
    }
    let delivered = place.empty("packages")?;
    let results = Dir::of_host(&place.part("results"))?;
    for (file, _) in &packed.packages {
        copy_file(&results, file.as_bytes(), &delivered, file.as_bytes())?;
        delivered.set_mode(file.as_bytes(), Mode::of(0o644))?;
    }
    let installation = SandboxInstallation {
        base: inputs.base,
        lower: layer.map(Path::to_owned).into_iter().collect(),
        upper: place.part("upper"),
        scratch: place.part("scratch"),
        packages: place.part("packages"),
        place,
        limits: SandboxLimits::of(limits),
        room: RECORDS,
    };
    let files: Vec<String> = packed.packages.iter().map(|(file, _)| file.clone()).collect();
    let names: Vec<String> =
        packed.packages.iter().rev().map(|(_, params)| params.text("PKG").into_owned()).collect();
    let mut ended = installation.run((&files, &names), log, &mut *ticks)?;
    if let InstallationEnd::Lost(_) = ended {
        for part in ["upper", "scratch"] {
            place.empty(part)?;
        }
        ended = installation.run((&files, &names), log, ticks)?;
    }
    let detail = match ended {
        InstallationEnd::Done => {
            let before = layer.unwrap_or(&inputs.base.layer);
            let before = (inputs.base.kind == LayerKind::Copy).then(|| Dir::of_host(before)).transpose()?;
            let left = left_below(&Dir::of_host(&place.part("upper"))?, before.as_ref());
            match left.map_err(left_by_packages) {
                Ok(left) => return Ok(left),
                Err(Ok(InstallationEnd::Refused(detail))) => detail,
                Err(refused) => refused.map(|_| String::new())?,
            }
        }
        InstallationEnd::Refused(detail) => format!("it cannot be installed: {detail}"),
        InstallationEnd::Remains(detail) => format!("it cannot be removed: {detail}"),
        InstallationEnd::Lost(detail) => detail,
        InstallationEnd::Over(stopped) => return Err(stopped_while(stopped, limits, "check").into()),
    };
    Err(TaskFailure::of(FailureCause::Check, detail).into())
}

/// Returns remaining objects, except `var/sadm`, empty directories, and unmodified objects of a copied base.
fn left_below(upper: &Dir, before: Option<&Dir>) -> Result<Vec<String>, RootError> {
    let (mut left, mut bytes) = (Vec::new(), 0);
    each_below::<RootError>(upper, |above, name, seen| {
        let path = above.at(name).to_string();
        let top = path.trim_start_matches('/');
        let is_ours = PLACES.contains(&top) || OURS.contains(&top) || top == "var/sadm";
        // Overlayfs marks removed objects with a whiteout.
        let is_whiteout = seen.file_type == FileType::Character && seen.device == (0, 0);
        let is_directory = seen.file_type == FileType::Directory;
        let may_be_left = !is_ours && !is_whiteout && !is_directory && left.len() < MOST_LEFT;
        if may_be_left && !is_as_before(before, above, name, seen)? {
            bytes += path.len();
            if left.is_empty() || bytes <= MOST_BYTES {
                left.push(start_of(&path, MOST_BYTES).to_owned());
            }
        }
        Ok(!is_ours)
    })?;
    left.sort_unstable();
    Ok(left)
}

/// True if a file or link was not rewritten.
fn is_as_before(
    before: Option<&Dir>,
    above: &Dir,
    name: &[u8],
    seen: &ObjectStatus,
) -> Result<bool, RootError> {
    let Some(before) = before else { return Ok(false) };
    let Some(dir) = before.root().dir_of_object(above.path())? else { return Ok(false) };
    let of = |seen: &ObjectStatus| (seen.file_type, seen.mode, seen.size, seen.mtime);
    Ok(dir.look(name)?.is_some_and(|was| of(seen) == of(&was)))
}

pub(super) struct KeptBuild<'a> {
    pub(super) results: &'a Dir,
    pub(super) packed: &'a PackedResult,
    pub(super) leftovers: Vec<String>,
    level: CheckLevel,
    pub(super) costs: &'a BuildCosts,
    pub(super) logs: &'a Dir,
}

/// Moves a result into the pool. An existing one stays; returns the first difference from it.
pub(super) fn keep(inputs: &TaskInputs<'_>, build: &KeptBuild<'_>) -> Result<Option<String>, StepError> {
    let (name, dir) = inputs.pool.begin()?;
    let entered = fill(inputs, build, &dir).and_then(|result| {
        let flush = if inputs.order.is_local { Flush::Later } else { Flush::Now };
        let is_first = inputs.pool.enter((&name, &dir), &inputs.order.key, flush)?;
        Ok((!is_first).then_some(result))
    });
    match entered {
        Ok(None) => Ok(None),
        Ok(Some(result)) => match inputs.pool.find(&inputs.order.key)? {
            FoundResult::Result(first) => Ok(first_difference(&first, &result, inputs)),
            _ => Ok(None),
        },
        Err(error) => {
            // The next prune removes leftovers.
            let _ = inputs.pool.give_up(&name);
            Err(error)
        }
    }
}

fn first_difference(first: &PoolEntry, other: &BuildResult, inputs: &TaskInputs<'_>) -> Option<String> {
    let one = &first.result;
    let directory = inputs.place.part("results");
    let (before, now) = (names_of(one), names_of(other));
    let compared = compare(
        inputs,
        &ComparedFiles { directory: &first.path, names: &before },
        &ComparedFiles { directory: &directory, names: &now },
    );
    if let Ok(found) = compared
        && (!found.is_empty() || !inputs.order.varies.is_empty())
    {
        return found.first().map(ToString::to_string);
    }
    let files = |result: &BuildResult| -> BTreeMap<String, Blake3Digest> {
        result.stored_files().map(|(name, _, digest)| (name.to_owned(), digest)).collect()
    };
    let (one, other) = (files(one), files(other));
    let mut names = one.keys().chain(other.keys());
    names.find(|name| one.get(*name) != other.get(*name)).cloned()
}

/// The longest time to compare two results, if the build has no smaller limit.
const LONGEST_COMPARISON: Duration = Duration::from_secs(1800);

fn compare(
    inputs: &TaskInputs<'_>,
    one: &ComparedFiles<'_>,
    other: &ComparedFiles<'_>,
) -> io::Result<Vec<ObjectDifference>> {
    let order = inputs.order;
    let of_build = order.limits.get(LimitName::Time).map(Duration::from_secs);
    let longest = of_build.map_or(LONGEST_COMPARISON, |limit| limit.min(LONGEST_COMPARISON));
    let interrupt = || must_end(&inputs.place.is_ended);
    let limits = ComparisonLimits { interrupt: &interrupt, longest: Some(longest) };
    differences(one, other, &order.varies, limits)
}

fn names_of(result: &BuildResult) -> Vec<String> {
    result.stored_files().map(|(name, _, _)| name.to_owned()).collect()
}

/// Returns the previous result if this one only differs as its record allows, so that dependents need no rebuild.
fn alike_before(inputs: &TaskInputs<'_>, build: &KeptBuild<'_>) -> Result<Option<PoolEntry>, TaskError> {
    let order = inputs.order;
    let Some(key) = order.previous.as_ref().filter(|_| !order.varies.is_empty()) else { return Ok(None) };
    let FoundResult::Result(before) = inputs.pool.find(key)? else { return Ok(None) };
    let packages = build.packed.packages.iter().map(|(file, _)| file.clone());
    let now: Vec<String> = packages.chain(build.packed.files.iter().cloned()).collect();
    let (names, directory) = (names_of(&before.result), inputs.place.part("results"));
    let compared = compare(
        inputs,
        &ComparedFiles { directory: &before.path, names: &names },
        &ComparedFiles { directory: &directory, names: &now },
    );
    if must_end(&inputs.place.is_ended).is_some() {
        return Err(io::Error::other(INTERRUPTED).into());
    }
    // A result that cannot be compared counts as different.
    Ok(compared.is_ok_and(|found| found.is_empty()).then_some(*before))
}

fn copy_result(inputs: &TaskInputs<'_>, to: &Dir) -> Result<PackedResult, TaskError> {
    let mut packed = PackedResult::default();
    let FoundResult::Result(entry) = inputs.pool.find(&inputs.order.key)? else {
        return Err(io::Error::other("the result to be checked is missing").into());
    };
    let from = Dir::of_host(&entry.path)?;
    for package in &entry.result.packages {
        copy_file(&from, package.file.as_bytes(), to, package.file.as_bytes())?;
        let mut params = Params::new();
        params.set("PKG", &package.pkg);
        packed.packages.push((package.file.clone(), params));
    }
    packed.files.extend(entry.result.files.iter().map(|file| file.file.clone()));
    Ok(packed)
}

fn keep_check(inputs: &TaskInputs<'_>, leftovers: Vec<String>) -> Result<(), StepError> {
    if let FoundResult::Result(entry) = inputs.pool.find(&inputs.order.key)? {
        let mut result = entry.result;
        (result.check, result.leftovers) = (inputs.work.conf.check, leftovers);
        inputs.pool.describe_anew(&result, &described(&result)?)?;
    }
    Ok(())
}

fn fill(inputs: &TaskInputs<'_>, build: &KeptBuild<'_>, dir: &Dir) -> Result<BuildResult, StepError> {
    let order = inputs.order;
    let mut result = BuildResult::new(NewResult {
        pkgname: order.package.clone(),
        location: order.location.clone(),
        inputs: order.inputs.clone(),
        slot: order.slot.clone(),
        work: inputs.work.id.clone(),
        run: order.run,
        built: order.time.clone(),
    });
    let before = alike_before(inputs, build)?;
    let from = match &before {
        Some(before) => &Dir::of_host(&before.path)?,
        None => build.results,
    };
    for (file, params) in &build.packed.packages {
        let sums = moved(from, file, dir)?;
        result.packages.push(ResultPackage {
            pkg: params.text("PKG").into_owned(),
            arch: params.text("ARCH").into_owned(),
            version: params.text("VERSION").into_owned(),
            file: file.clone(),
            size: sums.size,
            b3: sums.b3,
            sha256: sums.sha256,
        });
    }
    for file in &build.packed.files {
        let sums = moved(from, file, dir)?;
        result.files.push(ResultFile { file: file.clone(), size: sums.size, b3: sums.b3 });
    }
    (result.ms, result.cpu_ms) = (build.costs.ms, build.costs.cpu_ms);
    result.peak_memory = build.costs.peak_memory;
    result.phases = phases(build.costs);
    (result.check, result.leftovers) = (build.level, build.leftovers.clone());
    result.remarks.clone_from(&build.packed.remarks);
    compress_log((build.logs, format!("{}.log", order.package).as_bytes()), dir)?;
    put(dir, RESULT, &described(&result)?)?;
    Ok(result)
}

/// Fails if the description would be rejected on reading.
fn described(result: &BuildResult) -> Result<Vec<u8>, StepError> {
    result.to_bytes().map_err(|error| TaskFailure::of(FailureCause::Result, error.to_string()).into())
}

fn phases(costs: &BuildCosts) -> Vec<PhaseTime> {
    let ends = costs.phases.iter().skip(1).map(|(_, began)| *began).chain([costs.ms]);
    let phases = costs.phases.iter().zip(ends);
    phases
        .map(|((name, began), end)| PhaseTime { name: name.clone(), ms: end.saturating_sub(*began) })
        .collect()
}

fn put(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), RootError> {
    must_have_room(dir, bytes.len() as u64)?;
    let mut file = dir.create(name.as_bytes())?;
    file.put(bytes)?;
    file.set_mode(Mode::of(0o644))
}

struct FileSums {
    size: u64,
    b3: Blake3Digest,
    sha256: String,
}

fn moved(from: &Dir, name: &str, to: &Dir) -> Result<FileSums, RootError> {
    copy_file(from, name.as_bytes(), to, name.as_bytes())?;
    to.set_mode(name.as_bytes(), Mode::of(0o644))?;
    sums(to, name.as_bytes())
}

fn sums(dir: &Dir, name: &[u8]) -> Result<FileSums, RootError> {
    let (mut b3, mut sha256, mut size) = (blake3::Hasher::new(), Sha256::new(), 0);
    let add = |bytes: &[u8]| {
        b3.update(bytes);
        sha256.update(bytes);
        size += bytes.len() as u64;
        Ok(())
    };
    each_part(&dir.open_regular(name)?, |error| dir.read_error(name, error), add)?;
    let b3 = Blake3Digest::from_bytes(*b3.finalize().as_bytes());
    Ok(FileSums { size, b3, sha256: sha256_text(&sha256.finalize()) })
}

/// Compresses the log of a build part by part: its recipe chooses how long it is.
fn compress_log((logs, name): (&Dir, &[u8]), to: &Dir) -> Result<(), RootError> {
    let file = to.create(LOG.as_bytes())?;
    file.set_mode(Mode::of(0o644))?;
    let mut room = RoomWatch::begin(to, 0)?;
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    if logs.look(name)?.is_some() {
        let add = |bytes: &[u8]| {
            room.add(bytes)?;
            let written = encoder.write_all(bytes);
            written.map_err(|error| encoder.get_ref().write_error(&error))
        };
        each_part(&logs.open_regular(name)?, |error| logs.read_error(name, error), add)?;
    }
    let finished = encoder.try_finish();
    finished.map_err(|error| encoder.get_ref().write_error(&error))
}
