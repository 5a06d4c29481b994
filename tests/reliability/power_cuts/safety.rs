//! Tests that only file systems of a test's own are ever cut.

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, mount, mount_bind};

use super::disk::{Disk, in_own_namespace, lacks, own_device};

#[track_caller]
fn assert_refused(at: &Path, image: &Path, reason: &str) {
    let refused = own_device(at, image).unwrap_err();
    assert!(refused.contains(reason), "{refused}");
}

/// A directory with an image of ext4 in it and two directories to mount things at.
fn play(test: &str, play: impl FnOnce(&Path, &Disk) + Send) {
    if let Some(lack) = lacks("ext4") {
        return crate::skipped(&format!("{test}: {lack}"));
    }
    in_own_namespace(|| {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap();
        ["at", "other"].iter().for_each(|name| fs::create_dir(at.join(name)).unwrap());
        let disk = Disk::new("ext4", &at.join("image"), &at.join("at"));
        play(&at, &disk);
    });
}

#[test]
fn the_file_system_of_the_image_may_be_cut_and_only_from_a_namespace_of_its_own() {
    play("a file system that may be cut", |dir, disk| {
        disk.mount();
        let device = own_device(&dir.join("at"), &dir.join("image")).unwrap();
        assert_eq!(rustix::fs::major(device), 7);
        let mut switch = disk.switch();
        switch.checked();
        switch.cut(false);
        disk.unmount();
        assert_refused(&dir.join("at"), &dir.join("image"), "which is not a loop device");
    });
    assert_refused(Path::new("/"), Path::new("/image"), "the mount namespace is everybody's");
}

#[test]
fn the_file_systems_of_this_machine_are_never_cut() {
    play("the file systems of this machine", |dir, _| {
        let image = dir.join("image");
        for at in ["/", "/tmp", env!("CARGO_MANIFEST_DIR"), "/proc", dir.to_str().unwrap()] {
            let refused = own_device(Path::new(at), &image).unwrap_err();
            assert!(refused.contains("is not to be cut"), "{refused}");
        }
        mount_bind("/", dir.join("other")).unwrap();
        assert_refused(&dir.join("other"), &image, "is not to be cut");
        mount("tmpfs", dir.join("at"), "tmpfs", MountFlags::empty(), None).unwrap();
        assert_refused(&dir.join("at"), &image, "which is not a loop device");
        rustix::mount::unmount(dir.join("other"), rustix::mount::UnmountFlags::DETACH).unwrap();
        rustix::mount::unmount(dir.join("at"), rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn a_loop_device_is_not_cut_through_another_mount_nor_for_another_image() {
    play("loop devices that are not to be cut", |dir, disk| {
        let (at, other, image) = (dir.join("at"), dir.join("other"), dir.join("image"));
        disk.mount();
        assert_refused(&at, &dir.join("another"), "is over");
        assert_refused(&at.join("lost+found"), &image, "it is not where the whole of");
        mount_bind(&at, &other).unwrap();
        assert_refused(&other, &image, "is mounted more than once");
        assert_refused(&at, &image, "is mounted more than once");
        rustix::mount::unmount(&other, rustix::mount::UnmountFlags::DETACH).unwrap();
        own_device(&at, &image).unwrap();
    });
}
