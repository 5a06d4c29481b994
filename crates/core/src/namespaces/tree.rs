//! Builds the tree of an enclosure in this process's mount namespace and makes it `/`. Until then, `/…` means the host,
//! and an open directory leads inside.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};

use super::enclosure::{
    Access, EnclosedMount, Enclosure, EnclosureTree, JudgedDirectory, MissingPlace, MountSource, OwnIds,
};
use super::mounts::{FoundPlace, find, make, mount_of, open_inside};
use crate::namespaces::enclosure::{EnclosureError, EnclosureNote};
use crate::namespaces::mounts::{
    MountTable, attach, copy_of, copy_of_host, make_read_only, mount_devices, mount_nothing, mount_of_layers,
    mount_processes,
};
use crate::namespaces::rights::refusal;

/// Needs a process with one thread.
pub(super) fn enter(enclosure: &Enclosure, is_superuser: bool) -> Result<Vec<EnclosureNote>, EnclosureError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| {
        refusal("unshare(CLONE_NEWNS)", Errno::from_raw_os_error(errno as i32), is_superuser)
    })?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|errno| refusal("mount(MS_PRIVATE)", errno, is_superuser))?;
    let mut tree = TreeBuilder::begin(enclosure)?;
    for mount in &enclosure.mounts {
        tree.mount(mount)?;
    }
    tree.become_root()
}

struct TreeBuilder<'a> {
    judged: &'a [JudgedDirectory],
    top: OwnedFd,
    lowest: u64,
    /// Missing mount points may be made in these mounts.
    own: Vec<u64>,
    /// `None`: new objects belong to the caller.
    owner: Option<(u32, u32)>,
    notes: Vec<EnclosureNote>,
}

impl<'a> TreeBuilder<'a> {
    fn begin(enclosure: &'a Enclosure) -> Result<Self, EnclosureError> {
        let (top, shown) = match &enclosure.tree {
            EnclosureTree::Host(tree) => (copy_of_host(tree, OsStr::new("/"), &enclosure.judged)?, tree),
            EnclosureTree::Layers(layers) => (mount_of_layers(layers)?, &layers.upper),
        };
        rustix::mount::move_mount(&top, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|errno| EnclosureError::failed("mount", shown.display(), errno))?;
        let lowest = mount_of(&top)?;
        let mut own = Vec::new();
        match enclosure.access {
            Access::ReadOnly => make_read_only(&top, lowest)?,
            Access::ReadWrite => own.push(lowest),
        }
        let owner = enclosure.ids.as_ref().and_then(OwnIds::root);
        Ok(Self { judged: &enclosure.judged, top, lowest, own, owner, notes: Vec::new() })
    }

    fn mount(&mut self, mount: &EnclosedMount) -> Result<(), EnclosureError> {
        // The source comes first: its type decides whether a missing place becomes a directory.
        let copy = match &mount.source {
            MountSource::Host { below, path, .. } => Some(copy_of_host(below, path, self.judged)?),
            _ => None,
        };
        let is_directory = copy.as_ref().is_none_or(is_directory);
        let Some(place) = self.place(mount, is_directory)? else { return Ok(()) };
        match (&mount.source, copy) {
            (MountSource::Host { access, is_own, .. }, Some(copy)) => {
                self.mount_copy(mount, &place, copy, (*access, *is_own))
            }
            (MountSource::Processes, _) => {
                if mount_processes(&self.top, &mount.place, &place.fd)? {
                    self.notes.push(EnclosureNote::HostProcesses);
                }
                Ok(())
            }
            (MountSource::Devices { files, shared_memory, has_terminal }, _) => {
                mount_devices(&self.top, (&mount.place, &place.fd), (files, *shared_memory), *has_terminal)
            }
            (MountSource::Nothing | MountSource::Host { .. }, _) => mount_nothing(&mount.place, &place.fd),
        }
    }

    /// Finds or makes a mount point; `None` if nothing is to be mounted.
    fn place(
        &mut self,
        mount: &EnclosedMount,
        is_directory: bool,
    ) -> Result<Option<FoundPlace>, EnclosureError> {
        let named = &mount.place;
        let mut found = find(&self.top, named)?;
        if found.is_none() {
            match mount.missing {
                MissingPlace::LeftOut => return Ok(None),
                MissingPlace::Refused => {
                    return Err(EnclosureError::failed("mount", named.display(), "the directory is missing"));
                }
                MissingPlace::Made => {
                    make(&self.top, named, is_directory, (&self.own, self.owner))?;
                    self.notes.push(EnclosureNote::Made(named.display().to_string()));
                    found = find(&self.top, named)?;
                }
            }
        }
        let place = found.ok_or_else(|| EnclosureError::failed("mount", named.display(), Errno::NOENT))?;
        let words = |path: &OsStr| {
            path.to_string_lossy()
                .split('/')
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        if words(named) != words(&place.path) {
            let (named, meant) = (named.display().to_string(), place.path.display().to_string());
            self.notes.push(EnclosureNote::Link { named, meant });
        }
        Ok(Some(place))
    }

    fn mount_copy(
        &mut self,
        mount: &EnclosedMount,
        place: &FoundPlace,
        copy: OwnedFd,
        (access, is_own): (Access, bool),
    ) -> Result<(), EnclosureError> {
        let failed = |errno: Errno| EnclosureError::failed("mount", mount.place.display(), errno);
        let kept = if is_own { self.mounts_below(&place.path)? } else { Vec::new() };
        attach(&copy, &place.fd).map_err(failed)?;
        let id = mount_of(&copy)?;
        if is_root(&place.path) {
            self.top = copy;
        }
        if access == Access::ReadOnly {
            make_read_only(&self.top, id)?;
        } else if is_own {
            self.own.push(id);
        }
        for (point, copy) in kept {
            // A mount point that the new tree lacks shows nothing of the old one.
            if let Some(place) = open_inside(&self.top, &point).map_err(failed)?
                && is_directory(&place) == is_directory(&copy)
            {
                attach(&copy, &place).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn mounts_below(&self, path: &OsStr) -> Result<Vec<(std::ffi::OsString, OwnedFd)>, EnclosureError> {
        use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
        let table = MountTable::read()
            .map_err(|error| EnclosureError::failed("read", "/proc/self/mountinfo", error))?;
        let mut kept = Vec::new();
        for point in table.points_below(self.lowest, path.as_bytes()) {
            let point = std::ffi::OsString::from_vec(point);
            // Mounts that the caller cannot reach are invisible inside.
            if let Ok(Some(file)) = open_inside(&self.top, &point) {
                let copy = copy_of(&file);
                kept.push((
                    point.clone(),
                    copy.map_err(|errno| EnclosureError::failed("mount", point.display(), errno))?,
                ));
            }
        }
        Ok(kept)
    }

    fn become_root(self) -> Result<Vec<EnclosureNote>, EnclosureError> {
        let failed =
            |errno: Errno| EnclosureError::Failed(format!("cannot enter the tree: pivot_root: {errno}"));
        rustix::process::fchdir(&self.top).map_err(failed)?;
        // The old root is now mounted over the new one.
        rustix::process::pivot_root(".", ".").map_err(failed)?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed)?;
        rustix::process::chdir("/").map_err(failed)?;
        Ok(self.notes)
    }
}

fn is_directory(file: &OwnedFd) -> bool {
    let stat = rustix::fs::fstat(file);
    stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

fn is_root(path: &OsStr) -> bool {
    path.as_encoded_bytes() == b"/"
}
