//! The private directory of a run: this program under the names of its commands, and other tools that scripts expect.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ScriptError;
use super::trust::{ScriptUser, unreadable_by};
use patchadm_rootfs::{Dir, Root, random};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The directories searched for programs of the host.
const HOST: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// The host's programs that can serve as `nawk`. The stock class script of a patch contains one program that only the
/// original nawk accepts (`continue` outside a loop). With the others that program fails, and the script continues
/// without its list, which matters only on running systems.
const AWKS: [&str; 4] = ["original-awk", "mawk", "gawk", "awk"];

/// The directory for the tools if the user of scripts cannot reach the named one.
const PUBLIC: &str = "/var/tmp";

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
        commands: &[&str],
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
    pub(super) fn names(commands: &[&str]) -> Vec<String> {
        let ours = commands.iter().filter(|name| **name != "compress" || host(name).is_none());
        ours.map(|name| (*name).to_owned()).chain(host("nawk").is_none().then(|| "nawk".to_owned())).collect()
    }

    fn make_tools(&self, commands: &[&str], user: Option<ScriptUser>) -> Result<(), ScriptError> {
        let tools = self.dir.make_dir(TOOLS, Mode::of(0o755))?;
        let program = self.program(user)?;
        for name in Self::names(commands) {
            if name == "nawk" {
                make_nawk(&tools)?;
            } else {
                tools.make_symlink(name.as_bytes(), program.as_os_str().as_bytes())?;
            }
        }
        Ok(())
    }

    /// Returns the path of this program, or of a copy if not everybody can run it.
    fn program(&self, user: Option<ScriptUser>) -> Result<PathBuf, ScriptError> {
        let this = Path::new("/proc/self/exe");
        let failed = |error: std::io::Error| ScriptError::Preparation(format!("our own program: {error}"));
        let named = std::fs::read_link(this).map_err(failed)?;
        if named.exists() && user.is_none_or(|user| unreadable_by(user, &named).is_none()) {
            return Ok(named);
        }
        let mut from = File::open(this).map_err(failed)?;
        let mut copy = self.dir.create(PROGRAM)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match from.read(&mut buffer).map_err(failed)? {
                0 => break,
                read => copy.put(buffer.get(..read).unwrap_or_default())?,
            }
        }
        copy.set_mode(Mode::of(0o755))?;
        Ok(self.path.join(OsStr::from_bytes(PROGRAM)))
    }
}

impl Drop for ToolDirectory {
    fn drop(&mut self) {
        // A directory that cannot be removed does no harm: it is private, and its name is never used again.
        let _ = self.parent.remove_tree(&self.name);
    }
}

const TOOLS: &[u8] = b"tools";
const PROGRAM: &[u8] = b"patchadm";

/// Returns the directory of the tools below the private one.
pub(super) fn tools_of(directory: &Path) -> PathBuf {
    directory.join(OsStr::from_bytes(TOOLS))
}

/// Makes `nawk` out of a program of the host. Busybox goes by the name it is called, so it gets a wrapper script.
fn make_nawk(tools: &Dir) -> Result<(), ScriptError> {
    if let Some(awk) = AWKS.iter().find_map(|name| host(name)) {
        return Ok(tools.make_symlink(b"nawk", awk.as_os_str().as_bytes())?);
    }
    let Some(busybox) = host("busybox") else { return Ok(()) };
    let mut file = tools.create(b"nawk")?;
    file.put(format!("#!/bin/sh\nexec {} awk \"$@\"\n", busybox.display()).as_bytes())?;
    file.set_mode(Mode::of(0o755))?;
    Ok(())
}

/// Finds a program of the host.
pub(super) fn host(name: &str) -> Option<PathBuf> {
    HOST.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}
