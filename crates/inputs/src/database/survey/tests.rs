//! The objects that a survey adds to the requested paths.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::database::undo_data::OutsideAccess;
use crate::database::undo_data::tests::{MARKER, Replaced, digest, undo};
use patchadm_rootfs::never;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::package::checksum;

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn set(paths: &[&str]) -> BTreeSet<ObjectPath> {
    paths.iter().map(|path| at(path)).collect()
}

fn inst() -> PkgInst {
    PkgInst::new("X").unwrap()
}

fn shown<'a>(paths: impl IntoIterator<Item = &'a ObjectPath>) -> Vec<String> {
    paths.into_iter().map(ToString::to_string).collect()
}

/// The time at which everything was installed.
const INSTALLED: u64 = 1_577_836_800;

/// A root with package X.
struct Scene {
    dir: TempDir,
    root: Root,
    contents: String,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let scene = Self { dir, root, contents: String::new() };
        scene.write("/var/sadm/pkg/X/pkginfo", b"PKG=X\n");
        scene.write("/etc/passwd", b"adm:x:3:4::\n");
        scene
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.dir.path().join(&path[1..]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn record(&mut self, line: &str) {
        self.contents += line;
        self.contents += "\n";
        self.write("/var/sadm/install/contents", self.contents.as_bytes());
    }

    /// A file as it was installed: its bytes, its time, its line.
    fn install(&mut self, path: &str, bytes: &[u8]) {
        self.write(path, bytes);
        self.touch(path, INSTALLED);
        let (size, sum) = (bytes.len(), checksum::sum(bytes));
        self.record(&format!("{path} f none 0644 root root {size} {sum} {INSTALLED} X"));
    }

    fn touch(&self, path: &str, seconds: u64) {
        let file = fs::File::options().write(true).open(self.dir.path().join(&path[1..])).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    /// Records these patches as applied, with their archives.
    fn patch(&self, patches: &[(&str, &[Replaced<'_>])]) {
        let ids: Vec<&str> = patches.iter().map(|(id, _)| *id).collect();
        let mut pkginfo = format!("PKG=X\nPATCHLIST={}\n", ids.join(" "));
        let (mut ledger, info) = (String::new(), digest(b"then"));
        for (id, objects) in patches {
            let archive = undo(id, objects);
            self.write(&format!("/var/sadm/pkg/X/save/{id}/undo.gz"), &archive);
            pkginfo.push_str(&["PATCH_INFO_", id, "=then\n"].concat());
            let line = format!(
                "{{\"run\":\"1-00000000000000ab\",\"patch\":\"{id}\",\"info\":\"b3:{info}\",\
                 \"undo\":\"b3:{}\",\"size\":{},\"where\":\"save\"}}\n",
                digest(&archive),
                archive.len()
            );
            ledger.push_str(&line);
        }
        self.write("/var/sadm/pkg/X/pkginfo", pkginfo.as_bytes());
        self.write("/var/sadm/patchadm/ledger/X", ledger.as_bytes());
    }

    fn survey(&self, touched: &Touched) -> Inventory {
        self.survey_until(touched, &never).unwrap()
    }

    fn survey_until(&self, touched: &Touched, interrupt: Interrupt<'_>) -> Result<Inventory, DatabaseError> {
        let setting = SurveySettings {
            interrupt,
            host: &self.root,
            separator: "-",
            new_marker: MARKER,
            outside: OutsideAccess::default(),
        };
        survey(&RecordView::live(&self.root), touched, &setting)
    }

    fn survey_paths(&self, paths: &[&str]) -> Inventory {
        self.survey(&Touched { paths: set(paths), ..Touched::default() })
    }
}

#[test]
fn a_path_brings_the_directories_above_it_and_what_is_not_there_is_absent() {
    let mut scene = Scene::new();
    scene.install("/opt/bin/a", b"hello\n");
    scene.record("/opt/bin/unrelated f none garbage");
    let inventory = scene.survey(&Touched {
        paths: set(&["/opt/bin/a", "/opt/new/b"]),
        packages: [inst()].into(),
        ..Touched::default()
    });
    assert_eq!(shown(inventory.live.keys()), ["/", "/opt", "/opt/bin", "/opt/bin/a"]);
    assert_eq!(
        shown(inventory.physical.keys()),
        ["/", "/opt", "/opt/bin", "/opt/bin/a", "/opt/new", "/opt/new/b"]
    );
    assert_eq!(shown(inventory.lines.keys()), ["/opt/bin/a"]);
    let LiveKind::Regular { size: 6, b3, cksum: 542 } = inventory.live[&at("/opt/bin/a")].kind else {
        panic!()
    };
    assert_eq!(b3, digest(b"hello\n"));
    assert_eq!(inventory.marker, MARKER);
    assert_eq!(inventory.accounts.uid("adm"), Some(3));
    assert_eq!(inventory.packages[&inst()].records.keys().collect::<Vec<_>>(), [b"pkginfo"]);
}

#[test]
fn the_first_bytes_of_a_file_are_kept_if_it_is_read() {
    let mut scene = Scene::new();
    for (path, bytes) in [("/opt/a", &b"\x7fELF and more"[..]), ("/opt/b", b"text"), ("/opt/c", b"abc")] {
        scene.install(path, bytes);
    }
    let paths = set(&["/opt/a", "/opt/b", "/opt/c"]);
    let inventory = scene.survey(&Touched { paths: paths.clone(), ..Touched::default() });
    let expected = [(at("/opt/a"), *b"\x7fELF"), (at("/opt/b"), *b"text")];
    assert_eq!(inventory.heads, HashMap::from(expected));
    let live = &inventory.live[&at("/opt/a")];
    let sums = Sums::of(&mut &b"\x7fELF and more"[..]).unwrap();
    let file = KnownFile { inode: live.inode, mtime: live.mtime, ctime: live.ctime, sums };
    let known = scene.survey(&Touched { paths, known: [(at("/opt/a"), file)].into(), ..Touched::default() });
    assert_eq!(known.live, inventory.live);
    assert_eq!(known.heads.keys().collect::<Vec<_>>(), [&at("/opt/b")]);
}

#[test]
fn a_signal_ends_a_survey_wherever_it_is_and_also_in_the_middle_of_a_file() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let mut scene = Scene::new();
    scene.install("/opt/bin/a", b"hello\n");
    scene.install("/opt/large", &vec![b'x'; 1 << 20]);
    scene.patch(&[("1-01", &[])]);
    let touched = Touched {
        paths: set(&["/opt/bin/a", "/opt/large"]),
        packages: [inst()].into(),
        ..Touched::default()
    };
    let asked = AtomicUsize::new(0);
    let after = |questions: usize| {
        asked.store(0, Ordering::Relaxed);
        let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= questions).then_some(15);
        scene.survey_until(&touched, &interrupt).map(drop)
    };
    after(usize::MAX).unwrap();
    // The large file alone is read in eight pieces.
    let questions = asked.load(Ordering::Relaxed);
    assert!(questions > 20, "{questions}");
    for number in 0..questions {
        let ended = after(number);
        assert!(matches!(ended, Err(DatabaseError::Interrupted(15))), "after {number}: {ended:?}");
    }
}

#[test]
fn every_path_is_on_a_file_system_also_one_that_is_not_there_yet() {
    let scene = Scene::new();
    let inventory = scene.survey_paths(&["/opt/new/b"]);
    let [only] = &inventory.file_systems[..] else { panic!("{:?}", inventory.file_systems) };
    assert_eq!(only.name, format!("{}/", scene.dir.path().display()));
    assert!(only.free > 0 && only.unit > 0);
    assert_eq!(inventory.on[&at("/opt/new/b")], 0);
    assert_eq!(inventory.records_on, 0);
}

#[test]
fn a_mount_inside_the_root_is_a_file_system_of_its_own() {
    if !Path::new("/proc/self/mounts").exists() {
        crate::skipped("a_mount_inside_the_root_is_a_file_system_of_its_own: /proc is not mounted");
        return;
    }
    let system = Root::open(Path::new("/")).unwrap();
    let mut file_systems = FileSystems::new(&system);
    let root = file_systems.of(&ObjectPath::root(), None).unwrap();
    let inside = file_systems.of(&at("/proc/sys/kernel/not-there"), None).unwrap();
    assert_ne!(root, inside);
    assert_eq!(file_systems.of(&at("/proc/sys"), None).unwrap(), inside);
    let list = file_systems.into_list();
    assert_eq!(list[root].name, "/");
    assert!(list[inside].name.starts_with("/proc"), "{}", list[inside].name);
}

#[test]
fn links_among_the_parents_are_followed_and_the_directories_they_lead_to_are_seen() {
    let mut scene = Scene::new();
    scene.write("/usr/lib/x", b"x");
    symlink("usr/lib", scene.dir.path().join("lib")).unwrap();
    scene.record("/lib=usr/lib s none X");
    let inventory = scene.survey_paths(&["/lib/x"]);
    assert_eq!(inventory.physical[&at("/lib/x")], at("/usr/lib/x"));
    assert_eq!(inventory.live[&at("/lib")].kind, LiveKind::Symlink(b"usr/lib".to_vec()));
    assert!(inventory.live[&at("/usr/lib")].is_directory());
    assert_eq!(inventory.live[&at("/lib/x")].inode, inventory.live[&at("/usr/lib/x")].inode);
}

#[test]
fn the_other_names_of_a_file_come_with_it_whichever_is_named() {
    let mut scene = Scene::new();
    scene.install("/opt/a", b"a");
    fs::create_dir(scene.dir.path().join("opt/deep")).unwrap();
    fs::hard_link(scene.dir.path().join("opt/a"), scene.dir.path().join("opt/deep/b")).unwrap();
    scene.record("/opt/deep d none 0755 root root X");
    scene.record("/opt/deep/b=../a l none X");
    for named in ["/opt/a", "/opt/deep/b"] {
        let inventory = scene.survey_paths(&[named]);
        assert_eq!(inventory.live[&at("/opt/a")].inode, inventory.live[&at("/opt/deep/b")].inode);
        assert_eq!(shown(inventory.lines.keys()), ["/opt/a", "/opt/deep", "/opt/deep/b"]);
    }
}

#[test]
fn a_directory_that_becomes_something_else_brings_everything_below_it() {
    let mut scene = Scene::new();
    scene.write("/opt/d/in/side", b"not recorded");
    scene.record("/opt/d/gone f none 0644 root root ? ? ? X");
    let stays = scene.survey_paths(&["/opt/d"]);
    assert_eq!(shown(stays.live.keys()), ["/", "/opt", "/opt/d"]);
    let inventory = scene.survey(&Touched { not_directories: set(&["/opt/d"]), ..Touched::default() });
    assert_eq!(shown(inventory.live.keys()), ["/", "/opt", "/opt/d", "/opt/d/in", "/opt/d/in/side"]);
    assert_eq!(shown(inventory.lines.keys()), ["/opt/d/gone"]);
}

#[test]
fn names_under_which_runs_kept_files_are_known_to_be_taken() {
    let scene = Scene::new();
    for name in ["a", "a.edited-100-01", "a.edited-100-01.2", "a.patch-100-01", "b.edited-100-01", "a.other"]
    {
        scene.write(&format!("/opt/{name}"), b"");
    }
    let inventory = scene.survey_paths(&["/opt/a"]);
    let expected =
        ["/", "/opt", "/opt/a", "/opt/a.edited-100-01", "/opt/a.edited-100-01.2", "/opt/a.patch-100-01"];
    assert_eq!(shown(inventory.live.keys()), expected);
}

#[test]
fn manifests_tell_who_changed_a_path_and_what_a_file_with_another_time_should_be() {
    let mut scene = Scene::new();
    scene.install("/opt/a", b"new");
    scene.install("/opt/b", b"newer");
    scene.install("/opt/c", b"first");
    for path in ["/opt/b", "/opt/c"] {
        scene.touch(path, INSTALLED + 5);
    }
    scene.patch(&[
        ("100-01", &[("/opt/a", b"old", b"new"), ("/opt/b", b"old", b"new")]),
        ("200-01", &[("/opt/b", b"new", b"newer"), ("/opt/z", b"", b"")]),
    ]);
    let inventory = scene.survey_paths(&["/opt/a", "/opt/b", "/opt/c"]);
    assert_eq!(inventory.delivered, [(at("/opt/b"), digest(b"newer"))].into());
    let expected = [("/opt/a", vec!["100-01"]), ("/opt/b", vec!["100-01", "200-01"])];
    let expected = expected.map(|(path, ids)| (at(path), ids.into_iter().map(str::to_owned).collect()));
    assert_eq!(inventory.patched_by, expected.into());
    assert_eq!(inventory.packages[&inst()].saves.len(), 2);
}

#[test]
fn the_list_beside_an_archive_answers_for_it_unless_a_file_is_in_doubt() {
    let mut scene = Scene::new();
    scene.install("/opt/a", b"new");
    scene.install("/opt/b", b"newer");
    scene.touch("/opt/b", INSTALLED + 5);
    scene.patch(&[("100-01", &[("/opt/a", b"old", b"new")]), ("200-01", &[("/opt/b", b"new", b"newer")])]);
    let list = |paths: &[&str]| {
        let paths: Vec<ObjectPath> = paths.iter().map(|path| at(path)).collect();
        patchadm_changeset::format::undo_sidecars::UndoPaths::write(MARKER, paths.iter())
    };
    scene.write("/var/sadm/pkg/X/save/100-01/undo.gz", b"it is not looked at");
    scene.write("/var/sadm/pkg/X/save/100-01/undo.paths", &list(&["/opt/a"]));
    scene.write("/var/sadm/pkg/X/save/200-01/undo.paths", &list(&["/opt/b"]));
    let inventory = scene.survey_paths(&["/opt/a", "/opt/b", "/opt/c"]);
    let expected = [("/opt/a", vec!["100-01"]), ("/opt/b", vec!["200-01"])];
    let expected = expected.map(|(path, ids)| (at(path), ids.into_iter().map(str::to_owned).collect()));
    assert_eq!(inventory.patched_by, expected.into());
    assert_eq!(inventory.delivered, [(at("/opt/b"), digest(b"newer"))].into());

    // The list of another root, and an invalid one, leave the question to the archive.
    let of_another_root = [&[b'f'; 16][..], &list(&["/opt/a"])[16..]].concat();
    for list in [of_another_root, b"garbage".to_vec()] {
        scene.write("/var/sadm/pkg/X/save/100-01/undo.paths", &list);
        assert_eq!(scene.survey_paths(&["/opt/a"]).patched_by, [].into());
    }
}

#[test]
fn what_a_patch_delivered_counts_no_more_when_a_later_one_without_archive_delivered_since() {
    let mut scene = Scene::new();
    scene.install("/opt/a", b"later");
    scene.touch("/opt/a", INSTALLED + 5);
    scene.patch(&[("100-01", &[("/opt/a", b"old", b"earlier")])]);
    assert_eq!(scene.survey_paths(&["/opt/a"]).delivered, [].into());
}

#[test]
fn a_damaged_archive_is_left_out() {
    let mut scene = Scene::new();
    scene.install("/opt/a", b"new");
    scene.patch(&[("100-01", &[("/opt/a", b"old", b"new")])]);
    scene.write("/var/sadm/pkg/X/save/100-01/undo.gz", b"garbage");
    let inventory = scene.survey_paths(&["/opt/a"]);
    assert!(inventory.patched_by.is_empty());
}

#[test]
fn only_files_with_the_delivered_bytes_are_identical() {
    let mut scene = Scene::new();
    scene.install("/opt/a", b"same");
    scene.install("/opt/b", b"mine");
    let mut inventory = scene.survey_paths(&["/opt/a", "/opt/b", "/opt/c"]);
    let delivered = ["/opt/a", "/opt/b", "/opt/c", "/opt"].map(|path| (at(path), digest(b"same")));
    fill_identical(&mut inventory, delivered);
    assert_eq!(shown(&inventory.identical), ["/opt/a"]);
}

#[test]
fn the_kernels_table_of_swap_areas_is_read_with_its_escapes() {
    let table = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
        /dev/sda2                               partition\t8388604\t0\t-2\n\
        /var/swap\\040file                       file\t1024\t0\t-3\n";
    assert_eq!(swap_files(table), set(&["/dev/sda2", "/var/swap file"]));
    assert_eq!(swap_files(b""), set(&[]));
}
