//! Patches applied and backed out by the program itself and by their own (stock) scripts leave the same root after
//! every step.
//!
//! Two copies of one root take the same steps, one with `--scripts native`, one with `--scripts run`. After every
//! step, the test compares every object outside the database, `contents`, every parameter of the package, the names
//! of its records, and the directories of the patches. [`DIFFERENCES`] lists every difference with the reason why it
//! is better so, and every listed difference must occur. The scripts run in a sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use patchadm_inputs::patch_scripts::of_patch;
use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::package::checksum;
use patchadm_svr4::patch::PatchInfo;

use crate::differences::{Difference, Explained, FoundInParts, assert_explained, assert_explained_in_parts};
use crate::packages::files;
use crate::sandbox::Sandbox;
use crate::scenario::{ADMIN, Scenario, shared};
use crate::tree::{COLUMNS, Tree, assert_same};

/// The commands of the story; `@P@` is the directory of the patches.
const STEPS: [&str; 12] = [
    "patchadd @P@/103201-01",
    "patchadd @P@/103400-01",
    "patchadd @P@/103201-02",
    "patchadd @P@/103203-01",
    "patchrm 103203-01",
    "patchrm 103201-02",
    "patchrm 103400-01",
    "patchrm 103201-01",
    "patchadd @P@/R103300-01",
    "patchrm R103300-01",
    "patchadd -d @P@/103400-01",
    "patchadd -u @P@/103400-01",
];

/// The commands for two revisions of a patch that the program built.
const BUILT_STEPS: [&str; 6] = [
    "patchadd @P@/900-01",
    "patchadd @P@/900-02",
    "patchrm 900-02",
    "patchrm 900-01",
    "patchadd @P@/900-02",
    "patchrm 900-02",
];

const DIFFERENCES: &[Explained] = &[
    ("engine", "*", "digest of the undo archive*", "only archives of ours are bound to their run"),
    (
        "engine",
        "*",
        "record pkg/SUNWstuf/save/*/snapshot*",
        "the program's own snapshot is beside what scripts save",
    ),
    (
        "engine",
        "*",
        "record pkg/SUNWstuf/install/checkinstall",
        "a package whose scripts keep the records has no use for a checkinstall in its directory",
    ),
];

/// One of the two roots.
struct Side {
    scenario: Scenario,
    sandbox: Sandbox,
    engine: &'static str,
}

impl Side {
    fn run(&self, line: &str) -> (i32, String) {
        self.sandbox.run(&self.scenario, line)
    }

    /// The compared facts, by name.
    fn state(&self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        for (path, columns) in Tree::of(&self.scenario.root(), &["var", "tmp", "envdump"]).objects() {
            for (name, column) in COLUMNS.iter().zip(columns) {
                state.insert(format!("/{path}: {name}"), column.clone());
            }
        }
        for line in self.scenario.lines() {
            let path = line.split([' ', '=']).next().unwrap().to_owned();
            state.insert(format!("contents {path}"), line);
        }
        let package = self.scenario.at("/var/sadm/pkg/SUNWstuf");
        let pkginfo = fs::read(package.join("pkginfo")).unwrap();
        for (name, value) in ParamFile::parse(&pkginfo).unwrap().params().iter() {
            let value = String::from_utf8_lossy(value).into_owned();
            state.insert(format!("pkginfo {name}"), meaning(name, &value));
        }
        let records = Tree::of(&self.scenario.at("/var/sadm"), &["patchadm", "install"]);
        for name in records.objects().keys() {
            if let Some(save) = name.strip_suffix("/undo.b3") {
                state.insert(format!("digest of the undo archive in {save}"), "there".to_owned());
                continue;
            }
            if name.ends_with("/undo.paths") {
                continue;
            }
            let name = name.replace("undo.gz", "undo").replace("undo.Z", "undo");
            let name = name.replace("obsolete.gz", "obsolete").replace("obsolete.Z", "obsolete");
            state.insert(format!("record {name}"), "there".to_owned());
        }
        state
    }
}

/// Returns a parameter without the parts that always differ between two runs.
fn meaning(name: &str, value: &str) -> String {
    match name.strip_prefix("PATCH_INFO_").map(|_| PatchInfo::parse(value, "-")) {
        Some(PatchInfo::Installed(info)) => {
            let (obsoletes, requires) = (&info.obsoletes, &info.requires);
            format!("obsoletes {obsoletes} requires {requires} incompatibles {}", info.incompatibles)
        }
        _ if name == "PATCH_OBSOLETES" => {
            value.split_whitespace().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
        }
        _ => value.to_owned(),
    }
}

fn stage(goldens: &Path) -> Option<[Side; 2]> {
    let first = Scenario::new();
    first.file("/etc/passwd", fs::read("/etc/passwd").unwrap());
    first.file("/etc/group", fs::read("/etc/group").unwrap());
    for directory in ["/opt/SUNWstuf", "/var/tmp", "/tmp", "/envdump"] {
        first.directory(directory);
    }
    first.file("/var/sadm/install/admin/golden", ADMIN);
    let sandbox = Sandbox::new(&first.beside(""))?;
    let side = Side { scenario: first, sandbox, engine: "native" };
    let base = goldens.join("pkgs/base");
    let (code, said) = side.run(&format!("pkgadd -n -R @ROOT@ -a golden -d {} SUNWstuf", base.display()));
    assert_eq!(code, 0, "{said}");
    let second = Scenario::new();
    fs::remove_dir_all(second.root()).unwrap();
    let copied = Command::new("cp").arg("-a").arg(side.scenario.root()).arg(second.root()).status();
    assert!(copied.unwrap().success());
    let sandbox = Sandbox::new(&second.beside(""))?;
    Some([side, Side { scenario: second, sandbox, engine: "run" }])
}

/// The steps of one of two parts. The first part ends with the root with which both begin.
fn steps(part: usize) -> &'static [&'static str] {
    let (first, second) = STEPS.split_at(8);
    if part == 0 { first } else { second }
}

in_parts!(the_program_and_the_scripts_leave_the_same_root, go_by_their_scripts, 2);

fn go_by_their_scripts(part: usize, parts: usize) {
    static FOUND: FoundInParts = Mutex::new((0, Vec::new()));
    let Some(goldens) = shared("the_program_and_the_scripts_leave_the_same_root", "goldens") else { return };
    let Some(sides) = stage(&goldens) else { return };
    let found = different_roots(&sides, steps(part), |_| goldens.join("pkgs"));
    assert_explained_in_parts(found, DIFFERENCES, parts, &FOUND);
}

in_parts!(the_program_and_the_scripts_of_our_patches_leave_the_same_root, go_by_our_scripts, 2);

fn go_by_our_scripts(part: usize, parts: usize) {
    static FOUND: FoundInParts = Mutex::new((0, Vec::new()));
    let test = "the_program_and_the_scripts_of_our_patches_leave_the_same_root";
    let Some(goldens) = shared(test, "goldens") else { return };
    let Some(sides) = stage(&goldens) else { return };
    for side in &sides {
        for step in steps(part) {
            let Some((_, set)) = step.split_once("@P@/") else { continue };
            let from = goldens.join("pkgs").join(set).join("SUNWstuf");
            write_with_our_scripts(&from, &side.scenario.beside("ours").join(set).join("SUNWstuf"));
        }
    }
    let found = different_roots(&sides, steps(part), |side| side.scenario.beside("ours"));
    assert_explained_in_parts(found, DIFFERENCES, parts, &FOUND);
}

#[test]
fn the_program_and_the_scripts_of_patches_that_were_built_leave_the_same_root() {
    let test = "the_program_and_the_scripts_of_patches_that_were_built_leave_the_same_root";
    let Some(goldens) = shared(test, "goldens") else { return };
    let Some(sides) = stage(&goldens) else { return };
    for side in &sides {
        build_revisions(&side.scenario);
    }
    let found = different_roots(&sides, &BUILT_STEPS, |side| side.scenario.beside("built"));
    assert_explained(&found, DIFFERENCES);
}

#[test]
fn a_directory_that_scripts_turn_into_a_link_is_saved_and_comes_back() {
    let test = "a_directory_that_scripts_turn_into_a_link_is_saved_and_comes_back";
    let Some(goldens) = shared(test, "goldens") else { return };
    let Some([_, side]) = stage(&goldens) else { return };
    let stage = &side.scenario;
    let before = stage.tree();
    for copy in ["old", "new"] {
        let mut command = Command::new("cp");
        let copied = command.arg("-a").arg(stage.at("/opt/SUNWstuf")).arg(stage.beside(copy)).status();
        assert!(copied.unwrap().success());
    }
    fs::remove_dir_all(stage.beside("new/lib")).unwrap();
    symlink("bin", stage.beside("new/lib")).unwrap();
    let releases = "--from old --to new --pkg SUNWstuf --basedir /opt/SUNWstuf --owner root:root";
    stage.run(&format!("build --id 900-01 {releases} {} -o built", names_of(stage))).ok();
    let built = stage.beside("built");
    let (code, said) = side.run(&format!("patchadd --scripts run -R @ROOT@ {}", built.display()));
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read_link(stage.at("/opt/SUNWstuf/lib")).unwrap(), Path::new("bin"));
    let (code, said) = side.run("patchrm -R @ROOT@ 900-01");
    assert_eq!(code, 0, "{said}");
    assert_same(&stage.tree(), &before);
}

/// The options that name the base of a patch of the installed package.
fn names_of(stage: &Scenario) -> String {
    let pkginfo = fs::read(stage.at("/var/sadm/pkg/SUNWstuf/pkginfo")).unwrap();
    let params = ParamFile::parse(&pkginfo).unwrap().params();
    format!("--arch {} --base-version {}", params.text("ARCH"), params.text("VERSION"))
}

/// Makes two revisions of a patch of the software in the root; the second one takes back most of the first.
fn build_revisions(stage: &Scenario) {
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    let [old, first, second] = ["old", "first", "second"].map(|name| stage.beside(name));
    copy(&stage.at("/opt/SUNWstuf"), &old);
    copy(&old, &first);
    copy(&old, &second);
    write(&first.join("bin/stuf"), "first\n", 0o755);
    fs::remove_file(first.join("bin/stuf-hard")).unwrap();
    fs::hard_link(first.join("bin/stuf"), first.join("bin/stuf-hard")).unwrap();
    fs::hard_link(first.join("bin/stuf"), first.join("bin/stuf-third")).unwrap();
    fs::remove_file(first.join("lib/libstuf.so")).unwrap();
    symlink("libstuf.so.2", first.join("lib/libstuf.so")).unwrap();
    write(&first.join("lib/libstuf.so.2"), "two\n", 0o755);
    write(&first.join("share/b512"), "b512\n", 0o600);
    fs::remove_file(first.join("share/old")).unwrap();
    write(&first.join("fresh/deep/file"), "fresh\n", 0o640);
    write(&second.join("bin/tool"), "second\n", 0o555);
    write(&second.join("share/second"), "second\n", 0o644);
    let named = format!("--pkg SUNWstuf {} --basedir /opt/SUNWstuf", names_of(stage));
    fs::create_dir(stage.beside("built")).unwrap();
    for (id, to, previous) in [("900-01", "first", ""), ("900-02", "second", "--previous built/900-01")] {
        let line = format!(
            "build --id {id} --from old --to {to} -o built/{id} {named} --owner root:root {previous}"
        );
        let run = stage.run(&line);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
}

/// Writes a file with a time in whole seconds, which is all that a pkgmap has.
fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Copies a package, with the scripts that our own patches carry in place of its scripts.
fn write_with_our_scripts(from: &Path, to: &Path) {
    let classes: Vec<String> =
        files(from).iter().filter_map(|name| name.strip_prefix("install/i.").map(str::to_owned)).collect();
    let scripts = of_patch(classes.iter().map(String::as_str));
    for name in files(from) {
        let script = name.strip_prefix("install/").and_then(|name| scripts.get(name));
        let bytes =
            script.map_or_else(|| fs::read(from.join(&name)).unwrap(), |text| text.as_bytes().to_vec());
        fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        fs::write(to.join(&name), bytes).unwrap();
    }
    let pkgmap = fs::read_to_string(from.join("pkgmap")).unwrap();
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [part, "i", name, _, _, mtime] if scripts.contains_key(name) => {
            let text = scripts[name].as_bytes();
            format!("{part} i {name} {} {} {mtime}\n", text.len(), checksum::sum(text))
        }
        _ => format!("{line}\n"),
    };
    fs::write(to.join("pkgmap"), pkgmap.lines().map(line).collect::<String>()).unwrap();
}

/// Runs these steps on both sides at once, and compares the roots after each one.
fn different_roots(
    sides: &[Side; 2],
    steps: &[&str],
    patches: impl Fn(&Side) -> PathBuf + Sync,
) -> Vec<Difference> {
    let mut differences: Vec<Difference> = Vec::new();
    for step in steps {
        let go = &|side: &Side| {
            let (command, rest) = step.split_once(' ').unwrap();
            let rest = rest.replace("@P@", patches(side).to_str().unwrap());
            side.run(&format!("{command} --scripts {} -R @ROOT@ {rest}", side.engine))
        };
        let codes = thread::scope(|scope| {
            sides.each_ref().map(|side| scope.spawn(move || go(side))).map(|going| going.join().unwrap())
        });
        let [(native, _), (script, said)] = &codes;
        assert_eq!((*native, *script), (0, 0), "{step}: {}\n{said}", codes[0].1);
        let [native, script] = sides.each_ref().map(Side::state);
        let all: BTreeSet<&String> = native.keys().chain(script.keys()).collect();
        for what in all.into_iter().filter(|what| native.get(*what) != script.get(*what)) {
            let both = format!("native {:?}, script {:?}", native.get(what), script.get(what));
            differences.push(("engine".to_owned(), (*step).to_owned(), what.clone(), both));
        }
    }
    differences
}

#[test]
fn a_file_that_the_stock_scripts_do_not_save_is_told_and_comes_back() {
    let test = "a_file_that_the_stock_scripts_do_not_save_is_told_and_comes_back";
    let Some(goldens) = shared(test, "goldens") else { return };
    let Some([_, side]) = stage(&goldens) else { return };
    let before = side.scenario.tree();
    // a file of class build, which the stock scripts do not save (observed defect 5)
    let patch = goldens.join("pkgs/103500-01");
    let (code, said) = side.run(&format!("patchadd --scripts run -R @ROOT@ {}", patch.display()));
    assert!(code == 0 && said.contains("/opt/SUNWstuf/etc/build.conf as it was; patchrm"), "{code} {said}");
    let (code, said) = side.run("patchrm --scripts run -R @ROOT@ 103500-01");
    assert_eq!(code, 0, "{said}");
    assert_same(&side.scenario.tree(), &before);
}

#[test]
fn undo_packages_that_scripts_keep_elsewhere_go_with_the_backout_and_with_a_rollback() {
    let test = "undo_packages_that_scripts_keep_elsewhere_go_with_the_backout_and_with_a_rollback";
    let Some(goldens) = shared(test, "goldens") else { return };
    let Some([_, side]) = stage(&goldens) else { return };
    let elsewhere = side.scenario.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    let kept = || fs::read_dir(&elsewhere).unwrap().count();
    let add = |patch: &str| {
        let patch = goldens.join("pkgs").join(patch);
        let line = format!("--scripts run -B {} -R @ROOT@ {}", elsewhere.display(), patch.display());
        side.run(&format!("patchadd {line}"))
    };
    let (code, said) = add("fail-postinstall-1");
    assert_eq!((code, kept()), (5, 0), "{said}");
    let (code, said) = add("103201-01");
    assert_eq!((code, kept()), (0, 1), "{said}");
    assert!(elsewhere.join("103201-01/SUNWstuf/undo.Z").exists());
    let (code, said) = side.run("patchrm --scripts run -R @ROOT@ 103201-01");
    assert_eq!((code, kept()), (0, 0), "{said}");
}
