//! What a command in a sandbox sees.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::conf::SandboxMount;
use patchadm_core::namespaces::{
    Access, ChosenWork, EnclosedCommand, Enclosure, EnclosureTree, HeldLock, Isolation, Layers, MissingPlace,
    Mount, MountSource, ProcessLimit,
};
use patchadm_core::script::PROGRAM_INSIDE;

use patchadm_rootfs::{Dir, FileType, ObjectStatus, RootError};
use patchadm_svr4::package::Mode;

use super::watch::SandboxLimits;
use crate::ids::{BUILD_ID, SandboxIds};
use crate::tree_copy::copy_tree;
use crate::work::made;

/// The host name of every sandbox.
const HOST_NAME: &str = "build";

/// How much less urgent than the caller everything in a sandbox is.
const NICENESS: i32 = 10;

/// The capabilities that an installation needs, as bits of capabilities(7): `chown`, `dac_override`, `fowner`, `fsetid`, `kill`,
/// `setgid`, `setuid`, `sys_chroot`.
const OF_INSTALLATION: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 18;

/// The capabilities of root in a build, in the sandbox's own user namespace: those of an installation, and `setpcap`,
/// `net_bind_service`, `setfcap`.
const OF_ROOT: u64 = OF_INSTALLATION | 1 << 8 | 1 << 10 | 1 << 31;

/// The attribute by which overlayfs knows a directory that hides those below it.
const OPAQUE: &[u8] = b"user.overlay.opaque";

/// The shared memory of a sandbox whose memory has no limit, in bytes.
const SHARED_MEMORY: u64 = 1 << 30;

/// How the layers of a sandbox become one tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerKind {
    /// Overlayfs lays them over each other.
    #[default]
    Overlay,
    /// Each is a whole tree and begins as a copy of the one below it: for machines that refuse overlayfs.
    Copy,
}

/// The tree of a sandbox: layers, and what is mounted over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRoot {
    /// How the layers become one tree.
    pub kind: LayerKind,
    /// The layers that nobody changes, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// The layer that gets all changes.
    pub upper: PathBuf,
    /// An empty directory beside it.
    pub scratch: PathBuf,
    /// The paths of the host that are mounted at their own places, read-only.
    pub host: Vec<PathBuf>,
    /// What else is mounted.
    pub mounts: Vec<SandboxMount>,
    /// Whose ids its users and groups have.
    pub ids: SandboxIds,
}

impl BuildRoot {
    /// Makes the layer for changes ready, and returns it: with a copy of what is below, where layers are copies and nothing is in
    /// it yet, and with the temporary directories, unless those of the layers below are as they are to be.
    pub(crate) fn lay_out(&self) -> Result<Dir, RootError> {
        let upper = Dir::of_host(&self.upper)?;
        let below = self.lower.first().filter(|_| self.kind == LayerKind::Copy);
        if let Some(below) = below
            && upper.names()?.is_empty()
        {
            copy_tree(below, &self.upper, None)?;
        }
        if self.kind == LayerKind::Overlay && has_temporary_directories(&self.lower)? {
            return Ok(upper);
        }
        make_temporary_directories(&upper)?;
        Ok(upper)
    }
}

/// Makes the temporary directories of a layer, to which everybody may write.
pub(crate) fn make_temporary_directories(layer: &Dir) -> Result<(), RootError> {
    made(layer, b"tmp")?.set_own_mode(Mode::of(0o1777))?;
    made(&made(layer, b"var")?, b"tmp")?.set_own_mode(Mode::of(0o1777))
}

/// Tells whether the lowest layer has temporary directories to which everybody may write, and none above it changes them.
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
    let is_open = |seen: Option<ObjectStatus>| {
        seen.is_some_and(|seen| seen.file_type == FileType::Directory && seen.mode == Mode::of(0o1777))
    };
    let has_var = base.look(b"var")?.is_some_and(|seen| seen.file_type == FileType::Directory);
    Ok(has_var && is_open(base.look(b"tmp")?) && is_open(base.dir(b"var")?.look(b"tmp")?))
}

/// Under whose ids a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildUser {
    /// The first ones inside: those of root, or the caller's own where there are no others.
    First,
    /// Those of builds.
    Build,
    /// The first ones, with the rights that an installation needs.
    Installer,
}

impl BuildUser {
    /// Returns the number inside, where there are others than the caller.
    pub(crate) fn id(self) -> u32 {
        if self == Self::Build { BUILD_ID } else { 0 }
    }
}

/// A command of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxCommand {
    /// The program with its arguments.
    pub words: Vec<OsString>,
    /// The complete environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: String,
    /// Under whose ids it runs.
    pub user: BuildUser,
    /// Whether it has the network of the host.
    pub has_network: bool,
    /// Whether `/dev/tty` is there: only where somebody enters the sandbox, who has a pseudo-terminal.
    pub has_terminal: bool,
}

/// The part of the environment that is the same in every sandbox.
const COMMON_ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"), ("LC_ALL", "C"), ("TZ", "UTC")];

/// Where `patchadm` is in sandboxes that it installs something in.
pub(crate) const INSTALLER: &str = PROGRAM_INSIDE;

/// Returns the path of the `patchadm` beside this program.
pub(crate) fn installer_path() -> io::Result<PathBuf> {
    let own = std::fs::read_link("/proc/self/exe")?;
    let places = ["patchadm", "../../bin/patchadm"].map(|place| own.with_file_name(place));
    let found = places.into_iter().find(|path| path.exists());
    let missing =
        || io::Error::new(io::ErrorKind::NotFound, "patchadm is not installed beside patchadm-bulk");
    found.ok_or_else(missing)
}

/// Returns the `patchadm` beside this program as such sandboxes have it.
pub(crate) fn installer() -> io::Result<SandboxMount> {
    Ok(SandboxMount::read_only(&installer_path()?, INSTALLER))
}

/// Returns the files of the host that say how its network is used.
pub(crate) fn network_files() -> impl Iterator<Item = SandboxMount> {
    let files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"].map(Path::new);
    files.into_iter().filter(|path| path.exists()).map(|path| SandboxMount::read_only(path, path))
}

/// Returns the complete environment of a command: what is the same in every sandbox, and `own`.
pub(crate) fn environment(own: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    COMMON_ENVIRONMENT.iter().chain(own).map(|(name, value)| (name.into(), value.into())).collect()
}

/// Returns the enclosure of a command in a tree that was laid out, which is given to its root. `lock` is held as long as any
/// process is inside.
pub fn enclosure(
    root: &BuildRoot,
    command: SandboxCommand,
    limits: &SandboxLimits,
    lock: Option<HeldLock>,
) -> Result<Enclosure, RootError> {
    root.ids.hand_over(&Dir::of_host(&root.upper)?)?;
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
        Mount { place: "/proc".into(), source: MountSource::Processes, missing: MissingPlace::Made },
        Mount { place: "/dev".into(), source: devices, missing: MissingPlace::Made },
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

/// Returns the enclosure of a work of this program that needs nothing but some directories, each with its path inside. They are
/// mounted in an empty tree, which has a place for each and for `/proc`.
pub(crate) fn enclosure_of_work(
    work: &str,
    (tree, directories): (&Path, &[(PathBuf, PathBuf)]),
    (ids, user): (SandboxIds, BuildUser),
    limits: &SandboxLimits,
    lock: HeldLock,
) -> Enclosure {
    let mounts = directories.iter().map(|(source, place)| Mount {
        missing: MissingPlace::Refused,
        ..mount_of(source, place.clone().into(), true)
    });
    // Where the modes of files are set, the way leads through the descriptors of the process.
    let processes =
        Mount { place: "/proc".into(), source: MountSource::Processes, missing: MissingPlace::Refused };
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

/// Returns the capabilities that remain to a user inside.
fn capabilities_of(user: BuildUser) -> u64 {
    match user {
        BuildUser::First => OF_ROOT,
        BuildUser::Build => 0,
        BuildUser::Installer => OF_INSTALLATION,
    }
}

/// Returns the ids inside that a command changes to; `None` if it stays the first user.
fn user_inside(ids: SandboxIds, user: BuildUser) -> Option<(u32, u32)> {
    (ids.are_many() && user == BuildUser::Build).then_some((BUILD_ID, BUILD_ID))
}

fn mount_of(source: &Path, place: OsString, is_writable: bool) -> Mount {
    let access = if is_writable { Access::ReadWrite } else { Access::ReadOnly };
    let source =
        MountSource::Host { below: "/".into(), path: source.as_os_str().to_owned(), access, is_own: false };
    Mount { place, source, missing: MissingPlace::Made }
}

/// Returns the limits that the kernel holds for each process.
fn process_limits(limits: &SandboxLimits) -> Vec<ProcessLimit> {
    let of = |value: Option<u64>, limit: fn(u64) -> ProcessLimit| value.map(limit);
    let of_kernel = [
        // A process that goes over it is found before; this holds those that nobody looks at.
        of(limits.cpu.map(|time| time.as_secs() + 2), ProcessLimit::ProcessorTime),
        of(limits.disk, ProcessLimit::FileSize),
        Some(ProcessLimit::CoreDump(0)),
    ];
    of_kernel.into_iter().flatten().collect()
}
