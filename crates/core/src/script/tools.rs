//! The private directory with tools for scripts, and commands under absolute paths such as `/usr/bin/pkgproto`. If the
//! host lacks these, a private mount namespace overlays `/usr` read-only. Scripts on the running system must see the
//! real `/usr`, so there the commands must be installed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use crate::script::trust::{ScriptUser, unreadable_by};
use crate::script::{PROGRAM_INSIDE, ScriptError};
use patchadm_rootfs::{Dir, ObjectStatus, ProcBounds, ProcLines, Root, random};
use patchadm_svr4::package::{Mode, ObjectPath, unescape};

const HOST: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Programs that can serve as `nawk`. The stock class script of patches contains a program that only the original
/// accepts (`continue` outside a loop). With others it fails, and the script lacks its list, which matters on running
/// systems only.
const AWKS: [&str; 4] = ["original-awk", "mawk", "gawk", "awk"];

/// Used if the user of scripts cannot reach the named directory.
const PUBLIC: &str = "/var/tmp";

#[derive(Debug)]
pub struct ScriptTool {
    pub name: &'static str,
    pub program: ToolProgram,
}

#[derive(Debug)]
pub enum ToolProgram {
    This,
    Other(PathBuf),
    /// Not installed.
    Missing(&'static str),
}

/// Removed on drop.
#[derive(Debug)]
pub(super) struct ToolDirectory {
    parent: Dir,
    name: Vec<u8>,
    path: PathBuf,
    dir: Dir,
}

impl ToolDirectory {
    /// Uses `/var/tmp` if `user` cannot reach `temporary`.
    pub(super) fn lay_out(
        temporary: &Path,
        commands: &[ScriptTool],
        user: Option<ScriptUser>,
    ) -> Result<Self, ScriptError> {
        let is_closed = user.is_some_and(|user| unreadable_by(user, temporary).is_some());
        let place = Root::open(if is_closed { Path::new(PUBLIC) } else { temporary })?;
        let parent = place.dir(&ObjectPath::root())?;
        let name = format!("patchadm-{:016x}", random()?).into_bytes();
        // Other users must reach their tools and copies, but not list them.
        let dir = parent.make_dir(&name, Mode::of(0o711))?;
        let path = place.prefix().join(OsStr::from_bytes(&name));
        if !dir.is_own()? {
            let reason = format!("{} belongs to another user", path.display());
            return Err(ScriptError::Preparation(reason));
        }
        let bench = Self { parent, name, path, dir };
        bench.make_tools(commands, user)?;
        Ok(bench)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tools(&self) -> PathBuf {
        tools_of(&self.path)
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn names(commands: &[ScriptTool]) -> Vec<&'static str> {
        let nawk = host(NAWK).is_none().then_some(NAWK);
        ours(commands).map(|tool| tool.name).chain(nawk).collect()
    }

    fn make_tools(&self, commands: &[ScriptTool], user: Option<ScriptUser>) -> Result<(), ScriptError> {
        let tools = self.dir.make_dir(TOOLS, Mode::of(0o755))?;
        let mut runnable: BTreeMap<Option<&Path>, PathBuf> = BTreeMap::new();
        for tool in ours(commands) {
            let other = match &tool.program {
                ToolProgram::Other(program) => Some(program.as_path()),
                // Reported when a script calls it.
                ToolProgram::This | ToolProgram::Missing(_) => None,
            };
            let path = match runnable.entry(other) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.runnable(other, user)?),
            };
            tools.make_symlink(tool.name.as_bytes(), path.as_os_str().as_bytes())?;
        }
        if host(NAWK).is_none() { make_nawk(&tools) } else { Ok(()) }
    }

    fn runnable(&self, other: Option<&Path>, user: Option<ScriptUser>) -> Result<PathBuf, ScriptError> {
        let program = other.unwrap_or(Path::new(THIS));
        let failed = |error: io::Error| ScriptError::Preparation(format!("{}: {error}", program.display()));
        let places = match other {
            Some(path) => vec![path.to_owned()],
            None => vec![std::fs::read_link(program).map_err(failed)?, PROGRAM_INSIDE.into()],
        };
        let is_usable = |path: &PathBuf| {
            is_same(path, program) && user.is_none_or(|user| unreadable_by(user, path).is_none())
        };
        if let Some(path) = places.into_iter().find(is_usable) {
            return Ok(path);
        }
        let name = other.and_then(Path::file_name).map_or(PROGRAM, OsStr::as_bytes);
        let mut from = File::open(program).map_err(failed)?;
        let mut copy = self.dir.create(name)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match from.read(&mut buffer).map_err(failed)? {
                0 => break,
                read => copy.put(buffer.get(..read).unwrap_or_default())?,
            }
        }
        copy.set_mode(Mode::of(0o755))?;
        Ok(self.path.join(OsStr::from_bytes(name)))
    }
}

/// Compares files. In an enclosure, the path of a program that entered from outside may lead elsewhere.
fn is_same(path: &Path, other: &Path) -> bool {
    match (ObjectStatus::behind(path), ObjectStatus::behind(other)) {
        (Ok(one), Ok(other)) => (one.file_system, one.inode) == (other.file_system, other.inode),
        _ => false,
    }
}

impl Drop for ToolDirectory {
    fn drop(&mut self) {
        // A leftover is private, and its name is never reused: it does no harm.
        let _ = self.parent.remove_tree(&self.name);
    }
}

/// Returns the commands that the host lacks.
fn ours(commands: &[ScriptTool]) -> impl Iterator<Item = &ScriptTool> {
    commands.iter().filter(|tool| tool.name != "compress" || host(tool.name).is_none())
}

const TOOLS: &[u8] = b"tools";
const NAWK: &str = "nawk";

const THIS: &str = "/proc/self/exe";
const PROGRAM: &[u8] = b"patchadm";

pub(super) fn tools_of(directory: &Path) -> PathBuf {
    directory.join(OsStr::from_bytes(TOOLS))
}

fn make_nawk(tools: &Dir) -> Result<(), ScriptError> {
    if let Some(awk) = AWKS.iter().find_map(|name| host(name)) {
        return Ok(tools.make_symlink(NAWK.as_bytes(), awk.as_os_str().as_bytes())?);
    }
    let Some(busybox) = host("busybox") else { return Ok(()) };
    let mut file = tools.create(NAWK.as_bytes())?;
    file.put(format!("#!/bin/sh\nexec {} awk \"$@\"\n", busybox.display()).as_bytes())?;
    file.set_mode(Mode::of(0o755))?;
    Ok(())
}

pub(super) fn host(name: &str) -> Option<PathBuf> {
    HOST.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

const USR: &str = "/usr";

const DIRECTORIES: [&str; 2] = ["sadm/bin", "sadm/install/bin"];

fn place(command: &str) -> &'static str {
    match command {
        "valpath" | "puttext" => "sadm/bin",
        "pkginfo" | "pkgmk" | "pkgparam" | "pkgproto" | "pkgtrans" | "nawk" | "compress" => "bin",
        name if name.starts_with("ck") => "bin",
        name if ["val", "err", "help"].iter().any(|start| name.starts_with(start)) => "sadm/bin",
        _ => "sbin",
    }
}

/// Provides the commands under their absolute paths, or returns why not.
pub(super) fn provide(bench: &ToolDirectory, root: &Path, commands: &[ScriptTool]) -> Result<(), String> {
    let missing: Vec<(&str, &str)> = ToolDirectory::names(commands)
        .into_iter()
        .map(|name| (name, place(name)))
        .filter(|(name, place)| host_lacks(&Path::new(USR).join(place).join(name)))
        .collect();
    let lacks_directory = DIRECTORIES.iter().any(|directory| !Path::new(USR).join(directory).is_dir());
    if missing.is_empty() && !lacks_directory {
        return Ok(());
    }
    let root = std::fs::canonicalize(root).map_err(|error| error.to_string())?;
    if root == Path::new("/") || root.starts_with(USR) {
        let (name, place) = missing.first().copied().unwrap_or(("", "sadm/bin"));
        return Err(format!("{USR}/{place}/{name} is not installed on this system"));
    }
    if bench.path().starts_with(USR) {
        return Err(format!("the private directory {} is below {USR} itself", bench.path().display()));
    }
    let layer = lay_out(bench, &missing).map_err(|error| error.to_string())?;
    overlay(&layer).map_err(|error| format!("no private {USR} can be made: {error}"))?;
    match missing
        .iter()
        .map(|(name, place)| Path::new(USR).join(place).join(name))
        .find(|path| host_lacks(path))
    {
        Some(path) => Err(format!(
            "no private {USR} can be made: a file system that is mounted below it hides {}",
            path.display()
        )),
        None => Ok(()),
    }
}

fn host_lacks(path: &Path) -> bool {
    path.symlink_metadata().is_err()
}

/// Makes the overlay's layer: only directories and links that `/usr` lacks.
fn lay_out(bench: &ToolDirectory, missing: &[(&str, &str)]) -> Result<PathBuf, ScriptError> {
    let top = bench.dir().make_dir(b"usr", Mode::of(0o755))?;
    for directory in DIRECTORIES {
        make_dirs(&top, directory)?;
    }
    for (name, place) in missing {
        let target = bench.tools().join(name);
        // `sbin` may be a link to `bin`.
        let behind = std::fs::canonicalize(Path::new(USR).join(place)).unwrap_or_default();
        let place = behind.strip_prefix(USR).ok().and_then(Path::to_str).unwrap_or(place);
        make_dirs(&top, place)?.make_symlink(name.as_bytes(), target.as_os_str().as_bytes())?;
    }
    Ok(bench.path().join("usr"))
}

fn make_dirs(top: &Dir, path: &str) -> Result<Dir, ScriptError> {
    let mut dir = top.again()?;
    let mut seen = PathBuf::from(USR);
    for name in path.split('/') {
        seen.push(name);
        if seen.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(ScriptError::Preparation(format!("{} is not a directory", seen.display())));
        }
        dir = match dir.look(name.as_bytes())? {
            Some(_) => dir.dir(name.as_bytes())?,
            None => dir.make_dir(name.as_bytes(), Mode::of(0o755))?,
        };
    }
    Ok(dir)
}

#[allow(clippy::disallowed_methods)] // these are questions to the kernel, not files of a disk
fn tell_kernel(name: &str, text: &str) -> io::Result<()> {
    std::fs::write(Path::new("/proc/self").join(name), text)
}

fn overlay(layer: &Path) -> io::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if is_root {
        unshare(CloneFlags::CLONE_NEWNS)?;
    } else {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUSER)?;
        tell_kernel("setgroups", "deny")?;
        tell_kernel("uid_map", &format!("{uid} {uid} 1"))?;
        tell_kernel("gid_map", &format!("{gid} {gid} 1"))?;
    }
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    // An overlay shows one file system: mounts below /usr are detached and put back on top.
    let inner = mounts_below(Path::new(USR))?;
    let kept: Vec<(PathBuf, OwnedFd)> =
        inner.into_iter().map(|path| Ok((path.clone(), taken(&path)?))).collect::<io::Result<_>>()?;
    let mut options = b"lowerdir=".to_vec();
    options.extend(escaped(layer));
    options.extend_from_slice(b":/usr");
    if !is_root {
        options.extend_from_slice(b",userxattr");
    }
    let options = CString::new(options)?;
    rustix::mount::mount("patchadm", USR, "overlay", MountFlags::RDONLY, options.as_c_str())?;
    for (path, tree) in kept {
        rustix::mount::move_mount(&tree, "", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    // The working directory may be on an old mount.
    std::env::set_current_dir("/")
}

fn taken(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut lines = ProcLines::open(Path::new("/proc/self/mountinfo"), ProcBounds::MOUNTS, &|| false)?;
    let mut found = Vec::new();
    while let Some(line) = lines.next_line()? {
        let field = line.split(|&byte| byte == b' ').nth(4).unwrap_or_default();
        let path = PathBuf::from(OsStr::from_bytes(&unescape(field)));
        if path.starts_with(directory) && path != directory {
            found.push(path);
        }
    }
    found.sort();
    found.dedup_by(|later, earlier| later.starts_with(&*earlier));
    Ok(found)
}

fn escaped(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_at_the_path_of_the_program_is_not_the_program() {
        let this = Path::new("/proc/self/exe");
        let named = std::fs::read_link(this).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (link, other) = (dir.path().join("link"), dir.path().join("other"));
        std::os::unix::fs::symlink(&named, &link).unwrap();
        std::fs::write(&other, "#!/bin/sh\nexit 9\n").unwrap();
        for (path, expected) in
            [(&named, true), (&link, true), (&other, false), (&dir.path().join("none"), false)]
        {
            assert_eq!(is_same(path, this), expected, "{}", path.display());
        }
    }

    #[test]
    fn commands_are_where_the_classic_systems_have_them() {
        let places = ["pkgproto", "valpath", "puttext", "removef", "ckpath"].map(place);
        assert_eq!(places, ["bin", "sadm/bin", "sadm/bin", "sbin", "bin"]);
    }

    #[test]
    fn on_the_running_system_nothing_is_overlaid() {
        let dir = tempfile::tempdir().unwrap();
        let commands = [ScriptTool { name: "a-command-that-nobody-has", program: ToolProgram::This }];
        let bench = ToolDirectory::lay_out(dir.path(), &commands, None).unwrap();
        let error = provide(&bench, Path::new("/"), &commands).unwrap_err();
        assert_eq!(error, "/usr/sbin/a-command-that-nobody-has is not installed on this system");
        assert!(!bench.path().join("usr").exists());
    }

    #[test]
    fn options_keep_odd_paths_apart() {
        assert_eq!(escaped(Path::new("/a:b,c\\d")), b"/a\\:b\\,c\\\\d");
    }
}
