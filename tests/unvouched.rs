//! Patches that no trusted key vouches for: from a network they are refused unless the caller or the policy says otherwise,
//! and a root with keys of its own takes none of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::delivery::{Patch, indexed_depot};
use crate::faulty_server::{FaultyServer, whole};
use crate::packages::Package;
use crate::scenario::{Run, Scenario};
use crate::signatures::testdata;

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text)
}

/// A root without keys, and a depot of one patch.
fn stage() -> (Scenario, PathBuf) {
    let stage = Scenario::with(&[web("one\n")]);
    let depot = indexed_depot(&stage, &[Patch::of("100-01", web("two\n"))]);
    (stage, depot)
}

fn serve(files: &Path) -> FaultyServer {
    let files = files.to_owned();
    FaultyServer::begin(move |asked| match fs::read(files.join(asked.path.trim_start_matches('/'))) {
        Ok(bytes) => whole("200 OK", &bytes),
        Err(_) => whole("404 Not Found", b"no"),
    })
}

fn run(stage: &Scenario, line: &str, server: &FaultyServer) -> Run {
    let cache = stage.beside("cache");
    let line = line.replace("@HTTP@", &server.url("")).replace("@CACHE@", cache.to_str().unwrap());
    stage.run(&line)
}

/// The commands that apply patches from a network.
const APPLYING: [&str; 5] = [
    "add -R @ROOT@ --cache @CACHE@ -M @HTTP@ 100-01",
    "update -R @ROOT@ --cache @CACHE@ -M @HTTP@",
    "plan -R @ROOT@ --cache @CACHE@ -M @HTTP@",
    "add -R @ROOT@ --cache @CACHE@ @HTTP@100-01.tar",
    "add -R @ROOT@ --cache @CACHE@ --signature warn @HTTP@100-01.tar",
];

#[test]
fn what_comes_over_a_network_without_a_trusted_key_is_refused_until_the_caller_says_otherwise() {
    for line in APPLYING {
        let (stage, depot) = stage();
        let server = serve(&depot);
        let before = stage.everything();
        let said = run(&stage, line, &server).fails(3);
        assert!(said.contains("this root trusts no key to verify its patches"), "{said}");
        assert!(said.contains("key trust FILE") && said.contains("`--keys DIR`"), "{said}");
        assert!(said.contains("--allow-unsigned"), "{said}");
        assert_eq!(said.lines().count(), 3, "{said}");
        crate::tree::assert_same(&stage.everything(), &before);
        let allowed =
            line.replace(" --signature warn", "").replace("-R @ROOT@", "-R @ROOT@ --allow-unsigned");
        run(&stage, &allowed, &server).ok();
        let is_applied = stage.text("/opt/ACMEweb/bin/httpd") == "two\n";
        assert_eq!(is_applied, !line.starts_with("plan"), "{line}");
    }
    let (stage, depot) = stage();
    let server = serve(&depot);
    let classic = "patchadd -R @ROOT@ --cache @CACHE@ -M @HTTP@ 100-01";
    let said = run(&stage, classic, &server).fails(41);
    assert!(said.contains("`-k DIR`, or use `-n` if"), "{said}");
    run(&stage, &classic.replace("-R", "-n -R"), &server).ok();
}

#[test]
fn a_policy_that_asks_for_no_signatures_lets_a_network_in_and_files_of_this_machine_need_no_word() {
    let (one, depot) = stage();
    let server = serve(&depot);
    one.file("/etc/patchadm/policy", "signature=off\n");
    run(&one, APPLYING[1], &server).ok();
    let (two, depot) = stage();
    two.run(&format!("update -R @ROOT@ --cache cache -M {}", depot.display())).ok();
    let (three, depot) = stage();
    three.run(&format!("add -R @ROOT@ file://{}", depot.join("100-01.tar").display())).ok();
}

#[test]
fn queries_of_a_depot_that_nothing_vouches_for_say_so() {
    let (stage, depot) = stage();
    let server = serve(&depot);
    let told = |line: &str| {
        let run = run(&stage, line, &server);
        assert_eq!(run.code, 0, "{line}: {}", run.stderr);
        run.stderr.contains(" is not verified: the root trusts no key")
    };
    let lines =
        ["missing -R @ROOT@ --cache @CACHE@ -M @HTTP@", "show -R @ROOT@ --cache @CACHE@ -M @HTTP@ 100-01"];
    for line in lines {
        assert!(told(line), "{line}");
    }
    stage.run(&format!("missing -R @ROOT@ -M {}", depot.display())).ok();
    stage.file("/etc/patchadm/policy", "signature=off\n");
    for line in lines {
        assert!(!told(line), "{line}");
    }
}

#[test]
fn a_depot_of_the_policy_that_nothing_vouches_for_is_refused_and_status_says_so() {
    let (stage, depot) = stage();
    let server = serve(&depot);
    let policy = format!("depot={}\ncache={}\n", server.url(""), stage.beside("cache").display());
    fs::write(stage.beside("policy"), policy).unwrap();
    run(&stage, "update -R @ROOT@ --policy policy", &server).fails(3);
    let said = run(&stage, "status -R @ROOT@ --policy policy", &server).ok();
    assert!(said.contains("1 patch of ") && said.contains("; no trusted key verifies it"), "{said}");
    assert!(said.contains("key trust FILE` trusts the key of the depot"), "{said}");
    let document = run(&stage, "status --json -R @ROOT@ --policy policy", &server).ok();
    assert!(document.contains("\"unvouched\": true"), "{document}");
    stage.run(&format!("key trust -R @ROOT@ {} --name build", testdata("plain.pub"))).ok();
    let said = run(&stage, "status -R @ROOT@ --policy policy", &server).ok();
    assert!(!said.contains("vouches"), "{said}");
}

#[test]
fn a_root_with_keys_of_its_own_takes_only_what_they_signed_unless_that_is_said() {
    let stage = Scenario::with(&[web("one\n")]);
    let patch = Patch::of("100-01", web("two\n")).directory(&stage);
    stage.run(&format!("key trust -R @ROOT@ {} --name build", testdata("plain.pub"))).ok();
    let before = stage.everything();
    let said = stage.run("add -R @ROOT@ delivered/100-01").fails(3);
    assert!(said.contains("--allow-unsigned"), "{said}");
    stage.run("patchadd -R @ROOT@ delivered/100-01").fails(41);
    crate::tree::assert_same(&stage.everything(), &before);
    stage.run("add --dry-run --allow-unsigned -R @ROOT@ delivered/100-01").ok();
    stage.run("add --signature require --allow-unsigned -R @ROOT@ delivered/100-01").fails(2);
    stage.run(&format!("sign --key {} {}", testdata("plain.sec"), patch.display())).ok();
    fs::write(patch.join("README.100-01"), "other\n").unwrap();
    stage.run("add --allow-unsigned -R @ROOT@ delivered/100-01").fails(3);
    stage.file("/etc/patchadm/policy", "signature=warn\n");
    stage.run("add -R @ROOT@ delivered/100-01").fails(3);
}
