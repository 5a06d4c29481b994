//! Our patchrm restores every undo archive that the scenarios of the classic tools left.
//!
//! Base packages and patches are installed natively, then the classic archive replaces our own. After the backout,
//! software, `contents` and every other record are as before the patch. [`LOST`] lists everything that such an archive
//! cannot restore, and every entry there must occur.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::differences::{Explained, FoundInParts, assert_explained_in_parts};
use crate::goldens_of_packages::Stage;
use crate::packages::{Package, without_scripts};
use crate::records::records;
use crate::scenario::shared;
use crate::tree::Tree;

/// Archives that prove nothing about a backout: scenario, package, and the reason.
const LEFT_OUT: [(&str, &str, &str); 2] = [
    (
        "12-version-not-installed",
        "SUNWstuf",
        "the patch is for another version, and refused (observed defect 9)",
    ),
    ("14-datastream", "SUNWstux", "its installer took the objects of the other package for this one"),
];

/// Undo data of a patch, as a step of the classic tools left it.
pub(crate) struct Kept {
    pub(crate) scenario: String,
    /// The directory of the step.
    pub(crate) step: PathBuf,
    pub(crate) patch: String,
    /// Patches applied before it.
    pub(crate) before: Vec<String>,
    /// The save directories that have it, by package.
    pub(crate) packages: BTreeMap<String, PathBuf>,
}

/// All undo data in the goldens, without duplicates: a step keeps the unchanged undo data of the one before.
pub(crate) fn kept(goldens: &Path) -> Vec<Kept> {
    let mut found: Vec<Kept> = Vec::new();
    let mut known = BTreeSet::new();
    for scenario in entries(goldens) {
        let name = scenario.file_name().unwrap().to_str().unwrap().to_owned();
        let steps = entries(&scenario.join("out"));
        let steps = steps.into_iter().flat_map(|step| [step.join("apply"), step]);
        for step in steps.filter(|step| step.join("snap/pkg").is_dir()) {
            for package in entries(&step.join("snap/pkg")) {
                for save in entries(&package.join("save")) {
                    let Some(archive) = archive(&scenario, &save) else { continue };
                    let package = package.file_name().unwrap().to_str().unwrap();
                    let state = archive.file_name().unwrap().to_owned();
                    if known.insert((fs::read(&archive).unwrap(), state)) {
                        add(&mut found, &name, &step, package, &save);
                    }
                }
            }
        }
    }
    found
}

/// Adds a save directory, beside that of another package of the same patch if there is one.
fn add(found: &mut Vec<Kept>, scenario: &str, step: &Path, package: &str, save: &Path) {
    let patch = save.file_name().unwrap().to_str().unwrap().to_owned();
    if let Some(last) = found.last_mut().filter(|last| last.step == step && last.patch == patch) {
        last.packages.insert(package.to_owned(), save.to_owned());
        return;
    }
    let pkginfo = fs::read_to_string(step.join("snap/pkg").join(package).join("pkginfo")).unwrap();
    let list = pkginfo.lines().find_map(|line| line.strip_prefix("PATCHLIST=")).unwrap_or_default();
    let before = list.split(' ').take_while(|id| *id != patch).map(str::to_owned).collect();
    let packages = BTreeMap::from([(package.to_owned(), save.to_owned())]);
    found.push(Kept { scenario: scenario.to_owned(), step: step.to_owned(), patch, before, packages });
}

/// The entries of a directory, sorted; empty if there is no directory.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The archive that a save directory has or points to.
pub(crate) fn archive(scenario: &Path, save: &Path) -> Option<PathBuf> {
    let here = ["undo.Z", "obsolete.Z"].map(|name| save.join(name)).into_iter().find(|path| path.exists());
    let pointer = fs::read_to_string(save.join("remote")).unwrap_or_default();
    let elsewhere = pointer.lines().find_map(|line| line.strip_prefix("FIND_AT=@ROOT@/"));
    let elsewhere = elsewhere.map(|path| scenario.join("out").join(path)).filter(|path| path.exists());
    here.or(elsewhere)
}

/// A root as it was before the patch of `kept`.
pub(crate) fn before(kept: &Kept) -> Option<Stage> {
    before_in_form(kept, "")
}

/// Like [`before`], with another line in the policy.
fn before_in_form(kept: &Kept, line: &str) -> Option<Stage> {
    let stage = Stage::new("undo archives of the classic tools")?;
    stage.scenario.directory("/undo-archive");
    stage.scenario.file("/etc/patchadm/policy", format!("restricted=^R\n{line}"));
    let spool = stage.scenario.beside("spool");
    stage.add(&spool, "SUNWstuf");
    match &kept.scenario[..2] {
        "13" => edit(&stage),
        "14" => stage.add(&spool, "SUNWstux"),
        "21" => share(&stage, kept),
        _ => {}
    }
    // The stock scripts only record this requirement.
    if kept.before.iter().chain([&kept.patch]).any(|id| id == "103201-02") {
        apply(&stage, "103400-01", kept);
    }
    kept.before.iter().for_each(|id| apply(&stage, id, kept));
    Some(stage)
}

/// Adds the administrator's lines of scenario 13 to the one edited file that a package without scripts has.
fn edit(stage: &Stage) {
    let log = stage.scenario.at("/opt/SUNWstuf/etc/stuf.log");
    let text = fs::read_to_string(&log).unwrap() + "more log\n";
    fs::write(&log, text).unwrap();
    let touched = Command::new("touch").args(["-d", "@1795158237"]).arg(&log).status().unwrap();
    assert!(touched.success());
}

/// The package of scenario 21, which shares objects with the base package.
fn share(stage: &Stage, kept: &Kept) {
    let contents = kept.step.parent().unwrap().join("conflict-nocheck/snap/contents");
    let contents = fs::read_to_string(contents).unwrap();
    let line = contents.lines().find(|line| line.contains("share/shr")).unwrap();
    let mtime = line.split(' ').nth(8).unwrap().parse().unwrap();
    let data = (1..).map(|n| format!("shared line {n} abcdefghijklmnopqrstuvwxyz\n"));
    let mut data = data.take(12).collect::<String>().into_bytes();
    data.truncate(333);
    let package = ["share/data", "share/shr"].into_iter().fold(Package::new("SUNWshr"), |package, path| {
        package.content('f', path, 0o644, "root bin", mtime, &data)
    });
    let package = package
        .param("BASEDIR", "/opt/SUNWstuf")
        .line("share", "d none share 0755 root bin")
        .line("lib", "d none lib 0700 root sys")
        .symlink("lib/libstuf.so", "libother");
    package.write(&stage.scenario.beside("spool"));
    stage.add(&stage.scenario.beside("spool"), "SUNWshr");
}

/// Applies a patch of the goldens with our patchadd; the one of scenario 13 without its scripts and scripted classes.
pub(crate) fn apply(stage: &Stage, id: &str, kept: &Kept) {
    let patches = stage.goldens.join("pkgs");
    let patch = if kept.scenario.starts_with("13") {
        let spool = stage.scenario.beside(id);
        without_scripts(&patches.join(id).join("SUNWstuf"), &spool);
        spool
    } else {
        patches.join(format!("{id}.ds"))
    };
    let is_remote = kept.packages.values().any(|save| save.join("remote").exists());
    let options = if is_remote { "-B @ROOT@/undo-archive" } else { "" };
    let run = stage.scenario.run(&format!("patchadd {options} -R @ROOT@ {}", patch.display()));
    assert_eq!(run.code, 0, "{}: {}", kept.scenario, run.stderr);
}

/// Replaces our undo data with the classic undo data.
fn exchange(stage: &Stage, kept: &Kept) {
    for (package, theirs) in &kept.packages {
        let _ = fs::remove_file(stage.scenario.at(&format!("/var/sadm/patchadm/ledger/{package}")));
        let save = stage.scenario.at(&format!("/var/sadm/pkg/{package}/save/{}", kept.patch));
        fs::remove_dir_all(&save).unwrap();
        fs::create_dir(&save).unwrap();
        let archive = archive(&stage.goldens.join(&kept.scenario), theirs).unwrap();
        let bytes = fs::read(&archive).unwrap();
        let mut to = save.join(archive.file_name().unwrap());
        if let Ok(pointer) = fs::read_to_string(theirs.join("remote")) {
            let root = stage.scenario.root();
            fs::write(save.join("remote"), pointer.replace("@ROOT@", root.to_str().unwrap())).unwrap();
            to = root.join("undo-archive").join(&kept.patch).join(package).join("undo.Z");
            fs::remove_file(to.with_extension("gz")).unwrap();
        }
        fs::write(to, bytes).unwrap();
        if let Ok(text) = fs::read(theirs.join("obsoleted_by")) {
            fs::write(save.join("obsoleted_by"), text).unwrap();
        }
    }
}

/// The state that must be restored, line by line: columns of objects, lines of `contents`, contents of other records.
fn state(stage: &Stage) -> BTreeMap<String, String> {
    let columns = ["type", "mode", "owner", "group", "size", "bytes", "time", "links", "attributes"];
    let tree = Tree::of(&stage.scenario.root(), &["var"]);
    let paths = tree.paths();
    let objects = paths.split(' ').flat_map(|path| {
        let line = tree.line(path);
        let columns = columns.iter().zip(line.split('\t').map(str::to_owned).collect::<Vec<_>>());
        columns.map(move |(column, value)| (format!("{path}: {column}"), value)).collect::<Vec<_>>()
    });
    let mut state: BTreeMap<String, String> = objects.collect();
    for (path, text) in records(&stage.scenario.root()) {
        let lines = text.lines().map(|line| {
            let name = line.split([' ', '=', '\t']).next().unwrap();
            (format!("{path}: {name}"), line.to_owned())
        });
        state.extend(lines);
    }
    state
}

/// Differences after a backout: scenario, patch and property (`*` at the end is anything), and the reason.
const LOST: &[Explained] = &[
    ("*", "*", "var/sadm/pkg/SUNWstuf/save/pspool/*", PSPOOL),
    ("*", "*", "var/sadm/pkg/SUNWstuf/pkginfo: ACTIVE_OBSOLETES", EMPTIED),
    ("*", "*", "var/sadm/pkg/SUNWstuf/pkginfo: Obsoletes_label", EMPTIED),
    ("*", "*", "var/sadm/pkg/SUNWstuf/pkginfo: Patch_label", EMPTIED),
    (
        "*",
        "*",
        "var/sadm/pkg/SUNWstuf/pkginfo: LANG",
        "the root of the classic tools had it before the patch",
    ),
    ("*", "*", "var/sadm/pkg/SUNWstuf/pkginfo: STUF_ASKED", "a script of the base package asked for it"),
    (
        "05-superseded",
        "103201-02",
        "var/sadm/pkg/SUNWstuf/pkginfo: PSTAMP",
        "it was another one before 103400-01, which the classic tools did not require",
    ),
    (
        "08-deletes-newfiles",
        "103400-01",
        "opt/SUNWstuf/newdir: *",
        "directories that the patch made are not in such an archive (observed defect 4)",
    ),
    (
        "08-deletes-newfiles",
        "103400-01",
        "var/sadm/install/contents: /opt/SUNWstuf/newdir",
        "and their lines stay as well (observed defect 4)",
    ),
    ("13-edited-ev", "103500-01", "opt/SUNWstuf/bin/stuf: links", HARD_LINK),
    ("13-edited-ev", "103500-01", "opt/SUNWstuf/bin/stuf-hard: *", HARD_LINK),
    ("13-edited-ev", "103500-01", "var/sadm/install/contents: /opt/SUNWstuf/bin/stuf-hard", HARD_LINK),
    ("13-edited-ev", "103500-01", "opt/SUNWstuf/lib/libstuf.so: *", SYMLINK),
    ("13-edited-ev", "103500-01", "var/sadm/install/contents: /opt/SUNWstuf/lib/libstuf.so", SYMLINK),
    (
        "13-edited-ev",
        "103500-01",
        "var/sadm/install/contents: /opt/SUNWstuf/etc/stuf.log",
        "volatile files are saved as ordinary ones (observed defect 5)",
    ),
    (
        "13-edited-ev",
        "103500-01",
        "opt/SUNWstuf/etc/stuf.log.edited-103500-01: *",
        "our patchadd kept the edited file, and only our own archive says so",
    ),
    ("13-edited-ev", "103500-01", "opt/SUNWstuf/share/fifo: time", "a pkgmap has no time of a pipe"),
    ("21-shared-files", "103203-01", "var/sadm/install/contents: /opt/SUNWstuf/share", OWNERS),
    ("21-shared-files", "103203-01", "var/sadm/install/contents: /opt/SUNWstuf/share/data", OWNERS),
    ("16-script-fails", "103201-01", "opt/SUNWstuf/bin/stuf*", UNSAVED),
    ("16-script-fails", "103201-01", "var/sadm/install/contents: /opt/SUNWstuf/bin/stuf", UNSAVED),
];

const PSPOOL: &str = "the patch's own pkginfo, pkgmap and scripts stay in pspool (observed defect 10d)";
const EMPTIED: &str = "such an archive never says whether there was one, and an empty one says nothing";
const HARD_LINK: &str = "other names of a file are saved as files of their own, of root (observed defect 3)";
const SYMLINK: &str = "a symbolic link to a file is saved as a copy of that file (observed defect 2)";
const OWNERS: &str =
    "who installed an object last is named last, and such an archive never says who was last before";
const UNSAVED: &str = "the class action script that failed had not saved this file, and the archive lacks it";

in_parts!(undo_archives_of_the_classic_tools_bring_back_what_was_there, bring_back_by_default, 2);

fn bring_back_by_default(part: usize, parts: usize) {
    static FOUND: FoundInParts = Mutex::new((0, Vec::new()));
    bring_back("", part, parts, &FOUND);
}

in_parts!(they_bring_the_same_back_over_undo_data_that_is_files, bring_back_over_files, 2);

fn bring_back_over_files(part: usize, parts: usize) {
    static FOUND: FoundInParts = Mutex::new((0, Vec::new()));
    bring_back("undo_format=files\n", part, parts, &FOUND);
}

/// Restores a part of the archives, each on a root whose policy has this line, too.
fn bring_back(line: &str, part: usize, parts: usize, of_all: &FoundInParts) {
    let Some(goldens) = shared("undo archives of the classic tools", "goldens") else { return };
    let (mut found, mut restored) = (Vec::new(), 0);
    for mut kept in kept(&goldens).into_iter().skip(part).step_by(parts) {
        let is_out = |package: &str| LEFT_OUT.iter().any(|out| out.0 == kept.scenario && out.1 == package);
        let left_out: Vec<String> = kept.packages.keys().filter(|package| is_out(package)).cloned().collect();
        left_out.iter().for_each(|package| drop(kept.packages.remove(package)));
        if kept.packages.is_empty() {
            continue;
        }
        let Some(stage) = before_in_form(&kept, line) else { return };
        let expected = state(&stage);
        apply(&stage, &kept.patch, &kept);
        exchange(&stage, &kept);
        // If only a classic pointer in the root names the place of an archive, the caller has to name it, too.
        let is_remote = kept.packages.values().any(|theirs| theirs.join("remote").exists());
        let place = if is_remote { "-B @ROOT@/undo-archive " } else { "" };
        let run = stage.scenario.run(&format!("patchrm {place}-R @ROOT@ {}", kept.patch));
        assert_eq!(run.code, 0, "{}: {}", kept.step.display(), run.stderr);
        let after = state(&stage);
        restored += 1;
        for what in expected.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (expected.get(what), after.get(what));
            if was != is {
                let both = format!("was {was:?}\n  is  {is:?}");
                found.push((kept.scenario.clone(), kept.patch.clone(), what.clone(), both));
            }
        }
    }
    assert!(restored > 20 / parts, "{restored} archives");
    assert_explained_in_parts(found, LOST, parts, of_all);
}
