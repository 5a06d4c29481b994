//! Malicious recipes during a scan: no scan sees or answers for another one, none exceeds its time limit, and the
//! names in a recipe reveal nothing about files of others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use patchadm_bulk_values::result::Blake3Digest;
use rustix::process::{Pid, Signal, kill_process};

use super::{BulkBuild, BulkRun, everybody, mark, processes_with};
use crate::scenario::is_root;
use crate::workshop::eventually;

/// The lines of the file with all records.
fn records(build: &BulkBuild) -> Vec<String> {
    let text = fs::read_to_string(build.work().join("scan/pscan")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Prints what it sees of other scans, stops its parent, and leaves files wherever it can write.
const LOOKS_AND_LEAVES: &str = "\
name=$1
set -- /proc/[0-9]*
left=$(find /tmp /var/tmp /dev/shm -mindepth 1 2> /dev/null | tr '\\n' ' ')
open=$(ls /proc/$PPID/fd 2> /dev/null | wc -l)
echo PKGNAME=$name-1.0
echo \"COMMENT=left [$left] processes $# open $open\"
kill -STOP $PPID 2> /dev/null
for place in /tmp /var/tmp /dev/shm; do echo left > $place/$name; mkdir -m 500 $place/$name.d; done
for place in / /usr /tree /driver; do touch $place/left 2> /dev/null && echo LEFT=$place; done
setsid sleep 1000 &
exit 0
";

#[test]
fn a_scan_sees_nothing_of_another_one_and_stops_nobody() {
    for is_ordinary in everybody() {
        let mark = mark();
        let settings = format!("slot=local 1\nscan_time=100\nenv=MARK={mark}\n");
        let Some(build) = BulkBuild::of_recipes("a_scan_sees_nothing…", is_ordinary, &settings) else {
            continue;
        };
        let driver = "#!/bin/sh\nif [ $# = 0 ]; then ls; else . \"./$1/scan\"; fi\n";
        fs::write(build.scenario.beside("driver/scan"), driver).unwrap();
        for name in ["one", "two", "three"] {
            build.write(&format!("{name}/scan"), LOOKS_AND_LEAVES);
        }
        build.action("scan @WORK@").ok();
        let lines = records(&build);
        let seen: Vec<&String> = lines.iter().filter(|line| line.starts_with("COMMENT=")).collect();
        assert_eq!(seen.len(), 3, "{lines:?}");
        for line in &seen {
            assert_eq!(*line, "COMMENT=left [] processes 2 open 0", "{}", build.who());
        }
        assert!(!lines.iter().any(|line| line.starts_with("LEFT=")), "{}: {lines:?}", build.who());
        build.assert_nothing_left(&mark);
    }
}

/// Takes over the channel of its parent, stops it, and answers for all later scans.
const ANSWERS_FOR_OTHERS: &str = "\
python3 - $PPID <<'End'
import ctypes, json, os, signal, socket, sys
parent = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
process = libc.syscall(434, parent, 0)
channel = socket.socket(fileno=libc.syscall(438, process, 0, 0))
os.kill(parent, signal.SIGSTOP)
def answer(text):
    text = text.encode()
    channel.sendall(json.dumps({'length': len(text), 'failure': None}).encode() + b'\\n' + text)
answer('PKGNAME=aevil-1.0\\n')
for line in channel.makefile('rb'):
    answer('PKGNAME=%s-6.66\\nDISTURL=http://evil/\\n' % json.loads(line))
End
echo PKGNAME=aevil-1.0
";

#[test]
fn no_scan_answers_for_another_one() {
    let test = "no_scan_answers…";
    if Command::new("python3").arg("--version").output().is_err() {
        crate::missing("python3", test);
        return;
    }
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes(test, is_ordinary, "slot=local 1\nscan_time=100\n") else {
            continue;
        };
        build.write("aevil/scan", ANSWERS_FOR_OTHERS);
        for name in ["bank", "curl", "zlib"] {
            build.recipe(name, "", "");
        }
        build.action("scan @WORK@").ok();
        let lines = records(&build);
        let names: Vec<&String> = lines.iter().filter(|line| line.starts_with("PKGNAME=")).collect();
        assert_eq!(
            names,
            ["PKGNAME=aevil-1.0", "PKGNAME=bank-1.0", "PKGNAME=curl-1.0", "PKGNAME=zlib-1.0"],
            "{}",
            build.who()
        );
    }
}

#[test]
fn a_scan_that_stops_itself_ends_with_its_time_and_a_signal_ends_one_that_has_time() {
    let mark = mark();
    let settings = format!("slot=local 2\nscan_time=2\nenv=MARK={mark}\n");
    let Some(build) = BulkBuild::of_recipes("a_scan_that_stops…", !is_root(), &settings) else { return };
    build.write("stops/scan", "kill -STOP $$; echo PKGNAME=stops-1.0\n");
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    let run = build.run("").ends(5);
    assert_eq!(run.detail("stops-0"), "scan: it took longer than 2 s");
    assert_eq!(run.in_state("done"), ["good"]);

    let conf = build.work().join("bulk.conf");
    let text = fs::read_to_string(&conf).unwrap().replace("scan_time=2\n", "scan_time=1h\n");
    fs::write(conf, text).unwrap();
    let running = build.running("").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The scan that stopped itself is called again.
    eventually("the scan begins", || !processes_with(&mark).is_empty());
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(BulkRun::of(&running.wait_with_output().unwrap()).code, 128 + 15);
    build.assert_nothing_left(&mark);
}

#[test]
fn a_recipe_learns_nothing_of_files_that_are_not_in_the_tree_or_that_builds_may_not_read() {
    for is_ordinary in everybody() {
        let test = "a_recipe_learns_nothing…";
        let Some(build) = BulkBuild::of_recipes(test, is_ordinary, "slot=local 1\ncheck=none\n") else {
            continue;
        };
        let driver = "#!/bin/sh\nif [ $# = 0 ]; then ls; exit; fi\n\
                      [ -e \"$1/record\" ] && exec cat \"$1/record\"\necho PKGNAME=$1-1.0\n";
        fs::write(build.scenario.beside("driver/scan"), driver).unwrap();
        let secrets = build.scenario.beside("theirs/secrets");
        fs::create_dir(&secrets).unwrap();
        let texts = ["the first secret", "the second secret", "the third secret"];
        fs::write(secrets.join("key_of_somebody"), texts[0]).unwrap();
        let install = "mkdir $DESTDIR/opt\n";
        let named = secrets.join("key_of_somebody");
        build.recipe("names", &format!("SCAN_DEPENDS={} ../names/out\n", named.display()), install);
        std::os::unix::fs::symlink(&named, build.tree().join("names/out")).unwrap();
        std::os::unix::fs::symlink(&secrets, build.tree().join("linked")).unwrap();
        build.recipe("private", "", install);
        build.write("private/file", texts[1]);
        if is_root() && !is_ordinary {
            for closed in [build.tree().join("private/file"), named.clone()] {
                fs::set_permissions(closed, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        let run = build.run("").ends(5);
        assert_eq!(run.in_state("done"), ["names", "private"], "{}", build.who());
        let says = "linked: it is a symbolic link that leads out of the directory";
        assert!(run.detail("linked-0").contains(says), "{}", run.detail("linked-0"));
        // Files that others can read reveal neither contents nor names nor existence.
        let key = |name: &str| run.package(name)["key"].as_str().unwrap().to_owned();
        let mut told = fs::read_to_string(build.work().join("scan/cache")).unwrap();
        for name in ["names-1.0", "private-1.0"] {
            told += &fs::read_to_string(build.result(&key(name)).join("result.json")).unwrap();
        }
        assert!(!told.contains(&Blake3Digest::of(texts[0].as_bytes()).hex()), "{}", build.who());
        if is_root() && !is_ordinary {
            assert!(!told.contains(&Blake3Digest::of(texts[1].as_bytes()).hex()));
        }
        assert_eq!(told.matches("key_of_somebody").count(), told.matches(&*named.to_string_lossy()).count());
        fs::write(&named, texts[2].repeat(2)).unwrap();
        assert_eq!(build.run("").ends(5).in_state("up-to-date"), ["names", "private"]);
        fs::remove_file(&named).unwrap();
        assert_eq!(build.run("").ends(5).in_state("up-to-date"), ["names", "private"]);
    }
}

#[test]
fn neither_a_huge_file_nor_a_pipe_in_a_recipe_holds_a_run_up() {
    let Some(build) = BulkBuild::of_recipes("neither_a_huge_file…", !is_root(), "slot=local 1\ncheck=none\n")
    else {
        return;
    };
    let install = "mkdir $DESTDIR/opt\n";
    for name in ["huge", "names", "piped", "good"] {
        let fields = if name == "names" { "SCAN_DEPENDS=../huge/file /proc/kmsg\n" } else { "" };
        build.recipe(name, fields, install);
    }
    fs::File::create(build.tree().join("huge/file")).unwrap().set_len(8 << 40).unwrap();
    let made = Command::new("mkfifo").arg(build.tree().join("piped/pipe")).status().unwrap();
    assert!(made.success());
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["good", "piped"]);
    for name in ["huge-0", "names-0"] {
        let detail = run.detail(name);
        assert!(
            detail.ends_with("has more than 4 GiB") || detail.ends_with("has more than 1 GiB"),
            "{detail}"
        );
    }
}

#[test]
fn a_recipe_that_names_more_files_than_any_scan_reads_fails_alone() {
    let test = "a_recipe_that_names_more_files…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 1\ncheck=none\n") else {
        return;
    };
    let files: Vec<String> = (0..100_000).map(|number| format!("x{number}")).collect();
    build.recipe("many", &format!("SCAN_DEPENDS={}\n", files.join(" ")), "mkdir $DESTDIR/opt\n");
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["good"]);
    assert!(run.detail("many-0").ends_with("many names more than 100000 files"), "{}", run.detail("many-0"));
}

#[test]
fn a_directory_that_can_be_no_location_fails_alone() {
    for is_ordinary in everybody() {
        let test = "a_directory_that_can_be_no_location…";
        let Some(build) = BulkBuild::empty(test, is_ordinary) else { continue };
        fs::create_dir(build.tree()).unwrap();
        build.write("good/recipe", "PKGNAME=good-1.0\n");
        let makes =
            "#!/bin/sh\nset -eu\nmkdir -p \"$DESTDIR$PREFIX\"\necho good > \"$DESTDIR$PREFIX/good\"\n";
        build.write("good/make-package", makes);
        let made = build.tree().join("good/make-package");
        fs::set_permissions(made, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["b c", "t/\u{1b}[2Jx"] {
            build.write(&format!("{name}/recipe"), "PKGNAME=victim-1.0\n");
        }
        build.write("closed/within/recipe", "PKGNAME=victim-2.0\n");
        build.begin("--driver recipes", "slot=local 1\ncheck=none\n");
        let closed = build.tree().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let run = build.run("").ends(5);
        assert_eq!(run.in_state("done"), ["good"], "{}: {}", build.who(), run.said);
        let detail = |name: &str| run.detail(name);
        assert!(detail("b+20c-0").starts_with("scan: <b c> is not a location: "), "{}", detail("b+20c-0"));
        let other = "t_+1b+5b2Jx-0";
        assert!(detail(other).starts_with("scan: <t/\\u{1b}[2Jx> is not a location: "), "{}", detail(other));
        // A directory that cannot be read is not one without recipes.
        assert!(detail("closed-0").starts_with("scan: exit "), "{}", detail("closed-0"));
        let text = fs::read_to_string(build.work().join("runs/1/report.txt")).unwrap();
        assert!(text.contains("b+20c-0") && !text.contains('\u{1b}'), "{text}");
        // Nothing has changed since, and invalid locations are reported again.
        let again = build.run("").ends(5);
        assert_eq!(again.in_state("up-to-date"), ["good"]);
        assert_eq!(again.detail("b+20c-0"), detail("b+20c-0"));
        build.run("good").ends(0);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn neither_a_line_feed_in_a_name_nor_a_recipe_above_others_hides_what_is_elsewhere() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::empty("neither_a_line_feed…", is_ordinary) else { continue };
        fs::create_dir(build.tree()).unwrap();
        for location in ["net/curl", "net/wget", "www/nginx"] {
            let (_, name) = location.split_once('/').unwrap();
            build.write(&format!("{location}/recipe"), format!("PKGNAME={name}-1.0\n"));
        }
        // Split into lines, this would be the locations `evil` and `net`.
        build.write("evil\n./net/recipe", "PKGNAME=evil-1.0\n");
        build.begin("--driver recipes", "slot=local 1\ncheck=none\n");
        build.action("scan @WORK@").ok();
        let there = || {
            let records = records(&build);
            ["curl", "nginx", "wget"].map(|name| records.contains(&format!("PKGNAME={name}-1.0")))
        };
        assert_eq!(there(), [true; 3], "{}", build.who());
        // A recipe above them takes their place, and a note says so.
        build.write("net/recipe", "PKGNAME=net-1.0\n");
        let scan = build.action("scan @WORK@");
        assert_eq!(scan.code, 0, "{}: {}", build.who(), scan.stderr);
        for location in ["net/curl", "net/wget"] {
            let note = format!("scan: {location} is not a location: net has a recipe");
            assert!(scan.stderr.contains(&note), "{}: {}", build.who(), scan.stderr);
        }
        assert_eq!(there(), [false, true, false], "{}", build.who());
    }
}
