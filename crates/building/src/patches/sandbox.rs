//! A trial in a sandbox: the released packages are a layer, the patches are added over it and removed again.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchadm_bulk_values::conf::SandboxMount;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_making::delta::{MadePatch, TrialFailure, TriedPatches};
use patchadm_rootfs::{Dir, NewTree};
use patchadm_svr4::package::Mode;

use super::inside::{ChangedObject, LOWER, PACKAGES, TOUCHED, TrialOrder, TrialResult, TrialStep};
use super::request::PatchesRequest;
use crate::file_copy::copy_file;
use crate::sandbox::{
    BuildRoot, BuildUser, SandboxCommand, SandboxEnd, SandboxLimits, StopCause, TaskLog, environment,
    installer,
};
use crate::task::installing::{
    InstallWay, POLICY, POLICY_FILE, PackageFile, ROOM, installed_set, stopped_while,
};
use crate::task::place::{TaskPlace, remove_all};
use crate::task::sandbox_run::{Ticks, fail_if_full, memory_file, run_installer, run_work_in_sandbox};
use crate::task::step::{StepError, TaskError};

/// The name of a trial as a work that the first process of a sandbox does itself.
pub const TRIAL: &str = "trial";

/// The time that a trial may take, and the bytes that it may print.
const LONGEST: Duration = Duration::from_secs(1800);
const LARGEST_LOG: u64 = 4 << 20;

/// The longest line with a result, in bytes.
const LONGEST_RESULT: u64 = 1 << 20;

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
            (Ok(result), _) => Ok(result),
            (Err(TrialEnd::Failed(failure)), _) => Err(failure),
            (Err(_), Some(signal)) => Err(TrialFailure::Interrupted(signal)),
            (Err(TrialEnd::Step(StepError::Package(failure))), None) => {
                Err(TrialFailure::Machine(failure.detail))
            }
            (Err(TrialEnd::Step(StepError::Machine(error))), None) => {
                Err(TrialFailure::Machine(error.to_string()))
            }
        };
        match place.remove() {
            Ok(()) => (log, end),
            Err(error) => (log, of_machine(error.to_string())),
        }
    }

    fn run_in(&self, request: &PatchesRequest<'_>, place: &TaskPlace) -> Result<TrialResult, TrialEnd> {
        let mut log = TaskLog::begin(place.dir.create(b"trial.log")?, Some(LARGEST_LOG));
        let layer = install(request, place, &self.installed, &mut log)?;
        let lower: Vec<PathBuf> = layer.into_iter().chain([request.base.0.layer.clone()]).collect();
        let (order, files) = self.put_packages(place, lower.len())?;
        let root = tree_of(request, place, lower)?;
        let upper = root.lay_out()?;
        NewTree::below(upper.again()?).write(POLICY_FILE.as_bytes(), POLICY.as_bytes(), Mode::of(0o644))?;
        let limits = SandboxLimits::of(&request.work.conf.limits).with_room(Self::room(place)?);
        let mut trial = RunningTrial { request, place, root, order, limits, log, took: Duration::ZERO };
        if self.patches.is_empty() {
            return Ok(trial.judge(TrialStep::Installed, None)?.0);
        }
        let (seen, before) = trial.judge(TrialStep::Before, None)?;
        if seen.failure.is_some() {
            return Ok(seen);
        }
        let files: Vec<String> = files.iter().map(|file| format!("{PACKAGES}/{file}")).collect();
        if let Some(how) = trial.call("add", &files)? {
            return Ok(TrialResult::failed(format!("it cannot be applied: {how}")));
        }
        let (added, _) = trial.judge(TrialStep::Added, None)?;
        if added.failure.is_some() {
            return Ok(added);
        }
        let ids: Vec<String> = self.patches.iter().map(|patch| patch.id.clone()).collect();
        if let Some(how) = trial.call("remove", &ids)? {
            return Ok(TrialResult::failed(format!("it cannot be backed out: {how}")));
        }
        Ok(trial.judge(TrialStep::Removed, Some(before))?.0)
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

    /// Puts the patches and the packages where the trial finds them. Returns the order for its judge, and the files of the patches.
    fn put_packages(&self, place: &TaskPlace, layers: usize) -> Result<(TrialOrder, Vec<String>), StepError> {
        let to = place.empty("packages")?;
        let mut patches = Vec::new();
        let mut order = TrialOrder {
            step: TrialStep::Installed,
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
            patches.push(file);
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
        for name in to.names()? {
            to.set_mode(&name, Mode::of(0o644))?;
        }
        Ok((order, patches))
    }
}

/// The reasons why a trial has no result.
enum TrialEnd {
    /// It was stopped, or lost.
    Failed(TrialFailure),
    /// A step of it was not possible.
    Step(StepError),
}

impl<E: Into<StepError>> From<E> for TrialEnd {
    fn from(error: E) -> Self {
        Self::Step(error.into())
    }
}

/// A trial that goes on. The judge and each verb have a sandbox of their own over what was before: the judge is a process of this
/// program, a verb is one of the `patchadm` beside it, and each of them enters its sandbox before it begins. So none of them loads
/// anything of the tree, and nothing that scripts leave running is there when it is judged.
struct RunningTrial<'a> {
    request: &'a PatchesRequest<'a>,
    place: &'a TaskPlace,
    root: BuildRoot,
    order: TrialOrder,
    limits: SandboxLimits,
    log: TaskLog,
    /// The time that all sandboxes have taken.
    took: Duration,
}

impl RunningTrial<'_> {
    /// Lets the judge judge; it may need the state before the patches. Returns what came out, and the state that was told, which the
    /// file is at.
    fn judge(&mut self, step: TrialStep, before: Option<File>) -> Result<(TrialResult, File), TrialEnd> {
        self.order.step = step;
        // A value of strings and numbers: serialising it cannot fail.
        let line = serde_json::to_string(&self.order).unwrap_or_default();
        let mut order = memory_file(&format!("{line}\n"))?;
        if let Some(mut before) = before {
            order.seek(SeekFrom::End(0))?;
            io::copy(&mut before, &mut order)?;
        }
        let end_of_order = order.seek(SeekFrom::End(0))?;
        order.rewind()?;
        match self.ended(|place, sandbox, limits, log, ticks| {
            run_work_in_sandbox(place, sandbox, (TRIAL, &order), limits, log, ticks)
        })? {
            Some(EnclosureEnd::Exited(0)) => {}
            end if step == TrialStep::Installed => {
                fail_if_full(&self.place.path)?;
                let how = format!("the look at the packages ended otherwise than it should: {end:?}");
                return Err(TrialEnd::Failed(TrialFailure::Patch(how)));
            }
            end => {
                let how = format!("the process of the trial ended otherwise than it should: {end:?}");
                return Err(TrialEnd::Failed(TrialFailure::Machine(how)));
            }
        }
        order.seek(SeekFrom::Start(end_of_order))?;
        let mut line = Vec::new();
        BufReader::new(&order).take(LONGEST_RESULT).read_until(b'\n', &mut line)?;
        let result: TrialResult =
            serde_json::from_slice(&line).map_err(|error| TaskError::Io(error.into()))?;
        if result.failure.is_some() || result.changed.is_some() {
            fail_if_full(&self.place.path)?;
        }
        order.seek(SeekFrom::Start(end_of_order + line.len() as u64))?;
        Ok((result, order))
    }

    /// Calls a verb of `patchadm` with operands. Returns how it failed, if it did.
    fn call(&mut self, verb: &str, operands: &[String]) -> Result<Option<String>, TrialEnd> {
        let line = format!("==> patchadm {verb} {}\n", operands.join(" "));
        self.log.add(line.as_bytes(), |_| {})?;
        let operands = operands.iter().map(String::as_str);
        let words: Vec<&str> = ["patchadm", verb].into_iter().chain(operands).collect();
        let how = match self.ended(|place, sandbox, limits, log, ticks| {
            run_installer(place, sandbox, &words, limits, log, ticks)
        })? {
            Some(EnclosureEnd::Exited(0)) => return Ok(None),
            end => end.map_or_else(|| "it was ended".to_owned(), |end| end.to_string()),
        };
        fail_if_full(&self.place.path)?;
        self.judge(TrialStep::Failed, None)?;
        Ok(Some(format!("{verb}: {how}")))
    }

    /// Returns how a process in a sandbox of its own has ended.
    fn ended(
        &mut self,
        run: impl FnOnce(
            &TaskPlace,
            (&BuildRoot, SandboxCommand),
            (&SandboxLimits, &[PathBuf]),
            &mut TaskLog,
            Ticks<'_>,
        ) -> Result<SandboxEnd, TaskError>,
    ) -> Result<Option<EnclosureEnd>, TrialEnd> {
        // The kernel mounts no layer again for which it was told not to wait for the disk, while its mark is there.
        let scratch = Dir::of_host(&self.root.scratch)?;
        for name in scratch.names()? {
            remove_all(&scratch, &name)?;
        }
        let command = SandboxCommand {
            words: Vec::new(),
            environment: environment(&[]),
            directory: "/".to_owned(),
            user: BuildUser::Installer,
            has_network: false,
            has_terminal: false,
        };
        let limits = self.limits.clone().within(Some(LONGEST.saturating_sub(self.took)));
        let written = [self.root.upper.clone()];
        let mut ticks = |_, _| (self.request.interrupt)().is_some();
        let sandbox = (&self.root, command);
        let ended = run(self.place, sandbox, (&limits, &written), &mut self.log, &mut ticks)?;
        self.took += ended.took;
        let how = match ended.stopped {
            None => return Ok(ended.end),
            Some(StopCause::Time(_)) => format!("it took {} s", self.took.as_secs()),
            Some(StopCause::Output(bytes)) => format!("it printed {bytes} bytes"),
            Some(stopped) => stopped_while(stopped, &self.request.work.conf.limits, "trial").detail,
        };
        Err(TrialEnd::Failed(TrialFailure::Patch(how)))
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
    Ok(match look.result(request).1 {
        Ok(result) => result.changed.map(Misfit::Changed),
        // Packages alone have written what is looked at.
        Err(TrialFailure::Patch(how)) => Some(Misfit::Changed(ChangedObject { package: None, how })),
        Err(failure) => return Err(failure),
    })
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
    let at = (request.work.conf.build_dir.as_path(), session.as_str(), InstallWay::Each);
    installed_set(at, base, packages, place, &request.work.conf.limits, (log, &mut ticks))
}

/// Returns the tree of a trial.
fn tree_of(request: &PatchesRequest<'_>, place: &TaskPlace, lower: Vec<PathBuf>) -> io::Result<BuildRoot> {
    let upper = place.part("upper");
    let mut mounts = vec![
        SandboxMount::read_only(&place.part("packages"), "/packages"),
        SandboxMount::read_only(&upper, format!("/{TOUCHED}")),
        // For scripts, which call commands.
        installer()?,
    ];
    let layers = lower.iter().enumerate();
    mounts.extend(layers.map(|(number, layer)| SandboxMount::read_only(layer, format!("/{LOWER}/{number}"))));
    Ok(BuildRoot {
        kind: request.base.0.kind,
        ids: request.base.0.ids,
        lower,
        upper,
        scratch: place.part("scratch"),
        host: request.base.0.mounted.clone(),
        mounts,
    })
}
