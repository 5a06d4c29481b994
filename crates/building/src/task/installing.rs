//! Lists of packages that `pkgadd` installs once over the base, as a layer for all tasks that need them.
//!
//! A complete layer is renamed into place; its last file lists its objects.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchadm_bulk_values::conf::{Limits, SandboxMount};
use patchadm_bulk_values::journal::FailureCause;
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_rootfs::{Dir, FileType, Lock, NewTree, Root, RootError, Timestamp, never};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;
use rustix::io::Errno;

use super::guarded::{GuardedState, UndeliveredObjects, in_the_way};
use super::place::{TaskPlace, forget_mount, must_end, remove_all, remove_within_time};
use super::sandbox_run::{Ticks, fail_without_room, run_in_sandbox, run_installer};
use super::{StepError, TaskError, TaskFailure, over_limit};
use crate::base::BaseLayer;
use crate::object_places::{Delivery, LARGEST_IN_ALL, ObjectPlaces, OverlongPlaces, PathKind, PlacedObject};
use crate::sandbox::{
    BuildRoot, BuildUser, LayerKind, SandboxCommand, SandboxLimits, StopCause, TaskLog, environment,
    installer,
};
use crate::shared_paths::{conflicts, delivery_of};
use crate::space::RoomWatch;
use crate::tree_copy::{copy_file, digest_of_file, each_below, is_listable};
use crate::work::{PROGRAM, build_directory, made_private};

/// Answers for an unattended installation: no check blocks, and any question fails.
const ADMIN: &str = "mail=\ninstance=overwrite\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\nrdepend=nocheck\n\
                     space=nocheck\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\nbasedir=default\n";

const ADMIN_FILE: &str = ".admin";

/// The base does not change, so its programs need no library checks.
pub(crate) const POLICY: &str = "shlib_skip=/**\n";
pub(crate) const POLICY_FILE: &str = "etc/patchadm/policy";

/// Installs packages and removes others. Arguments: file names, `--`, package names. Writes the failed one, or a marker
/// of success, to files. A package that removes others has failed.
const SCRIPT: &str = "\
known=
while [ \"$1\" != -- ]; do
    /.program pkgadd -n -a /.admin -d \"/packages/$1\" all || { echo \"$1\" > /.failed; exit 1; }
    for there in $known; do
        [ -f \"$there/pkginfo\" ] || { echo \"$1: it removes ${there##*/}\" > /.failed; exit 1; }
    done
    known=$(echo /var/sadm/pkg/*)
    shift
done
shift
echo > /.installed
for package; do /.program pkgrm -n -a /.admin \"$package\" || exit 1; done";

const FAILED_FILE: &str = ".failed";
const INSTALLED_FILE: &str = ".installed";

/// For reading the time of the file system.
const MOMENT: &[u8] = b"moment";

/// Time for an installation, or for all packages of a location if each is installed by itself.
const LONGEST: Duration = Duration::from_secs(1800);

/// Space for an installation of dependencies besides the packages, which are larger than their files.
pub(crate) const ROOM: u64 = 64 << 20;

/// Space for installation records besides `contents`.
pub(super) const RECORDS: u64 = 4 << 20;

pub(super) struct SandboxInstallation<'a> {
    pub(super) base: &'a BaseLayer,
    /// Above the base, the uppermost first.
    pub(super) lower: Vec<PathBuf>,
    pub(super) upper: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) packages: PathBuf,
    pub(super) place: &'a TaskPlace,
    pub(super) limits: SandboxLimits,
    /// Additional space for files that scripts do not choose.
    pub(super) room: u64,
}

#[derive(Debug)]
pub(super) enum InstallationEnd {
    Done,
    /// Why a package was not installed.
    Refused(String),
    /// All were installed, but something was not removed, or the last one made this outside its places.
    Remains(String),
    Over(StopCause),
    /// The sandbox lost its first process, perhaps by accident: whoever installs tries once more from the beginning.
    Lost(String),
}

impl SandboxInstallation<'_> {
    /// Installs the packages in these files, then removes packages, in this order.
    pub(super) fn run(
        &self,
        (files, removed): (&[String], &[String]),
        log: &mut TaskLog,
        ticks: Ticks<'_>,
    ) -> Result<InstallationEnd, TaskError> {
        let shell = ["/bin/sh", "-c", SCRIPT, "install"].map(OsString::from).into_iter();
        let words = shell.chain(files.iter().map(Into::into)).chain(["--".into()]);
        let words = words.chain(removed.iter().map(Into::into)).collect();
        let command = (Self::command(words), None);
        let (upper, end, _) = match self.run_command(command, (files, self.limits.clone()), log, ticks)? {
            Ok(ended) => ended,
            Err(failed) => return Ok(failed),
        };
        let is_well = end == Some(EnclosureEnd::Exited(0));
        if !is_well {
            self.fail_without_room(files)?;
        }
        // Scripts of packages ran there.
        let end = if is_well {
            remove_answers(&upper)
                .and_then(|end| Ok(self.obstacle(files, !removed.is_empty())?.unwrap_or(end)))
        } else {
            Self::failure(&upper, end)
        };
        end.or_else(left_by_packages)
    }

    /// Refuses packages whose scripts replaced something that every sandbox needs.
    fn obstacle(&self, files: &[String], has_removed: bool) -> Result<Option<InstallationEnd>, RootError> {
        let (root, base) = (Root::open(&self.upper)?, Dir::of_host(&self.base.layer)?);
        let Some(path) = in_the_way(&root, &base, has_removed)? else { return Ok(None) };
        let which = match files {
            [file] => format!("{file}: it"),
            _ => "one of the packages".to_owned(),
        };
        Ok(Some(InstallationEnd::Refused(format!("{which} changes /{path}, which every sandbox needs"))))
    }

    /// Installs each package in its own sandbox, so that no script affects another package's outcome. `deliveries` and
    /// `objects` follow the order of packages.
    fn run_each(
        &self,
        packages: &[PackageFile],
        (deliveries, objects): (&[Delivery], &[Vec<PlacedObject>]),
        (way, limits): (InstallWay, &Limits),
        log: &mut TaskLog,
        ticks: Ticks<'_>,
    ) -> Result<InstallationEnd, TaskError> {
        self.root()?.lay_out(&|| must_end(&self.place.is_ended))?;
        let mut guarded = GuardedState::of(&self.upper, &self.base.layer)?;
        let mut steps = Steps { ends: vec![self.moment()?] };
        let mut times = LocationTimes::default();
        let refused = |package: &PackageFile, how: &str| {
            Ok(InstallationEnd::Refused(format!("{}: {how}", package.file)))
        };
        for (number, package) in packages.iter().enumerate() {
            forget_mount(&self.scratch)?;
            package.copy_to(&self.place.empty("packages")?)?;
            let own = objects.get(number).map(Vec::as_slice).unwrap_or_default();
            match steps.intruder(&self.upper, own) {
                Ok(Some((step, path))) => {
                    let intruder = packages.get(step).unwrap_or(package);
                    return refused(intruder, &format!("it makes {path}, which {} delivers", package.file));
                }
                Ok(None) => {}
                Err(error) => return left_by_packages(error),
            }
            let is_watched = way == InstallWay::Watched && number + 1 == packages.len();
            let undelivered = || UndeliveredObjects::of(&self.upper, &self.base.layer, objects);
            let before = match is_watched.then(undelivered).transpose() {
                Ok(before) => before,
                Err(error) => return left_by_packages(error),
            };
            let slow = || {
                let (location, longest) = (&package.location, LONGEST.as_secs());
                refused(package, &format!("the packages of {location} take longer than {longest} s"))
            };
            let Some(left) = times.left(&package.location) else { return slow() };
            let from = format!("/packages/{}", package.file);
            let words = ["patchadm", "pkgadd", "-n", "-a", "/.admin", "-d", &from, "all"];
            let file = std::slice::from_ref(&package.file);
            let command = (Self::command(Vec::new()), Some(&words[..]));
            let within = (file, self.limits.clone().within(Some(left)));
            let (upper, end, took) = match self.run_command(command, within, log, &mut *ticks)? {
                Ok(ended) => ended,
                Err(InstallationEnd::Refused(how)) => return refused(package, &how),
                Err(InstallationEnd::Over(StopCause::Time(_))) => return slow(),
                Err(InstallationEnd::Over(stopped)) => {
                    return refused(package, &stopped_while(stopped, limits, "install").detail);
                }
                Err(InstallationEnd::Lost(how)) => {
                    return Ok(InstallationEnd::Lost(format!("{}: {how}", package.file)));
                }
                Err(failed) => return Ok(failed),
            };
            times.spend(&package.location, took);
            if end != Some(EnclosureEnd::Exited(0)) {
                self.fail_without_room(file)?;
                return refused(package, &ended_how(end));
            }
            let names = deliveries.get(number).map(|delivery| &delivery.packages);
            match remove_answers(&upper).and_then(|_| GuardedState::of(&self.upper, &self.base.layer)) {
                Ok(after) => {
                    if let Some(how) = guarded.forged(&after, names.unwrap_or(&BTreeSet::new())) {
                        return refused(package, &how);
                    }
                    guarded = after;
                }
                Err(error) if error.is_no_space() => return Err(error.into()),
                Err(error) => return refused(package, &format!("its output cannot be used: {error}")),
            }
            if let Some(before) = before {
                match undelivered() {
                    Ok(after) => {
                        let changed = UndeliveredObjects::first_change(before.as_ref(), after.as_ref());
                        if let Some(changed) = changed {
                            return Ok(InstallationEnd::Remains(changed));
                        }
                    }
                    Err(error) => return left_by_packages(error),
                }
            }
            steps.ends.push(self.moment()?);
        }
        Ok(InstallationEnd::Done)
    }

    fn moment(&self) -> Result<Timestamp, RootError> {
        self.place.dir.remove(MOMENT)?;
        self.place.dir.create(MOMENT)?;
        Ok(self.place.dir.look(MOMENT)?.map(|seen| seen.ctime).unwrap_or_default())
    }

    /// Runs a command that installs these files. Returns the layer, the exit and the time, or why there are none.
    fn run_command(
        &self,
        (command, own): (SandboxCommand, Option<&[&str]>),
        (files, limits): (&[String], SandboxLimits),
        log: &mut TaskLog,
        ticks: Ticks<'_>,
    ) -> Result<Result<RunInLayer, InstallationEnd>, TaskError> {
        let root = self.root()?;
        let upper = match root
            .lay_out(&|| must_end(&self.place.is_ended))
            .and_then(|upper| put_answers(&upper).map(|()| upper))
        {
            // In a copy, earlier packages may have put objects there.
            Err(error) if root.kind == LayerKind::Copy => return left_by_packages(error).map(Err),
            laid_out => laid_out?,
        };
        let room = self.room.saturating_add(self.bytes(files)?.saturating_mul(2));
        let limits = limits.with_room(room.saturating_add(self.contents()?.saturating_mul(3)));
        let written = [self.upper.clone()];
        let (place, limits) = (self.place, (&limits, &written[..]));
        let ended = match own {
            // The program must not load objects that packages have installed.
            Some(words) => run_installer(place, (&root, command), words, limits, log, ticks),
            None => run_in_sandbox(place, (&root, command), limits, log, ticks),
        };
        let ended = match ended {
            Err(lost @ TaskError::Lost(_)) => return Ok(Err(InstallationEnd::Lost(lost.to_string()))),
            ended => ended?,
        };
        Ok(match ended.stopped {
            Some(stopped) => Err(InstallationEnd::Over(stopped)),
            None => Ok((upper, ended.end, ended.took)),
        })
    }

    /// Turns a failure into one of the machine if there is no space for the installation of these files.
    fn fail_without_room(&self, files: &[String]) -> Result<(), TaskError> {
        let bytes = self.bytes(files)?.saturating_mul(2).saturating_add(self.contents()?.saturating_mul(3));
        fail_without_room(self.place, bytes.saturating_add(RECORDS))
    }

    /// Returns the size of `contents` below, which is rewritten.
    fn contents(&self) -> Result<u64, RootError> {
        let path = places::contents();
        let above = path.parent().unwrap_or_else(ObjectPath::root);
        for layer in self.lower.iter().chain([&self.base.layer]) {
            let Some(dir) = Root::open(layer)?.dir_of_object(&above)? else { continue };
            if let Some(seen) = dir.look(path.name())? {
                return Ok(seen.size);
            }
        }
        Ok(0)
    }

    fn bytes(&self, files: &[String]) -> Result<u64, RootError> {
        let packages = Dir::of_host(&self.packages)?;
        let mut bytes = 0_u64;
        for file in files {
            let seen = packages.look(file.as_bytes())?;
            bytes = bytes.saturating_add(seen.map_or(0, |seen| seen.size));
        }
        Ok(bytes)
    }

    /// Returns the failed package and the reason.
    fn failure(upper: &Dir, end: Option<EnclosureEnd>) -> Result<InstallationEnd, RootError> {
        let how = ended_how(end);
        if upper.look(INSTALLED_FILE.as_bytes())?.is_some() {
            return Ok(InstallationEnd::Remains(how));
        }
        let failed = upper.read_regular(FAILED_FILE.as_bytes(), 4096)?.unwrap_or_default();
        let failed = String::from_utf8_lossy(&failed).trim_end().to_owned();
        let which = if failed.is_empty() { String::new() } else { format!("{failed}: ") };
        Ok(InstallationEnd::Refused(format!("{which}{how}")))
    }

    fn root(&self) -> std::io::Result<BuildRoot> {
        let lower = self.lower.iter().chain([&self.base.layer]).cloned().collect();
        Ok(BuildRoot {
            kind: self.base.kind,
            ids: self.base.ids,
            lower,
            upper: self.upper.clone(),
            scratch: self.scratch.clone(),
            host: self.base.mounted.clone(),
            mounts: vec![SandboxMount::read_only(&self.packages, "/packages"), installer()?],
        })
    }

    fn command(words: Vec<OsString>) -> SandboxCommand {
        SandboxCommand {
            words,
            environment: environment(&[]),
            directory: "/".to_owned(),
            user: BuildUser::Installer,
            has_network: false,
            has_terminal: false,
        }
    }
}

fn ended_how(end: Option<EnclosureEnd>) -> String {
    end.map_or_else(|| "it was ended".to_owned(), |end| end.to_string())
}

/// The layer of a command that ran, how it ended, and how long it took.
type RunInLayer = (Dir, Option<EnclosureEnd>, Duration);

/// The time that the packages of each location have taken.
#[derive(Default)]
struct LocationTimes<'p>(BTreeMap<&'p str, Duration>);

impl<'p> LocationTimes<'p> {
    /// Returns the time that is left to a location, if any.
    fn left(&self, location: &str) -> Option<Duration> {
        let spent = self.0.get(location).copied().unwrap_or_default();
        LONGEST.checked_sub(spent).filter(|left| !left.is_zero())
    }

    fn spend(&mut self, location: &'p str, took: Duration) {
        let spent = self.0.entry(location).or_default();
        *spent = spent.saturating_add(took);
    }
}

/// Start of the first installation, and end of each.
struct Steps {
    ends: Vec<Timestamp>,
}

impl Steps {
    /// Returns the first object older than its package's installation (except directories), and the step that made it.
    fn intruder(
        &self,
        layer: &Path,
        objects: &[PlacedObject],
    ) -> Result<Option<(usize, ObjectPath)>, RootError> {
        let root = Root::open(layer)?;
        for PlacedObject { place, path, kind } in objects {
            let Some(above) = place.parent() else { continue };
            // A non-directory above is found with that path.
            let Ok(Some(dir)) = root.dir_if_there(&above) else { continue };
            let Some(seen) = dir.look(place.name())? else { continue };
            let is_expected = *kind == PathKind::Directory && seen.file_type == FileType::Directory;
            let step = self.ends.iter().position(|end| seen.ctime <= *end).and_then(|end| end.checked_sub(1));
            if let Some(step) = step.filter(|_| !is_expected) {
                return Ok(Some((step, path.clone())));
            }
        }
        Ok(None)
    }
}

fn put_answers(upper: &Dir) -> Result<(), RootError> {
    let mut answers = NewTree::below(upper.again()?);
    for (name, text) in [(ADMIN_FILE, ADMIN), (POLICY_FILE, POLICY)] {
        remove_file(upper, name)?;
        answers.write(name.as_bytes(), text.as_bytes(), Mode::of(0o644))?;
    }
    Ok(())
}

fn remove_answers(upper: &Dir) -> Result<InstallationEnd, RootError> {
    for name in [ADMIN_FILE, POLICY_FILE, INSTALLED_FILE] {
        remove_file(upper, name)?;
    }
    Ok(InstallationEnd::Done)
}

/// Refuses an unreadable or unremovable leftover: the packages caused it.
pub(super) fn left_by_packages(error: RootError) -> Result<InstallationEnd, TaskError> {
    if error.is_no_space() || error.errno() == Some(Errno::INTR) {
        return Err(error.into());
    }
    Ok(InstallationEnd::Refused(format!("its output cannot be used: {error}")))
}

/// Removes a file and the empty directories above it.
fn remove_file(layer: &Dir, path: &str) -> Result<(), RootError> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dirs = vec![layer.again()?];
    for part in above.split('/').filter(|part| !part.is_empty()) {
        let Some(dir) = dirs.last() else { break };
        if dir.look(part.as_bytes())?.is_none() {
            return Ok(());
        }
        dirs.push(dir.dir(part.as_bytes())?);
    }
    if let Some(dir) = dirs.last() {
        dir.remove(name.as_bytes())?;
    }
    for part in above.rsplit('/').filter(|part| !part.is_empty()) {
        dirs.pop();
        if !dirs.last().map_or(Ok(false), |dir| dir.remove_dir(part.as_bytes()))? {
            return Ok(());
        }
    }
    Ok(())
}

pub(crate) fn stopped_while(stopped: StopCause, limits: &Limits, phase: &str) -> TaskFailure {
    let failure = over_limit(Some(stopped), limits, Some(phase.to_owned()));
    failure.unwrap_or_else(|| TaskFailure::of(FailureCause::Install, "it was ended"))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageFile {
    pub(crate) directory: PathBuf,
    pub(crate) file: String,
    pub(crate) digest: String,
    pub(crate) location: String,
}

impl PackageFile {
    fn copy_to(&self, to: &Dir) -> Result<(), TaskError> {
        let name = self.file.as_bytes();
        copy_file(&Dir::of_host(&self.directory)?, name, to, name)?;
        Ok(to.set_mode(name, Mode::of(0o644))?)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstallWay {
    /// All in one sandbox: a failure belongs to the task that needs them.
    Together,
    /// Each in its own sandbox, which attributes a failure.
    Each,
    /// In the same way, but the layer is of no use if the last one changes something outside the places of packages: the
    /// failure is one of the check then, and names it.
    Watched,
}

/// Names a layer by its packages, base, layer kind, ids and way of installing.
fn name_of_set((digest, base): (&str, &BaseLayer), packages: &[PackageFile], way: InstallWay) -> String {
    let mut digests: Vec<&str> = packages.iter().map(|package| package.digest.as_str()).collect();
    digests.sort_unstable();
    let whole = if base.kind == LayerKind::Copy { "whole\n" } else { "" };
    let each = match way {
        InstallWay::Together => "",
        InstallWay::Each => "each\n",
        InstallWay::Watched => "watched\n",
    };
    Blake3Digest::of(format!("{whole}{each}{:?}\n{digest}\n{}", base.ids, digests.join("\n")).as_bytes())
        .hex()
}

/// Checks that no two packages deliver the same path. Returns their deliveries and places.
fn must_be_apart(
    base: &BaseLayer,
    packages: &[PackageFile],
) -> Result<(Vec<Delivery>, Vec<Vec<PlacedObject>>), StepError> {
    let failed = |detail: String| StepError::from(TaskFailure::of(FailureCause::Install, detail));
    let (mut deliveries, mut held): (Vec<Delivery>, usize) = (Vec::new(), 0);
    for package in packages {
        let read = delivery_of(&package.directory.join(&package.file));
        let mut delivery = read.map_err(|error| failed(error.to_string()))?;
        delivery.owner.clone_from(&package.location);
        held = held.saturating_add(delivery.held);
        if held > LARGEST_IN_ALL {
            return Err(failed(format!("{}: {OverlongPlaces}", package.file)));
        }
        deliveries.push(delivery);
    }
    let root = Root::open(&base.layer)?;
    let ended = |signal| StepError::from(TaskFailure::of(FailureCause::Install, format!("signal {signal}")));
    let places = ObjectPlaces::of(Some(&root), deliveries.iter().collect(), &never).map_err(ended)?;
    let name = |number: usize| packages.get(number).map(|package| package.file.as_str()).unwrap_or_default();
    let placed = places.all_objects(&never).map_err(ended)?.into_iter().enumerate();
    let placed =
        placed.map(|(number, own)| own.map_err(|overlong| failed(format!("{}: {overlong}", name(number)))));
    let objects: Vec<Vec<PlacedObject>> = placed.collect::<Result<_, _>>()?;
    let found = conflicts(objects.iter().map(Vec::as_slice));
    if let Some((at, conflict)) =
        found.iter().enumerate().find_map(|(at, conflicts)| Some((at, conflicts.first()?)))
    {
        return Err(failed(format!(
            "{} is in {} and in {}: they cannot be installed together",
            conflict.path,
            name(conflict.holder),
            name(at)
        )));
    }
    drop(places);
    Ok((deliveries, objects))
}

/// Returns the layer of these packages, making a missing or damaged one; `None` for an empty list. `session` identifies
/// the run; `log` gets the output.
pub(crate) fn installed_set(
    (build_dir, session, way): (&Path, &str, InstallWay),
    (base, base_digest): (&BaseLayer, &str),
    packages: &[PackageFile],
    place: &TaskPlace,
    limits: &Limits,
    (log, ticks): (&mut TaskLog, Ticks<'_>),
) -> Result<Option<PathBuf>, StepError> {
    if packages.is_empty() {
        return Ok(None);
    }
    let sets = made_private(&build_directory(build_dir)?, b"installed")?;
    let name = name_of_set((base_digest, base), packages, way);
    let path = build_dir.join("installed").join(&name);
    let wait = |_: &_| {
        std::thread::sleep(Duration::from_millis(10));
        !ticks(0, 0)
    };
    if is_checked(&sets, &name, session)? {
        return Ok(Some(path.join(LAYER)));
    }
    let lock = format!("{name}.lock");
    let _lock = Lock::take_file(&sets, lock.as_bytes(), PROGRAM, wait)?;
    if is_checked(&sets, &name, session)? || is_whole(&sets, &name, session)? {
        return Ok(Some(path.join(LAYER)));
    }
    let new = format!("{name}.new");
    let begin = || -> Result<Dir, TaskError> {
        remove_within_time(&sets, new.as_bytes(), &place.is_ended)?;
        let dir = sets.make_dir(new.as_bytes(), Mode::of(0o755))?;
        for part in [LAYER, "scratch"] {
            dir.make_dir(part.as_bytes(), Mode::of(0o755))?;
        }
        Ok(dir)
    };
    let mut dir = begin()?;
    let (deliveries, objects) = must_be_apart(base, packages)?;
    let made_at = build_dir.join("installed").join(&new);
    let installation = SandboxInstallation {
        base,
        lower: Vec::new(),
        upper: made_at.join(LAYER),
        scratch: made_at.join("scratch"),
        packages: place.part("packages"),
        place,
        limits: SandboxLimits::of(limits).within(Some(LONGEST)),
        room: ROOM,
    };
    let mut install = || -> Result<InstallationEnd, TaskError> {
        match way {
            InstallWay::Together => {
                let delivered = place.empty("packages")?;
                packages.iter().try_for_each(|package| package.copy_to(&delivered))?;
                let names: Vec<String> = packages.iter().map(|package| package.file.clone()).collect();
                installation.run((&names, &[]), &mut *log, &mut *ticks)
            }
            InstallWay::Each | InstallWay::Watched => {
                let placed = (&*deliveries, &*objects);
                installation.run_each(packages, placed, (way, limits), &mut *log, &mut *ticks)
            }
        }
    };
    let mut installed = install()?;
    if let InstallationEnd::Lost(_) = installed {
        dir = begin()?;
        installed = install()?;
    }
    match installed {
        InstallationEnd::Done => {}
        InstallationEnd::Refused(detail) | InstallationEnd::Lost(detail) => {
            return Err(TaskFailure::of(FailureCause::Install, detail).into());
        }
        InstallationEnd::Remains(detail) => {
            return Err(TaskFailure::of(FailureCause::Check, detail).into());
        }
        InstallationEnd::Over(stopped) => return Err(stopped_while(stopped, limits, "install").into()),
    }
    remove_all(&dir, b"scratch")?;
    if let InstallationEnd::Refused(detail) =
        mark_complete(&dir, session).map_or_else(left_by_packages, |()| Ok(InstallationEnd::Done))?
    {
        return Err(TaskFailure::of(FailureCause::Install, detail).into());
    }
    sets.move_to(new.as_bytes(), &sets, name.as_bytes())?;
    Ok(Some(path.join(LAYER)))
}

const LAYER: &str = "layer";

/// The last file of an installed set: the number of the rules for its content, and type, size and name of each object.
///
/// A power cut may leave this file in a layer without all bytes, because nobody waits for the disk. So the first task
/// of a run compares the layer with this list, and the others rely on that.
pub(crate) const COMPLETE: &[u8] = b"complete";

/// The number of the rules and limits by which the content of a layer was judged. It is raised when one of them becomes
/// stricter: layers are judged when they are made, so those by other rules are made again.
const RULES: u32 = 2;

fn line_of_rules() -> String {
    format!("rules {RULES}\n")
}

pub(crate) const CHECKED: &[u8] = b"checked";

/// The largest list in bytes. It is never held: only its digest is compared.
const LARGEST_LIST: u64 = 256 << 20;

/// The largest file that names a run.
const LARGEST_CHECKED: u64 = 4096;

/// The bytes of a list that are written at a time.
const PART_OF_LIST: usize = 1 << 16;

/// Marks a set as complete before its rename.
fn mark_complete(dir: &Dir, session: &str) -> Result<(), RootError> {
    mark_checked(dir, session)?;
    let (mut file, mut room) = (dir.create(COMPLETE)?, RoomWatch::begin(dir, 0)?);
    let mut text = Vec::with_capacity(PART_OF_LIST);
    text.extend_from_slice(line_of_rules().as_bytes());
    let mut put = |text: &mut Vec<u8>| {
        room.add(text)?;
        file.put(text)?;
        text.clear();
        Ok(())
    };
    each_line(dir, LARGEST_LIST, |line| {
        text.extend_from_slice(line);
        if text.len() < PART_OF_LIST { Ok(()) } else { put(&mut text) }
    })?;
    put(&mut text)
}

/// True if a task of the same run has verified the set.
fn is_checked(sets: &Dir, name: &str, session: &str) -> Result<bool, RootError> {
    let Some(dir) = find(sets, name)? else { return Ok(false) };
    let is_complete = dir.look(COMPLETE)?.is_some();
    Ok(is_complete && dir.read_regular(CHECKED, LARGEST_CHECKED)?.as_deref() == Some(session.as_bytes()))
}

/// Checks that a set is complete and was made by these rules. Renames another one, because a build may still use it.
pub(super) fn is_whole(sets: &Dir, name: &str, session: &str) -> Result<bool, RootError> {
    let Some(dir) = find(sets, name)? else {
        remove_all(sets, name.as_bytes())?;
        return Ok(false);
    };
    let list = noted_list(&dir)?;
    if list.is_some() && list == digest_of_list(&dir).ok() {
        mark_checked(&dir, session)?;
        return Ok(true);
    }
    dir.remove(COMPLETE)?;
    let aside = format!("{name}.bad-{:016x}", patchadm_rootfs::random()?);
    sets.move_to(name.as_bytes(), sets, aside.as_bytes())?;
    Ok(false)
}

fn find(sets: &Dir, name: &str) -> Result<Option<Dir>, RootError> {
    match sets.look(name.as_bytes())?.map(|seen| seen.file_type) {
        Some(FileType::Directory) => sets.dir(name.as_bytes()).map(Some),
        _ => Ok(None),
    }
}

/// Records the run. The file's time is the last use of the set.
fn mark_checked(dir: &Dir, session: &str) -> Result<(), RootError> {
    dir.replace_cache(PROGRAM, CHECKED, session.as_bytes(), Mode::of(0o644))
}

/// Returns the digest of the list of a set, or `None` if it has none.
fn noted_list(dir: &Dir) -> Result<Option<Blake3Digest>, RootError> {
    if dir.look(COMPLETE)?.is_none_or(|seen| seen.file_type != FileType::Regular) {
        return Ok(None);
    }
    digest_of_file(&dir.open_regular(COMPLETE)?, |error| dir.read_error(COMPLETE, error)).map(Some)
}

/// Returns the digest of the list that a layer should have.
fn digest_of_list(dir: &Dir) -> Result<Blake3Digest, RootError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(line_of_rules().as_bytes());
    each_line(dir, LARGEST_LIST, |line| {
        hasher.update(line);
        Ok(())
    })?;
    Ok(Blake3Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Gives type, size and name of each object, one per line, of at most `limit` bytes in all. Skips unreadable
/// directories.
fn each_line(
    dir: &Dir,
    limit: u64,
    mut visit: impl FnMut(&[u8]) -> Result<(), RootError>,
) -> Result<(), RootError> {
    let (mut left, layer) = (limit, dir.dir(LAYER.as_bytes())?);
    each_below::<RootError>(&layer, |above, name, seen| {
        let size = if seen.file_type == FileType::Regular { seen.size } else { 0 };
        let path = above.at(name);
        // The directory gets its name later.
        let path = path.relative().strip_prefix(layer.path().relative()).unwrap_or_default();
        let line = format!("{} {size} {}\n", seen.file_type.letter(), path.escape_ascii());
        left = left.checked_sub(line.len() as u64).ok_or_else(|| RootError::TooLarge {
            path: format!("the list of all objects up to {}", path.escape_ascii()),
            limit,
        })?;
        visit(line.as_bytes())?;
        Ok(seen.file_type == FileType::Directory && is_listable(above, name)?)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn made(at: &Path) -> Dir {
        let layer = at.join("new/layer");
        fs::create_dir_all(layer.join("opt/deep")).unwrap();
        fs::write(layer.join("opt/deep/file"), "text").unwrap();
        std::os::unix::fs::symlink("file", layer.join("opt/deep/link")).unwrap();
        let sets = Dir::of_host(at).unwrap();
        mark_complete(&sets.dir(b"new").unwrap(), "run 1").unwrap();
        sets.move_to(b"new", &sets, b"set").unwrap();
        sets
    }

    #[test]
    fn the_packages_of_a_location_have_one_time_for_all_of_them() {
        let mut times = LocationTimes::default();
        let most = LONGEST.saturating_sub(Duration::from_secs(10));
        times.spend("x/slow", most);
        assert_eq!(times.left("x/slow"), Some(Duration::from_secs(10)));
        times.spend("x/slow", Duration::from_secs(10));
        assert_eq!((times.left("x/slow"), times.left("x/other")), (None, Some(LONGEST)));
        times.spend("x/slow", Duration::MAX);
        assert_eq!(times.left("x/slow"), None);
    }

    #[test]
    fn the_first_task_of_a_run_looks_at_everything_and_the_others_believe_it() {
        let dir = tempfile::tempdir().unwrap();
        let sets = made(dir.path());
        assert!(is_checked(&sets, "set", "run 1").unwrap() && !is_checked(&sets, "set", "run 2").unwrap());
        assert!(is_whole(&sets, "set", "run 2").unwrap());
        assert!(is_checked(&sets, "set", "run 2").unwrap());
        assert!(!is_checked(&sets, "other", "run 2").unwrap() && !is_whole(&sets, "other", "run 2").unwrap());
    }

    #[test]
    fn the_list_of_a_layer_has_a_limit_and_is_written_in_parts_and_not_held() {
        let dir = tempfile::tempdir().unwrap();
        let sets = made(dir.path());
        let set = sets.dir(b"set").unwrap();
        let mut lines = 0;
        let mut list = |limit| {
            each_line(&set, limit, |_| {
                lines += 1;
                Ok(())
            })
        };
        list(1_000).unwrap();
        let refused = list(30).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the list of all objects up to /opt/deep/file is larger than 30 bytes"
        );
        assert!(
            matches!(left_by_packages(refused), Ok(InstallationEnd::Refused(_))),
            "its packages did that"
        );
        assert_eq!(lines, 4 + 2);
        let long = "n".repeat(200);
        for number in 0..500 {
            fs::write(dir.path().join(format!("set/layer/{number}{long}")), "").unwrap();
        }
        fs::remove_file(dir.path().join("set/complete")).unwrap();
        mark_complete(&set, "run 3").unwrap();
        assert!(fs::metadata(dir.path().join("set/complete")).unwrap().len() > PART_OF_LIST as u64);
        assert!(is_whole(&sets, "set", "run 4").unwrap());
    }

    #[test]
    fn a_set_that_is_not_as_its_mark_says_is_put_out_of_the_way() {
        type Damage = fn(&Path) -> std::io::Result<()>;
        let damages: [Damage; 7] = [
            |set| fs::write(set.join("layer/opt/deep/file"), ""),
            |set| fs::remove_file(set.join("layer/opt/deep/link")),
            |set| fs::write(set.join("layer/opt/more"), ""),
            |set| fs::write(set.join("complete"), ""),
            |set| fs::remove_file(set.join("complete")),
            // By the rules of another version.
            |set| {
                let list = fs::read_to_string(set.join("complete"))?;
                fs::write(set.join("complete"), list.strip_prefix(&line_of_rules()).unwrap())
            },
            |set| {
                let list = fs::read_to_string(set.join("complete"))?;
                fs::write(set.join("complete"), list.replacen(&line_of_rules(), "rules 0\n", 1))
            },
        ];
        for damage in damages {
            let dir = tempfile::tempdir().unwrap();
            let sets = made(dir.path());
            damage(&dir.path().join("set")).unwrap();
            assert!(!is_whole(&sets, "set", "run 2").unwrap());
            assert!(
                !is_checked(&sets, "set", "run 2").unwrap() && !is_checked(&sets, "set", "run 1").unwrap()
            );
            let [aside] = fs::read_dir(dir.path()).unwrap().collect::<Vec<_>>().try_into().unwrap();
            let aside = aside.unwrap();
            assert!(aside.file_name().to_str().unwrap().starts_with("set.bad-"));
            assert!(!aside.path().join("complete").exists(), "the next prune takes it");
        }
    }
}
