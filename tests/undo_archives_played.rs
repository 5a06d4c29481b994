//! Undo archives of native patches, played by whatever installs packages: `patchrm`, `patchrm --engine script`, and
//! `pkgadd` of the archive as it lies there. The root is as before, each time.
//!
//! Compared are every object outside the database, `contents`, every parameter but the records of patches, and the
//! package's directory: `install`, the spooled package, what classes have saved. The scripts run in a sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use patchadm::format::params::ParamFile;

use crate::delivery::Patch;
use crate::differences::{Difference, Explained, assert_explained};
use crate::packages::Package;
use crate::sandbox::Sandbox;
use crate::scenario::{Scenario, shared};
use crate::tree::Tree;

const ADMIN: &str = "mail=\ninstance=unique\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\nrdepend=nocheck\n\
                     space=quit\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\nbasedir=default\n";

const COLUMNS: [&str; 9] = ["type", "mode", "uid", "gid", "size", "bytes", "mtime", "links", "xattrs"];

/// How a patch is taken back.
const WAYS: [&str; 3] = ["native", "script", "pkgadd"];

/// What is deliberately different after a backout.
const DIFFERENCES: &[Explained] = &[
    ("*", "*", "record/save/pspool/SUNWstuf/pkg* mtime", "records come back to the second"),
    ("*", "*", "record/save/build/*", SAVED_BY_A_CLASS),
    ("pkgadd", "103500-01", "/opt/SUNWstuf/share/fifo mtime", PIPE),
    ("pkgadd", "*", "pkginfo Patch_label", WORDS),
    ("pkgadd", "*", "pkginfo Obsoletes_label", WORDS),
    ("pkgadd", "*", "pkginfo ACTIVE_OBSOLETES", WORDS),
    ("pkgadd", "*", "pkginfo ACTIVE_PATCH", WORDS),
    ("pkgadd", "*", "record/install/checkinstall *", RECORDS),
    ("script", "*", "record/save/pspool/*", RECORDS),
    ("pkgadd", "*", "record/save/pspool/*", RECORDS),
];

/// A copy that the script of a class has made.
const SAVED_BY_A_CLASS: &str = "what the system's script of class build keeps for the removal is its own";

/// A pipe in a pkgmap.
const PIPE: &str = "a pkgmap says no time of a pipe";

/// What the last patch said of itself.
const WORDS: &str = "a checkinstall can empty a parameter, not take it away";

/// Records that only the program itself brings back.
const RECORDS: &str = "pkgadd records the package that it installs, and runs its checkinstall";

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
        let command = self.scenario.command(line);
        let mut boxed = self.sandbox.command(command.get_program());
        boxed.args(command.get_args()).current_dir(self.scenario.beside("")).env_clear();
        boxed.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        for (name, value) in command.get_envs().filter(|(name, _)| *name != "PATH") {
            boxed.env(name, value.unwrap_or_default());
        }
        let output = boxed.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&said));
    }

    fn database(&self, name: &str) -> std::path::PathBuf {
        self.scenario.at(&format!("/var/sadm/pkg/{}/{name}", self.package))
    }

    fn params(&self) -> patchadm::package::Params {
        ParamFile::parse(&fs::read(self.database("pkginfo")).unwrap()).unwrap().params()
    }

    #[track_caller]
    fn take_back(&self, id: &str, way: &str) {
        if way != "pkgadd" {
            return self.ok(&format!("patchrm --engine {way} -R @ROOT@ {id}"));
        }
        let mut stream = Vec::new();
        let archive = fs::File::open(self.database(&format!("save/{id}/undo.gz"))).unwrap();
        flate2::read::MultiGzDecoder::new(archive).read_to_end(&mut stream).unwrap();
        let (undo, response) = (self.scenario.beside("undo"), self.scenario.beside("response"));
        fs::write(&undo, stream).unwrap();
        let params = self.params();
        let said = ["PATCHLIST", "PATCH_OBSOLETES"].map(|name| params.text(name).into_owned());
        fs::write(&response, format!("OLDLIST=\"{}\"\nPATCH_OBSOLETES=\"{}\"\n", said[0], said[1])).unwrap();
        let (undo, response) = (undo.display(), response.display());
        self.ok(&format!("pkgadd -n -S -R @ROOT@ -a golden -r {response} -d {undo} {}", self.package));
    }

    /// Everything that is compared, by what it is.
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

    /// What is different from `before` now.
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

#[test]
fn the_patches_of_the_goldens_go_whoever_plays_their_undo_archives() {
    let test = "the_patches_of_the_goldens_go_whoever_plays_their_undo_archives";
    let Some(goldens) = shared(test, "goldens/pkgs") else { return };
    let mut differences = Vec::new();
    for id in ["103203-01", "103400-01", "103500-01", "103800-01"] {
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
    assert_explained(&differences, DIFFERENCES);
}

/// What a script of a package's own makes of the files of its class: not what was delivered.
const MARKS: &str = "while read from to; do { echo marked; cat \"$from\"; } > \"$to\"; done\nexit 0\n";

const CLASSES: &str = "none preserve build marks";

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
    for way in WAYS {
        let Some(place) = Place::new("ACMEweb") else { return };
        let spool = place.scenario.beside("spool");
        classes().write(&spool);
        place.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} ACMEweb", spool.display()));
        let before = place.state();
        assert_eq!(place.scenario.text("/opt/ACMEweb/share/marked"), "marked\ntext\n");
        place.ok(&format!("patchadd -R @ROOT@ {}", patch_of_classes().directory(&place.scenario).display()));
        assert_eq!(place.scenario.text("/opt/ACMEweb/etc/kept"), "kept, patched\n");
        place.take_back("100-02", way);
        let is_software = |what: &String| !what.starts_with("record/") && !what.starts_with("pkginfo ");
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
    // the pkgmap is there twice: at the beginning of the stream, and in the package
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
fn a_file_that_became_a_directory_and_a_directory_that_became_a_file_come_back() {
    for way in WAYS {
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
