//! The hooks by which apt, dpkg and dnf call this program: put into a root where no package of ours did, looked at, and
//! taken away.
//!
//! Their texts are those that our packages ship (`packaging/hooks`). A hook calls the program at the first of a few fixed
//! places where the root has it and nobody but the superuser could exchange it, because the superuser executes it. A file is ours if its text, for any of these places, is
//! a version that the hook ever had (`packaging/hooks/digests`); no other file is written over or removed. Each file comes by
//! one rename, so that no lock is needed.
//!
//! rpm by itself calls no file: the trigger for it is in our own package, and cannot be put anywhere without it.

use std::fmt::Write as _;

use patchadm_inputs::native::NativeManager;
use patchadm_inputs::sha256::Sha256;
use patchadm_rootfs::{Dir, FileType, ForeignObject, ObjectStatus, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::io::Errno;

use super::failure::Failure;
use super::new_database::made_directory;
use super::session::may_change;

const PROGRAM: &str = "patchadm-hooks";

/// The places where the program may be called by a hook, that of our packages first.
const PROGRAM_PLACES: [&str; 4] =
    ["/usr/bin/patchadm", "/usr/sbin/patchadm", "/usr/local/bin/patchadm", "/usr/local/sbin/patchadm"];

/// The largest file that is compared with a hook, in bytes.
const LARGEST: u64 = 64 << 10;

/// Each version that a hook ever had: a digest and the name of its source.
const DIGESTS: &str = include_str!("../../../../packaging/hooks/digests");

/// A package manager that calls hooks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookManager {
    /// apt, before it changes packages.
    Apt,
    /// dpkg, after each of its calls.
    Dpkg,
    /// dnf 4, through its plugin `post-transaction-actions`.
    Dnf4,
    /// dnf 5, through its plugin `actions`.
    Dnf5,
}

impl HookManager {
    /// Returns its name, which never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dpkg => "dpkg",
            Self::Dnf4 => "dnf4",
            Self::Dnf5 => "dnf5",
        }
    }

    /// Returns the manager of the packages that it changes.
    pub fn native(self) -> NativeManager {
        match self {
            Self::Apt | Self::Dpkg => NativeManager::Dpkg,
            Self::Dnf4 | Self::Dnf5 => NativeManager::Rpm,
        }
    }

    /// Returns the paths any of which says that a root has it.
    fn signs(self) -> &'static [&'static str] {
        match self {
            Self::Apt | Self::Dpkg => &["/var/lib/dpkg/status"],
            Self::Dnf4 => &["/etc/dnf/plugins", "/usr/bin/dnf-3"],
            Self::Dnf5 => &["/etc/dnf/libdnf5-plugins", "/usr/bin/dnf5", "/usr/lib64/libdnf5"],
        }
    }
}

/// The paths any of which says that a root has rpm.
const SIGNS_OF_RPM: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];

struct ShippedHook {
    manager: HookManager,
    place: &'static str,
    source: &'static str,
    text: &'static str,
}

const SHIPPED: [ShippedHook; 4] = [
    ShippedHook {
        manager: HookManager::Apt,
        place: "/etc/apt/apt.conf.d/80patchadm",
        source: "80patchadm",
        text: include_str!("../../../../packaging/hooks/80patchadm"),
    },
    ShippedHook {
        manager: HookManager::Dpkg,
        place: "/etc/dpkg/dpkg.cfg.d/patchadm",
        source: "dpkg.cfg",
        text: include_str!("../../../../packaging/hooks/dpkg.cfg"),
    },
    ShippedHook {
        manager: HookManager::Dnf4,
        place: "/etc/dnf/plugins/post-transaction-actions.d/patchadm.action",
        source: "dnf4.action",
        text: include_str!("../../../../packaging/hooks/dnf4.action"),
    },
    ShippedHook {
        manager: HookManager::Dnf5,
        place: "/etc/dnf/libdnf5-plugins/actions.d/patchadm.actions",
        source: "dnf5.actions",
        text: include_str!("../../../../packaging/hooks/dnf5.actions"),
    },
];

/// The state of a hook in a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    /// It is there as it should be.
    Same,
    /// It is ours, of another version or for a program at another place.
    Outdated,
    /// Something else is in its place: the administrator changed it.
    Changed,
    /// Nothing is in its place.
    Missing,
}

impl HookState {
    /// Returns the word for it, which never changes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Outdated => "outdated",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

/// The treatment of a hook by an installation or removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAction {
    /// It was put into the root.
    Installed,
    /// It replaced another one of ours.
    Replaced,
    /// It was there already.
    Kept,
    /// It was removed.
    Removed,
    /// It was left because it is not ours.
    Left,
}

impl HookAction {
    /// Returns the word for it, which never changes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Replaced => "replaced",
            Self::Kept => "kept",
            Self::Removed => "removed",
            Self::Left => "left",
        }
    }
}

/// A hook in a root.
#[derive(Clone, Debug)]
pub struct HookEntry {
    /// The package manager that calls it.
    pub manager: HookManager,
    /// Its file.
    pub path: ObjectPath,
    /// True if the root has the package manager.
    pub is_wanted: bool,
    /// Its state, after what was done.
    pub state: HookState,
    /// The treatment; `None` if nothing was to be done.
    pub action: Option<HookAction>,
    text: String,
}

/// The hooks of a root.
#[derive(Clone, Debug)]
pub struct HookReport {
    /// The path by which hooks call the program.
    pub program: &'static str,
    /// True if the root has the program there. Without it a hook does nothing.
    pub has_program: bool,
    /// The reason a program that is there is called by no hook: somebody else could exchange it.
    pub foreign_program: Option<ForeignObject>,
    /// True if the root has rpm and no dnf that calls hooks.
    pub has_rpm_alone: bool,
    /// Every hook that is wanted or there.
    pub hooks: Vec<HookEntry>,
}

/// Looks at the hooks of a root.
pub fn survey_hooks(root: &Root) -> Result<HookReport, Failure> {
    let (mut place, mut foreign_program) = (None, None);
    for candidate in PROGRAM_PLACES {
        if !behind_links(root, &in_root(candidate))?.is_some_and(|seen| is_program(&seen)) {
            continue;
        }
        match root.others_on_the_way(&in_root(candidate))? {
            None => {
                place = Some(candidate);
                break;
            }
            Some(foreign) => foreign_program = foreign_program.or(Some((candidate, foreign))),
        }
    }
    let there = foreign_program.as_ref().map(|(candidate, _)| *candidate);
    let program = place.or(there).unwrap_or(PROGRAM_PLACES[0]);
    let foreign_program = foreign_program.map(|(_, foreign)| foreign);
    let mut hooks = Vec::new();
    for shipped in SHIPPED {
        let entry = shipped.seen(root, program)?;
        if entry.is_wanted || entry.state != HookState::Missing {
            hooks.push(entry);
        }
    }
    let has_dnf = hooks.iter().any(|hook| hook.is_wanted && hook.manager.native() == NativeManager::Rpm);
    let has_rpm_alone = !has_dnf && first_of(root, &SIGNS_OF_RPM, |_| true)?.is_some();
    Ok(HookReport { program, has_program: place.is_some(), foreign_program, has_rpm_alone, hooks })
}

/// Installs the hooks of the package managers that a root has. Replaces those that are ours and outdated; leaves those that
/// are changed.
pub fn install_hooks(root: &Root) -> Result<HookReport, Failure> {
    may_change(root)?;
    let mut report = survey_hooks(root)?;
    if let (false, Some(foreign)) = (report.has_program, &report.foreign_program) {
        return Err(Failure::BadFile(format!(
            "no hook is installed, because package managers would run {} as the superuser: {foreign}",
            root.show(&in_root(report.program))
        )));
    }
    for hook in report.hooks.iter_mut().filter(|hook| hook.is_wanted) {
        let action = match hook.state {
            HookState::Same => HookAction::Kept,
            HookState::Changed => HookAction::Left,
            HookState::Missing => HookAction::Installed,
            HookState::Outdated => HookAction::Replaced,
        };
        if matches!(action, HookAction::Installed | HookAction::Replaced) {
            hook.write(root)?;
            hook.state = HookState::Same;
        }
        hook.action = Some(action);
    }
    Ok(report)
}

/// Removes the hooks of a root that are ours, of any version; leaves those that are changed.
pub fn remove_hooks(root: &Root) -> Result<HookReport, Failure> {
    may_change(root)?;
    let mut report = survey_hooks(root)?;
    for hook in &mut report.hooks {
        hook.action = match hook.state {
            HookState::Missing => None,
            HookState::Changed => Some(HookAction::Left),
            HookState::Same | HookState::Outdated => {
                hook.remove(root)?;
                hook.state = HookState::Missing;
                Some(HookAction::Removed)
            }
        };
    }
    Ok(report)
}

impl ShippedHook {
    fn seen(&self, root: &Root, program: &str) -> Result<HookEntry, Failure> {
        let path = in_root(self.place);
        let text = self.text.replace(PROGRAM_PLACES[0], program);
        let state = match bytes_at(root, &path)? {
            None => HookState::Missing,
            Some(bytes) if bytes == text.as_bytes() => HookState::Same,
            Some(bytes) if self.is_ours(&bytes) => HookState::Outdated,
            Some(_) => HookState::Changed,
        };
        let is_wanted = first_of(root, self.manager.signs(), |_| true)?.is_some();
        Ok(HookEntry { manager: self.manager, path, is_wanted, state, action: None, text })
    }

    /// Tells whether bytes are a version of the hook, for a program at any of its places.
    fn is_ours(&self, bytes: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        PROGRAM_PLACES.iter().any(|place| {
            let shipped = text.replace(place, PROGRAM_PLACES[0]);
            shipped.replace(PROGRAM_PLACES[0], place) == text && self.has_version(&shipped)
        })
    }

    fn has_version(&self, text: &str) -> bool {
        let digest = Sha256::digest(text).iter().fold(String::new(), |mut digest, byte| {
            // Writing to a string does not fail.
            let _ = write!(digest, "{byte:02x}");
            digest
        });
        DIGESTS.lines().any(|line| line.split_once("  ") == Some((&digest, self.source)))
    }
}

impl HookEntry {
    fn write(&self, root: &Root) -> Result<(), Failure> {
        // The package manager runs what the file says as the superuser.
        if let Some(foreign) = root.others_on_the_way(&self.path)? {
            return Err(Failure::BadFile(format!("no hook is put at {}: {foreign}", root.show(&self.path))));
        }
        let dir = made_directory(root, &directory_of(&self.path))?;
        dir.remove_leftovers(PROGRAM)?;
        dir.replace_file(PROGRAM, self.path.name(), self.text.as_bytes(), Mode::of(0o644))?;
        Ok(dir.sync()?)
    }

    fn remove(&self, root: &Root) -> Result<(), Failure> {
        let Some(dir) = directory(root, &directory_of(&self.path))? else { return Ok(()) };
        dir.remove(self.path.name())?;
        Ok(dir.sync()?)
    }
}

fn in_root(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

fn directory_of(path: &ObjectPath) -> ObjectPath {
    path.parent().unwrap_or_else(ObjectPath::root)
}

fn directory(root: &Root, path: &ObjectPath) -> Result<Option<Dir>, RootError> {
    root.dir_if_there(&root.resolver().locate_dir(path)?)
}

/// Returns the bytes of a file, empty ones for what is no file or too large to be a hook; `None` if nothing is there.
fn bytes_at(root: &Root, path: &ObjectPath) -> Result<Option<Vec<u8>>, RootError> {
    let Some(dir) = directory(root, &directory_of(path))? else { return Ok(None) };
    match dir.look(path.name())? {
        None => Ok(None),
        Some(seen) if seen.file_type != FileType::Regular || seen.size > LARGEST => Ok(Some(Vec::new())),
        Some(_) => dir.read(path.name(), LARGEST),
    }
}

/// Returns the first of these paths behind which the root has an object that fits.
fn first_of<'p>(
    root: &Root,
    paths: &[&'p str],
    fits: impl Fn(&ObjectStatus) -> bool,
) -> Result<Option<&'p str>, RootError> {
    for path in paths {
        if behind_links(root, &in_root(path))?.is_some_and(|seen| fits(&seen)) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Looks at the object behind a path, with its own name followed too; `None` if the path leads nowhere.
fn behind_links(root: &Root, path: &ObjectPath) -> Result<Option<ObjectStatus>, RootError> {
    let looked = || {
        let physical = root.resolver().locate_dir(path)?;
        let dir = root.dir_if_there(&directory_of(&physical))?;
        dir.map_or(Ok(None), |dir| dir.look(physical.name()))
    };
    match looked() {
        Err(RootError::Loop(_)) => Ok(None),
        Err(error) if error.errno() == Some(Errno::NOTDIR) => Ok(None),
        looked => looked,
    }
}

fn is_program(seen: &ObjectStatus) -> bool {
    seen.file_type == FileType::Regular && seen.mode.bits() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_version_of_every_hook_is_among_those_it_ever_had() {
        for hook in SHIPPED {
            assert!(hook.has_version(hook.text), "add a line for {} to packaging/hooks/digests", hook.source);
        }
    }

    #[test]
    fn a_hook_is_ours_for_a_program_at_any_of_its_places_and_nowhere_else() {
        for hook in SHIPPED {
            for place in PROGRAM_PLACES {
                let text = hook.text.replace(PROGRAM_PLACES[0], place);
                assert!(hook.is_ours(text.as_bytes()), "{place}: {text}");
                assert!(!hook.is_ours(format!("{text}\n").as_bytes()));
            }
            let elsewhere = hook.text.replace(PROGRAM_PLACES[0], "/tmp/patchadm");
            assert!(!hook.is_ours(elsewhere.as_bytes()));
            let mixed = hook.text.replacen(PROGRAM_PLACES[0], PROGRAM_PLACES[2], 1);
            assert!(!hook.is_ours(mixed.as_bytes()), "{mixed}");
        }
    }
}
