//! `patchadm check --contents` finds and names damage, accepts permitted changes, and is right about possible backouts.

use std::fs;
use std::io::{Read, Write as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use patchadm_svr4::format::cpio::CpioFormat;
use patchadm_svr4::format::datastream::{DatastreamReader, DatastreamWriter};
use serde_json::Value;

use crate::delivery::{Patch, gzip};
use crate::everyman::as_ordinary_user;
use crate::packages::{DELIVERED, Package};
use crate::scenario::Scenario;

/// Two packages; patch 100-01 is for both, 200-01 for the first alone.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("one"), Package::new("ACMEdb").file("bin/db", 0o755, "one\n")]);
    stage.patchadd("", &first()).ok();
    stage.patchadd("", &second()).ok();
    stage
}

fn web(version: &str) -> Package {
    Package::new("ACMEweb")
        .file("bin/httpd", 0o755, format!("{version}\n"))
        .file("bin/tool", 0o755, "one\n")
        .content('e', "etc/conf", 0o644, "root root", DELIVERED, "port 80\n")
}

fn first() -> Patch {
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))
        .package(Package::new("ACMEdb").file("bin/db", 0o755, "two\n"))
}

fn second() -> Patch {
    Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "two\n"))
}

fn undo(package: &str, id: &str, name: &str) -> String {
    format!("/var/sadm/pkg/{package}/save/{id}/{name}")
}

fn document(stage: &Scenario, code: i32, words: &str) -> Value {
    let run = stage.run(&format!("check --contents -R @ROOT@ --json {words}"));
    assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

/// Output of `check --contents -v` about files and undo data, without columns, sound files and sizes of archives.
fn text(stage: &Scenario, code: i32, words: &str) -> String {
    let run = stage.run(&format!("check --contents -v -R @ROOT@ {words}"));
    assert_eq!((run.code, run.stderr.as_str()), (code, ""), "{}", run.stdout);
    sections(&run.stdout)
}

fn sections(text: &str) -> String {
    let line = |line: &str| match line.split_once(" is sound (") {
        Some((path, _)) => format!("{path} is sound\n"),
        None if line.starts_with(' ') => format!("{line}\n"),
        None => format!("{}\n", line.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    let compared = text.lines().skip_while(|line| !line.starts_with("files "));
    compared.filter(|line| !line.ends_with(": ok")).map(line).collect()
}

#[test]
fn a_root_that_is_as_recorded_is_sound_and_its_patches_can_be_backed_out() {
    let stage = stage();
    assert_eq!(
        text(&stage, 0, ""),
        "\
files ok 10 objects match their records
undo-data ok undo data of 2 patches is intact
  100-01: can be removed
    ACMEdb: @ROOT@/var/sadm/pkg/ACMEdb/save/100-01/undo.gz is sound
    ACMEweb: @ROOT@/var/sadm/pkg/ACMEweb/save/100-01/undo.gz is sound
  200-01: can be removed
    ACMEweb: @ROOT@/var/sadm/pkg/ACMEweb/save/200-01/undo.gz is sound
"
    );
    let before = stage.everything();
    let document = document(&stage, 0, "");
    assert_eq!((&document["sound"], &document["checked"]), (&true.into(), &10.into()));
    assert_eq!(document["patches"][0]["undo"][1]["run"].as_str().unwrap().split('-').next(), Some("3"));
    crate::tree::assert_same(&stage.everything(), &before);
}

#[test]
fn a_root_without_patches_or_packages_is_sound() {
    let stage = Scenario::with(&[web("one")]);
    assert_eq!(text(&stage, 0, ""), "files ok 7 objects match their records\nundo-data ok no undo data\n");
    assert_eq!(
        text(&Scenario::new(), 0, ""),
        "files ok 0 objects match their records\nundo-data ok no undo data\n"
    );
    let run = Scenario::bare().run("check --contents -R @ROOT@");
    assert_eq!(run.code, 4);
    assert!(run.stdout.contains("there is no package database below @ROOT@"), "{}", run.stdout);
}

#[test]
fn what_differs_from_its_record_is_named_with_what_is_there() {
    let stage = stage();
    fs::write(stage.at("/opt/ACMEdb/bin/db"), "other\n").unwrap();
    stage.mtime("/opt/ACMEdb/bin/db", DELIVERED.unsigned_abs());
    stage.mode("/opt/ACMEweb/bin/tool", 0o700);
    let said = text(&stage, 4, "");
    assert!(said.starts_with("files attention 2 of 10 objects differ from their records; `patchadm -R @ROOT@ show PATH`\n  @ROOT@/opt/ACMEdb/bin/db\n    size 4 bytes → 6 bytes\n"), "{said}");
    assert!(said.contains("  @ROOT@/opt/ACMEweb/bin/tool\n    mode 0755 → 0700\n"), "{said}");
    assert!(said.contains("\nundo-data ok undo data of 2 patches is intact\n"), "{said}");
    let document = document(&stage, 4, "ACMEdb");
    assert_eq!(document["discrepancies"].as_array().unwrap().len(), 1);
    assert_eq!(document["sound"], false);
}

#[test]
fn another_file_with_the_same_size_sum_and_time_is_found_where_a_patch_delivered_it() {
    let stage = stage();
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "owt\n").unwrap();
    stage.mtime("/opt/ACMEweb/bin/httpd", DELIVERED.unsigned_abs());
    stage.run("pkgchk -R @ROOT@").ok();
    let said = text(&stage, 4, "");
    let found = "  @ROOT@/opt/ACMEweb/bin/httpd\n    not the file that patch 100-01 delivered\n";
    assert!(said.contains(found), "{said}");
}

#[test]
fn what_a_package_installed_anew_is_not_held_against_an_older_patch() {
    let stage = stage();
    stage.patchadd("", &Patch::of("300-01", Package::new("ACMEweb").deletes(&["bin/httpd"]))).ok();
    assert_eq!(document(&stage, 0, "ACMEweb")["discrepancies"].as_array().unwrap().len(), 0);
    let other = Package::new("OTHERweb").param("BASEDIR", "/opt/ACMEweb").file("bin/httpd", 0o755, "owt\n");
    stage.install(&other);
    assert_eq!(document(&stage, 0, "")["discrepancies"].as_array().unwrap().len(), 0);
}

#[test]
fn an_editable_file_that_was_edited_is_no_damage() {
    let stage = stage();
    let said = "files ok 9 objects match their records; 1 editable file is modified\n";
    // The second one has the recorded size.
    for content in ["port 8080\n", "port 81\n"] {
        fs::write(stage.at("/opt/ACMEweb/etc/conf"), content).unwrap();
        assert!(text(&stage, 0, "").starts_with(said), "{}", text(&stage, 0, ""));
        let quick = sections(&stage.run("check -R @ROOT@").stdout);
        assert!(quick.starts_with(said), "{quick}");
    }
    fs::remove_file(stage.at("/opt/ACMEweb/etc/conf")).unwrap();
    assert!(text(&stage, 4, "").contains("conf\n    does not exist\n"));
}

#[test]
fn names_limit_it_to_a_patch_or_a_package() {
    let stage = stage();
    let ids = |document: &Value| {
        let patches = document["patches"].as_array().unwrap().iter();
        patches
            .map(|patch| {
                let undo = patch["undo"].as_array().unwrap().iter();
                let packages: Vec<&str> = undo.map(|one| one["package"].as_str().unwrap()).collect();
                format!("{} {}", patch["id"].as_str().unwrap(), packages.join(" "))
            })
            .collect::<Vec<_>>()
    };
    let of = |words: &str| {
        let document = document(&stage, 0, words);
        (document["checked"].as_u64().unwrap(), ids(&document))
    };
    let (one, both, two) = ("100-01 ACMEweb", "100-01 ACMEdb ACMEweb", "200-01 ACMEweb");
    assert_eq!(of("ACMEweb"), (7, vec![one.to_owned(), two.to_owned()]));
    assert_eq!(of("ACMEdb"), (3, vec!["100-01 ACMEdb".to_owned()]));
    assert_eq!(of("200-01"), (7, vec![two.to_owned()]));
    assert_eq!(of("200-1 100-01"), (10, vec![both.to_owned(), two.to_owned()]));
}

#[test]
fn a_name_that_is_neither_patch_nor_package_is_an_error() {
    let stage = stage();
    for name in ["300-01", "NOpkg", "100-02"] {
        let said = stage.run(&format!("check --contents -R @ROOT@ ACMEweb {name}")).fails(4);
        assert_eq!(
            said,
            format!("patchadm: error: {name} is neither an applied patch nor an installed package\n")
        );
    }
}

#[test]
fn every_reason_why_a_patch_cannot_be_backed_out_is_said() {
    let stage = Scenario::with(&[web("one")]);
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    let of = |id: &str, text: &str| {
        Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, format!("{text}\n")))
    };
    let tool = |id: &str| Patch::of(id, Package::new("ACMEweb").file(&format!("bin/{id}"), 0o755, "new\n"));
    stage.patchadd("", &of("100-01", "two")).ok();
    stage.patchadd("", &of("100-02", "three")).ok();
    stage.patchadd("", &of("200-01", "four").says("SUNW_REQUIRES", "100-02")).ok();
    let settings = Package::new("ACMEweb").of_class("none", 'e', "bin/httpd", 0o755, "five\n");
    stage.patchadd("", &Patch::of("250-01", settings)).ok();
    stage.patchadd("-d", &tool("300-01")).ok();
    stage.patchadd("", &tool("400-01")).ok();
    stage.patchadd("", &tool("500-01").says("SUNW_OBSOLETES", "400-01")).ok();
    stage.patchadd(&format!("-B {}", elsewhere.display()), &tool("600-01")).ok();
    let expected = [
        ("100-01", 6, "the later revision 100-02 is applied"),
        ("100-02", 15, "applied patch 200-01 requires 100-02"),
        ("200-01", 6, "patch 250-01"),
        ("250-01", 0, ""),
        ("300-01", 4, "there is no undo data for package ACMEweb"),
        ("400-01", 6, "applied patch 500-01 obsoletes 400-01"),
        ("500-01", 0, ""),
        ("600-01", 0, ""),
    ];
    let assert_all = |document: Value, expected: &[(&str, i32, &str)]| {
        let patches = document["patches"].as_array().unwrap().clone();
        assert_eq!(patches.len(), expected.len());
        for (patch, (id, code, why)) in patches.iter().zip(expected) {
            let removable = &patch["removable"];
            let reason = removable["reason"].as_str().unwrap_or_default();
            let of_remove = match code {
                0 => 0,
                12 => 1,
                _ => 3,
            };
            assert_eq!((patch["id"].as_str(), removable["code"].as_i64()), (Some(*id), Some(of_remove)));
            assert!(reason.contains(why) && reason.is_empty() == why.is_empty(), "{id}: {reason}");
            assert_eq!(removable["now"], *code == 0, "{id}");
            let run = stage.run(&format!("patchrm -a -R @ROOT@ {id}"));
            assert_eq!(run.code, *code, "{id}: patchrm says the same: {}", run.stderr);
        }
    };
    assert_all(document(&stage, 0, ""), &expected);

    fs::rename(&elsewhere, stage.beside("moved")).unwrap();
    let mut gone = expected;
    gone[7] = ("600-01", 12, "there is no undo archive at ");
    assert_all(document(&stage, 4, ""), &gone);
}

/// A way to damage a file.
type Damage = (&'static str, fn(&Path));

/// Changes one bit at this percentage of the file.
fn flip(path: &Path, share: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = (bytes.len() - 1) * share / 100;
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

const DAMAGES: [Damage; 9] = [
    ("gone", |path| fs::remove_file(path).unwrap()),
    ("empty", |path| fs::write(path, b"").unwrap()),
    ("cut", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 9]).unwrap();
    }),
    ("longer", |path| {
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"\0\0\0\0").unwrap();
    }),
    ("flipped at the beginning", |path| flip(path, 0)),
    ("flipped in the header", |path| flip(path, 1)),
    ("flipped in the middle", |path| flip(path, 50)),
    ("flipped behind that", |path| flip(path, 77)),
    ("flipped at the end", |path| flip(path, 100)),
];

/// Asserts that damage to the archive of 100-01 for `ACMEweb` is found before `patchrm` touches 200-01, which would go
/// first.
#[track_caller]
fn assert_found(stage: &Scenario, what: &str) {
    let said = text(stage, 4, "");
    assert!(said.contains("\n  200-01: can be removed\n"), "{what}: {said}");
    assert!(said.contains("\n  100-01: cannot be removed: "), "{what}: {said}");
    assert!(
        said.starts_with("files ok 10 objects")
            && said.contains("\nundo-data attention undo data of 1 patch is damaged or missing\n"),
        "{what}: {said}"
    );
    let before = stage.everything();
    for line in
        ["patchrm -R @ROOT@ 100-01", "patchrm -R @ROOT@ 100-01 200-01", "remove -R @ROOT@ 100-01 200-01"]
    {
        let run = stage.run(line);
        // An archive that the run did not make is refused; an unreadable one is a failure.
        let is_another = run.stderr.contains("it is not the archive that run");
        let code = if line.starts_with("patchrm") {
            4
        } else if is_another {
            3
        } else {
            1
        };
        let said = run.fails(code);
        assert!(said.contains("100-01"), "{what}: {said}");
        crate::tree::assert_same(&stage.everything(), &before);
    }
}

in_parts!(a_damaged_archive_is_found_before_anything_is_changed_whatever_its_compression, damage_archives, 5);

fn damage_archives(part: usize, parts: usize) {
    let forms =
        [("gz", "undo.gz"), ("Z", "undo.Z"), ("none", "undo"), ("zst", "undo.zst"), ("xz", "undo.xz")];
    for (format, name) in forms.into_iter().skip(part).step_by(parts) {
        let stage = Scenario::with(&[web("one"), Package::new("ACMEdb").file("bin/db", 0o755, "one\n")]);
        first().directory(&stage);
        stage.run(&format!("add --undo-format {format} -R @ROOT@ delivered/100-01")).ok();
        stage.patchadd("", &second()).ok();
        let archive = stage.at(&undo("ACMEweb", "100-01", name));
        let whole = fs::read(&archive).unwrap();
        for (what, damage) in DAMAGES {
            damage(&archive);
            assert_found(&stage, &format!("{name} {what}"));
            fs::write(&archive, &whole).unwrap();
        }
        stage.run("patchrm -R @ROOT@ 100-01 200-01").ok();
    }
}

#[test]
fn archives_of_two_packages_or_two_patches_that_changed_places_are_found() {
    for with_digests in [false, true] {
        for (one, other) in
            [(("ACMEweb", "100-01"), ("ACMEdb", "100-01")), (("ACMEweb", "100-01"), ("ACMEweb", "200-01"))]
        {
            let stage = stage();
            let names: &[&str] = if with_digests { &["undo.gz", "undo.b3"] } else { &["undo.gz"] };
            for name in names {
                let [a, b] = [one, other].map(|(package, id)| stage.at(&undo(package, id, name)));
                let swapped = stage.beside("swapped");
                fs::rename(&a, &swapped).unwrap();
                fs::rename(&b, &a).unwrap();
                fs::rename(&swapped, &b).unwrap();
            }
            let document = document(&stage, 4, "");
            for patch in document["patches"].as_array().unwrap() {
                for archive in patch["undo"].as_array().unwrap() {
                    let at = (archive["package"].as_str().unwrap(), patch["id"].as_str().unwrap());
                    let state = if at == one || at == other { "damaged" } else { "saved" };
                    assert_eq!(archive["state"], state, "{at:?}: {archive}");
                }
            }
            let before = stage.everything();
            stage.run("patchrm -R @ROOT@ 100-01 200-01").fails(4);
            crate::tree::assert_same(&stage.everything(), &before);
        }
    }
}

/// Rewrites the archive without the members whose names contain this part.
fn without(path: &Path, part: &str) {
    let mut plain = Vec::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut plain).unwrap();
    let mut reader = DatastreamReader::new(&plain[..]).unwrap();
    let writer = DatastreamWriter::new(Vec::new(), reader.packages(), 0).unwrap();
    reader.next_part().unwrap().unwrap();
    let mut writer = writer.begin_part(CpioFormat::Newc).unwrap();
    let mut left_out = 0;
    while let Some(member) = reader.next_member().unwrap() {
        if String::from_utf8_lossy(member.path.as_bytes()).contains(part) {
            left_out += 1;
        } else {
            writer.write_member(&member.header, &mut reader).unwrap();
        }
    }
    assert_ne!(left_out, 0);
    fs::write(path, gzip(&writer.finish().unwrap().finish().unwrap())).unwrap();
}

#[test]
fn an_archive_that_lacks_a_member_is_found_even_where_nothing_binds_it_to_its_run() {
    for part in ["bin/httpd", "patchadm.records", "patchadm.manifest"] {
        let stage = stage();
        without(&stage.at(&undo("ACMEweb", "100-01", "undo.gz")), part);
        assert_found(&stage, part);
        crate::ledger::disown(&stage.root(), "ACMEweb");
        stage.run("check --contents -R @ROOT@ 100-01").fails(4);
    }
}

#[test]
fn a_digest_file_is_believed_by_nobody_and_an_archive_without_a_line_is_not_the_roots_own() {
    let stage = stage();
    let digest = stage.at(&undo("ACMEweb", "100-01", "undo.b3"));
    for text in [Some("garbage\n"), None] {
        match text {
            Some(text) => fs::write(&digest, text).unwrap(),
            None => fs::remove_file(&digest).unwrap(),
        }
        let run = stage.run("check --contents -v -R @ROOT@ 100-01").ok();
        assert!(run.contains("ACMEweb/save/100-01/undo.gz is sound ("), "{run}");
    }
    crate::ledger::disown(&stage.root(), "ACMEweb");
    let said = stage.run("check --contents -R @ROOT@ 100-01");
    assert_eq!(said.code, 4);
    assert!(said.stdout.contains("the ledger of the root does not know it"), "{}", said.stdout);
}

#[test]
fn an_archive_that_the_caller_may_not_read_is_found_before_anything_is_changed() {
    let stage = stage();
    let archive = undo("ACMEweb", "100-01", "undo.gz");
    stage.mode(&archive, 0);
    let verify =
        as_ordinary_user(&stage, "check --contents -R @ROOT@", &[&stage.at("/var/sadm")]).output().unwrap();
    let said = String::from_utf8(verify.stdout).unwrap();
    assert_eq!(verify.status.code(), Some(1), "{said}");
    assert!(said.contains("100-01/undo.gz: Permission denied"), "{said}");
    let way_on = "you do not have permission to read all undo data; run `patchadm -R @ROOT@ check --contents` as root, or as the owner of the";
    let way_on = way_on.replace("@ROOT@", stage.root().to_str().unwrap());
    assert!(said.contains(&way_on) && !said.contains("is damaged"), "{said}");
    assert!(
        sections(&said).contains("\nundo-data unknown undo data of 1 patch could not be read\n"),
        "{said}"
    );
    for line in ["patchrm -R @ROOT@ 100-01", "patchrm -R @ROOT@ 100-01 200-01"] {
        let output = as_ordinary_user(&stage, line, &[&stage.root()]).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{line}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("100-01/undo.gz: Permission denied"), "{line}: {said}");
        assert!(said.contains("un the same command as root, or as the owner of the root"), "{line}: {said}");
    }
    assert_eq!(["tool", "httpd"].map(|name| stage.text(&format!("/opt/ACMEweb/bin/{name}"))), ["two\n"; 2]);
}

#[test]
fn a_ledger_that_the_caller_may_not_read_is_told_by_check_and_is_no_damage() {
    if !crate::scenario::is_root() {
        return crate::skipped("a ledger that others may not read needs root to be made");
    }
    let stage = stage();
    stage.mode("/var/sadm/patchadm/ledger/ACMEweb", 0);
    let output =
        as_ordinary_user(&stage, "check --contents -R @ROOT@", &[&stage.at("/var/sadm")]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ledger/ACMEweb: Permission denied"), "{said}");
    assert!(
        sections(&said).contains("\nundo-data unknown undo data of 2 patches could not be read\n"),
        "{said}"
    );
    let output = as_ordinary_user(&stage, "check --contents -R @ROOT@ --json", &[]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["cause"], &document["sound"]), (&"no-rights".into(), &false.into()));
}

#[test]
fn a_record_that_the_caller_may_not_read_is_named_by_check() {
    if !crate::scenario::is_root() {
        return crate::skipped("a record that others may not read needs root to be made");
    }
    let stage = stage();
    stage.mode("/var/sadm/patch/100-01", 0);
    let output = as_ordinary_user(&stage, "check --contents -R @ROOT@", &[&stage.root()]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let named = format!("{}: Permission denied", stage.at("/var/sadm/patch/100-01").display());
    assert!(said.contains(&named), "{said}");
    assert!(said.contains("as root, or as the owner of the root directory"), "{said}");
}

#[test]
fn who_may_not_read_what_a_plan_needs_is_told_the_file_and_who_may() {
    if !crate::scenario::is_root() {
        return crate::skipped("undo data that others may not read needs root to be made");
    }
    let stage = stage();
    stage.mode(&undo("ACMEweb", "200-01", "undo.gz"), 0);
    for (given, closed) in [
        (None, "ledger/ACMEweb: Permission denied"),
        (Some(stage.root()), "save/200-01/undo.gz: Permission denied"),
    ] {
        let given: Vec<_> = given.iter().map(std::path::PathBuf::as_path).collect();
        let output = as_ordinary_user(&stage, "remove -R @ROOT@ --dry-run 200-01", &given).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(closed), "{said}");
        assert!(said.contains("un the same command as root, or as the owner of the root"), "{said}");
    }
}

#[test]
fn of_a_superseded_patch_the_archive_is_verified_as_well() {
    let stage = Scenario::with(&[web("one")]);
    for (id, text) in [("100-01", "two\n"), ("100-02", "three\n")] {
        stage.patchadd("", &Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, text))).ok();
    }
    document(&stage, 0, "");
    flip(&stage.at(&undo("ACMEweb", "100-01", "obsolete.gz")), 50);
    let document = document(&stage, 4, "");
    assert_eq!(document["patches"][0]["undo"][0]["state"], "damaged");
    assert_eq!(document["patches"][0]["removable"]["code"], 3, "the rules come before the archive");
    assert_eq!(document["patches"][1]["removable"]["now"], true);
    let before = stage.everything();
    stage.run("patchrm -R @ROOT@ 100-01 100-02").fails(4);
    crate::tree::assert_same(&stage.everything(), &before);
    stage.run("patchrm -R @ROOT@ 100-02").ok();
}

#[test]
fn patches_of_which_one_was_given_without_undo_data_are_refused_before_the_first_is_touched() {
    let stage = Scenario::with(&[web("one")]);
    let of = |id: &str| Patch::of(id, Package::new("ACMEweb").file(&format!("bin/{id}"), 0o755, "new\n"));
    stage.patchadd("-d", &of("100-01")).ok();
    stage.patchadd("", &of("200-01")).ok();
    let before = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 100-01 200-01").fails(4);
    assert!(said.contains("100-01"), "{said}");
    crate::tree::assert_same(&stage.everything(), &before);
}

#[test]
fn more_or_less_is_said_where_it_is_wanted() {
    let stage = stage();
    let more = stage.run("check --contents -v -R @ROOT@").ok();
    assert!(more.contains("/bin/httpd: ok\n") && more.contains("  100-01: can be removed\n"), "{more}");
    let brief = stage.run("check --contents -R @ROOT@").ok();
    assert!(!brief.contains("can be removed") && brief.lines().all(|line| !line.starts_with(' ')), "{brief}");
    assert_eq!(stage.run("check --contents -q -R @ROOT@").ok(), "");
    stage.mode("/opt/ACMEweb/bin/tool", 0o700);
    let said = stage.run("check --contents -q -R @ROOT@").fails(4);
    let files = "patchadm: error: files: 1 of 10 objects differs from its record; \
                 `patchadm -R @ROOT@ show /opt/ACMEweb/bin/tool`\n";
    assert!(said.starts_with(files), "{said}");
    assert!(said.contains("@ROOT@/opt/ACMEweb/bin/tool\n") && !said.contains("can be removed"), "{said}");
}

#[test]
fn without_contents_types_sizes_and_attributes_are_compared_and_no_file_is_read() {
    let stage = stage();
    let quick = |code: i32| {
        let run = stage.run("check -v -R @ROOT@");
        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        sections(&run.stdout)
    };
    let said = quick(0);
    assert!(
        said.contains("\nundo-data ok undo data of 2 patches is present, with the recorded size\n"),
        "{said}"
    );
    assert!(!said.contains("is sound") && !said.contains("can be removed"), "{said}");
    // Other bytes of the same size and time are seen only if they are read.
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "owt\n").unwrap();
    stage.mtime("/opt/ACMEweb/bin/httpd", DELIVERED.unsigned_abs());
    flip(&stage.at(&undo("ACMEweb", "200-01", "undo.gz")), 50);
    quick(0);
    document(&stage, 4, "");
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "longer\n").unwrap();
    assert!(quick(4).contains("  @ROOT@/opt/ACMEweb/bin/httpd\n"));
    fs::write(stage.at(&undo("ACMEweb", "200-01", "undo.gz")), "short\n").unwrap();
    let said = quick(4);
    assert!(said.contains("\nundo-data attention undo data of 1 patch is damaged or missing\n"), "{said}");
    let run = stage.run("check --json -R @ROOT@");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&document["contents"], &document["sound"]), (&false.into(), &false.into()));
    assert!(document["patches"][0].get("removable").is_none(), "{document}");
}
