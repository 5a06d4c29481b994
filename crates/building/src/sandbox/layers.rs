//! Tree, environment and rights of a command in a sandbox.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::conf::SandboxMount;
use patchadm_core::namespaces::{
    Access, ChosenWork, EnclosedCommand, EnclosedMount, Enclosure, EnclosureTree, HeldLock, Isolation,
    Layers, MissingPlace, MountSource, ProcessLimit,
};
use patchadm_core::script::PROGRAM_INSIDE;
use patchadm_rootfs::{Dir, FileType, Interrupt, ObjectStatus, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::io::Errno;

use super::capabilities::{BuildUser, capabilities_of};
use super::watch::SandboxLimits;
use crate::ids::{BUILD_ID, SandboxIds};
use crate::tree_copy::{TreeKind, copy_tree, names_up_to};
use crate::work::{made, unlinked_directory};

const HOST_NAME: &str = "build";

const NICENESS: i32 = 10;

/// Marks an opaque directory of overlayfs.
const OPAQUE: &[u8] = b"user.overlay.opaque";

const SHARED_MEMORY: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerKind {
    #[default]
    Overlay,
    /// Each layer is a whole tree, copied from the one below: for machines that refuse overlayfs.
    Copy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRoot {
    pub kind: LayerKind,
    /// Read-only layers, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// Gets all changes.
    pub upper: PathBuf,
    pub scratch: PathBuf,
    /// Host paths mounted read-only at their own places.
    pub host: Vec<PathBuf>,
    pub mounts: Vec<SandboxMount>,
    pub ids: SandboxIds,
}

impl BuildRoot {
    /// Prepares the upper layer, copied from the lower ones if they are copies. Makes temporary directories unless
    /// there are suitable ones. Copying fails with EINTR once a signal comes.
    pub(crate) fn lay_out(&self, interrupt: Interrupt<'_>) -> Result<Dir, RootError> {
        let upper = unlinked_directory(&self.upper)?;
        let below = self.lower.first().filter(|_| self.kind == LayerKind::Copy);
        if let Some(below) = below
            && upper.names()?.is_empty()
        {
            // Objects that packages have installed belong to the layer, and the lowest layer may be a base.
            let kind = if self.lower.len() == 1 { TreeKind::Base } else { TreeKind::Layer };
            copy_tree((below, &self.upper), kind, None, interrupt)?;
        }
        if self.kind == LayerKind::Overlay && has_temporary_directories(&self.lower)? {
            return Ok(upper);
        }
        make_temporary_directories(&upper)?;
        if self.kind == LayerKind::Overlay {
            hide_temporary_files(&upper, &self.lower)?;
        }
        Ok(upper)
    }
}

pub(crate) fn make_temporary_directories(layer: &Dir) -> Result<(), RootError> {
    made(layer, b"tmp")?.set_own_mode(Mode::of(0o1777))?;
    made(&made(layer, b"var")?, b"tmp")?.set_own_mode(Mode::of(0o1777))
}

/// Hides what anybody may have put into the temporary directories of the base, unless a layer above it does so.
fn hide_temporary_files(upper: &Dir, layers: &[PathBuf]) -> Result<(), RootError> {
    let Some((base, above)) = layers.split_last() else { return Ok(()) };
    let (base, var) = (Dir::of_host(base)?, upper.dir(b"var")?);
    for (place, own) in [("/tmp", upper.dir(b"tmp")?), ("/var/tmp", var.dir(b"tmp")?)] {
        let path = ObjectPath::new(place.as_bytes()).unwrap_or_else(|_| ObjectPath::root());
        let of_base = match base.root().dir_of_object(&path) {
            // A build cannot read it either.
            Err(error) if error.is_refused_access() => continue,
            of_base => of_base?,
        };
        let Some(of_base) = of_base else { continue };
        if of_base.itself()?.mode.bits() & 0o1002 != 0o1002 || !has_names(&of_base)? {
            continue;
        }
        let mut is_hidden = false;
        for layer in above {
            is_hidden |= match Root::open(layer)?.dir_of_object(&path) {
                Err(error) if error.is_refused_access() => true,
                own => own?.is_some(),
            };
        }
        if !is_hidden {
            match own.set_xattr(b"", OPAQUE, b"y") {
                // They stay visible on a file system that cannot hide anything.
                Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {}
                hidden => hidden?,
            }
        }
    }
    Ok(())
}

fn has_names(dir: &Dir) -> Result<bool, RootError> {
    Ok(names_up_to(dir, 0)?.is_none())
}

/// True if the lowest layer has empty world-writable temporary directories and no layer above changes them.
fn has_temporary_directories(layers: &[PathBuf]) -> Result<bool, RootError> {
    let Some((base, above)) = layers.split_last() else { return Ok(false) };
    for layer in above {
        let layer = Dir::of_host(layer)?;
        let var = layer.look(b"var")?;
        let has_plain_var = match var.map(|seen| seen.file_type) {
            None => true,
            Some(FileType::Directory) => {
                !layer.has_xattr(b"var", OPAQUE)? && layer.dir(b"var")?.look(b"tmp")?.is_none()
            }
            Some(_) => false,
        };
        if layer.look(b"tmp")?.is_some() || !has_plain_var {
            return Ok(false);
        }
    }
    let base = Dir::of_host(base)?;
    let is_suitable = |above: &Dir| -> Result<bool, RootError> {
        let is_open = above.look(b"tmp")?.is_some_and(|seen: ObjectStatus| {
            seen.file_type == FileType::Directory && seen.mode == Mode::of(0o1777)
        });
        Ok(is_open && !has_names(&above.dir(b"tmp")?)?)
    };
    let has_var = base.look(b"var")?.is_some_and(|seen| seen.file_type == FileType::Directory);
    Ok(has_var && is_suitable(&base)? && is_suitable(&base.dir(b"var")?)?)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxCommand {
    pub words: Vec<OsString>,
    /// Complete environment.
    pub environment: Vec<(OsString, OsString)>,
    pub directory: String,
    pub user: BuildUser,
    pub has_network: bool,
    /// Provides `/dev/tty`, for a person who enters the sandbox with a pseudo-terminal.
    pub has_terminal: bool,
}

const COMMON_ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"), ("LC_ALL", "C"), ("TZ", "UTC")];

pub(crate) const INSTALLER: &str = PROGRAM_INSIDE;

pub(crate) fn installer_path() -> io::Result<PathBuf> {
    let own = std::fs::read_link("/proc/self/exe")?;
    let places = ["patchadm", "../../bin/patchadm"].map(|place| own.with_file_name(place));
    let found = places.into_iter().find(|path| path.exists());
    let missing =
        || io::Error::new(io::ErrorKind::NotFound, "patchadm is not installed beside patchadm-bulk");
    found.ok_or_else(missing)
}

/// Mounts the `patchadm` beside this program.
pub(crate) fn installer() -> io::Result<SandboxMount> {
    Ok(SandboxMount::read_only(&installer_path()?, INSTALLER))
}

pub(crate) fn network_files() -> impl Iterator<Item = SandboxMount> {
    let files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"].map(Path::new);
    files.into_iter().filter(|path| path.exists()).map(|path| SandboxMount::read_only(path, path))
}

pub(crate) fn environment(own: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    COMMON_ENVIRONMENT.iter().chain(own).map(|(name, value)| (name.into(), value.into())).collect()
}

/// Returns the enclosure of a command and gives the tree to its root. All processes inside hold `lock`.
pub fn enclosure(
    root: &BuildRoot,
    command: SandboxCommand,
    limits: &SandboxLimits,
    lock: Option<HeldLock>,
) -> Result<Enclosure, RootError> {
    // Everything below gets another owner, so it must not have links elsewhere.
    root.ids.hand_over(&unlinked_directory(&root.upper)?)?;
    let tree = match root.kind {
        LayerKind::Overlay => EnclosureTree::Layers(Layers {
            lower: root.lower.iter().map(|path| path.clone().into()).collect(),
            upper: root.upper.clone().into(),
            work: root.scratch.clone().into(),
        }),
        LayerKind::Copy => EnclosureTree::Host(root.upper.clone().into()),
    };
    let host = root.host.iter().map(|path| mount_of(path, path.as_os_str().to_owned(), false));
    let named = root
        .mounts
        .iter()
        .map(|mount| mount_of(&mount.source, mount.target.clone().into(), mount.is_writable));
    let shared_memory = Some(limits.memory.unwrap_or(SHARED_MEMORY));
    let devices =
        MountSource::Devices { files: Vec::new(), shared_memory, has_terminal: command.has_terminal };
    let own = [
        EnclosedMount { place: "/proc".into(), source: MountSource::Processes, missing: MissingPlace::Made },
        EnclosedMount { place: "/dev".into(), source: devices, missing: MissingPlace::Made },
    ];
    Ok(Enclosure {
        tree,
        judged: Vec::new(),
        access: Access::ReadWrite,
        mounts: host.chain(own).chain(named).collect(),
        locks: lock.into_iter().collect(),
        as_root: false,
        ids: Some(root.ids.mappings()),
        isolation: Isolation {
            has_own_network: !command.has_network,
            host_name: Some(HOST_NAME.to_owned()),
            gains_no_rights: true,
            capabilities: Some(capabilities_of(command.user)),
        },
        command: EnclosedCommand {
            own_work: None,
            choices: vec![command.words],
            environment: command.environment,
            directories: vec![command.directory.into()],
            umask: 0o022,
            user: user_inside(root.ids, command.user),
            limits: process_limits(limits),
            niceness: NICENESS,
        },
    })
}

/// Returns an enclosure for a function of this program that needs only these directories and `/proc`.
pub(crate) fn enclosure_of_work(
    work: &str,
    (tree, directories): (&Path, &[(PathBuf, PathBuf)]),
    (ids, user): (SandboxIds, BuildUser),
    limits: &SandboxLimits,
    lock: HeldLock,
) -> Enclosure {
    let mounts = directories.iter().map(|(source, place)| EnclosedMount {
        missing: MissingPlace::Refused,
        ..mount_of(source, place.clone().into(), true)
    });
    // Setting file modes goes through the process's descriptors.
    let processes = EnclosedMount {
        place: "/proc".into(),
        source: MountSource::Processes,
        missing: MissingPlace::Refused,
    };
    Enclosure {
        tree: EnclosureTree::Host(tree.to_owned().into()),
        judged: Vec::new(),
        access: Access::ReadOnly,
        mounts: mounts.chain([processes]).collect(),
        locks: vec![lock],
        as_root: false,
        ids: Some(ids.mappings()),
        isolation: Isolation {
            has_own_network: true,
            host_name: None,
            gains_no_rights: true,
            capabilities: Some(capabilities_of(user)),
        },
        command: EnclosedCommand {
            own_work: Some(ChosenWork { name: work.to_owned(), program: None }),
            choices: Vec::new(),
            environment: Vec::new(),
            directories: Vec::new(),
            umask: 0o022,
            user: user_inside(ids, user),
            limits: process_limits(limits),
            niceness: NICENESS,
        },
    }
}

/// `None` for the first user.
fn user_inside(ids: SandboxIds, user: BuildUser) -> Option<(u32, u32)> {
    (ids.are_many() && user == BuildUser::Build).then_some((BUILD_ID, BUILD_ID))
}

fn mount_of(source: &Path, place: OsString, is_writable: bool) -> EnclosedMount {
    let access = if is_writable { Access::ReadWrite } else { Access::ReadOnly };
    let source =
        MountSource::Host { below: "/".into(), path: source.as_os_str().to_owned(), access, is_own: false };
    EnclosedMount { place, source, missing: MissingPlace::Made }
}

/// Limits that the kernel enforces per process.
fn process_limits(limits: &SandboxLimits) -> Vec<ProcessLimit> {
    let of = |value: Option<u64>, limit: fn(u64) -> ProcessLimit| value.map(limit);
    let of_kernel = [
        // Usually found earlier; this stops unobserved processes.
        of(limits.cpu.map(|time| time.as_secs() + 2), ProcessLimit::ProcessorTime),
        of(limits.disk, ProcessLimit::FileSize),
        // The kernel starts the program of a `core_pattern` with a pipe whatever the limit, except for 1; a file is larger.
        Some(ProcessLimit::CoreDump(1)),
        Some(ProcessLimit::LockedMemory(LOCKED_MEMORY)),
        of(limits.processes.map(|most| most.saturating_add(SPARE_PROCESSES)), ProcessLimit::Processes),
        Some(ProcessLimit::OpenFiles(share_of_files(most_files(), limits.processes))),
    ];
    of_kernel.into_iter().flatten().collect()
}

/// The default of Linux before 5.16. Buffers for events of `perf_event_open` are locked memory that counts for no process.
const LOCKED_MEMORY: u64 = 64 << 10;

/// A build that goes quickly over its limit must not end by itself, for lack of processes, before anybody looks.
const SPARE_PROCESSES: u64 = 1024;

/// Open files that each process may have at least, the hard limit of kernels without other settings, and at most.
const OPEN_FILES: (u64, u64) = (4096, 65_536);

/// Returns the limit of open files per process at which all processes together use at most a quarter of the machine's
/// limit. On a small machine they may use more, because common programs need the minimum.
fn share_of_files(all: u64, processes: Option<u64>) -> u64 {
    let (least, most) = OPEN_FILES;
    let each = (all / 4).checked_div(processes.unwrap_or(0)).unwrap_or(least);
    each.clamp(least, most)
}

fn most_files() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/fs/file-max").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// The parts of the host that a build sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostBase {
    /// Mounted read-only at their own paths.
    pub mounted: Vec<PathBuf>,
}

/// Lays out a lowest layer with the host's links and empty places for its directories and files. Skips paths that the
/// host lacks. `build` has these ids.
pub fn lay_out_host_base(
    layer: &Dir,
    host_paths: &[PathBuf],
    (uid, gid): (u32, u32),
    host: &HostAccounts,
) -> Result<HostBase, RootError> {
    let mut base = HostBase::default();
    for path in host_paths {
        let Some(name) = path.strip_prefix("/").ok().filter(|name| !name.as_os_str().is_empty()) else {
            continue;
        };
        if lay_out_place(layer, path, name)? {
            base.mounted.push(path.clone());
        }
    }
    let etc = existing_or_made(layer, b"etc")?;
    let (passwd, group) = accounts((uid, gid), host);
    for (name, text) in [(&b"passwd"[..], passwd), (b"group", group)] {
        let mut file = etc.create(name)?;
        file.put(text.as_bytes())?;
        file.set_mode(Mode::of(0o644))?;
        // The layer serves all later runs, so a power cut must not leave it without them.
        file.sync()?;
    }
    Ok(base)
}

/// Returns true if the path must be mounted.
fn lay_out_place(layer: &Dir, path: &Path, name: &Path) -> Result<bool, RootError> {
    let host = Dir::of_host(Path::new("/"))?;
    let (mut here, mut there) = (layer.again()?, host);
    let mut parts = name.iter().map(OsStr::as_encoded_bytes).peekable();
    while let Some(part) = parts.next() {
        let Some(seen) = there.look(part)? else { return Ok(false) };
        let is_last = parts.peek().is_none();
        match seen.file_type {
            FileType::Symlink if here.look(part)?.is_none() => {
                here.make_symlink(part, &there.read_link(part)?)?;
                return Ok(false);
            }
            FileType::Directory => {
                here = existing_or_made(&here, part)?;
                there = there.dir(part)?;
            }
            FileType::Regular if is_last => {
                if here.look(part)?.is_none() {
                    here.create(part)?;
                }
            }
            // The target of a link is visible at the target's own path.
            _ => return Ok(false),
        }
    }
    Ok(path.is_absolute())
}

fn existing_or_made(dir: &Dir, name: &[u8]) -> Result<Dir, RootError> {
    match dir.look(name)? {
        Some(_) => dir.dir(name),
        None => dir.make_dir(name, Mode::of(0o755)),
    }
}

const FIRST_OF_PEOPLE: u32 = 1000;

/// System accounts of the host: packages may name them as owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAccounts {
    /// Each with the ids of itself and its group.
    pub users: Vec<(String, u32, u32)>,
    pub groups: Vec<(String, u32)>,
}

impl HostAccounts {
    /// Parses `passwd` and `group`. Leaves out invalid lines and accounts of people.
    pub fn of(passwd: &str, group: &str) -> Self {
        let id = |text: Option<&str>| text?.parse::<u32>().ok().filter(|id| *id < FIRST_OF_PEOPLE);
        let named = |fields: &[&str]| {
            let name = fields.first().filter(|name| !name.is_empty() && !name.starts_with(['+', '-']))?;
            name.bytes().all(|byte| byte.is_ascii_graphic()).then(|| (*name).to_owned())
        };
        let users = passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((named(&fields)?, id(fields.get(2).copied())?, id(fields.get(3).copied())?))
        });
        let groups = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((named(&fields)?, id(fields.get(2).copied())?))
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    pub(crate) fn of_this_machine() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self::of(&text("/etc/passwd"), &text("/etc/group"))
    }
}

/// Returns `passwd` and `group`: the sandbox's accounts, and the host's system accounts with other names and ids.
fn accounts((uid, gid): (u32, u32), host: &HostAccounts) -> (String, String) {
    let is_other = |name: &str, id: u32, own: u32| {
        !["root", "build", "nobody", "nogroup"].contains(&name) && id != 0 && id != own
    };
    let users = host.users.iter().filter(|(name, id, _)| is_other(name, *id, uid));
    let users =
        users.map(|(name, id, group)| format!("{name}:x:{id}:{group}::/nonexistent:/usr/sbin/nologin\n"));
    let groups = host.groups.iter().filter(|(name, id)| is_other(name, *id, gid));
    let groups = groups.map(|(name, id)| format!("{name}:x:{id}:\n"));
    let (users, groups) = (users.collect::<String>(), groups.collect::<String>());
    let user = (uid != 0).then(|| format!("build:x:{uid}:{gid}:build:/work:/bin/sh\n"));
    let its_group = (gid != 0).then(|| format!("build:x:{gid}:\n"));
    let passwd = [
        "root:x:0:0:root:/root:/bin/sh\n",
        user.as_deref().unwrap_or_default(),
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        &users,
    ];
    let group = ["root:x:0:\n", its_group.as_deref().unwrap_or_default(), "nogroup:x:65534:\n", &groups];
    (passwd.concat(), group.concat())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use patchadm_bulk_values::conf::IdRange;
    use patchadm_rootfs::never;

    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_layer_is_refused_and_nothing_behind_it_gets_another_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, upper) = (dir.path().join("victim"), dir.path().join("upper"));
        std::fs::create_dir(&victim).unwrap();
        symlink(&victim, &upper).unwrap();
        let owner = std::fs::metadata(&victim).unwrap().uid();
        let root = BuildRoot {
            kind: LayerKind::Overlay,
            lower: Vec::new(),
            upper,
            scratch: dir.path().join("scratch"),
            host: Vec::new(),
            mounts: Vec::new(),
            ids: SandboxIds::Range(IdRange { start: 100_000, count: 65_536 }),
        };
        let command = SandboxCommand {
            words: Vec::new(),
            environment: Vec::new(),
            directory: "/".to_owned(),
            user: BuildUser::First,
            has_network: false,
            has_terminal: false,
        };
        assert!(root.lay_out(&never).is_err());
        assert!(enclosure(&root, command, &SandboxLimits::default(), None).is_err());
        assert_eq!(std::fs::metadata(&victim).unwrap().uid(), owner);
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
    }

    #[test]
    fn what_anybody_has_put_into_a_temporary_directory_of_the_base_is_hidden() {
        // On a file system that has extended attributes.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["base/tmp", "base/var/tmp", "set", "upper"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        for name in ["base/tmp", "base/var/tmp"] {
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o1777)).unwrap();
        }
        let lay_out = |lower: &[&str]| {
            let root = BuildRoot {
                kind: LayerKind::Overlay,
                lower: lower.iter().map(|name| path(name)).collect(),
                upper: path("upper"),
                scratch: path("scratch"),
                host: Vec::new(),
                mounts: Vec::new(),
                ids: SandboxIds::Own,
            };
            let upper = root.lay_out(&never).unwrap();
            let hides = |above: &Dir| {
                above.look(b"tmp").unwrap().is_some() && above.has_xattr(b"tmp", OPAQUE).unwrap()
            };
            let var = upper.look(b"var").unwrap().is_some_and(|_| hides(&upper.dir(b"var").unwrap()));
            let found = [hides(&upper), var];
            for name in upper.names().unwrap() {
                upper.remove_tree(&name).unwrap();
            }
            found
        };
        assert_eq!(lay_out(&["base"]), [false, false]);
        std::fs::write(path("base/var/tmp/theirs"), "").unwrap();
        let attribute = rustix::fs::setxattr(path("set"), OPAQUE, b"n", rustix::fs::XattrFlags::empty());
        if attribute.is_err() {
            println!("skipped: attributes cannot be set here");
            return;
        }
        assert_eq!(lay_out(&["base"]), [false, true]);
        assert_eq!(lay_out(&["set", "base"]), [false, true]);
        std::fs::create_dir_all(path("set/var/tmp")).unwrap();
        assert_eq!(lay_out(&["set", "base"]), [false, false], "that layer has hidden it");
    }

    #[test]
    fn all_processes_of_a_build_have_a_quarter_of_the_open_files_and_each_has_enough() {
        assert_eq!(share_of_files(40_000_000, Some(1_000)), 10_000);
        assert_eq!(share_of_files(2_400_000, Some(4_096)), 4_096, "each has enough");
        assert_eq!(share_of_files(u64::MAX, Some(4_096)), 65_536);
        assert_eq!(share_of_files(u64::MAX, None), 4_096, "there may be any number of processes");
    }

    #[test]
    fn the_layer_has_places_and_links_as_the_host_and_accounts_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["/usr", "/bin", "/nowhere", "/etc/ld.so.cache"].map(PathBuf::from);
        let host = HostAccounts::of(
            "root:x:0:0::/:/bin/sh\nmail:x:8:8:mail:/var/mail:/bin/sh\nann:x:1000:1000::/:/bin/sh\n+::::::\n",
            "root:x:0:\nmail:x:8:ann\nusers:x:100:\nann:x:1000:\nbad\n",
        );
        let base = lay_out_host_base(&Dir::of_host(dir.path()).unwrap(), &paths, (1000, 100), &host).unwrap();
        assert!(base.mounted.contains(&PathBuf::from("/usr")) && dir.path().join("usr").is_dir());
        assert!(!base.mounted.contains(&PathBuf::from("/nowhere")));
        let is_link = Path::new("/bin").is_symlink();
        assert_eq!(dir.path().join("bin").is_symlink(), is_link);
        assert_eq!(base.mounted.contains(&PathBuf::from("/bin")), !is_link);
        let passwd = std::fs::read_to_string(dir.path().join("etc/passwd")).unwrap();
        assert_eq!(passwd.lines().nth(1), Some("build:x:1000:100:build:/work:/bin/sh"));
        // Owners named by packages are the host's; its people are not there.
        assert_eq!(
            passwd.lines().skip(3).collect::<Vec<_>>(),
            ["mail:x:8:8::/nonexistent:/usr/sbin/nologin"]
        );
        let group = std::fs::read_to_string(dir.path().join("etc/group")).unwrap();
        assert_eq!(group, "root:x:0:\nbuild:x:100:\nnogroup:x:65534:\nmail:x:8:\n");
    }
}
