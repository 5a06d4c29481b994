//! `patchadm depot` indexes directories of patches in place, and checks depots.

use std::fs;
use std::path::{Path, PathBuf};

use patchadm_inputs::depot::DepotIndex;
use patchadm_svr4::patch::PatchId;
use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::{Package, files};
use crate::publish::{deliver_signed, publish, secret_key, stage};
use crate::scenario::{Run, Scenario};

/// Makes a patch of one file in this form; an empty form means a directory.
fn deliver(into: &Path, id: &str, text: &str, form: &str) -> PathBuf {
    let patch = Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, text)).beside(
        &format!("README.{id}"),
        &format!("Patch-ID# {id}\nKeywords: security web\nSynopsis: Web {id}\n"),
    );
    if form.is_empty() { patch.write(into) } else { patch.pack(into, form) }
}

/// A stage and a directory with three patches in three forms.
fn three() -> (Scenario, PathBuf) {
    let stage = Scenario::new();
    let depot = stage.beside("depot");
    fs::create_dir(&depot).unwrap();
    for (id, form) in [("100-01", ".zip"), ("100-02", ".tar.gz"), ("200-01", "")] {
        deliver(&depot, id, id, form);
    }
    (stage, depot)
}

fn make_index(stage: &Scenario, depot: &Path) -> Run {
    stage.run(&format!("depot index {}", depot.display()))
}

fn check(stage: &Scenario, options: &str, depot: &Path) -> Run {
    stage.run(&format!("depot check -R @ROOT@ {options} {}", depot.display()))
}

fn read_index(depot: &Path) -> DepotIndex {
    DepotIndex::parse(&fs::read(depot.join("index.json")).unwrap()).unwrap()
}

#[test]
fn a_directory_of_patches_gets_an_index_with_their_names() {
    let (stage, depot) = three();
    fs::write(depot.join("flags"), "100-02 security recommended # the one\n100-01 withdrawn\n").unwrap();
    fs::write(depot.join("install_cluster"), "#!/bin/sh\n").unwrap();
    let said = make_index(&stage, &depot).ok();
    assert_eq!(said, format!("{}: version 1 has 3 patches\n", depot.display()));
    let index = read_index(&depot);
    assert_eq!((index.version, index.expires), (1, None));
    let entries: Vec<_> = index
        .patches()
        .map(|patch| (patch.id.as_str(), patch.path.as_str(), patch.format.as_str(), patch.flags.join(" ")))
        .collect();
    assert_eq!(
        entries,
        [
            ("100-01", "100-01.zip", "zip", "withdrawn".to_owned()),
            ("100-02", "100-02.tar.gz", "tar.gz", "recommended security".to_owned()),
            ("200-01", "200-01", "dir", String::new()),
        ]
    );
    let patch = index.patch(&PatchId::new("100-02").unwrap()).unwrap();
    assert_eq!(
        (patch.synopsis.as_str(), patch.files, patch.unpacked, patch.scripts),
        ("Web 100-02", 1, 6, false)
    );
    let said = check(&stage, "", &depot).ok();
    assert!(said.ends_with("version 1, 3 objects: everything matches the index\n"), "{said}");
}

#[test]
fn an_index_stays_while_nothing_changes_and_only_what_changed_is_read() {
    let (stage, depot) = three();
    make_index(&stage, &depot).ok();
    let before = fs::read(depot.join("index.json")).unwrap();
    let said = make_index(&stage, &depot).ok();
    assert!(said.ends_with("version 1 stays; nothing is new\n"), "{said}");
    assert_eq!(fs::read(depot.join("index.json")).unwrap(), before);
    // Known entries are trusted, so only the new one was read.
    let known = depot.join(".patchadm-index");
    let text = fs::read_to_string(&known).unwrap();
    fs::write(&known, text.replace("Web 100-01", "Known 100-01")).unwrap();
    deliver(&depot, "300-01", "new", ".tar");
    make_index(&stage, &depot).ok();
    let index = read_index(&depot);
    let synopses: Vec<_> = index.patches().map(|patch| patch.synopsis.as_str()).collect();
    assert_eq!(synopses, ["Known 100-01", "Web 100-02", "Web 200-01", "Web 300-01"]);
    assert_eq!(index.version, 2);
    assert_eq!(index.previous, Some(crate::depots::digest(&before)));
    // A file deep in a directory, and a patch that is gone.
    fs::write(depot.join("200-01/README.200-01"), "Patch-ID# 200-01\nSynopsis: Other\n").unwrap();
    fs::remove_file(depot.join("100-01.zip")).unwrap();
    make_index(&stage, &depot).ok();
    let synopses: Vec<_> = read_index(&depot).patches().map(|patch| patch.synopsis.clone()).collect();
    assert_eq!(synopses, ["Web 100-02", "Other", "Web 300-01"]);
    check(&stage, "", &depot).ok();
}

#[test]
fn what_one_package_or_the_patchinfo_says_holds_for_the_patch() {
    let stage = Scenario::new();
    let package = |name: &str| Package::new(name).file("bin/x", 0o755, "x\n");
    Patch::new("100-01")
        .package(
            package("ACMEa").param("SUNW_REQUIRES", "1-01").param("SUNW_PATCH_PROPERTIES", "rebootafter"),
        )
        .package(package("ACMEb").param("SUNW_REQUIRES", "1-01 2-01").param("SUNW_OBSOLETES", "3-01"))
        .package(package("ACMEc").param("SUNW_INCOMPAT", "4-01"))
        .beside("patchinfo", "PATCHID=100-01\nPATCH_REQUIRES=5-01\nPATCH_PROPERTIES=standard\n")
        .directory(&stage);
    stage.run("depot index delivered").ok();
    let index = read_index(&stage.beside("delivered"));
    let patch = index.patches().next().unwrap();
    assert_eq!(patch.requires, ["1-01", "2-01", "5-01"]);
    assert_eq!((patch.obsoletes.join(" "), patch.incompat.join(" ")), ("3-01".to_owned(), "4-01".to_owned()));
    assert_eq!(patch.properties, ["rebootafter", "standard"]);
    assert_eq!(patch.packages.len(), 3);
}

#[test]
fn one_patch_twice_is_refused_if_its_bytes_differ() {
    let (stage, depot) = three();
    fs::copy(depot.join("100-01.zip"), depot.join("again.zip")).unwrap();
    make_index(&stage, &depot).ok();
    let before = fs::read(depot.join("index.json")).unwrap();
    let other = deliver(&stage.beside("other"), "100-1", "other", ".zip");
    fs::rename(other, depot.join("other.zip")).unwrap();
    let said = make_index(&stage, &depot).fails(3);
    assert!(said.contains("occurs twice with different content"), "{said}");
    assert!(said.contains("100-01.zip and ") && said.contains("other.zip"), "{said}");
    assert_eq!(fs::read(depot.join("index.json")).unwrap(), before);
}

#[test]
fn what_is_damaged_is_named_and_everything_else_is_indexed() {
    let (stage, depot) = three();
    let zip = fs::read(depot.join("100-01.zip")).unwrap();
    fs::write(depot.join("cut.zip"), &zip[..zip.len() / 2]).unwrap();
    let run = make_index(&stage, &depot);
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.stderr.contains("error: cut.zip is not in the index: "), "{run:?}");
    assert!(run.stderr.contains("it cannot be read as a patch: "), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 3, "{run:?}");
    assert_eq!(read_index(&depot).patches().len(), 3);
    let document = stage.run(&format!("depot index --json {}", depot.display()));
    let document: Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(document["errors"][0]["object"], "cut.zip");
    assert_eq!(document["result"], "nothing-to-do");
}

/// Adds damaged archives, and files and directories that only have the name of a patch. Returns their names.
fn damaged(depot: &Path) -> Vec<&'static str> {
    let damage = |from: &str, to: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(depot.join(from)).unwrap();
        change(&mut bytes);
        fs::write(depot.join(to), bytes).unwrap();
    };
    let half = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    damage("100-01.zip", "begins-otherwise.zip", &|bytes| bytes[..512].fill(0));
    damage("100-01.zip", "cut.zip", &half);
    damage("100-01.zip", "empty.zip", &Vec::clear);
    damage("100-02.tar.gz", "begins-otherwise.tar.gz", &|bytes| bytes[..20].fill(b'x'));
    damage("100-02.tar.gz", "cut.tar.gz", &half);
    damage("100-02.tar.gz", "other-bytes.tar.gz", &|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8].fill(0);
    });
    damage("100-03.tar", "cut.tar", &|bytes| bytes.truncate(1000));
    damage("100-03.tar", "cut-late.tar", &|bytes| bytes.truncate(bytes.len() - 5000));
    fs::write(depot.join("400-01"), "what is this\n").unwrap();
    fs::create_dir(depot.join("500-01")).unwrap();
    vec![
        "400-01",
        "500-01",
        "begins-otherwise.tar.gz",
        "begins-otherwise.zip",
        "cut-late.tar",
        "cut.tar",
        "cut.tar.gz",
        "cut.zip",
        "empty.zip",
        "other-bytes.tar.gz",
    ]
}

#[test]
fn no_damaged_archive_is_passed_over_silently_and_other_files_are() {
    let (stage, depot) = three();
    deliver(&depot, "100-03", &"much\n".repeat(4000), ".tar");
    let names = damaged(&depot);
    fs::write(depot.join("notes"), "what the keeper wrote\n").unwrap();
    fs::create_dir(depot.join("scripts")).unwrap();
    let run = make_index(&stage, &depot);
    let said: Vec<&str> = run
        .stderr
        .lines()
        .filter_map(|line| line.split_once("error: ")?.1.split_once(" is not in"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!((run.code, said), (5, names), "{run:?}");
    assert_eq!(read_index(&depot).patches().len(), 4);
    assert_eq!(make_index(&stage, &depot).code, 5, "what is known of them is said again");
}

#[test]
fn flags_that_make_no_sense_are_named_with_their_line() {
    let (stage, depot) = three();
    fs::write(depot.join("flags"), "100-01 security\n100-02 urgent\n").unwrap();
    let said = make_index(&stage, &depot).fails(1);
    assert!(
        said.contains("flags: line 2: <urgent> is not one of recommended, security, withdrawn"),
        "{said}"
    );
    assert!(!depot.join("index.json").exists());
}

#[test]
fn a_depot_of_publish_and_what_is_no_directory_are_refused() {
    let stage = stage();
    deliver_signed(&stage, "300-01", "one\n");
    let (work, depot) = (stage.beside("work"), stage.beside("published"));
    publish(&stage, &format!("--key {} {} {}", secret_key(), work.display(), depot.display())).ok();
    let said = make_index(&stage, &depot).fails(3);
    assert!(said.contains("use `patchadm publish`"), "{said}");
    make_index(&stage, &stage.beside("nowhere")).fails(1);
    check(&stage, "", &stage.beside("nowhere")).fails(1);
    stage.run("depot index --offline y").fails(2);
    stage.run("depot check --key x y").fails(2);
    stage.run("depot").fails(2);
}

#[test]
fn a_patch_is_not_indexed_in_place_of_its_directory() {
    let (stage, depot) = three();
    let patch = depot.join("200-01");
    stage.run(&format!("sign --key {} {}", secret_key(), patch.display())).ok();
    let before = files(&patch);
    let said = make_index(&stage, &patch).fails(2);
    assert!(said.contains(" is a patch: depot index takes the directory that contains patches\n"), "{said}");
    assert!(said.contains(&format!("hint: patchadm depot index {}\n", depot.display())), "{said}");
    assert_eq!(files(&patch), before);
    make_index(&stage, &depot).ok();
}

#[test]
fn an_index_is_signed_and_believed_by_its_key() {
    let (stage, depot) = three();
    let named = depot.display().to_string();
    make_index(&stage, &depot).ok();
    let said = check(&stage, "--signature require", &depot).fails(1);
    assert!(said.contains("the signature of "), "{said}");
    stage.run(&format!("depot index --key {} {named}", secret_key())).ok();
    assert_eq!(read_index(&depot).version, 2, "a new version, which is signed");
    stage.run(&format!("key -R @ROOT@ trust --name build {}", secret_key().replace(".sec", ".pub"))).ok();
    let text = fs::read(depot.join("index.json")).unwrap();
    let signature = depot.join(format!("index/{}.minisig", crate::depots::digest(&text)));
    let signature = fs::read(signature).unwrap();
    check(&stage, "--signature off", &depot).ok();
    // An index of somebody else, with the signature of the genuine one.
    let other = String::from_utf8(text).unwrap().replace("Web 100-01", "Web 100-0X");
    fs::write(depot.join("index.json"), &other).unwrap();
    let beside = depot.join(format!("index/{}.minisig", crate::depots::digest(other.as_bytes())));
    fs::write(beside, signature).unwrap();
    let said = check(&stage, "--signature warn", &depot).fails(3);
    assert!(said.contains("index.json is "), "{said}");
}

#[test]
fn a_depot_signed_by_a_revoked_or_unknown_key_is_refused_with_what_helps() {
    let (stage, depot) = three();
    let named = depot.display().to_string();
    stage.run(&format!("depot index --key {} {named}", secret_key())).ok();
    let public = secret_key().replace(".sec", ".pub");
    stage.run(&format!("key -R @ROOT@ trust --name other {}", public.replace("plain", "other"))).ok();
    stage.file("/etc/patchadm/policy", "signature=require\n");
    let said = stage.run(&format!("update -R @ROOT@ -M {named}")).fails(3);
    assert!(said.contains("trust that key with `patchadm -R @ROOT@ key trust FILE`"), "{said}");
    stage.run(&format!("key -R @ROOT@ trust --name build {public}")).ok();
    stage.run("key revoke -R @ROOT@ 7802F643AC6161C8 --reason stolen").ok();
    let said = stage.run(&format!("update -R @ROOT@ -M {named}")).fails(3);
    assert!(said.contains("ask the publisher to sign the index with another key"), "{said}");
    assert!(said.contains("revoked (stolen)") && !said.contains("key trust"), "{said}");
}

#[test]
fn every_object_of_a_published_depot_is_compared() {
    let stage = stage();
    deliver_signed(&stage, "300-01", "one\n");
    let (work, depot) = (stage.beside("work"), stage.beside("published"));
    publish(&stage, &format!("--key {} {} {}", secret_key(), work.display(), depot.display())).ok();
    let said = check(&stage, "", &depot).ok();
    assert!(said.contains("4 objects: everything matches the index"), "{said}");
    let patch = read_index(&depot).patches().next().unwrap().clone();
    for object in [&patch.path, &patch.manifest.unwrap().path, &patch.readme.unwrap().path] {
        let path = depot.join(object);
        let bytes = fs::read(&path).unwrap();
        for (damaged, reason) in [
            (Some([&bytes[..bytes.len() - 1], b"X"].concat()), "its digest differs"),
            (Some(bytes[..1].to_vec()), "but the index says"),
            (None, "does not exist"),
        ] {
            match damaged {
                Some(damaged) => fs::write(&path, damaged).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let run = check(&stage, "", &depot);
            assert_eq!(run.code, 4, "{object}: {run:?}");
            assert!(run.stdout.starts_with("300-01: ") && run.stdout.contains(reason), "{run:?}");
        }
        fs::write(&path, bytes).unwrap();
    }
    check(&stage, "", &depot).ok();
}

#[test]
fn a_directory_without_an_index_is_not_checked() {
    let (stage, depot) = three();
    let place = depot.display();
    let reason =
        format!("the depot was not checked: {place} has no index.json\nhint: patchadm depot index {place}\n");
    for options in ["", "--signature require"] {
        let said = check(&stage, options, &depot).fails(1);
        assert!(said.ends_with(&reason), "{said}");
    }
    assert!(!depot.join("index.json").exists() && !depot.join(".patchadm-index").exists());
    fs::create_dir(stage.beside("nothing")).unwrap();
    check(&stage, "", &stage.beside("nothing")).fails(1);
}

#[test]
fn a_check_without_trusted_keys_says_that_no_signature_was_checked() {
    let (stage, depot) = three();
    stage.run(&format!("depot index --key {} {}", secret_key(), depot.display())).ok();
    let note = "signatures were not checked; specify trusted keys with `--keys DIR`\n";
    assert!(check(&stage, "", &depot).ok().starts_with(note));
    assert!(check(&stage, "--signature off", &depot).ok().starts_with(note));
    stage.run(&format!("key -R @ROOT@ trust --name build {}", secret_key().replace(".sec", ".pub"))).ok();
    let said = check(&stage, "--signature warn", &depot).ok();
    assert!(said.starts_with("the index is signed by key "), "{said}");
}

#[test]
fn an_index_that_changed_after_it_was_signed_may_be_in_publication_or_altered() {
    let (stage, depot) = three();
    let named = depot.display().to_string();
    stage.run(&format!("depot index --key {} {named}", secret_key())).ok();
    stage.run(&format!("key -R @ROOT@ trust --name build {}", secret_key().replace(".sec", ".pub"))).ok();
    let text = fs::read_to_string(depot.join("index.json")).unwrap();
    fs::write(depot.join("index.json"), text.replace("Web 100-01", "Web 100-0X")).unwrap();
    let said = stage.run(&format!("update -R @ROOT@ -M {named}")).fails(1);
    assert!(said.contains(&format!("signature of {named}/index.json does not exist")), "{said}");
    assert!(
        said.contains("the depot may be updating right now; otherwise the index was never signed"),
        "{said}"
    );
}

#[test]
fn what_changes_between_the_index_and_its_use_is_found() {
    let (stage, depot) = three();
    make_index(&stage, &depot).ok();
    fs::write(depot.join("200-01/README.200-01"), "Patch-ID# 200-01\nSynopsis: Othe\n").unwrap();
    let run = check(&stage, "", &depot);
    assert!(run.code == 4 && run.stdout.starts_with("200-01: "), "{run:?}");
}

#[test]
fn a_root_that_has_seen_a_later_index_says_so() {
    let (stage, depot) = three();
    make_index(&stage, &depot).ok();
    let index = read_index(&depot);
    let place = depot.canonicalize().unwrap();
    let line = format!(
        "{{\"depot\":\"{}\",\"location\":\"{}\",\"version\":7,\"sha256\":\"{}\",\"expires\":null,\
         \"seen\":\"2026-11-20T00:00:00Z\"}}\n",
        index.depot,
        place.display(),
        "ab".repeat(32)
    );
    stage.file("/var/sadm/patchadm/depots", line);
    let said = check(&stage, "", &depot).fails(3);
    assert!(said.contains("is version 1, but this root has already seen version 7"), "{said}");
}

#[test]
fn an_index_is_written_as_a_cross_reference_and_analysed_as_one() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let web = || Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n");
    Patch::of("100001-01", web())
        .beside("patchinfo", "PATCHID=100001-01\nPATCH_OSRELEASE=5.10\n")
        .directory(&stage);
    Patch::of("100001-02", web().param("SUNW_REQUIRES", "100002-01")).directory(&stage);
    Patch::of("100002-01", web()).directory(&stage);
    Patch::of("ACME-web-1", web()).directory(&stage);
    let run = stage.run("depot index --xref delivered");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout
            .starts_with("left out of patchdiag.xref, which contains only ids of six digits and two: 1\n"),
        "{}",
        run.stdout
    );
    let xref = fs::read_to_string(stage.beside("delivered/patchdiag.xref")).unwrap();
    let lines: Vec<&str> = xref.lines().collect();
    assert_eq!(lines[0], "## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Nov/20/26 ##");
    assert!(
        lines[1].starts_with("100001|01|")
            && lines[1].contains("|O|  |10_x86|i386;|ACMEweb:1.0;|Obsoleted by: 100001-02 ")
    );
    assert!(lines[2].contains("| |  |Unbundled|i386;100002-01;|ACMEweb:1.0;|"), "{xref}");
    assert_eq!(lines.len(), 4);
    let listed = |with: &str| {
        let said = stage.run(&format!("missing -R @ROOT@ {with} 100001 100002")).ok();
        let rows = said.lines().skip(6).map(|line| line[..14].to_owned());
        rows.collect::<Vec<_>>()
    };
    assert_eq!(listed("-M delivered"), ["100002 -- < 01", "100001 -- < 02"]);
    assert_eq!(listed("--xref delivered/patchdiag.xref"), listed("-M delivered"));
    fs::remove_file(stage.beside("delivered/patchdiag.xref")).unwrap();
    let said = stage.run("depot index --xref delivered").ok();
    assert!(said.contains("nothing is new"), "{said}");
    assert_eq!(fs::read_to_string(stage.beside("delivered/patchdiag.xref")).unwrap(), xref);
}
