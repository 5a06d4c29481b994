//! The rows for objects that a package manager of the system wrote or took away since the run was interrupted.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::transaction::outside::OutsideAccess;
use crate::transaction::settings::PackageManagers;
use crate::transaction::{ForeseenRecovery, foresee_recovery, recover_with};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// A package manager that gives the same answer for every object of the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    /// It has always owned it, and changed nothing.
    Owns,
    /// It owns it and wrote it since.
    Wrote,
    /// It had it, and took it away.
    TookAway,
}

impl Manager {
    fn answer(path: &ObjectPath, holds: bool) -> Option<String> {
        (holds && path.to_string().starts_with("/opt/web/")).then(|| "web 2.0-1".to_owned())
    }
}

impl PackageManagers for Manager {
    fn owner(&self, path: &ObjectPath) -> Option<String> {
        Self::answer(path, *self != Self::TookAway)
    }

    fn writer(&self, path: &ObjectPath, _: &str) -> Option<String> {
        Self::answer(path, *self == Self::Wrote)
    }

    fn former_owner(&self, path: &ObjectPath, _: &dyn Fn(&PkgInst) -> bool) -> Option<String> {
        Self::answer(path, *self == Self::TookAway)
    }
}

impl Stopped {
    /// Recovers, and once more, which finds nothing to do.
    fn recover_with(&self, manager: Manager) -> Vec<String> {
        let root = self.world.root(self.ground.open_door());
        let lock = patchadm_rootfs::Lock::take(&root, "recover", |_| false).unwrap();
        let recover = || recover_with(&root, &lock, &OutsideAccess::default(), Some(&manager)).unwrap();
        let Recovered::RolledBack { notes, .. } = recover() else { panic!("not rolled back") };
        assert_eq!(recover(), Recovered::Nothing);
        notes
    }

    /// Recovers, and checks that the same notes had been foreseen.
    fn recover_beside(&self, manager: Manager) -> Vec<String> {
        let foreseen = match foresee_recovery(&self.world.root(Door::default()), Some(&manager)).unwrap() {
            ForeseenRecovery::Root(foreseen) => foreseen.1.notes().to_vec(),
            other => panic!("{other:?}"),
        };
        let notes = self.recover_with(manager);
        let about_objects = |notes: Vec<String>| {
            let about = notes.into_iter().filter(|note| note.contains("/opt/web/"));
            let mut about: Vec<String> = about.collect();
            about.sort();
            about
        };
        let notes = about_objects(notes);
        assert_eq!(about_objects(foreseen), notes);
        notes
    }

    /// Puts the object of a deletion where the switch puts it.
    fn delete(&self, path: &str) {
        fs::rename(self.target(path), self.staged(OpKind::Delete, path)).unwrap();
    }

    /// Puts a file in the place of another one: the same bytes and attributes, in another inode.
    fn copy_in_place(&self, path: &str) {
        let (target, copy) = (self.target(path), self.target("/opt/copy"));
        let seen = fs::metadata(&target).unwrap();
        fs::copy(&target, &copy).unwrap();
        fs::set_permissions(&copy, seen.permissions()).unwrap();
        fs::File::open(&copy).unwrap().set_modified(seen.modified().unwrap()).unwrap();
        fs::rename(copy, target).unwrap();
    }
}

/// The grounds on which an old object is exchanged, has a second name, or only a copy.
const GROUNDS: [Ground; 3] = [Ground::Usual, Ground::NoExchange, Ground::NoLinks];

/// Puts the new object of a replacement in its place, as the switch does on this ground.
fn replace(stopped: &Stopped, path: &str) {
    match stopped.ground {
        Ground::Usual => stopped.exchange(path),
        _ => fs::rename(stopped.staged(OpKind::Replace, path), stopped.target(path)).unwrap(),
    }
}

#[test]
fn replace_other_of_a_package_and_old_the_other_stays_and_the_old_one_is_kept_beside() {
    for ground in GROUNDS {
        let stopped = Stopped::on(ground);
        replace(&stopped, HTTPD);
        put_other(&stopped.target(HTTPD));
        let notes = stopped.recover_beside(Manager::Owns);
        let texts = (stopped.text(HTTPD), stopped.edited(HTTPD));
        assert_eq!(texts, ("somebody else's".into(), "old httpd".into()), "{ground:?}");
        let told =
            "bin/httpd belongs to web 2.0-1 now and stays; the version from before the run is kept as ";
        assert!(notes.len() == 1 && notes[0].contains(told), "{notes:?}");
    }
}

#[test]
fn replace_other_of_a_package_and_none_the_other_stays_however_often_a_recovery_was_interrupted() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    put_other(&stopped.target(HTTPD));
    let kept = stopped.target(&format!("{HTTPD}.edited-{RUN}"));
    fs::rename(stopped.staged(OpKind::Replace, HTTPD), &kept).unwrap();
    stopped.recover_beside(Manager::Owns);
    assert_eq!((stopped.text(HTTPD), stopped.edited(HTTPD)), ("somebody else's".into(), "old httpd".into()));
}

#[test]
fn replace_new_and_old_the_run_is_undone_although_a_package_owns_the_path() {
    for ground in GROUNDS {
        for manager in [Manager::Owns, Manager::Wrote] {
            let stopped = Stopped::on(ground);
            replace(&stopped, HTTPD);
            assert_eq!(stopped.recover_beside(manager), Vec::<String>::new(), "{ground:?}");
            assert_eq!(stopped.text(HTTPD), "old httpd", "{ground:?} {manager:?}");
        }
    }
}

#[test]
fn replace_a_file_of_a_package_that_is_equal_to_the_new_one_stays_if_the_package_was_installed_since() {
    for (manager, text) in [(Manager::Owns, "old httpd"), (Manager::Wrote, "bin/httpd")] {
        let stopped = Stopped::new();
        stopped.exchange(HTTPD);
        stopped.copy_in_place(HTTPD);
        stopped.recover_beside(manager);
        assert_eq!(stopped.text(HTTPD), text, "{manager:?}");
    }
}

#[test]
fn delete_other_of_a_package_stays_and_the_old_object_is_kept_beside() {
    let stopped = Stopped::new();
    stopped.delete(GONE);
    put_other(&stopped.target(GONE));
    stopped.recover_beside(Manager::Owns);
    assert_eq!((stopped.text(GONE), stopped.edited(GONE)), ("somebody else's".into(), "gone\n".into()));
}

#[test]
fn none_and_old_the_object_is_kept_beside_if_its_package_does_not_have_it_any_more() {
    let stopped = Stopped::new();
    stopped.delete(GONE);
    stopped.exchange(HTTPD);
    fs::remove_file(stopped.target(HTTPD)).unwrap();
    let notes = stopped.recover_beside(Manager::TookAway);
    let missing = std::io::ErrorKind::NotFound.to_string();
    assert_eq!((stopped.text(HTTPD), stopped.edited(HTTPD)), (missing.clone(), "old httpd".into()));
    assert_eq!((stopped.text(GONE), stopped.edited(GONE)), (missing, "gone\n".into()));
    assert!(notes[0].contains("web 2.0-1 no longer has "), "{notes:?}");
}

#[test]
fn a_package_that_was_removed_with_its_directory_does_not_stop_recovery() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    fs::remove_dir_all(stopped.target("/opt/web/bin")).unwrap();
    let notes = stopped.recover_beside(Manager::TookAway);
    assert!(!stopped.target("/opt/web/bin").exists(), "{notes:?}");
    assert_eq!(stopped.text(GONE), "gone\n");
}

#[test]
fn add_a_file_or_directory_that_a_package_delivered_since_stays() {
    let put = |stopped: &Stopped, path: &str| {
        fs::rename(stopped.staged(OpKind::Add, path), stopped.target(path)).unwrap();
    };
    let stopped = Stopped::new();
    put(&stopped, NEW);
    put(&stopped, TOOL);
    stopped.copy_in_place(TOOL);
    stopped.recover_beside(Manager::Wrote);
    assert_eq!(stopped.text(TOOL), "new/tool");

    let stopped = Stopped::new();
    put(&stopped, NEW);
    stopped.recover_beside(Manager::Wrote);
    assert!(stopped.target(NEW).is_dir());

    let stopped = Stopped::new();
    put(&stopped, NEW);
    put(&stopped, TOOL);
    stopped.recover_beside(Manager::Owns);
    assert!(!stopped.target(NEW).exists());
}

#[test]
fn attributes_that_a_package_installed_since_has_stay() {
    for manager in [Manager::Owns, Manager::Wrote] {
        let stopped = Stopped::new();
        let op = stopped.op(OpKind::Attr, "/opt/web/staying");
        let target = stopped.target("/opt/web/staying");
        let make_new = || {
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(&target, None, Some(op.new.as_ref().unwrap().gid)).unwrap();
            }
            fs::set_permissions(&target, fs::Permissions::from_mode(0o4750)).unwrap();
        };
        make_new();
        stopped.copy_in_place("/opt/web/staying");
        make_new();
        stopped.recover_with(manager);
        let mode = fs::metadata(&target).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode == 0o4750, manager == Manager::Wrote, "{manager:?}: {mode:o}");
    }
}
