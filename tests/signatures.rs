//! Signed patches: applied when their signature is trusted, refused otherwise, whatever was changed in them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::delivery::{Patch, archive};
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::{Run, Scenario};

/// The forms that a patch is delivered in; the first is a directory.
pub(crate) const FORMS: [&str; 9] =
    ["", ".ds", ".tar", ".tar.gz", ".tar.Z", ".tar.bz2", ".tar.xz", ".ds.zst", ".zip"];

/// A file that the real tools made.
pub(crate) fn testdata(name: &str) -> String {
    format!("{}/testdata/signatures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A root that demands signatures and trusts the key of the cases.
fn stage(policy: &str) -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    stage.file("/etc/patchadm/policy", format!("signature={policy}\n"));
    stage.run(&format!("key trust -R @ROOT@ {} --name build", testdata("plain.pub"))).ok();
    stage
}

fn patch() -> Patch {
    Patch::of(
        "100-01",
        Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").file("bin/new", 0o755, "new\n"),
    )
    .beside("README.100-01", "read me\n")
}

fn sign(stage: &Scenario, target: &Path) {
    stage.run(&format!("sign --key {} {}", testdata("plain.sec"), target.display())).ok();
}

fn add(stage: &Scenario, at: &Path) -> Run {
    stage.run(&format!("add -R @ROOT@ {}", at.display()))
}

/// The signed patch in a form; a single file has a detached signature.
pub(crate) fn signed(stage: &Scenario, form: &str) -> PathBuf {
    let directory = patch().directory(stage);
    let at = if form.is_empty() { directory } else { archive(&directory, form) };
    sign(stage, &at);
    at
}

#[test]
fn a_trusted_patch_is_applied_in_every_form_and_its_signature_is_kept() {
    for form in FORMS {
        let stage = stage("require");
        let at = signed(&stage, form);
        let text = stage.run(&format!("add --json -R @ROOT@ {}", at.display())).ok();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let signature = &document["patches"][0]["signature"];
        assert_eq!((&signature["state"], &signature["name"]), (&"trusted".into(), &"build".into()), "{form}");
        assert_eq!(signature["form"], if form.is_empty() { "members" } else { "file" });
        assert_eq!(signature["time"], "2026-11-20T07:00:00Z");
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "two\n");
        let manifest = stage.text("/var/sadm/patch/100-01/MANIFEST");
        assert!(manifest.contains("# patch 100-01\n"), "{manifest}");
        assert!(stage.at("/var/sadm/patch/100-01/MANIFEST.minisig").exists());
        let shown = stage.run("show -R @ROOT@ 100-01").ok();
        let words = "Signature: trusted, by key 7802F643AC6161C8 (build), 2026-11-20 07:00";
        assert!(shown.contains(words), "{shown}");
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        assert!(!stage.at("/var/sadm/patch/100-01").exists());
    }
}

#[test]
fn an_archive_of_a_signed_directory_is_signed() {
    for form in [".tar", ".tar.gz", ".zip"] {
        let stage = stage("require");
        let at = archive(&signed(&stage, ""), form);
        add(&stage, &at).ok();
        assert_eq!(stage.text("/opt/ACMEweb/bin/new"), "new\n");
    }
}

#[test]
fn what_no_key_signed_is_refused_or_told_as_the_policy_says() {
    for (policy, options, code) in [
        ("require", "", 3),
        ("warn", "", 0),
        ("require", "--signature off", 0),
        ("off", "--signature require", 3),
    ] {
        let stage = stage(policy);
        let at = patch().directory(&stage);
        let run = stage.run(&format!("add {options} -R @ROOT@ {}", at.display()));
        assert_eq!(run.code, code, "{policy} {options}: {run:?}");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(
            said.contains("is not signed"),
            options != "--signature off",
            "{policy} {options}: {said}"
        );
    }
    let stage = stage("require");
    let at = patch().directory(&stage);
    let said = add(&stage, &at).fails(3);
    assert!(said.contains("`patchadm sign --key FILE PATCH`") && said.contains("--allow-unsigned"), "{said}");
    assert!(!said.contains("key trust"), "{said}");
    assert!(stage.run(&format!("patchadd -R @ROOT@ {}", at.display())).fails(41).contains("is not signed"));
    stage.run(&format!("patchadd -n -R @ROOT@ {}", at.display())).ok();
    let history = stage.text("/var/sadm/patchadm/history");
    let told = "\"signature\":{\"state\":\"unchecked\",\"key\":null,\"name\":null,\"time\":null,\"form\":null,\
                \"policy\":\"off\"}";
    assert!(history.contains(told), "{history}");
}

/// A script of the patch exchanges its own package during the apply: the staged bytes are not the digested ones.
#[test]
fn a_source_that_is_exchanged_after_the_check_is_refused_before_the_switch() {
    for (form, exchange) in [
        ("", "printf 'three\\n' >$0.dir/ACMEweb/reloc/bin/httpd"),
        (".tar", "printf 'x' | dd of=$0.file bs=1 seek=2000 conv=notrunc 2>/dev/null"),
        (".tar", "cp $0.file $0.copy; printf 'x' >>$0.copy; cat $0.copy >$0.file"),
    ] {
        let stage = stage("require");
        let place = stage.beside("exchanged");
        let exchange = exchange.replace("$0", &place.display().to_string());
        let patch = patch().beside("prepatch", &format!("#!/bin/sh\n{exchange}\n"));
        let directory = patch.directory(&stage);
        fs::set_permissions(directory.join("prepatch"), fs::Permissions::from_mode(0o755)).unwrap();
        let at = if form.is_empty() {
            let at = PathBuf::from(format!("{}.dir", place.display()));
            fs::rename(directory, &at).unwrap();
            at
        } else {
            let at = PathBuf::from(format!("{}.file", place.display()));
            fs::rename(archive(&directory, form), &at).unwrap();
            at
        };
        sign(&stage, &at);
        let before = Before::of(&stage);
        let said = add(&stage, &at).fails(3);
        assert!(said.contains("was changed") || said.contains("does not match its manifest"), "{said}");
        before.assert_again(&stage, form);
    }
}

/// Whoever may write to the directory of a patch may do so after its check, too. Scripts of the patch do it here.
#[test]
fn scripts_and_sources_of_class_scripts_in_a_directory_are_those_that_were_checked() {
    for is_signed in [true, false] {
        let stage = stage(if is_signed { "require" } else { "warn" });
        let (place, noted) = (stage.beside("delivered/100-01"), stage.beside("noted"));
        let (at, note) = (place.display(), noted.display());
        let prepatch = format!("#!/bin/sh\nprintf '#!/bin/sh\\necho theirs >{note}\\n' >{at}/postpatch\n");
        let package = Package::new("ACMEweb")
            .param("CLASSES", "none mine")
            .file("bin/httpd", 0o755, "two\n")
            .of_class("mine", 'f', "data", 0o644, "ours\n")
            .information("i.mine", "while read src dst; do cp $src $dst; done\n")
            .information("preinstall", format!("echo theirs >{at}/ACMEweb/reloc/data\n"));
        let patch = Patch::of("100-01", package)
            .beside("prepatch", &prepatch)
            .beside("postpatch", &format!("#!/bin/sh\necho ours >{note}\n"));
        patch.directory(&stage);
        let mode = |path: &Path, bits| fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
        mode(&place.join("prepatch"), 0o755);
        mode(&place.join("postpatch"), 0o755);
        if is_signed {
            sign(&stage, &place);
        } else {
            mode(&place, 0o777);
        }
        let run = add(&stage, &place);
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(fs::read_to_string(place.join("ACMEweb/reloc/data")).unwrap(), "theirs\n");
        assert!(fs::read_to_string(place.join("postpatch")).unwrap().contains("theirs"));
        assert_eq!(fs::read_to_string(&noted).unwrap(), "ours\n", "signed: {is_signed}");
        assert_eq!(stage.text("/opt/ACMEweb/data"), "ours\n", "signed: {is_signed}");
    }
}

#[test]
fn keys_may_be_named_and_a_keystore_of_certificates_is_none() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let at = signed(&stage, "");
    fs::create_dir(stage.beside("keys")).unwrap();
    fs::copy(testdata("plain.pub"), stage.beside("keys/plain.pub")).unwrap();
    fs::write(stage.beside("store.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let patchadd = |key: &str| stage.run(&format!("patchadd -k {key} -R @ROOT@ {}", at.display()));
    assert!(patchadd("store.pem").fails(1).contains("keystores of certificates"));
    patchadd("keys").ok();
    assert!(stage.at("/var/sadm/patch/100-01/MANIFEST").exists());
}

#[test]
fn a_key_that_is_revoked_or_unknown_is_named() {
    let stage = stage("require");
    let at = signed(&stage, "");
    stage.run("key revoke -R @ROOT@ 7802F643AC6161C8 --reason stolen").ok();
    let said = add(&stage, &at).fails(3);
    assert!(said.contains("signed by key 7802F643AC6161C8, which is revoked (stolen)"), "{said}");
    stage.run(&format!("sign --key {} {}", testdata("other.sec"), at.display())).ok();
    let said = add(&stage, &at).fails(3);
    assert!(said.contains("signed by key 64A2DF5753EE392F, which is unknown here"), "{said}");
}

#[test]
fn a_signed_patch_that_was_changed_is_refused_in_every_form() {
    for form in FORMS {
        let stage = stage("warn");
        let at = signed(&stage, form);
        let before = Before::of(&stage);
        let files = if form.is_empty() { members(&at) } else { vec![at.clone()] };
        for file in files {
            let good = fs::read(&file).unwrap();
            for place in places(good.len()) {
                let mut bad = good.clone();
                bad[place] ^= 1;
                fs::write(&file, &bad).unwrap();
                let run = add(&stage, &at);
                assert_eq!(run.code, 3, "{form} {} byte {place}: {run:?}", file.display());
            }
            fs::write(&file, good).unwrap();
        }
        before.assert_again(&stage, form);
        add(&stage, &at).ok();
    }
}

#[test]
fn a_file_more_or_less_is_refused_by_name() {
    let stage = stage("require");
    let at = signed(&stage, "");
    for more in
        ["more", "ACMEweb/install/preinstall", "ACMEweb/reloc/bin/more", "elsewhere/more", ".hidden/more"]
    {
        let file = at.join(more);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "more\n").unwrap();
        let said = add(&stage, &at).fails(3);
        assert!(said.contains(&format!("has {more}, which its manifest does not list")), "{said}");
        fs::remove_file(&file).unwrap();
    }
    let readme = at.join("README.100-01");
    fs::remove_file(&readme).unwrap();
    assert!(add(&stage, &at).fails(3).contains("is missing README.100-01, which its manifest lists"));
    std::os::unix::fs::symlink("ACMEweb/pkginfo", &readme).unwrap();
    assert!(add(&stage, &at).fails(3).contains("README.100-01 is a link or device"));
}

#[test]
fn a_package_of_a_signed_patch_is_not_signed_by_itself() {
    let stage = stage("require");
    let at = signed(&stage, "");
    let package = at.join("ACMEweb");
    let said = stage.run(&format!("sign --key {} {}", testdata("plain.sec"), package.display())).fails(3);
    assert!(said.contains("it is a package of a patch with a manifest; sign the patch"), "{said}");
    assert!(!package.join("MANIFEST").exists());
    add(&stage, &at).ok();
}

#[test]
fn the_manifest_of_another_patch_is_refused() {
    let stage = stage("require");
    let at = signed(&stage, "");
    let other =
        Patch::of("100-02", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n")).directory(&stage);
    sign(&stage, &other);
    for file in ["MANIFEST", "MANIFEST.minisig"] {
        fs::copy(other.join(file), at.join(file)).unwrap();
    }
    add(&stage, &at).fails(3);
    let manifest = fs::read_to_string(other.join("MANIFEST")).unwrap();
    let renamed = manifest.replace("# patch 100-02", "# patch 100-03");
    fs::write(other.join("MANIFEST"), renamed).unwrap();
    stage.run(&format!("sign --key {} {}/MANIFEST", testdata("plain.sec"), other.display())).ok();
    let said = add(&stage, &other).fails(3);
    assert!(said.contains("has the manifest of patch 100-03, but is 100-02"), "{said}");
}

/// Every file of a directory except the signature, whose untrusted comment is never read.
pub(crate) fn members(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(members(&path)),
            false if path.ends_with("MANIFEST.minisig") => {}
            false => files.push(path),
        }
    }
    files
}

/// Some places of a file, the first and the last among them.
fn places(length: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..4).map(|part| part * length / 4).chain([length - 1]).collect();
    places.dedup();
    places
}

#[test]
fn a_directory_of_keys_without_a_key_ends_no_trust() {
    let stage = stage("require");
    fs::remove_file(stage.at("/etc/patchadm/policy")).unwrap();
    let at = patch().directory(&stage);
    let empty = stage.beside("empty");
    fs::create_dir(&empty).unwrap();
    let refused = |options: &str, why: &str| {
        let before = stage.everything();
        let said = stage.run(&format!("add -R @ROOT@ {options} {}", at.display())).fails(3);
        assert!(said.contains(why), "{why}: {said}");
        crate::tree::assert_same(&stage.everything(), &before);
    };
    refused(&format!("--keys {}", empty.display()), "the directory of trusted keys, has no key: it is empty");
    refused(&format!("--keys {}/none", empty.display()), "none does not exist, and was named");
    let key = stage.beside("release.pub");
    fs::write(&key, b"a key").unwrap();
    refused(&format!("--keys {}", key.display()), "release.pub is not a directory; specify the directory");
    stage.file("/etc/patchadm/policy", "keys=/etc/patchadm/keyz\n");
    refused("", "/etc/patchadm/keyz does not exist, and was named");
    fs::remove_file(stage.at("/etc/patchadm/policy")).unwrap();

    let keys = stage.at("/etc/patchadm/keys");
    fs::rename(keys.join("build.pub"), keys.join("build.PUB")).unwrap();
    refused("", "build.PUB is not a valid key name (NAME.pub)");
    let said = stage.run("key list -R @ROOT@");
    assert!(
        said.code == 0 && said.stderr.contains("build.PUB is not a valid key name (NAME.pub)"),
        "{said:?}"
    );
    fs::remove_dir_all(&keys).unwrap();
    std::os::unix::fs::symlink("nowhere", &keys).unwrap();
    refused("", "keys: it is not a directory, and does not lead to one");
    fs::remove_file(&keys).unwrap();
    stage.file("/etc/patchadm/keys", "");
    refused("", "keys: it is not a directory, and does not lead to one");
    fs::remove_file(&keys).unwrap();
    stage.run(&format!("add -R @ROOT@ {}", at.display())).ok();
}

#[test]
fn a_package_of_a_patch_needs_the_signature_of_the_patch_where_signatures_are_required() {
    let stage = stage("require");
    stage.file("/var/sadm/install/admin/nocheck", "action=nocheck\nbasedir=default\ninstance=overwrite\n");
    let at = patch().directory(&stage);
    let line = format!("pkgadd -n -R @ROOT@ -a nocheck -d {} all", at.display());
    let before = stage.everything();
    let run = stage.run(&line);
    assert_eq!(run.code, 1, "{run:?}");
    let said = run.stdout + &run.stderr;
    assert!(said.contains("is part of a patch, and this root requires signatures"), "{said}");
    crate::tree::assert_same(&stage.everything(), &before);
    // The patch is applied whole.
    sign(&stage, &at);
    add(&stage, &at).ok();

    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    stage.file("/var/sadm/install/admin/nocheck", "action=nocheck\nbasedir=default\ninstance=overwrite\n");
    let at = patch().directory(&stage);
    let run = stage.run(&format!("pkgadd -n -R @ROOT@ -a nocheck -d {} all", at.display()));
    assert_eq!(run.code, 0, "{run:?}");
}
