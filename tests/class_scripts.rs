//! Class action scripts: their origin, their input, and the effect of their results.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use crate::packages::{DELIVERED, Package, datastream};
use crate::procedure_scripts::{COPY, add, added, everything, line, noted, older, stage};
use crate::scenario::is_root;
use crate::tree::assert_same;

#[test]
fn the_standard_classes_need_no_scripts_of_the_package() {
    let stage = stage();
    let package = Package::new("ACMEall")
        .param("CLASSES", "none sed awk preserve renamenew build")
        .of_class("sed", 'e', "/etc/table", 0o644, "!install\ns/old/new/\n!remove\ns/new/old/\n")
        .of_class("awk", 'e', "/etc/words", 0o644, "!install\n{ print $1 }\n!remove\n{ print }\n")
        .of_class("preserve", 'e', "/etc/kept", 0o644, "delivered\n")
        .of_class("renamenew", 'e', "/etc/beside", 0o644, "delivered\n")
        .of_class("build", 'e', "/etc/built", 0o644, "echo made by $1\n");
    for (path, text) in [
        ("/etc/table", "old value\n"),
        ("/etc/words", "one two\n"),
        ("/etc/kept", "mine\n"),
        ("/etc/beside", "mine\n"),
    ] {
        stage.file(path, text);
    }
    added(&stage, &package);
    let text = |path: &str| fs::read_to_string(stage.at(path)).unwrap();
    assert_eq!(text("/etc/table"), "new value\n");
    assert_eq!(text("/etc/words"), "one\n");
    assert_eq!((text("/etc/kept"), text("/etc/beside")), ("mine\n".to_owned(), "mine\n".to_owned()));
    assert_eq!(text("/etc/beside.new"), "delivered\n");
    assert_eq!(text("/etc/built"), "made by install\n");
    assert!(stage.at("/var/sadm/pkg/ACMEall/save/build/etc/built").exists());
    assert!(!stage.at("/etc/kept.edited-ACMEall").exists(), "what becomes of edits is the script's matter");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_class_script_of_the_root_comes_before_that_of_the_program() {
    let stage = stage();
    stage.file("/usr/sadm/install/scripts/i.build", "while read s d; do echo by the root > $d; done\n");
    added(
        &stage,
        &Package::new("ACMEall").param("CLASSES", "build").of_class("build", 'e', "a", 0o644, "echo no\n"),
    );
    assert_eq!(fs::read_to_string(stage.at("/opt/ACMEall/a")).unwrap(), "by the root\n");
}

#[test]
fn a_package_in_a_stream_is_unpacked_for_its_class_scripts() {
    let stage = stage();
    let written = everything().write(&stage.beside("spool"));
    let stream = stage.beside("all.ds");
    datastream(&[written], &stream);
    let run = stage.run(&format!("pkgadd -R @ROOT@ -a nocheck -d {} all", stream.display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let noted = noted(&stage);
    let listed = noted.lines().find(|line| line.contains("/reloc/")).unwrap();
    let source = listed.split(' ').next().unwrap();
    assert!(source.starts_with("/var/tmp/") && source.ends_with("/ACMEall/reloc/mine/data"), "{listed}");
    assert!(!std::path::Path::new(source).exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_delivered_file_that_is_damaged_stops_before_any_script() {
    let stage = stage();
    let before = stage.everything();
    let command = line(&stage, "", &everything());
    fs::write(stage.beside("spool/ACMEall/reloc/mine/data"), "some DATA\n").unwrap();
    let said = stage.run(&command).fails(1);
    assert!(said.contains("mine/data") && said.contains("cksum"), "{said}");
    assert!(!noted(&stage).contains("preinstall"), "{}", noted(&stage));
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_class_script_may_want_paths_relative_to_the_package() {
    let stage = stage();
    let script = "{ read top; while read path; do echo \"$path\" >> $PKG_INSTALL_ROOT/opt/noted; \
                  cp $top/$path $BASEDIR/${path#reloc/}; done; }\n";
    let package = older().param("PKG_CAS_PASSRELATIVE", "mine").information("i.mine", script);
    added(&stage, &package);
    assert_eq!(noted(&stage), "reloc/data\n");
    assert_eq!(fs::read_to_string(stage.at("/opt/ACMEall/data")).unwrap(), "data\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall PKG_CAS_PASSRELATIVE").ok(), "", "never stored");
}

#[test]
fn a_file_that_its_script_does_not_install_is_marked() {
    let stage = stage();
    let package = Package::new("ACMEall")
        .param("CLASSES", "mine")
        .of_class("mine", 'f', "data", 0o644, "data\n")
        .information("i.mine", "cat > /dev/null\n");
    let run = add(&stage, "-n", &package);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(
        run.stderr.contains("pkgadd: ERROR: @ROOT@/opt/ACMEall/data\n    pathname does not exist\n"),
        "{}",
        run.stderr
    );
    let line = "/opt/ACMEall/data f mine 0644 root root 5 420 1577836800 !ACMEall";
    assert!(stage.lines().contains(&line.to_owned()), "{:?}", stage.lines());
}

#[test]
fn what_a_class_script_changes_is_what_counts() {
    let stage = stage();
    let script = "while read src dst; do sed s/data/DATA/ $src > $dst; chmod 777 $dst; done\n";
    added(&stage, &older().information("i.mine", script));
    assert_eq!(fs::read_to_string(stage.at("/opt/ACMEall/data")).unwrap(), "DATA\n");
    let seen = fs::metadata(stage.at("/opt/ACMEall/data")).unwrap();
    assert_eq!((seen.mode() & 0o7777, seen.mtime()), (0o644, DELIVERED));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn no_file_of_a_class_script_that_somebody_else_could_exchange_gets_set_id_bits() {
    if !is_root() {
        crate::skipped("no_file_of_a_class_script_that_somebody_else_could_exchange…: not root");
        return;
    }
    for (owner, mode, is_done) in [(54_321, 0o4755, false), (54_321, 0o755, true), (0, 0o4755, true)] {
        let stage = stage();
        stage.directory("/opt/ACMEall");
        chown(stage.at("/opt/ACMEall"), Some(owner), None).unwrap();
        let before = stage.everything();
        let package = Package::new("ACMEall")
            .param("CLASSES", "mine")
            .of_class("mine", 'f', "tool", mode, "tool\n")
            .information("i.mine", COPY);
        let run = add(&stage, "-n", &package);
        assert_eq!(run.code == 0, is_done, "{owner} {mode:o}: {}", run.stderr);
        if is_done {
            let seen = fs::metadata(stage.at("/opt/ACMEall/tool")).unwrap();
            assert_eq!((seen.mode() & 0o7777, seen.uid()), (mode, 0));
            continue;
        }
        let told =
            run.stderr.contains("could be another file") && run.stderr.contains("belongs to uid 54321");
        assert!(told, "{}", run.stderr);
        fs::write(stage.at("/opt/noted"), "").unwrap();
        stage.mtime("/opt/noted", 981_173_106);
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn a_class_script_opens_no_file_that_another_user_could_have_put_there() {
    if !is_root() {
        crate::skipped("a_class_script_opens_no_file_that_another_user_could…: not root");
        return;
    }
    let stage = stage();
    stage.file("/opt/ACMEall/data", "secret\n");
    stage.mode("/opt/ACMEall/data", 0o600);
    chown(stage.at("/opt/ACMEall"), Some(54_321), None).unwrap();
    let before = stage.everything();
    let package = Package::new("ACMEall").param("CLASSES", "none preserve").of_class(
        "preserve",
        'e',
        "data",
        0o644,
        "delivered\n",
    );
    let run = add(&stage, "-n", &package);
    assert_ne!(run.code, 0, "{}", run.stderr);
    let told = run.stderr.contains("could be another object: @ROOT@/opt/ACMEall belongs to uid 54321;")
        && run.stderr.contains("` and `chmod 0644`");
    assert!(told, "{}", run.stderr);
    assert_same(&stage.everything(), &before);

    chown(stage.at("/opt/ACMEall"), Some(0), None).unwrap();
    added(&stage, &package);
    let seen = fs::metadata(stage.at("/opt/ACMEall/data")).unwrap();
    assert_eq!((seen.mode() & 0o7777, seen.uid(), seen.len()), (0o644, 0, 7));
}

#[test]
fn an_update_passes_on_what_differs_and_says_so() {
    let stage = stage();
    let package = |data: &str| {
        older()
            .of_class("mine", 'f', "other", 0o644, data)
            .information("i.mine", COPY)
            .information("preinstall", "echo UPDATE=$UPDATE >> $PKG_INSTALL_ROOT/opt/noted\n")
    };
    added(&stage, &package("one\n"));
    fs::write(stage.at("/opt/noted"), "").unwrap();
    let run = added(&stage, &package("two\n"));
    assert!(run.stderr.contains("same architecture and version"), "{}", run.stderr);
    let expected = "UPDATE=yes\ni.mine: ENDOFCLASS\n@SPOOL@/ACMEall/reloc/other @ROOT@/opt/ACMEall/other\n";
    assert_eq!(noted(&stage), expected);
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall UPDATE").ok(), "yes\n");
    let data = fs::metadata(stage.at("/opt/ACMEall/data")).unwrap();
    let again = fs::metadata(stage.at("/opt/ACMEall/again")).unwrap();
    assert_eq!(data.ino(), again.ino());
}

#[test]
fn a_name_that_a_list_cannot_have_is_refused_before_any_change() {
    for name in ["two words", "a\nb"] {
        let stage = stage();
        let before = stage.everything();
        let written = name.replace(' ', "\\040").replace('\n', "\\012");
        let package = Package::new("ACMEall")
            .param("CLASSES", "mine")
            .of_class("mine", 'f', name, 0o644, "x\n")
            .line(name, &format!("f mine {written} 0644 root root 2 130 1577836800"))
            .information("i.mine", COPY);
        let run = add(&stage, "-n", &package);
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(
            run.stderr.contains("> contains white space and cannot be passed to a class action script"),
            "{}",
            run.stderr
        );
        assert_same(&stage.everything(), &before);
    }
}
