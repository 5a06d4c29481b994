//! Places to measure: a directory that the user names, or images with their own file systems.
//!
//! Images are sparse files, mounted through a loop device in the benchmark's own mount namespace and unlinked at once:
//! however the benchmark ends, mount, device and image disappear with it. Only root can make them. The loop device
//! passes a flush on to the disk below as `fsync` of the image.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::line::{Line, is_installed};
use crate::scratch::Scratch;
use crate::tree::Clock;

/// The file systems of images.
pub(crate) const FILE_SYSTEMS: [&str; 2] = ["ext4", "xfs"];

/// A place to measure.
pub(crate) struct Disk {
    name: String,
    path: PathBuf,
    scratch: PathBuf,
    counters: Option<PathBuf>,
    clock: Clock,
    /// The directory to remove at the end; `None` for an image, which is unmounted.
    directory: Option<Scratch>,
}

impl Disk {
    /// Makes a new directory below one that the user named.
    pub(crate) fn directory(parent: &Path, scratch: &Path) -> Result<Self> {
        let directory = Scratch::new(parent, "disk")?;
        let path = directory.path().to_owned();
        let (name, scratch) = (format!("{} directory", file_system_of(&path)), scratch.to_owned());
        let clock = Clock::probe(&path)?;
        Ok(Self { name, path, scratch, counters: None, clock, directory: Some(directory) })
    }

    /// Mounts an image of `size` bytes with a file system of this type. The image file is made in `store`.
    pub(crate) fn image(file_system: &str, size: u64, store: &Path, scratch: &Path) -> Result<Self> {
        let program = format!("mkfs.{file_system}");
        ensure!(is_installed(&program), "{program} is not installed");
        let image = store.join(format!("patchadm-benchmark-{}.img", std::process::id()));
        let path = scratch.join(file_system);
        fs::create_dir_all(&path)?;
        File::create(&image)?.set_len(size)?;
        let made = Line::new(&program).arg("-q").arg(&image).run().and_then(|()| {
            Line::new("mount").words("-o loop").arg(&image).arg(&path).run().context("no loop mount here")
        });
        fs::remove_file(&image)?;
        made?;
        let device = fs::metadata(&path)?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let counters = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        // The device has no counters if /sys is not that of this machine.
        let counters = Some(counters).filter(|file| file.exists());
        let (name, scratch) = (format!("{file_system} image"), scratch.to_owned());
        let (path, clock) = (path.canonicalize()?, Clock::Inode);
        let mut disk = Self { name, path, scratch, counters, clock, directory: None };
        ensure!(device != fs::metadata("/")?.dev(), "the image was not mounted");
        disk.clock = Clock::probe(&disk.path)?;
        Ok(disk)
    }

    /// Returns its name in tables.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the first word of its name.
    pub(crate) fn word(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }

    /// Returns the path of a directory on it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the clock that tells when a path was changed.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Returns a directory elsewhere, for inputs and reports.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Waits until all changes are on the disk.
    pub(crate) fn settle(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.path)?)?)
    }

    /// Returns how often the cache of the device was flushed so far, or `None` without a device of our own.
    pub(crate) fn flushes(&self) -> Result<Option<f64>> {
        let Some(file) = &self.counters else { return Ok(None) };
        let text = fs::read_to_string(file)?;
        // Field 16 of Documentation/block/stat.rst.
        Ok(Some(text.split_whitespace().nth(15).context("a counter is missing")?.parse()?))
    }

    /// Fails unless `root`, which another program is about to change, is on this disk.
    pub(crate) fn assert_ours(&self, root: &Path) -> Result<()> {
        let real = root.canonicalize()?;
        ensure!(
            real != self.path && real.starts_with(&self.path) && self.path != Path::new("/"),
            "{} is not below {}: no other package system is started there",
            real.display(),
            self.path.display()
        );
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.directory.is_none() {
            // If this fails, the mount ends with the namespace.
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Returns true if the caller may mount.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Moves to a private mount namespace. Must be called while the process has a single thread.
pub(crate) fn leave_mounts_of_others() -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).context("no private mount namespace")?;
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", flags)?)
}

/// Returns the type of the file system below a directory, as far as /proc knows it.
pub(crate) fn file_system_of(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let on = |line: &&str| line.split(' ').nth(1).is_some_and(|place| path.starts_with(place));
    let longest = mounts.lines().filter(on).max_by_key(|line| line.split(' ').nth(1).map(str::len));
    longest.and_then(|line| line.split(' ').nth(2)).unwrap_or("unknown").to_owned()
}
