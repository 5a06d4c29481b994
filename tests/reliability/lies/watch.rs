//! Observes a command from outside while it works on a root that lies: whether anything beside the root was read,
//! changed, made, removed or signalled, and whether anything in the root gained rights.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::roots::{copy, paths};
use crate::reliability::canary::Canary;
use crate::scenario::Scenario;

/// A tree beside the root, and a process, that no command may touch.
pub(super) struct Watch {
    canary: Canary,
    /// Paths beside the root that must not change.
    places: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, Look>,
    victim: Child,
}

/// Inode, links, mode, owner, group, size, and the times of content and of attributes: the last one cannot be set back,
/// so a change of extended attributes shows as well.
pub(super) type Look = (u64, u64, u32, (u32, u32), u64, (i64, i64), (i64, i64));

/// The directory of the undo archive in the tree beside the root.
pub(super) const ARCHIVE: &str = "/canary/101-01";

impl Watch {
    /// Makes the tree of a scene, again if there is one, and watches it.
    pub(super) fn new(stage: &Scenario) -> Self {
        let (canary, good) = (stage.beside("canary"), stage.beside("canary-good"));
        if !good.exists() {
            host(stage, &good);
        }
        let _ = fs::remove_dir_all(&canary);
        copy(&good, &canary);
        let places = ["canary", "delivered", "spool", "apart"].map(|name| stage.beside(name)).to_vec();
        let victim =
            Command::new("sleep").arg("100000").process_group(0).stdin(Stdio::null()).spawn().unwrap();
        let seen = places.iter().flat_map(|place| looks(place)).collect();
        Self { canary: Canary::watch(&canary), places, seen, victim }
    }

    /// The process that must survive.
    pub(super) fn victim(&self) -> u32 {
        self.victim.id()
    }

    /// Discards the events so far.
    pub(super) fn begin(&self) {
        self.canary.events();
    }

    /// Violations outside the root since then. If the owner of the root is trusted, undo archives elsewhere that the
    /// root names may be read.
    pub(super) fn wrongs(&mut self, is_trusted: bool) -> Vec<String> {
        let may_be = |event: &String| is_trusted && event.contains(ARCHIVE) && !event.contains("MODIFY");
        let events = self.canary.events().into_iter().filter(|event| !may_be(event));
        let mut wrongs: Vec<String> = events.map(|event| format!("touched {event}")).collect();
        let now: BTreeMap<PathBuf, Look> = self.places.iter().flat_map(|place| looks(place)).collect();
        let paths: BTreeSet<&PathBuf> = self.seen.keys().chain(now.keys()).collect();
        let changed = paths.into_iter().filter(|path| self.seen.get(*path) != now.get(*path));
        wrongs.extend(changed.map(|path| format!("changed {}", path.display())));
        if self.victim.try_wait().unwrap().is_some() {
            wrongs.push("ended a process of somebody else".to_owned());
        }
        wrongs
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

/// A small host: accounts, a program, an archive of undo data.
fn host(stage: &Scenario, at: &Path) {
    fs::create_dir_all(at.join("etc/empty")).unwrap();
    fs::create_dir_all(at.join("bin")).unwrap();
    fs::create_dir_all(at.join("101-01/ACMElib")).unwrap();
    fs::write(at.join("etc/shadow"), "root:secret:\n").unwrap();
    fs::write(at.join("bin/su"), "su\n").unwrap();
    let archive = stage.beside("backout/101-01/ACMElib");
    let found = fs::read_dir(archive).unwrap().next().unwrap().unwrap().path();
    // The same bytes as the root's archive, as a copy of it would have: only the place differs.
    fs::write(at.join("101-01/ACMElib/undo"), fs::read(found).unwrap()).unwrap();
    for (path, mode) in [("etc/shadow", 0o600), ("bin/su", 0o4755)] {
        fs::set_permissions(at.join(path), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
}

/// The attributes of everything below a place, and of the place itself.
pub(super) fn looks(place: &Path) -> Vec<(PathBuf, Look)> {
    let all = paths(place).into_iter().map(|path| place.join(path)).chain([place.to_owned()]);
    let look = |path: PathBuf| {
        let seen = fs::symlink_metadata(&path).unwrap();
        let times = ((seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()));
        let look =
            (seen.ino(), seen.nlink(), seen.mode(), (seen.uid(), seen.gid()), seen.len(), times.0, times.1);
        (path, look)
    };
    all.map(look).collect()
}

/// Objects that give rights in a root, outside the directories of runs: programs with set-id bits, by owner and
/// content, files with capabilities, devices.
pub(super) fn rights(root: &Path) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for path in
        paths(root).iter().filter(|path| !path.contains("patchadm/stage/") && !path.contains("/.patchadm"))
    {
        let at = root.join(path);
        let Ok(seen) = fs::symlink_metadata(&at) else { continue };
        if seen.is_file() && seen.mode() & 0o6000 != 0 {
            let content = super::records::digest(&fs::read(&at).unwrap());
            rights.insert(format!("{path}: {:o} of {}:{} {content}", seen.mode(), seen.uid(), seen.gid()));
        }
        if seen.file_type().is_block_device() || seen.file_type().is_char_device() {
            rights.insert(format!("{path}: a device"));
        }
        let mut value = [0_u8; 64];
        if rustix::fs::lgetxattr(&at, "security.capability", &mut value).is_ok() {
            rights.insert(format!("{path}: capabilities"));
        }
    }
    rights
}

/// The calls that are traced.
const CALLS: &str = "trace=open,openat,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,\
    symlinkat,mkdir,mkdirat,rmdir,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,setxattr,lsetxattr,\
    fsetxattr,removexattr,lremovexattr,fremovexattr,truncate,ftruncate,kill,tkill,tgkill,pidfd_send_signal";

/// Paths outside the root that may be opened for reading: the system's libraries and settings.
const READABLE: [&str; 12] = [
    "/proc",
    "/sys",
    "/dev",
    "/lib",
    "/usr",
    "/etc/ld.so",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/patchadm",
    "/etc/localtime",
    "/run/systemd/userdb",
];

/// The command under strace(1), which follows all child processes and prints the file of each descriptor.
pub(super) fn traced(command: &Command, trace: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "--decode-fds=path,pidfd", "-qq", "-s", "4096", "-e", CALLS, "-o"])
        .arg(trace)
        .arg("--");
    traced.arg(command.get_program()).args(command.get_args()).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    traced
}

/// Calls in a trace that reach outside the root; `own` are the directories that the command was given.
pub(super) fn strayed(trace: &Path, own: &[PathBuf]) -> Vec<String> {
    let text = String::from_utf8_lossy(&fs::read(trace).unwrap()).into_owned();
    let processes: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let is_own = |path: &str| own.iter().any(|own| Path::new(path).starts_with(own));
    let is_wrong = |line: &&str| {
        let Some((call, rest)) =
            line.split_once(char::is_whitespace).and_then(|(_, call)| call.trim().split_once('('))
        else {
            return false;
        };
        let failed = rest.rsplit_once(" = ").is_some_and(|(_, result)| result.starts_with('-'));
        if failed {
            return false;
        }
        if call.contains("kill") || call.starts_with("pidfd_send") {
            let target = rest.split([',', ')']).next().unwrap_or_default();
            let target = match target.split_once("<pid:") {
                Some((_, of_descriptor)) => of_descriptor.trim_end_matches('>'),
                None => target.split('<').next().unwrap_or_default().trim_start_matches('-'),
            };
            return !processes.contains(target);
        }
        let named = rest.split(['<', '>']).skip(1).step_by(2);
        let mut named = named.filter(|path| path.starts_with('/') && !path.contains(" (deleted)"));
        if call.starts_with("open") || call == "creat" {
            let opened =
                rest.rsplit_once('<').map(|(_, path)| path.trim_end_matches('>')).unwrap_or_default();
            let is_read = !rest.contains("O_WRONLY") && !rest.contains("O_RDWR") && !rest.contains("O_CREAT");
            let may = is_own(opened)
                || ["/", "/etc"].contains(&opened)
                || READABLE.iter().any(|place| opened.starts_with(place)) && is_read;
            return opened.starts_with('/')
                && !may
                && !rest.contains("O_PATH")
                && !opened.starts_with("/dev/null");
        }
        // An open file is named by its descriptor, and was checked when it was opened.
        let is_open = rest.contains("\"/proc/self/fd/");
        let leads_out =
            named.any(|path| !is_own(path) && !path.starts_with("/proc") && !path.starts_with("/dev/null"));
        leads_out && !is_open || rest.contains("../..")
    };
    text.lines().filter(is_wrong).map(|line| format!("called {line}")).collect()
}
