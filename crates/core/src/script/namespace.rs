//! The absolute places of commands, such as `/usr/bin/pkgproto` and `/usr/sadm/bin`, which patch scripts use regardless of
//! PATH.
//!
//! If the host lacks them, the second process makes itself a mount namespace in which a read-only overlay of `/usr` has
//! them. Nothing of it is visible outside, and it hides nothing that the host has. An unprivileged caller needs a user
//! namespace for it, in which the own id stays and all other owners look like `nobody`. On the running system itself,
//! scripts must see, and may change, the real `/usr`: there the commands must be installed.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use super::ScriptError;
use super::tools::{ScriptTool, ToolDirectory};
use patchadm_rootfs::Dir;
use patchadm_svr4::package::{Mode, unescape};

/// The directory that is overlaid.
const USR: &str = "/usr";

/// Directories that scripts name, in addition to those of the commands.
const DIRECTORIES: [&str; 2] = ["sadm/bin", "sadm/install/bin"];

/// Returns the directory below `/usr` in which classic systems have a command.
fn place(command: &str) -> &'static str {
    match command {
        "valpath" | "puttext" => "sadm/bin",
        "pkginfo" | "pkgmk" | "pkgparam" | "pkgproto" | "pkgtrans" | "nawk" | "compress" => "bin",
        name if name.starts_with("ck") => "bin",
        name if ["val", "err", "help"].iter().any(|start| name.starts_with(start)) => "sadm/bin",
        _ => "sbin",
    }
}

/// Makes the commands available under their absolute paths, or returns why they are not.
pub(super) fn provide(bench: &ToolDirectory, root: &Path, commands: &[ScriptTool]) -> Result<(), String> {
    let missing: Vec<(&str, &str)> = ToolDirectory::names(commands)
        .into_iter()
        .map(|name| (name, place(name)))
        .filter(|(name, place)| Path::new(USR).join(place).join(name).symlink_metadata().is_err())
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
    overlay(&layer).map_err(|error| format!("no private {USR} can be made: {error}"))
}

/// Makes the overlay's layer for `/usr`: only directories and links that `/usr` lacks.
fn lay_out(bench: &ToolDirectory, missing: &[(&str, &str)]) -> Result<PathBuf, ScriptError> {
    let top = bench.dir().make_dir(b"usr", Mode::of(0o755))?;
    for directory in DIRECTORIES {
        make_dirs(&top, directory)?;
    }
    for (name, place) in missing {
        let target = bench.tools().join(name);
        make_dirs(&top, place)?.make_symlink(name.as_bytes(), target.as_os_str().as_bytes())?;
    }
    Ok(bench.path().join("usr"))
}

/// Makes a directory below `top` and those above it. Refuses a name that is another object in `/usr`.
fn make_dirs(top: &Dir, path: &str) -> Result<Dir, ScriptError> {
    let mut dir = top.again()?;
    let mut seen = PathBuf::from(USR);
    for name in path.split('/') {
        seen.push(name);
        if seen.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(ScriptError::Preparation(format!("{} is no directory", seen.display())));
        }
        dir = match dir.look(name.as_bytes())? {
            Some(_) => dir.dir(name.as_bytes())?,
            None => dir.make_dir(name.as_bytes(), Mode::of(0o755))?,
        };
    }
    Ok(dir)
}

/// Writes to a file of this process in `/proc`.
#[allow(clippy::disallowed_methods)] // these are questions to the kernel, not files of a disk
fn tell_kernel(name: &str, text: &str) -> io::Result<()> {
    std::fs::write(Path::new("/proc/self").join(name), text)
}

/// Moves this process to a private copy of the host's mounts and puts the overlay there.
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
    // An overlay shows one file system: what is mounted below /usr is taken off and put back on top.
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
    // The directory that this process is in may be one of the old mounts.
    std::env::set_current_dir("/")
}

fn taken(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

/// Returns the mount points below a directory; nested ones count as part of the outermost.
fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    let fields = text.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    let paths = fields.map(|field| PathBuf::from(OsStr::from_bytes(&unescape(field))));
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.starts_with(directory) && path != directory).collect();
    found.sort();
    found.dedup_by(|later, earlier| later.starts_with(&*earlier));
    Ok(found)
}

/// Escapes `:`, `,` and backslash in a path for the options of an overlay.
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
    use super::super::tools::ToolProgram;
    use super::*;

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
