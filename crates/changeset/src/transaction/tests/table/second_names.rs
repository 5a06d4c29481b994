//! The rows of the recovery table for file systems that cannot exchange names: the old object of a replacement has a
//! second name in the stage, or a copy.

use super::*;

/// The grounds on which the old object has a second name, or only a copy.
const WITHOUT: [Ground; 3] = [Ground::NoExchange, Ground::OnlyRename, Ground::NoLinks];

impl Stopped {
    /// Does the work of the switch for a replacement.
    fn rename_over(&self, path: &str) {
        fs::rename(self.staged(OpKind::Replace, path), self.target(path)).unwrap();
    }

    fn second(&self, path: &str) -> PathBuf {
        let staged = self.staged(OpKind::Replace, path);
        staged.with_file_name(format!("{}.old", staged.file_name().unwrap().display()))
    }

    /// Reads what a reader of the records sees of `contents`.
    fn contents_seen(&self) -> String {
        let root = self.world.root(Door::default());
        let path = at("/var/sadm/install/contents");
        let bytes = crate::records::read_consistently(&root, |view| view.read(&path, 1 << 20));
        String::from_utf8(bytes.unwrap().unwrap()).unwrap()
    }
}

#[test]
fn before_anything_is_switched_every_old_object_has_a_second_name_or_a_copy() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        let domain = &stopped.journal.domains[0];
        assert!(domain.lacks.contains(&crate::format::journal::MissingRenameFlag::Exchange), "{ground:?}");
        for op in stopped.journal.ops.iter().filter(|op| op.kind == OpKind::Replace) {
            let path = op.path.to_string();
            let inode = |path: &std::path::Path| {
                use std::os::unix::fs::MetadataExt;
                fs::symlink_metadata(path).unwrap().ino()
            };
            let same = inode(&stopped.second(&path)) == inode(&stopped.target(&path));
            assert_eq!((same, op.copy.is_none()), (ground != Ground::NoLinks, same), "{ground:?}: {path}");
        }
    }
}

#[test]
fn old_and_new_nothing_is_to_be_done() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        assert_eq!(stopped.recover(), Vec::<String>::new(), "{ground:?}");
        assert_eq!(stopped.text(HTTPD), "old httpd");
    }
}

#[test]
fn new_and_a_second_name_that_is_renamed_back() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        let before = stopped.world.live(HTTPD).unwrap();
        stopped.rename_over(HTTPD);
        assert_eq!(stopped.text(HTTPD), "bin/httpd");
        assert_eq!(stopped.recover(), Vec::<String>::new(), "{ground:?}");
        let now = stopped.world.live(HTTPD).unwrap();
        assert_eq!((now.kind, now.mode, now.mtime), (before.kind, before.mode, before.mtime), "{ground:?}");
    }
}

#[test]
fn new_but_edited_or_another_object_it_is_kept_beside() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        stopped.rename_over(HTTPD);
        fs::write(stopped.target(HTTPD), "edited in place").unwrap();
        let notes = stopped.recover();
        let texts = (stopped.text(HTTPD), stopped.edited(HTTPD));
        assert_eq!(texts, ("old httpd".into(), "edited in place".into()), "{ground:?}");
        assert!(notes.iter().any(|note| note.contains("is kept as")), "{notes:?}");

        let stopped = Stopped::on(ground);
        stopped.rename_over(HTTPD);
        put_other(&stopped.target(HTTPD));
        stopped.recover();
        let texts = (stopped.text(HTTPD), stopped.edited(HTTPD));
        assert_eq!(texts, ("old httpd".into(), "somebody else's".into()), "{ground:?}");
    }
}

#[test]
fn other_or_none_and_new_it_was_changed_before_the_switch_reached_it() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        put_other(&stopped.target(HTTPD));
        let notes = stopped.recover();
        assert_eq!(stopped.text(HTTPD), "somebody else's", "{ground:?}");
        assert!(notes.iter().any(|note| note.contains("left unchanged")), "{notes:?}");

        let stopped = Stopped::on(ground);
        fs::remove_file(stopped.target(HTTPD)).unwrap();
        stopped.recover();
        assert!(!stopped.target(HTTPD).exists(), "{ground:?}");
    }
}

#[test]
fn none_and_a_second_name_it_goes_back() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        stopped.rename_over(HTTPD);
        fs::remove_file(stopped.target(HTTPD)).unwrap();
        let notes = stopped.recover();
        assert_eq!(stopped.text(HTTPD), "old httpd", "{ground:?}");
        assert!(notes.iter().any(|note| note.contains("was removed by another process")), "{notes:?}");
    }
}

#[test]
fn new_and_no_second_name_the_old_object_is_rebuilt_from_the_undo_archive() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        stopped.rename_over(HTTPD);
        fs::remove_file(stopped.second(HTTPD)).unwrap();
        let notes = stopped.recover();
        assert_eq!(stopped.text(HTTPD), "old httpd", "{ground:?}");
        assert!(notes.iter().any(|note| note.contains("from the undo archive")), "{notes:?}");
    }
}

#[test]
fn a_deleted_object_in_whose_place_something_was_put_comes_back_and_that_is_kept() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        fs::rename(stopped.target(GONE), stopped.staged(OpKind::Delete, GONE)).unwrap();
        put_other(&stopped.target(GONE));
        stopped.recover();
        let texts = (stopped.text(GONE), stopped.edited(GONE));
        assert_eq!(texts, ("gone\n".into(), "somebody else's".into()), "{ground:?}");
    }
}

#[test]
fn readers_see_the_records_of_before_until_the_rollback_and_after_it() {
    for ground in WITHOUT {
        let stopped = Stopped::on(ground);
        let before = stopped.contents_seen();
        stopped.rename_over("/var/sadm/install/contents");
        assert_ne!(stopped.text("/var/sadm/install/contents"), before);
        assert_eq!(stopped.contents_seen(), before, "{ground:?}: from its second name");
        stopped.recover();
        assert_eq!(stopped.contents_seen(), before, "{ground:?}");
    }
}

#[test]
fn an_added_object_that_was_cut_between_its_two_names_is_taken_away() {
    let stopped = Stopped::on(Ground::NoReplace);
    fs::rename(stopped.staged(OpKind::Add, NEW), stopped.target(NEW)).unwrap();
    fs::hard_link(stopped.staged(OpKind::Add, TOOL), stopped.target(TOOL)).unwrap();
    assert_eq!(stopped.recover(), Vec::<String>::new());
    assert!(!stopped.target(NEW).exists());
}
