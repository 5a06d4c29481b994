//! `patchadm publish` of patches that are directories: they enter the depot as archives, and their signatures stay
//! valid.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::publish::{deliver_signed, depot, index, publish, publish_signed, secret_key, stage};
use crate::scenario::Scenario;

/// Makes a patch directory in the working directory.
fn directory(stage: &Scenario, name: &str, text: &str) -> PathBuf {
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, text))
        .beside("README.100-01", "Patch-ID# 100-01\nSynopsis: Web\n");
    let made = patch.write(&stage.beside("elsewhere"));
    let path = stage.beside("work").join(name);
    fs::rename(made, &path).unwrap();
    path
}

fn sign(stage: &Scenario, path: &std::path::Path) {
    stage.run(&format!("sign --key {} {}", secret_key(), path.display())).ok();
}

/// The archive of the one patch of the depot.
fn archive(stage: &Scenario) -> PathBuf {
    let index = index(stage);
    stage.beside("depot").join(&index.patches().next().unwrap().path)
}

#[test]
fn a_directory_is_published_as_an_archive_in_which_its_signature_stays_good() {
    let stage = stage();
    let path = directory(&stage, "100-01", "one\n");
    sign(&stage, &path);
    let manifest = fs::read(path.join("MANIFEST")).unwrap();
    let said = publish_signed(&stage).ok();
    assert!(said.contains("published version 1") && said.contains("added 100-01"), "{said}");
    let patch = index(&stage).patches().next().unwrap().clone();
    assert_eq!((patch.format.as_str(), patch.synopsis.as_str(), patch.files), ("tar", "Web", 1));
    assert!(patch.readme.is_some() && patch.manifest.is_none() && patch.signature.is_none());
    let out = stage.beside("out");
    fs::create_dir(&out).unwrap();
    tar::Archive::new(fs::File::open(archive(&stage)).unwrap()).unpack(&out).unwrap();
    assert_eq!(fs::read(out.join("100-01/MANIFEST")).unwrap(), manifest);
    // A root that requires signatures accepts it from the depot, and from the archive alone.
    stage.directory("/etc/patchadm/keys");
    fs::copy(secret_key().replace(".sec", ".pub"), stage.at("/etc/patchadm/keys/plain.pub")).unwrap();
    stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "zero\n"));
    stage.run("add -R @ROOT@ --signature require -M depot 100-01").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    let copy = stage.beside("copy.tar");
    fs::copy(archive(&stage), &copy).unwrap();
    stage.run("add -R @ROOT@ --signature require copy.tar").ok();
}

#[test]
fn the_same_directory_is_the_same_patch_wherever_and_whenever_it_is_copied() {
    let stage = stage();
    let path = directory(&stage, "web", "one\n");
    sign(&stage, &path);
    publish_signed(&stage).ok();
    let before = depot(&stage);
    let copy = stage.beside("work/another.tar");
    assert!(std::process::Command::new("cp").arg("-r").arg(&path).arg(&copy).status().unwrap().success());
    fs::remove_dir_all(&path).unwrap();
    fs::set_permissions(copy.join("README.100-01"), fs::Permissions::from_mode(0o600)).unwrap();
    let said = publish_signed(&stage).ok();
    assert!(said.contains("version 1 stays; nothing is new"), "{said}");
    assert_eq!(depot(&stage), before);
    deliver_signed(&stage, "200-01", "two\n");
    publish_signed(&stage).ok();
    assert_eq!(index(&stage).patches().len(), 2);
}

#[test]
fn a_directory_without_a_signature_is_named_and_taken_only_if_that_is_said() {
    let stage = stage();
    let path = directory(&stage, "100-01", "one\n");
    let run = publish_signed(&stage);
    assert_eq!(run.code, 3);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains("work/100-01"), "{said}");
    assert!(!stage.beside("depot").exists());
    publish(&stage, "--unsigned work depot").ok();
    sign(&stage, &path);
    // The signature is part of the bytes of the archive: another signature makes another revision.
    assert!(publish(&stage, "--unsigned work depot").fails(3).contains("with different bytes"));
}

#[test]
fn a_directory_that_is_not_what_was_signed_or_no_patch_is_refused() {
    let refused = |change: &dyn Fn(&PathBuf), code: i32, reason: &str| {
        let stage = stage();
        let path = directory(&stage, "100-01", "one\n");
        sign(&stage, &path);
        change(&path);
        let said = publish_signed(&stage).fails(code);
        assert!(said.contains(reason), "{reason}: {said}");
        let is_about_manifest = reason.contains("the patch: ") || reason.contains("is the manifest");
        assert_eq!(said.contains("delete its manifest"), is_about_manifest, "{said}");
        let begins =
            said.contains("\nhint: remove the named file if it does not belong to the patch, or restore");
        assert_eq!(begins, is_about_manifest, "{said}");
        assert!(!stage.beside("depot").exists(), "{reason}");
        if is_about_manifest {
            fs::remove_file(path.join("MANIFEST")).unwrap();
            sign(&stage, &path);
            publish_signed(&stage).ok();
        }
    };
    let readme = |path: &PathBuf| fs::write(path.join("README.100-01"), "another\n").unwrap();
    refused(&readme, 3, "MANIFEST does not match the patch: the checksum of README.100-01 differs");
    let more = |path: &PathBuf| fs::write(path.join("more"), "").unwrap();
    refused(&more, 3, "does not match the patch: it does not have more");
    let link = |path: &PathBuf| symlink("/etc/passwd", path.join("link")).unwrap();
    refused(&link, 1, "/link is neither a file nor a directory");
    let other = |path: &PathBuf| {
        let manifest = fs::read_to_string(path.join("MANIFEST")).unwrap();
        fs::write(path.join("MANIFEST"), manifest.replace("# patch 100-01", "# patch 100-02")).unwrap();
    };
    refused(&other, 3, "is the manifest of patch 100-02, not of 100-01");
    let signature = |path: &PathBuf| fs::write(path.join("MANIFEST.minisig"), "none\n").unwrap();
    refused(&signature, 3, "MANIFEST.minisig is not valid");
    let stage = stage();
    fs::create_dir(stage.beside("work/old")).unwrap();
    assert_ne!(publish_signed(&stage).code, 0);
    assert!(!stage.beside("depot").exists());
}
