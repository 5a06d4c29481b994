//! The private directory of a run: this program under the names of its commands, and other tools that scripts expect.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::trust::{ScriptUser, unreadable_by};
use super::{PROGRAM_INSIDE, ScriptError};
use patchadm_rootfs::{Dir, ObjectStatus, Root, random};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The directories searched for programs of the host.
const HOST: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// The host's programs that can serve as `nawk`. The stock class script of a patch contains one program that only the
/// original nawk accepts (`continue` outside a loop). With the others that program fails, and the script continues
/// without its list, which matters only on running systems.
const AWKS: [&str; 4] = ["original-awk", "mawk", "gawk", "awk"];

/// The directory for the tools if the user of scripts cannot reach the named one.
const PUBLIC: &str = "/var/tmp";

/// A command of this program that scripts expect.
#[derive(Debug)]
pub struct ScriptTool {
    /// The name that scripts call it by.
    pub name: &'static str,
    /// The program that does its work.
    pub program: ToolProgram,
}

/// The program of a command.
#[derive(Debug)]
pub enum ToolProgram {
    /// The running one.
    This,
    /// One that is installed beside it.
    Other(PathBuf),
    /// One that has this name, and is not installed.
    Missing(&'static str),
}

/// The private directory, removed on drop.
#[derive(Debug)]
pub(super) struct ToolDirectory {
    parent: Dir,
    name: Vec<u8>,
    path: PathBuf,
    dir: Dir,
}

impl ToolDirectory {
    /// Makes the directory with all tools below `temporary`, or below `/var/tmp` if `user` cannot reach it there.
    pub(super) fn lay_out(
        temporary: &Path,
        commands: &[ScriptTool],
        user: Option<ScriptUser>,
    ) -> Result<Self, ScriptError> {
        let is_closed = user.is_some_and(|user| unreadable_by(user, temporary).is_some());
        let place = Root::open(if is_closed { Path::new(PUBLIC) } else { temporary })?;
        let parent = place.dir(&ObjectPath::root())?;
        let name = format!("patchadm-{:016x}", random()?).into_bytes();
        // Other users must be able to reach their tools and copies, and need not see what else exists there.
        let dir = parent.make_dir(&name, Mode::of(0o711))?;
        let path = place.prefix().join(OsStr::from_bytes(&name));
        let bench = Self { parent, name, path, dir };
        bench.make_tools(commands, user)?;
        Ok(bench)
    }

    /// Returns the path of the private directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the tools.
    pub(super) fn tools(&self) -> PathBuf {
        tools_of(&self.path)
    }

    /// Returns the open private directory.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Returns the names of the tools, which scripts find first.
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
                // The running program says which one is missing.
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

    /// Returns the path of another program or of the running one, or of a copy if the user of scripts cannot run it.
    fn runnable(&self, other: Option<&Path>, user: Option<ScriptUser>) -> Result<PathBuf, ScriptError> {
        let program = other.unwrap_or(Path::new(THIS));
        let failed =
            |error: std::io::Error| ScriptError::Preparation(format!("{}: {error}", program.display()));
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

/// Tells whether a path leads to the same file as another one. In an enclosure, the path of a program that entered it from outside may
/// lead to something else.
fn is_same(path: &Path, other: &Path) -> bool {
    match (ObjectStatus::behind(path), ObjectStatus::behind(other)) {
        (Ok(one), Ok(other)) => (one.file_system, one.inode) == (other.file_system, other.inode),
        _ => false,
    }
}

impl Drop for ToolDirectory {
    fn drop(&mut self) {
        // A directory that cannot be removed does no harm: it is private, and its name is never used again.
        let _ = self.parent.remove_tree(&self.name);
    }
}

/// Returns those of the commands that the host does not have itself.
fn ours(commands: &[ScriptTool]) -> impl Iterator<Item = &ScriptTool> {
    commands.iter().filter(|tool| tool.name != "compress" || host(tool.name).is_none())
}

const TOOLS: &[u8] = b"tools";
const NAWK: &str = "nawk";

/// The running program.
const THIS: &str = "/proc/self/exe";
const PROGRAM: &[u8] = b"patchadm";

/// Returns the directory of the tools below the private one.
pub(super) fn tools_of(directory: &Path) -> PathBuf {
    directory.join(OsStr::from_bytes(TOOLS))
}

/// Makes `nawk` out of a program of the host. Busybox goes by the name it is called, so it gets a wrapper script.
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

/// Finds a program of the host.
pub(super) fn host(name: &str) -> Option<PathBuf> {
    HOST.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
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
}
