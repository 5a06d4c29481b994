//! Damaged, hostile or half-written records of dpkg, and hooks that are called with rubbish: the user gets one line,
//! and nothing is changed.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::thread;

use crate::adopt_refresh::{ONE, TWO, Version, adopted, delivered, dpkg_installs, patched, upgraded};
use crate::delivery::Patch;
use crate::scenario::{Run, Scenario};
use crate::tree::assert_same;

const STATUS: &str = "/var/lib/dpkg/status";

/// A root whose package is adopted and patched, and the text of its `status`.
fn stage() -> (Scenario, String) {
    let stage = adopted();
    patched(&stage);
    let status = stage.text(STATUS);
    (stage, status)
}

/// Asserts a single refusal: what was not done, why, and what to do, a line each.
#[track_caller]
fn one_refusal(said: &str) {
    assert!(said.lines().count() <= 3 && said.contains("error: ") && !said.contains("panicked"), "{said}");
}

/// Asserts that whatever `status` contains now, a refresh ends no patch, a change is refused, and queries answer.
#[track_caller]
fn nothing_is_lost(stage: &Scenario, word: &str) {
    let before = stage.everything();
    let run = stage.run("adopt --refresh -R @ROOT@");
    assert!(!run.stdout.contains("100-01"), "{word}: {}{}", run.stdout, run.stderr);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.contains(word), "{word}: {said}");
    one_refusal(&said);
    let listed = stage.run("list -R @ROOT@");
    assert!(listed.code == 0 && listed.stdout.contains("100-01"), "{}{}", listed.stdout, listed.stderr);
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_status_that_is_cut_short_anywhere_takes_no_registration_away() {
    let (stage, status) = stage();
    let cuts =
        [0, 1, "Package: web".len(), "Package: web\n".len(), "Package: web\nStatus: install ok inst".len()];
    let at_version = status.find("1.0-1").unwrap() + 3;
    for cut in cuts.into_iter().chain([at_version, status.find("Version").unwrap()]) {
        stage.file(STATUS, &status[..cut]);
        nothing_is_lost(&stage, "web");
    }
    // The last of several packages is lost.
    let other = "Package: other\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n";
    stage.file(STATUS, other);
    nothing_is_lost(&stage, "status");
    stage.file(STATUS, format!("{other}{status}"));
    stage.run("remove -R @ROOT@ 100-01").ok();
}

#[test]
fn a_status_of_a_gibibyte_is_refused_by_its_size() {
    let (stage, _) = stage();
    let file = fs::File::create(stage.at(STATUS)).unwrap();
    file.set_len(1 << 30).unwrap();
    nothing_is_lost(&stage, "status");
    let run = stage.limited("ulimit -v 400000", "adopt --dpkg web -R @ROOT@");
    assert!(run.code == 1 && run.stderr.contains("status"), "{} {}", run.code, run.stderr);
}

#[test]
fn two_entries_of_a_package_are_refused_and_adopted_in_no_way() {
    let (stage, status) = stage();
    stage.file(STATUS, format!("{status}\n{}", status.replace("1.0-1", "1.0-9")));
    nothing_is_lost(&stage, "the status file lists it several times");

    let stage = Scenario::new();
    dpkg_installs(&stage, None, &ONE, &[]);
    let status = stage.text(STATUS);
    stage.file(STATUS, format!("{status}\n{status}"));
    let before = stage.everything();
    let said = stage.run("adopt --dpkg web -R @ROOT@").fails(1);
    assert!(said.contains("the status file lists it several times"), "{said}");
    assert_same(&stage.everything(), &before);
    let said = stage.run("adopt --all -R @ROOT@").ok();
    assert!(said.contains("the status file lists it several times"), "{said}");
    assert!(!stage.at("/var/sadm/pkg/DEBweb").exists() && !stage.at("/var/sadm/pkg/DEBweb-amd64").exists());
}

#[test]
fn a_name_full_of_slashes_leads_nowhere() {
    let (stage, status) = stage();
    let names = ["../../../etc/passwd", "/etc/passwd", "web/../web", "..", "a/b/c//d"];
    let hostile: String = names
        .iter()
        .map(|name| {
            format!("Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n")
        })
        .collect();
    stage.file(STATUS, format!("{hostile}{status}"));
    let before = stage.everything();
    for name in names {
        let said = stage.run(&format!("adopt --dpkg {name} -R @ROOT@")).fails(1);
        one_refusal(&said);
    }
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert_same(&stage.everything(), &before);
    let said = stage.run("adopt --all -R @ROOT@").ok();
    assert!(said.contains("it is not a valid package name"), "{said}");
    stage.run("remove -R @ROOT@ 100-01").ok();
}

#[test]
fn sums_for_other_paths_say_nothing_about_these() {
    let stage = Scenario::new();
    dpkg_installs(&stage, None, &ONE, &[]);
    let sum = "d41d8cd98f00b204e9800998ecf8427e";
    let sums = format!("{sum}  etc/passwd\n{sum}  ../../usr/bin/web\n{sum}  usr/bin/other\n{sum}  \n{sum}\n");
    stage.file("/var/lib/dpkg/info/web.md5sums", sums);
    let said = stage.run("adopt --dpkg web -R @ROOT@").ok();
    assert!(!said.contains("differs") && !said.contains("passwd"), "{said}");
    assert!(stage.lines().iter().all(|line| !line.contains("passwd") && !line.contains("/other")));
    patched(&stage);
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib two\n");
}

#[test]
fn a_version_of_two_tildes_is_older_than_all_others_and_a_version_like_any() {
    let stage = adopted();
    let package = delivered("1.0-1").param("PATCH_FIXED_IN", "dpkg web >= 1.0-1").file(
        "usr/lib/libweb.so",
        0o644,
        "lib fixed\n",
    );
    stage.patchadd("", &Patch::of("100-01", package)).ok();
    dpkg_installs(&stage, Some(&ONE), &Version { version: "~~", ..TWO }, &[]);
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("100-01: LOST to web ~~ (dpkg)"), "{said}");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb NATIVE_VERSION").ok(), "~~\n");
    assert_eq!(
        stage.run("adopt --refresh -R @ROOT@").ok(),
        "All adopted packages match their package manager.\n"
    );
}

/// Runs the hook with the output of a shell command as its standard input. Also returns true if the command came to
/// its end; the pipe ends an endless command once nobody reads from it.
fn foreseen(stage: &Scenario, input: &str) -> (Run, bool) {
    let mut source = Command::new("/bin/sh").args(["-c", input]).stdout(Stdio::piped()).spawn().unwrap();
    let mut hook = stage.command("adopt --before-upgrade -R @ROOT@");
    let output = hook.stdin(source.stdout.take().unwrap()).output().unwrap();
    // `hook` holds the read end of the pipe.
    drop(hook);
    let came_to_its_end = source.wait().unwrap().success();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    (Run { code: output.status.code().unwrap(), stdout, stderr }, came_to_its_end)
}

#[test]
fn a_hook_that_is_told_without_end_or_in_another_version_says_one_line() {
    let (stage, _) = stage();
    let before = stage.everything();
    for (input, has_end, code, words) in [
        ("echo VERSION 3; yes A=b", false, 1, "more than 1000000 lines"),
        ("echo VERSION 3; yes ''", false, 1, "more than 1000000 lines"),
        ("yes 'a 1'", false, 1, "more than 100000 packages"),
        ("cat /dev/zero", false, 1, "longer than 64 MiB"),
        ("echo VERSION 3; echo A=b", true, 1, "is incomplete"),
        ("printf 'VERSION 9\\n\\nweb 1 < 2 /a\\n'", true, 0, "version 9"),
        ("printf 'VERSION \\033[31m\\n\\n'", true, 0, "version \\033[31m"),
    ] {
        let (run, came_to_its_end) = foreseen(&stage, input);
        assert_eq!(came_to_its_end, has_end, "{input}: it is read no further than needed");
        assert_eq!(run.code, code, "{input}: {}", run.stderr);
        assert!(run.stderr.contains(words) && run.stderr.lines().count() == 1, "{input}: {}", run.stderr);
    }
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_hook_that_is_told_without_end_needs_little_memory() {
    let (stage, _) = stage();
    for input in ["echo VERSION 3; yes ''", "yes 'a 1'", "yes ''"] {
        fs::write(stage.beside("input"), "").unwrap();
        let mut source = Command::new("/bin/sh");
        let bytes =
            source.args(["-c", &format!("{{ {input}; }} | head -c 70000000")]).output().unwrap().stdout;
        fs::File::create(stage.beside("input")).unwrap().write_all(&bytes).unwrap();
        let program = stage.command("adopt --before-upgrade -R @ROOT@");
        let mut limited = Command::new("/bin/sh");
        limited.args(["-c", "ulimit -v 600000 && exec \"$@\"", "sh"]).arg(program.get_program());
        let mut input_file = fs::File::open(stage.beside("input")).unwrap();
        limited.args(program.get_args()).stdin(input_file.try_clone().unwrap());
        let output = limited.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && said.contains("standard input is invalid"),
            "{input}: {said}"
        );
        let read = input_file.stream_position().unwrap();
        assert!(read < 70_000_000, "{input}: {read} bytes are read");
    }
}

/// A line of the list of ended patches.
fn lost(root: &str, patch: &str, package: &str) -> String {
    format!(
        r#"{{"root":"{root}","patch":"{patch}","state":"lost","manager":"dpkg","package":"{package}","version":"1.0-2","time":"2026-11-20T07:00:00Z"}}"#
    ) + "\n"
}

#[test]
fn a_list_of_another_root_says_nothing_about_this_one() {
    let stage = upgraded();
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert_eq!(stage.run("list --check -R @ROOT@").code, 4);
    let own = stage.text("/var/sadm/patchadm/lost");
    stage.file("/var/sadm/patchadm/lost", lost("00112233445566ff", "777-01", "web"));
    assert_eq!(stage.run("list --check -R @ROOT@").ok(), "No patches are applied.\n");
    assert!(stage.run("adopt --refresh --accept 777-01 -R @ROOT@").fails(4).contains("777-01"));
    stage.file("/var/sadm/patchadm/lost", lost("00112233445566ff", "777-01", "web") + "rubbish\n{}\n" + &own);
    assert_eq!(stage.run("list --check -R @ROOT@").code, 4);
}

#[test]
fn a_forged_line_cannot_say_more_than_a_line() {
    let stage = upgraded();
    stage.run("adopt --refresh -R @ROOT@").ok();
    let own = stage.text("/var/sadm/patchadm/lost");
    let root = own.split('"').nth(3).unwrap().to_owned();
    for name in ["web\\nerror: all is lost", "web\\u001b[2J", "web\\r100-01 effective", "web\\u0000"] {
        let forged = lost(&root, "777-01", name) + &lost(&root, name, "web");
        stage.file("/var/sadm/patchadm/lost", own.clone() + &forged);
        for line in ["list", "list --check", "check --offline"] {
            let run = stage.run(&format!("{line} -R @ROOT@"));
            let said = run.stdout + &run.stderr;
            assert!(!said.contains("error: all") && !said.contains(['\u{1b}', '\r', '\0']), "{line}: {said}");
            assert!(!said.contains("777-01"), "{line}: {said}");
        }
    }
    // An entry that names no patch was not written by this program.
    stage.file("/var/sadm/patchadm/lost", lost(&root, "../../etc", "web"));
    assert_eq!(stage.run("list --check -R @ROOT@").ok(), "No patches are applied.\n");
}

#[test]
fn what_an_interrupted_dpkg_left_half_done_is_left_to_the_next_refresh() {
    let (stage, status) = stage();
    stage.file(STATUS, status.replace("install ok installed", "install reinstreq half-installed"));
    nothing_is_lost(&stage, "dpkg has not finished with web");
    // The latest state is in the journal of dpkg only, not in `status` yet.
    stage.file(STATUS, &status);
    stage.file("/var/lib/dpkg/updates/0003", status.replace("ok installed", "ok half-configured"));
    nothing_is_lost(&stage, "dpkg has not finished with web");
    let plain = Scenario::new();
    dpkg_installs(&plain, None, &ONE, &[]);
    plain.file("/var/lib/dpkg/updates/0003", &status);
    let said = plain.run("adopt --dpkg web -R @ROOT@").fails(1);
    assert!(said.contains("dpkg has not finished with it"), "{said}");
    let said = plain.run("adopt --all -R @ROOT@").ok();
    assert!(said.contains("dpkg has not finished with it"), "{said}");
    // Entries of other packages, and files that are no journal entries of dpkg, do not matter.
    fs::remove_file(stage.at("/var/lib/dpkg/updates/0003")).unwrap();
    stage.file("/var/lib/dpkg/updates/0000", "Package: other\nStatus: install ok unpacked\nVersion: 1\n");
    stage.file("/var/lib/dpkg/updates/tmp.i", status.replace("ok installed", "ok half-"));
    stage.run("remove -R @ROOT@ 100-01").ok();
}

#[test]
fn a_database_of_dpkg_that_nobody_may_write_is_read_and_left_alone() {
    let stage = upgraded();
    stage.file("/var/lib/dpkg/lock-frontend", "");
    for path in ["/var/lib/dpkg/lock-frontend", STATUS] {
        stage.mode(path, 0o444);
    }
    let directories = ["/var/lib/dpkg/info", "/var/lib/dpkg"];
    for path in directories {
        fs::set_permissions(stage.at(path), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("100-01: LOST"), "{said}");
    assert_eq!(fs::read_dir(stage.at("/var/lib/dpkg")).unwrap().count(), 3);
    for path in directories {
        stage.mode(path, 0o755);
    }
}

#[test]
fn a_native_package_is_adopted_once() {
    let stage = adopted();
    let before = stage.everything();
    for line in ["adopt --dpkg web -R @ROOT@", "adopt --dpkg web:amd64 --pkg OTHER -R @ROOT@"] {
        let run = stage.run(line);
        assert_ne!(run.code, 0, "{line}: {}", run.stdout);
        assert!(run.stderr.contains("DEBweb"), "{line}: {}", run.stderr);
    }
    // Not even a part of the package that no registration owns.
    let run = stage.run("adopt --dpkg web --pkg OTHER --exclude /usr/bin/* --exclude /usr/lib/* --exclude /usr/share/web/* -R @ROOT@");
    assert!(run.code != 0 && run.stderr.contains("DEBweb"), "{}{}", run.stdout, run.stderr);
    let said = stage.run("adopt --all -R @ROOT@").ok();
    assert!(said.contains("1 was adopted before"), "{said}");
    assert_same(&stage.everything(), &before);
}

#[test]
fn the_hook_twice_at_once_is_the_hook_once() {
    let stage = upgraded();
    let runs: Vec<Run> = thread::scope(|scope| {
        let hooks: Vec<_> =
            (0..4).map(|_| scope.spawn(|| stage.run("adopt --refresh --from-hook -R @ROOT@"))).collect();
        hooks.into_iter().map(|hook| hook.join().unwrap()).collect()
    });
    for run in &runs {
        let is_wait = run.stderr.is_empty() || run.stderr.contains("waiting for process");
        assert!(run.code == 0 && is_wait && run.stderr.lines().count() <= 1, "{run:?}");
    }
    let told = runs.iter().filter(|run| run.stdout.contains("100-01: LOST")).count();
    assert_eq!(told, 1, "{runs:?}");
    assert_eq!(stage.text("/var/sadm/patchadm/lost").lines().count(), 1);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}
