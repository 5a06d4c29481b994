//! Machines that refuse overlay file systems: every sandbox gets a copy of its tree, and the results are the same.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BulkBuild, BulkRun, assert_same_results, for_everybody, mark};
use crate::everyman::become_ordinary;
use crate::scenario::is_root;

for_everybody! {
    where_overlays_are_refused_trees_are_copied_which_is_told_once_and_the_results_are_the_same,
}

/// A program that runs another one without permission to call fsopen(2); child processes inherit that.
const REFUSES: &str = "#include <errno.h>\n#include <linux/filter.h>\n#include <linux/seccomp.h>\n\
    #include <stddef.h>\n#include <sys/prctl.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
    int main(int count, char **words) {\n\
    struct sock_filter code[] = {\n\
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),\n\
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsopen, 0, 1),\n\
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),\n\
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};\n\
    struct sock_fprog program = {sizeof code / sizeof *code, code};\n\
    if (count < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 99;\n\
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 98;\n\
    execv(words[1], words + 1);\n    return 97;\n}\n";

/// A chain and a diamond; one package has a file that another one replaces, and one leaves files behind.
const RECIPES: [(&str, &str, &str); 6] = [
    ("one", "", ""),
    ("two", "one-[0-9]*", "echo more > $DESTDIR/opt/more\n"),
    ("left", "one-[0-9]*", ""),
    ("right", "one-[0-9]*", "ln -s right-1.0 $DESTDIR/opt/link\n"),
    ("both", "left-[0-9]* right-[0-9]* two-[0-9]*", ""),
    ("leaves", "one-[0-9]*", "echo 'echo left > /opt/one-1.0.left; mkdir /opt/empty' > $OUT/postinstall\n"),
];

/// Script of each package: it records what it sees and what it is made of. Times are hidden, since links get the time
/// of their installation.
const SCRIPT: &str = "mkdir $DESTDIR/opt\n\
    ls -lR --time-style=+ /opt 2> /dev/null | grep -v ^total > $DESTDIR/opt/$PKGNAME || :\n\
    cat /opt/* >> $DESTDIR/opt/$PKGNAME 2> /dev/null || :\n";

fn with_tree(test: &str, is_ordinary: bool, mark: &str) -> Option<BulkBuild> {
    let settings = format!("slot=local 2\ncheck=install\ndisk=1M\nenv=MARK={mark}\n");
    let build = BulkBuild::of_recipes(test, is_ordinary, &settings)?;
    for (name, needs, more) in RECIPES {
        build.recipe(name, &format!("ALL_DEPENDS={needs}\n"), &format!("{SCRIPT}{more}"));
    }
    Some(build)
}

/// Compiles the program that refuses; `None` without a compiler or the required header files.
fn refusing(test: &str, build: &BulkBuild) -> Option<PathBuf> {
    let (source, program) = (build.scenario.beside("refuses.c"), build.scenario.beside("refuses"));
    fs::write(&source, REFUSES).unwrap();
    let compiled = Command::new("cc").arg("-o").arg(&program).arg(&source).status();
    if !compiled.is_ok_and(|status| status.success()) {
        crate::skipped(&format!("{test}: a program that refuses overlayfs cannot be compiled"));
        return None;
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Some(program)
}

/// The command, with overlay file systems refused.
fn without_overlay(command: &Command, refuses: &Path, is_ordinary: bool) -> Command {
    let mut inside = Command::new(refuses);
    inside.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        inside.env(name, value.unwrap_or_default());
    }
    if is_ordinary && is_root() {
        become_ordinary(&mut inside);
    }
    inside
}

fn where_overlays_are_refused_trees_are_copied_which_is_told_once_and_the_results_are_the_same(
    is_ordinary: bool,
) {
    let test = "where_overlays_are_refused…";
    let mark = mark();
    let Some(build) = with_tree(test, is_ordinary, &mark) else { return };
    let expected = build.run("").ends(0);
    let copying = with_tree(test, is_ordinary, &mark).unwrap();
    let Some(refuses) = refusing(test, &copying) else { return };
    let scan = copying.command(&format!("scan {}", copying.work().display()));
    let scanned = without_overlay(&scan, &refuses, is_ordinary).output().unwrap();
    assert!(scanned.status.success(), "{}", String::from_utf8_lossy(&scanned.stderr));
    let running = without_overlay(&copying.running(""), &refuses, is_ordinary).output().unwrap();
    let run = BulkRun::of(&running).ends(0);
    assert_eq!(run.in_state("done").len(), RECIPES.len());
    assert_same_results(&copying.results(&run), &build.results(&expected));
    assert_eq!(run.report["leftovers"], expected.report["leftovers"]);
    assert!(run.report["leftovers"].to_string().contains("/opt/one-1.0.left"), "{}", run.report["leftovers"]);
    let notes = run.report["notes"].as_array().unwrap();
    let words = "slot local: overlay file systems are refused: Operation not permitted (os error 1): \
        every sandbox gets a copy of its tree";
    assert_eq!(notes.iter().filter(|note| *note == words).count(), 1, "{notes:?}");
    copying.assert_nothing_left(&mark);
    // Once overlays are allowed, nothing is copied any more, and nothing is built again.
    let again = copying.run("").ends(0);
    assert_eq!(again.in_state("up-to-date").len(), RECIPES.len());
    assert!(!again.report["notes"].to_string().contains("copy of its tree"));
    assert_eq!(fs::read_to_string(copying.work().join("build/layers")).unwrap(), "overlay\n");
}

#[test]
fn a_limit_of_the_disk_counts_what_a_build_writes_and_not_the_copy_below_it() {
    let test = "a_limit_of_the_disk…";
    let mark = mark();
    let Some(build) = with_tree(test, true, &mark) else { return };
    let Some(refuses) = refusing(test, &build) else { return };
    let large = "mkdir $DESTDIR/opt; head -c 900K /dev/urandom > $DESTDIR/opt/$PKGNAME\n";
    build.recipe("large", "", large);
    // The size is checked after five seconds.
    build.recipe("larger", "ALL_DEPENDS=large-[0-9]*\n", &format!("{large}sleep 6\n"));
    build.recipe("largest", "ALL_DEPENDS=large-[0-9]* larger-[0-9]*\n", "head -c 2M /dev/urandom > file\n");
    let running = without_overlay(&build.running("larger largest"), &refuses, true).output().unwrap();
    let run = BulkRun::of(&running).ends(5);
    assert_eq!(run.in_state("done"), ["large", "larger"]);
    assert_eq!(run.package("largest-1.0")["cause"], "disk", "{}", run.detail("largest-1.0"));
    build.assert_nothing_left(&mark);
}
