//! File systems in images, whose power a test can cut.
//!
//! Everything happens in a mount namespace of the calling thread, so nobody else ever sees these mounts and nothing of
//! them outlives the test. [`own_device`] is called before every cut: it is the only protection of the file systems of
//! this machine against `shutdown`, and has tests of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use crate::scenario::is_root;
use crate::workshop::eventually;

/// The major number of loop devices (Linux, `Documentation/admin-guide/devices.txt`).
const LOOP: u32 = 7;

/// Runs `play` in a mount namespace of its own, on a thread of its own. Its mounts are not visible elsewhere.
pub(crate) fn in_own_namespace<T: Send>(play: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let played = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            play()
        });
        played.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Requirements that this machine lacks for file systems of this type in images; none if they can be made.
pub(crate) fn lacks(file_system: &str) -> Option<String> {
    if !is_root() {
        return Some("only root can mount".to_owned());
    }
    let tools = [format!("mkfs.{file_system}"), "mount".to_owned(), "xfs_io".to_owned()];
    let is_there = |tool: &&String| {
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|at| Path::new(at).join(tool.as_str()).exists())
    };
    if let Some(missing) = tools.iter().find(|tool| !is_there(tool)) {
        return Some(format!("there is no {missing}"));
    }
    let can = in_own_namespace_if_allowed(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("at")).unwrap();
        let disk = Disk::new(file_system, &dir.path().join("image"), &dir.path().join("at"));
        disk.try_mount().is_ok()
    });
    (!can).then(|| format!("this machine does not let us mount {file_system} in an image"))
}

fn in_own_namespace_if_allowed(play: impl FnOnce() -> bool + Send) -> bool {
    let is_allowed = thread::scope(|scope| {
        scope.spawn(|| unshare(CloneFlags::CLONE_NEWNS).is_ok()).join().is_ok_and(|is_allowed| is_allowed)
    });
    is_allowed && in_own_namespace(play)
}

/// An image with a file system, and its mount point.
pub(crate) struct Disk {
    file_system: String,
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes the image, sparse.
    pub(crate) fn new(file_system: &str, image: &Path, at: &Path) -> Self {
        File::create(image).unwrap().set_len(300 << 20).unwrap();
        let made = Command::new(format!("mkfs.{file_system}")).arg("-q").arg(image).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let image = image.canonicalize().unwrap();
        Self { file_system: file_system.to_owned(), image, at: at.canonicalize().unwrap() }
    }

    /// The mount point.
    pub(crate) fn at(&self) -> &Path {
        &self.at
    }

    /// Mounts it; after a cut this replays its log.
    pub(crate) fn mount(&self) {
        // Two tests that look for a free loop device at the same time may find the same one.
        let failed = (0..20).map_while(|_| {
            let failed = self.try_mount().err()?;
            thread::sleep(Duration::from_millis(50));
            Some(failed)
        });
        let failed: Vec<String> = failed.collect();
        assert!(failed.len() < 20, "{}: {}", self.at.display(), failed.concat());
    }

    fn try_mount(&self) -> Result<(), String> {
        // Files are to be durable because they were synced, not because of a heuristic of ext4.
        let options = if self.file_system == "ext4" { "loop,noauto_da_alloc" } else { "loop" };
        let mounted = Command::new("mount")
            .args(["-t", &self.file_system, "-o", options])
            .args([&self.image, &self.at])
            .output()
            .map_err(|error| error.to_string())?;
        if mounted.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&mounted.stderr).into_owned())
        }
    }

    /// Unmounts it; the caller must not have anything open there. The loop device goes with the mount.
    pub(crate) fn unmount(&self) {
        for _ in 0..2000 {
            match unmount(&self.at, UnmountFlags::empty()) {
                Err(rustix::io::Errno::BUSY) => thread::sleep(Duration::from_millis(5)),
                other => return other.unwrap(),
            }
        }
        panic!("{}: busy for ten seconds", self.at.display());
    }

    /// Unmounts it where processes in mount namespaces of their own had it mounted, too, and waits until these are
    /// gone.
    pub(crate) fn unmount_everywhere(&self) {
        self.unmount();
        eventually("nobody has it mounted", || !self.is_attached());
    }

    /// True if a loop device is attached to the image.
    fn is_attached(&self) -> bool {
        fs::read_dir("/sys/block").unwrap().flatten().any(|device| {
            let backing = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            Path::new(backing.trim_end_matches('\n')) == self.image
        })
    }

    /// Prepares to cut its power at once on command.
    pub(crate) fn switch(&self) -> Switch {
        let device = own_device(&self.at, &self.image).unwrap_or_else(|objection| panic!("{objection}"));
        let shutter = Command::new("xfs_io")
            .arg("-x")
            .arg(&self.at)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let switch = Switch { shutter, at: self.at.clone(), image: self.image.clone() };
        for _ in 0..2000 {
            if switch.devices() == [device] {
                return switch;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("xfs_io does not open {}", self.at.display());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // An open file there goes with the process that has it open; then the loop device goes, too.
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

/// The power switch of one file system: `xfs_io`(8), which has it open and waits for the command.
pub(crate) struct Switch {
    shutter: Child,
    at: PathBuf,
    image: PathBuf,
}

impl Switch {
    /// Asserts that the file system of the image is going to be cut, and nothing else: by its path, and by the
    /// directories that `xfs_io` has open.
    pub(crate) fn checked(&self) {
        let device = own_device(&self.at, &self.image).unwrap_or_else(|objection| panic!("{objection}"));
        assert_eq!(self.devices(), [device], "xfs_io has something else open");
    }

    /// The file systems of the directories that `xfs_io` has open.
    fn devices(&self) -> Vec<u64> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.shutter.id())).unwrap();
        open.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok())
            .filter(fs::Metadata::is_dir)
            .map(|seen| seen.dev())
            .collect()
    }

    /// Cuts the power, right after [`Switch::checked`]. With `flush`, the part of the log that is in memory is written
    /// first.
    pub(crate) fn cut(&mut self, flush: bool) {
        let word: &[u8] = if flush { b"shutdown -f\n" } else { b"shutdown\n" };
        let mut told = self.shutter.stdin.take().unwrap();
        told.write_all(word).unwrap();
        drop(told);
        let status = self.shutter.wait().unwrap();
        assert!(status.success(), "xfs_io: {status}");
        let probe = File::create(self.at.join("power")).map(drop);
        assert!(probe.is_err(), "{} still has power", self.at.display());
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        drop(self.shutter.stdin.take()); // without a word it ends and does nothing
        let _ = self.shutter.wait();
    }
}

/// The device of the file system at `at` if it may be cut; otherwise the reason against it. It may be cut only if `at`
/// is a mount, which only this thread's namespace has, of a whole file system on a loop device over `image`, and none
/// of the places that this machine needs is on that device.
pub(crate) fn own_device(at: &Path, image: &Path) -> Result<u64, String> {
    let said = |error: std::io::Error| format!("{}: {error}", at.display());
    let refused = |reason: String| Err(format!("{} is not to be cut: {reason}", at.display()));
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/mnt")).map_err(said);
    if namespace("thread-self")? == namespace("self")? {
        return refused("the mount namespace is everybody's".to_owned());
    }
    let device = fs::symlink_metadata(at).map_err(said)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    if major != LOOP {
        return refused(format!("it is on device {major}:{minor}, which is not a loop device"));
    }
    let name = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).map_err(said)?;
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").map_err(said)?;
    let on_device = |line: &&str| line.split(' ').nth(2) == Some(&format!("{major}:{minor}"));
    let [mount] = mounts.lines().filter(on_device).collect::<Vec<_>>()[..] else {
        return refused(format!("{name} is mounted more than once"));
    };
    let words: Vec<&str> = mount.split(' ').collect();
    let source = words.iter().skip_while(|word| **word != "-").nth(2);
    if words.get(3..5) != Some(&["/", at.to_str().unwrap_or_default()])
        || source != Some(&format!("/dev/{name}").as_str())
    {
        return refused(format!("it is not where the whole of {name} is mounted"));
    }
    let backing = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).map_err(said)?;
    if Path::new(backing.trim_end_matches('\n')) != image {
        return refused(format!("{name} is over {}", backing.trim_end()));
    }
    let beside = image.parent().unwrap_or(Path::new("/"));
    for place in ["/", "/tmp", "/proc", env!("CARGO_MANIFEST_DIR")].map(Path::new).into_iter().chain([beside])
    {
        if fs::metadata(place).map_err(said)?.dev() == device {
            return refused(format!("{} is on it", place.display()));
        }
    }
    Ok(device)
}
