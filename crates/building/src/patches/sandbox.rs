//! A trial in a sandbox: the released packages are a layer, the patches are added over it and removed again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchadm_bulk::conf::SandboxMount;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_making::delta::{MadePatch, TrialFailure, TriedPatches};
use patchadm_rootfs::{Dir, NewTree};
use patchadm_svr4::package::Mode;

use super::inside::{
    ChangedObject, LOWER, ORDER_FILE, RESULT_FILE, TOUCHED, TrialOrder, TrialPatch, TrialResult,
};
use super::request::PatchesRequest;
use crate::file_copy::copy_file;
use crate::sandbox::{
    BuildRoot, BuildUser, OWN_PROGRAM, SandboxCommand, SandboxLimits, StopCause, TaskLog, environment,
    own_program,
};
use crate::task::installing::{POLICY, POLICY_FILE, PackageFile, ROOM, installed_set, stopped_while};
use crate::task::place::TaskPlace;
use crate::task::sandbox_run::run_in_sandbox;
use crate::task::step::{StepError, TaskError};

/// The name under which this program is the process of a trial.
pub const TRIAL_PROCESS: &str = "__bulk-trial";

/// The time that a trial may take, and the bytes that it may print.
const LONGEST: Duration = Duration::from_secs(1800);
const LARGEST_LOG: u64 = 4 << 20;

/// The largest result, in bytes.
const LARGEST_RESULT: u64 = 1 << 20;

/// Patches to be tried in one sandbox; without any, the packages that are expected are compared with what is installed.
pub(super) struct SandboxTrial<'a> {
    /// The patches.
    pub(super) patches: Vec<&'a MadePatch>,
    /// The packages that are installed before, in this order.
    pub(super) installed: Vec<PackageFile>,
    /// Those of them that the patches change.
    pub(super) released: Vec<PackageFile>,
    /// The packages that the patches must make.
    pub(super) expected: Vec<PackageFile>,
}

impl SandboxTrial<'_> {
    /// Carries the trial out.
    pub(super) fn run(&self, request: &PatchesRequest<'_>) -> TriedPatches {
        let (log, result) = self.result(request);
        let end =
            result.and_then(|result| result.failure.map_or(Ok(()), |why| Err(TrialFailure::Patch(why))));
        TriedPatches { log, end }
    }

    /// Returns the log of the trial, and what came out.
    fn result(&self, request: &PatchesRequest<'_>) -> (Vec<u8>, Result<TrialResult, TrialFailure>) {
        let work = request.work;
        let of_machine = |reason: String| Err(TrialFailure::Machine(reason));
        let place = match TaskPlace::make(&work.conf.build_dir, &work.id) {
            Ok(place) => place,
            Err(error) => return (Vec::new(), of_machine(error.to_string())),
        };
        let end = self.run_in(request, &place);
        let log = fs::read(place.part("trial.log")).unwrap_or_default();
        let end = match (end, (request.interrupt)()) {
            (Ok(end), _) => end,
            (Err(_), Some(signal)) => Err(TrialFailure::Interrupted(signal)),
            (Err(StepError::Package(failure)), None) => Err(TrialFailure::Machine(failure.detail)),
            (Err(StepError::Machine(error)), None) => Err(TrialFailure::Machine(error.to_string())),
        };
        match place.remove() {
            Ok(()) => (log, end),
            Err(error) => (log, of_machine(error.to_string())),
        }
    }

    fn run_in(
        &self,
        request: &PatchesRequest<'_>,
        place: &TaskPlace,
    ) -> Result<Result<TrialResult, TrialFailure>, StepError> {
        let mut log = TaskLog::begin(place.dir.create(b"trial.log")?, Some(LARGEST_LOG));
        let mut ticks = |_, _| (request.interrupt)().is_some();
        let own = &request.work.conf.limits;
        let layer = install(request, place, &self.installed, &mut log)?;
        let lower: Vec<PathBuf> = layer.into_iter().chain([request.base.0.layer.clone()]).collect();
        self.put_packages(place, lower.len())?;
        request.base.0.ids.give(&place.dir, b"out", BuildUser::Installer.id())?;
        let (root, command) = sandbox(request, place, lower)?;
        let upper = root.lay_out()?;
        NewTree::below(upper.again()?).write(POLICY_FILE.as_bytes(), POLICY.as_bytes(), Mode::of(0o644))?;
        let limits = SandboxLimits::of(own).within(Some(LONGEST)).with_room(Self::room(place)?);
        let written = [place.part("upper"), place.part("out")];
        let ended = run_in_sandbox(place, (&root, command), (&limits, &written), &mut log, &mut ticks)?;
        let failed = |reason: String| Ok(Err(TrialFailure::Patch(reason)));
        match (ended.end, ended.stopped) {
            (Some(EnclosureEnd::Exited(0)), _) => {}
            (_, Some(StopCause::Time(took))) => return failed(format!("it took {} s", took.as_secs())),
            (_, Some(StopCause::Output(bytes))) => return failed(format!("it printed {bytes} bytes")),
            (_, Some(stopped)) => return failed(stopped_while(stopped, own, "trial").detail),
            (end, _) => {
                let reason = format!("the process of the trial ended otherwise than it should: {end:?}");
                return Ok(Err(TrialFailure::Machine(reason)));
            }
        }
        let bytes = Dir::of_host(&place.part("out"))?.read_regular(RESULT_FILE.as_bytes(), LARGEST_RESULT)?;
        let result = serde_json::from_slice::<TrialResult>(&bytes.unwrap_or_default());
        Ok(Ok(result.map_err(|error| TaskError::Io(error.into()))?))
    }

    /// Returns the bytes that patches need, which replace files of the packages and keep what they replace.
    fn room(place: &TaskPlace) -> Result<u64, StepError> {
        let packages = Dir::of_host(&place.part("packages"))?;
        let mut bytes = ROOM;
        for name in packages.names()? {
            let seen = packages.look(&name)?;
            bytes = bytes.saturating_add(seen.map_or(0, |seen| seen.size).saturating_mul(2));
        }
        Ok(bytes)
    }

    /// Puts the patches, the packages and the order where the process of the trial finds them.
    fn put_packages(&self, place: &TaskPlace, layers: usize) -> Result<(), StepError> {
        let to = place.empty("packages")?;
        let mut order = TrialOrder {
            patches: Vec::new(),
            expected: Vec::new(),
            released: Vec::new(),
            has_owners: rustix::process::geteuid().is_root(),
            layers,
        };
        for (number, patch) in self.patches.iter().enumerate() {
            let name = patch.path.file_name().unwrap_or_default().to_string_lossy();
            let file = format!("patch{number}-{name}");
            let from = Dir::of_host(patch.path.parent().unwrap_or(Path::new("/")))?;
            copy_file(&from, name.as_bytes(), &to, file.as_bytes())?;
            order.patches.push(TrialPatch { id: patch.id.clone(), file });
        }
        for (kind, packages, files) in
            [("new", &self.expected, &mut order.expected), ("old", &self.released, &mut order.released)]
        {
            for (number, package) in packages.iter().enumerate() {
                let file = format!("{kind}{number}.pkg");
                copy_file(&Dir::of_host(&package.directory)?, package.file.as_bytes(), &to, file.as_bytes())?;
                files.push(file);
            }
        }
        // A value of strings and numbers: serialising it cannot fail.
        let order = serde_json::to_vec(&order).unwrap_or_default();
        to.create(ORDER_FILE.as_bytes())?.put(&order)?;
        for name in to.names()? {
            to.set_mode(&name, Mode::of(0o644))?;
        }
        Ok(())
    }
}

/// The reason why packages do not go together.
pub(super) enum Misfit {
    /// One cannot be installed with those before it: its number, if that is known, and how the installation ended.
    Refused(Option<usize>, String),
    /// All are installed, and then something is not as a package delivers it.
    Changed(ChangedObject),
}

/// Installs packages together, each behind what it needs, and compares each with what is there then. Returns what does not fit,
/// if anything.
pub(super) fn misfit(
    request: &PatchesRequest<'_>,
    installed: &[PackageFile],
) -> Result<Option<Misfit>, TrialFailure> {
    if let Some(refused) = refused_package(request, installed)? {
        return Ok(Some(refused));
    }
    let expected = installed.to_vec();
    let look =
        SandboxTrial { patches: Vec::new(), installed: expected.clone(), released: Vec::new(), expected };
    Ok(look.result(request).1?.changed.map(Misfit::Changed))
}

fn refused_package(
    request: &PatchesRequest<'_>,
    installed: &[PackageFile],
) -> Result<Option<Misfit>, TrialFailure> {
    let machine = |error: &dyn std::fmt::Display| TrialFailure::Machine(error.to_string());
    let work = request.work;
    let place = TaskPlace::make(&work.conf.build_dir, &work.id).map_err(|error| machine(&error))?;
    let ended = place
        .dir
        .create(b"trial.log")
        .map_err(StepError::from)
        .and_then(|log| install(request, &place, installed, &mut TaskLog::begin(log, Some(LARGEST_LOG))));
    place.remove().map_err(|error| machine(&error))?;
    match (ended, (request.interrupt)()) {
        (_, Some(signal)) => Err(TrialFailure::Interrupted(signal)),
        (Ok(_), None) => Ok(None),
        (Err(StepError::Machine(error)), None) => Err(machine(&error)),
        (Err(StepError::Package(failure)), None) => {
            let is_it = |file: &PackageFile| failure.detail.starts_with(&format!("{}: ", file.file));
            Ok(Some(Misfit::Refused(installed.iter().position(is_it), failure.detail)))
        }
    }
}

/// Returns the layer with these packages; none for an empty list.
fn install(
    request: &PatchesRequest<'_>,
    place: &TaskPlace,
    packages: &[PackageFile],
    log: &mut TaskLog,
) -> Result<Option<PathBuf>, StepError> {
    let mut ticks = |_, _| (request.interrupt)().is_some();
    let base = (request.base.0, &*request.base.1.to_string());
    // Trials belong to no run, so each of them checks a layer that is there.
    let session = format!("{} {:016x}", request.work.id, patchadm_rootfs::random()?);
    let at = (request.work.conf.build_dir.as_path(), session.as_str());
    installed_set(at, base, packages, place, &request.work.conf.limits, (log, &mut ticks))
}

/// Returns the sandbox of a trial, and its command.
fn sandbox(
    request: &PatchesRequest<'_>,
    place: &TaskPlace,
    lower: Vec<PathBuf>,
) -> std::io::Result<(BuildRoot, SandboxCommand)> {
    let upper = place.part("upper");
    let mut mounts = vec![
        SandboxMount::read_only(&place.part("packages"), "/packages"),
        own_program()?,
        SandboxMount { is_writable: true, source: place.part("out"), target: "/out".into() },
        SandboxMount::read_only(&upper, format!("/{TOUCHED}")),
    ];
    let layers = lower.iter().enumerate();
    mounts.extend(layers.map(|(number, layer)| SandboxMount::read_only(layer, format!("/{LOWER}/{number}"))));
    let root = BuildRoot {
        kind: request.base.0.kind,
        ids: request.base.0.ids,
        lower,
        upper,
        scratch: place.part("scratch"),
        host: request.base.0.mounted.clone(),
        mounts,
    };
    let command = SandboxCommand {
        words: vec![OWN_PROGRAM.into(), TRIAL_PROCESS.into()],
        environment: environment(&[]),
        directory: "/".to_owned(),
        user: BuildUser::Installer,
        has_network: false,
        has_terminal: false,
    };
    Ok((root, command))
}
