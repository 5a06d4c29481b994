//! Names and type changes that the path lists of classic scripts cannot express: with `--scripts run`, a patch has the
//! same result as natively, or is refused before any change, with a hint.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use flate2::read::MultiGzDecoder;

use crate::sandbox::Sandbox;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

const BUILD: &str = "build --id 900-01 --from old --to new -o built --pkg ACMEt --arch all --base-version 1 \
                     --basedir /opt/T --owner root:root";

/// Creates the old tree and the new one.
pub(crate) type Trees = fn(&Path, &Path);

/// Like [`two_trees`], with a sandbox that runs the commands.
fn stage(trees: Trees) -> Option<(Scenario, Sandbox)> {
    let stage = two_trees(trees);
    let sandbox = Sandbox::new(&stage.beside(""))?;
    Some((stage, sandbox))
}

/// A root with the old software, and the patch to the new one.
pub(crate) fn two_trees(trees: Trees) -> Scenario {
    let stage = Scenario::new();
    let (old, new) = (stage.beside("old"), stage.beside("new"));
    for tree in [&old, &new] {
        fs::create_dir_all(tree.join("bin")).unwrap();
    }
    fs::write(old.join("c"), "before\n").unwrap();
    fs::write(new.join("c"), "after\n").unwrap();
    trees(&old, &new);
    let dated = "find old new -exec touch -h -d 2026-01-01 {} + && mkdir root/opt && cp -a old root/opt/T";
    let done = Command::new("sh").args(["-c", dated]).current_dir(stage.beside("")).status();
    assert!(done.unwrap().success());
    stage.directory("/var/tmp");
    let adopt = "adopt --pkg ACMEt --pkg-version 1 --dir @ROOT@/opt/T --arch all --basedir /opt/T -R @ROOT@";
    for line in [adopt, BUILD] {
        let run = stage.run(line);
        assert_eq!(run.code, 0, "{line}: {}", run.stderr);
    }
    stage
}

pub(crate) fn software(stage: &Scenario) -> Tree {
    Tree::of(&stage.at("/opt/T"), &[])
}

fn nested(_: &Path, new: &Path) {
    fs::create_dir_all(new.join("l/deep")).unwrap();
    fs::write(new.join("l/deep/f"), "f\n").unwrap();
    symlink("deep", new.join("l/s")).unwrap();
}

const TURNING: [(&str, Trees); 3] = [
    ("a link that leads nowhere", |old, new| {
        symlink("nowhere", old.join("l")).unwrap();
        nested(old, new);
    }),
    ("a link to a directory", |old, new| {
        symlink("bin", old.join("l")).unwrap();
        nested(old, new);
    }),
    ("a link to a file", |old, new| {
        symlink("c", old.join("l")).unwrap();
        nested(old, new);
    }),
];

#[test]
fn a_link_becomes_a_directory_with_scripts_as_it_does_natively() {
    for (what, trees) in TURNING {
        let mut after = Vec::new();
        for engine in ["native", "run"] {
            let Some((stage, sandbox)) = stage(trees) else { return };
            let before = software(&stage);
            let (code, said) = sandbox.run(&stage, &format!("patchadd --scripts {engine} -R @ROOT@ built"));
            assert_eq!(code, 0, "{what}, {engine}: {said}");
            after.push(software(&stage));
            let (code, said) = sandbox.run(&stage, "patchrm -R @ROOT@ 900-01");
            assert_eq!(code, 0, "{what}, {engine}: {said}");
            assert_same(&software(&stage), &before);
        }
        assert_same(&after[1], &after[0]);
    }
}

#[test]
fn a_run_with_scripts_that_fails_leaves_the_link_and_nothing_of_the_directory() {
    for (what, trees) in TURNING {
        let Some((stage, sandbox)) = stage(trees) else { return };
        let hook = stage.beside("built/postpatch");
        fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        let before = software(&stage);
        let (code, said) = sandbox.run(&stage, "patchadd --scripts run -R @ROOT@ built");
        assert!(code != 0 && !said.contains("internal error"), "{what}: {code} {said}");
        assert_same(&software(&stage), &before);
    }
}

const REFUSED: [(&str, Trees); 8] = [
    ("bin/a b has white space in its name", |old, new| {
        fs::write(old.join("bin/a b"), "1\n").unwrap();
        fs::write(new.join("bin/a b"), "2\n").unwrap();
    }),
    ("bin/a\\tb has white space in its name", |_, new| fs::write(new.join("bin/a\tb"), "2\n").unwrap()),
    ("bin/a\\nb has white space in its name", |_, new| fs::write(new.join("bin/a\nb"), "2\n").unwrap()),
    ("a\\nb is a symbolic link with a line feed in its name", |old, _| {
        symlink("c", old.join("a\nb")).unwrap();
    }),
    ("d is a directory, which a class action script cannot replace with a file", |old, new| {
        fs::create_dir(old.join("d")).unwrap();
        fs::write(old.join("d/f"), "1\n").unwrap();
        fs::write(new.join("d"), "2\n").unwrap();
    }),
    ("l becomes a directory, and the scripts of the patch would save", |old, new| {
        for tree in [old, new] {
            fs::create_dir(tree.join("d1")).unwrap();
            fs::write(tree.join("d1/f"), "1\n").unwrap();
        }
        symlink("d1", old.join("l")).unwrap();
        fs::create_dir(new.join("l")).unwrap();
        fs::write(new.join("l/f"), "2\n").unwrap();
    }),
    ("d becomes a symbolic link, and the scripts of the patch would delete", |old, new| {
        deleted_below(old, new, "f");
        for tree in [old, new] {
            fs::write(tree.join("bin/f"), "2\n").unwrap();
        }
    }),
    ("bin/deep behind it for", |old, new| {
        deleted_below(old, new, "deep/f");
        fs::create_dir(new.join("bin/deep")).unwrap();
        fs::write(new.join("bin/deep/f"), "it comes with the patch\n").unwrap();
    }),
];

/// Adds a directory with a file to the old tree, and replaces it with a link to another directory in the new one.
fn deleted_below(old: &Path, new: &Path, file: &str) {
    let at = old.join("d").join(file);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, "1\n").unwrap();
    symlink("bin", new.join("d")).unwrap();
}

const NOT_REFUSED: [(&str, Trees); 3] = [
    ("nothing of the name is behind the link", |old, new| deleted_below(old, new, "f")),
    ("what is behind the link goes, too", |old, new| {
        deleted_below(old, new, "f");
        fs::write(old.join("bin/f"), "2\n").unwrap();
    }),
    ("a link in a circle", |old, new| {
        fs::create_dir(old.join("d")).unwrap();
        fs::write(old.join("d/f"), "1\n").unwrap();
        symlink("d", new.join("d")).unwrap();
    }),
];

#[test]
fn a_directory_becomes_a_link_with_scripts_as_it_does_natively() {
    for (what, trees) in NOT_REFUSED {
        let mut after = Vec::new();
        for engine in ["native", "run"] {
            let Some((stage, sandbox)) = stage(trees) else { return };
            let before = software(&stage);
            let (code, said) = sandbox.run(&stage, &format!("patchadd --scripts {engine} -R @ROOT@ built"));
            assert_eq!(code, 0, "{what}, {engine}: {said}");
            after.push(software(&stage));
            let (code, said) = sandbox.run(&stage, "patchrm -R @ROOT@ 900-01");
            assert_eq!(code, 0, "{what}, {engine}: {said}");
            assert_same(&software(&stage), &before);
        }
        assert_same(&after[1], &after[0]);
    }
}

#[test]
fn what_goes_behind_a_new_link_goes_where_all_of_the_software_is_behind_one() {
    let Some((stage, sandbox)) = stage(NOT_REFUSED[1].1) else { return };
    fs::create_dir_all(stage.at("/srv")).unwrap();
    fs::rename(stage.at("/opt/T"), stage.at("/srv/T")).unwrap();
    symlink("../srv/T", stage.at("/opt/T")).unwrap();
    let (code, said) = sandbox.run(&stage, "plan --scripts run -R @ROOT@ built");
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_patch_that_is_applied_again_saves_nothing_and_looks_through_no_link() {
    let Some((stage, sandbox)) = stage(REFUSED[5].1) else { return };
    let (code, said) = sandbox.run(&stage, "patchadd --scripts native -R @ROOT@ built");
    assert_eq!(code, 0, "{said}");
    fs::remove_dir_all(stage.at("/opt/T/l")).unwrap();
    symlink("d1", stage.at("/opt/T/l")).unwrap();
    let (code, said) = sandbox.run(&stage, "patchadd -u --scripts run -R @ROOT@ built");
    assert_eq!(code, 0, "{said}");
}

in_parts!(what_scripts_cannot_be_told_of_is_refused_before_the_change_and_goes_in_natively, refuse, 2);

fn refuse(part: usize, parts: usize) {
    for (why, trees) in REFUSED.into_iter().skip(part).step_by(parts) {
        let Some((stage, sandbox)) = stage(trees) else { return };
        let before = stage.everything();
        for verb in ["plan", "add", "patchadd"] {
            let (code, said) = sandbox.run(&stage, &format!("{verb} --scripts run -R @ROOT@ built"));
            assert_eq!(code, if verb == "patchadd" { 10 } else { 3 }, "{why}, {verb}: {said}");
            assert!(said.contains(why) && !said.contains("internal error"), "{why}, {verb}: {said}");
            // The classic command prints no next step.
            assert_eq!(said.contains("--scripts native"), verb != "patchadd", "{why}, {verb}: {said}");
            assert_same(&stage.everything(), &before);
        }
        let software_before = software(&stage);
        for line in ["patchadd --scripts native -R @ROOT@ built", "patchrm -R @ROOT@ 900-01"] {
            let (code, said) = sandbox.run(&stage, line);
            assert_eq!(code, 0, "{why}, {line}: {said}");
        }
        assert_same(&software(&stage), &software_before);
    }
}

/// Follows the advice about such a patch.
pub(crate) fn advised() {
    let Some((stage, sandbox)) = stage(REFUSED[0].1) else { return };
    let (code, said) = sandbox.run(&stage, "add --scripts run -R @ROOT@ built");
    assert!(code == 3 && said.contains("use `--scripts native`"), "{said}");
    let (code, said) = sandbox.run(&stage, "add --scripts native -R @ROOT@ built");
    assert_eq!(code, 0, "{said}");
}

#[test]
fn the_snapshot_beside_an_archive_of_scripts_has_no_line_for_each_patch_before_it() {
    let Some((stage, sandbox)) = stage(|_, _| {}) else { return };
    let ids = ["901-01", "902-01", "903-01", "904-01"];
    for id in ids {
        fs::write(stage.beside("new/c"), format!("as of {id}\n")).unwrap();
        let build = BUILD.replace("900-01", id).replace("-o built", &format!("-o {id}"));
        stage.run(&build).ok();
        let (code, said) = sandbox.run(&stage, &format!("patchadd --scripts run -R @ROOT@ {id}"));
        assert_eq!(code, 0, "{said}");
    }
    for id in &ids[1..] {
        let snapshot = stage.at(&format!("/var/sadm/pkg/ACMEt/save/{id}/snapshot/undo.gz"));
        let mut stream = Vec::new();
        MultiGzDecoder::new(fs::File::open(snapshot).unwrap()).read_to_end(&mut stream).unwrap();
        let lines = stream.windows(14).filter(|window| window == b"-01=Installed:").count();
        assert_eq!(lines, 1, "{id} saved the pkginfo without the lines that others have");
    }
    let before = stage.text("/var/sadm/pkg/ACMEt/pkginfo");
    let (code, said) = sandbox.run(&stage, "patchrm -R @ROOT@ 904-01");
    assert_eq!(code, 0, "{said}");
    let lines = |text: &str| text.lines().filter(|line| line.starts_with("PATCH_INFO_90")).count();
    assert_eq!(lines(&stage.text("/var/sadm/pkg/ACMEt/pkginfo")), lines(&before));
}
