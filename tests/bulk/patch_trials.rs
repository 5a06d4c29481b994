//! Packages that get patches and packages that are only named; patches that do not fit together, and trials that are
//! cut off.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::patches::{patch_file, patches, told};
use super::{BulkBuild, mark, output_while_killing};
use crate::scenario::is_root;
use crate::sshd::processes_about;
use crate::workshop::eventually;

/// Script of a package with one file that is installed by its own class action script.
const SCRIPTED: &str = "echo \"$TEXT\" > \"$DESTDIR/$PKGNAME\"\n\
    printf 'f ours %s 0644 root root\\n' \"$PKGNAME\" > \"$OUT/prototype\"\n\
    cp \"$TREE/$PKG_LOCATION/i.ours\" \"$OUT/i.ours\"\n";

/// A class action script that runs these commands first if the object already exists.
fn class_script(where_there_is_one: &str) -> String {
    format!(
        "#!/bin/sh\nwhile read source target; do\n  if [ -e \"$target\" ]; then\n    {where_there_is_one}\n  fi\n  \
         cp \"$source\" \"$target\"\ndone\nexit 0\n"
    )
}

#[test]
fn a_package_whose_script_takes_another_one_away_keeps_no_patch_of_others_back() {
    let test = "a_package_whose_script_takes_another…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "") else { return };
    let makes = |text: &str| format!("echo {text} > \"$DESTDIR/$PKGNAME\"\n");
    for name in ["yvictim", "zother"] {
        build.recipe(name, "", &makes("one"));
    }
    let evil = |text: &str| {
        format!("{}printf 'rm -rf /var/sadm/pkg/yvictim\nexit 0\n' > \"$OUT/postinstall\"\n", makes(text))
    };
    build.recipe("wevil", "", &evil("one"));
    build.recipe("xneeds", "ALL_DEPENDS=wevil-[0-9]*\n", &makes("one"));
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    for name in ["yvictim", "zother", "xneeds"] {
        build.write(&format!("{name}/build"), makes("two"));
    }
    build.write("wevil/build", evil("two"));
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (5, &json!(null)), "{made:#}");
    let why = |number: usize| made["sources"][number]["reason"].as_str().unwrap_or_default();
    let expected = "its trial failed: wevil-1.0 cannot be installed with the other packages: wevil.pkg: ";
    assert!(why(0).starts_with(expected) && why(1) == why(0), "{made:#}");
    let told = told(&made);
    assert!(told[0].starts_with("wevil failed") && told[1].starts_with("xneeds failed"), "{told:?}");
    assert_eq!((&*told[2], &*told[3]), ("yvictim built yvictim-01", "zother built zother-01"));
}

#[test]
fn a_package_whose_script_changes_what_another_one_has_installed_keeps_no_patch_of_others_back() {
    let test = "a_package_whose_script_changes_what…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "") else { return };
    let makes = |text: &str| {
        format!("mkdir \"$DESTDIR/$PKG_LOCATION\"; echo {text} > \"$DESTDIR/$PKG_LOCATION/a\"\n")
    };
    let with = |text: &str, script: &str| {
        format!("{}cat > \"$OUT/postinstall\" <<'End'\n{script}\nexit 0\nEnd\n", makes(text))
    };
    // Each tampers with a package that is installed before it.
    let forges = "[ -e /xvictim/a ] && echo forged > /xvictim/a";
    let turns = "[ -e /xvictim/a ] && rm -rf /xvictim && ln -s xvictim /xvictim";
    let own = "echo more >> /town/a";
    let makers = |text: &str| {
        [
            ("town", with(text, own)),
            ("uforges", with(text, forges)),
            ("vturns", with(text, turns)),
            ("xvictim", makes(text)),
            ("zother", makes(text)),
        ]
    };
    for (name, script) in makers("one") {
        build.recipe(name, "", &script);
    }
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    for (name, script) in makers("two") {
        build.write(&format!("{name}/build"), script);
    }
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (5, &json!(null)), "{made:#}");
    let why = |number: usize| made["sources"][number]["reason"].as_str().unwrap_or_default();
    let trial = "its trial failed: ";
    let expected = format!("{trial}town-1.0 was not installed as delivered: /town/a: ");
    assert!(why(0).starts_with(&expected), "{made:#}");
    let expected = format!("{trial}uforges-1.0 changes what xvictim-1.0 has installed: /xvictim/a: ");
    assert!(why(1).starts_with(&expected), "{made:#}");
    assert!(why(2).starts_with(&format!("{trial}vturns-1.0 c")), "{made:#}");
    let told = told(&made);
    assert_eq!((&*told[3], &*told[4]), ("xvictim built xvictim-01", "zother built zother-01"), "{told:?}");
}

#[test]
fn a_package_whose_script_is_in_the_way_of_other_scripts_is_apart_and_keeps_no_patch_of_others_back() {
    let test = "a_package_whose_script_is_in_the_way…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "check=none\n") else { return };
    let with = |text: &str, script: &str| {
        format!(
            "echo {text} > \"$DESTDIR/$PKGNAME\"\n\
             cat > \"$OUT/postinstall\" <<'End'\n{script} || exit 1\nexit 0\nEnd\n"
        )
    };
    let write = |text: &str| {
        for name in ["avictim", "bvictim"] {
            build.recipe(name, "", &with(text, &format!("mkdir -p /common/{name}")));
        }
        // It fails on purpose, although no other package changes anything outside its places.
        build.recipe("yfails", "", &with(text, "[ ! -e /zother-1.0 ]"));
        build.recipe("zother", "", &with(text, ":"));
        build.recipe("zzevil", "", &with(text, ": > /common"));
    };
    write("one");
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    write("two");
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (5, &json!(null)), "{made:#}");
    let told = told(&made);
    assert_eq!(&told[..2], ["avictim built avictim-01", "bvictim built bvictim-01"], "{made:#}");
    assert!(told[2].starts_with("yfails failed") && told[4].starts_with("zzevil failed"), "{told:?}");
    assert_eq!(told[3], "zother built zother-01", "{made:#}");
    let why = |number: usize| made["sources"][number]["reason"].as_str().unwrap_or_default();
    let expected = "its trial failed: yfails-1.0 cannot be installed with the other packages: yfails.pkg: ";
    assert!(why(2).starts_with(expected), "{made:#}");
    let expected = "its trial failed: zzevil-1.0 changes /common, which no package delivers, and keeps ";
    assert!(why(4).starts_with(expected), "{made:#}");
}

#[test]
fn a_package_whose_script_forges_records_keys_or_files_of_others_is_apart_alone() {
    let test = "a_package_whose_script_forges…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "check=none\n") else { return };
    let makes = |text: &str| {
        format!("mkdir \"$DESTDIR/$PKG_LOCATION\"; echo {text} > \"$DESTDIR/$PKG_LOCATION/a\"\n")
    };
    let with = |text: &str, script: &str| {
        format!("{}cat > \"$OUT/postinstall\" <<'End'\n{script}\nexit 0\nEnd\n", makes(text))
    };
    let evil = [
        ("aghost", "mkdir -p /var/sadm/pkg/ghost"),
        ("akey", "mkdir -p /etc/patchadm/keys; echo key > /etc/patchadm/keys/a.pub"),
        ("apath", "mkdir -p /zother; echo mine > /zother/a"),
        ("aqledger", "echo garbage > /var/sadm/patchadm/ledger"),
        (
            "awrong",
            "echo zother.pkg > /.failed; [ -e /packages/zother.pkg ] && [ ! -e /packages/order.json ] && kill -9 -1",
        ),
    ];
    let write = |text: &str| {
        for (name, script) in evil {
            build.recipe(name, "", &with(text, script));
        }
        for name in ["yvictim", "zother"] {
            build.recipe(name, "", &makes(text));
        }
    };
    write("one");
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    write("two");
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (5, &json!(null)), "{made:#}");
    let why = |number: usize| made["sources"][number]["reason"].as_str().unwrap_or_default();
    let other = |name: &str| {
        format!("its trial failed: {name}-1.0 cannot be installed with the other packages: {name}.pkg: ")
    };
    assert!(
        why(0).starts_with(&format!("{}it creates records of a package ghost", other("aghost"))),
        "{made:#}"
    );
    assert!(why(1).starts_with(&format!("{}it changes /etc/patchadm", other("akey"))), "{made:#}");
    assert!(why(2).starts_with("its trial failed: apath-1.0 ") && why(2).contains("/zother/a"), "{made:#}");
    let says = format!("{}it changes /var/sadm/patchadm/ledger", other("aqledger"));
    assert!(why(3).starts_with(&says), "{made:#}");
    let told = told(&made);
    assert_eq!(&told[4..], ["awrong built awrong-01", "yvictim built yvictim-01", "zother built zother-01"]);
}

#[test]
fn a_package_in_whose_sandbox_the_first_process_is_lost_keeps_no_patch_of_others_back() {
    let test = "a_package_in_whose_sandbox…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "check=none\n") else { return };
    let mark = mark();
    let makes = |text: &str| format!("echo {text} > \"$DESTDIR/$PKGNAME\"\n");
    let write = |text: &str| {
        let script = format!("MARK={mark} sleep 100\nexit 0\n");
        build.recipe("wevil", "", &format!("{}printf '{script}' > \"$OUT/postinstall\"\n", makes(text)));
        for name in ["yvictim", "zother"] {
            build.recipe(name, "", &makes(text));
        }
    };
    write("one");
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    write("two");
    build.run("").ends(0);
    let command = build.command(&format!("patches {} --json", build.work().display()));
    let output = output_while_killing(command, &[(&mark, u32::MAX)]);
    let made: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((output.status.code(), &made["refused"]), (Some(5), &json!(null)), "{made:#}");
    let why = made["sources"][0]["reason"].as_str().unwrap_or_default();
    let expected = "its trial failed: wevil-1.0 cannot be installed with the other packages: wevil.pkg: the first process \
                    of its sandbox was ended by signal 9";
    assert_eq!(why, expected, "{made:#}");
    let told = told(&made);
    assert_eq!(&told[1..], ["yvictim built yvictim-01", "zother built zother-01"]);
}

#[test]
fn packages_that_are_new_gone_foreign_or_restricted_get_no_patch_and_are_named() {
    let test = "packages_that_are_new_gone…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "check=none\n") else { return };
    let makes = |text: &str| format!("echo {text} > \"$DESTDIR/$PKGNAME\"\n");
    let foreign = |text: &str| format!("rmdir \"$DESTDIR\"; echo {text} > \"$OUT/$PKGNAME.txt\"\n");
    build.recipe("changed", "", &makes("one"));
    build.recipe("same", "", &makes("one"));
    build.recipe("secret", "RESTRICTED=no copies\n", &makes("one"));
    build.recipe("opened", "ALL_DEPENDS=secret-[0-9]*\n", &makes("one"));
    build.recipe("old", "", &makes("one"));
    build.recipe("plain", "", &foreign("one"));
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    for name in ["changed", "secret", "opened"] {
        build.write(&format!("{name}/build"), makes("two"));
    }
    build.write("plain/build", foreign("two"));
    fs::remove_dir_all(build.tree().join("old")).unwrap();
    build.recipe("fresh", "", &makes("one"));
    build.run("").ends(0);

    let (code, made) = patches(&build, "");
    assert_eq!(code, 0, "{made:#}");
    assert_eq!(told(&made), ["changed built changed-01", "fresh new -", "old gone -", "same unchanged -"]);
    let lists = ["new", "gone", "foreign", "restricted"].map(|name| made[name].clone());
    let expected =
        [json!(["fresh-1.0"]), json!(["old-1.0"]), json!(["plain-1.0"]), json!(["opened-1.0", "secret-1.0"])];
    assert_eq!(lists, expected);

    // The operator may declare that restricted packages can be handed on.
    build.set("restricted=yes\n");
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["restricted"]), (0, &json!([])), "{made:#}");
    let expected = [
        "changed kept changed-01",
        "fresh new -",
        "old gone -",
        "opened built opened-01",
        "same unchanged -",
        "secret built secret-01",
    ];
    assert_eq!(told(&made), expected);

    // Another released set has its own patches.
    build.action("release @WORK@ 2").fails(3);
    let said = build.action("release @WORK@ 2 --force").ok();
    assert!(said.contains("the patches of the previous set are in patches.1"), "{said}");
    assert!(build.work().join("patches.1/patches/changed-01.tar.gz").exists());
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["built"], &made["new"]), (0, &json!(0), &json!([])), "{made:#}");
}

#[test]
fn a_patch_whose_script_fails_beside_others_keeps_none_of_them_back() {
    let test = "a_patch_whose_script_fails_beside…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "check=none\n") else { return };
    let makes = |text: &str| format!("echo {text} > \"$DESTDIR/$PKGNAME\"\n");
    build.recipe("aevil", "", &SCRIPTED.replace("$TEXT", "one"));
    let script = "if [ -e \"${target%/*}/zother-1.0\" ]; then echo both are there; exit 1; fi";
    build.write("aevil/i.ours", class_script(script));
    for name in ["yvictim", "zother"] {
        build.recipe(name, "", &makes("one"));
    }
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    build.write("aevil/build", SCRIPTED.replace("$TEXT", "two"));
    for name in ["yvictim", "zother"] {
        build.write(&format!("{name}/build"), makes("two"));
    }

    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (5, &json!(null)), "{made:#}");
    let expected = ["aevil failed aevil-01", "yvictim built yvictim-01", "zother built zother-01"];
    assert_eq!(told(&made), expected, "{made:#}");
    let reason = made["sources"][0]["reason"].as_str().unwrap();
    let says = "its trial failed: it fails together with the others: it cannot be applied: add: exit ";
    assert!(reason.starts_with(says), "{reason}");
    let log = fs::read_to_string(build.work().join("patches/logs/together.log")).unwrap();
    assert!(log.contains("both are there"), "{log}");
    assert!(!patch_file(&build, "aevil-01").exists());
    let handed = fs::read_to_string(build.work().join("patches/handover/LIST")).unwrap();
    assert_eq!(handed.lines().count(), 2, "{handed}");
}

#[test]
fn a_patch_whose_script_fails_or_spoils_something_where_a_later_one_waits_keeps_that_one_not_back() {
    let where_it_waits = |then: &str| {
        format!("for patch in /packages/*zvictim-01*; do if [ -e \"$patch\" ]; then {then}; fi; done")
    };
    for (script, says) in [
        ("exit 1", "its trial failed: it fails together with the others: it cannot be applied: add: exit "),
        (
            ": > /common",
            "its trial failed: it keeps zvictim-01 from passing: it cannot be applied: add: exit ",
        ),
    ] {
        let test = "a_patch_whose_script_fails_or_spoils…";
        let Some(build) = BulkBuild::of_recipes(test, !is_root(), "check=none\n") else { return };
        let write = |text: &str| {
            let (evil, victim) = (where_it_waits(script), "mkdir /common && rmdir /common || exit 1");
            for (name, script) in [("aevil", &*evil), ("zvictim", victim)] {
                build.recipe(name, "", &SCRIPTED.replace("$TEXT", text));
                build.write(&format!("{name}/i.ours"), class_script(script));
            }
            build.recipe("mother", "", &format!("echo {text} > \"$DESTDIR/$PKGNAME\"\n"));
        };
        write("one");
        build.run("").ends(0);
        build.action("release @WORK@ 1").ok();
        write("two");
        build.run("").ends(0);
        let (code, made) = patches(&build, "");
        assert_eq!((code, &made["refused"]), (5, &json!(null)), "{made:#}");
        let expected = ["aevil failed aevil-01", "mother built mother-01", "zvictim built zvictim-01"];
        assert_eq!(told(&made), expected, "{made:#}");
        let reason = made["sources"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with(says), "{reason}");
    }
}

#[test]
fn a_released_package_in_whose_way_a_patch_cannot_be_applied_keeps_it_not_back() {
    let test = "a_released_package_in_whose_way…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "check=none\n") else { return };
    let makes = |text: &str| format!("echo {text} > \"$DESTDIR/$PKGNAME\"\n");
    for name in ["yvictim", "zother"] {
        build.recipe(name, "", &makes("one"));
    }
    // It makes a directory where the next version of another package has a file.
    let post = "cat > \"$OUT/postinstall\" <<'End'\nmkdir /later; echo x > /later/x\nexit 0\nEnd\n";
    build.recipe("mevil", "", &format!("{}{post}", makes("one")));
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    build.write("yvictim/build", format!("{}echo two > \"$DESTDIR/later\"\n", makes("two")));
    build.write("zother/build", makes("two"));
    build.write("mevil/build", format!("{}{post}", makes("two")));

    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (5, &json!(null)), "{made:#}");
    let expected = ["mevil failed mevil-01", "yvictim built yvictim-01", "zother built zother-01"];
    assert_eq!(told(&made), expected, "{made:#}");
    let reason = made["sources"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("its trial failed: its released package keeps yvictim-01 from passing: "),
        "{reason}"
    );
}

#[test]
fn a_library_that_every_program_would_load_keeps_no_patch_of_others_back() {
    let test = "a_library_that_every_program…";
    if Command::new("cc").arg("--version").output().is_err() {
        crate::missing("cc", test);
        return;
    }
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "") else { return };
    let code = "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\n\
        __attribute__((constructor)) static void go(void) {\n    char text[4096];\n    \
        FILE *file = fopen(\"/proc/self/cmdline\", \"r\");\n    \
        size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;\n    \
        for (size_t at = 0; at < length; at++) if (!text[at]) text[at] = ' ';\n    text[length] = 0;\n    \
        if (strstr(text, \"patchadm\") || strstr(text, \".program\")) _exit(9);\n}\n";
    let source = build.scenario.beside("x.c");
    fs::write(&source, code).unwrap();
    build.write("bevil/record", "");
    let library = build.tree().join("bevil/x.so");
    let mut compiler = Command::new("cc");
    let made = compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(made.success());
    let makes = |text: &str| format!("echo {text} > \"$DESTDIR/$PKGNAME\"\n");
    let preloads = "mkdir -p \"$DESTDIR/opt\" \"$DESTDIR/etc\"; cp \"$TREE/bevil/x.so\" \"$DESTDIR/opt/x.so\"\n\
        echo /opt/x.so > \"$DESTDIR/etc/ld.so.preload\"\n";
    let write = |text: &str| {
        build.recipe("bevil", "", &format!("{}{preloads}", makes(text)));
        for name in ["avictim", "yvictim"] {
            build.recipe(name, "", &makes(text));
        }
    };
    build.set("check=none\n");
    write("one");
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    write("two");
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (5, &json!(null)), "{made:#}");
    let expected = ["avictim built avictim-01", "bevil failed bevil-01", "yvictim built yvictim-01"];
    assert_eq!(told(&made), expected, "{made:#}");
    let reason = made["sources"][1]["reason"].as_str().unwrap();
    assert!(reason.contains("it changes /etc/ld.so.preload, which affects every program"), "{reason}");
}

#[test]
fn a_trial_that_is_cut_off_leaves_nothing_and_costs_no_revision() {
    let test = "a_trial_that_is_cut_off…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "check=none\n") else { return };
    let mark = mark();
    build.recipe("thing", "", &SCRIPTED.replace("$TEXT", "one"));
    build.write("thing/i.ours", class_script(&format!("sh -c 'sleep 1000; : {mark}'")));
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    build.write("thing/build", SCRIPTED.replace("$TEXT", "two"));
    build.run("").ends(0);

    for signal in [Signal::TERM, Signal::KILL] {
        let mut trial = build.command(&format!("patches {} --json", build.work().display()));
        let mut trial = trial.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the patch is applied", || !processes_about(&mark).is_empty());
        kill_process(Pid::from_raw(i32::try_from(trial.id()).unwrap()).unwrap(), signal).unwrap();
        let status = trial.wait().unwrap();
        eventually("nothing is left", || processes_about(&mark).is_empty());
        if signal == Signal::TERM {
            assert_eq!(status.code(), Some(128 + 15));
            assert!(!patch_file(&build, "thing-01").exists());
            build.assert_nothing_left(&mark);
        }
        let handed = fs::read_to_string(build.work().join("patches/handover/LIST")).unwrap_or_default();
        assert_eq!(handed, "");
    }

    build.write("thing/i.ours", class_script(":"));
    build.run("").ends(0);
    let (code, made) = patches(&build, "");
    assert_eq!((code, told(&made)), (0, vec!["thing built thing-01".to_owned()]), "{made:#}");
    build.assert_nothing_left(&mark);
}
