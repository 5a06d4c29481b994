//! Entering the sandbox of a package before its build: everything is there, nothing else is, and nothing is left.

use std::fs;
use std::process::Stdio;

use rustix::process::{Resource, getrlimit};

use super::{BulkBuild, everybody, mark};
use crate::scenario::{Run, is_root};
use crate::workshop::eventually;

const INSTALL: &str = "mkdir -p $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/${PKGNAME%-*}\n";

/// Runs a script in the sandbox of a package.
fn enter(build: &BulkBuild, line: &str, script: &str) -> Run {
    let mut entering = build.command(&format!("enter {} {line}", build.work().display()));
    entering.args(["--", "sh", "-c", script]).stdin(Stdio::null());
    let output = entering.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn who_enters_finds_what_the_build_finds_and_leaves_nothing() {
    for is_ordinary in everybody() {
        let settings = "slot=local 1\ncheck=none\nenv=COLOUR=blue\n";
        let Some(build) = BulkBuild::of_recipes("who_enters…", is_ordinary, settings) else { continue };
        build.recipe("base", "", INSTALL);
        let world = "env | sort; id -u; pwd; ls -A /work /out /packages; cat /opt/base";
        build.recipe(
            "user",
            "ALL_DEPENDS=base>=1:../base\n",
            &format!("rm -r $DESTDIR; ({world})\n{INSTALL}"),
        );
        build.run("").ends(0);
        let key = build.run("").ends(0).package("user-1.0")["key"].clone();

        // The environment of the build, word for word.
        let inside = enter(&build, "user", world).ok();
        let log = build.log("user-1.0");
        assert!(log.ends_with(&inside), "{}: {log}\n{inside}", build.who());
        let record = enter(&build, "user-1.0", "cat /tmp/record").ok();
        let expected = "PKGNAME=user-1.0\nPKG_LOCATION=user\nALL_DEPENDS=base>=1:../base\nDEPENDS=base-1.0\n";
        assert_eq!(record, expected);
        let built = "/driver/build < /tmp/record && cat /out/root/opt/user";
        assert_eq!(enter(&build, "user", &format!("({built}) | tail -n 1")).ok(), "user-1.0\n");

        // Changes stay inside the sandbox.
        let script = "echo x > /work/x; echo x > /usr/x; echo x > /tree/x; echo x > /tmp/x";
        let changed = enter(&build, "user", script);
        assert_eq!((changed.code, changed.stdout.as_str()), (0, ""), "{}", changed.stderr);
        assert_eq!(changed.stderr.matches("Read-only file system").count(), 2, "{}", changed.stderr);
        assert_eq!(enter(&build, "user", "ls -A /work; ls -A /tmp").ok(), "record\n");
        assert_eq!(build.run("").ends(0).package("user-1.0")["key"], key);

        // The exit code is that of the command.
        assert_eq!(enter(&build, "user", "exit 7").code, 7);
        assert_eq!(enter(&build, "user", "kill -9 $$").code, 137);
        assert_eq!(build.action("enter @WORK@ user -- /no/such/program").code, 127);
        build.action("enter @WORK@ nothing -- true").fails(4);
        build.assert_nothing_left("no mark");
    }
}

#[test]
fn the_network_is_there_where_it_is_asked_for() {
    let settings = "slot=local 1\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes("the_network…", !is_root(), settings) else { return };
    build.recipe("one", "", INSTALL);
    build.action("scan @WORK@").ok();
    let ours = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let script = "readlink /proc/self/ns/net";
    assert_ne!(enter(&build, "one", script).ok().trim_end(), ours);
    assert_eq!(enter(&build, "one --network", script).ok().trim_end(), ours);
}

#[test]
fn what_is_needed_must_have_a_result_and_a_run_may_go_on() {
    let mark = mark();
    let settings = format!("slot=local 1\ncheck=none\nenv=MARK={mark}\n");
    let Some(build) = BulkBuild::of_recipes("what_is_needed…", !is_root(), &settings) else { return };
    build.recipe("base", "", INSTALL);
    build.recipe("user", "ALL_DEPENDS=base>=1:../base\n", "while [ ! -e $TREE/go ]; do sleep 0.1; done\n");
    build.action("scan @WORK@").ok();
    let said = enter(&build, "user", "true").fails(3);
    assert!(said.contains("the sandbox of user-1.0 cannot be made: base-1.0 has no result"), "{said}");
    build.recipe("masked", "PKG_SKIP_REASON=not here\n", INSTALL);
    let mut running = build.running("base user").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the second one is being built", || build.started(1).contains(&"user-1.0".to_owned()));
    assert_eq!(enter(&build, "user", "cat /opt/base").ok(), "base-1.0\n");
    build.write("go", "");
    running.wait().unwrap();
    build.action("scan @WORK@").ok();
    let said = enter(&build, "masked", "true").fails(3);
    assert!(said.contains("masked-1.0 cannot be made: not here"), "{said}");
    build.assert_nothing_left(&mark);
}

#[test]
fn a_failed_build_of_root_is_entered_whatever_it_has_left_in_the_place_of_tmp_and_record() {
    if !is_root() {
        return crate::skipped("a_failed_build_of_root…: a range of ids is needed");
    }
    let settings = "slot=local 1\ncheck=none\nkeep_failed=3\nbuild_as=root\n";
    let Some(build) = BulkBuild::of_recipes("a_failed_build_of_root…", false, settings) else { return };
    build.recipe(
        "link",
        "",
        "rm -rf /tmp /var/tmp; ln -s /work /tmp; ln -s /work /var/tmp; echo left > /work/left; exit 1\n",
    );
    build.recipe("directory", "", "mkdir -p /tmp/record/within /tmp/record.1; exit 1\n");
    build.recipe("gone", "", "rm -rf /tmp /var; exit 1\n");
    build.run("").ends(5);
    for (name, beside) in [("link", "/tmp.1/left"), ("directory", "/tmp/record.2/within"), ("gone", "/work")]
    {
        let script = format!("head -n 1 /tmp/record; ls -dU {beside} /var/tmp/.");
        for _ in 0..2 {
            let said = enter(&build, &format!("{name} --failed"), &script).ok();
            assert_eq!(said, format!("PKGNAME={name}-1.0\n{beside}\n/var/tmp/.\n"));
        }
    }
}

#[test]
fn whoever_enters_has_the_limits_of_builds() {
    for is_ordinary in everybody() {
        let settings = "slot=local 1\ncheck=none\ndisk=8M\ncpu=100\n";
        let Some(build) = BulkBuild::of_recipes("whoever_enters_has…", is_ordinary, settings) else {
            continue;
        };
        build.recipe("one", "", INSTALL);
        build.action("scan @WORK@").ok();
        // In blocks of 512 bytes and seconds. The kernel's limits are slightly wider than ours.
        let core = "sed -n 's/^Max core file size *\\([0-9]*\\) .*/\\1/p' /proc/self/limits";
        let said = enter(&build, "one", &format!("ulimit -f; ulimit -t; {core}")).ok();
        // With a limit of 1, too small for any file, no core dump handler of the machine gets the memory of a build
        // either.
        let core = getrlimit(Resource::Core).maximum.map_or(1, |most| most.min(1));
        assert_eq!(said, format!("16384\n102\n{core}\n"), "{}", build.who());
    }
}
