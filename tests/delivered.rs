//! The list of delivered objects saves a backout from reading them, and hides no edit.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use patchadm_changeset::format::undo_sidecars::DeliveredObjects;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

pub(crate) const LIST: &str = "/var/sadm/pkg/ACMEweb/save/100-01/delivered";

fn package(version: &str) -> Package {
    let files = (0..40).map(|at| (format!("f{at:02}"), format!("file {at:02} {version}\n")));
    files.fold(Package::new("ACMEweb"), |package, (name, text)| package.file(&name, 0o644, text))
}

/// A root on which a patch has replaced forty files.
pub(crate) fn patched() -> Scenario {
    patched_on(Scenario::new())
}

/// Like [`patched`], on the file system of `stage`.
pub(crate) fn patched_on(stage: Scenario) -> Scenario {
    stage.install(&package("1"));
    Patch::of("100-01", package("2")).directory(&stage);
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage
}

#[test]
fn a_file_whose_size_and_time_an_editor_put_back_is_seen_to_be_edited() {
    let stage = patched_on(Scenario::on_disk());
    if !stage.at(LIST).exists() {
        return crate::skipped("a_file_whose_size_and_time…: the file system of the tests has no list");
    }
    let path = stage.at("/opt/ACMEweb/f07");
    let before = fs::metadata(&path).unwrap();
    fs::write(&path, "FILE 07 2\n").unwrap();
    let mtime = SystemTime::UNIX_EPOCH + Duration::new(before.mtime().try_into().unwrap(), 0);
    File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), before.len());
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(fs::read(stage.at("/opt/ACMEweb/f07")).unwrap(), b"file 07 1\n");
    assert_eq!(fs::read(stage.at("/opt/ACMEweb/f07.edited-100-01")).unwrap(), b"FILE 07 2\n");
    assert!(!stage.at("/opt/ACMEweb/f08.edited-100-01").exists());
    assert!(!stage.at(LIST).exists(), "the list goes with the save directory");
}

#[test]
fn a_copied_root_a_damaged_list_and_none_are_backed_out_alike() {
    for damage in ["", "copied", "damaged", "gone", "a directory"] {
        let stage = patched_on(Scenario::on_disk());
        let list = stage.at(LIST);
        if !list.exists() {
            return crate::skipped("a_copied_root_a_damaged_list…: the file system of the tests has no list");
        }
        let listed = DeliveredObjects::parse(&fs::read(&list).unwrap()).unwrap();
        assert!(listed.0.len() <= 40);
        match damage {
            "copied" => {
                for at in 0..40 {
                    let path = stage.at(&format!("/opt/ACMEweb/f{at:02}"));
                    let (bytes, seen) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap());
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, bytes).unwrap();
                    let mtime = SystemTime::UNIX_EPOCH + Duration::new(seen.mtime().try_into().unwrap(), 0);
                    let file = File::options().write(true).open(&path).unwrap();
                    file.set_permissions(seen.permissions()).unwrap();
                    file.set_modified(mtime).unwrap();
                }
            }
            "damaged" => fs::write(&list, b"00000000\nwhatever\n").unwrap(),
            "gone" => fs::remove_file(&list).unwrap(),
            "a directory" => {
                fs::remove_file(&list).unwrap();
                fs::create_dir(&list).unwrap();
            }
            _ => {}
        }
        stage.run("remove -R @ROOT@ 100-01").ok();
        let text = fs::read(stage.at("/opt/ACMEweb/f39")).unwrap();
        assert_eq!(text, b"file 39 1\n", "{damage}");
        assert!(!stage.at("/opt/ACMEweb/f39.edited-100-01").exists(), "{damage}");
    }
}

#[test]
fn there_is_no_list_where_a_file_can_be_written_to_without_a_trace_in_its_times() {
    let stage = patched_on(Scenario::new());
    let magic = rustix::fs::statfs(stage.root()).unwrap().f_type;
    if magic != 0x0102_1994 {
        return crate::skipped("the list on a tmpfs: /dev/shm is none");
    }
    assert!(!stage.at(LIST).exists());
    assert!(stage.at(LIST).parent().unwrap().join("undo.b3").exists());
}
