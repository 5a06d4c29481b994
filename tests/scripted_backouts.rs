//! Backouts of patches whose scripts keep the records: everything comes back as it was, to the last attribute, no
//! matter what the scripts of the undo package bring back.
//!
//! Patches with an additional line in a script, and patches that `--scripts run` leaves to the stock scripts, are
//! applied and backed out in every mixture of engines. The tests compare with the state before: every object,
//! `contents`, every parameter except the lists of patches, the records of the package with the spooled copy, its
//! directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use patchadm_svr4::format::params::ParamFile;

use crate::delivery::Patch;
use crate::everyman::{as_ordinary_user, copy_program, ordinary_ids};
use crate::packages::Package;
use crate::sandbox::Sandbox;
use crate::scenario::{ADMIN, PROGRAM, Scenario, shared};
use crate::tree::{Tree, assert_same};

const PATCHES: [&str; 4] = ["103203-01", "103400-01", "103500-01", "103800-01"];

/// A root with the package that the patches are for, in a box in which scripts can do no harm.
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    sandbox: Sandbox,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    lines: Vec<String>,
    params: BTreeMap<String, String>,
    /// The records, by path, without their times, which undo data has in seconds.
    records: BTreeMap<String, Vec<String>>,
}

impl Stage {
    pub(crate) fn new(goldens: &Path) -> Option<Self> {
        let scenario = Scenario::new();
        scenario.file("/etc/passwd", fs::read("/etc/passwd").unwrap());
        scenario.file("/etc/group", fs::read("/etc/group").unwrap());
        for directory in ["/opt/SUNWstuf", "/var/tmp", "/tmp", "/envdump"] {
            scenario.directory(directory);
        }
        scenario.file("/var/sadm/install/admin/golden", ADMIN);
        let sandbox = Sandbox::new(&scenario.beside(""))?;
        let stage = Self { scenario, sandbox };
        let base = goldens.join("pkgs/base");
        stage.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} SUNWstuf", base.display()));
        Some(stage)
    }

    pub(crate) fn run(&self, line: &str) -> (i32, String) {
        self.sandbox.run(&self.scenario, line)
    }

    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        let (code, said) = self.run(line);
        assert_eq!(code, 0, "{line}: {said}");
        said
    }

    /// Installs the backout package of an undo archive with pkgadd.
    #[track_caller]
    fn play(&self, archive: &str) {
        let mut stream = Vec::new();
        let archive = fs::File::open(self.scenario.at(archive)).unwrap();
        flate2::read::MultiGzDecoder::new(archive).read_to_end(&mut stream).unwrap();
        let (undo, response) = (self.scenario.beside("undo"), self.scenario.beside("response"));
        fs::write(&undo, stream).unwrap();
        let pkginfo = fs::read(self.scenario.at("/var/sadm/pkg/SUNWstuf/pkginfo")).unwrap();
        let params = ParamFile::parse(&pkginfo).unwrap().params();
        let said = ["PATCHLIST", "PATCH_OBSOLETES"].map(|name| params.text(name).into_owned());
        fs::write(&response, format!("OLDLIST=\"{}\"\nPATCH_OBSOLETES=\"{}\"\n", said[0], said[1])).unwrap();
        let (undo, response) = (undo.display(), response.display());
        self.ok(&format!("pkgadd -n -S -R @ROOT@ -a golden -r {response} -d {undo} SUNWstuf"));
    }

    /// A copy of a patch with an additional command in its preinstall.
    fn with_own_command(&self, goldens: &Path, patch: &str) -> PathBuf {
        let to = self.scenario.beside("own");
        fs::create_dir_all(&to).unwrap();
        let copied = Command::new("cp").arg("-a").arg(goldens.join("pkgs").join(patch)).arg(&to).status();
        assert!(copied.unwrap().success());
        let at = to.join(patch);
        assert!(Command::new("chmod").arg("-R").arg("u+w").arg(&at).status().unwrap().success());
        let package = at.join("SUNWstuf");
        let script = package.join("install/preinstall");
        let text = fs::read(&script).unwrap();
        let first = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let text = [&text[..first], b": my own command\n", &text[first..]].concat();
        fs::write(&script, &text).unwrap();
        let pkgmap = fs::read_to_string(package.join("pkgmap")).unwrap();
        let sum = text.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = (sum & 0xffff) + (sum >> 16);
        let line = |line: &str| {
            if line.starts_with("1 i preinstall ") {
                format!("1 i preinstall {} {} 0\n", text.len(), (sum & 0xffff) + (sum >> 16))
            } else {
                format!("{line}\n")
            }
        };
        fs::write(package.join("pkgmap"), pkgmap.lines().map(line).collect::<String>()).unwrap();
        at
    }
}

/// The state of a root with this package.
fn state(stage: &Scenario, package: &str) -> State {
    let pkginfo = fs::read(stage.at(&format!("/var/sadm/pkg/{package}/pkginfo"))).unwrap();
    let params = ParamFile::parse(&pkginfo).unwrap().params();
    let is_list =
        |name: &str| matches!(name, "PATCHLIST" | "PATCH_OBSOLETES") || name.starts_with("PATCH_INFO_");
    let params = params.iter().filter(|(name, _)| !is_list(name));
    // The system's script for class build keeps its last input in `save/build`, which is no record of a package.
    let without = [format!("pkg/{package}/pkginfo"), format!("pkg/{package}/save/build")];
    let without = ["patchadm", "install", &without[0], &without[1]];
    let records = Tree::of(&stage.at("/var/sadm"), &without);
    let without_time = |(path, columns): (&String, &Vec<String>)| {
        let columns = columns.iter().enumerate().filter(|(at, _)| *at != 6);
        (path.clone(), columns.map(|(_, column)| column.clone()).collect())
    };
    State {
        tree: Tree::of(&stage.root(), &["var", "tmp", "envdump"]),
        lines: stage.lines(),
        params: params
            .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
            .collect(),
        records: records.objects().iter().map(without_time).collect(),
    }
}

/// The objects of a tree; a pkgmap has no time of a pipe.
fn without_times_of_pipes(tree: &Tree) -> BTreeMap<String, Vec<String>> {
    let mut objects = tree.objects().clone();
    let pipes = objects.values_mut().filter(|columns| columns[0] == "10000");
    pipes.for_each(|columns| columns[6].clear());
    objects
}

#[track_caller]
fn assert_as_before(found: &State, before: &State) {
    assert_same(&found.tree, &before.tree);
    assert_eq!(found.lines, before.lines);
    assert_eq!(found.params, before.params);
    let changed = |name: &&String| found.records.get(*name) != before.records.get(*name);
    let names: BTreeSet<&String> = found.records.keys().chain(before.records.keys()).collect();
    let changed: Vec<&String> = names.into_iter().filter(changed).collect();
    assert!(changed.is_empty(), "{changed:?}");
}

in_parts!(a_patch_with_a_command_of_its_own_is_backed_out_exactly_by_every_engine, back_own_out, 2);

fn back_own_out(part: usize, parts: usize) {
    let test = "a_patch_with_a_command_of_its_own_is_backed_out_exactly_by_every_engine";
    let Some(goldens) = shared(test, "goldens") else { return };
    let all = PATCHES.iter().flat_map(|patch| ["auto", "run"].map(|engine| (patch, engine)));
    for (patch, engine) in all.skip(part).step_by(parts) {
        let Some(stage) = Stage::new(&goldens) else { return };
        let before = state(&stage.scenario, "SUNWstuf");
        let own = stage.with_own_command(&goldens, patch);
        stage.ok(&format!("patchadd -R @ROOT@ {}", own.display()));
        assert!(stage.scenario.at(&format!("/var/sadm/pkg/SUNWstuf/save/{patch}/undo.Z")).exists());
        stage.ok(&format!("patchrm --scripts {engine} -R @ROOT@ {patch}"));
        assert_as_before(&state(&stage.scenario, "SUNWstuf"), &before);
    }
}

/// The snapshot is an undo archive like those that the program makes itself.
#[test]
fn the_snapshot_of_a_patch_with_a_command_of_its_own_can_be_played_by_pkgadd() {
    let test = "the_snapshot_of_a_patch_with_a_command_of_its_own_can_be_played_by_pkgadd";
    let Some(goldens) = shared(test, "goldens") else { return };
    for patch in PATCHES {
        let Some(stage) = Stage::new(&goldens) else { return };
        let before = state(&stage.scenario, "SUNWstuf");
        let own = stage.with_own_command(&goldens, patch);
        stage.ok(&format!("patchadd -R @ROOT@ {}", own.display()));
        stage.play(&format!("/var/sadm/pkg/SUNWstuf/save/{patch}/snapshot/undo.gz"));
        let found = state(&stage.scenario, "SUNWstuf");
        assert_eq!(without_times_of_pipes(&found.tree), without_times_of_pipes(&before.tree));
        assert_eq!(found.lines, before.lines);
        // A checkinstall can empty these, but not remove them; each pkgadd over an installed package sets the last
        // one.
        let words = ["ACTIVE_PATCH", "ACTIVE_OBSOLETES", "Patch_label", "Obsoletes_label", "UPDATE"];
        let told = found.params.into_iter().filter(|(name, _)| !words.contains(&name.as_str()));
        assert_eq!(told.collect::<BTreeMap<_, _>>(), before.params);
    }
}

in_parts!(every_mixture_of_engines_brings_everything_back, mix_engines, 3);

fn mix_engines(part: usize, parts: usize) {
    let Some(goldens) = shared("every_mixture_of_engines_brings_everything_back", "goldens") else { return };
    let engines = [("run", "run"), ("run", "auto"), ("native", "run")];
    let all = PATCHES.iter().flat_map(|patch| engines.map(|engine| (patch, engine)));
    for (patch, (adds, removes)) in all.skip(part).step_by(parts) {
        let Some(stage) = Stage::new(&goldens) else { return };
        let before = state(&stage.scenario, "SUNWstuf");
        let delivered = goldens.join("pkgs").join(patch);
        stage.ok(&format!("patchadd --scripts {adds} -R @ROOT@ {}", delivered.display()));
        stage.ok(&format!("patchrm --scripts {removes} -R @ROOT@ {patch}"));
        assert_as_before(&state(&stage.scenario, "SUNWstuf"), &before);
    }
}

const ID: &str = "700-01";

/// The save directory of the patch with project data.
const SAVE: &str = "/var/sadm/pkg/ACMEweb/save/700-01";

/// A script of the patches whose scripts keep the records, with an additional line. Like the published ones, it saves
/// the target of a symbolic link in place of the link, and no directories.
fn script(name: &str) -> String {
    let read = |file: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scripted").join(file))
            .unwrap()
    };
    let own = ": my own command\ncp $BASEDIR/lib/soft $build/soft && \
               pkgproto -c none $build/soft=lib/soft >> $build/prototype || exit 1\nexit 0\n";
    let file = if name == "i.none" { "web/class".to_owned() } else { format!("web/{name}") };
    let text = format!("#!/bin/sh\nme={name}\n{}{}", read("common"), read(&file));
    if name == "preinstall" { format!("{}{own}", text.strip_suffix("exit 0\n").unwrap()) } else { text }
}

/// A root with a package, and a patch of it whose scripts keep the records.
fn own_stage() -> Scenario {
    own_stage_with(|package| package)
}

/// The same with additional objects in the patch.
fn own_stage_with(more: impl FnOnce(Package) -> Package) -> Scenario {
    let stage = Scenario::new();
    let (uid, gid) = ordinary_ids(&stage);
    stage.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\n"));
    stage.file("/etc/group", format!("root:x:{gid}:\n"));
    for directory in ["/opt", "/tmp", "/var/tmp"] {
        stage.directory(directory);
    }
    let base = Package::new("ACMEweb")
        .param("CLASSES", "none")
        .file("bin/httpd", 0o755, "first httpd\n")
        .of_class("none", 'e', "etc/web.conf", 0o644, "first line\n")
        .of_class("none", 'v', "etc/web.log", 0o644, "first entry\n")
        .file("lib/one", 0o644, "one\n")
        .file("lib/two", 0o644, "two\n")
        .symlink("lib/soft", "one")
        .information("copyright", "of the base\n");
    base.write(&stage.beside("base"));
    ok(&stage, &format!("pkgadd -n -R @ROOT@ -d {} all", stage.beside("base").display()));
    let package = Package::new("ACMEweb")
        .param("CLASSES", "none")
        .file("bin/httpd", 0o755, "second httpd\n")
        .of_class("none", 'e', "etc/web.conf", 0o644, "second line\n")
        .of_class("none", 'v', "etc/web.log", 0o644, "second entry\n")
        .symlink("lib/soft", "two")
        .directory("new")
        .directory("new/dir")
        .file("new/dir/tool", 0o755, "tool\n")
        .information("copyright", "of the patch\n");
    let names =
        ["checkinstall", "preinstall", "i.none", "postinstall", "patch_checkinstall", "patch_postinstall"];
    let package = names.iter().fold(more(package), |package, name| package.information(name, script(name)));
    // The preinstall of the test data names it in its prototype.
    Patch::of(ID, package.information("u.conf", "exit 0\n")).directory(&stage);
    stage
}

fn run(stage: &Scenario, line: &str) -> (i32, String) {
    let own = [stage.root(), stage.beside("delivered")];
    let own: Vec<&Path> = own.iter().map(PathBuf::as_path).filter(|path| path.exists()).collect();
    // Scripts call pkgproto and pkgmk.
    copy_program(stage, PROGRAM.as_ref(), "patchadm-make");
    let output = as_ordinary_user(stage, line, &own).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

#[track_caller]
fn ok(stage: &Scenario, line: &str) -> String {
    let (code, said) = run(stage, line);
    assert_eq!(code, 0, "{line}: {said}");
    said
}

#[test]
fn what_scripts_do_not_save_comes_back_too() {
    for engine in ["auto", "run"] {
        let stage = own_stage();
        let before = state(&stage, "ACMEweb");
        ok(&stage, "patchadd -R @ROOT@ delivered/700-01");
        assert_eq!(fs::read_link(stage.at("/opt/ACMEweb/lib/soft")).unwrap(), Path::new("two"));
        ok(&stage, &format!("patchrm --scripts {engine} -R @ROOT@ 700-01"));
        assert_as_before(&state(&stage, "ACMEweb"), &before);
    }
}

#[test]
fn a_kept_edit_is_named_after_the_patch_and_goes_with_it() {
    for engine in ["auto", "run"] {
        let stage = own_stage();
        fs::write(stage.at("/opt/ACMEweb/etc/web.conf"), "first line\nmine\n").unwrap();
        let before = state(&stage, "ACMEweb");
        ok(&stage, "patchadd -R @ROOT@ delivered/700-01");
        assert_eq!(stage.text("/opt/ACMEweb/etc/web.conf.edited-700-01"), "first line\nmine\n");
        assert!(!stage.at("/opt/ACMEweb/etc/web.conf.edited-ACMEweb").exists());
        ok(&stage, &format!("patchrm --scripts {engine} -R @ROOT@ 700-01"));
        assert_as_before(&state(&stage, "ACMEweb"), &before);
    }
}

#[test]
fn an_edit_made_since_is_kept_under_the_name_of_the_patch() {
    for engine in ["auto", "run"] {
        let stage = own_stage();
        ok(&stage, "patchadd -R @ROOT@ delivered/700-01");
        fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
        ok(&stage, &format!("patchrm --scripts {engine} -R @ROOT@ 700-01"));
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "first httpd\n");
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd.edited-700-01"), "mine\n");
    }
}

#[test]
fn the_ledger_names_the_snapshot_and_another_one_is_refused() {
    let stage = own_stage();
    ok(&stage, "patchadd -R @ROOT@ delivered/700-01");
    Patch::of("800-01", Package::new("ACMEweb").file("bin/other", 0o755, "other\n")).directory(&stage);
    ok(&stage, "patchadd -R @ROOT@ delivered/800-01");
    let snapshot = stage.at(&format!("{SAVE}/snapshot/undo.gz"));
    let ledger = stage.text("/var/sadm/patchadm/ledger/ACMEweb");
    let line: serde_json::Value = serde_json::from_str(ledger.lines().next().unwrap()).unwrap();
    let digest = |path: &Path| format!("b3:{}", patchadm_rootfs::Digest::of(&fs::read(path).unwrap()));
    assert_eq!(line["snapshot"], digest(&snapshot));
    assert_eq!(line["undo"], digest(&stage.at(&format!("{SAVE}/undo"))), "that is what the scripts made");

    let good = fs::read(&snapshot).unwrap();
    let mut other = good.clone();
    let last = other.len() - 20;
    other[last] ^= 1;
    for bad in [Some(other), None] {
        match &bad {
            Some(bytes) => fs::write(&snapshot, bytes).unwrap(),
            None => fs::remove_file(&snapshot).unwrap(),
        }
        let before = stage.everything();
        // With several patches, none of them is touched either.
        for ids in ["700-01", "800-01 700-01"] {
            let (code, said) = run(&stage, &format!("patchrm -R @ROOT@ {ids}"));
            assert!(code != 0 && said.contains("snapshot/undo.gz"), "{code} {said}");
            assert_same(&stage.everything(), &before);
        }
        let (code, said) = run(&stage, "check --contents -R @ROOT@");
        assert!(code != 0 && said.contains("snapshot/undo.gz"), "{code} {said}");
        assert_same(&stage.everything(), &before);
    }
    fs::write(&snapshot, &good).unwrap();
    ok(&stage, "patchrm -R @ROOT@ 800-01 700-01");
    assert!(!stage.at("/var/sadm/patchadm/ledger/ACMEweb").exists());
}

#[test]
fn what_scripts_did_is_known_to_later_patches_from_the_snapshot() {
    for has_list in [true, false] {
        let stage = own_stage();
        ok(&stage, "patchadd -R @ROOT@ delivered/700-01");
        let list = stage.at(&format!("{SAVE}/snapshot/undo.paths"));
        assert!(list.exists());
        if !has_list {
            fs::remove_file(list).unwrap();
        }
        // The delivered bytes with another time: the digest shows that nobody edited the file.
        fs::write(stage.at("/opt/ACMEweb/new/dir/tool"), "tool\n").unwrap();
        let tool = Package::new("ACMEweb").file("new/dir/tool", 0o755, "another tool\n");
        Patch::of("800-01", tool).directory(&stage);
        let said = ok(&stage, "patchadd -R @ROOT@ delivered/800-01");
        assert!(said.contains("overlap with 700-01, which is not related"), "{said}");
        assert!(!said.contains("differs from its record"), "{said}");
        assert!(!stage.at("/opt/ACMEweb/new/dir/tool.edited-800-01").exists());

        let before = stage.everything();
        let (code, said) = run(&stage, "patchrm -R @ROOT@ 700-01");
        assert!(code == 6 && said.contains("800-01") && said.contains("/opt/ACMEweb/new"), "{code} {said}");
        assert_same(&stage.everything(), &before);
        ok(&stage, "check --contents -R @ROOT@ 800-01");
        ok(&stage, "patchrm -R @ROOT@ 800-01 700-01");
    }
}

#[test]
fn a_patch_that_went_before_is_not_taken_back_under_what_scripts_delivered_again() {
    let stage = own_stage();
    let same =
        Package::new("ACMEweb").file("bin/httpd", 0o755, "second httpd\n").file("bin/other", 0o755, "o\n");
    Patch::of("600-01", same).directory(&stage);
    ok(&stage, "patchadd -R @ROOT@ delivered/600-01");
    ok(&stage, "patchadd -R @ROOT@ delivered/700-01");
    let before = stage.everything();
    let (code, said) = run(&stage, "patchrm -R @ROOT@ 600-01");
    assert!(code == 6 && said.contains("700-01") && said.contains("/bin/httpd"), "{code} {said}");
    assert_same(&stage.everything(), &before);
    ok(&stage, "patchrm -R @ROOT@ 700-01");
    ok(&stage, "patchrm -R @ROOT@ 600-01");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "first httpd\n");
}

/// A link to a directory where the patch has a directory: the link belongs to no package, or to another one.
#[test]
fn a_link_that_leads_to_a_directory_stays_whoever_applies_and_backs_out() {
    let mixtures = [("auto", "auto"), ("auto", "run"), ("native", "run")];
    for (is_owned, (adds, removes)) in
        [false, true].into_iter().flat_map(|owned| mixtures.map(|way| (owned, way)))
    {
        let way = format!("owned: {is_owned}, {adds}, {removes}");
        let stage = own_stage_with(|package| package.directory("data").file("data/x", 0o644, "x\n"));
        stage.directory("/opt/store");
        stage.mode("/opt/store", 0o711);
        if is_owned {
            let other =
                Package::new("ACMEother").param("BASEDIR", "/opt/ACMEweb").symlink("data", "../store");
            other.write(&stage.beside("other"));
            ok(&stage, &format!("pkgadd -n -R @ROOT@ -d {} all", stage.beside("other").display()));
        } else {
            stage.symlink("/opt/ACMEweb/data", "../store");
        }
        // the user of a command here owns the root
        ok(&stage, "pkgchk -R @ROOT@ ACMEweb");
        let before = state(&stage, "ACMEweb");
        if adds == "native" {
            let native = Package::new("ACMEweb").directory("data").file("data/x", 0o644, "x\n");
            Patch::of("701-01", native).directory(&stage);
            ok(&stage, "patchadd -R @ROOT@ delivered/701-01");
        } else {
            ok(&stage, "patchadd -R @ROOT@ delivered/700-01");
        }
        let link = fs::read_link(stage.at("/opt/ACMEweb/data")).unwrap();
        assert_eq!(
            (link.as_path(), stage.text("/opt/store/x").as_str()),
            (Path::new("../store"), "x\n"),
            "{way}"
        );
        let id = if adds == "native" { "701-01" } else { ID };
        ok(&stage, &format!("patchrm --scripts {removes} -R @ROOT@ {id}"));
        assert_as_before(&state(&stage, "ACMEweb"), &before);
    }
}
