//! `patchadm key` and `patchadm sign`: making, trusting and revoking keys, and signing patches.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::delivery::{Patch, archive};
use crate::hostile_inputs::let_write;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

/// A file that the real tools made.
fn testdata(name: &str) -> String {
    format!("{}/testdata/signatures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn patch() -> Patch {
    Patch::of("100-01", Package::new("ACMEweb").file("bin/new", 0o755, "new\n"))
}

/// Signs with the key of the test data that has no password.
fn sign(stage: &Scenario, target: &str) -> crate::scenario::Run {
    stage.run(&format!("sign --key {} {target}", testdata("plain.sec")))
}

#[test]
fn a_key_is_made_trusted_listed_and_revoked() {
    let stage = Scenario::new();
    stage.run("keygen -o @ROOT@/release --no-password").ok();
    let mode = fs::metadata(stage.at("/release.sec")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let said = stage.run("keygen -o @ROOT@/release --no-password").fails(3);
    assert!(said.contains("release.sec already exists"), "{said}");
    stage.run("key trust -R @ROOT@ @ROOT@/release.pub --bases 3000[0-9]* --expires 2027-12-31").ok();
    let said =
        stage.run("key trust -R @ROOT@ @ROOT@/release.pub --bases 3000[0-9]* --expires 2027-12-31").ok();
    assert!(said.contains("is already trusted"), "{said}");
    let said = stage.run("key list -R @ROOT@").ok();
    assert!(said.contains(" trusted  release, bases 3000[0-9]*, until 2027-12-31"), "{said}");
    let id = said.split(' ').next().unwrap().to_owned();
    let said = stage.run(&format!("key revoke -R @ROOT@ {id} --reason stolen")).ok();
    assert_eq!(said, format!("key {id} is revoked\n"));
    let said = stage.run("key list -R @ROOT@").ok();
    assert!(said.contains("revoked  release") && said.contains("(stolen)"), "{said}");
    let said = stage.run("key trust -R @ROOT@ @ROOT@/release.pub").fails(3);
    assert!(said.contains("is revoked"), "{said}");
}

#[test]
fn a_name_stands_for_one_key_and_a_key_may_get_other_rules() {
    let stage = Scenario::new();
    let trust = |words: &str| stage.run(&format!("key trust -R @ROOT@ {words}"));
    trust(&format!("{} --name build --roles patch", testdata("plain.pub"))).ok();
    let said = trust(&format!("{} --name build", testdata("signify.pub"))).fails(3);
    assert!(said.contains("the name build belongs to another key, 7802F643AC6161C8"), "{said}");
    assert_eq!(stage.text("/etc/patchadm/keys/build.rules"), "roles=patch\n");
    trust(&format!("{} --name build", testdata("plain.pub"))).ok();
    assert!(!stage.at("/etc/patchadm/keys/build.rules").exists());
    let said = trust(&format!("{} --name ../build", testdata("plain.pub"))).fails(2);
    assert!(said.contains("is not a name for a key"), "{said}");
    assert!(trust(&testdata("README")).fails(1).contains("it is not a public key of minisign or signify"));
}

#[test]
fn the_directory_of_the_keys_is_the_one_that_the_policy_names() {
    let stage = Scenario::new();
    stage.file("/etc/patchadm/policy", "keys=/srv/trusted\n");
    stage.run(&format!("key trust -R @ROOT@ {} --name build", testdata("plain.pub"))).ok();
    assert!(stage.at("/srv/trusted/build.pub").exists() && !stage.at("/etc/patchadm/keys").exists());
    stage.run("key revoke -R @ROOT@ 7802F643AC6161C8").ok();
    assert_eq!(stage.text("/srv/trusted/revoked"), "7802F643AC6161C8\n");
    let said = stage.run("key list -R @ROOT@").ok();
    assert!(said.contains("revoked  build"), "{said}");
}

#[test]
fn keys_that_others_may_write_are_not_believed() {
    let stage = Scenario::new();
    stage.run(&format!("key trust -R @ROOT@ {}", testdata("plain.pub"))).ok();
    stage.mode("/etc/patchadm/keys/plain.pub", 0o666);
    let said = stage.run("key list -R @ROOT@").fails(3);
    assert!(
        said.contains("plain.pub must belong to the owner of the root alone: others may write to it"),
        "{said}"
    );
    if !is_root() {
        return crate::skipped("keys_that_others_may_write…: only root gives files to its own group");
    }
    stage.mode("/etc/patchadm/keys/plain.pub", 0o664);
    stage.run("key list -R @ROOT@").ok();
    if !let_write(&stage.at("/etc/patchadm/keys/plain.pub")) {
        return crate::skipped("keys_that_others_may_write…: no access lists here");
    }
    let said = stage.run("key list -R @ROOT@").fails(3);
    assert!(
        said.contains("plain.pub must belong to the owner of the root alone: others may write to it"),
        "{said}"
    );
}

#[test]
fn what_belongs_to_another_action_is_wrong_usage() {
    let stage = Scenario::new();
    for (line, said) in [
        ("key list --reason x", "--reason is not an option of this action"),
        ("keygen --no-password", "--output <NAME>"),
        ("key revoke xyz", "<xyz> is not a key id"),
        ("key trust a --expires soon", "--expires: <soon> is not a day, such as 2027-12-31"),
        ("key trust", "no public key file specified"),
        ("sign x", "no secret key specified (--key)"),
    ] {
        let text = stage.run(line).fails(2);
        assert!(text.contains(said), "{line}: {text}");
    }
}

#[test]
fn a_directory_gets_a_manifest_of_every_file_and_a_signature() {
    let stage = Scenario::new();
    let at = patch().directory(&stage);
    let said = sign(&stage, &at.display().to_string()).ok();
    assert!(said.contains("signed by key 7802F643AC6161C8"), "{said}");
    let manifest = fs::read_to_string(at.join("MANIFEST")).unwrap();
    assert!(
        manifest.starts_with("# patchadm manifest 1\n# patch 100-01\n# form members\nSHA256 ("),
        "{manifest}"
    );
    assert!(manifest.contains("(ACMEweb/pkginfo) = ") && !manifest.contains("MANIFEST"), "{manifest}");
    let verified =
        Command::new("sha256sum").args(["-c", "--quiet", "MANIFEST"]).current_dir(&at).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    verified_by_minisign(&at.join("MANIFEST"));
}

#[test]
fn a_manifest_that_is_not_that_of_the_patch_is_not_signed() {
    let stage = Scenario::new();
    let at = patch().directory(&stage);
    let target = at.display().to_string();
    sign(&stage, &target).ok();
    fs::write(at.join("README.100-01"), "more\n").unwrap();
    let said = sign(&stage, &target).fails(3);
    assert!(said.contains("the checksum of README.100-01 differs"), "{said}");
    let hint = "\nhint: remove the named file if it does not belong to the patch, or restore an altered patch from its source; ";
    assert!(said.contains(hint), "{said}");
    let hint = format!("; only if the patch is right, delete {target}/MANIFEST, and sign the patch again");
    assert!(said.contains(&hint), "{said}");
    fs::remove_file(at.join("README.100-01")).unwrap();
    let file = at.join("ACMEweb/install/copyright");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let manifest = at.join("MANIFEST");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("# patch 100-01", "# patch 100-02")).unwrap();
    assert!(sign(&stage, &target).fails(3).contains("it is for patch 100-02, not for 100-01"));
    fs::write(&manifest, text.replace("SHA256 (", "SHA512 (")).unwrap();
    assert!(sign(&stage, &target).fails(3).contains("the manifest is damaged, line 4"));
    fs::write(&manifest, &text).unwrap();
    std::os::unix::fs::symlink("pkginfo", at.join("ACMEweb/link")).unwrap();
    assert!(sign(&stage, &target).fails(3).contains("it is neither a file nor a directory"));
}

#[test]
fn an_archive_has_its_manifest_beside_it() {
    let stage = Scenario::new();
    let at = archive(&patch().directory(&stage), ".zip");
    let target = at.display().to_string();
    sign(&stage, &target).ok();
    let manifest = fs::read_to_string(format!("{target}.manifest")).unwrap();
    assert!(manifest.contains("# patch 100-01\n# form file\n"), "{manifest}");
    assert_eq!(manifest.lines().count(), 4);
    verified_by_minisign(Path::new(&format!("{target}.manifest")));
    sign(&stage, &format!("{target}.manifest")).ok();
    let mut bytes = fs::read(&at).unwrap();
    bytes.push(0);
    fs::write(&at, bytes).unwrap();
    assert!(sign(&stage, &target).fails(3).contains("the checksum of the file differs"));
}

#[test]
fn a_directory_of_patches_is_not_signed_and_the_refusal_names_them() {
    let stage = Scenario::new();
    let at = patch().directory(&stage);
    let above = at.parent().unwrap().display().to_string();
    let said = sign(&stage, &above).fails(3);
    let hint = format!("hint: specify each patch: `patchadm sign --key FILE {above}/100-01`");
    assert!(said.contains(&hint), "{said}");
}

#[test]
fn a_secret_key_or_a_password_that_others_could_have_written_is_not_used() {
    let stage = Scenario::new();
    stage.run("keygen --no-password -o mine").ok();
    fs::write(stage.beside("index.json"), "{}\n").unwrap();
    fs::write(stage.beside("100-01.manifest"), "manifest\n").unwrap();
    fs::set_permissions(stage.beside("mine.sec"), fs::Permissions::from_mode(0o666)).unwrap();
    let said = stage.run("sign --key mine.sec 100-01.manifest");
    assert!(said.code != 0 && said.stderr.contains("mine.sec"), "{}", said.stderr);
    assert!(!stage.beside("100-01.manifest.minisig").exists());
    fs::write(stage.beside("word"), "secret\n").unwrap();
    fs::set_permissions(stage.beside("word"), fs::Permissions::from_mode(0o666)).unwrap();
    let said = stage.run("keygen --password-file word -o other");
    assert!(said.code != 0 && said.stderr.contains("word"), "{}", said.stderr);
}

#[test]
fn a_secret_key_with_a_password_needs_it() {
    let stage = Scenario::new();
    let target = patch().directory(&stage).display().to_string();
    let locked = testdata("locked.sec");
    let said = stage.run(&format!("sign --key {locked} {target}")).fails(2);
    assert!(said.contains("hint: specify its file with `--password-file`"), "{said}");
    let said = stage.run(&format!("sign --key {} {target}", testdata("plain.pub"))).fails(3);
    assert!(said.contains("it is not a secret key of minisign"), "{said}");
}

#[test]
fn keys_that_are_generated_serve_the_real_tool_with_and_without_a_password() {
    let stage = Scenario::new();
    fs::write(stage.beside("word"), "open sesame\n").unwrap();
    for (name, options) in [("free", "--no-password"), ("locked", "--password-file word")] {
        stage.run(&format!("keygen -o {name} {options}")).ok();
        let target = patch().directory(&stage).display().to_string();
        let password = if name == "locked" { "--password-file word" } else { "" };
        stage.run(&format!("sign --key {name}.sec {password} {target}")).ok();
        let key = stage.beside(&format!("{name}.pub")).display().to_string();
        let verify = ["-V", "-p", &key, "-m", &format!("{target}/MANIFEST")].map(str::to_owned);
        let Some(said) = by_tool("minisign", &verify) else { return };
        assert!(said.contains("Signature and comment signature verified"), "{said}");
        fs::remove_dir_all(target).unwrap();
    }
}

#[test]
fn the_real_tools_may_sign_in_our_place() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/new", 0o755, "old\n")]);
    let target = patch().directory(&stage);
    // Leaves the manifest, and a signature that the tools replace.
    sign(&stage, &target.display().to_string()).ok();
    fs::remove_file(target.join("MANIFEST.minisig")).unwrap();
    let at = |name: &str| stage.beside(name).display().to_string();
    let manifest = target.join("MANIFEST").display().to_string();
    let make = ["-G", "-n", "-p", &at("real.pub"), "-s", &at("real.sec")].map(str::to_owned);
    if by_tool("signify-openbsd", &make).is_none() {
        return;
    }
    let signature = format!("{manifest}.sig");
    let words = ["-S", "-s", &at("real.sec"), "-m", &manifest, "-x", &signature].map(str::to_owned);
    by_tool("signify-openbsd", &words).unwrap();
    stage.run("key trust -R @ROOT@ real.pub").ok();
    let text = stage.run(&format!("add --json --signature require -R @ROOT@ {}", target.display())).ok();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["patches"][0]["signature"]["state"], "trusted");
    assert_eq!(document["patches"][0]["signature"]["time"], serde_json::Value::Null);
}

/// The output of a tool that must succeed; `None` if the tool is not installed.
fn by_tool(tool: &str, words: &[String]) -> Option<String> {
    let Ok(output) = Command::new(tool).args(words).output() else {
        crate::missing(tool, "keys and signatures beside it");
        return None;
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{tool} {words:?}: {said}");
    Some(said)
}

/// Asserts that the real tool, if it is installed, accepts the signature.
fn verified_by_minisign(manifest: &Path) {
    let manifest = manifest.display().to_string();
    by_tool("minisign", &["-V", "-p", &testdata("plain.pub"), "-m", &manifest].map(str::to_owned));
}
