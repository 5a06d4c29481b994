//! Everything at once: patches that change every kind of object into every other, applied, revised, obsoleted and
//! backed out, and the tree compared to the last attribute after each step.
//!
//! The packages are described in `testdata/everything`. After an apply the tree must be what the descriptions say;
//! after a backout it must be the tree of which a picture was taken before, and the database too, but for what
//! [`ALLOWED`] lists.

mod delivery;
mod description;
mod expectation;
mod picture;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::lchown;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use delivery::{FORMS, deliver};
use description::Package;
use expectation::World;
use patchadm::package::escape;
use picture::{Kind, Node, Picture, database, differences, node, picture};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lsetxattr, utimensat};

use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::scenario::{Run, Scenario};

/// At how many moments of a run it is killed.
const KILLS: u32 = 24;

/// What may be different in `var/sadm` after a backout, and why: file (`*` is any text), difference, reason.
const ALLOWED: &[(&str, May, &str)] = &[
    ("pkg/*/pkginfo", May::Say("PATCHLIST="), "an empty list instead of none, as the classic tools leave it"),
    (
        "pkg/*/pkginfo",
        May::Say("PATCH_OBSOLETES="),
        "an empty list instead of none, as the classic tools leave it",
    ),
    ("pkg/*/pkginfo", May::Say("PATCH_INFO_*=backed out"), "that there was a patch is remembered"),
    ("pkg/*/obsoleted_by", May::HaveAnotherTime, "written again without the patch that is backed out"),
    ("install/contents", May::Say("# *"), "the two last lines say who changed it last, and when"),
    ("install/.lockfile", May::Differ, "the lock file stays and names its last holder"),
    ("patch", May::Differ, "the directory of patches stays, empty, as the one of packages would"),
    ("patchadm/journal", May::Differ, "the journal is replaced by each run and never removed"),
    ("patchadm/history", May::Differ, "a line for each run"),
    ("patchadm/log", May::Differ, "a text for each run that was backed out"),
];

/// A difference that is allowed.
#[derive(Clone, Copy)]
enum May {
    /// Another content, or being there at all.
    Differ,
    /// A line like this (`*` is any text), and so another time.
    Say(&'static str),
    /// Another time.
    HaveAnotherTime,
}

/// The stage of a run: a root with the base packages and everything that packages cannot say.
struct Play {
    stage: Scenario,
    world: World,
    /// Whether the program runs as somebody who is not root.
    ordinary: bool,
}

impl Play {
    /// The base packages, installed; `ordinary`: by and for a user who is not root.
    fn begin(ordinary: bool) -> Self {
        let stage = Scenario::new();
        let ordinary = ordinary || !rustix::process::geteuid().is_root();
        stage.file("/etc/passwd", "root:x:0:0::/:/bin/sh\nsys:x:3:3::/:\nadm:x:4:4::/:\n");
        stage.file("/etc/group", "root:x:0:\nbin:x:2:\nsys:x:3:\nadm:x:4:\n");
        stage.file("/var/sadm/install/admin/agreed", "basedir=default\nsetuid=nocheck\n");
        let mut packages = Package::all("base");
        packages.retain(|package| !(ordinary && package.name == "ACMEroot"));
        let world = World {
            privileged: !ordinary,
            caller: ordinary_ids(&stage),
            users: [("root", 0), ("sys", 3), ("adm", 4)].into(),
            groups: [("root", 0), ("bin", 2), ("sys", 3), ("adm", 4)].into(),
            installed: packages.iter().map(|package| package.name.clone()).collect(),
            links: BTreeMap::new(),
            recorded: BTreeMap::new(),
        };
        let mut play = Self { stage, world, ordinary };
        let spool = deliver(&play.stage.beside(""), "spool", &packages, "directory");
        let run = play.run("pkgadd -n -a agreed -R @ROOT@ all -d", Some(&spool));
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        play.world.record(&packages);
        let installed = play.world.after(&picture(&play.stage.root()), &packages, "");
        assert_eq!(differences(&installed, &picture(&play.stage.root())), "", "the base packages");
        play.decorate();
        play
    }

    fn run(&self, line: &str, operand: Option<&Path>) -> Run {
        let mut command = if self.ordinary {
            as_ordinary_user(&self.stage, line, &[&self.stage.root()])
        } else {
            self.stage.command(line)
        };
        let output = command.args(operand).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().expect("the program ended by itself");
        Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Adds what no package can say: times to the nanosecond, extended attributes, what an administrator wrote.
    #[allow(clippy::print_stdout)] // what is skipped is said
    fn decorate(&self) {
        let at = |path: &str| self.stage.at(path);
        fs::write(at("opt/all/etc/edited"), "what the administrator wrote\n").unwrap();
        fs::write(at("etc/two.conf"), "").unwrap();
        let mine = at("opt/all/plain/not of any package");
        fs::write(&mine, "mine\n").unwrap();
        if self.ordinary {
            lchown(mine, Some(self.world.caller.0), Some(self.world.caller.1)).unwrap();
        }
        self.set_times();
        let acl =
            acl(&[(1, 6, u32::MAX), (2, 4, 4), (4, 6, u32::MAX), (0x10, 6, u32::MAX), (0x20, 4, u32::MAX)]);
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let attributes: [(&str, &str, &[u8]); 8] = [
            ("opt/all/attr/noted", "user.note", b"a note of the administrator"),
            ("opt/all/attr/noted", "user.bytes", &[0, 255, 10, 37]),
            ("opt/all/attr/noted-deleted", "user.note", b""),
            ("opt/all/attr/mode", "user.note", b"of a directory"),
            ("opt/all/type/dir-to-file", "user.note", b"of a directory that becomes a file"),
            ("opt/all/link/file", "user.note", b"of a file with many names"),
            ("opt/all/attr/acl", "system.posix_acl_access", &acl),
            ("opt/all/attr/capable", "security.capability", &capability),
        ];
        for (path, name, value) in attributes {
            if self.ordinary && name.starts_with("security.") {
                println!("skipped: {name} of {path}: only root may set it");
            } else if let Err(error) = lsetxattr(at(path), name, value, XattrFlags::empty()) {
                println!("skipped: {name} of {path}: {error}");
            }
        }
    }

    /// Each object gets a time of its own to the nanosecond; `attr/old` is of another year than is recorded.
    fn set_times(&self) {
        for (number, (path, node)) in (1..).zip(picture(&self.stage.root())) {
            let Some((seconds, _)) = node.mtime else { continue };
            let seconds = if path.ends_with(b"attr/old") { 500_000_000 } else { seconds };
            let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_000 + number };
            let times = Timestamps { last_access: time, last_modification: time };
            let path = self.stage.root().join(OsStr::from_bytes(&path));
            utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
    }

    /// Applies a patch in a form and compares the tree with what its descriptions say.
    fn apply(&mut self, id: &str, form: &str) -> Moment {
        let packages = Package::all(id);
        let expected = self.world.after(&picture(&self.stage.root()), &packages, id);
        let patch = deliver(&self.stage.beside(""), id, &packages, form);
        let run = self.run("patchadd -R @ROOT@", Some(&patch));
        assert_eq!(run.code, 0, "{id} as {form}: {}{}", run.stdout, run.stderr);
        self.world.record(&packages);
        let found = Moment::now(&self.stage);
        assert_eq!(differences(&expected, &found.tree), "", "after patch {id} as {form}");
        assert_eq!(self.run("pkgchk -n -R @ROOT@", None).ok(), "", "after patch {id}");
        found
    }

    fn back_out(&self, id: &str) -> String {
        let run = self.run(&format!("patchrm -R @ROOT@ {id}"), None);
        assert_eq!(run.code, 0, "{id}: {}{}", run.stdout, run.stderr);
        run.stdout
    }

    fn patch_list(&self, package: &str) -> String {
        self.run(&format!("pkgparam -R @ROOT@ {package} PATCHLIST"), None).ok().trim_end().to_owned()
    }
}

/// Tree and database at one moment.
struct Moment {
    tree: Picture,
    database: Picture,
}

impl Moment {
    fn now(stage: &Scenario) -> Self {
        Self { tree: picture(&stage.root()), database: tidy(database(&stage.root())) }
    }

    /// Everything is as it was at this moment.
    #[track_caller]
    fn is_now(&self, stage: &Scenario, when: &str) {
        let now = Self::now(stage);
        assert_eq!(differences(&self.tree, &now.tree), "", "tree {when}");
        assert_eq!(differences(&self.database, &now.database), "", "database {when}");
    }
}

/// Takes out of the database what [`ALLOWED`] lists. A file of which lines are passed over may have another time; that
/// of the others comes back in whole seconds, which is what a cpio archive can keep.
fn tidy(mut database: Picture) -> Picture {
    for node in database.values_mut() {
        node.mtime = node.mtime.map(|(seconds, _)| (seconds, 0));
    }
    for (file, may, _) in ALLOWED {
        let concerned: Vec<Vec<u8>> = database.keys().filter(|path| fits(file, path)).cloned().collect();
        for path in concerned {
            let node = database.get_mut(&path).unwrap();
            node.mtime = None;
            match (may, &mut node.kind) {
                (May::Differ, _) => drop(database.remove(&path)),
                (May::Say(line), Kind::File(bytes)) => {
                    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
                    let text = |text: &&[u8]| !fits(line, text.strip_suffix(b"\n").unwrap_or(text));
                    *bytes = lines.filter(text).flatten().copied().collect();
                }
                _ => {}
            }
        }
    }
    database
}

/// Whether a text fits a pattern with at most one `*`.
fn fits(pattern: &str, text: &[u8]) -> bool {
    match pattern.split_once('*') {
        None => pattern.as_bytes() == text,
        Some((start, end)) => {
            let rest = text.strip_prefix(start.as_bytes());
            rest.is_some_and(|rest| rest.ends_with(end.as_bytes()))
        }
    }
}

/// An access control list in the form of its extended attribute: tag, permissions, user or group of each entry.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entry = |&(tag, permissions, id): &(u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [vec![2, 0, 0, 0], entries.iter().flat_map(entry).collect()].concat()
}

/// Applied, revised, obsoleted, and backed out step by step.
fn there_and_back(ordinary: bool) {
    let mut play = Play::begin(ordinary);
    let base = Moment::now(&play.stage);
    let first = play.apply("900-01", "directory");
    let second = play.apply("900-02", "tar.gz");
    play.apply("910-01", "datastream");
    assert_eq!(play.patch_list("ACMEall"), "900-01 900-02 910-01");
    assert_eq!(play.patch_list("ACMEtwo"), "900-01 900-02");

    play.back_out("910-01");
    second.is_now(&play.stage, "after the backout of 910-01");
    play.back_out("900-02");
    first.is_now(&play.stage, "after the backout of 900-02");
    play.back_out("900-01");
    base.is_now(&play.stage, "after the backout of 900-01");
    assert_eq!(play.patch_list("ACMEall"), "");
}

#[test]
fn every_kind_of_change_is_made_and_taken_back() {
    there_and_back(false);
}

#[test]
fn an_ordinary_user_does_the_same_to_a_tree_of_their_own() {
    there_and_back(true);
}

#[test]
fn an_ordinary_user_is_told_which_owners_are_recorded_only() {
    let play = Play::begin(true);
    let patch = deliver(&play.stage.beside(""), "900-01", &Package::all("900-01"), "directory");
    let told = play.run("add -R @ROOT@", Some(&patch)).ok();
    assert!(told.contains("owners and groups that are recorded only: adm, bin, root, sys\n"), "{told}");
}

#[test]
fn the_form_of_a_patch_makes_no_difference() {
    let mut contents: Vec<Vec<u8>> = Vec::new();
    for form in FORMS {
        let mut play = Play::begin(false);
        let base = Moment::now(&play.stage);
        play.apply("900-01", form);
        contents.push(fs::read(play.stage.at("var/sadm/install/contents")).unwrap());
        play.back_out("900-01");
        base.is_now(&play.stage, &format!("after the backout of a patch that came as {form}"));
    }
    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]), "the same lines whatever the form");
}

#[test]
fn the_form_of_the_undo_data_makes_no_difference() {
    for (form, name) in [("gz", "undo.gz"), ("Z", "undo.Z"), ("none", "undo")] {
        let play = Play::begin(false);
        let base = Moment::now(&play.stage);
        let patch = deliver(&play.stage.beside(""), "900-01", &Package::all("900-01"), "directory");
        play.run(&format!("add -R @ROOT@ --undo-format {form}"), Some(&patch)).ok();
        assert!(play.stage.at("var/sadm/pkg/ACMEall/save/900-01").join(name).exists());
        play.run("remove -R @ROOT@ 900-01", None).ok();
        base.is_now(&play.stage, &format!("after a backout from {name}"));
    }
}

#[test]
fn a_directory_of_the_patch_stays_when_somebody_put_a_file_into_it() {
    let mut play = Play::begin(false);
    let base = Moment::now(&play.stage);
    play.apply("900-01", "directory");
    fs::write(play.stage.at("opt/all/made/deep/mine"), "mine\n").unwrap();
    // an inode number may come again in the other picture
    let own = |path: &str| Node { file: 0, ..node(&play.stage.at(path)) };
    let mine = ["opt/all/made", "opt/all/made/deep", "opt/all/made/deep/mine"];
    let kept: Vec<_> = mine.iter().map(|path| (path.as_bytes().to_vec(), own(path))).collect();

    play.back_out("900-01");
    let mut expected = base.tree;
    expected.extend(kept);
    assert_eq!(differences(&expected, &picture(&play.stage.root())), "");
}

#[test]
fn a_package_of_a_patch_that_is_not_installed_is_patched_when_it_is_there() {
    let mut play = Play::begin(false);
    play.apply("900-01", "directory");
    assert!(!play.stage.at("usr/absent").exists());
    assert!(!play.stage.at("var/sadm/pkg/ACMEabsent").exists());

    let mut absent: Package =
        Package::all("900-01").into_iter().find(|package| package.name == "ACMEabsent").unwrap();
    absent.params.remove("SUNW_PATCHID");
    absent.entries.values_mut().for_each(|entry| entry.content = b"unpatched\n".to_vec());
    let spool = deliver(&play.stage.beside("spool-2"), "later", &[absent], "directory");
    let run = play.run("pkgadd -n -R @ROOT@ all -d", Some(&spool));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    play.world.installed = vec!["ACMEabsent".to_owned()];
    play.apply("900-01", "zip");
    assert_eq!(play.patch_list("ACMEabsent"), "900-01");
    assert_eq!(play.patch_list("ACMEall"), "900-01");
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_all_or_nothing() {
    let mut play = Play::begin(false);
    let base = Moment::now(&play.stage);
    let began = Instant::now();
    let patched = play.apply("900-01", "tar.gz");
    let whole = began.elapsed();
    play.back_out("900-01");

    let patch = play.stage.beside("900-01.tar.gz");
    for moment in 0..KILLS {
        let mut command = play.stage.command("patchadd -R @ROOT@");
        let mut child = command.arg(&patch).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(whole * moment / KILLS);
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = play.patch_list("ACMEall");
        play.run("recover -R @ROOT@", None).ok();
        let what = format!("killed at {moment} of {KILLS}, PATCHLIST {seen:?}");
        if seen.is_empty() {
            base.is_now(&play.stage, &what);
        } else {
            assert_eq!(timeless(&patched.tree, &Moment::now(&play.stage).tree), "", "{what}");
            play.back_out("900-01");
            base.is_now(&play.stage, &what);
        }
    }
}

/// The differences of two trees but for the times of objects to which a package gives none.
fn timeless(expected: &Picture, found: &Picture) -> String {
    let mut expected = expected.clone();
    let made = expected.values_mut().filter(|node| !matches!(node.kind, Kind::File(_)));
    made.for_each(|node| node.mtime = None);
    differences(&expected, found)
}

#[test]
fn names_with_odd_bytes_are_recorded_with_escapes() {
    let mut play = Play::begin(false);
    play.apply("900-01", "tar");
    let contents = fs::read(play.stage.at("var/sadm/install/contents")).unwrap();
    let names: [&[u8]; 5] = [b"with blank", b"a=b", b"new\nline", b"\xff\xfe", b"back\\slash"];
    for name in names {
        let start = [b"/opt/all/names/", &escape(name)[..], b" f none "].concat();
        let lines = contents.split(|byte| *byte == b'\n').filter(|line| line.starts_with(&start));
        assert_eq!(lines.count(), 1, "{}", name.escape_ascii());
    }
}
