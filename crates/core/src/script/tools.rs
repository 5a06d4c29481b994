//! The private directory of a run: the program under the names of its commands, and what else scripts expect.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ScriptError;
use super::trust::{ScriptUser, unreadable_by};
use crate::package::{Mode, ObjectPath};
use crate::root::{Dir, Root, random};

/// Where programs of the host are looked for.
const HOST: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Programs of the host that can be `nawk`. The stock class script of a patch has one program that only the original
/// nawk accepts (`continue` outside a loop); with all others that program fails, and the script goes on without the
/// list that it makes, which serves roots of running systems only.
const AWKS: [&str; 4] = ["original-awk", "mawk", "gawk", "awk"];

/// Where the tools are when the directory that was named is closed to the user of scripts.
const PUBLIC: &str = "/var/tmp";

/// The private directory. It is removed with this value.
#[derive(Debug)]
pub(super) struct ToolDirectory {
    parent: Dir,
    name: Vec<u8>,
    path: PathBuf,
    dir: Dir,
}

impl ToolDirectory {
    /// Makes it below `temporary`, or below `/var/tmp` where `user` could not reach it there, with all tools.
    pub(super) fn lay_out(
        temporary: &Path,
        commands: &[&str],
        user: Option<ScriptUser>,
    ) -> Result<Self, ScriptError> {
        let is_closed = user.is_some_and(|user| unreadable_by(user, temporary).is_some());
        let place = Root::open(if is_closed { Path::new(PUBLIC) } else { temporary })?;
        let parent = place.dir(&ObjectPath::root())?;
        let name = format!("patchadm-{:016x}", random()?).into_bytes();
        // Others must get through to their tools and copies, and need not see what else is there.
        let dir = parent.make_dir(&name, Mode::of(0o711))?;
        let path = place.prefix().join(OsStr::from_bytes(&name));
        let bench = Self { parent, name, path, dir };
        bench.make_tools(commands, user)?;
        Ok(bench)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the tools are.
    pub(super) fn tools(&self) -> PathBuf {
        tools_of(&self.path)
    }

    /// The directory itself.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The tools by name: what scripts find first.
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

    /// Our own program where everybody can run it: as it is, else a copy of it.
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
        // A directory that cannot be removed harms nobody: it is private, and its name is never used again.
        let _ = self.parent.remove_tree(&self.name);
    }
}

const TOOLS: &[u8] = b"tools";
const PROGRAM: &[u8] = b"patchadm";

/// The directory of the tools below the private one.
pub(super) fn tools_of(directory: &Path) -> PathBuf {
    directory.join(OsStr::from_bytes(TOOLS))
}

/// `nawk`, from what the host has. Busybox looks at the name it is called by, so it gets a script in between.
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

/// A program of the host.
pub(super) fn host(name: &str) -> Option<PathBuf> {
    HOST.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}
