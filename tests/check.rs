//! `patchadm check` prints a line for each section and the command that helps, and changes nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use patchadm_changeset::format::journal::{checked_line, parse_head};
use patchadm_rootfs::{Lock, Root};
use serde_json::Value;

use crate::delivery::{Patch, indexed_depot};
use crate::everyman::as_ordinary_user;
use crate::faulty_server::{FaultyServer, Step, whole};
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::{Tree, assert_same};

const LINE: &str = "check -R @ROOT@";
const JOURNAL: &str = "/var/sadm/patchadm/journal";

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text)
}

/// A root with a package and a patch.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &Patch::of("100-01", web("two\n"))).ok();
    stage
}

/// Everything in a root, including our own directory.
fn all(stage: &Scenario) -> Tree {
    Tree::of(&stage.root(), &[])
}

/// The state and the text of the only line of a section.
#[track_caller]
fn found(run: &Run, what: &str) -> (String, String) {
    let of_matter = |line: &&str| line.split_whitespace().next() == Some(what);
    let lines: Vec<&str> = run.stdout.lines().filter(of_matter).collect();
    assert_eq!(lines.len(), 1, "{what}: {}{}", run.stdout, run.stderr);
    let (state, text) = lines[0][what.len()..].trim_start().split_once(' ').unwrap();
    (state.to_owned(), text.trim_start().to_owned())
}

/// Asserts the texts of a section, and that it is the only one that needs attention.
#[track_caller]
fn assert_attention(stage: &Scenario, line: &str, what: &str, texts: &[&str]) {
    assert_attention_as(stage, line, (4, "attention"), what, texts);
}

/// Like [`assert_attention`], with another exit code and cause.
#[track_caller]
fn assert_attention_as(stage: &Scenario, line: &str, (code, cause): (i32, &str), what: &str, texts: &[&str]) {
    let before = all(stage);
    let run = stage.run(line);
    assert_same(&all(stage), &before);
    assert_eq!((run.code, run.stderr.as_str()), (code, ""), "{}", run.stdout);
    let (state, text) = found(&run, what);
    assert_eq!(state, "attention", "{}", run.stdout);
    assert_eq!(run.stdout.matches(" attention ").count(), 1, "{}", run.stdout);
    texts.iter().for_each(|wanted| assert!(text.contains(wanted), "{wanted}: {text}"));
    let quiet = stage.run(&format!("{line} -q"));
    assert_eq!((quiet.code, quiet.stdout.as_str()), (code, ""));
    assert!(quiet.stderr.starts_with(&format!("patchadm: error: {what}: {text}\n")), "{}", quiet.stderr);
    let document: Value = serde_json::from_str(&stage.run(&format!("{line} --json")).stdout).unwrap();
    assert_eq!(document["cause"], cause);
}

#[test]
fn a_healthy_root_needs_nothing_and_is_as_before() {
    let stage = stage();
    let before = all(&stage);
    let run = stage.run(LINE);
    assert_same(&all(&stage), &before);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    for (what, text) in [
        ("kernel", "openat2 available"),
        ("rights", "you may change the root"),
        ("lock", "no command is changing the root"),
        ("policy", "all settings are valid"),
        ("unfinished", "no unfinished run"),
        ("identity", "journal and root-id match"),
        ("program", "no later version of patchadm has changed this root"),
        ("records", "all records are consistent"),
        ("keys", "no keys are trusted"),
        ("depot", "no depot is configured or was used before"),
        ("path", "16 classic commands are not in PATH, and need not be: `patchadm NAME` runs them"),
    ] {
        assert_eq!(found(&run, what), ("ok".to_owned(), text.to_owned()), "{}", run.stdout);
    }
    for what in ["exchange", "reflink"] {
        assert!(["ok", "limited"].contains(&found(&run, what).0.as_str()), "{}", run.stdout);
    }
    let columns = run.stdout.lines().map(|line| line.as_bytes().iter().position(|byte| *byte == b' '));
    assert!(columns.flatten().all(|column| column <= "user-namespaces".len()));
    assert_eq!(stage.run("check -q -R @ROOT@").ok(), "");
    let document: Value = serde_json::from_str(&stage.run("check --json -R @ROOT@").ok()).unwrap();
    let findings = document["findings"].as_array().unwrap();
    assert_eq!(findings.len(), run.stdout.lines().count());
    assert_eq!((&findings[0]["what"], &findings[0]["command"]), (&"kernel".into(), &Value::Null));
}

#[test]
fn a_root_without_a_database_is_told_and_nothing_is_made() {
    let stage = Scenario::bare();
    let advice = "or register a directory with `patchadm -R @ROOT@ adopt --pkg PKG --pkg-version VERSION --dir DIR`, \
                  or a dpkg or rpm package with `patchadm -R @ROOT@ add --adopt PATCH`";
    assert_attention(&stage, LINE, "records", &["there is no package database below @ROOT@", advice]);
    let run = stage.run(LINE);
    assert_eq!(found(&run, "exchange").0, "unknown", "{}", run.stdout);
    assert!(!stage.at("/var").exists());
    assert!(stage.run("check -R /no/such/root").fails(1).contains("/no/such/root"));
}

#[test]
fn an_interrupted_run_is_told_with_its_recovery_until_it_is_recovered() {
    let stage = crate::list::interrupted();
    let wanted = ["(patchadm add) was interrupted: recovery rolls it back", "`patchadm -R @ROOT@ recover`"];
    assert_attention_as(&stage, LINE, (9, "unfinished"), "unfinished", &wanted);
    let files = found(&stage.run(LINE), "files");
    assert!(files.0 == "unknown" && files.1.starts_with("not compared: "), "{files:?}");
    assert_eq!(found(&stage.run(LINE), "exchange").1, "not tested while a run is in progress or unfinished");
    stage.run("recover -R @ROOT@").ok();
    stage.run(LINE).ok();
}

#[test]
fn an_interrupted_run_in_a_root_of_somebody_else_is_told_and_its_files_are_not_read() {
    if !is_root() {
        crate::skipped("an_interrupted_run_in_a_root_of_somebody_else_is_told: only root can be two users");
        return;
    }
    let stage = crate::list::interrupted();
    as_ordinary_user(&stage, LINE, &[&stage.root()]);
    for entry in fs::read_dir(stage.at("/var/sadm/patchadm")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().as_encoded_bytes().starts_with(b"ops-") {
            fs::File::options().write(true).open(entry.path()).unwrap().set_len(3 << 30).unwrap();
        }
    }
    let run = stage.run(LINE);
    let (state, text) = found(&run, "unfinished");
    let told = "(patchadd) was interrupted; the outcome of its recovery cannot be predicted: The root @ROOT@ belongs to uid ";
    assert!(state == "attention" && text.contains(told), "{}", run.stdout);
    assert!(text.ends_with("`patchadm -R @ROOT@ recover`"), "{text}");
}

#[test]
fn a_command_at_work_is_named_and_no_reason_to_do_anything() {
    let stage = stage();
    let lock = Lock::take(&Root::open(&stage.root()).unwrap(), "pkgadd", |_| false).unwrap();
    let run = stage.run(LINE);
    let text =
        format!("held by process {} (pkgadd); `patchadm -R @ROOT@ VERB --wait DURATION`", std::process::id());
    assert_eq!((run.code, found(&run, "lock")), (0, ("limited".to_owned(), text)));
    assert_eq!(found(&run, "reflink").0, "unknown");
    drop(lock);
}

#[test]
fn a_journal_that_is_damaged_or_of_a_later_version_is_told_with_what_helps() {
    let stage = stage();
    let whole = fs::read(stage.at(JOURNAL)).unwrap();
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    fs::write(stage.at(JOURNAL), damaged).unwrap();
    assert_attention_as(
        &stage,
        LINE,
        (9, "in-doubt"),
        "unfinished",
        &["its header", "`patchadm -R @ROOT@ recover --discard-journal`"],
    );

    let mut header = serde_json::to_value(parse_head(&whole).unwrap().header).unwrap();
    let version = header["version"].as_u64().unwrap();
    header["version"] = (version + 1).into();
    let mut later = whole;
    let line = checked_line(&header);
    let line = line.trim_ascii_end();
    later[..511].fill(b' ');
    later[..line.len()].copy_from_slice(line);
    fs::write(stage.at(JOURNAL), later).unwrap();
    let wanted =
        ["a later version of patchadm has changed this root", &format!("it is of version {}", version + 1)];
    assert_attention_as(&stage, LINE, (9, "in-doubt"), "program", &wanted);
}

#[test]
fn a_damaged_record_is_told_and_the_command_beside_it_repairs_it() {
    let stage = stage();
    stage.file("/var/sadm/pkg/ACMEweb/pkginfo", "PKG");
    let repair = "`patchadm pkgchk -R @ROOT@ -f ACMEweb`";
    assert_attention_as(
        &stage,
        LINE,
        (4, "damaged-record"),
        "records",
        &["@ROOT@/var/sadm/pkg/ACMEweb/pkginfo: it holds no parameters", repair],
    );
    stage.run("pkgchk -R @ROOT@ -f ACMEweb");
    let run = stage.run(LINE);
    assert!(run.stdout.contains("records          ok  "), "{}", run.stdout);
}

#[test]
fn a_key_that_is_expired_needs_attention_and_one_that_will_be_is_told() {
    let stage = stage();
    stage.run("keygen -o @ROOT@/release --no-password").ok();
    let rules = "--roles patch --bases 3000[0-9]*";
    let trust =
        |day: &str| stage.run(&format!("key trust -R @ROOT@ --expires {day} {rules} @ROOT@/release.pub"));
    trust("2026-11-19").ok();
    let renewal = "`patchadm -R @ROOT@ key trust --name release --expires YYYY-MM-DD --roles patch --bases '3000[0-9]*' \
                   @ROOT@/etc/patchadm/keys/release.pub`";
    assert_attention(&stage, LINE, "keys", &["(release) expired on 2026-11-19", renewal]);
    for (day, state) in [("2026-11-20", "limited"), ("2026-12-20", "limited"), ("2026-12-21", "ok")] {
        trust(day).ok();
        let run = stage.run(LINE);
        assert_eq!((run.code, found(&run, "keys").0.as_str()), (0, state), "{day}: {}", run.stdout);
    }
    let id = stage.run("key list -R @ROOT@").ok().split(' ').next().unwrap().to_owned();
    trust("2026-11-19").ok();
    stage.run(&format!("key revoke -R @ROOT@ {id}")).ok();
    assert_eq!(found(&stage.run(LINE), "keys").1, "no keys are trusted");
    stage.file("/etc/patchadm/policy", "signature=require\n");
    assert_attention(&stage, LINE, "keys", &["no keys are trusted", "`patchadm -R @ROOT@ key trust FILE`"]);
}

#[test]
fn a_depot_of_the_policy_that_is_not_reached_needs_attention_and_takes_seconds() {
    let stage = stage();
    let depot = |named: &str| stage.file("/etc/patchadm/policy", format!("depot={named}\n"));
    let good = FaultyServer::begin(|_| whole("200 OK", b"{}"));
    depot(&good.url("depot"));
    assert_eq!(
        found(&stage.run(LINE), "depot"),
        ("ok".to_owned(), format!("{} can be reached", good.url("depot")))
    );
    assert_eq!(good.asked()[0].path, "/depot/index.json");
    let empty = FaultyServer::begin(|_| whole("404 Not Found", b""));
    depot(&empty.url("depot"));
    assert_attention(
        &stage,
        LINE,
        "depot",
        &["the server does not have it (status 404)", "depot check http://"],
    );
    let dumb = FaultyServer::begin(|_| vec![Step::Wait(Duration::from_secs(60))]);
    depot(&dumb.url("depot"));
    let run = stage.run(LINE);
    assert_eq!((run.code, found(&run, "depot").0.as_str()), (4, "attention"), "{}", run.stdout);
    let run = stage.run("check --offline -R @ROOT@");
    assert_eq!((run.code, found(&run, "depot").0.as_str()), (0, "unknown"), "{}", run.stdout);
    depot("/no/such/depot");
    assert_attention(&stage, LINE, "depot", &["/no/such/depot does not exist"]);
}

#[test]
fn a_depot_that_is_only_remembered_is_asked_and_no_reason_to_do_anything() {
    let stage = stage();
    let depot = indexed_depot(&stage, &[Patch::of("200-01", web("three\n"))]);
    let seen = serde_json::json!({
        "depot": "aa".repeat(16), "location": depot.to_str().unwrap(), "version": 1,
        "sha256": "11".repeat(32), "expires": null, "seen": "2026-11-20T07:00:00Z"
    });
    stage.file("/var/sadm/patchadm/depots", format!("{seen}\n"));
    assert_eq!(found(&stage.run(LINE), "depot").0, "ok");
    fs::remove_dir_all(&depot).unwrap();
    let run = stage.run(LINE);
    assert_eq!((run.code, found(&run, "depot").0.as_str()), (0, "limited"), "{}", run.stdout);
    stage.file("/var/sadm/patchadm/depots", "rubbish\n");
    assert_attention(&stage, LINE, "depot", &["@ROOT@/var/sadm/patchadm/depots: line 1"]);
}

#[test]
fn another_pkginfo_before_this_one_in_path_is_told() {
    let mut stage = stage();
    let (links, others) = (stage.beside("links"), stage.beside("others"));
    fs::create_dir(&links).unwrap();
    fs::create_dir(&others).unwrap();
    stage.run(&format!("setup links {}", links.display())).ok();
    symlink(env!("CARGO_BIN_EXE_patchadm"), links.join("patchadm")).unwrap();
    fs::write(others.join("pkginfo"), "#!/bin/sh\n").unwrap();
    let path = |first: &Path, second: &Path| format!("{}:{}", first.display(), second.display());
    stage.set("PATH", path(&links, &others));
    let (state, text) = found(&stage.run(LINE), "path");
    assert!(state == "ok" && text == "all classic commands are in PATH", "{text}");
    stage.set("PATH", path(&others, &links));
    assert_eq!(found(&stage.run(LINE), "path").0, "ok", "what cannot be executed is passed over");
    fs::set_permissions(others.join("pkginfo"), fs::Permissions::from_mode(0o755)).unwrap();
    let other = format!("pkginfo is another program, {}", others.join("pkginfo").display());
    assert_attention(&stage, LINE, "path", &[&other, "`patchadm setup links DIR`"]);
}

#[test]
fn a_policy_that_makes_no_sense_is_told() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "edited=perhaps\n");
    assert_attention(&stage, LINE, "policy", &["@ROOT@/etc/patchadm/policy, line 1: edited"]);
}

#[test]
fn where_undo_data_goes_must_be_there() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "undo_dir=/no/such/directory\n");
    assert_attention(
        &stage,
        LINE,
        "space",
        &["undo data is kept in /no/such/directory, which does not exist"],
    );
}

#[test]
fn a_root_of_somebody_else_is_looked_at_and_nothing_is_tried() {
    if !is_root() {
        crate::skipped(
            "a_root_of_somebody_else_is_looked_at_and_nothing_is_tried: only root can be two users",
        );
        return;
    }
    let stage = stage();
    let before = all(&stage);
    let output = as_ordinary_user(&stage, LINE, &[]).output().unwrap();
    assert_same(&all(&stage), &before);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let run = Run { code: 0, stdout: text, stderr: String::new() };
    let theirs = "belongs to another user, and you are not root";
    for (what, state) in [("rights", "limited"), ("exchange", "unknown"), ("reflink", "unknown")] {
        let (found, text) = found(&run, what);
        assert!(found == state && text.contains(theirs), "{}", run.stdout);
    }
}

#[test]
fn a_root_that_another_user_may_change_is_told_to_the_superuser_and_nothing_is_tried() {
    if !is_root() {
        crate::skipped("a_root_that_another_user_may_change_is_told_to_the_superuser: not root");
        return;
    }
    let stage = stage();
    stage.file("/etc/patchadm/policy", "depot=http://127.0.0.1:1/\n");
    as_ordinary_user(&stage, LINE, &[&stage.root()]);
    let before = all(&stage);
    let run = stage.run(LINE);
    assert_same(&all(&stage), &before);
    assert_eq!(
        (run.code, &*found(&run, "files").0),
        (4, "attention"),
        "the owners are others: {}",
        run.stdout
    );
    let (state, text) = found(&run, "rights");
    assert!(state == "limited" && text.ends_with("`patchadm -R @ROOT@ VERB --as-owner`"), "{text}");
    assert_eq!(found(&run, "exchange").0, "unknown");
    assert_eq!(found(&run, "depot").1, "not contacted: others can change which depot is used");
}

#[test]
fn a_read_only_root_is_looked_at_and_nothing_is_tried() {
    let test = "a_read_only_root_is_looked_at_and_nothing_is_tried";
    let mount = "mount --bind \"$ROOT\" \"$ROOT\"; mount -o remount,bind,ro \"$ROOT\"";
    let Some(mounted) = Mounted::new(test, stage(), mount) else { return };
    let run = mounted.run(LINE);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert!(found(&run, "rights").1.contains("is read-only"), "{}", run.stdout);
    assert_eq!(found(&run, "exchange").0, "unknown");
}

#[test]
fn a_file_system_without_a_journal_or_room_is_named() {
    let test = "a_file_system_without_a_journal_or_room_is_named";
    let mount = "mount -t tmpfs -o size=8m none \"$ROOT/opt\"; cp -a \"$ROOT/var\" \"$BESIDE/var\"; \
                 mount -t tmpfs -o size=8m none \"$ROOT/var\"; cp -a \"$BESIDE/var/.\" \"$ROOT/var\"";
    let stage = Scenario::on_disk();
    stage.install(&web("one\n"));
    let Some(mounted) = Mounted::new(test, stage, mount) else { return };
    let run = mounted.run(LINE);
    assert_eq!(run.code, 4, "{}", run.stdout);
    let (state, text) = found(&run, "journal");
    assert!(state == "limited" && text.contains("@ROOT@/var (tmpfs)"), "{}", run.stdout);
    let (state, text) = found(&run, "space");
    assert!(
        state == "attention" && text.contains("`patchadm -R @ROOT@ undo-data drop --superseded`"),
        "{text}"
    );
}
