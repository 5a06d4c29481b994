//! The sandbox of a build: tree, mounts, environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::conf::{LimitName, SandboxMount};
use patchadm_bulk_values::journal::FailureCause;
use patchadm_rootfs::Dir;
use patchadm_svr4::package::Mode;

use super::installing::{InstallWay, PackageFile, installed_set};
use super::order::{StepError, TaskFailure, TaskOrder};
use super::place::{TaskPlace, must_end};
use super::sandbox_run::Ticks;
use crate::base::BaseLayer;
use crate::driver::{DRIVER_INSIDE, Driver};
use crate::pool::{Pool, PoolEntry};
use crate::sandbox::{BuildRoot, BuildUser, SandboxCommand, TaskLog, environment, network_files};
use crate::sources::{copy_distfiles, must_be_within};
use crate::tree_copy::copy_file;
use crate::work::BulkWork;

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
    })
}

pub(super) fn lay_out(inputs: &TaskInputs<'_>, layer: Option<&Path>) -> Result<(), StepError> {
    let place = inputs.place;
    build_root(inputs, layer).lay_out(&|| must_end(&place.is_ended))?;
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
