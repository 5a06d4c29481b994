//! Objects that give rights away or are not files at all; invalid modes, owners and times.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::packages::{self, Package};
use crate::reliability::hostile::archives::{Cpio, Tar};
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{
    ADD, CHECK, Case, INFO, INSTALL, PACK, PLAN, TRY, UNPACK, case, handled, refused, says,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = delivered();
    cases.extend(in_the_source());
    cases.extend(modes());
    cases.extend(owners());
    cases.extend(times());
    cases
}

fn pipe(at: &Path) {
    assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
}

/// Makes a device that never ends.
fn zero(at: &Path) {
    assert!(Command::new("mknod").arg(at).args(["c", "1", "5"]).status().unwrap().success());
}

/// Replaces the file of the patch by something else.
fn instead(make: impl Fn(&Path)) -> impl Fn(&Bench) -> std::path::PathBuf {
    move |b| {
        b.damaged(|package| {
            let file = package.join("reloc/bin/httpd");
            fs::remove_file(&file).unwrap();
            make(&file);
        })
    }
}

#[rustfmt::skip] // each case is a line
fn delivered() -> Vec<Case> {
    let line = |line: &'static str| move |b: &Bench| b.lines(&[line]);
    vec![
        case(11, "a character device", ADD, line("c none dev 1 3 0666 root root"), handled(&["bin/httpd f 755 two\\n", "dev c 666 1 3"])).privileged(),
        case(11, "a block device", ADD, line("b none dev 7 0 0600 root root"), handled(&["bin/httpd f 755 two\\n", "dev b 600 7 0"])).privileged(),
        case(11, "a device in place of a file", ADD, line("c none lib/x 1 3 0666 root root"), handled(&["bin/httpd f 755 two\\n", "lib/x c 666 1 3"])).privileged(),
        case(11, "a device without numbers", ADD, line("c none dev ? ? 0666 root root"), refused(10, "dev")),
        case(11, "a device with huge numbers", ADD, line("c none dev 4294967296 3 0666 root root"), refused(28, "major/minor")),
        case(11, "a device with negative numbers", ADD, line("c none dev -1 3 0666 root root"), refused(28, "major/minor")),
        case(11, "a device that lacks fields", ADD, line("c none dev 1 3"), refused(28, "mode")),
        case(11, "a new package with a device", INSTALL, |b| b.spool(&Package::new("ACMEa").line("x", "c none x 1 3 0666 root root")), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x c 666 1 3"])).privileged(),
        case(11, "a pipe", ADD, line("p none pipe 0666 root root"), handled(&["bin/httpd f 755 two\\n", "pipe p 666"])),
        case(11, "a pipe in place of a file", ADD, line("p none lib/x 0666 root root"), handled(&["bin/httpd f 755 two\\n", "lib/x p 666"])),
        case(11, "a socket", ADD, line("S none sock 0666 root root"), refused(28, "unknown ftype")),
        case(11, "a type of two letters", ADD, line("ff none x 0666 root root 2 130 0"), refused(28, "unknown ftype")),
        case(11, "a set-uid program", ADD, line("f none new 4755 root root 2 130 0"), handled(&["bin/httpd f 755 two\\n", "new f 4755 x\\n"])),
        case(11, "a set-gid program", ADD, line("f none new 2755 root root 2 130 0"), handled(&["bin/httpd f 755 two\\n", "new f 2755 x\\n"])),
        case(11, "all bits", ADD, line("f none new 7777 root root 2 130 0"), handled(&["bin/httpd f 755 two\\n", "new f 7777 x\\n"])),
        case(11, "set-id and sticky directories", ADD, line("d none new 7777 root root"), handled(&["bin/httpd f 755 two\\n", "new d 7777"])),
        case(11, "a set-uid program of somebody else", ADD, line("f none new 4755 adm adm 2 130 0"), handled(&["bin/httpd f 755 two\\n", "new f 4755 x\\n"])).privileged(),
        case(11, "a set-uid program that nobody was asked about", INSTALL, |b| b.spool(&Package::new("ACMEa").file("x", 0o4755, "x\n")), refused(5, "would be a set-id program")),
        case(11, "a set-gid program that nobody was asked about", INSTALL, |b| b.spool(&Package::new("ACMEa").file("x", 0o2755, "x\n")), refused(5, "would be a set-id program")),
        case(11, "a set-uid program that is planned", PLAN, line("f none new 4755 root root 2 130 0"), says("setuid           @ROOT@/opt/ACMEweb/new (4755 root root)")),
        case(11, "a set-uid program that is only asked about", TRY, line("f none new 4755 root root 2 130 0"), says("setuid           @ROOT@/opt/ACMEweb/new (4755 root root)")),
        case(11, "a device that is planned", PLAN, line("c none dev 1 3 0666 root root"), says("character device @ROOT@/opt/ACMEweb/dev (0666 root root)")).privileged(),
        case(11, "a set-uid program, unpacked", UNPACK, |b| b.stream(Bench::web().file("bin/httpd", 0o4755, "two\n"), &[]), handled(&["/ACMEweb d 755", "/ACMEweb/pkginfo f 644 132 bytes", "/ACMEweb/pkgmap f 644 89 bytes", "/ACMEweb/reloc d 755", "/ACMEweb/reloc/bin d 755", "/ACMEweb/reloc/bin/httpd f 644 two\\n"])),
        case(11, "the archive has set-id bits, the pkgmap has none", ADD, |b| b.stream(Bench::web().line("new", "f none new 0755 root root 2 130 0"), &[Cpio::of_mode(0o104_777, "reloc/new", "x\n")]), handled(&["bin/httpd f 755 two\\n", "new f 755 x\\n"])),
        case(11, "the same, unpacked", UNPACK, |b| b.stream(Bench::web().line("new", "f none new 0755 root root 2 130 0"), &[Cpio::of_mode(0o106_777, "reloc/new", "x\n")]), handled(&["/ACMEweb d 755", "/ACMEweb/pkginfo f 644 132 bytes", "/ACMEweb/pkgmap f 644 125 bytes", "/ACMEweb/reloc d 755", "/ACMEweb/reloc/bin d 755", "/ACMEweb/reloc/bin/httpd f 644 two\\n", "/ACMEweb/reloc/new f 777 x\\n"])),
    ]
}

/// Objects in the place of a file of the source.
#[rustfmt::skip] // each case is a line
fn in_the_source() -> Vec<Case> {
    let kind = |kind: u8| move |b: &Bench| b.tar(Bench::web().line("new", "f none new 0755 root root 0 0 0"), &[Tar::link(kind, format!("{ID}/ACMEweb/reloc/new"), "")]);
    let mode = |mode: u32| move |b: &Bench| b.stream(Bench::web().line("new", "f none new 0755 root root 0 0 0"), &[Cpio::of_mode(mode, "reloc/new", "")]);
    let aside = |name: &'static str| move |b: &Bench| b.damaged(|package| { let _ = fs::remove_file(package.join(name)); pipe(&package.join(name)); });
    vec![
        case(11, "directory: a pipe that nobody writes to", ADD, instead(pipe), refused(10, "not a regular file")),
        case(11, "the same, only asked", TRY, instead(pipe), refused(10, "not a regular file")),
        case(11, "the same, packed", PACK, instead(pipe), refused(1, "not a regular file")),
        case(11, "the same, checked", CHECK, instead(pipe), refused(1, "not a regular file")),
        case(11, "directory: a socket", ADD, instead(|at| drop(UnixListener::bind(at).unwrap())), refused(10, "not a regular file")),
        case(11, "directory: a directory", ADD, instead(|at| fs::create_dir(at).unwrap()), refused(10, "missing")),
        case(11, "directory: /dev/zero", ADD, instead(zero), refused(10, "not a regular file")).privileged(),
        case(11, "directory: pkginfo is a pipe", ADD, aside("pkginfo"), refused(33, "")),
        case(11, "directory: pkgmap is a pipe", ADD, aside("pkgmap"), refused(33, "")),
        case(11, "the same, listed", INFO, aside("pkgmap"), refused(1, "")),
        case(11, "directory: a pipe that no pkgmap names", ADD, aside("reloc/pipe"), handled(&["bin/httpd f 755 two\\n"])),
        case(11, "directory: README is a pipe", ADD, |b| { let d = b.patch(Bench::web()); fs::remove_file(d.join(format!("README.{ID}"))).unwrap(); pipe(&d.join(format!("README.{ID}"))); d }, handled(&["bin/httpd f 755 two\\n"])),
        case(11, "the source is a pipe without a writer", ADD, |b| { let at = b.stage.beside("out/pipe"); pipe(&at); let other = at.clone(); std::thread::spawn(move || fs::write(other, "neither").unwrap()); at }, refused(33, "neither a package")),
        case(11, "the source is /dev/zero", ADD, |_| "/dev/zero".into(), refused(33, "neither a package")),
        case(11, "the source is /dev/null", ADD, |_| "/dev/null".into(), refused(33, "neither a package")),
        case(11, "tar: a character device", ADD, kind(b'3'), refused(10, "not a regular file")),
        case(11, "tar: a block device", ADD, kind(b'4'), refused(10, "not a regular file")),
        case(11, "tar: a pipe", ADD, kind(b'6'), refused(10, "not a regular file")),
        case(11, "tar: a sparse file of GNU tar", ADD, kind(b'S'), refused(10, "not a regular file")),
        case(11, "tar: a volume header", ADD, kind(b'V'), refused(10, "not a regular file")),
        case(11, "tar: a type that nobody knows", ADD, kind(b'Z'), refused(10, "not a regular file")),
        case(11, "tar: a contiguous file", ADD, kind(b'7'), handled(&["bin/httpd f 755 two\\n", "new f 755 "])),
        case(11, "datastream: a character device", ADD, mode(0o020_644), refused(10, "not a regular file")),
        case(11, "datastream: a block device", ADD, mode(0o060_644), refused(10, "not a regular file")),
        case(11, "datastream: a pipe", ADD, mode(0o010_644), refused(10, "not a regular file")),
        case(11, "datastream: a socket", ADD, mode(0o140_644), refused(10, "not a regular file")),
        case(11, "datastream: a mode of no type", ADD, mode(0o644), refused(10, "not a regular file")),
        case(11, "datastream: all bits of a mode", ADD, mode(0xffff_ffff), refused(10, "not a regular file")),
        case(11, "datastream: a directory", ADD, mode(0o040_755), refused(10, "not a regular file")),
    ]
}

#[rustfmt::skip] // each case is a line
fn modes() -> Vec<Case> {
    let mode = |mode: &'static str| move |b: &Bench| b.lines(&[&format!("f none new {mode} root root 2 130 0")]);
    vec![
        case(11, "mode over 07777", ADD, mode("10000"), refused(28, "invalid bits set in mode.")),
        case(11, "mode with a file type", ADD, mode("104755"), refused(28, "invalid bits set in mode.")),
        case(11, "mode that overflows", ADD, mode("777777777777777777777777"), refused(28, "invalid bits set in mode.")),
        case(11, "mode that is not octal", ADD, mode("0789"), refused(28, "mode is not numeric.")),
        case(11, "mode that is negative", ADD, mode("-1"), refused(28, "mode is not numeric.")),
        case(11, "mode in words", ADD, mode("u+s"), refused(28, "mode is not numeric.")),
        case(11, "mode that is a variable", ADD, mode("$MODE"), refused(28, "mode is not numeric.")),
        case(11, "mode of many zeros", ADD, mode("0000000000000000000000644"), handled(&["bin/httpd f 755 two\\n", "new f 644 x\\n"])),
        case(11, "mode 0", ADD, mode("0"), handled(&["bin/httpd f 755 two\\n", "new f 0 x\\n"])).privileged(),
    ]
}

#[rustfmt::skip] // each case is a line
fn owners() -> Vec<Case> {
    let owner = |owner: &'static str| move |b: &Bench| b.lines(&[&format!("f none new 0644 {owner} 2 130 0")]);
    let long = |b: &Bench| b.lines(&[&format!("f none new 0644 {} root 2 130 0", "o".repeat(65))]);
    vec![
        case(12, "an unknown owner", ADD, owner("nosuch root"), refused(10, "owner nosuch does not exist")).privileged(),
        case(12, "an unknown group", ADD, owner("root nosuch"), refused(10, "group nosuch does not exist")).privileged(),
        case(12, "an owner with a colon", ADD, owner("root:x:0 root"), refused(10, "does not exist in this root")).privileged(),
        case(12, "an owner that is a path", ADD, owner("../../etc/passwd root"), refused(10, "does not exist in this root")).privileged(),
        case(12, "an owner by number", ADD, owner("4294967296 root"), refused(10, "does not exist in this root")).privileged(),
        case(12, "an owner of a negative number", ADD, owner("-1 root"), refused(10, "does not exist in this root")).privileged(),
        case(12, "an owner without value", ADD, owner("$OWNER root"), refused(10, "")).privileged(),
        case(12, "an owner of 65 bytes", ADD, long, refused(28, "owner string is too long.")),
        case(12, "no owner", ADD, |b| b.lines(&["d none new 0755"]), refused(28, "unable to read owner")),
        case(12, "no group", ADD, |b| b.lines(&["d none new 0755 root"]), refused(28, "unable to read group")),
        case(12, "an owner that is not UTF-8", ADD, |b| b.damaged(|p| fs::write(p.join("pkgmap"), b": 1 1\n1 d none new 0755 r\xff root\n").unwrap()), refused(28, "unable to read owner")),
        case(12, "fields too many", ADD, owner("root root root"), refused(28, "unable to read content info")),
        case(12, "fields too many behind the last", ADD, |b| b.lines(&["d none new 0755 root root x"]), refused(28, "extra tokens")),
        case(12, "owners that are to stay as they are", ADD, |b| b.lines(&["d none share 0755 ? ?"]), handled(&["bin/httpd f 755 two\\n"])),
        case(12, "accounts that are damaged", ADD, |b| { b.stage.file("/etc/passwd", "root:x:99999999999:0\n:::\nroot\n\u{0}\n"); b.patch(Bench::web()) }, handled(&["/etc/passwd f 644 root:x:99999999999:0\\n:::\\nroot\\n\\x00\\n", "bin/httpd f 755 two\\n"])).privileged(),
    ]
}

#[rustfmt::skip] // each case is a line
fn times() -> Vec<Case> {
    let time = |time: &'static str| move |b: &Bench| b.lines(&[&format!("f none new 0644 root root 2 130 {time}")]);
    let legal = handled(&["bin/httpd f 755 two\\n", "new f 644 x\\n"]);
    let far = packages::DELIVERED + (1 << 34);
    vec![
        case(12, "a time below 0", ADD, time("-1"), refused(28, "unable to read content info")),
        case(12, "a time with a fraction", ADD, time("1.5"), refused(28, "unable to read content info")),
        case(12, "a time that overflows", ADD, time("9223372036854775808"), refused(28, "unable to read content info")),
        case(12, "a time that is unknown", ADD, time("?"), legal.clone()),
        case(12, "the first second", ADD, time("0"), legal.clone()),
        case(12, "a time in 2106", ADD, time("4294967296"), legal.clone()),
        case(12, "a time beyond 2^33", ADD, time("8589934593"), legal.clone()),
        case(12, "a time beyond 2^34", ADD, move |b| b.lines(&[&format!("f none new 0644 root root 2 130 {far}")]), legal.clone()),
        case(12, "the largest time", ADD, time("9223372036854775807"), legal.clone()),
        case(12, "datastream: a time of ffffffff", ADD, |b| b.stream(Bench::web().line("new", "f none new 0644 root root 2 130 0"), &[Cpio::file("reloc/new", "x\n").with(crate::reliability::hostile::archives::MTIME, "ffffffff")]), legal),
    ]
}
