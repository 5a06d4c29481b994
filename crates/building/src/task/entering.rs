//! The sandbox of a task with its dependencies installed, and entering it before the build.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::conf::{LimitName, SandboxMount};
use patchadm_bulk_values::journal::FailureCause;
use patchadm_core::namespaces::{EnclosureEnd, EnclosureError, EnclosureTerminal, enclose};
use patchadm_rootfs::{Dir, FileType, RootError, never};
use patchadm_svr4::package::Mode;

use super::installing::{InstallWay, PackageFile, installed_set};
use super::place::{TaskPlace, must_end};
use super::sandbox_run::Ticks;
use super::{StepError, TaskError, TaskFailure, TaskOrder};
use crate::base::{BaseLayer, base_layer};
use crate::driver::{DRIVER_INSIDE, Driver};
use crate::ids::SandboxIds;
use crate::pool::{Pool, PoolEntry};
use crate::sandbox::{
    BuildRoot, BuildUser, SandboxCommand, SandboxError, SandboxLimits, TaskLog, enclosure, environment,
    network_files,
};
use crate::sources::{copy_distfiles, must_be_within};
use crate::tree_copy::copy_file;
use crate::work::{BulkWork, made};

/// Standard input of the build, in `/tmp` inside.
const RECORD: &[u8] = b"record";

#[derive(Debug)]
pub struct EnteringCommand<'a> {
    /// Empty for a shell.
    pub words: Vec<OsString>,
    /// For a shell.
    pub terminal: Option<OsString>,
    /// A terminal is replaced by a pseudo-terminal.
    pub input: BorrowedFd<'a>,
}

#[derive(Debug, thiserror::Error)]
pub enum EnterSandboxError {
    /// Its dependencies cannot be installed, or a distfile is missing.
    #[error("{package}: {reason}")]
    Package { package: String, reason: String },
    #[error(transparent)]
    Enclosure(#[from] EnclosureError),
    #[error("{0}")]
    NothingKept(String),
    #[error("{0}")]
    Machine(String),
}

pub(crate) struct EnteredTask<'a> {
    pub(crate) work: &'a BulkWork,
    pub(crate) driver: &'a Driver,
    pub(crate) user: BuildUser,
    pub(crate) pool: &'a Pool,
    pub(crate) order: &'a TaskOrder,
    /// In dependency order.
    pub(crate) install: &'a [PoolEntry],
    /// Set to enter a failed build: its directory and failure.
    pub(crate) kept: Option<(TaskPlace, &'a TaskFailure)>,
}

/// Runs a command in a task's sandbox, and removes the sandbox. Only for a dedicated process.
pub(crate) fn enter_sandbox(
    task: EnteredTask<'_>,
    command: EnteringCommand<'_>,
) -> Result<EnclosureEnd, EnterSandboxError> {
    let machine = |error: &dyn std::error::Error| EnterSandboxError::Machine(error.to_string());
    let ids = SandboxIds::of_task(&task.work.conf).map_err(EnterSandboxError::Machine)?;
    let base = base_layer(&task.work.conf, (ids, task.user), &task.order.base, &never);
    let base = base.map_err(|error| machine(&error))?;
    let (place, failure) = if let Some((place, failure)) = task.kept {
        (place, Some(failure))
    } else {
        let made = TaskPlace::make(&task.work.conf.build_dir, &task.work.id);
        (made.map_err(|error| machine(&error))?, None)
    };
    let inputs = TaskInputs {
        order: task.order,
        work: task.work,
        driver: task.driver,
        pool: task.pool,
        base: &base,
        user: task.user,
        install: task.install,
        place: &place,
    };
    let ended = run(&inputs, failure, command);
    let is_empty = place.wait_until_empty().map_err(|error| machine(&error));
    // A kept directory stays, including changes.
    let removed = if failure.is_some() { Ok(()) } else { place.remove().map_err(|error| machine(&error)) };
    let end = ended?;
    is_empty.and(removed).map(|()| end)
}

fn run(
    inputs: &TaskInputs<'_>,
    failure: Option<&TaskFailure>,
    command: EnteringCommand<'_>,
) -> Result<EnclosureEnd, EnterSandboxError> {
    let failed = |error: StepError| match error {
        StepError::Package(failure) => EnterSandboxError::Package {
            package: inputs.order.package.clone(),
            reason: format!("{}: {}", failure.cause, failure.detail),
        },
        StepError::Machine(TaskError::Sandbox(SandboxError::Enclosure(error))) => error.into(),
        StepError::Machine(error) => EnterSandboxError::Machine(error.to_string()),
    };
    let prepared = prepare(inputs, failure.is_some()).map_err(failed)?;
    let is_shell = command.words.is_empty();
    let words = if is_shell { vec!["/bin/sh".into()] } else { command.words };
    let mut inside = build_command(inputs, words);
    inside.has_terminal = true;
    let phase = failure.and_then(|failure| failure.phase.as_ref());
    inside.environment.extend(phase.map(|phase| ("FAILED_PHASE".into(), phase.into())));
    if is_shell {
        let prompt = format!("[{}] $ ", inputs.order.package);
        inside.environment.push(("PS1".into(), prompt.into()));
        inside.environment.extend(command.terminal.map(|terminal| ("TERM".into(), terminal)));
    }
    let root = build_root(inputs, prepared.as_deref());
    let limits = SandboxLimits::of(&inputs.order.limits);
    let enclosure = enclosure(&root, inside, &limits, Some(inputs.place.inside()))
        .map_err(|error| EnterSandboxError::Machine(error.to_string()))?;
    Ok(enclose(enclosure, command.input, EnclosureTerminal::Own, |_| ())?)
}

/// Prepares the directory, unless a failed build left it. Returns the layer of dependencies.
fn prepare(inputs: &TaskInputs<'_>, is_kept: bool) -> Result<Option<PathBuf>, StepError> {
    inputs.place.dir.remove(b"log")?;
    let mut log =
        TaskLog::begin(inputs.place.dir.create(b"log")?, inputs.order.limits.get(LimitName::Output));
    let layer = install(inputs, &mut log, &mut |_, _| false)?;
    if is_kept {
        // The work directory of the old mount cannot be reused.
        inputs.place.empty("scratch")?;
        let upper = Dir::of_host(&inputs.place.part("upper"))?;
        for place in ["tmp", "var", "var/tmp"] {
            must_be_directory(&upper, place)?;
        }
    } else {
        lay_out(inputs, layer.as_deref())?;
    }
    let upper = build_root(inputs, layer.as_deref()).lay_out(&never)?;
    let tmp = made(&upper, b"tmp")?;
    tmp.set_own_mode(Mode::of(0o1777))?;
    if tmp.look(RECORD)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
        put_aside(&tmp, RECORD)?;
    }
    tmp.remove(RECORD)?;
    let mut record = tmp.create(RECORD)?;
    record.put(inputs.order.record.as_bytes())?;
    record.set_mode(Mode::of(0o644))?;
    Ok(layer)
}

/// Makes way for a directory of the sandbox: a build as root may have left another object there.
fn must_be_directory(upper: &Dir, path: &str) -> Result<(), RootError> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dir = upper.again()?;
    for part in above.split('/').filter(|part| !part.is_empty()) {
        if dir.look(part.as_bytes())?.is_none() {
            return Ok(());
        }
        dir = dir.dir(part.as_bytes())?;
    }
    match dir.look(name.as_bytes())? {
        None => Ok(()),
        Some(seen) if seen.file_type == FileType::Directory => Ok(()),
        // A whiteout of overlayfs.
        Some(seen) if seen.file_type == FileType::Character && seen.device == (0, 0) => {
            dir.remove(name.as_bytes())
        }
        Some(_) => put_aside(&dir, name.as_bytes()),
    }
}

fn put_aside(dir: &Dir, name: &[u8]) -> Result<(), RootError> {
    let mut number = 1_u64;
    loop {
        let aside = [name, format!(".{number}").as_bytes()].concat();
        if dir.look(&aside)?.is_none() {
            return dir.rename(name, &aside);
        }
        number = number.saturating_add(1);
    }
}

/// Installs the dependencies and returns their layer, if any.
pub(super) fn install(
    inputs: &TaskInputs<'_>,
    log: &mut TaskLog,
    ticks: Ticks<'_>,
) -> Result<Option<PathBuf>, StepError> {
    let packages: Vec<PackageFile> = inputs.install.iter().flat_map(package_files).collect();
    let base = (inputs.base, inputs.order.base.as_str());
    let session = format!("{} {} {}", inputs.work.id, inputs.order.run, inputs.order.began);
    let at = (inputs.work.conf.build_dir.as_path(), session.as_str(), InstallWay::Together);
    installed_set(at, base, &packages, inputs.place, &inputs.order.limits, (log, ticks))
}

fn package_files(entry: &PoolEntry) -> impl Iterator<Item = PackageFile> {
    entry.result.packages.iter().map(|package| PackageFile {
        directory: entry.path.clone(),
        file: package.file.clone(),
        digest: package.b3.to_string(),
        location: entry.result.location.clone(),
    })
}

pub(super) fn lay_out(inputs: &TaskInputs<'_>, layer: Option<&Path>) -> Result<(), StepError> {
    let place = inputs.place;
    build_root(inputs, layer).lay_out(&|| must_end(&place.is_ended)).map_err(|error| match error {
        // Packages have made more than can be copied.
        RootError::TooLarge { .. } => {
            StepError::from(TaskFailure::of(FailureCause::Install, error.to_string()))
        }
        error => StepError::from(error),
    })?;
    for part in ["work", "out"] {
        inputs.base.ids.give(&place.dir, part.as_bytes(), inputs.user.id())?;
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
    let failed = |detail| TaskFailure::of(FailureCause::Distfile, detail);
    must_be_within(&inputs.order.distfiles, inputs.order.limits.get(LimitName::Disk)).map_err(failed)?;
    place.empty("distfiles")?;
    let (from, to) = (&inputs.work.conf.distfiles, place.part("distfiles"));
    let copied = copy_distfiles(from, &to, &inputs.order.distfiles)?;
    Ok(copied.map_err(failed)?)
}

pub(super) fn build_root(inputs: &TaskInputs<'_>, layer: Option<&Path>) -> BuildRoot {
    BuildRoot {
        kind: inputs.base.kind,
        ids: inputs.base.ids,
        lower: layer.into_iter().map(Path::to_owned).chain([inputs.base.layer.clone()]).collect(),
        upper: inputs.place.part("upper"),
        scratch: inputs.place.part("scratch"),
        host: inputs.base.mounted.clone(),
        mounts: mounts(inputs),
    }
}

pub(super) fn build_command(inputs: &TaskInputs<'_>, words: Vec<OsString>) -> SandboxCommand {
    SandboxCommand {
        words,
        environment: build_environment(inputs),
        directory: "/work".to_owned(),
        user: inputs.user,
        has_network: inputs.order.has_network,
        has_terminal: false,
    }
}

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
    let network = network_files().filter(|_| inputs.order.has_network);
    own.into_iter().chain(conf.mounts.iter().cloned()).chain(network).collect()
}

/// Inherits nothing from the caller.
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

pub(super) struct TaskInputs<'a> {
    pub(super) order: &'a TaskOrder,
    pub(super) work: &'a BulkWork,
    pub(super) driver: &'a Driver,
    pub(super) pool: &'a Pool,
    pub(super) base: &'a BaseLayer,
    pub(super) user: BuildUser,
    /// In dependency order.
    pub(super) install: &'a [PoolEntry],
    pub(super) place: &'a TaskPlace,
}

#[derive(Default)]
pub(super) struct BuildCosts {
    pub(super) ms: u64,
    pub(super) cpu_ms: u64,
    pub(super) peak_memory: u64,
    /// Phases with their start in milliseconds.
    pub(super) phases: Vec<(String, u64)>,
}
