//! Hooks by which apt, dpkg and dnf call this program (texts from `packaging/hooks`); rpm alone has none. The superuser
//! executes them, so they call the program only where nobody else could exchange it. Only files that equal a version in
//! `packaging/hooks/digests` are replaced or removed.

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

/// Possible places of the program; our packages' first.
const PROGRAM_PLACES: [&str; 4] =
    ["/usr/bin/patchadm", "/usr/sbin/patchadm", "/usr/local/bin/patchadm", "/usr/local/sbin/patchadm"];

/// In bytes.
const LARGEST: u64 = 64 << 10;

/// Every version of every hook: digest and name of its source.
const DIGESTS: &str = include_str!("../../../../packaging/hooks/digests");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookManager {
    Apt,
    /// Called after each dpkg run.
    Dpkg,
    /// Plugin `post-transaction-actions`.
    Dnf4,
    /// Plugin `actions`.
    Dnf5,
}

impl HookManager {
    /// This word never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dpkg => "dpkg",
            Self::Dnf4 => "dnf4",
            Self::Dnf5 => "dnf5",
        }
    }

    pub fn native(self) -> NativeManager {
        match self {
            Self::Apt | Self::Dpkg => NativeManager::Dpkg,
            Self::Dnf4 | Self::Dnf5 => NativeManager::Rpm,
        }
    }

    fn signs(self) -> &'static [&'static str] {
        match self {
            Self::Apt | Self::Dpkg => &["/var/lib/dpkg/status"],
            Self::Dnf4 => &["/etc/dnf/plugins", "/usr/bin/dnf-3"],
            Self::Dnf5 => &["/etc/dnf/libdnf5-plugins", "/usr/bin/dnf5", "/usr/lib64/libdnf5"],
        }
    }
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    Same,
    /// Ours, but of another version or for a program at another place.
    Outdated,
    /// The administrator changed it.
    Changed,
    Missing,
}

impl HookState {
    /// This word never changes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Outdated => "outdated",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAction {
    Installed,
    Replaced,
    Kept,
    Removed,
    /// Left, because it is not ours.
    Left,
}

impl HookAction {
    /// This word never changes.
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

#[derive(Clone, Debug)]
pub struct HookEntry {
    pub manager: HookManager,
    pub path: ObjectPath,
    /// The root has the package manager.
    pub is_wanted: bool,
    /// After the action.
    pub state: HookState,
    pub action: Option<HookAction>,
    text: String,
}

#[derive(Clone, Debug)]
pub struct HookReport {
    /// Path by which hooks call the program.
    pub program: &'static str,
    /// A hook does nothing without the program.
    pub has_program: bool,
    /// The existing program is not called, because somebody else could exchange it.
    pub foreign_program: Option<ForeignObject>,
    /// The root has rpm, but no dnf that calls hooks.
    pub has_rpm_alone: bool,
    /// Every hook that is wanted or there.
    pub hooks: Vec<HookEntry>,
}

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

/// Replaces outdated hooks of ours; leaves changed ones.
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

/// Removes hooks of ours, of any version; leaves changed ones.
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

    fn is_ours(&self, bytes: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        PROGRAM_PLACES.iter().any(|place| {
            let shipped = text.replace(place, PROGRAM_PLACES[0]);
            shipped.replace(PROGRAM_PLACES[0], place) == text && self.has_version(&shipped)
        })
    }

    fn has_version(&self, text: &str) -> bool {
        let digest = Sha256::digest(text).iter().fold(String::new(), |mut digest, byte| {
            // Writing to a string cannot fail.
            let _ = write!(digest, "{byte:02x}");
            digest
        });
        DIGESTS.lines().any(|line| line.split_once("  ") == Some((&digest, self.source)))
    }
}

impl HookEntry {
    fn write(&self, root: &Root) -> Result<(), Failure> {
        // The package manager runs the file as the superuser.
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

/// Empty for an object that is no file or too large; `None` if nothing is there.
fn bytes_at(root: &Root, path: &ObjectPath) -> Result<Option<Vec<u8>>, RootError> {
    let Some(dir) = directory(root, &directory_of(path))? else { return Ok(None) };
    match dir.look(path.name())? {
        None => Ok(None),
        Some(seen) if seen.file_type != FileType::Regular || seen.size > LARGEST => Ok(Some(Vec::new())),
        Some(_) => dir.read(path.name(), LARGEST),
    }
}

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

/// Follows links, the last name included; `None` if the path leads nowhere.
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
