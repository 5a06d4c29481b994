//! Links: symbolic links with paths through them, hard links to objects of others, directories over links.

use std::fs;
use std::os::unix::fs::{lchown, symlink};

use crate::packages::Package;
use crate::reliability::hostile::archives::{Cpio, Tar};
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{
    ADD, CHECK, Case, FORCE, INSTALL, PACK, TRY, UNPACK, case, handled, refused,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = through_delivered();
    cases.extend(through_present());
    cases.extend(through_links_to_others());
    cases.extend(hard());
    cases.extend(directories_over_links());
    cases
}

/// Links that the source itself brings, and paths through them.
#[rustfmt::skip] // each case is a line
fn through_delivered() -> Vec<Case> {
    let line = |lines: &'static [&'static str]| move |b: &Bench| b.lines(lines);
    let member = |kind: u8, name: &'static str, target: &'static str| {
        move |b: &Bench| b.tar(Bench::web(), &[Tar::link(kind, format!("{ID}/{name}"), target), Tar::file(format!("{ID}/{name}/passwd"), "evil")])
    };
    vec![
        case(2, "a file through a link of the same package", ADD, line(&["s none way=/etc", "f none way/shadow 0644 root root 2 130 0"]), refused(10, "way")),
        case(2, "the same, only asked", TRY, line(&["s none way=/etc", "f none way/shadow 0644 root root 2 130 0"]), refused(10, "way")),
        case(2, "a file through a link that comes later", ADD, line(&["f none a/shadow 0644 root root 2 130 0", "s none a=/etc"]), refused(10, "opt/ACMEweb/a")),
        case(2, "a directory through a link of the same package", ADD, line(&["s none way=/etc", "d none way/new 0777 root root"]), refused(10, "way")),
        case(2, "a link through a link of the same package", ADD, line(&["s none way=/etc", "s none way/shadow=/dev/null"]), refused(10, "way")),
        case(2, "a pipe through a link of the same package", ADD, line(&["s none way=/etc", "p none way/new 0777 root root"]), refused(10, "way")),
        case(2, "a file through a link that climbs out of the root", ADD, line(&["s none way=../../../canary", "f none way/passwd 0644 root root 2 130 0"]), refused(10, "way")),
        case(2, "a file through two links", ADD, line(&["s none a=b", "s none b=/etc", "f none a/shadow 0644 root root 2 130 0"]), refused(10, "opt/ACMEweb/a")),
        case(2, "a file through a link by an absolute path", ADD, line(&["s none way=/etc", "f none /opt/ACMEweb/way/shadow 0644 root root 2 130 0"]), refused(10, "way")),
        case(2, "a file through a link of another package of the patch", ADD, |b| { let d = b.lines(&["s none way=/etc"]); Package::new("ACMEz").param("SUNW_PATCHID", ID).param("BASEDIR", "/opt/ACMEweb").file("way/shadow", 0o644, "x\n").write(&d); d }, handled(&["bin/httpd f 755 two\\n", "way -> /etc"])),
        case(2, "a new package with a way through its own link", INSTALL, |b| b.spool(&Package::new("ACMEa").symlink("way", "/etc").file("way/shadow", 0o644, "x\n")), refused(1, "way")),
        case(2, "a link that replaces a directory with a way through it", ADD, line(&["s none share=/etc", "f none share/shadow 0644 root root 2 130 0"]), refused(10, "share")),
        case(2, "a file that replaces a directory with a way through it", ADD, line(&["f none share 0644 root root 2 130 0", "f none share/x 0644 root root 2 130 0"]), refused(10, "share")),
        case(2, "tar: link to / and a file through it", ADD, member(b'2', "way", "/etc"), refused(33, "is a link that points outside")),
        case(2, "tar: link that climbs and a file through it", ADD, member(b'2', "way", "../../canary"), refused(33, "is a link that points outside")),
        case(2, "tar: link inside and a file through it", ADD, member(b'2', "way", "ACMEweb"), handled(&["bin/httpd f 755 two\\n"])),
        case(2, "tar: an empty link", ADD, member(b'2', "way", ""), handled(&["bin/httpd f 755 two\\n"])),
        case(2, "tar: the package directory is a link", ADD, |b| b.source(".tar", crate::reliability::hostile::archives::tar(&[Tar::link(b'2', format!("{ID}/ACMEweb"), "/etc")])), refused(33, "points outside")),
        case(2, "tar: an object is a link to a secret", ADD, |b| b.tar(Bench::web().line("way", "f none way 0644 root root 2 130 0"), &[Tar::link(b'2', format!("{ID}/ACMEweb/reloc/way"), "../../../x")]), refused(13, "symbolic link")),
        case(2, "zip: link to / and a file through it", ADD, |b| b.zip(Bench::web(), &[("900-01/way/passwd", b"evil")], Some(("900-01/way2", "/etc"))), refused(33, "is a link that points outside")),
        case(2, "zip: link that climbs", ADD, |b| b.zip(Bench::web(), &[], Some(("900-01/way", "../../../canary"))), refused(33, "is a link that points outside")),
        case(2, "datastream: link and a file through it", ADD, |b| b.stream(Bench::web(), &[Cpio::of_mode(0o120_777, "reloc/way", "/etc"), Cpio::file("reloc/way/shadow", "evil")]), handled(&["bin/httpd f 755 two\\n"])),
        case(2, "the same, unpacked", UNPACK, |b| b.stream(Bench::web(), &[Cpio::of_mode(0o120_777, "reloc/bin", "@CANARY@"), Cpio::file("reloc/bin/passwd", "evil")]), handled(&["/ACMEweb d 755", "/ACMEweb/pkginfo f 644 132 bytes", "/ACMEweb/pkgmap f 644 89 bytes", "/ACMEweb/reloc d 755", "/ACMEweb/reloc/bin d 755", "/ACMEweb/reloc/bin/httpd f 644 two\\n"])),
        case(2, "datastream: an object is a link", ADD, |b| { let s = b.streamed("070701", Bench::web().line("way", "f none way 0644 root root 2 130 0"), &[Cpio::of_mode(0o120_777, "reloc/way", "/etc/passwd")]); b.source(".ds", s) }, refused(13, "symbolic link")),
        case(2, "directory: an object is a link to a secret", ADD, |b| b.damaged(|p| { fs::remove_file(p.join("reloc/bin/httpd")).unwrap(); symlink("/etc/passwd", p.join("reloc/bin/httpd")).unwrap(); }), refused(13, "symbolic link")),
        case(2, "the same, packed", PACK, |b| b.damaged(|p| { fs::remove_file(p.join("reloc/bin/httpd")).unwrap(); symlink("/etc/passwd", p.join("reloc/bin/httpd")).unwrap(); }).parent().unwrap().join(ID), refused(1, "symbolic link")),
        case(2, "the same, checked", CHECK, |b| b.damaged(|p| { fs::remove_file(p.join("reloc/bin/httpd")).unwrap(); symlink("/etc/passwd", p.join("reloc/bin/httpd")).unwrap(); }), refused(1, "symbolic link")),
        case(2, "directory: reloc is a link", ADD, |b| b.damaged(|p| { fs::rename(p.join("reloc"), p.join("../../moved")).unwrap(); symlink("../../moved", p.join("reloc")).unwrap(); }), refused(10, "missing from the source")),
        case(2, "directory: the package is a link", ADD, |b| b.damaged(|p| { fs::rename(p, p.join("../../moved")).unwrap(); symlink("../moved", p).unwrap(); }), refused(33, "no package")),
        case(2, "directory: pkginfo is a link", ADD, |b| b.damaged(|p| { fs::remove_file(p.join("pkginfo")).unwrap(); symlink("/etc/passwd", p.join("pkginfo")).unwrap(); }), refused(33, "")),
        case(2, "directory: a script is a link", ADD, |b| b.damaged(|p| symlink("/etc/passwd", p.join("install/deletes")).unwrap()), handled(&["bin/httpd f 755 two\\n"])),
    ]
}

/// Links that are in the root already, whoever owns them.
#[rustfmt::skip] // each case is a line
fn through_present() -> Vec<Case> {
    let line = |lines: &'static [&'static str]| move |b: &Bench| b.lines(lines);
    vec![
        case(2, "a file through a user's link inside the root", ADD, line(&["f none theirs/notes 0644 root root 2 130 0"]), refused(10, "modified locally")),
        case(2, "a file through a user's link out of the root", ADD, line(&["f none out/passwd 0644 root root 2 130 0"]), refused(10, "dangling symbolic link")),
        case(2, "a directory through a user's link out of the root", ADD, line(&["d none out/new 0777 root root"]), refused(10, "dangling symbolic link")),
        case(2, "a file through a package's link", ADD, line(&["f none lib/way/new 0644 root root 2 130 0"]), handled(&["bin/httpd f 755 two\\n", "share/new f 644 x\\n"])),
        case(2, "a file that replaces a user's link", ADD, line(&["f none out 0644 root root 2 130 0"]), refused(10, "modified locally")),
        case(2, "an editable file that replaces a user's link", ADD, line(&["e none out 0644 root root 2 130 0"]), handled(&["bin/httpd f 755 two\\n", "out f 644 x\\n", "out.edited-900-01 -> ../../../canary"])),
        case(2, "a link in place of an installed file", ADD, |b| { let d = b.patch(Bench::web()); fs::remove_file(b.stage.at("/opt/ACMEweb/bin/httpd")).unwrap(); b.stage.symlink("/opt/ACMEweb/bin/httpd", "../../../../canary/passwd"); d }, refused(10, "modified locally")),
        case(2, "a link in place of a directory on the way", ADD, |b| { let d = b.patch(Bench::web()); fs::rename(b.stage.at("/opt/ACMEweb/bin"), b.stage.at("/opt/ACMEweb/bin2")).unwrap(); b.stage.symlink("/opt/ACMEweb/bin", "../../../canary"); d }, refused(10, "dangling symbolic link")),
        case(2, "a file over a user's file behind a user's link, forced", FORCE, line(&["f none theirs/notes 0644 root root 2 130 0"]), handled(&["/home/user/notes f 644 x\\n", "bin/httpd f 755 two\\n"])),
        case(2, "a file over a user's link, forced", FORCE, line(&["f none out 0644 root root 2 130 0"]), handled(&["bin/httpd f 755 two\\n", "out f 644 x\\n"])),
        case(2, "a file over a link in its place, forced", FORCE, |b| { let d = b.patch(Bench::web()); fs::remove_file(b.stage.at("/opt/ACMEweb/bin/httpd")).unwrap(); b.stage.symlink("/opt/ACMEweb/bin/httpd", "../../../../canary/passwd"); d }, handled(&["bin/httpd f 755 two\\n"])),
        case(2, "a loop of links on the way", ADD, |b| { let d = b.lines(&["f none loop/x 0644 root root 2 130 0"]); b.stage.symlink("/opt/ACMEweb/loop", "loop"); d }, refused(10, "loop is not a directory")),
        case(2, "a deletion through a user's link out of the root", ADD, |b| b.patch(Bench::web().deletes(&["out/passwd"])), handled(&["bin/httpd f 755 two\\n"])),
        case(2, "a deletion of a user's link", ADD, |b| b.patch(Bench::web().deletes(&["out"])), handled(&["bin/httpd f 755 two\\n"])),
        case(2, "BASEDIR is a user's link out of the root", INSTALL, |b| b.spool(&Package::new("ACMEa").param("BASEDIR", "/opt/ACMEweb/out").file("passwd", 0o644, "x\n")), refused(1, "dangling symbolic link")),
        case(2, "the link of an earlier patch", ADD, |b| { b.earlier("s none way=../../../canary"); b.lines(&["f none way/passwd 0644 root root 2 130 0"]) }, refused(10, "dangling symbolic link")),
    ]
}

/// Links of another user that lead to a directory of root.
#[rustfmt::skip] // each case is a line
fn through_links_to_others() -> Vec<Case> {
    let led = |b: &Bench| {
        b.stage.symlink("/opt/ACMEweb/led", "../../etc");
        lchown(b.stage.at("/opt/ACMEweb/led"), Some(1004), None).unwrap();
    };
    let line = |lines: &'static [&'static str]| move |b: &Bench| { led(b); b.lines(lines) };
    vec![
        case(2, "a file through a user's link to root's directory", ADD, line(&["f none led/new 0644 root root 2 130 0"]), refused(3, "id 1004 can replace")).privileged(),
        case(2, "the same, forced", FORCE, line(&["f none led/new 0644 root root 2 130 0"]), refused(3, "id 1004 can replace")).privileged(),
        case(2, "a directory over a user's link to root's directory", ADD, line(&["d none led 0777 root root"]), refused(3, "id 1004 can replace")).privileged(),
        case(2, "a new package through a user's link to root's directory", INSTALL, move |b| { led(b); b.spool(&Package::new("ACMEa").line("~", "d none /opt/ACMEweb/led/new 0777 root root")) }, refused(1, "id 1004 can replace")).privileged(),
    ]
}

#[rustfmt::skip] // each case is a line
fn hard() -> Vec<Case> {
    let line = |lines: &'static [&'static str]| move |b: &Bench| b.lines(lines);
    vec![
        case(3, "a hard link to a file of the root that is nobody's", ADD, line(&["l none new=/home/user/notes"]), handled(&["/home/user/notes f 644 mine\\n +1", "bin/httpd f 755 two\\n", "new f 644 mine\\n +1"])),
        case(3, "a hard link to the accounts", ADD, line(&["l none new=/etc/passwd"]), handled(&["/etc/passwd f 644 50 bytes +1", "bin/httpd f 755 two\\n", "new f 644 50 bytes +1"])),
        case(3, "a hard link that climbs", ADD, line(&["l none new=../../../canary/passwd"]), refused(10, "new")),
        case(3, "a hard link that climbs above the root", ADD, line(&["l none new=../../../../../../../../canary/set-id"]), refused(10, "new")),
        case(3, "a hard link to an absolute path of the host", ADD, line(&["l none new=@CANARY@/set-id"]), refused(10, "new")),
        case(3, "a hard link through a user's link", ADD, line(&["l none new=out/set-id"]), refused(10, "new")),
        case(3, "a hard link to a set-id program of its own", ADD, line(&["l none new=bin/su"]), handled(&["bin/httpd f 755 two\\n", "bin/su f 4755 set-id\\n +1", "new f 4755 set-id\\n +1"])),
        case(3, "a hard link to a directory", ADD, line(&["l none new=share"]), refused(10, "new")),
        case(3, "a hard link to a symbolic link", ADD, line(&["l none new=out"]), handled(&["bin/httpd f 755 two\\n", "new -> ../../../canary +1", "out -> ../../../canary +1"])),
        case(3, "a hard link to itself", ADD, line(&["l none new=new"]), refused(10, "new")),
        case(3, "hard links in a circle", ADD, line(&["l none a=b", "l none b=a"]), refused(10, "")),
        case(3, "a hard link to nothing", ADD, line(&["l none new=nosuch"]), refused(10, "new")),
        case(3, "a hard link without target", ADD, line(&["l none new"]), refused(28, "link specification")),
        case(3, "a hard link with an empty target", ADD, line(&["l none new="]), refused(28, "link specification")),
        case(3, "a hard link to a file of the same patch", ADD, line(&["l none new=bin/httpd"]), handled(&["bin/httpd f 755 two\\n +1", "new f 755 two\\n +1"])),
        case(3, "a new package with a hard link to the accounts", INSTALL, |b| b.spool(&Package::new("ACMEa").link("x", "/etc/passwd")), handled(&["/etc/passwd f 644 50 bytes +1", "/opt/ACMEa d 755", "/opt/ACMEa/x f 644 50 bytes +1"])),
        case(3, "tar: hard link to a name outside", ADD, |b| b.tar(Bench::web(), &[Tar::link(b'1', format!("{ID}/x"), "/etc/passwd")]), refused(33, "absolute name")),
        case(3, "tar: hard link that climbs", ADD, |b| b.tar(Bench::web(), &[Tar::link(b'1', format!("{ID}/x"), "../../canary/passwd")]), refused(33, "`..`")),
        case(3, "tar: an object is a hard link to nothing", ADD, |b| b.tar(Bench::web().line("way", "f none way 0644 root root 2 130 0"), &[Tar::link(b'1', format!("{ID}/ACMEweb/reloc/way"), "nosuch")]), refused(10, "missing from the source")),
        case(3, "tar: an object is a hard link to itself", ADD, |b| b.tar(Bench::web().line("way", "f none way 0644 root root 2 130 0"), &[Tar::link(b'1', format!("{ID}/ACMEweb/reloc/way"), format!("{ID}/ACMEweb/reloc/way"))]), refused(10, "missing from the source")),
        case(3, "tar: an object is a hard link to another", ADD, |b| b.tar(Bench::web().line("way", "f none way 0644 root root 4 356 0"), &[Tar::link(b'1', format!("{ID}/ACMEweb/reloc/way"), format!("{ID}/ACMEweb/reloc/bin/httpd"))]), handled(&["bin/httpd f 755 two\\n", "way f 644 two\\n"])),
        case(3, "datastream: names of one file, no data", ADD, |b| b.stream(Bench::web(), &[Cpio { links: (9, 2), ..Cpio::file("reloc/a", "") }, Cpio { links: (9, 2), ..Cpio::file("reloc/b", "") }]), handled(&["bin/httpd f 755 two\\n"])),
    ]
}

#[rustfmt::skip] // each case is a line
fn directories_over_links() -> Vec<Case> {
    let line = |lines: &'static [&'static str]| move |b: &Bench| b.lines(lines);
    vec![
        case(5, "a directory over a user's link out of the root", ADD, line(&["d none out 0777 root root"]), refused(10, "modified locally")),
        case(5, "a directory over a user's link to a directory of the root", ADD, line(&["d none theirs 0777 root root"]), handled(&["bin/httpd f 755 two\\n"])),
        case(5, "a directory over a package's link", ADD, line(&["d none lib/way 0700 root root"]), handled(&["bin/httpd f 755 two\\n", "lib/way d 700"])),
        case(5, "a directory with a set-gid bit over a link", ADD, line(&["d none out 2777 root root"]), refused(10, "modified locally")),
        case(5, "a spool directory over a link", ADD, line(&["x none out 0777 root root"]), refused(10, "modified locally")),
        case(5, "a directory over a user's link out of the root, forced", FORCE, line(&["d none out 0777 root root"]), handled(&["bin/httpd f 755 two\\n", "out d 777"])),
        case(5, "a directory over a user's link to a directory of the root, forced", FORCE, line(&["d none theirs 0777 root root"]), handled(&["bin/httpd f 755 two\\n"])),
        case(5, "a pipe over a user's link, forced", FORCE, line(&["p none out 0777 root root"]), handled(&["bin/httpd f 755 two\\n", "out p 777"])),
        case(5, "a directory over a link of the same package", ADD, line(&["s none way=/etc", "d none way 0777 root root"]), refused(28, "is already on line")),
        case(5, "a pipe over a user's link", ADD, line(&["p none out 0777 root root"]), refused(10, "modified locally")),
        case(5, "a directory over a file", ADD, line(&["d none lib/x 0755 root root"]), handled(&["bin/httpd f 755 two\\n", "lib/x d 755"])),
        case(5, "a file over a directory that is not empty", ADD, line(&["f none lib 0644 root root 2 130 0"]), refused(10, "lib")),
        case(5, "a link over a directory that is not empty", ADD, line(&["s none lib=/etc"]), refused(10, "lib")),
        case(5, "a new package with a directory over a link", INSTALL, |b| b.spool(&Package::new("ACMEa").line("~", "d none /opt/ACMEweb/out 0777 root root")), handled(&["out d 777", "out.edited-ACMEa -> ../../../canary"])),
        case(5, "tar: a directory member over a link member", ADD, |b| b.tar(Bench::web(), &[Tar::link(b'2', format!("{ID}/way"), "ACMEweb"), Tar::link(b'5', format!("{ID}/way"), "")]), handled(&["bin/httpd f 755 two\\n"])),
    ]
}
