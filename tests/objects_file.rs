//! `install/patchadm.objects`: attributes that a pkgmap cannot give arrive, count, and go back exactly.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};

use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::records::Before;
use crate::scenario::{Scenario, is_root};

const TOOL: &str = "/opt/ACMEweb/bin/tool";
const SHARE: &str = "/opt/ACMEweb/share";

/// `cap_net_raw=ep`.
const NET_RAW: &str = "0100000200200000000000000000000000000000";

fn base() -> Package {
    Package::new("ACMEweb").file("bin/tool", 0o755, "one\n").directory("share").file(
        "share/text",
        0o644,
        "text\n",
    )
}

/// A patch of the package with these lines in its file of attributes.
fn patch(id: &str, package: Package, lines: &str) -> Patch {
    Patch::of(id, package.information("patchadm.objects", format!("{{\"objects\":1}}\n{lines}")))
}

fn set(stage: &Scenario, path: &str, name: &str, value: &str) {
    lsetxattr(stage.at(path), name, value.as_bytes(), XattrFlags::empty()).unwrap();
}

/// The value of an attribute; `None` if the object does not have it.
fn value(stage: &Scenario, path: &str, name: &str) -> Option<String> {
    let mut value = vec![0; 4096];
    let length = lgetxattr(stage.at(path), name, value.as_mut_slice()).ok()?;
    Some(String::from_utf8(value[..length].to_vec()).unwrap())
}

/// A root with the package, on a file system that has user attributes; says that a test is skipped where it has none.
fn stage(test: &str) -> Option<Scenario> {
    let stage = Scenario::with(&[base()]);
    stage.file("/probe", "");
    if lsetxattr(stage.at("/probe"), "user.probe", b"1", XattrFlags::empty()).is_err() {
        crate::skipped(&format!("{test}: the file system has no user attributes"));
        return None;
    }
    fs::remove_file(stage.at("/probe")).unwrap();
    Some(stage)
}

#[test]
fn what_a_line_gives_is_all_that_an_object_has_and_without_one_it_keeps_its_own() {
    let Some(stage) = stage("what_a_line_gives_is_all_that_an_object_has_and_without_one_it_keeps_its_own")
    else {
        return;
    };
    for path in [TOOL, SHARE, "/opt/ACMEweb/share/text"] {
        set(&stage, path, "user.mine", "mine");
    }
    let before = Before::of(&stage);
    let package =
        base().file("bin/tool", 0o755, "two\n").file("share/text", 0o644, "new\n").file("new", 0o644, "n\n");
    let lines = "{\"path\":\"bin/tool\",\"mtime_ns\":250000000,\"xattrs\":{\"user.note\":\"6869\"}}\n\
                 {\"path\":\"share\",\"xattrs\":{\"user.dir\":\"64\"}}\n{\"path\":\"new\",\"xattrs\":{\"user.new\":\"6e\"}}\n";
    stage.patchadd("", &patch("100-01", package, lines)).ok();
    assert_eq!(value(&stage, TOOL, "user.note").as_deref(), Some("hi"));
    assert_eq!(value(&stage, TOOL, "user.mine"), None);
    let seen = fs::metadata(stage.at(TOOL)).unwrap();
    assert_eq!((seen.mtime(), seen.mtime_nsec()), (DELIVERED, 250_000_000));
    assert_eq!(
        (value(&stage, SHARE, "user.dir").as_deref(), value(&stage, SHARE, "user.mine")),
        (Some("d"), None)
    );
    assert_eq!(value(&stage, "/opt/ACMEweb/new", "user.new").as_deref(), Some("n"));
    assert_eq!(value(&stage, "/opt/ACMEweb/share/text", "user.mine").as_deref(), Some("mine"));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(stage.run("check --contents -R @ROOT@").code, 0);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "it comes back");
}

#[test]
fn attributes_alone_are_a_change_and_the_same_ones_are_none() {
    let Some(stage) = stage("attributes_alone_are_a_change_and_the_same_ones_are_none") else { return };
    let before = Before::of(&stage);
    let inode = |stage: &Scenario| fs::metadata(stage.at(TOOL)).unwrap().ino();
    let first = inode(&stage);
    let same = || Package::new("ACMEweb").file("bin/tool", 0o755, "one\n");
    let line = "{\"path\":\"bin/tool\",\"mtime_ns\":5,\"xattrs\":{\"user.note\":\"6869\"}}\n";
    stage.patchadd("", &patch("100-01", same(), line)).ok();
    let second = inode(&stage);
    assert_ne!(first, second, "it is replaced");
    assert_eq!(value(&stage, TOOL, "user.note").as_deref(), Some("hi"));
    stage.patchadd("", &patch("200-01", same(), line)).ok();
    assert_eq!(inode(&stage), second, "it is already installed");
    stage.patchadd("", &patch("300-01", same(), "{\"path\":\"bin/tool\",\"xattrs\":{}}\n")).ok();
    assert_ne!(inode(&stage), second);
    assert_eq!(llistxattr(stage.at(TOOL), &mut [0; 64][..]).unwrap(), 0, "all are taken away");
    for id in ["300-01", "200-01", "100-01"] {
        stage.run(&format!("patchrm -R @ROOT@ {id}")).ok();
    }
    before.assert_again(&stage, "it comes back");
}

#[test]
fn a_file_that_its_owner_may_not_write_gets_them_without_privileges() {
    let name = "a_file_that_its_owner_may_not_write_gets_them_without_privileges";
    let Some(stage) = stage(name).filter(|_| is_root()) else {
        return crate::skipped(&format!("{name}: only root can become another user"));
    };
    let line = "{\"path\":\"bin/tool\",\"xattrs\":{\"user.note\":\"6869\"}}\n";
    patch("100-01", base().file("bin/tool", 0o444, "two\n"), line).directory(&stage);
    crate::as_owner::open(&stage);
    stage.run("add --as-owner -R @ROOT@ delivered/100-01").ok();
    assert_eq!(value(&stage, TOOL, "user.note").as_deref(), Some("hi"));
    assert_eq!(fs::metadata(stage.at(TOOL)).unwrap().mode() & 0o7777, 0o444);
}

#[test]
fn patches_of_one_run_give_what_they_would_one_after_another() {
    let name = "patches_of_one_run_give_what_they_would_one_after_another";
    let (Some(one), Some(each)) = (stage(name), stage(name)) else { return };
    let delivered = |text: &str| Package::new("ACMEweb").file("bin/tool", 0o755, text).directory("share");
    let lines = "{\"path\":\"bin/tool\",\"xattrs\":{\"user.a\":\"61\"}}\n{\"path\":\"share\",\"xattrs\":{\"user.d\":\"64\"}}\n";
    let patches = || {
        [
            patch("100-01", delivered("two\n"), lines),
            Patch::of("200-01", delivered("three\n")),
            patch("300-01", delivered("four\n"), "{\"path\":\"share\",\"xattrs\":{}}\n"),
        ]
    };
    let before = Before::of(&one);
    for patch in patches() {
        patch.directory(&one);
        each.patchadd("", &patch).ok();
    }
    one.run("add -R @ROOT@ delivered/100-01 delivered/200-01 delivered/300-01").ok();
    for stage in [&one, &each] {
        assert_eq!(
            value(stage, TOOL, "user.a").as_deref(),
            Some("a"),
            "the second keeps what the first gave"
        );
        assert_eq!(value(stage, SHARE, "user.d"), None);
    }
    one.run("patchrm -R @ROOT@ 300-01").ok();
    assert_eq!(value(&one, SHARE, "user.d").as_deref(), Some("d"));
    one.run("patchrm -R @ROOT@ 200-01").ok();
    assert_eq!((one.text(TOOL).as_str(), value(&one, TOOL, "user.a").as_deref()), ("two\n", Some("a")));
    one.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&one, "it comes back");
}

#[test]
fn a_package_and_a_class_script_get_them_too() {
    let Some(stage) = stage("a_package_and_a_class_script_get_them_too") else { return };
    let lines = "{\"objects\":1}\n{\"path\":\"bin/new\",\"mtime_ns\":7,\"xattrs\":{\"user.new\":\"6e\"}}\n\
                 {\"path\":\"etc/conf\",\"xattrs\":{\"user.conf\":\"63\"}}\n{\"path\":\"etc\",\"xattrs\":{\"user.etc\":\"65\"}}\n";
    let package = Package::new("ACMEnew")
        .param("CLASSES", "none mine")
        .file("bin/new", 0o755, "new\n")
        .directory("etc")
        .of_class("mine", 'e', "etc/conf", 0o644, "conf\n")
        .information("i.mine", "while read from to; do cp $from $to; done\n")
        .information("patchadm.objects", lines);
    let spool = stage.beside("spool");
    package.write(&spool);
    fs::write(stage.beside("admin"), "action=nocheck\ninstance=unique\nbasedir=default\n").unwrap();
    let admin = stage.beside("admin").display().to_string();
    let run = stage.run(&format!("pkgadd -n -a {admin} -R @ROOT@ -d {} ACMEnew", spool.display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(value(&stage, "/opt/ACMEnew/bin/new", "user.new").as_deref(), Some("n"));
    assert_eq!(fs::metadata(stage.at("/opt/ACMEnew/bin/new")).unwrap().mtime_nsec(), 7);
    assert_eq!(value(&stage, "/opt/ACMEnew/etc/conf", "user.conf").as_deref(), Some("c"));
    assert_eq!(value(&stage, "/opt/ACMEnew/etc", "user.etc").as_deref(), Some("e"));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn file_capabilities_arrive_for_root_and_are_left_out_with_a_note_for_others() {
    let stage = Scenario::with(&[base()]);
    let before = Before::of(&stage);
    let package = base().file("bin/tool", 0o755, "two\n");
    let lines = format!("{{\"path\":\"bin/tool\",\"xattrs\":{{\"security.capability\":\"{NET_RAW}\"}}}}\n");
    stage.file("/probe", "");
    let can =
        lsetxattr(stage.at("/probe"), "security.capability", &bytes(NET_RAW), XattrFlags::empty()).is_ok();
    fs::remove_file(stage.at("/probe")).unwrap();
    if is_root() && !can {
        return crate::skipped("file capabilities: the file system or the container has none");
    }
    let run = stage.patchadd("", &patch("100-01", package, &lines));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut value = vec![0; 64];
    let length = lgetxattr(stage.at(TOOL), "security.capability", value.as_mut_slice());
    if is_root() {
        assert_eq!(value[..length.unwrap()], bytes(NET_RAW));
    } else {
        assert!(length.is_err());
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("gets no file capabilities, which only root can set"), "{said}");
    }
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "it comes back");
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_file_that_says_anything_else_is_refused_by_name_and_nothing_is_changed() {
    let stage = Scenario::with(&[base()]);
    let before = Before::of(&stage);
    for (text, reason) in [
        ("{\"objects\":2}\n", "it is of version 2"),
        ("", "it is empty"),
        ("{\"objects\":1}\n{\"path\":\"bin/tool\",\"owner\":\"x\"}\n", "line 2: "),
        ("{\"objects\":1}\n{\"path\":\"bin/other\"}\n", "the package delivers no bin/other"),
        ("{\"objects\":1}\n{\"path\":\"bin/tool\",\"xattrs\":{\"trusted.x\":\"00\"}}\n", "trusted.x"),
    ] {
        let package = base().file("bin/tool", 0o755, "two\n").information("patchadm.objects", text);
        let said = stage.patchadd("", &Patch::of("100-01", package)).fails(28);
        assert!(said.contains("patchadm.objects") && said.contains(reason), "{reason}: {said}");
    }
    let package = base().file("bin/tool", 0o755, "two\n").symlink("now", "bin/tool");
    let link = patch("100-01", package, "{\"path\":\"now\",\"xattrs\":{\"user.a\":\"00\"}}\n");
    let said = stage.patchadd("", &link).fails(10);
    assert!(said.contains("no object of ftype <s> has the attribute user.a"), "{said}");
    before.assert_again(&stage, "nothing is changed");
    let new = Package::new("ACMEnew")
        .file("new", 0o644, "new\n")
        .information("patchadm.objects", "{\"objects\":9}\n");
    new.write(&stage.beside("spool"));
    assert!(stage.run("pkgadd -n -R @ROOT@ -d spool ACMEnew").fails(1).contains("version 9"));
    before.assert_again(&stage, "nothing is changed");
}

#[test]
fn a_pipe_takes_over_no_attribute_that_only_files_can_have() {
    let Some(stage) = stage("a_pipe_takes_over_no_attribute_that_only_files_can_have") else { return };
    set(&stage, "/opt/ACMEweb/share/text", "user.note", "kept");
    let before = Before::of(&stage);
    let pipe = Package::new("ACMEweb").line("share/text", "p none share/text 0644 root root");
    Patch::of("100-01", pipe).directory(&stage);
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let run = stage.run("patchrm -R @ROOT@ 100-01");
    assert_eq!(run.code, 0, "{}", run.stderr);
    before.assert_again(&stage, "backed out");
}
