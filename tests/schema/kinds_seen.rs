//! Every kind of document that `docs/schema` describes is printed by some command, so that none is described in vain.

use std::collections::BTreeSet;
use std::fs;

use patchadm_testing::schema::{PARTS, kinds, schemas};

use super::{assert_document, command_of};
use crate::adopt_refresh::upgraded;
use crate::bulk::BulkBuild;
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

fn stage() -> Scenario {
    let web = Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n");
    let stage = Scenario::with(&[web]);
    stage.file("/var/lib/dpkg/status", "");
    Package::new("ACMEnew").file("bin/new", 0o755, "new\n").write(&stage.beside("spool"));
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    Patch::of("300-01", Package::new("ACMEweb").file("bin/su", 0o4755, "su\n")).directory(&stage);
    fs::write(
        stage.beside("pkginfo"),
        "PKG=ACMEmade\nNAME=Made\nARCH=all\nVERSION=1\nCATEGORY=application\n",
    )
    .unwrap();
    fs::write(stage.beside("prototype"), "i pkginfo\n").unwrap();
    fs::create_dir(stage.beside("empty")).unwrap();
    fs::write(stage.beside("rubbish"), "what is this\n").unwrap();
    stage
}

/// Commands in an order in which each finds what it needs. Each command also has an error.
const LINES: &[&str] = &[
    "plan --json -R @ROOT@ delivered/100-01",
    "plan --json --roots @ROOT@ delivered/300-01",
    "plan --json -R @ROOT@ -M delivered 300",
    "update --json --check -R @ROOT@ -M delivered",
    "update --json --dry-run --roots @ROOT@ -M delivered",
    "add --json -R @ROOT@ delivered/100-01",
    "add --json --roots @ROOT@ delivered/300-01",
    "setup completions bash --json",
    "list --json -R @ROOT@",
    "list --json -R @ROOT@ --missing 100-01",
    "list --json --roots @ROOT@",
    "list --json --roots @ROOT@ --missing 999-01",
    "show --json -R @ROOT@ 100-01",
    "show --json -R @ROOT@ delivered/300-01",
    "show --json --roots @ROOT@ 100-01",
    "show --json -R @ROOT@ /opt/ACMEweb/bin/httpd",
    "show --files --json -R @ROOT@ 100-01 nothing",
    "show --diff --json -R @ROOT@ 100-01",
    "show --diff --json -R @ROOT@ /opt/ACMEweb/bin/httpd",
    "show --json -R @ROOT@ CVE-2026-1234",
    "order --json -R @ROOT@ --stale --why",
    "libs list --json -R @ROOT@",
    "libs prune --json -R @ROOT@",
    "undo-data list --json -R @ROOT@",
    "undo-data repack --json --dry-run --undo-format none -R @ROOT@ 100-01",
    "undo-data repack --json --roots @ROOT@ --undo-format none 100-01",
    "undo-data list --json --roots @ROOT@",
    "history --json -R @ROOT@",
    "check --contents --json -R @ROOT@",
    "check --contents --json --roots @ROOT@",
    "missing --json -R @ROOT@ -M delivered all 999",
    "missing --json --roots @ROOT@ -M delivered",
    "report --json -R @ROOT@",
    "showrev --json",
    "showrev --json -p -R @ROOT@",
    "showrev --json -a -R @ROOT@",
    "patchadd --json -p -R @ROOT@",
    "patchadd --json -R @ROOT@ delivered/100-01",
    "undo-data drop --json --dry-run -R @ROOT@ 100-01",
    "undo --json --dry-run -R @ROOT@",
    "undo-data export --json -R @ROOT@ -o exported 100-01",
    "undo-data export --json --roots @ROOT@ -o exported 100-01",
    "undo-data import --json -R @ROOT@ exported",
    "undo-data import --json --roots @ROOT@ exported",
    "remove --json --roots @ROOT@ 300-01",
    "remove --json -R @ROOT@ 100-01",
    "patchrm --json -R @ROOT@ 100-01",
    "add --json --trial 1h -R @ROOT@ delivered/100-01",
    "confirm --json -R @ROOT@",
    "remove --json -R @ROOT@ 100-01",
    "adopt --json --forget --pkg ACMEnone -R @ROOT@",
    "adopt --json --refresh -R @ROOT@",
    "adopt --json --all --dry-run -R @ROOT@",
    "adopt --json --before-upgrade -R @ROOT@",
    "adopt --json --dry-run --pkg ACMEhere --pkg-version 1 --dir @ROOT@/etc -R @ROOT@",
    "stage new --json -R @ROOT@ web --path opt",
    "stage list --json -R @ROOT@",
    "stage status --json -R @ROOT@ web",
    "stage refresh --json -R @ROOT@ web",
    "stage promote --json -R @ROOT@ web",
    "stage drop --json -R @ROOT@ web",
    "stage --json frobnicate",
    "libs --json frobnicate",
    "undo-data --json frobnicate",
    "recover --json -R @ROOT@",
    "check --json -R @ROOT@",
    "status --json -R @ROOT@",
    "recover --json --roots @ROOT@",
    "recover --json --adopt-undo -R @ROOT@",
    "help --json 2 remove",
    "help --json",
    "help --json lint:setuid",
    "help --json exit-codes",
    "lint --json delivered/300-01",
    "build --json --id 900-01 --from tree:delivered/100-01 --to tree:delivered/300-01 --pkg ACMEtree --arch all --base-version 1 -o @ROOT@/opt/900-01",
    "delta --json --release spool --stable spool --work @ROOT@/opt/work",
    "keygen --json -o @ROOT@/release --no-password",
    "key --json list -R @ROOT@",
    "sign --json --key @ROOT@/release.sec delivered/100-01",
    "publish --json --key @ROOT@/release.sec empty depot",
    "depot --json index spool",
    "depot --json check -R @ROOT@ spool",
    "setup links --json @ROOT@/opt",
    "setup hooks --json show -R @ROOT@",
    "pkgadd --json -n -R @ROOT@ -d spool ACMEnew",
    "pkgadd --json -s @ROOT@/opt -d spool ACMEnew",
    "pkgrm --json -n -R @ROOT@ ACMEnew",
    "pkgrm --json -n -s @ROOT@/opt ACMEnew",
    "pkgask --json -R @ROOT@ -d spool -r @ROOT@/answers ACMEnew",
    "pkginfo --json -R @ROOT@",
    "pkginfo --json -d spool",
    "pkgparam --json -R @ROOT@ ACMEweb",
    "pkgchk --json -R @ROOT@",
    "pkgchk --json -f -R @ROOT@",
    "pkgchk --json -l -R @ROOT@",
    "pkgchk --json -d spool all",
    "pkgtrans --json -s spool new.pkg all",
    "installf --json -R @ROOT@ ACMEweb /opt/made d 0755 root root",
    "removef --json -R @ROOT@ ACMEweb /opt/made",
    "pkgproto --json spool",
    "pkgmk --json -o -d spool -f prototype",
    "pkgmk --json -o -d spool -f rubbish",
    "valpath --json -a /etc",
    "puttext --json words",
];

#[test]
fn every_kind_of_document_is_as_its_schema_says_and_none_is_described_in_vain() {
    let stage = stage();
    let print = |line: &str| assert_document(line, &stage.command(line).output().unwrap().stdout);
    let mut seen: BTreeSet<String> = LINES.iter().map(|line| print(line)).collect();
    let overtaken = upgraded();
    overtaken.run("adopt --refresh -R @ROOT@").ok();
    let line = "show --json -R @ROOT@ 100-01";
    seen.insert(assert_document(line, &overtaken.command(line).output().unwrap().stdout));
    let Some(of_bulk) = documents_of_bulk_builds() else { return };
    seen.extend(of_bulk);
    let commands: BTreeSet<&str> = schemas().keys().filter_map(|file| file.strip_suffix(".json")).collect();
    let commands = commands.into_iter().filter(|name| !PARTS.contains(&format!("{name}.json").as_str()));
    let mut described = BTreeSet::new();
    for command in commands {
        let command = command_of(command);
        seen.insert(print(&format!("{command} --json --no-such-option")));
        described.extend(kinds(&command).into_iter().map(|(kind, _)| kind));
    }
    assert_eq!(seen, described);
}

/// The kinds of documents of a bulk build, one after the other; none if namespaces are not allowed.
fn documents_of_bulk_builds() -> Option<Vec<String>> {
    let build = BulkBuild::of_recipes("every_kind_of_document…", !is_root(), "")?;
    build.recipe("made", "", "echo made >\"$DESTDIR/made\"\n");
    build.recipe("fails", "", "exit 3\n");
    let print = |line: &str| {
        let (work, tree) = (build.work().display().to_string(), build.tree().display().to_string());
        let line = line.replace("@WORK@", &work).replace("@TREE@", &tree);
        assert_document(&line, &build.command(&line).output().unwrap().stdout)
    };
    let lines = [
        "init @WORK@-other --tree @TREE@ --json",
        "run @WORK@ --json",
        "run @WORK@ --dry-run --json",
        "run @WORK@ --if-changed --json",
        "scan @WORK@ --json",
        "why @WORK@ made --json",
        "history @WORK@ --json",
        "history @WORK@ made --json",
        "report @WORK@ --json",
        "run @WORK@ made --json",
        "run @WORK@ --json",
        "status @WORK@ --json",
        "diff @WORK@ 1 3 --json",
        "release @WORK@ 1 --json",
        "patches @WORK@ --json",
        "upload @WORK@ --json",
        "prune @WORK@ --json",
    ];
    Some(lines.map(print).into())
}

#[test]
fn documents_of_failures_are_as_their_schemas_say() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    for line in [
        "add --json -R @ROOT@ delivered/100-01",
        "patchadd --json -R @ROOT@ delivered/100-01",
        "add --json -R @ROOT@ /no/such",
        "remove --json -R @ROOT@ 999-01",
        "remove --json -R @ROOT@ nonsense",
        "add --json -R /no/such delivered/100-01",
        "list --json -R /no/such",
        "help --json 98",
        "help --json lint:nothing",
        "lint --json rubbish",
        "check --contents --json -R @ROOT@ nobody",
        "show --json -R @ROOT@ nobody",
        "pkginfo --json -R @ROOT@ nobody",
        "pkgparam --json -R @ROOT@ nobody",
        "pkgadd --json -n -R @ROOT@ -d spool nobody",
        "pkgadd --json -n -R @ROOT@ -d /no/such nobody",
        "pkgrm --json -n -R @ROOT@ nobody",
        "pkgtrans --json spool /no/such/directory all",
        "installf --json -R @ROOT@ nobody /x",
        "valpath --json -l /etc",
        "plan --json --roots /no/such delivered/100-01",
        "plan --json --roots /no/such delivered/100-01",
        "demo --json",
    ] {
        assert_document(line, &stage.command(line).output().unwrap().stdout);
    }
}
