//! Undo data as files that somebody has modified: the files beside it, in its directory and in its record are trusted
//! if they are as saved. Otherwise one line names them, nothing is changed, and nothing is lost.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use patchadm_rootfs::Digest;
use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::records::Before;
use crate::scenario::{Scenario, code_of, is_root};
use crate::undo_forms::{manifest, undo_directories, with_manifest};

const RECORD: &str = "/var/sadm/pkg/ACMEweb/save/100-01/undo.files";
const LEDGER: &str = "/var/sadm/patchadm/ledger/ACMEweb";

fn package(text: &str) -> Package {
    Package::new("ACMEweb")
        .file("bin/su", 0o4755, format!("su {text}\n"))
        .file("bin/tool", 0o755, format!("tool {text}\n"))
        .file("share/data", 0o644, format!("data {text}\n"))
}

/// A root whose policy keeps old files, with one patch; and what it was before that.
fn patched() -> (Scenario, Before) {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/default", NOCHECK);
    stage.install(&package("one"));
    stage.file("/etc/patchadm/policy", "undo_format=files\n");
    let before = Before::of(&stage);
    stage.patchadd("", &Patch::of("100-01", package("two"))).ok();
    (stage, before)
}

/// The stored file with these bytes.
fn stored(stage: &Scenario, bytes: &str) -> PathBuf {
    let files = undo_directories(stage).into_iter().flat_map(|run| fs::read_dir(run).unwrap());
    let mut files = files.map(|file| file.unwrap().path());
    files.find(|file| fs::read_to_string(file).is_ok_and(|text| text == bytes)).unwrap()
}

/// Asserts that the backout and `check --contents` name the fault in one line with these words, and change nothing.
#[track_caller]
fn assert_named(stage: &Scenario, what: &str, words: &str) {
    let before = stage.everything();
    for line in [
        "patchrm -R @ROOT@ 100-01",
        "remove -R @ROOT@ 100-01",
        "undo-data repack --undo-format gz -R @ROOT@ 100-01",
    ] {
        let run = stage.run(line);
        // An archive that the ledger does not know, or knows with another sum, is not trusted; any other is damaged.
        let untrusted = ["the ledger of the root does not know it", "it is not the archive that run"];
        let verb = if untrusted.iter().any(|words| run.stderr.contains(words)) { 3 } else { 1 };
        let said = run.fails(code_of(line, 4, verb));
        let named: Vec<&str> = said.lines().filter(|line| line.contains(words)).collect();
        assert_eq!(named.len(), 1, "{what}, {line}: {said}");
        assert_eq!(before.difference(&stage.everything()), "", "{what}, {line}");
    }
    assert_eq!(stage.run("check --contents -R @ROOT@ 100-01").code, 4, "{what}");
}

/// Asserts that the patch can be backed out, and that nothing is left of it.
#[track_caller]
fn assert_backed_out(stage: &Scenario, before: &Before, what: &str) {
    stage.run("check --contents -R @ROOT@ 100-01").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    before.assert_again(stage, what);
    assert_eq!(undo_directories(stage), Vec::<String>::new(), "{what}: nothing is left");
}

/// Changes the lines of the record, and binds it in the ledger again, as its owner could.
fn forge(stage: &Scenario, forge: impl Fn(&mut Vec<Value>)) {
    let old = fs::read(stage.at(RECORD)).unwrap();
    let text = manifest(&old);
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    forge(&mut lines);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    put(stage, &with_manifest(&old, text.as_bytes()));
}

/// Replaces the record with other bytes, and binds them in the ledger.
fn put(stage: &Scenario, new: &[u8]) {
    let old = fs::read(stage.at(RECORD)).unwrap();
    fs::write(stage.at(RECORD), new).unwrap();
    let ledger = stage.text(LEDGER).replace(&Digest::of(&old).to_string(), &Digest::of(new).to_string());
    let ledger = ledger.replace(&format!("\"size\":{}", old.len()), &format!("\"size\":{}", new.len()));
    fs::write(stage.at(LEDGER), ledger).unwrap();
}

/// Asserts that a forged record is named, and that the patch can be backed out once the owner has restored it.
#[track_caller]
fn assert_forged(what: &str, words: &str, change: impl Fn(&mut Vec<Value>)) {
    let (stage, before) = patched();
    let (record, ledger) = (fs::read(stage.at(RECORD)).unwrap(), stage.text(LEDGER));
    forge(&stage, change);
    assert_named(&stage, what, words);
    fs::write(stage.at(RECORD), record).unwrap();
    fs::write(stage.at(LEDGER), ledger).unwrap();
    assert_backed_out(&stage, &before, what);
}

/// The lines of a manifest that are about stored files.
fn of_files(lines: &mut [Value]) -> impl Iterator<Item = &mut Value> {
    lines.iter_mut().filter(|line| line.get("file").is_some())
}

#[test]
fn a_record_of_objects_that_is_cut_short_is_damaged() {
    let (stage, before) = patched();
    let (record, ledger) = (fs::read(stage.at(RECORD)).unwrap(), stage.text(LEDGER));
    for length in [0, 1, 20, record.len() / 2, record.len() - 1] {
        fs::write(stage.at(RECORD), &record[..length]).unwrap();
        assert_named(&stage, &format!("{length} bytes"), "undo.files");
        fs::write(stage.at(RECORD), &record).unwrap();
        // If the ledger names the shortened record, the sum at its end, which is about the same bytes, need not be
        // there.
        if length > record.len() / 2 {
            continue;
        }
        put(&stage, &record[..length]);
        assert_named(&stage, &format!("{length} bytes, bound"), "undo.files");
        fs::write(stage.at(LEDGER), &ledger).unwrap();
    }
    fs::write(stage.at(RECORD), record).unwrap();
    assert_backed_out(&stage, &before, "put back");
}

#[test]
fn a_record_with_paths_that_lead_out_is_damaged() {
    for out in ["../../../../etc/passwd", "0/../../../../etc/passwd", "0/..", "7/1", "0/a/b"] {
        assert_forged(out, "undo.files", |lines| {
            of_files(lines).next().unwrap()["file"] = json!(out);
        });
    }
    for out in ["/etc", "/", "/var/sadm/patchadm/undo/../../../../etc", "/etc/undo/1-0000000000000000"] {
        assert_forged(out, "undo.files", |lines| lines[0]["files"]["directories"][0] = json!(out));
    }
    for out in ["/../etc/passwd", "/opt/../../etc/passwd", "etc/passwd"] {
        assert_forged(out, "undo.files", |lines| of_files(lines).next().unwrap()["path"] = json!(out));
    }
}

#[test]
fn a_record_with_two_names_for_one_object_is_damaged() {
    assert_forged("twice", "undo.files", |lines| {
        let places: Vec<Value> = of_files(lines).map(|line| line["file"].clone()).collect();
        of_files(lines).nth(1).unwrap()["file"] = places[0].clone();
    });
}

#[test]
fn an_object_of_another_type_than_recorded_is_named() {
    type Put = fn(&Path);
    let others: [(&str, Put); 4] = [
        ("a directory", |at| fs::create_dir(at).unwrap()),
        ("a link", |at| symlink("/etc/passwd", at).unwrap()),
        ("a dead link", |at| symlink("nowhere", at).unwrap()),
        ("a pipe", |at| assert!(Command::new("mkfifo").arg(at).status().unwrap().success())),
    ];
    for (what, put) in others {
        let (stage, before) = patched();
        let at = stored(&stage, "data one\n");
        let kept = stage.beside("kept");
        fs::rename(&at, &kept).unwrap();
        put(&at);
        assert_named(&stage, what, "is not a plain file");
        let removed = if at.is_dir() { fs::remove_dir(&at) } else { fs::remove_file(&at) };
        removed.unwrap();
        fs::rename(&kept, &at).unwrap();
        assert_backed_out(&stage, &before, what);
    }
}

#[test]
fn an_object_that_was_changed_or_cut_short_is_named_also_where_its_size_and_time_are_as_before() {
    for (what, bytes) in
        [("changed", "DATA one\n"), ("cut short", "data"), ("longer", "data one\nmore\n"), ("empty", "")]
    {
        let (stage, before) = patched();
        let at = stored(&stage, "data one\n");
        let time = fs::metadata(&at).unwrap().modified().unwrap();
        fs::write(&at, bytes).unwrap();
        fs::File::open(&at).unwrap().set_modified(time).unwrap();
        let name = format!("/{} is not what was saved", at.file_name().unwrap().to_string_lossy());
        assert_named(&stage, what, &name);
        fs::write(&at, "data one\n").unwrap();
        fs::File::open(&at).unwrap().set_modified(time).unwrap();
        assert_backed_out(&stage, &before, what);
    }
}

#[test]
fn set_id_bits_that_were_put_back_by_hand_change_nothing() {
    for text in ["su one\n", "data one\n"] {
        let (stage, before) = patched();
        let at = stored(&stage, text);
        let shown = format!("/{}", at.strip_prefix(stage.root()).unwrap().display());
        stage.mode(&shown, 0o6755);
        let old = fs::metadata(&at).unwrap().ino();
        assert_backed_out(&stage, &before, text);
        let live = if text.starts_with("su") { "/opt/ACMEweb/bin/su" } else { "/opt/ACMEweb/share/data" };
        let now = fs::metadata(stage.at(live)).unwrap();
        assert_ne!(now.ino(), old, "{text}: nobody may have it open who ran it meanwhile");
    }
}

#[test]
fn an_undo_directory_of_another_run_is_named() {
    // The names in both are the same, and so are size and time of the files.
    let (stage, before) = patched();
    stage.patchadd("", &Patch::of("200-01", package("six"))).ok();
    exchange_directories(&stage, &before);
    let plain = |text: &str| Package::new("ACMEweb").file("bin/tool", 0o755, format!("tool {text}\n"));
    let stage = Scenario::with(&[plain("one")]);
    stage.file("/etc/patchadm/policy", "undo_format=files\n");
    let before = Before::of(&stage);
    for (id, text) in [("100-01", "two"), ("200-01", "six")] {
        stage.patchadd("", &Patch::of(id, plain(text))).ok();
    }
    exchange_directories(&stage, &before);
}

/// Exchanges the undo directories of two runs, and back: no file of one is restored as a file of the other.
fn exchange_directories(stage: &Scenario, before: &Before) {
    let directories = undo_directories(stage);
    let [one, other] = &directories[..] else { panic!("{directories:?}") };
    let exchange = || {
        let aside = stage.beside("aside");
        fs::rename(one, &aside).unwrap();
        fs::rename(other, one).unwrap();
        fs::rename(&aside, other).unwrap();
    };
    exchange();
    let tree = stage.tree();
    let said = stage.run("remove -R @ROOT@ 200-01").fails(1);
    assert_eq!(said.lines().filter(|line| line.contains("is not what was saved")).count(), 1, "{said}");
    assert_eq!(tree.difference(&stage.tree()), "");
    assert_eq!(stage.run("check --contents -R @ROOT@").code, 4);
    exchange();
    stage.run("remove -R @ROOT@ 200-01").ok();
    assert_backed_out(stage, before, "as they were");
}

#[test]
fn an_undo_directory_that_is_gone_is_named_and_what_is_put_back_is_believed() {
    let (stage, before) = patched();
    let directory = PathBuf::from(undo_directories(&stage).pop().unwrap());
    fs::rename(&directory, stage.beside("kept")).unwrap();
    assert_named(&stage, "gone", "is gone");
    fs::rename(stage.beside("kept"), &directory).unwrap();
    assert_backed_out(&stage, &before, "put back");
}

#[test]
fn what_lies_on_another_file_system_meanwhile_is_copied() {
    let (stage, before) = patched();
    let undo = stage.at("/var/sadm/patchadm/undo");
    let kept = stage.beside("kept");
    let copied = |from: &Path, to: &Path| {
        let from = from.join(".");
        Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success()
    };
    fs::create_dir(&kept).unwrap();
    assert!(copied(&undo, &kept));
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m,mode=711", "none"]).arg(&undo).output();
    if !is_root() || !mount.is_ok_and(|output| output.status.success()) {
        return crate::skipped("what lies on another file system is copied: may not mount");
    }
    let is_copied = copied(&kept, &undo);
    let said = stage.run("check --contents -R @ROOT@ 100-01");
    let run = stage.run("remove -R @ROOT@ 100-01");
    assert!(Command::new("umount").arg("-l").arg(&undo).status().unwrap().success());
    assert!(is_copied);
    assert_eq!((said.code, run.code), (0, 0), "{} {}", said.stderr, run.stderr);
    fs::remove_dir_all(undo).unwrap();
    before.assert_again(&stage, "from another file system");
}
