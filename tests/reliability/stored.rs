//! Stories of undo data as files, and of undo data that is rewritten in another form. All their names contain the words
//! *old files* or *repack*.

use patchadm_changeset::plan::UndoFormat;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::reliability::stories::{Command, Story, Told, another_package};
use crate::scenario::Scenario;

/// The stories of one file system, without exchanged directories.
pub(crate) const STORED: [Told; 17] = [
    || repacked("repack old files as gz", "files", UndoFormat::Gzip),
    || repacked("repack old files as Z", "files", UndoFormat::Compress),
    || repacked("repack old files as none", "files", UndoFormat::Plain),
    || repacked("repack gz as Z", "gz", UndoFormat::Compress),
    || repacked("repack Z as gz", "Z", UndoFormat::Gzip),
    || repacked("repack Z as none", "Z", UndoFormat::Plain),
    || repacked("repack none as gz", "none", UndoFormat::Gzip),
    || repacked("repack none as Z", "none", UndoFormat::Compress),
    || middle("back out in the middle, old files below an archive", ["files", "gz", "files"]),
    || middle("back out in the middle, an archive below old files", ["none", "files", "Z"]),
    one_run,
    one_run_undone,
    revision,
    revision_backed_out,
    undone,
    package_removed,
    package_updated,
];

/// The stories in which a whole directory is exchanged.
pub(crate) const STORED_BY_EXCHANGE: [Told; 2] = [exchanged, exchanged_back];

/// The package that is patched: a file with two names, a set-id program, something that goes.
fn package() -> Package {
    Package::new("ACMEweb")
        .directory("share")
        .file("bin/httpd", 0o755, "first httpd\n".repeat(90))
        .link("bin/httpd.again", "httpd")
        .file("bin/su", 0o4755, "first su\n")
        .file("share/gone", 0o640, "gone\n")
        .symlink("share/current", "v1")
}

/// A patch with every kind of change to an old file.
fn first() -> Patch {
    let changed = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "second httpd\n".repeat(80))
        .link("bin/httpd.again", "httpd")
        .file("bin/su", 0o4755, "second su\n")
        .file("bin/new", 0o755, "new\n")
        .symlink("share/current", "v2");
    Patch::of("100-01", changed.deletes(&["share/gone"]))
}

/// The next patch, over some of the same files, with this id.
fn next(id: &str) -> Patch {
    let changed = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "third httpd\n".repeat(70))
        .link("bin/httpd.again", "httpd")
        .file("bin/su", 0o4755, "third su\n")
        .file("bin/new", 0o755, "newer\n")
        .file("share/gone", 0o600, "is back\n");
    Patch::of(id, changed)
}

/// A root with the package, whose policy keeps old files.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.file("/etc/patchadm/policy", "undo_format=files\n");
    stage.file("/var/sadm/install/admin/default", NOCHECK);
    stage.install(&package());
    stage
}

/// Applies a patch with undo data in this form.
fn add(stage: &Scenario, form: &str, patch: &Patch) {
    let at = patch.directory(stage);
    stage.run(&format!("add --undo-format {form} -R @ROOT@ {}", at.display())).ok();
}

/// The undo data of two patches that share files is rewritten.
fn repacked(name: &'static str, from: &str, to: UndoFormat) -> Story {
    let stage = stage();
    add(&stage, from, &first());
    add(&stage, from, &next("200-01"));
    let ids = ["100-01", "200-01"].map(str::to_owned);
    Story::of(name, stage, Command::Repack(ids.to_vec(), to))
}

/// A patch is backed out from under two others, each with its own form of undo data.
fn middle(name: &'static str, forms: [&str; 3]) -> Story {
    let stage = stage();
    let files = |text: &str, mode| {
        let package = Package::new("ACMEweb").file("bin/su", 0o4755, format!("{text} su\n"));
        package.file("share/gone", mode, format!("{text}\n"))
    };
    let httpd = |text: &str| {
        let package = files(text, 0o644).file("bin/httpd", 0o755, format!("{text} httpd\n").repeat(60));
        package.link("bin/httpd.again", "httpd")
    };
    add(&stage, forms[0], &Patch::of("100-01", httpd("second").file("bin/new", 0o755, "new\n")));
    add(&stage, forms[1], &Patch::of("200-01", httpd("third")));
    add(&stage, forms[2], &Patch::of("300-01", files("fourth", 0o600)));
    Story::of(name, stage, Command::BackOut(vec!["100-01".to_owned()]))
}

/// Two patches that can be one run: the state between them never exists.
fn of_one_run() -> [Patch; 2] {
    let changed = |text: &str| {
        let package = Package::new("ACMEweb").file("bin/su", 0o4755, format!("{text} su\n"));
        package.file("bin/new", 0o755, format!("{text} new\n"))
    };
    let first = Patch::of("100-01", changed("second").deletes(&["share/gone"]));
    [first, Patch::of("200-01", changed("third").file("share/gone", 0o600, "is back\n"))]
}

/// The patches of one run share files.
pub(crate) fn one_run() -> Story {
    let stage = stage();
    let patches = of_one_run().map(|patch| patch.directory(&stage));
    let act = Command::Apply { patches: patches.to_vec(), again: false };
    Story::of("apply two as one run and keep the old files", stage, act)
}

/// Such a run is undone.
fn one_run_undone() -> Story {
    let stage = stage();
    let [one, two] = of_one_run().map(|patch| patch.directory(&stage).display().to_string());
    stage.run(&format!("add -R @ROOT@ {one} {two}")).ok();
    Story::of("undo one run by old files", stage, Command::Undo)
}

/// A later revision: the undo data of the one before is marked.
pub(crate) fn revision() -> Story {
    let stage = stage();
    add(&stage, "files", &first());
    let patches = vec![next("100-02").directory(&stage)];
    Story::of("apply a revision and keep the old files", stage, Command::Apply { patches, again: false })
}

/// The later revision is backed out: the one before has its undo data again.
fn revision_backed_out() -> Story {
    let stage = stage();
    add(&stage, "files", &first());
    add(&stage, "files", &next("100-02"));
    Story::of("back out a revision by old files", stage, Command::BackOut(vec!["100-02".to_owned()]))
}

/// The last run is undone, over another one whose undo data is an archive.
fn undone() -> Story {
    let stage = stage();
    add(&stage, "gz", &first());
    add(&stage, "files", &next("200-01"));
    Story::of("undo by old files", stage, Command::Undo)
}

/// A package is removed with its patches and their undo data.
fn package_removed() -> Story {
    let stage = stage();
    add(&stage, "files", &first());
    Story::of("pkgrm with old files", stage, Command::Remove(vec!["ACMEweb".to_owned()]))
}

/// Another version of a package replaces its patches.
fn package_updated() -> Story {
    let stage = stage();
    stage.install(&another_package());
    add(&stage, "files", &first());
    let spool = stage.beside("updates");
    package().param("VERSION", "2.0").file("bin/httpd", 0o755, "another httpd\n").write(&spool);
    let act = Command::Update { spool, packages: vec!["ACMEweb".to_owned()] };
    Story::of("pkgadd --update with old files", stage, act)
}

/// Changes become visible at once, in a directory with old files.
fn exchanged() -> Story {
    let stage = stage();
    let patches = vec![first().directory(&stage)];
    let act = Command::Apply { patches, again: false };
    let act = Command::Exchange("/opt/ACMEweb", Box::new(act));
    Story::of("apply by exchange and keep the old files", stage, act)
}

/// The backout by exchange.
fn exchanged_back() -> Story {
    let stage = stage();
    add(&stage, "files", &first());
    let act = Command::BackOut(vec!["100-01".to_owned()]);
    Story::of("back out by exchange by old files", stage, Command::Exchange("/opt/ACMEweb", Box::new(act)))
}
