//! The stage of the scenario: base packages, additions of an administrator, and moments of the root to compare.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lsetxattr, utimensat};

use super::delivery::deliver;
use super::description::Package;
use super::expectation::World;
use super::picture::{Kind, Node, Picture, database, differences, picture};
use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::scenario::{Run, Scenario};
use crate::undo_forms::{UndoForms, with_undo};

/// Differences that are allowed in `var/sadm` after a backout: file (`*` is any text), difference, reason.
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
    ("patchadm/root-id", May::Differ, "the identity of the root, written with its first run"),
    ("patchadm/ops-*", May::Differ, "the ops of the last run, replaced with its journal"),
    ("patchadm/history", May::Differ, "a line for each run"),
    ("patchadm/attempts", May::Differ, "a line for each run that changed nothing live"),
    ("patchadm/contents.stamp", May::Differ, "contents is another file, with other last lines"),
    ("patchadm/ledger", May::Differ, "the directory of ledgers stays, empty"),
    ("patchadm/ledger/*", May::HaveAnotherTime, "written again without the line of the patch"),
    ("patchadm/log", May::Differ, "a text for each run that was backed out"),
];

/// A difference that is allowed.
#[derive(Clone, Copy)]
enum May {
    /// Other content, or a file that only one side has.
    Differ,
    /// A line like this (`*` is any text), and therefore another time.
    Say(&'static str),
    /// Another time.
    HaveAnotherTime,
}

/// The place of `ACMEall`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In a directory of the root.
    Plain,
    /// Behind a symbolic link among the directories above it.
    BehindLink,
    /// On a file system of its own.
    Mounted,
}

/// The stage of a run: a root with the base packages and everything that packages cannot describe.
pub(super) struct Play {
    /// Dropped before the directory that it is in.
    _mount: Option<Mount>,
    pub(super) stage: Scenario,
    pub(super) world: World,
    /// The forms of undo data, if they are random.
    pub(super) forms: Option<UndoForms>,
    /// True if the program runs as an ordinary user.
    ordinary: bool,
    /// The directory of `ACMEall`, below the root.
    home: &'static str,
}

/// A file system that is mounted as long as this value lives.
struct Mount(PathBuf);

impl Mount {
    /// Mounts a small file system in memory; `None` if this process may not mount.
    fn tmpfs(at: PathBuf) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "none"]).arg(&at).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: files that a failed test left open must not block it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl Play {
    /// Installs the base packages; with `ordinary`, by and for a user who is not root.
    pub(super) fn begin(ordinary: bool) -> Self {
        Self::begin_in(Home::Plain, ordinary).unwrap()
    }

    /// As `begin`, with `ACMEall` elsewhere; `None` if that place cannot be made.
    pub(super) fn begin_in(home: Home, ordinary: bool) -> Option<Self> {
        let stage = Scenario::new();
        let ordinary = ordinary || !rustix::process::geteuid().is_root();
        stage.file("/etc/passwd", "root:x:0:0::/:/bin/sh\nsys:x:3:3::/:\nadm:x:4:4::/:\n");
        stage.file("/etc/group", "root:x:0:\nbin:x:2:\nsys:x:3:\nadm:x:4:\n");
        stage.file("/var/sadm/install/admin/agreed", "basedir=default\nsetuid=nocheck\n");
        let (mut place, mut mount) = ("opt/all", None);
        match home {
            Home::Plain => {}
            Home::BehindLink => {
                stage.directory("/export/home/all");
                stage.directory("/opt");
                stage.symlink("/opt/all", "/export/home/all");
                place = "export/home/all";
            }
            Home::Mounted => {
                stage.directory("/opt/all");
                mount = Some(Mount::tmpfs(stage.at("/opt/all"))?);
            }
        }
        let mut packages = Package::all("base", place);
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
        let mut play = Self { _mount: mount, stage, world, forms: None, ordinary, home: place };
        let spool = deliver(&play.stage.beside(""), "spool", &packages, "directory");
        let run = play.run("pkgadd -n -a agreed -R @ROOT@ all -d", Some(&spool));
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        play.world.record(&packages);
        let installed = play.world.after(&picture(&play.stage.root()), &packages, "");
        assert_eq!(differences(&installed, &picture(&play.stage.root())), "", "the base packages");
        play.decorate();
        Some(play)
    }

    pub(super) fn packages(&self, id: &str) -> Vec<Package> {
        Package::all(id, self.home)
    }

    pub(super) fn run(&self, line: &str, operand: Option<&Path>) -> Run {
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

    /// Adds properties that no package can describe: times to the nanosecond, extended attributes, edits of an
    /// administrator.
    #[allow(clippy::print_stdout)] // what is skipped is said
    fn decorate(&self) {
        let at = |path: &str| self.stage.at(&path.replacen("opt/all", self.home, 1));
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
        let attributes: [(&str, &str, &[u8]); 10] = [
            ("opt/all/attr/noted", "user.note", b"a note of the administrator"),
            ("opt/all/attr/noted", "user.bytes", &[0, 255, 10, 37]),
            ("opt/all/attr/noted-deleted", "user.note", b""),
            ("opt/all/attr/mode", "user.note", b"of a directory"),
            ("opt/all/type/dir-to-file", "user.note", b"of a directory that becomes a file"),
            ("opt/all/link/file", "user.note", b"of a file with many names"),
            ("opt/all/attr/acl", "system.posix_acl_access", &acl),
            ("opt/all/attr/exclusive", "system.posix_acl_default", &acl),
            ("opt/all/plain/replaced", "trusted.note", b"of root"),
            ("opt/all/attr/capable", "security.capability", &capability),
        ];
        for (path, name, value) in attributes {
            let is_of_root = !name.starts_with("user.") && !name.starts_with("system.");
            if self.ordinary && is_of_root {
                continue;
            }
            if let Err(error) = lsetxattr(at(path), name, value, XattrFlags::empty()) {
                crate::skipped(&format!("{name} of {path}: {error}"));
            }
        }
    }

    /// Gives each object a time of its own, to the nanosecond; `attr/old` gets another year than recorded.
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

    /// Applies a patch in a form and compares the tree with the descriptions.
    pub(super) fn apply(&mut self, id: &str, form: &str) -> Moment {
        let packages = self.packages(id);
        let expected = self.world.after(&picture(&self.stage.root()), &packages, id);
        let patch = deliver(&self.stage.beside(""), id, &packages, form);
        let line = match &mut self.forms {
            Some(forms) => format!("add --edited replace {} -R @ROOT@", forms.option()),
            None => "patchadd -R @ROOT@".to_owned(),
        };
        let run = self.run(&line, Some(&patch));
        assert_eq!(run.code, 0, "{id} as {form}, {line}: {}{}", run.stdout, run.stderr);
        self.world.record(&packages);
        let found = Moment::now(&self.stage);
        assert_eq!(differences(&expected, &found.tree), "", "after patch {id} as {form}, {line}");
        assert_eq!(self.run("pkgchk -n -R @ROOT@", None).ok(), "", "after patch {id}");
        found
    }

    /// Converts undo data to another form, now and then; returns a description of that.
    pub(super) fn repack(&mut self) -> String {
        let list = self.patch_list("ACMEall");
        let ids: Vec<String> = list.split_whitespace().map(str::to_owned).collect();
        let ids = with_undo(&self.stage, "ACMEall", &ids);
        let Some(line) = self.forms.as_mut().and_then(|forms| forms.repack(&ids)) else {
            return String::new();
        };
        let run = self.run(&line, None);
        assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
        line
    }

    pub(super) fn back_out(&self, id: &str) -> String {
        let run = self.run(&format!("patchrm -R @ROOT@ {id}"), None);
        assert_eq!(run.code, 0, "{id}: {}{}", run.stdout, run.stderr);
        run.stdout
    }

    pub(super) fn patch_list(&self, package: &str) -> String {
        self.run(&format!("pkgparam -R @ROOT@ {package} PATCHLIST"), None).ok().trim_end().to_owned()
    }
}

/// Tree and database at one moment.
pub(super) struct Moment {
    pub(super) tree: Picture,
    database: Picture,
}

impl Moment {
    pub(super) fn now(stage: &Scenario) -> Self {
        Self { tree: picture(&stage.root()), database: tidy(database(&stage.root())) }
    }

    /// The same moment, without the forms of the undo data of patches.
    pub(super) fn in_any_form(self) -> Self {
        let is_of_form =
            |path: &[u8]| path.starts_with(b"patchadm/undo") || path.starts_with(b"patchadm/ledger/");
        let database = self.database.into_iter().filter(|(path, _)| !is_of_form(path));
        let plain = |(path, mut node): (Vec<u8>, Node)| {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let stem = [&b"undo"[..], b"obsolete"].into_iter().find(|stem| {
                let suffix = name.strip_prefix(*stem);
                suffix.is_some_and(|suffix| [&b""[..], b".gz", b".Z", b".files", b".b3"].contains(&suffix))
            });
            let Some(stem) = stem else { return (path, node) };
            (node.kind, node.mtime) = (Kind::File(Vec::new()), None);
            let end = if name.ends_with(b".b3") { name } else { stem };
            ([&path[..path.len() - name.len()], end].concat(), node)
        };
        Self { tree: self.tree, database: database.map(plain).collect() }
    }

    /// Asserts that everything is as it was at this moment.
    #[track_caller]
    pub(super) fn is_now(&self, stage: &Scenario, when: &str) {
        self.is(&Self::now(stage), when);
    }

    /// Asserts that both moments are the same.
    #[track_caller]
    pub(super) fn is(&self, now: &Self, when: &str) {
        assert_eq!(differences(&self.tree, &now.tree), "", "tree {when}");
        assert_eq!(differences(&self.database, &now.database), "", "database {when}");
    }
}

/// Removes the differences that [`ALLOWED`] lists from the database. A file with ignored lines may have another time.
/// The time of the others comes back in whole seconds, since a cpio archive cannot keep more.
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

/// True if a text matches a pattern with at most one `*`.
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
