//! Programs that run files which a patch replaces, on a separate machine: a root entered by chroot(2), with its own
//! processes.

use std::fs;
use std::process::Command;

use crate::compiled::{Compiler, Source};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

/// Mounts the file systems of a machine, starts the programs outside, and plays the story inside.
const MACHINE: &str = r#"
set -e
mkdir -p "$ROOT/proc" "$ROOT/dev" "$ROOT/tmp"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
: >"$ROOT/usr/bin/patchadm"
mount --bind "$PROGRAM" "$ROOT/usr/bin/patchadm"
if [ -x "$ROOT/srv/jail/opt/acme/acmed" ]; then chroot "$ROOT/srv/jail" /opt/acme/acmed 300 & fi
exec chroot "$ROOT" /bin/sh -c "cd /; . /story"
"#;

/// A machine on which nothing runs yet. Returns `None`, and reports the test, if none can be made.
fn machine(test: &str) -> Option<(Scenario, Vec<u8>)> {
    if !is_root() {
        crate::skipped(&format!("{test}: only root can mount"));
        return None;
    }
    if !crate::has("unshare", test) {
        return None;
    }
    let stage = Scenario::new();
    for directory in ["/bin", "/usr/bin", "/usr/lib", "/usr/sbin", "/var/tmp", "/srv"] {
        stage.directory(directory);
    }
    copied(&stage, "", &[env!("CARGO_BIN_EXE_patchadm"), "/bin/sh", "/bin/sleep"]);
    program(&stage, "/bin/sh", "/bin/sh");
    program(&stage, "/bin/sleep", "/bin/sleep");
    Some((stage, fs::read("/bin/sleep").unwrap()))
}

/// Copies a program in a separate process: a child of another test may inherit a file that this process has open for
/// writing, and then the file cannot be run for a moment.
fn program(stage: &Scenario, from: &str, to: &str) {
    assert!(Command::new("cp").arg("-L").arg(from).arg(stage.at(to)).status().unwrap().success());
}

/// Copies the libraries of these programs into a root.
pub(crate) fn copied(stage: &Scenario, below: &str, programs: &[&str]) {
    for program_of in programs {
        let output = Command::new("ldd").arg(program_of).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
            let there = format!("{below}{library}");
            fs::create_dir_all(stage.at(&there).parent().unwrap()).unwrap();
            program(stage, library, &there);
        }
    }
}

/// Plays a story on the machine, and returns its output.
fn told(test: &str, stage: &Scenario, story: &str) -> Option<String> {
    fs::write(stage.at("/story"), story).unwrap();
    let output = Command::new("unshare")
        .args(["-mpf", "--propagation", "private", "--kill-child", "sh", "-c", MACHINE])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("ROOT", stage.root())
        .env("PROGRAM", env!("CARGO_BIN_EXE_patchadm"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if !said.contains("begun") {
        crate::skipped(&format!("{test}: this machine does not let us make another: {said}"));
        return None;
    }
    Some(said)
}

fn acme(program: &[u8], library: Option<&[u8]>) -> Package {
    let package = Package::new("ACMEd").param("BASEDIR", "/").file("opt/acme/acmed", 0o755, program);
    match library {
        Some(library) => package.file("usr/lib/libacme.so.1", 0o755, library),
        None => package,
    }
}

fn newer(program: &[u8], version: u8) -> Vec<u8> {
    [program, &[version]].concat()
}

#[test]
fn who_runs_a_version_that_an_earlier_patch_replaced_is_named_and_keeps_its_library() {
    let test = "who runs an old version";
    let Some((stage, sleep)) = machine(test) else { return };
    let Some(compiler) = Compiler::found(test) else { return };
    let library = compiler.library("libacme.so.1", &Source::default());
    acme(&sleep, Some(&library)).write(&stage.at("/spool"));
    Patch::of("100-01", acme(&newer(&sleep, 1), None)).write(&stage.at("/delivered"));
    Patch::of("100-02", acme(&newer(&sleep, 2), None)).write(&stage.at("/delivered"));
    let without = Package::new("ACMEd").param("BASEDIR", "/").file("opt/acme/new", 0o644, "new\n");
    Patch::of("200-01", without.deletes(&["usr/lib/libacme.so.1"])).write(&stage.at("/delivered"));
    let story = "
        export PATH=/bin:/usr/bin
        patchadm pkgadd -n -d /spool all >/dev/null 2>&1; echo begun
        LD_PRELOAD=/usr/lib/libacme.so.1 /opt/acme/acmed 300 & process=$!
        until IFS= read -r name </proc/$process/comm && [ \"$name\" = acmed ]; do :; done
        sleep 1
        patchadm add /delivered/100-01
        echo second; patchadm plan /delivered/100-02
        echo third; patchadm plan --libs stop /delivered/200-01; echo \"code $?\"
        kill $process; wait $process 2>/dev/null
        echo fourth; patchadm plan /delivered/100-02
        patchadm plan --libs stop /delivered/200-01; echo \"code $?\"";
    let Some(said) = told(test, &stage, story) else { return };
    let parts: Vec<&str> = said.split(['\n']).collect();
    let part = |from: &str, to: &str| {
        let begin = parts.iter().position(|line| *line == from).unwrap_or_else(|| panic!("{from}: {said}"));
        let end = parts.iter().position(|line| *line == to).unwrap_or(parts.len());
        parts[begin..end].join("\n")
    };
    let runs = "(acmed) runs the old /opt/acme/acmed until it is restarted.";
    assert!(part("begun", "second").contains(runs), "{said}");
    assert!(part("second", "third").contains(runs), "the next patch knows it still: {said}");
    assert!(part("third", "fourth").contains("code 3"), "its library is not let go: {said}");
    let fourth = part("fourth", "");
    assert!(!fourth.contains(runs) && fourth.contains("code 0"), "nobody is named any more: {said}");
}

#[test]
fn files_decide_who_runs_what_is_replaced_and_not_their_paths() {
    let test = "files and not paths";
    let Some((stage, sleep)) = machine(test) else { return };
    // Another root with a file of the same name, and one that is behind a link.
    stage.directory("/srv/jail/opt/acme");
    copied(&stage, "/srv/jail", &["/bin/sleep"]);
    program(&stage, "/bin/sleep", "/srv/jail/opt/acme/acmed");
    stage.directory("/export/opt");
    stage.symlink("/opt", "export/opt");
    acme(&sleep, None).write(&stage.at("/spool"));
    Patch::of("100-01", acme(&newer(&sleep, 1), None)).write(&stage.at("/delivered"));
    let story = "
        export PATH=/bin:/usr/bin
        patchadm pkgadd -n -d /spool all >/dev/null 2>&1; echo begun
        echo first; patchadm plan /delivered/100-01
        /opt/acme/acmed 300 & process=$!
        until IFS= read -r name </proc/$process/comm && [ \"$name\" = acmed ]; do :; done
        echo second; patchadm plan /delivered/100-01; echo \"process $process\"";
    let Some(said) = told(test, &stage, story) else { return };
    let (first, second) = said.split_once("\nsecond\n").unwrap_or_else(|| panic!("{said}"));
    assert!(first.contains("100-01: would be applied") && !first.contains("runs the old"), "{said}");
    let process = second.split("process ").last().unwrap().split_whitespace().next().unwrap();
    let named = format!("Process {process} (acmed) runs the old /opt/acme/acmed until it is restarted.");
    assert_eq!(second.matches("runs the old").count(), 1, "{said}");
    assert!(second.contains(&named), "{said}");
}
