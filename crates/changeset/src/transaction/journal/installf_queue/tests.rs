//! Objects that scripts make at once, and their removal with the run.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::plan::{AttributeChange, NewXattrs};
use patchadm_rootfs::Digest;
use patchadm_svr4::package::PkgInst;

const STAGE: &str = "/var/sadm/patchadm/stage/7-00000000000000aa";

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

/// A root with the stage of a run, and a foreign file, link and directory.
struct Scene {
    dir: TempDir,
    root: Root,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let scene = Self { dir, root };
        fs::create_dir_all(scene.host(STAGE)).unwrap();
        fs::create_dir_all(scene.host("/opt/kept")).unwrap();
        fs::write(scene.host("/opt/file"), "file\n").unwrap();
        fs::set_permissions(scene.host("/opt/file"), fs::Permissions::from_mode(0o644)).unwrap();
        symlink("old", scene.host("/opt/soft")).unwrap();
        scene
    }

    fn host(&self, path: &str) -> PathBuf {
        self.dir.path().join(&path[1..])
    }

    fn change(&self, path: &str, action: Action) -> Change {
        let path = at(path);
        let parent = self.root.dir_if_there(&path.parent().unwrap()).unwrap();
        let old = parent.and_then(|dir| dir.live(path.name()).unwrap()).map(Box::new);
        Change { package: PkgInst::new("ACMEa").unwrap(), path, action, old }
    }

    fn object(&self, body: Body, mode: u32) -> NewObject {
        let own = fs::metadata(self.dir.path()).unwrap();
        let (uid, gid) = (own.uid(), own.gid());
        NewObject { body, mode: Mode::of(mode), uid, gid, mtime: None, xattrs: NewXattrs::Inherited }
    }

    fn added(&self, path: &str, body: Body, mode: u32) -> Change {
        self.change(path, Action::Add(self.object(body, mode)))
    }

    /// One change of each kind.
    fn changes(&self) -> Vec<Box<Change>> {
        let turned = Action::Replace(self.object(Body::Symlink(b"new".to_vec()), 0o777));
        let mode = Some(Mode::of(0o600));
        let closed = Action::Attributes(AttributeChange { mode, ..AttributeChange::default() });
        [
            self.added("/opt/dir", Body::Directory, 0o750),
            self.added("/opt/dir/pipe", Body::Pipe, 0o620),
            self.added("/opt/dir/soft", Body::Symlink(b"../file".to_vec()), 0o777),
            self.added("/opt/dir/hard", Body::Link(at("/opt/file")), 0o644),
            self.change("/opt/soft", turned),
            self.change("/opt/file", closed),
        ]
        .map(Box::new)
        .into()
    }

    fn make(&self) {
        InstallfQueue::open(&self.root, &at(STAGE)).unwrap().make(&self.root, &self.changes()).unwrap();
    }

    fn undo(&self) -> Vec<String> {
        undo_queue(&self.root, &read_queue(&self.root, &at(STAGE)).unwrap()).unwrap()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.host(path)).unwrap().permissions().mode() & 0o7777
    }

    fn target(&self, path: &str) -> PathBuf {
        fs::read_link(self.host(path)).unwrap()
    }
}

#[test]
fn what_is_asked_for_is_made_at_once_and_taken_back_by_a_rollback() {
    let scene = Scene::new();
    scene.make();
    assert_eq!(
        (scene.mode("/opt/dir"), scene.mode("/opt/dir/pipe"), scene.mode("/opt/file")),
        (0o750, 0o620, 0o600)
    );
    assert!(fs::symlink_metadata(scene.host("/opt/dir/pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(scene.host("/opt/dir/hard")).unwrap().nlink(), 2);
    assert_eq!((scene.target("/opt/dir/soft"), scene.target("/opt/soft")), ("../file".into(), "new".into()));
    for _ in 0..2 {
        assert_eq!(scene.undo(), [""; 0]);
        assert!(!scene.host("/opt/dir").exists());
        assert_eq!((scene.mode("/opt/file"), scene.target("/opt/soft")), (0o644, "old".into()));
    }
    assert_eq!(fs::read(scene.host("/opt/file")).unwrap(), b"file\n");
}

#[test]
fn a_link_has_its_owner_and_time_back_and_an_older_line_keeps_the_owner_that_is_there() {
    let scene = Scene::new();
    let soft = scene.host("/opt/soft");
    let is_root = scene.root.is_privileged();
    if is_root {
        std::os::unix::fs::lchown(&soft, Some(1004), Some(1005)).unwrap();
    }
    let opt = scene.root.dir(&at("/opt")).unwrap();
    opt.set_mtime(b"soft", Timestamp::whole(981_173_106)).unwrap();
    let seen = |path: &PathBuf| {
        let seen = fs::symlink_metadata(path).unwrap();
        (seen.uid(), seen.gid(), seen.mtime())
    };
    let before = seen(&soft);
    scene.make();
    assert_ne!(seen(&soft), before, "the run made another link");
    assert_eq!(scene.undo(), [""; 0]);
    assert_eq!((seen(&soft), scene.target("/opt/soft")), (before, "old".into()));

    let line = b"turned /opt/soft=older old\n";
    let older = InstallfRequests::parse(line).unwrap();
    assert_eq!(undo_queue(&scene.root, &older).unwrap(), [""; 0]);
    assert_eq!(scene.target("/opt/soft"), PathBuf::from("older"));
    assert_eq!((seen(&soft).0, seen(&soft).1), (before.0, before.1));
}

#[test]
fn no_object_that_another_user_could_have_put_there_is_opened_unless_the_run_made_it() {
    let scene = Scene::new();
    if !scene.root.is_privileged() || fs::metadata(scene.dir.path()).unwrap().created().is_err() {
        return crate::skipped("objects of another user: not root, or no birth times here");
    }
    let file = |path: &str| {
        fs::write(scene.host(path), "secret\n").unwrap();
        fs::set_permissions(scene.host(path), fs::Permissions::from_mode(0o600)).unwrap();
    };
    fs::create_dir(scene.host("/opt/theirs")).unwrap();
    file("/opt/theirs/old");
    // The run begins a tick of the clock later.
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::remove_dir(scene.host(STAGE)).unwrap();
    fs::create_dir(scene.host(STAGE)).unwrap();
    file("/opt/theirs/new");
    std::os::unix::fs::chown(scene.host("/opt/theirs"), Some(1004), None).unwrap();

    let opened = |path: &str| {
        let mode = Some(Mode::of(0o644));
        let change = Action::Attributes(AttributeChange { mode, ..AttributeChange::default() });
        vec![Box::new(scene.change(path, change))]
    };
    let mut queue = InstallfQueue::open(&scene.root, &at(STAGE)).unwrap();
    let error = queue.make(&scene.root, &opened("/opt/theirs/old")).unwrap_err().to_string();
    assert!(error.contains("/opt/theirs/old does not get its owner and mode"), "{error}");
    queue.make(&scene.root, &opened("/opt/theirs/new")).unwrap();
    assert_eq!((scene.mode("/opt/theirs/old"), scene.mode("/opt/theirs/new")), (0o600, 0o644));
    drop(queue);
    assert_eq!(scene.undo(), [""; 0]);
    assert_eq!((scene.mode("/opt/theirs/old"), scene.mode("/opt/theirs/new")), (0o600, 0o600));
}

#[test]
fn what_others_put_there_in_the_meantime_stays() {
    let scene = Scene::new();
    scene.make();
    fs::write(scene.host("/opt/dir/mine"), "mine\n").unwrap();
    fs::remove_file(scene.host("/opt/dir/pipe")).unwrap();
    fs::write(scene.host("/opt/dir/pipe"), "no pipe\n").unwrap();
    fs::remove_file(scene.host("/opt/soft")).unwrap();
    symlink("mine", scene.host("/opt/soft")).unwrap();
    fs::rename(scene.host("/opt/file"), scene.host("/opt/moved")).unwrap();
    fs::write(scene.host("/opt/file"), "another\n").unwrap();
    fs::set_permissions(scene.host("/opt/file"), fs::Permissions::from_mode(0o640)).unwrap();
    let notes = scene.undo().join("\n");
    assert!(notes.contains("opt/dir is not empty and was kept"), "{notes}");
    assert!(notes.contains("opt/dir/pipe was changed by another process"), "{notes}");
    assert_eq!((scene.target("/opt/soft"), scene.mode("/opt/file")), ("mine".into(), 0o640));
    assert_eq!(fs::read(scene.host("/opt/dir/pipe")).unwrap(), b"no pipe\n");
}

#[test]
fn an_object_that_was_noted_and_never_made_is_no_obstacle() {
    let scene = Scene::new();
    let notes = scene.changes().iter().filter_map(|change| note(change)).collect();
    InstallfQueue::open(&scene.root, &at(STAGE)).unwrap().add(notes).unwrap();
    assert_eq!(scene.undo(), [""; 0]);
    assert_eq!((scene.mode("/opt/file"), scene.target("/opt/soft")), (0o644, "old".into()));
}

#[test]
fn calls_at_the_same_time_follow_each_other_and_a_torn_line_is_cut() {
    let scene = Scene::new();
    fs::write(scene.host(STAGE).join("queue"), "finish-remove ACMEa\nfinish-rem").unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let root = scene.root.clone();
            scope.spawn(move || {
                let package = PkgInst::new(&format!("ACME{number}")).unwrap();
                let mut queue = InstallfQueue::open(&root, &at(STAGE)).unwrap();
                queue
                    .add(vec![
                        InstallfEntry::FinishRemove(package.clone()),
                        InstallfEntry::FinishAdd(package, None),
                    ])
                    .unwrap();
            });
        }
    });
    let queue = read_queue(&scene.root, &at(STAGE)).unwrap();
    assert_eq!(queue.0.len(), 17);
    for pair in queue.0[1..].chunks(2) {
        let [InstallfEntry::FinishRemove(one), InstallfEntry::FinishAdd(other, None)] = pair else {
            panic!("{pair:?}")
        };
        assert_eq!(one, other, "nobody's lines stand between those of a call");
    }
}

#[test]
fn a_run_without_requests_has_an_empty_queue_and_a_damaged_one_is_named() {
    let scene = Scene::new();
    assert_eq!(read_queue(&scene.root, &at(STAGE)).unwrap(), InstallfRequests::default());
    fs::write(scene.host(STAGE).join("queue"), "rubbish\n").unwrap();
    let error = read_queue(&scene.root, &at(STAGE)).unwrap_err().to_string();
    assert!(error.ends_with("/queue: line 1 is not what this program writes"), "{error}");
}

/// Returns the digest of the bytes that a test wrote.
fn digest(bytes: &[u8]) -> Digest {
    patchadm_rootfs::Sums::of(&mut &bytes[..]).unwrap().b3
}

/// Returns a line for the existing object which says that it had set-id bits.
fn was_set_id(scene: &Scene, path: &str, bytes: &[u8]) -> InstallfRequests {
    let old = scene.change(path, Action::Delete).old.unwrap();
    InstallfRequests(vec![InstallfEntry::Changed {
        path: at(path),
        mode: Mode::of(0o4755),
        uid: old.uid,
        gid: old.gid,
        inode: old.inode,
        ftype: Ftype::File,
        b3: Some(digest(bytes)),
        capability: None,
    }])
}

#[test]
fn set_id_bits_come_back_to_the_bytes_that_had_them_and_to_no_others() {
    let scene = Scene::new();
    assert_eq!(undo_queue(&scene.root, &was_set_id(&scene, "/opt/file", b"file\n")).unwrap(), [""; 0]);
    assert_eq!(scene.mode("/opt/file"), 0o4755);

    fs::set_permissions(scene.host("/opt/file"), fs::Permissions::from_mode(0o644)).unwrap();
    let notes = undo_queue(&scene.root, &was_set_id(&scene, "/opt/file", b"another\n")).unwrap();
    assert_eq!(scene.mode("/opt/file"), 0o755);
    assert!(
        notes[0].ends_with("/opt/file was written to by another process; it stays without its set-id bits")
    );
}

#[test]
fn attributes_come_back_to_the_object_of_its_type_only() {
    let scene = Scene::new();
    let mut queue = was_set_id(&scene, "/opt/file", b"file\n");
    let Some(InstallfEntry::Changed { ftype, b3, .. }) = queue.0.first_mut() else { panic!("no line") };
    (*ftype, *b3) = (Ftype::Pipe, None);
    assert_eq!(undo_queue(&scene.root, &queue).unwrap(), [""; 0]);
    let mut queue = was_set_id(&scene, "/opt/file", b"file\n");
    let Some(InstallfEntry::Changed { inode, .. }) = queue.0.first_mut() else { panic!("no line") };
    inode.number += 1;
    assert_eq!(undo_queue(&scene.root, &queue).unwrap(), [""; 0]);
    assert_eq!(scene.mode("/opt/file"), 0o644);
}

#[test]
fn a_line_about_our_own_records_is_damage_by_whatever_path_it_names_them() {
    let scene = Scene::new();
    symlink("../var/sadm/patchadm", scene.host("/opt/records")).unwrap();
    for path in ["/var/sadm/patchadm", "/var/sadm/patchadm/journal", "/opt/records/journal"] {
        let lines = format!("made /opt/dir d\nmade {path} p\n");
        fs::write(scene.host(STAGE).join("queue"), lines).unwrap();
        let error = read_queue(&scene.root, &at(STAGE)).unwrap_err().to_string();
        assert!(error.ends_with("/queue: line 2, the path is not what this program writes"), "{error}");
        assert!(InstallfQueue::open(&scene.root, &at(STAGE)).is_err());
    }
}

#[test]
fn file_capabilities_come_back_to_the_bytes_that_had_them_and_to_no_others() {
    let scene = Scene::new();
    let capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set = rustix::fs::setxattr(
        scene.host("/opt/file"),
        CAPABILITY,
        &capability,
        rustix::fs::XattrFlags::empty(),
    );
    if set.is_err() {
        return crate::skipped("file capabilities: this caller or file system cannot set any");
    }
    let gid = Some(rustix::process::getegid().as_raw() + 1);
    let given = Action::Attributes(AttributeChange { gid, ..AttributeChange::default() });
    let change = vec![Box::new(scene.change("/opt/file", given))];
    let has =
        |scene: &Scene| scene.change("/opt/file", Action::Delete).old.unwrap().xattrs.remove(CAPABILITY);
    InstallfQueue::open(&scene.root, &at(STAGE)).unwrap().make(&scene.root, &change).unwrap();
    assert_eq!(has(&scene), Some(capability.clone()), "it is kept with another group");

    // The call ended between the two system calls.
    rustix::fs::removexattr(scene.host("/opt/file"), CAPABILITY).unwrap();
    assert_eq!(scene.undo(), [""; 0]);
    assert_eq!(has(&scene), Some(capability));

    fs::write(scene.host("/opt/file"), "another\n").unwrap();
    assert_eq!(scene.undo().len(), 1);
    assert_eq!(has(&scene), None);
}

fn stage() -> (TempDir, Root, ObjectPath) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("stage")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root, ObjectPath::new(b"/stage").unwrap())
}

#[test]
fn failures_are_told_once_and_in_order() {
    let (_dir, root, path) = stage();
    let stage = root.dir(&path).unwrap();
    prepare_notes(&stage).unwrap();
    assert_eq!(take_failed_requests(&stage).unwrap(), Vec::<String>::new());
    note_failed_request(&root, &path, "installf: one\nand more").unwrap();
    note_failed_request(&root, &path, "removef: two").unwrap();
    assert_eq!(take_failed_requests(&stage).unwrap(), ["installf: one and more", "removef: two"]);
    assert_eq!(take_failed_requests(&stage).unwrap(), Vec::<String>::new());
}

#[test]
fn many_long_failures_need_no_more_room() {
    let (dir, root, path) = stage();
    let stage = root.dir(&path).unwrap();
    prepare_notes(&stage).unwrap();
    for _ in 0..20 {
        note_failed_request(&root, &path, &"x".repeat(2000)).unwrap();
    }
    assert_eq!(fs::metadata(dir.path().join("stage/failed")).unwrap().len(), 4096);
    assert!(take_failed_requests(&stage).unwrap().len() > 3);
}

#[test]
fn a_note_that_is_gone_is_a_failure() {
    let (_dir, root, path) = stage();
    let stage = root.dir(&path).unwrap();
    prepare_notes(&stage).unwrap();
    stage.remove(FAILED).unwrap();
    assert_eq!(take_failed_requests(&stage).unwrap().len(), 1);
    assert_eq!(take_failed_requests(&stage).unwrap(), Vec::<String>::new());
}
