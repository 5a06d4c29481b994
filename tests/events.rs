//! Each run sends one event to the journal of systemd or to syslog, and no run depends on it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{NOW, Scenario};
use crate::trial_timer::{said_in_copy, stage_for_copy};

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// A root with a package, two patches for it beside it, and a socket that receives the events.
fn stage(kind: &str) -> (Scenario, UnixDatagram) {
    let mut stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    for (id, text) in [("100-01", "two\n"), ("100-02", "three\n")] {
        Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, text)).directory(&stage);
    }
    let path = stage.beside("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    stage.set("PATCHADM_EVENTS", format!("{kind}:{}", path.display()));
    (stage, socket)
}

/// The datagrams received so far.
fn heard(socket: &UnixDatagram) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    let mut buffer = vec![0; 1 << 17];
    while let Ok(size) = socket.recv(&mut buffer) {
        heard.push(buffer[..size].to_vec());
    }
    heard
}

/// Reads a datagram as the journal reads it: a line with a value, or a name with the length of what follows.
fn fields(datagram: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = datagram;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        rest = if let Some(equals) = line.iter().position(|&byte| byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
            after
        } else {
            let (size, value) = after.split_at(8);
            let size = usize::try_from(u64::from_le_bytes(size.try_into().unwrap())).unwrap();
            fields.insert(text(line), text(&value[..size]));
            &value[size + 1..]
        };
    }
    assert!(rest.is_empty(), "the last field ends with a newline");
    fields
}

fn events(socket: &UnixDatagram) -> Vec<BTreeMap<String, String>> {
    heard(socket).iter().map(|datagram| fields(datagram)).collect()
}

#[test]
fn each_run_is_one_event_with_its_patches_verdict_caller_and_duration() {
    let (stage, socket) = stage("journal");
    stage.run("add -R @ROOT@ --note ticket delivered/100-01").ok();
    let [applied] = &events(&socket)[..] else { panic!("one run, one event") };
    let root = stage.root().display().to_string();
    let run = &applied["PATCHADM_RUN"];
    assert!(run.starts_with("2-"), "the package was the first run: {run}");
    for (name, expected) in [
        ("SYSLOG_IDENTIFIER", "patchadm"),
        ("PRIORITY", "5"),
        ("MESSAGE_ID", "b9d04953c598422ab1f59a682d17f3d8"),
        ("PATCHADM_ROOT", root.as_str()),
        ("PATCHADM_COMMAND", "patchadd"),
        ("PATCHADM_RESULT", "done"),
        ("PATCHADM_PATCHES", "100-01"),
        ("PATCHADM_PACKAGES", "ACMEweb"),
        ("PATCHADM_NOTE", "ticket"),
        ("PATCHADM_BEGAN", "2026-11-20T07:00:00Z"),
    ] {
        assert_eq!(applied[name], expected, "{name}");
    }
    assert!(applied["PATCHADM_DURATION_MS"].parse::<u64>().is_ok());
    let message = &applied["MESSAGE"];
    assert!(message.starts_with(&format!("run 2 of {root}: patchadd 100-01: done by ")), "{message}");
    stage.run("undo -R @ROOT@").ok();
    let [undone] = &events(&socket)[..] else { panic!("one run, one event") };
    assert_eq!((&undone["PATCHADM_COMMAND"], &undone["PATCHADM_UNDOES"]), (&"patchrm".to_owned(), run));
    for question in ["list -R @ROOT@", "add -R @ROOT@ --dry-run delivered/100-01"] {
        stage.run(question).ok();
    }
    assert!(events(&socket).is_empty(), "a question is no run");
}

#[test]
fn several_patches_of_a_run_are_one_event() {
    let (stage, socket) = stage("journal");
    Patch::of("200-01", Package::new("ACMEweb").file("bin/other", 0o755, "new\n")).directory(&stage);
    stage.run("add -R @ROOT@ delivered/100-01 delivered/200-01").ok();
    let patches: Vec<String> =
        events(&socket).into_iter().map(|event| event["PATCHADM_PATCHES"].clone()).collect();
    assert_eq!(patches, ["100-01 200-01"]);
}

#[test]
fn a_run_that_was_rolled_back_is_a_warning() {
    let (stage, socket) = stage("journal");
    let failing = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "two\n")
        .information("postinstall", "echo no >&2\nexit 1\n");
    Patch::of("300-01", failing).directory(&stage);
    stage.run("add -R @ROOT@ delivered/300-01");
    let [event] = &events(&socket)[..] else { panic!("one run, one event") };
    assert_eq!((event["PRIORITY"].as_str(), event["PATCHADM_RESULT"].as_str()), ("4", "rolled-back"));
    assert_eq!(event["MESSAGE_ID"], "ee52cd67d6c74834ad23d9e4ace7f0dd");
}

#[test]
fn a_trial_is_told_when_it_begins_and_when_it_ends() {
    let (stage, socket) = stage("journal");
    stage.run("add -R @ROOT@ --trial 1h delivered/100-01");
    let [begun] = &events(&socket)[..] else { panic!("one run, one event") };
    assert_eq!(begun["PATCHADM_TRIAL_UNTIL"], "2026-11-20T08:00:00Z");
    stage.run("confirm -R @ROOT@").ok();
    let [ended] = &events(&socket)[..] else { panic!("one run, one event") };
    assert_eq!(
        (&ended["PATCHADM_TRIAL_RUN"], ended["PATCHADM_TRIAL_END"].as_str()),
        (&begun["PATCHADM_RUN"], "confirmed")
    );
}

#[test]
fn syslog_gets_a_line() {
    let (stage, socket) = stage("syslog");
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let [line] = &heard(&socket)[..] else { panic!("one run, one line") };
    let line = String::from_utf8(line.clone()).unwrap();
    assert!(line.starts_with("<29>Nov 20 07:00:00 patchadm["), "{line}");
    assert!(line.contains("]: run 2 of ") && line.contains(": patchadd 100-01: done by "), "{line}");
    assert_eq!(NOW, 1_795_158_000, "the clock of every scenario is that of the line");
}

#[test]
fn a_receiver_that_takes_nothing_is_noted_and_the_run_is_as_ever() {
    let (stage, socket) = stage("journal");
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(&[0; 1 << 10], stage.beside("socket")).is_ok() {}
    let run = stage.run("add -R @ROOT@ delivered/100-01");
    assert_eq!(run.code, 0);
    let note = "patchadm: note: the journal at ";
    assert!(
        run.stderr.starts_with(note) && run.stderr.contains("; the run is not affected\n"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stderr.lines().count(), 1);
    drop(socket);
    let run = stage.run("remove -R @ROOT@ 100-01");
    assert!(run.code == 0 && run.stderr.contains("(Connection refused"), "{}", run.stderr);
    fs::remove_file(stage.beside("socket")).unwrap();
    let run = stage.run("-q add -R @ROOT@ delivered/100-02");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}

#[test]
fn a_receiver_that_means_nothing_is_refused_before_anything_is_done() {
    let (mut stage, _) = stage("journal");
    stage.set("PATCHADM_EVENTS", "mail:root");
    let before = stage.everything();
    let said = stage.run("add -R @ROOT@ delivered/100-01").fails(1);
    assert!(
        said.contains("PATCHADM_EVENTS must be none, journal:SOCKET or syslog:SOCKET, not <mail:root>"),
        "{said}"
    );
    crate::tree::assert_same(&stage.everything(), &before);
}

#[test]
fn the_journal_of_systemd_has_the_fields() {
    if !Path::new(JOURNALD).exists() {
        crate::missing("systemd-analyze", "the_journal_of_systemd_has_the_fields");
        return;
    }
    // In a copy of this machine, where the journal may be started and the root is `/` itself.
    let stage = stage_for_copy();
    let script = format!(
        r"
mkdir -p /run/systemd/journal /run/log/journal
tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
{JOURNALD} > /dev/null 2>&1 &
journal=$!
tries=0
until [ -S /run/systemd/journal/socket ]; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || {{ echo no journal; exit 0; }}
	sleep 0.1
done
patchadm add --note 'for ticket 7' delivered/100-01 > said 2>&1 || {{ cat said; exit 1; }}
tries=0
until journalctl -q -o json PATCHADM_ROOT=/ PATCHADM_PATCHES=100-01 | grep . ; do
	tries=$((tries + 1))
	[ $tries -lt 50 ] || exit 1
	sleep 0.1
done
kill $journal
"
    );
    let Some(said) = said_in_copy(&stage, &script) else { return };
    let entry: serde_json::Value =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    for (name, expected) in [
        ("PATCHADM_RESULT", "done"),
        ("PATCHADM_COMMAND", "patchadd"),
        ("PATCHADM_NOTE", "for ticket 7"),
        ("PRIORITY", "5"),
        ("SYSLOG_IDENTIFIER", "patchadm"),
        ("MESSAGE_ID", "b9d04953c598422ab1f59a682d17f3d8"),
    ] {
        assert_eq!(entry[name], expected, "{name}: {said}");
    }
    assert!(
        entry["MESSAGE"].as_str().unwrap().starts_with("run 2 of /: patchadd 100-01: done by root in "),
        "{said}"
    );
}
