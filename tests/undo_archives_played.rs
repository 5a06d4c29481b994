//! Undo archives of native patches, played by everything that installs packages: `patchrm`, `patchrm --scripts run`,
//! `pkgadd` of the archive as it is, and any pkgadd that only knows packages. Each time, the root is as before.
//!
//! The tests compare every object outside the database, `contents`, every parameter except the records of patches,
//! and the package's directory: `install`, the spooled package, the files that classes have saved. The scripts run in
//! a sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Mutex;

use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::package::checksum;

use crate::delivery::Patch;
use crate::differences::{Difference, Explained, FoundInParts, assert_explained, assert_explained_in_parts};
use crate::ledger::vouch;
use crate::packages::Package;
use crate::sandbox::Sandbox;
use crate::scenario::{ADMIN, Scenario, is_root, shared};
use crate::tree::{COLUMNS, Tree, assert_same};

/// The ways to back a patch out. The classic way is our pkgadd on a root that has lost its own undo data: then the
/// archive is a package like any other.
const WAYS: [&str; 4] = ["native", "run", "pkgadd", "classic"];

/// Intended differences after a backout: facts that a package cannot express.
const DIFFERENCES: &[Explained] = &[
    ("classic", "103500-01", "record/save/build/*", SAVED_BY_A_CLASS),
    ("classic", "*", "pkginfo Patch_label", WORDS),
    ("classic", "*", "pkginfo Obsoletes_label", WORDS),
    ("classic", "*", "pkginfo ACTIVE_OBSOLETES", WORDS),
    ("classic", "*", "pkginfo ACTIVE_PATCH", WORDS),
    ("classic", "*", "pkginfo UPDATE", "any pkgadd over an installed package sets it"),
    ("classic", "*", "record/install/checkinstall *", RECORDS),
    ("classic", "*", "record/save/pspool/*", RECORDS),
];

/// A copy that the script of a class has made.
const SAVED_BY_A_CLASS: &str = "a package has no place for what the script of a class keeps for its removal";

/// Parameters by which the last patch describes itself.
const WORDS: &str = "a checkinstall can empty a parameter, not take it away";

/// Records that only the program itself brings back.
const RECORDS: &str = "any pkgadd records the package that it installs, which is the archive";

/// A root and a package on it, changed in a box.
struct Place {
    scenario: Scenario,
    sandbox: Sandbox,
    package: &'static str,
}

impl Place {
    fn new(package: &'static str) -> Option<Self> {
        let scenario = Scenario::new();
        scenario.file("/etc/passwd", fs::read("/etc/passwd").unwrap());
        scenario.file("/etc/group", fs::read("/etc/group").unwrap());
        for directory in ["/opt/SUNWstuf", "/var/tmp", "/tmp"] {
            scenario.directory(directory);
        }
        scenario.file("/var/sadm/install/admin/golden", ADMIN);
        let sandbox = Sandbox::new(&scenario.beside(""))?;
        Some(Self { scenario, sandbox, package })
    }

    #[track_caller]
    fn ok(&self, line: &str) {
        let (succeeded, said) = self.run(line);
        assert!(succeeded, "{line}: {said}");
    }

    /// Runs a command. Returns true if it succeeded, and its output.
    fn run(&self, line: &str) -> (bool, String) {
        let (code, said) = self.sandbox.run(&self.scenario, line);
        (code == 0, said)
    }

    fn database(&self, name: &str) -> std::path::PathBuf {
        self.scenario.at(&format!("/var/sadm/pkg/{}/{name}", self.package))
    }

    fn params(&self) -> patchadm_svr4::package::Params {
        ParamFile::parse(&fs::read(self.database("pkginfo")).unwrap()).unwrap().params()
    }

    #[track_caller]
    fn take_back(&self, id: &str, way: &str) {
        self.ok(&self.taking_back(id, way));
    }

    /// The command that backs a patch out, with everything that it needs.
    fn taking_back(&self, id: &str, way: &str) -> String {
        if !["pkgadd", "classic"].contains(&way) {
            return format!("patchrm --scripts {way} -R @ROOT@ {id}");
        }
        let mut stream = Vec::new();
        let archive = ["undo.gz", "undo.Z"].map(|name| self.database(&format!("save/{id}/{name}")));
        let archive = archive.into_iter().find(|archive| archive.exists()).unwrap();
        let decode = std::process::Command::new("gzip").arg("-dc").arg(archive).output().unwrap();
        assert!(decode.status.success());
        stream.extend(decode.stdout);
        if way == "classic" {
            fs::remove_file(self.database(&format!("save/{id}/undo.gz"))).unwrap();
        }
        let (undo, response) = (self.scenario.beside("undo"), self.scenario.beside("response"));
        fs::write(&undo, stream).unwrap();
        let params = self.params();
        let said = ["PATCHLIST", "PATCH_OBSOLETES"].map(|name| params.text(name).into_owned());
        fs::write(&response, format!("OLDLIST=\"{}\"\nPATCH_OBSOLETES=\"{}\"\n", said[0], said[1])).unwrap();
        let (undo, response) = (undo.display(), response.display());
        format!("pkgadd -n -S -R @ROOT@ -a golden -r {response} -d {undo} {}", self.package)
    }

    /// The compared facts, by name.
    fn state(&self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        let mut add = |root: &Path, without: &[&str], of: &str| {
            for (path, columns) in Tree::of(root, without).objects() {
                for (name, column) in COLUMNS.iter().zip(columns) {
                    state.insert(format!("{of}/{path} {name}"), column.clone());
                }
            }
        };
        add(&self.scenario.root(), &["var", "tmp"], "");
        add(&self.database(""), &["pkginfo"], "record");
        for line in self.scenario.lines() {
            let path = line.split([' ', '=']).next().unwrap().to_owned();
            state.insert(format!("contents {path}"), line);
        }
        let of_patches = |name: &str| name.starts_with("PATCH_INFO_");
        for (name, value) in self.params().iter().filter(|(name, _)| !of_patches(name)) {
            let lists = ["PATCHLIST", "PATCH_OBSOLETES"];
            if !(value.is_empty() && lists.contains(&name)) {
                state.insert(format!("pkginfo {name}"), String::from_utf8_lossy(value).into_owned());
            }
        }
        state
    }

    /// The differences from `before`.
    fn differences(&self, way: &str, id: &str, before: &BTreeMap<String, String>) -> Vec<Difference> {
        let now = self.state();
        let mut all: Vec<&String> = before.keys().chain(now.keys()).collect();
        all.sort();
        all.dedup();
        let different = all.into_iter().filter(|what| before.get(*what) != now.get(*what));
        let both = |what: &String| format!("before {:?}, now {:?}", before.get(what), now.get(what));
        different.map(|what| (way.to_owned(), id.to_owned(), what.clone(), both(what))).collect()
    }
}

in_parts!(the_patches_of_the_goldens_go_whoever_plays_their_undo_archives, play_archives, 4);

/// Backs a part of the patches out in every way.
fn play_archives(part: usize, parts: usize) {
    static FOUND: FoundInParts = Mutex::new((0, Vec::new()));
    let test = "the_patches_of_the_goldens_go_whoever_plays_their_undo_archives";
    let Some(goldens) = shared(test, "goldens/pkgs") else { return };
    let mut differences = Vec::new();
    for id in ["103203-01", "103400-01", "103500-01", "103800-01"].into_iter().skip(part).step_by(parts) {
        for way in WAYS {
            let Some(place) = Place::new("SUNWstuf") else { return };
            let base = goldens.join("base");
            place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} SUNWstuf", base.display()));
            let before = place.state();
            place.ok(&format!("patchadd -R @ROOT@ {}", goldens.join(id).display()));
            place.take_back(id, way);
            differences.extend(place.differences(way, id, &before));
        }
    }
    assert_explained_in_parts(differences, DIFFERENCES, parts, &FOUND);
}

/// A copy of the patch whose preinstall has a line of its own, so that its scripts make the archive.
fn with_own_line(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
    let script = to.join("SUNWstuf/install/preinstall");
    let text = fs::read_to_string(&script).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let text = format!("{first}\n: my own command\n{rest}");
    fs::write(&script, &text).unwrap();
    let map = to.join("SUNWstuf/pkgmap");
    let sums = format!("1 i preinstall {} {} 0", text.len(), checksum::sum(text.as_bytes()));
    let line = |line: &str| if line.starts_with("1 i preinstall ") { sums.clone() } else { line.to_owned() };
    let lines: Vec<String> = fs::read_to_string(&map).unwrap().lines().map(line).collect();
    fs::write(map, lines.join("\n") + "\n").unwrap();
}

in_parts!(archives_that_scripts_made_are_played_as_exactly, play_archives_of_scripts, 3);

fn play_archives_of_scripts(part: usize, parts: usize) {
    let Some(goldens) = shared("archives_that_scripts_made_are_played_as_exactly", "goldens/pkgs") else {
        return;
    };
    for id in ["103203-01", "103400-01", "103800-01"].into_iter().skip(part).step_by(parts) {
        for way in ["auto", "run", "pkgadd"] {
            let Some(place) = Place::new("SUNWstuf") else { return };
            let base = goldens.join("base");
            place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} SUNWstuf", base.display()));
            let before = place.state();
            let patch = place.scenario.beside(id);
            with_own_line(&goldens.join(id), &patch);
            place.ok(&format!("patchadd -R @ROOT@ {}", patch.display()));
            assert!(place.database(&format!("save/{id}/snapshot/undo.gz")).exists());
            place.take_back(id, way);
            let found = place.differences(way, id, &before);
            assert!(found.is_empty(), "{found:?}");
        }
    }
}

/// A script of a package's own that changes the files of its class, so that they differ from the delivered ones.
const MARKS: &str = "while read from to; do { echo marked; cat \"$from\"; } > \"$to\"; done\nexit 0\n";

const CLASSES: &str = "none preserve build marks";

#[test]
fn a_file_that_the_script_of_its_class_left_alone_gets_its_old_attributes_back() {
    for way in WAYS {
        let Some(place) = Place::new("ACMEweb") else { return };
        let kept = |mode| {
            Package::new("ACMEweb")
                .param("CLASSES", "none preserve")
                .of_class("preserve", 'e', "kept", mode, "kept\n")
        };
        let spool = place.scenario.beside("spool");
        kept(0o644).write(&spool);
        place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
        place.scenario.mtime("/opt/ACMEweb/kept", 1_600_000_000);
        let before = place.state();
        let patch = Patch::of("100-09", kept(0o600)).directory(&place.scenario);
        place.ok(&format!("patchadd -u -R @ROOT@ {}", patch.display()));
        assert_ne!(place.state()["/opt/ACMEweb/kept mode"], before["/opt/ACMEweb/kept mode"]);
        place.take_back("100-09", way);
        let now = place.state();
        for what in ["mode", "mtime", "bytes"].map(|column| format!("/opt/ACMEweb/kept {column}")) {
            assert_eq!(now[&what], before[&what], "{way}: {what}");
        }
    }
}

/// All ways; without the classic one for an ordinary user, in whose archives every owner is the user.
fn ways_of_the_user() -> impl Iterator<Item = &'static str> {
    WAYS.into_iter().filter(|way| *way != "classic" || is_root())
}

/// A package whose classes all do something else than copy.
fn classes() -> Package {
    Package::new("ACMEweb")
        .param("CLASSES", CLASSES)
        .information("i.marks", MARKS)
        .of_class("preserve", 'e', "etc/kept", 0o640, "kept\n")
        .of_class("preserve", 'e', "etc/edited", 0o600, "edited\n")
        .of_class("build", 'e', "etc/built", 0o644, "echo built\n")
        .of_class("marks", 'f', "share/marked", 0o604, "text\n")
        .of_class("marks", 'f', "share/link", 0o444, "a file\n")
        .file("share/plain", 0o644, "plain\n")
}

fn patch_of_classes() -> Patch {
    let package = Package::new("ACMEweb")
        .param("CLASSES", CLASSES)
        .content('e', "etc/kept", 0o600, "root root", 1_000_000_000, "kept, patched\n")
        .content('e', "etc/edited", 0o600, "root root", 1_000_000_000, "edited, patched\n")
        .content('f', "etc/built", 0o755, "root root", 1_000_000_000, "patched\n")
        .content('f', "share/marked", 0o644, "root root", 1_000_000_000, "patched\n")
        .symlink("share/link", "plain")
        .file("share/new", 0o644, "new\n");
    Patch::of("100-02", package)
}

#[test]
fn a_file_of_a_class_that_does_not_copy_comes_back_as_it_was_and_in_its_class() {
    for way in ways_of_the_user() {
        let Some(place) = Place::new("ACMEweb") else { return };
        let spool = place.scenario.beside("spool");
        classes().write(&spool);
        place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
        let before = place.state();
        assert_eq!(place.scenario.text("/opt/ACMEweb/share/marked"), "marked\ntext\n");
        place.ok(&format!("patchadd -R @ROOT@ {}", patch_of_classes().directory(&place.scenario).display()));
        assert_eq!(place.scenario.text("/opt/ACMEweb/etc/kept"), "kept, patched\n");
        place.take_back("100-02", way);
        let is_record = |what: &String| what.starts_with("record/") || what.starts_with("pkginfo ");
        let is_software = |what: &String| way != "classic" || !is_record(what);
        let found = place.differences(way, "100-02", &before);
        let found: Vec<_> = found.into_iter().filter(|(_, _, what, _)| is_software(what)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// The class of a file that came with the patch alone, and the script of a patch that undoes its class itself.
#[test]
fn only_the_classes_of_saved_files_get_a_script_and_the_patchs_own_stays() {
    let Some(place) = Place::new("ACMEweb") else { return };
    let spool = place.scenario.beside("spool");
    classes().write(&spool);
    place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
    let package = Package::new("ACMEweb")
        .param("CLASSES", "none preserve marks")
        .information("i.marks", MARKS)
        .information("u.marks", "exit 0\n")
        .of_class("marks", 'f', "share/marked", 0o604, "other text\n")
        .of_class("preserve", 'e', "etc/new", 0o644, "new\n");
    place.ok(&format!(
        "patchadd -R @ROOT@ {}",
        Patch::of("100-03", package).directory(&place.scenario).display()
    ));
    let mut stream = Vec::new();
    let archive = fs::File::open(place.database("save/100-03/undo.gz")).unwrap();
    flate2::read::MultiGzDecoder::new(archive).read_to_end(&mut stream).unwrap();
    let text = String::from_utf8_lossy(&stream);
    // the times of delivered files, in the saved records of the package, are others
    let is_ours = |line: &&str| line.starts_with("1 i i.") && line.ends_with(" 0");
    let classes: Vec<&str> = text.lines().filter(is_ours).collect();
    // the pkgmap is listed twice: at the beginning of the stream, and in the package
    assert_eq!(classes, ["1 i i.marks 7 532 0"; 2], "{text}");
}

#[test]
fn a_file_of_a_class_that_the_package_does_not_name_comes_back_too() {
    for way in WAYS {
        let Some(place) = Place::new("ACMEweb") else { return };
        let spool = place.scenario.beside("spool");
        let other = Package::new("ACMEother").param("BASEDIR", "/opt/ACMEweb").param("CLASSES", "theirs");
        other.of_class("theirs", 'f', "share/theirs", 0o644, "theirs\n").write(&spool);
        Package::new("ACMEweb").file("share/plain", 0o644, "plain\n").write(&spool);
        place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEother ACMEweb", spool.display()));
        let package = Package::new("ACMEweb").file("share/theirs", 0o644, "patched\n");
        let patch = Patch::of("100-04", package).directory(&place.scenario);
        place.ok(&format!("patchadd -R @ROOT@ {}", patch.display()));
        assert_eq!(place.scenario.text("/opt/ACMEweb/share/theirs"), "patched\n", "{way}");
        place.take_back("100-04", way);
        assert_eq!(place.scenario.text("/opt/ACMEweb/share/theirs"), "theirs\n", "{way}");
    }
}

#[test]
fn what_the_script_of_a_class_keeps_is_as_before_with_what_the_patch_added_to_the_class() {
    for way in ["native", "run", "pkgadd"] {
        let Some(place) = Place::new("ACMEweb") else { return };
        let spool = place.scenario.beside("spool");
        classes().write(&spool);
        place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
        let before = place.state();
        let package = Package::new("ACMEweb").param("CLASSES", "none build");
        let package = package.of_class("build", 'e', "etc/built", 0o644, "echo built anew\n");
        let package = package.of_class("build", 'e', "etc/more/built", 0o644, "echo more\n");
        let patch = Patch::of("100-06", package).directory(&place.scenario);
        place.ok(&format!("patchadd -R @ROOT@ {}", patch.display()));
        let kept = place.database("save/build/opt/ACMEweb/etc");
        assert_eq!(fs::read_to_string(kept.join("built")).unwrap(), "echo built anew\n");
        assert!(kept.join("more/built").exists());
        place.take_back("100-06", way);
        let found = place.differences(way, "100-06", &before);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn what_was_edited_since_is_kept_under_the_name_of_the_patch_by_pkgadd_too() {
    let Some(place) = Place::new("ACMEweb") else { return };
    let of = |text: &str| {
        Package::new("ACMEweb").content('e', "etc/conf", 0o600, "root root", 1_000_000_000, text)
    };
    let spool = place.scenario.beside("spool");
    of("base\n").write(&spool);
    place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
    let patch = Patch::of("100-07", of("patched\n")).directory(&place.scenario);
    place.ok(&format!("patchadd -R @ROOT@ {}", patch.display()));
    place.scenario.file("/opt/ACMEweb/etc/conf", "edited\n");
    let (succeeded, said) = place.run(&place.taking_back("100-07", "pkgadd"));
    assert!(succeeded, "{said}");
    let names = fs::read_dir(place.scenario.at("/opt/ACMEweb/etc")).unwrap();
    let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["conf", "conf.edited-100-07"], "{said}");
    assert_eq!(place.scenario.text("/opt/ACMEweb/etc/conf"), "base\n");
    assert_eq!(place.scenario.text("/opt/ACMEweb/etc/conf.edited-100-07"), "edited\n");
    assert!(!said.contains("edited-ACMEweb"), "{said}");
}

#[test]
fn a_patch_of_two_packages_goes_package_by_package_by_pkgadd_and_its_directory_with_the_last() {
    let Some(mut place) = Place::new("ACMEweb") else { return };
    let package = |name: &str, text: &str| Package::new(name).file("share/text", 0o644, text);
    let spool = place.scenario.beside("spool");
    for name in ["ACMEdb", "ACMEweb"] {
        package(name, "base\n").write(&spool);
    }
    place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEdb ACMEweb", spool.display()));
    let before = place.state();
    let patch = Patch::new("100-08").package(package("ACMEdb", "new\n")).package(package("ACMEweb", "new\n"));
    place.ok(&format!("patchadd -R @ROOT@ {}", patch.directory(&place.scenario).display()));
    let directory = place.scenario.at("/var/sadm/patch/100-08");
    place.take_back("100-08", "pkgadd");
    assert!(directory.exists());
    assert_eq!(place.scenario.text("/opt/ACMEdb/share/text"), "new\n");
    place.package = "ACMEdb";
    place.take_back("100-08", "pkgadd");
    assert!(!directory.exists());
    place.package = "ACMEweb";
    let found = place.differences("pkgadd", "100-08", &before);
    assert!(found.is_empty(), "{found:?}");
}

/// Two patches of one package: both set parameters and label themselves, and if `shared`, both have one path.
fn two_patches(place: &Place, shared: bool) {
    let base = Package::new("ACMEweb").file("share/a", 0o644, "a\n").file("share/b", 0o644, "b\n");
    let spool = place.scenario.beside("spool");
    base.write(&spool);
    place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
    for (id, path) in [("200-01", "share/a"), ("300-01", if shared { "share/a" } else { "share/b" })] {
        let package = Package::new("ACMEweb").param("Patch_label", id).param("OF_A_PATCH", id);
        let package = package.file(path, 0o644, "patched\n").file(&format!("share/{id}"), 0o644, id);
        let patch = Patch::of(id, package).directory(&place.scenario);
        place.ok(&format!("patchadd -R @ROOT@ {}", patch.display()));
    }
}

#[test]
fn the_older_of_two_patches_can_go_first_by_pkgadd_and_nothing_of_it_comes_back_with_the_younger() {
    let mut states = Vec::new();
    for way in ["native", "pkgadd"] {
        let Some(place) = Place::new("ACMEweb") else { return };
        two_patches(&place, false);
        let mut state_without = |id: &str| {
            place.take_back(id, way);
            let mut state = place.state();
            // times, and the undo data of the other patch, are each root's own
            let is_own = |what: &str| what.ends_with(" mtime") || what.starts_with("record/save/300-01/");
            state.retain(|what, _| !is_own(what) && what != "pkginfo INSTDATE");
            states.push(state.clone());
            state
        };
        let one = state_without("200-01");
        assert_eq!((&*one["pkginfo Patch_label"], &*one["pkginfo OF_A_PATCH"]), ("300-01", "300-01"));
        let none = state_without("300-01");
        assert!(!none.contains_key("pkginfo OF_A_PATCH") && !none.contains_key("pkginfo Patch_label"));
        assert_eq!(place.scenario.text("/opt/ACMEweb/share/b"), "b\n");
    }
    assert_eq!(states[..2], states[2..], "by patchrm, and by pkgadd");
}

#[test]
fn a_pkgadd_of_the_archive_of_the_older_patch_does_not_take_a_path_of_the_younger_away() {
    let Some(place) = Place::new("ACMEweb") else { return };
    two_patches(&place, true);
    let line = place.taking_back("200-01", "pkgadd");
    let before = place.scenario.everything();
    let (succeeded, said) = place.run(&line);
    assert!(!succeeded && said.contains("300-01") && said.contains("share/a"), "{said}");
    assert_same(&place.scenario.everything(), &before);
}

/// The list for a class script separates two paths with a blank, and cannot escape another one.
#[test]
fn a_file_with_a_blank_in_its_path_comes_back_without_the_script_of_its_class() {
    for way in WAYS {
        let Some(place) = Place::new("ACMEweb") else { return };
        let spool = place.scenario.beside("spool");
        let of_class = |class: &str| {
            let (name, sum) = ("share/two words", checksum::sum(class.as_bytes()));
            let line =
                format!("f {class} share/two\\040words 0640 root root {} {sum} 981173106", class.len());
            let package = Package::new("ACMEweb").param("CLASSES", "none marks");
            package.of_class(class, 'f', name, 0o640, class).line(name, &line)
        };
        of_class("marks").write(&spool);
        place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
        let before = place.state();
        let patch = Patch::of("100-05", of_class("none")).directory(&place.scenario);
        place.ok(&format!("patchadd -R @ROOT@ {}", patch.display()));
        assert_eq!(place.scenario.text("/opt/ACMEweb/share/two words"), "none", "{way}");
        place.take_back("100-05", way);
        assert_eq!(place.scenario.text("/opt/ACMEweb/share/two words"), "marks", "{way}");
        let found = place.differences(way, "100-05", &before);
        assert!(way == "classic" || found.is_empty(), "{found:?}");
    }
}

/// The archive of [`patch_of_classes`] as the program made it before archives had scripts for classes.
const EARLIER: &[u8] = include_bytes!("../testdata/earlier/undo.gz");

/// Facts that an earlier archive lacks, or has from the root that it was made in.
const OF_EARLIER: &[Explained] = &[
    ("*", "100-02", "record/save/pspool/ACMEweb/pkg* mtime", "nor did they say parts of a second"),
    ("classic", "100-02", "pkginfo *", WORDS),
    ("classic", "100-02", "record/save/pspool/*", RECORDS),
];

impl Place {
    /// A root with the patch of classes and the archive of an earlier version, and what it was before the patch.
    fn with_earlier_archive() -> Option<(Self, BTreeMap<String, String>)> {
        let place = Self::new("ACMEweb")?;
        let spool = place.scenario.beside("spool");
        classes().write(&spool);
        place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
        let before = place.state();
        place.ok(&format!("patchadd -R @ROOT@ {}", patch_of_classes().directory(&place.scenario).display()));
        fs::write(place.database("save/100-02/undo.gz"), EARLIER).unwrap();
        Some((place, before))
    }
}

#[test]
fn an_archive_of_an_earlier_form_is_told_and_not_restored_from() {
    let Some((place, _)) = Place::with_earlier_archive() else { return };
    vouch(&place.scenario.root(), "ACMEweb", "100-02", EARLIER);
    let before = place.scenario.everything();
    for way in ["native", "run"] {
        let said = place.scenario.run(&place.taking_back("100-02", way)).fails(4);
        assert!(said.contains("was made by an earlier version of this program"), "{way}: {said}");
        assert!(said.contains("with the version of patchadm that applied it"), "{way}: {said}");
        assert!(!said.contains("damaged"), "{way}: {said}");
        assert_same(&place.scenario.everything(), &before);
    }
}

#[test]
fn an_archive_of_an_earlier_form_that_the_ledger_does_not_name_is_no_damage_and_is_not_adopted() {
    let Some((place, _)) = Place::with_earlier_archive() else { return };
    let before = place.scenario.everything();
    for way in ["native", "run"] {
        let said = place.scenario.run(&place.taking_back("100-02", way)).fails(4);
        assert!(said.contains("recover --adopt-undo") && !said.contains("damaged"), "{way}: {said}");
    }
    let told = place.scenario.run("recover --adopt-undo -R @ROOT@");
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(told.stdout.contains("was made by an earlier version of this program"), "{}", told.stdout);
    assert!(told.stdout.contains("that version can remove the patch"), "{}", told.stdout);
    assert_same(&place.scenario.everything(), &before);
}

#[test]
fn an_archive_of_an_earlier_form_is_still_a_package_that_any_pkgadd_installs() {
    let Some((place, before)) = Place::with_earlier_archive() else { return };
    place.take_back("100-02", "classic");
    assert_explained(&place.differences("classic", "100-02", &before), OF_EARLIER);
}

#[test]
fn a_file_that_became_a_directory_and_a_directory_that_became_a_file_come_back() {
    for way in ways_of_the_user() {
        let Some(place) = Place::new("ACMEweb") else { return };
        let spool = place.scenario.beside("spool");
        let package = Package::new("ACMEweb")
            .file("share/flat", 0o644, "flat\n")
            .directory("tree")
            .directory("tree/sub")
            .file("tree/sub/leaf", 0o640, "leaf\n");
        package.write(&spool);
        place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
        let before = (place.scenario.tree(), place.scenario.lines());
        let package = Package::new("ACMEweb")
            .directory("share/flat")
            .directory("share/flat/deep")
            .file("share/flat/deep/leaf", 0o600, "deep\n")
            .file("tree", 0o644, "a tree no more\n")
            .deletes(&["tree/sub/leaf", "tree/sub"]);
        let patch = Patch::of("100-05", package).directory(&place.scenario);
        place.ok(&format!("patchadd -R @ROOT@ {}", patch.display()));
        place.take_back("100-05", way);
        assert_eq!(before.0.difference(&place.scenario.tree()), "", "{way}");
        assert_eq!(before.1, place.scenario.lines(), "{way}");
    }
}
