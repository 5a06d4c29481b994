//! `patchadm report`: who has and lacks what, what needs attention, what changed, and how it ends with bad inventories.

use std::fs::{self, File};
use std::process::Stdio;

use patchadm_testing::schema::assert_document;
use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::inventories::{Inventory, four_hosts};
use crate::packages::Package;
use crate::scenario::{PROGRAM, Scenario};

#[track_caller]
fn document(stage: &Scenario, line: &str, code: i32) -> Value {
    let run = stage.run(line);
    assert_eq!(run.code, code, "{}", run.stderr);
    assert_document(PROGRAM.as_ref(), line, run.stdout.as_bytes());
    serde_json::from_str(&run.stdout).unwrap()
}

fn host<'a>(document: &'a Value, name: &str) -> &'a Value {
    let hosts = document["hosts"].as_array().unwrap();
    hosts.iter().find(|host| host["host"] == name).unwrap_or_else(|| panic!("{name}: {hosts:#?}"))
}

#[test]
fn a_host_lacks_what_another_one_has_for_the_same_version_of_a_package() {
    let stage = Scenario::new();
    four_hosts(&stage);
    let said = stage.run("report lists").ok();
    let expected = "\
4 hosts, 3 patches, compared with the newest that any host has

Host  Applied  Missing  Listed            Attention
db1         2        0  2026-11-20 07:00
old         0        0  2026-11-20 07:00
web1        2        1  2026-11-20 07:00
web2        1        1  2026-11-20 07:00

Missing:
  100-02 (fixes 100-02): web1
  200-01 (fixes 200-01): web2
";
    assert_eq!(said, expected);
    let report = document(&stage, "report --json lists", 0);
    assert_eq!(
        report["compared_with"],
        json!({"kind": "newest", "name": "the newest that any host has", "as_of": null})
    );
    assert_eq!(host(&report, "web1")["lacks"], json!(["100-02"]));
    assert_eq!(host(&report, "web1")["patches"], json!(["100-01", "200-01"]));
    assert_eq!(report["patches"][1]["id"], "100-02");
    assert_eq!((&report["patches"][1]["applied"], &report["patches"][1]["lacking"]), (&json!(2), &json!(1)));
    assert_eq!(stage.run("report --check lists").code, 4);
}

#[test]
fn a_second_root_is_refused() {
    let said = Scenario::new().run("report -R @ROOT@ -R /elsewhere").fails(2);
    assert!(said.contains("cannot be used multiple times: this command works on one root"), "{said}");
}

#[test]
fn what_a_patch_obsoletes_is_not_lacking_and_the_patch_itself_is() {
    let stage = Scenario::new();
    let obsoleted = Inventory::of("a").with_state("100-02", "obsoleted").patch_field("by", json!("300-01"));
    let obsoleted = obsoleted.with("300-01").patch_field("obsoletes", json!(["100-02"]));
    obsoleted.write(&stage, "lists/a.json");
    Inventory::of("b")
        .with("300-01")
        .patch_field("obsoletes", json!(["100-02"]))
        .write(&stage, "lists/b.json");
    Inventory::of("c").with("100-02").write(&stage, "lists/c.json");
    let report = document(&stage, "report --json lists", 0);
    assert_eq!(host(&report, "b")["lacks"], json!([]));
    assert_eq!(host(&report, "c")["lacks"], json!(["300-01"]));
}

#[test]
fn an_inventory_of_version_0_1_is_read() {
    let stage = Scenario::new();
    let mut old = Inventory::of("old").with("100-01").field("exit", json!({"code": 0, "name": "ok"}));
    for later in ["exit_code", "classic_code", "cause"] {
        old = old.without(later);
    }
    old.write(&stage, "lists/old.json");
    let report = document(&stage, "report --json lists", 0);
    assert_eq!(host(&report, "old")["lacks"], json!([]));
}

#[test]
fn hosts_are_compared_with_a_depot() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    Patch::of("100-03", Package::new("ACMEweb").file("bin/httpd", 0o755, "new\n")).directory(&stage);
    let own = document(&stage, "list --json -R @ROOT@", 0);
    let package = json!([{"package": "ACMEweb", "version": "1.0", "arch": "i386"}]);
    for (name, patch) in [("has", "100-03"), ("lacks", "100-01")] {
        let list = Inventory::of(name).with(patch).field("packages", package.clone());
        list.write(&stage, &format!("lists/{name}.json"));
    }
    assert_eq!(own["patches"], json!([]));
    let report = document(&stage, "report --json -M delivered lists", 0);
    assert_eq!(report["compared_with"]["kind"], "depot");
    assert_eq!(
        (&host(&report, "has")["lacks"], &host(&report, "lacks")["lacks"]),
        (&json!([]), &json!(["100-03"]))
    );
    let said = stage.run("report -M nowhere lists").fails(1);
    assert!(said.contains("nowhere"), "{said}");
}

#[test]
fn without_an_inventory_the_root_itself_is_listed() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"));
    stage.patchadd("", &patch).ok();
    let before = stage.everything();
    let report = document(&stage, "report --json -R @ROOT@", 0);
    assert_eq!(report["hosts"][0]["patches"], json!(["100-01"]));
    assert!(report["hosts"][0]["host"].as_str().unwrap().ends_with(":@ROOT@"), "{report:#}");
    assert_eq!(stage.everything(), before);
    // The output of list is read as the same, also of many roots and from standard input.
    for line in ["list --json -R @ROOT@", "list --json --roots @ROOT@"] {
        fs::write(stage.beside("own.json"), stage.run(line).ok()).unwrap();
        let read = document(&stage, "report --json own.json", 0);
        for field in ["host", "machine", "root", "at", "version", "patches", "lacks", "undo_bytes"] {
            assert_eq!(read["hosts"][0][field], report["hosts"][0][field], "{line} {field}");
        }
    }
    let input = File::open(stage.beside("own.json")).unwrap();
    let output = stage.command("report --json -").stdin(Stdio::from(input)).output().unwrap();
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["hosts"][0]["source"], "standard input");
    assert_eq!(read["hosts"][0]["patches"], json!(["100-01"]));
    let said = stage.run("report -R @ROOT@/nowhere").fails(1);
    assert!(said.contains("cannot open @ROOT@/nowhere"), "{said}");
    stage.run("report -R @ROOT@/opt").fails(1);
}

#[test]
fn what_needs_attention_is_told_of_each_host() {
    let stage = Scenario::new();
    let lost = json!([{"id": "100-01", "outcome": "lost", "manager": "dpkg", "name": "web", "version": "2", "fixed_in": null, "time": null}]);
    let stale = json!([{"package": "DEBweb", "reason": "dpkg has web 2"}]);
    let list = Inventory::of("a").with_state("100-01", "lost").field("lost", lost).field("stale", stale);
    list.field("unfinished", json!("17-0a")).write(&stage, "lists/a.json");
    let undo = json!([{"package": "ACMEweb", "state": "damaged", "bytes": 0, "path": null}]);
    let signature = json!({"state": "revoked", "key": "00aa", "name": "old", "time": null, "form": null, "policy": "warn"});
    let trial = json!({"run": "3-0b", "until": "2026-11-21T07:00:00Z", "over": true, "stuck": null, "patches": ["200-01"]});
    let list =
        Inventory::of("b").with("200-01").patch_field("undo", undo).patch_field("signature", signature);
    list.patch_field("trial", trial).with_state("300-01", "interrupted").write(&stage, "lists/b.json");
    let said = stage.run("report lists").ok();
    let (_, attention) = said.split_once("Attention:\n").unwrap();
    let expected = "  \
  lost fix: 100-01: web 2 (dpkg) does not have the fix (a)
  stale registration: DEBweb: dpkg has web 2 (a)
  unfinished run: 17-0a: it was interrupted (a)
  half-applied patch: 300-01: another tool was interrupted (b)
  damaged undo data: 200-01: package ACMEweb: damaged (b)
  signature not trusted: 200-01: revoked, key old (b)
  on trial: 3-0b: 200-01 until 2026-11-21 07:00, which is over (b)
";
    assert_eq!(attention, expected);
    assert_eq!(stage.run("report --check lists").code, 4);
    let report = document(&stage, "report --json lists", 0);
    assert_eq!(report["summary"]["findings"]["lost-fix"], 1);
    assert_eq!(host(&report, "b")["findings"].as_array().unwrap().len(), 4);
}

#[test]
fn a_bad_inventory_is_named_and_counted_and_spoils_no_other_one() {
    let stage = Scenario::new();
    four_hosts(&stage);
    let whole = fs::read_to_string(stage.beside("lists/db1.json")).unwrap();
    let bad: [(&str, Vec<u8>, &str); 9] = [
        ("cut", whole.as_bytes()[..whole.len() / 2].to_vec(), "EOF while parsing"),
        ("empty", b" \n".to_vec(), "it is empty"),
        (
            "schema",
            whole.replace("patchadm/1", "patchadm/2").into(),
            "its schema is <patchadm/2>, and this program reads patchadm/1",
        ),
        (
            "command",
            whole.replace("\"list\"", "\"history\"").into(),
            "it is a document from <history>, not from list",
        ),
        (
            "failed",
            br#"{"schema":"patchadm/1","command":"list","exit_code":1,"error":"no records\nhere"}"#.to_vec(),
            "that listing failed: no records; here",
        ),
        (
            "lacking",
            br#"{"schema":"patchadm/1","command":"list","root":"/","patch":"1-01","lacking":true}"#.to_vec(),
            "it is not from `patchadm list`",
        ),
        ("id", whole.replace("100-02", "<b>").into(), "<<b>> is not a patch id"),
        ("other", b"[1, 2]".to_vec(), "it is not the output of"),
        ("bytes", b"\xff\xfe{}".to_vec(), "it is not the output of"),
    ];
    for (name, text, _) in &bad {
        fs::write(stage.beside(&format!("lists/{name}.json")), text).unwrap();
    }
    let run = stage.run("report lists nowhere.json");
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(run.stdout.starts_with("4 hosts, 3 patches"), "{}", run.stdout);
    for (name, _, reason) in &bad {
        let of_file =
            |line: &&str| line.contains(&format!("lists/{name}.json is not read as an inventory: "));
        let lines: Vec<&str> = run.stderr.lines().filter(of_file).collect();
        assert!(matches!(lines.as_slice(), [line] if line.contains(reason)), "{name}: {}", run.stderr);
    }
    assert!(run.stderr.contains("nowhere.json is not read as an inventory: No such file"), "{}", run.stderr);
    assert!(
        run.stderr.contains("10 inventories could not be read; the report is about 4 hosts"),
        "{}",
        run.stderr
    );
    let report = document(&stage, "report --json lists", 5);
    assert_eq!(report["inventories"]["unread"].as_array().unwrap().len(), 9);
    assert_eq!(report["summary"]["hosts"], 4);
}

#[test]
fn an_inventory_of_a_hundred_megabytes_is_refused_before_it_is_read() {
    let stage = Scenario::new();
    four_hosts(&stage);
    File::create(stage.beside("lists/large.json")).unwrap().set_len(100 << 20).unwrap();
    let run = stage.run("report lists");
    assert_eq!(run.code, 5);
    assert!(
        run.stderr.contains("large.json is not read as an inventory: it is larger than 64 MiB"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.starts_with("4 hosts, "));
    // A small file with too many entries is refused as well: more patches than a root has.
    let patch = r#"{"id":"1-1","state":[],"packages":[],"undo":[],"removable":{"now":true}}"#;
    let patches = vec![patch; 20_001].join(",");
    let text = format!(r#"{{"schema":"patchadm/1","command":"list","root":"/","patches":[{patches}]}}"#);
    fs::write(stage.beside("lists/large.json"), text).unwrap();
    let said = stage.run("report lists").stderr;
    assert!(said.contains("a list has more than 20000 entries"), "{said}");
}

#[test]
fn long_names_of_hosts_and_documents_of_very_many_values_are_refused() {
    let stage = Scenario::new();
    Inventory::of(&"m".repeat(256)).with("100-01").write(&stage, "lists/long.json");
    Inventory::of("web").with("100-01").write(&stage, "lists/web.json");
    let run = stage.run("report lists");
    assert_eq!(run.code, 5);
    let expected = "lists/long.json is not read as an inventory: its `machine` is longer than 255 bytes";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    let values = "{},".repeat(500_000);
    let text = format!(r#"{{"schema":"patchadm/1","command":"list","patches":[{values}0]}}"#);
    fs::write(stage.beside("many.json"), text).unwrap();
    let said = stage.run("report page many.json").fails(1);
    let expected = "cannot render many.json: it has more than 2000000 fields and entries";
    assert!(said.contains(expected), "{said}");
    fs::write(stage.beside("deep.json"), "[".repeat(3 << 20)).unwrap();
    let said = stage.run("report page deep.json").fails(1);
    assert!(said.contains("cannot render deep.json: it has more than"), "{said}");
}

#[test]
fn a_root_that_could_not_be_listed_is_told_beside_those_that_could() {
    let stage = Scenario::new();
    let good = Inventory::of("zones").field("root", json!("/zones/a")).with("100-01").0;
    let bad = json!({"schema": "patchadm/1", "command": "list", "root": "/zones/b", "exit_code": 1, "classic_code": 7, "cause": "no-database",
        "result": "failed", "changed": false, "error": "there is no package database"});
    let roots = json!({"schema": "patchadm/1", "command": "list", "roots": [good, bad]});
    fs::write(stage.beside("zones.json"), roots.to_string()).unwrap();
    let run = stage.run("report zones.json");
    assert_eq!(run.code, 5);
    assert!(run.stdout.contains("zones:/zones/a"), "{}", run.stdout);
    let expected = "zones.json: root /zones/b is not read as an inventory: that listing failed: there is no package database";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
}

#[test]
fn of_two_inventories_of_a_host_the_newer_one_counts_and_this_is_said() {
    let stage = Scenario::new();
    Inventory::of("web1").with("100-02").write(&stage, "new.json");
    Inventory::of("web1").field("at", json!("2026-11-19T07:00:00Z")).with("100-01").write(&stage, "old.json");
    for line in ["report new.json old.json", "report old.json new.json"] {
        let run = stage.run(line);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(
            run.stderr.contains("web1 has two inventories: new.json counts, old.json does not"),
            "{}",
            run.stderr
        );
        assert!(run.stdout.starts_with("1 host, 1 patch"), "{}", run.stdout);
        let found = "Attention:\n  listed in several inventories: old.json: it also lists this host (web1)\n";
        assert!(run.stdout.contains(found), "{}", run.stdout);
    }
    let report = document(&stage, "report --json --check new.json old.json", 4);
    assert_eq!(
        (&report["cause"], &report["summary"]["findings"]["named-twice"]),
        (&json!("attention"), &json!(1))
    );
    let text = stage.run("report --format prometheus new.json old.json").stdout;
    for line in ["patchadm_inventories_conflicting{host=\"web1\",root=\"/\"} 1", "} 4\n"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn an_inventory_from_the_future_is_left_out() {
    let stage = Scenario::new();
    Inventory::of("web1").with("100-02").write(&stage, "now.json");
    Inventory::of("web1")
        .field("at", json!("2027-11-20T07:00:00Z"))
        .with("100-01")
        .write(&stage, "later.json");
    let run = stage.run("report now.json later.json");
    assert_eq!(run.code, 5, "{}", run.stderr);
    let expected =
        "later.json: root / is not read as an inventory: its time is in the future: 2027-11-20 07:00";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    assert!(run.stdout.contains("web1") && !run.stderr.contains("two inventories"), "{}", run.stderr);
}

#[test]
fn an_inventory_of_an_earlier_version_tells_what_it_knows() {
    let stage = Scenario::new();
    four_hosts(&stage);
    let old = Inventory::of("x").without("machine").without("at").without("version").without("packages");
    old.with("100-01").write(&stage, "lists/mail.json");
    let report = document(&stage, "report --json lists", 0);
    let mail = host(&report, "mail");
    assert_eq!((&mail["at"], &mail["packages_known"]), (&Value::Null, &json!(false)));
    assert_eq!(mail["lacks"], json!(["100-02"]), "of 200-01 it is not known that it is for this host");
    assert!(report["notes"][0].as_str().unwrap().starts_with("1 inventory lists no packages"), "{report:#}");
}

#[test]
fn two_hosts_are_held_against_each_other() {
    let stage = Scenario::new();
    four_hosts(&stage);
    let said = stage.run("report --compare web1 old lists").ok();
    let (_, two) = said.split_once("web1 and old:\n").unwrap();
    assert_eq!(
        two,
        "  100: 01 | -\n  200: 01 | -\n  ACMEweb: 1 (all) | 2 (all)\n  0 patches are the same on both\n"
    );
    let report = document(&stage, "report --json --compare db1 web2 lists", 0);
    assert_eq!(report["compared"]["same_patches"], 1);
    assert_eq!(report["compared"]["patches"], json!([{"name": "200", "first": "01", "second": null}]));
    let said = stage.run("report --compare web1 web9 lists").fails(4);
    assert!(said.contains("no inventory is from a host web9"), "{said}");
}

#[test]
fn what_changed_since_the_report_before_is_told() {
    let stage = Scenario::new();
    four_hosts(&stage);
    fs::write(stage.beside("last.json"), stage.run("report --json lists").ok()).unwrap();
    let said = stage.run("report --since last.json lists").ok();
    assert!(said.ends_with("Changed since 2026-11-20 07:00:\n  nothing\n"), "{said}");
    Inventory::of("web1").with("100-02").with("200-01").write(&stage, "lists/web1.json");
    Inventory::of("db1").with("200-01").field("unfinished", json!("9-0a")).write(&stage, "lists/db1.json");
    Inventory::of("new").write(&stage, "lists/new.json");
    fs::remove_file(stage.beside("lists/old.json")).unwrap();
    let said = stage.run("report --since last.json lists").ok();
    let (_, since) = said.split_once("Changed since 2026-11-20 07:00:\n").unwrap();
    let expected = "  \
  new: new
  gone: old
  applied 100-02: web1
  removed 100-01: web1
  removed 100-02: db1
  now missing 100-02: db1
  no longer missing 100-02: web1
  new unfinished-run 9-0a: db1
";
    assert_eq!(since, expected);
    let report = document(&stage, "report --json --since last.json lists", 0);
    assert_eq!(report["since"]["common_hosts"], 3);
    assert_eq!(
        report["since"]["new_findings"],
        json!({"unfinished-run": [{"about": "9-0a", "hosts": ["db1"]}]})
    );
}

#[test]
fn a_report_of_before_that_is_none_is_refused_and_one_of_other_hosts_is_said() {
    let stage = Scenario::new();
    four_hosts(&stage);
    let last = stage.run("report --json lists").ok();
    fs::write(stage.beside("last.json"), &last).unwrap();
    Inventory::of("elsewhere").with("900-01").write(&stage, "other.json");
    let run = stage.run("report --since last.json other.json");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("the previous report is about other hosts: none of them is in this one"),
        "{}",
        run.stderr
    );
    for (text, reason) in [
        (last[..last.len() / 2].to_owned(), "EOF while parsing"),
        (last.replace("patchadm/1", "patchadm/9"), "its schema is <patchadm/9>"),
        (last.replace("\"report\"", "\"list\""), "it is a document from <list>, not from report"),
        (r#"{"schema":"patchadm/1","command":"report","error":"none"}"#.to_owned(), "that report failed"),
        (String::new(), "it is not the output of `patchadm report --json`"),
    ] {
        fs::write(stage.beside("bad.json"), text).unwrap();
        let said = stage.run("report --since bad.json lists").fails(1);
        assert!(said.contains("the previous report cannot be used: ") && said.contains(reason), "{said}");
    }
    let said = stage.run("report --since nowhere.json lists").fails(1);
    assert!(said.contains("cannot read nowhere.json"), "{said}");
}

#[test]
fn no_name_or_text_of_an_inventory_begins_a_line_of_its_own() {
    let stage = Scenario::new();
    let forged = "web\nforged 9 9";
    Inventory::of(forged)
        .with("100-01")
        .patch_field("synopsis", json!("fixes\nforged: all"))
        .write(&stage, "lists/a.json");
    Inventory::of("db\nforged").write(&stage, "lists/b.json");
    Inventory::of("db\nforged").field("at", json!("2026-11-19T07:00:00Z")).write(&stage, "lists/c.json");
    let run = stage.run("report lists");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains(r"web\u{a}forged 9 9") && run.stdout.contains(r"(fixes\u{a}forged: all)"));
    assert!(run.stderr.contains(r"db\u{a}forged has two inventories"), "{}", run.stderr);
    stage.run("report -o report.txt lists").done();
    let written = fs::read_to_string(stage.beside("report.txt")).unwrap();
    for text in [&run.stdout, &run.stderr, &written] {
        assert!(!text.lines().any(|line| line.trim_start().starts_with("forged")), "{text}");
    }
}

#[test]
fn a_pipe_or_a_link_to_a_device_among_inventories_is_named_and_not_read() {
    let stage = Scenario::new();
    four_hosts(&stage);
    let made = std::process::Command::new("mkfifo").arg(stage.beside("lists/pipe.json")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("/dev/zero", stage.beside("lists/zero.json")).unwrap();
    let run = stage.run("report lists");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("4 hosts, "), "{}", run.stdout);
    for name in ["pipe", "zero"] {
        let note = format!("lists/{name}.json is skipped: it is not a regular file");
        assert!(run.stderr.contains(&note), "{}", run.stderr);
    }
}

#[test]
fn rows_are_written_for_spreadsheets() {
    let stage = Scenario::new();
    let list =
        Inventory::of("=web, \"1\"").with("100-01").patch_field("synopsis", json!("@SUM(1)\u{202e}\n"));
    list.write(&stage, "a.json");
    Inventory::of("bare").write(&stage, "b.json");
    let said = stage.run("report --csv a.json b.json").ok();
    let expected = "\
host,machine,root,listed,patch,state,by,applied,undo,undo_bytes,removable,signature,on_trial,synopsis
\"'=web, \"\"1\"\"\",\"'=web, \"\"1\"\"\",/,2026-11-20T07:00:00Z,100-01,effective,,2026-11-19T07:00:00Z,saved,100,yes,,no,'@SUM(1)\\u{202e}\\u{a}
bare,bare,/,2026-11-20T07:00:00Z,100-01,lacking,,,,,,,,@SUM(1)
";
    let expected = expected.replace(",,,,,,,,@SUM(1)", ",,,,,,,,'@SUM(1)\\u{202e}\\u{a}");
    assert_eq!(said, expected);
    stage.run("report --format csv -o rows.csv a.json b.json").ok();
    assert_eq!(fs::read_to_string(stage.beside("rows.csv")).unwrap(), expected);
}

#[test]
fn a_report_is_written_to_a_file_in_every_format_it_has() {
    let stage = Scenario::new();
    four_hosts(&stage);
    let said = stage.run("report lists").ok();
    assert_eq!(stage.run("report -o report.txt lists").ok(), "");
    assert_eq!(fs::read_to_string(stage.beside("report.txt")).unwrap(), said);
    stage.run("report --format json -o report.json lists").ok();
    assert_document(PROGRAM.as_ref(), "report --json", &fs::read(stage.beside("report.json")).unwrap());
    assert_eq!(stage.run("report --format json lists").ok(), stage.run("report --json lists").ok());
    stage.run("report --format html -o page.html lists").ok();
    let page = fs::read_to_string(stage.beside("page.html")).unwrap();
    assert_eq!(stage.run("report --format html lists").ok(), page);
    stage.run("report --html same.html lists").ok();
    assert_eq!(fs::read_to_string(stage.beside("same.html")).unwrap(), page);
    for line in [
        "report --json --format csv lists",
        "report --json -o x lists",
        "report --csv --format csv lists",
        "report --format pdf lists",
    ] {
        stage.run(line).fails(2);
    }
    let said = stage.run("report --html nowhere/page.html lists").fails(1);
    assert!(said.contains("the page nowhere/page.html was not written"), "{said}");
}
