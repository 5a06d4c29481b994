//! A package is built: in a sandbox with what it needs installed, and what comes out is packed, checked and kept.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchadm_bulk::conf::{CheckLevel, LimitName, Limits, SandboxMount};
use patchadm_bulk::journal::FailureCause;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_rootfs::Dir;
use patchadm_svr4::package::{Mode, Params};
use rustix::fs::MemfdFlags;

use super::checking::check;
use super::inputs::{BuildCosts, TaskInputs};
use super::installing::{PackageFile, installed_set};
use super::keeping::{KeptBuild, copy_result, keep, keep_check};
use super::made_pkginfo::PackageIdentity;
use super::order::{TaskEnd, TaskEvent, TaskFailure};
use super::packing::{PackedResult, PackingInput, pack};
use super::place::lay_out_temporary;
use super::sandbox_run::run_to_end;
use super::step::{StepError, TaskError};
use super::teller::TaskTeller;
use crate::driver::DRIVER_INSIDE;
use crate::fetching::copy_distfiles;
use crate::file_copy::copy_file;
use crate::keys::changed_file;
use crate::pool::PoolEntry;
use crate::runs::log_directory;
use crate::sandbox::{
    BuildRoot, BuildUser, SandboxCommand, SandboxEnd, SandboxLimits, SandboxWatch, StopCause, TaskLog,
    enclosure, environment,
};

/// Carries out the task.
pub(super) fn build(inputs: &TaskInputs<'_>, teller: &TaskTeller) -> Result<TaskEnd, TaskError> {
    let mut costs = BuildCosts::default();
    let (differs, failure) = match steps(inputs, teller, &mut costs) {
        Ok(differs) => (differs, None),
        Err(StepError::Package(failure)) => (None, Some(failure)),
        Err(StepError::Machine(error)) => return Err(error),
    };
    let BuildCosts { ms, cpu_ms, peak_memory, .. } = costs;
    Ok(TaskEnd { failure, trouble: None, differs, ms, cpu_ms, peak_memory })
}

fn steps(
    inputs: &TaskInputs<'_>,
    teller: &TaskTeller,
    costs: &mut BuildCosts,
) -> Result<Option<String>, StepError> {
    let order = inputs.order;
    let logs = log_directory(inputs.work, order.run)?;
    let name = format!("{}.log", order.package);
    logs.remove(name.as_bytes())?;
    let mut log = TaskLog::begin(logs.create(name.as_bytes())?, order.limits.get(LimitName::Output));
    let layer = install(inputs, &mut log, teller)?;
    let results = inputs.place.empty("results")?;
    let packed = if order.checks_only {
        copy_result(inputs, &results)?
    } else {
        built(inputs, layer.as_deref(), &mut log, teller, costs)?
    };
    let level = inputs.work.conf.check;
    let mut leftovers = Vec::new();
    if level != CheckLevel::None && !packed.packages.is_empty() {
        let mut ticks = |memory, bytes| teller.tick(memory, bytes);
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
    Ok(keep(inputs, &build)?)
}

/// Builds and packs.
fn built(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    log: &mut TaskLog,
    teller: &TaskTeller,
    costs: &mut BuildCosts,
) -> Result<PackedResult, StepError> {
    lay_out(inputs)?;
    run(inputs, layer, log, teller, costs)?;
    let order = inputs.order;
    if let Some(file) = changed_file(&inputs.work.conf.tree, &order.location, &order.inputs) {
        let detail = format!("its recipe was changed while it was built: {file}");
        return Err(TaskFailure::of(FailureCause::Result, detail).into());
    }
    pack_output(inputs)
}

/// Installs what the package needs.
fn install(
    inputs: &TaskInputs<'_>,
    log: &mut TaskLog,
    teller: &TaskTeller,
) -> Result<Option<PathBuf>, StepError> {
    let mut ticks = |memory, bytes| teller.tick(memory, bytes);
    let packages: Vec<PackageFile> = inputs.install.iter().flat_map(package_files).collect();
    let base = (inputs.base, inputs.order.base.as_str());
    installed_set(&inputs.work.conf.build_dir, base, &packages, inputs.place, (log, &mut ticks))
}

/// Returns the packages of a result.
fn package_files(entry: &PoolEntry) -> impl Iterator<Item = PackageFile> {
    entry.result.packages.iter().map(|package| PackageFile {
        directory: entry.path.clone(),
        file: package.file.clone(),
        digest: package.b3.to_string(),
    })
}

/// Puts into the place of the task what the build finds there.
fn lay_out(inputs: &TaskInputs<'_>) -> Result<(), StepError> {
    let place = inputs.place;
    lay_out_temporary(&Dir::of_host(&place.part("upper"))?)?;
    if let BuildUser::Ids(uid, gid) = inputs.user {
        for part in ["work", "out"] {
            place.dir.set_owner(part.as_bytes(), Some(uid), Some(gid))?;
        }
    }
    let packages = place.empty("packages")?;
    for entry in inputs.install {
        let from = Dir::of_host(&entry.path)?;
        for (file, _, _) in entry.result.stored_files() {
            if packages.look(file.as_bytes())?.is_none() {
                copy_file(&from, file.as_bytes(), &packages, file.as_bytes())?;
                packages.set_mode(file.as_bytes(), Mode::of(0o644))?;
            }
        }
    }
    place.empty("distfiles")?;
    let (from, to) = (&inputs.work.conf.distfiles, place.part("distfiles"));
    let copied = copy_distfiles(from, &to, &inputs.order.distfiles)?;
    Ok(copied.map_err(|detail| TaskFailure::of(FailureCause::Distfile, detail))?)
}

/// Runs the build.
fn run(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    log: &mut TaskLog,
    teller: &TaskTeller,
    costs: &mut BuildCosts,
) -> Result<(), StepError> {
    let (order, place) = (inputs.order, inputs.place);
    let root = BuildRoot {
        lower: layer.into_iter().map(Path::to_owned).chain([inputs.base.layer.clone()]).collect(),
        upper: place.part("upper"),
        scratch: place.part("scratch"),
        host: inputs.base.mounted.clone(),
        mounts: mounts(inputs),
    };
    let command = SandboxCommand {
        words: vec![format!("{DRIVER_INSIDE}/build").into()],
        environment: build_environment(inputs),
        directory: "/work".to_owned(),
        user: inputs.user,
        has_network: order.has_network,
    };
    let limits = sandbox_limits(&order.limits);
    let enclosure = enclosure(&root, command, &limits, Some(place.inside()));
    let input = record_file(&order.record)?;
    let written = ["upper", "work", "out"].map(|part| place.part(part));
    let began = std::time::Instant::now();
    let mut phases = Vec::new();
    let mut phase = |name: String| {
        phases.push((name.clone(), u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)));
        teller.tell(&TaskEvent::Phase(name));
    };
    let mut ticks = |memory, bytes| teller.tick(memory, bytes);
    let mut watch = SandboxWatch { written: &written, phase: &mut phase, ticks: &mut ticks };
    let ended = run_to_end(place, &enclosure, (&limits, &input), log, &mut watch)?;
    costs.ms = u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX);
    (costs.cpu_ms, costs.peak_memory) = (ended.processor_ms, ended.peak_memory);
    let last = phases.last().map(|(name, _)| name.clone());
    costs.phases = phases;
    Ok(failure_of(&ended, &order.limits, last).map_or(Ok(()), Err)?)
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
        Some(StopCause::Memory(bytes)) => over(FailureCause::Memory, format!("{bytes} bytes of memory")),
        Some(StopCause::Processes(count)) => over(FailureCause::Processes, format!("{count} processes")),
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

/// Returns what is mounted in the sandbox of a build.
fn mounts(inputs: &TaskInputs<'_>) -> Vec<SandboxMount> {
    let conf = &inputs.work.conf;
    let part = |name: &str, is_writable| SandboxMount {
        is_writable,
        source: inputs.place.part(name),
        target: format!("/{name}").into(),
    };
    let own = [
        SandboxMount::read_only(&conf.tree, "/tree"),
        SandboxMount::read_only(&inputs.driver.directory, DRIVER_INSIDE),
        part("packages", false),
        part("distfiles", false),
        part("work", true),
        part("out", true),
    ];
    let network = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"]
        .map(Path::new)
        .into_iter()
        .filter(|path| inputs.order.has_network && path.exists())
        .map(|path| SandboxMount::read_only(path, path));
    own.into_iter().chain(conf.mounts.iter().cloned()).chain(network).collect()
}

/// Returns the environment of a build: nothing of the caller's.
fn build_environment(inputs: &TaskInputs<'_>) -> Vec<(OsString, OsString)> {
    let order = inputs.order;
    let (jobs, epoch) = (order.jobs.to_string(), order.source_date_epoch.to_string());
    let own = [
        ("HOME", "/work"),
        ("TMPDIR", "/tmp"),
        ("SHELL", "/bin/sh"),
        ("USER", "build"),
        ("LOGNAME", "build"),
        ("PKGNAME", &order.package),
        ("PKG_LOCATION", &order.location),
        ("TREE", "/tree"),
        ("DISTDIR", "/distfiles"),
        ("PACKAGES", "/packages"),
        ("OUT", "/out"),
        ("DESTDIR", "/out/root"),
        ("JOBS", &jobs),
        ("SOURCE_DATE_EPOCH", &epoch),
    ];
    let of_conf = inputs.work.conf.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let of_record = order.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let variables: Vec<_> = own.into_iter().chain(of_conf).chain(of_record).collect();
    environment(&variables)
}

/// Returns a file with the record, from which the build reads it as its standard input. It is in memory: a file of the disk
/// would tell by its name where the sandbox lies.
fn record_file(record: &str) -> Result<File, TaskError> {
    let mut file =
        File::from(rustix::fs::memfd_create("record", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    file.write_all(record.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Packs what the build has left.
fn pack_output(inputs: &TaskInputs<'_>) -> Result<PackedResult, StepError> {
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
        machine: rustix::system::uname().machine().to_string_lossy().into_owned(),
        stamp: format!("bulk{}", order.source_date_epoch),
    };
    let needs: Vec<Params> = inputs
        .install
        .iter()
        .filter(|entry| order.needs.contains(&entry.result.pkgname))
        .flat_map(|entry| &entry.result.packages)
        .map(|package| {
            let mut params = Params::new();
            params.set("PKG", &package.pkg);
            params.set("NAME", &package.pkg);
            params
        })
        .collect();
    place.empty("made")?;
    let input = PackingInput {
        out: &place.part("out"),
        scratch: &place.part("made"),
        to: &place.part("results"),
        identity: &identity,
        needs: &needs,
        latest: order.source_date_epoch,
        of_host: &inputs.base.mounted,
    };
    pack(&input)
}
