//! Names: that lead out, that are invalid, that are too long, that occur twice, that look odd and are legal.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use patchadm_svr4::package::escape;

use crate::packages::Package;
use crate::reliability::hostile::archives::{Cpio, Tar};
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{
    ADD, CHECK, Case, INFO, INSTALL, PACK, PARAM, PLAN, TRY, UNPACK, case, handled, refused,
};

/// Names that no member of an archive may have, and why.
const BAD: [(&str, &str); 9] = [
    ("..", "`..` component"),
    ("../canary/passwd", "`..` component"),
    ("900-01/ACMEweb/reloc/../../../../canary/passwd", "`..` component"),
    ("900-01/ACMEweb/reloc/bin/..", "`..` component"),
    ("/etc/patchadm-was-here", "absolute name"),
    ("//etc/patchadm-was-here", "absolute name"),
    ("/../canary/passwd", "absolute name"),
    ("@255", "component of more than 255 bytes"),
    ("@4096", "longer than 4095 bytes"),
];

/// Expands the placeholders of long names.
fn written(name: &str) -> String {
    match name {
        "@255" => "n".repeat(256),
        "@4096" => "long/".repeat(820),
        name => name.to_owned(),
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, reason) in BAD {
        cases.extend(bad_member(name, reason));
    }
    cases.extend(in_the_pkgmap());
    cases.extend(differing());
    cases.extend(twice());
    cases.extend(odd());
    cases
}

/// The bad name in each form of an archive.
#[rustfmt::skip] // each case is a line
fn bad_member(name: &'static str, reason: &'static str) -> Vec<Case> {
    let class = if name.starts_with('@') { 7 } else { 1 };
    let (tar, zip, cpio) = (written(name), written(name), written(name));
    let cpio_reason = if name == "@4096" { "member name is longer than 4096 bytes" } else { reason };
    vec![
        case(class, format!("tar member {name}"), ADD, move |b| b.tar(Bench::web(), &Tar::long(&tar, "evil")), refused(33, reason)),
        case(class, format!("zip member {name}"), ADD, move |b| b.zip(Bench::web(), &[(&zip, b"evil")], None), refused(33, reason)),
        case(class, format!("datastream member {name}"), INSTALL, move |b| b.stream(Bench::web(), &[Cpio::file(&cpio, "evil")]), refused(99, cpio_reason)),
    ]
}

#[rustfmt::skip] // each case is a line
fn in_the_pkgmap() -> Vec<Case> {
    let up = "line 4: path <../../canary/passwd> has a `..` component";
    let line = |line: &'static str| move |b: &Bench| b.lines(&[line]);
    vec![
        case(1, "pkgmap path that climbs", ADD, line("f none ../../canary/passwd 0644 root root 2 130 0"), refused(28, up)),
        case(1, "the same, only asked", TRY, line("f none ../../canary/passwd 0644 root root 2 130 0"), refused(28, up)),
        case(1, "the same, only planned", PLAN, line("f none ../../canary/passwd 0644 root root 2 130 0"), refused(1, up)),
        case(1, "the same, unpacked", UNPACK, line("f none ../../canary/passwd 0644 root root 2 130 0"), refused(1, "`..`")),
        case(1, "the same, packed", PACK, line("f none ../../canary/passwd 0644 root root 2 130 0"), refused(1, "`..`")),
        case(1, "the same, checked", CHECK, line("f none ../../canary/passwd 0644 root root 2 130 0"), refused(1, "`..`")),
        case(1, "the same, listed", INFO, line("f none ../../canary/passwd 0644 root root 2 130 0"), refused(1, "`..`")),
        case(1, "the same, its parameters", PARAM, line("f none ../../canary/passwd 0644 root root 2 130 0"), refused(1, "`..`")),
        case(1, "pkgmap path that climbs in the middle", ADD, line("f none bin/../../x 0644 root root 2 130 0"), refused(28, "`..`")),
        case(1, "absolute pkgmap path that climbs", ADD, line("f none /opt/../../x 0644 root root 2 130 0"), refused(28, "`..`")),
        case(1, "pkgmap path that climbs by an escape", ADD, line("f none \\056\\056/x 0644 root root 2 130 0"), refused(28, "`..`")),
        case(1, "pkgmap path with an escaped slash", ADD, line("f none ..\\057x 0644 root root 2 130 0"), refused(28, "`..`")),
        case(1, "directory that climbs", ADD, line("d none .. 0777 root root"), refused(28, "`..`")),
        case(1, "link that climbs", ADD, line("s none ../x=/etc/passwd"), refused(28, "`..`")),
        case(1, "pipe that climbs", ADD, line("p none ../x 0777 root root"), refused(28, "`..`")),
        case(1, "pkgmap path `.`", ADD, line("d none . 0777 root root"), refused(28, "is empty")),
        case(1, "pkgmap path that is missing", ADD, line("d none"), refused(28, "pathname")),
        case(1, "pkgmap path that is `=`", ADD, line("s none =x"), refused(28, "is empty")),
        case(1, "information file that climbs", ADD, line("i ../pkginfo"), refused(28, "has a `/` in it")),
        case(1, "information file `..`", ADD, line("i .."), refused(28, "`..`")),
        case(1, "variable that climbs", ADD, |b| { b.patch(Bench::web().param("WAY", "../../../canary").line("~", "d none $WAY/x 0755 root root")) }, refused(10, "`..`")),
        case(1, "BASEDIR that climbs", INSTALL, |b| b.spool(&Package::new("ACMEa").param("BASEDIR", "/opt/../../canary").file("x", 0o644, "x\n")), refused(1, "`..`")),
        case(1, "BASEDIR that is relative", INSTALL, |b| b.spool(&Package::new("ACMEa").param("BASEDIR", "../canary").file("x", 0o644, "x\n")), refused(1, "BASEDIR")),
        case(1, "deletes that climbs", ADD, |b| b.patch(Bench::web().deletes(&["../../canary/passwd"])), refused(28, "`..`")),
        case(1, "deletes of the root", ADD, |b| b.patch(Bench::web().deletes(&["/"])), refused(10, "it is the root directory itself")),
        case(1, "deletes of another package's", ADD, |b| b.patch(Bench::web().deletes(&["/etc/passwd"])), handled(&["bin/httpd f 755 two\\n"])),
        case(7, "NUL in a pkgmap path", ADD, |b| b.lines(&["d none a\\000b 0755 root root"]), refused(28, "NUL")),
        case(7, "NUL byte in the pkgmap", ADD, |b| b.lines(&["d none a\0b 0755 root root"]), refused(28, "NUL")),
        case(7, "pkgmap component of 256 bytes", ADD, |b| b.lines(&[&format!("d none {} 0755 root root", "n".repeat(256))]), refused(28, "255 bytes")),
        case(7, "pkgmap path of 4,096 bytes", ADD, |b| b.lines(&[&format!("d none {}x 0755 root root", "n/".repeat(2048))]), refused(28, "4095 bytes")),
        case(7, "path of 4,096 bytes below BASEDIR", ADD, |b| b.lines(&[&format!("d none {}x 0755 root root", "n/".repeat(2045))]), refused(10, "4095 bytes")),
        case(7, "pkgmap line of 2 MiB", ADD, |b| b.lines(&[&format!("d none {} 0755 root root", "n/".repeat(1 << 20))]), refused(28, "longer than")),
    ]
}

/// The package of the patch as a directory.
const UNPACKED: &[&str] = &[
    "/ACMEweb d 755",
    "/ACMEweb/pkginfo f 644 132 bytes",
    "/ACMEweb/pkgmap f 644 89 bytes",
    "/ACMEweb/reloc d 755",
    "/ACMEweb/reloc/bin d 755",
    "/ACMEweb/reloc/bin/httpd f 644 two\\n",
];

/// Pkgmaps and archives that disagree.
#[rustfmt::skip] // each case is a line
fn differing() -> Vec<Case> {
    vec![
        case(1, "archive with members beyond the pkgmap", ADD, |b| b.tar(Bench::web(), &[Tar::file(format!("{ID}/ACMEweb/reloc/bin/su"), "evil\n")]), handled(&["bin/httpd f 755 two\\n"])),
        case(1, "stream with members beyond the pkgmap", ADD, |b| { b.stream(Bench::web(), &[Cpio::file("reloc/bin/su", "evil\n"), Cpio::file("root/etc/passwd", "evil\n")]) }, handled(&["bin/httpd f 755 two\\n"])),
        case(1, "unpacked with members beyond the pkgmap", UNPACK, |b| b.stream(Bench::web(), &[Cpio::file("root/etc/passwd", "evil\n")]), handled(UNPACKED)),
        case(1, "absolute in the pkgmap, relative in the archive", ADD, |b| { b.damaged(|p| { fs::rename(p.join("reloc"), p.join("root")).unwrap(); }) }, refused(10, "missing from the source")),
        case(1, "relative in the pkgmap, absolute in the stream", ADD, |b| { let s = b.streamed("070701", Bench::web(), &[]); b.source(".ds", replaced(s, b"reloc/bin/httpd", b"root/bin/httpd\0")) }, refused(33, "")),
        case(1, "pkgmap of the part is another one", ADD, |b| { b.stream(Bench::web(), &[Cpio::file("pkgmap", ": 1 1\n1 f none /etc/passwd 0644 root root 5 1 1\n")]) }, refused(28, "differs from the one in the table of contents")),
        case(1, "pkginfo of the part is another one", ADD, |b| b.stream(Bench::web(), &[Cpio::file("pkginfo", "PKG=ACMEweb\n")]), refused(28, "differs from the one in the table of contents")),
        case(1, "object in place of a directory of the package", ADD, |b| b.tar(Bench::web(), &[Tar::file(format!("{ID}/ACMEweb/reloc/bin"), "evil\n")]), handled(&["bin/httpd f 755 two\\n"])),
        case(1, "package directory of another name", ADD, |b| b.edited("pkginfo", "PKG=ACMEweb", "PKG=../web"), refused(28, "PKG")),
        case(1, "package named by an absolute path", ADD, |b| b.edited("pkginfo", "PKG=ACMEweb", "PKG=/etc"), refused(28, "PKG")),
        case(1, "stream of a package that climbs", INSTALL, |b| { let s = b.streamed("070701", Bench::web(), &[]); b.source(".ds", replaced(s, b"\nACMEweb 1", b"\n../eweb 1")) }, refused(99, "")),
    ]
}

/// Replaces a byte string by another one of the same length, everywhere.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places = |bytes: &[u8]| bytes.windows(from.len()).position(|window| window == from);
    let mut met = 0;
    while let Some(at) = places(&bytes) {
        bytes[at..at + to.len()].copy_from_slice(to);
        met += 1;
    }
    assert!(met > 0);
    bytes
}

#[rustfmt::skip] // each case is a line
fn twice() -> Vec<Case> {
    let twice = |first: &'static str, second: &'static str| {
        move |b: &Bench| {
            b.lines(&[&format!("d none {first} 0755 root root"), &format!("d none {second} 0755 root root")])
        }
    };
    let member = |name: &'static str| {
        move |b: &Bench| b.tar(Bench::web(), &[Tar::file(format!("{ID}/ACMEweb/{name}"), "evil")])
    };
    vec![
        case(6, "a path twice", ADD, twice("a/b", "a/b"), refused(28, "is already on line")),
        case(6, "a path twice after //", ADD, twice("a/b", "a//b"), refused(28, "is already on line")),
        case(6, "a path twice after ./", ADD, twice("a/b", "./a/./b"), refused(28, "is already on line")),
        case(6, "a path twice after a trailing /", ADD, twice("a/b", "a/b/"), refused(28, "is already on line")),
        case(6, "a path twice after an escape", ADD, twice("a/b", "a/\\142"), refused(28, "is already on line")),
        case(6, "a path twice, relative and absolute", ADD, twice("a", "/opt/ACMEweb/a"), handled(&["a d 755", "bin/httpd f 755 two\\n"])),
        case(6, "a path twice, by a variable", ADD, |b| b.patch(Bench::web().param("DIR", "bin").file("$DIR/httpd", 0o755, "three\n")), refused(10, "delivers another object there")),
        case(6, "a path twice as two types", ADD, |b| b.lines(&["f none bin/httpd 0755 root root 2 130 0", "s none a=b"]), refused(28, "is already on line")),
        case(6, "a tar member twice", ADD, member("reloc/bin/httpd"), refused(33, "occurs twice")),
        case(6, "a tar member twice after //", ADD, member("reloc//bin/httpd"), refused(33, "occurs twice")),
        case(6, "a tar member twice after ./", ADD, member("./reloc/bin/./httpd"), refused(33, "occurs twice")),
        case(6, "a tar member twice after a trailing /", ADD, |b| { b.tar(Bench::web(), &[Tar { kind: 0, ..Tar::file(format!("{ID}/ACMEweb/reloc/bin/httpd/"), "") }]) }, refused(10, "not a regular file")),
        case(6, "a pkgmap twice", ADD, member("pkgmap"), refused(33, "occurs twice")),
        case(6, "a datastream member twice", ADD, |b| b.stream(Bench::web(), &[Cpio::file("reloc/bin/httpd", "two\n")]), refused(33, "occurs twice")),
        case(6, "a datastream member twice after ./", ADD, |b| b.stream(Bench::web(), &[Cpio::file("./reloc//bin/httpd", "two\n")]), refused(33, "occurs twice")),
        case(6, "a zip member twice after ./", ADD, |b| b.zip(Bench::web(), &[("900-01/./ACMEweb/reloc/bin/httpd", b"two\n")], None), refused(33, "occurs twice")),
        case(6, "names that differ in case only", ADD, |b| b.patch(Bench::web().file("lib/X", 0o644, "big\n")), handled(&["bin/httpd f 755 two\\n", "lib/X f 644 big\\n"])),
        case(6, "a package twice in a datastream", INSTALL, |b| { let s = b.streamed("070701", Bench::web(), &[]); b.source(".ds", replaced(s, b"ACMEweb 1 100\n#", b"ACMEweb 1 1\nA\n#")) }, refused(99, "")),
    ]
}

/// Names that any file system holds: each is a file of a patch.
#[rustfmt::skip] // each case is a line
fn odd() -> Vec<Case> {
    const ODD: [(&str, &[u8], &str); 16] = [
        ("TRAILER!!!", b"TRAILER!!!", "TRAILER!!!"),
        ("a newline", b"a\nb", "a\\nb"),
        ("a carriage return", b"a\rb", "a\\rb"),
        ("a blank", b"a b", "a b"),
        ("a tab", b"a\tb", "a\\tb"),
        ("an equal sign", b"a=b", "a=b"),
        ("a backslash", b"a\\b", "a\\b"),
        ("an escape that is none", b"a\\101", "a\\101"),
        ("stray bytes", b"\xff\xfe", "\\xff\\xfe"),
        ("Latin-1", b"na\xefve", "na\\xefve"),
        ("a quote", b"a'b\"c", "a\\'b\\\"c"),
        ("a shell's own", b"$(touch x);`id`&|<>*?", "$(touch x);`id`&|<>*?"),
        ("a dash first", b"-rf", "-rf"),
        ("a hash first", b"#a", "#a"),
        ("a colon", b":a:b", ":a:b"),
        ("dots", b"...", "..."),
    ];
    ODD.into_iter()
        .map(|(what, name, shown)| {
            let object = format!("odd/{shown} f 644 x\\n");
            let objects = ["bin/httpd f 755 two\\n", "odd d 755", &object];
            case(7, format!("a name with {what}"), ADD, move |b| odd_patch(b, name), handled(&objects))
        })
        .collect()
}

/// The patch with a file of this name in `odd`.
fn odd_patch(b: &Bench, name: &[u8]) -> PathBuf {
    b.damaged(|package| {
        let mut pkgmap = fs::read(package.join("pkgmap")).unwrap();
        pkgmap.extend([&b"1 f none odd/"[..], &escape(name), b" 0644 root root 2 130 0\n"].concat());
        fs::write(package.join("pkgmap"), pkgmap).unwrap();
        fs::create_dir(package.join("reloc/odd")).unwrap();
        fs::write(package.join("reloc/odd").join(OsStr::from_bytes(name)), "x\n").unwrap();
    })
}
