//! Numbers that lie: sizes, sums, counts, headers that are cut or change their form, three places that disagree.

use std::fs;
use std::path::PathBuf;

use crate::packages::Package;
use crate::reliability::hostile::archives::{Cpio, FILESIZE, MTIME, NAMESIZE, Tar, cpio, datastream, octal};
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{
    ADD, CHECK, Case, INFO, INSTALL, PACK, PLAN, TRY, UNPACK, case, handled, refused, says,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = fields_of_cpio();
    cases.extend(forms_of_cpio());
    cases.extend(table_of_contents());
    cases.extend(fields_of_tar());
    cases.extend(fields_of_zip());
    cases.extend(fields_of_the_pkgmap());
    cases.extend(disagreeing());
    cases.extend(sums());
    cases
}

/// The patch as a stream whose last member has one lying field.
fn lying(field: usize, text: &'static str) -> impl Fn(&Bench) -> PathBuf {
    move |b| b.stream(Bench::web(), &[Cpio::file("reloc/new", "x\n").with(field, text)])
}

#[rustfmt::skip] // each case is a line
fn fields_of_cpio() -> Vec<Case> {
    vec![
        case(8, "cpio: size with letters", ADD, lying(FILESIZE, "zzzzzzzz"), refused(33, "`filesize` is not a number")),
        case(8, "cpio: size with a blank", ADD, lying(FILESIZE, "       2"), refused(33, "`filesize` is not a number")),
        case(8, "cpio: size with a sign", ADD, lying(FILESIZE, "+0000002"), refused(33, "`filesize` is not a number")),
        case(8, "cpio: size below 0", ADD, lying(FILESIZE, "-0000001"), refused(33, "`filesize` is not a number")),
        case(8, "cpio: size with 0x", ADD, lying(FILESIZE, "0x000002"), refused(33, "`filesize` is not a number")),
        case(8, "cpio: size of 4 GiB", ADD, lying(FILESIZE, "ffffffff"), refused(33, "unexpected end of archive")),
        case(8, "the same, unpacked", UNPACK, lying(FILESIZE, "ffffffff"), refused(99, "unexpected end of archive")),
        case(8, "cpio: size that is too large by 4", ADD, lying(FILESIZE, "00000006"), refused(33, "no cpio header")),
        case(8, "cpio: size that is too small", ADD, lying(FILESIZE, "00000000"), refused(33, "no cpio header")),
        case(8, "cpio: size in capitals", ADD, |b| b.stream(Bench::web().line("new", "f none new 0644 root root 10 1200 0"), &[Cpio::file("reloc/new", "x".repeat(10)).with(FILESIZE, "0000000A")]), handled(&["bin/httpd f 755 two\\n", "new f 644 xxxxxxxxxx"])),
        case(8, "cpio: name of no bytes", ADD, lying(NAMESIZE, "00000000"), refused(33, "member name")),
        case(8, "cpio: name of a NUL", ADD, lying(NAMESIZE, "00000001"), refused(33, "member name")),
        case(8, "cpio: name of 4 GiB", ADD, lying(NAMESIZE, "ffffffff"), refused(33, "member name")),
        case(8, "cpio: name without its NUL", ADD, lying(NAMESIZE, "00000009"), refused(33, "member name")),
        case(8, "cpio: name into the data", ADD, lying(NAMESIZE, "0000000e"), refused(33, "member name")),
        case(8, "cpio: time that is none", ADD, lying(MTIME, "tomorrow"), refused(33, "`mtime` is not a number")),
        case(8, "cpio: a name with a NUL in it", ADD, |b| b.stream(Bench::web(), &[Cpio::file("reloc/n\0w", "x\n")]), refused(33, "")),
        case(8, "cpio: an empty name", ADD, |b| b.stream(Bench::web(), &[Cpio::file("", "x\n")]), refused(33, "member name")),
    ]
}

#[rustfmt::skip] // each case is a line
fn forms_of_cpio() -> Vec<Case> {
    let magic = |magic: &'static str| move |b: &Bench| b.stream(Bench::web(), &[Cpio { magic: Some(magic), ..Cpio::file("reloc/new", "x\n") }]);
    let form = |form: &'static str| move |b: &Bench| { let bytes = b.streamed(form, Bench::web(), &[]); b.source(".ds", bytes) };
    let two = handled(&["bin/httpd f 755 two\\n"]);
    vec![
        case(8, "cpio: from newc to odc", ADD, magic("070707"), refused(33, "the form of the archive changes")),
        case(8, "cpio: from newc to crc", ADD, magic("070702"), refused(33, "the form of the archive changes")),
        case(8, "cpio: an unknown form", ADD, magic("070700"), refused(33, "no cpio header")),
        case(8, "cpio: the old binary form", ADD, magic("\u{7f}q\0\0\0\0"), refused(33, "no cpio header")),
        case(8, "cpio: odc", ADD, form("070707"), two.clone()),
        case(8, "cpio: crc", ADD, form("070702"), two.clone()),
        case(8, "cpio: crc with a wrong sum", ADD, |b| { let bytes = b.streamed("070702", Bench::web(), &[Cpio::file("reloc/new", "x\n").with(12, "00000001")]); b.source(".ds", bytes) }, refused(33, "sum of bytes")),
        case(8, "cpio: another form in the second archive", ADD, |b| { let [first, second] = ["070701", "070707"].map(|form| b.streamed(form, Bench::web(), &[])); let at = 512 + first_archive_of(&first); b.source(".ds", [&first[..at], &second[512 + first_archive_of(&second)..]].concat()) }, two.clone()),
        case(8, "cpio: no padding behind an archive", ADD, |b| { let bytes = b.streamed("070701", Bench::web(), &[]); let at = 512 + first_archive_of(&bytes) - 4; b.source(".ds", [&bytes[..at], &bytes[at + 4..]].concat()) }, refused(33, "")),
        case(8, "cpio: too much padding behind an archive", ADD, |b| { let bytes = b.streamed("070701", Bench::web(), &[]); let at = 512 + first_archive_of(&bytes); b.source(".ds", [&bytes[..at], &[0; 512], &bytes[at..]].concat()) }, refused(33, "no cpio header")),
        case(7, "cpio: a member TRAILER!!! before the others", ADD, |b| b.stream(Bench::web().line("new", "f none new 0644 root root 2 130 0"), &[Cpio::file("TRAILER!!!", ""), Cpio::file("reloc/new", "x\n")]), refused(10, "missing from the source")),
        case(7, "cpio: a member TRAILER!!! with data", ADD, |b| b.stream(Bench::web(), &[Cpio::file("TRAILER!!!", "x".repeat(2000))]), two.clone()),
        case(7, "cpio: a trailer of 4 GiB", ADD, |b| b.stream(Bench::web(), &[Cpio::file("TRAILER!!!", "").with(FILESIZE, "ffffffff")]), refused(33, "unexpected end of archive")),
        case(7, "cpio: an object called TRAILER!!!", ADD, |b| b.stream(Bench::web().line("TRAILER!!!", "f none TRAILER!!! 0644 root root 2 130 0"), &[Cpio::file("reloc/TRAILER!!!", "x\n")]), handled(&["TRAILER!!! f 644 x\\n", "bin/httpd f 755 two\\n"])),
    ]
}

/// Length of the first archive of a stream, which ends with the block of its trailer.
fn first_archive_of(stream: &[u8]) -> usize {
    let end = stream.windows(10).position(|window| window == b"TRAILER!!!").unwrap() + 10;
    end.next_multiple_of(512) - 512
}

#[rustfmt::skip] // each case is a line
fn table_of_contents() -> Vec<Case> {
    let header = |lines: &'static str| move |b: &Bench| {
        let bytes = b.streamed("070701", Bench::web(), &[]);
        b.source(".ds", [datastream(lines, &[]), bytes[512..].to_vec()].concat())
    };
    let first = |members: &'static [(&'static str, &'static str)]| move |b: &Bench| {
        let members: Vec<Cpio> = members.iter().map(|(name, data)| Cpio::file(name, data)).collect();
        b.source(".ds", datastream("ACMEweb 1 100\n", &[cpio("070701", &members), cpio("070701", &[])]))
    };
    vec![
        case(8, "table of contents without packages", INSTALL, header(""), refused(99, "it names no package")),
        case(8, "table of contents without parts", INSTALL, header("ACMEweb\n"), refused(99, "no number of parts")),
        case(8, "table of contents with no part", INSTALL, header("ACMEweb 0 1\n"), refused(99, "impossible number of parts")),
        case(8, "table of contents with parts below 0", INSTALL, header("ACMEweb -1 1\n"), refused(99, "no number of parts")),
        case(8, "table of contents with 4 billion parts", INSTALL, header("ACMEweb 4294967295 1\n"), refused(99, "unexpected end of archive")),
        case(8, "table of contents with parts that overflow", INSTALL, header("ACMEweb 99999999999999999999 1\n"), refused(99, "no number of parts")),
        case(8, "table of contents without a size", INSTALL, header("ACMEweb 1\n"), refused(99, "no size")),
        case(8, "table of contents with a huge size", INFO, header("ACMEweb 1 18446744073709551615\n"), says("ACMEweb")),
        case(8, "table of contents with a package twice", INSTALL, header("ACMEweb 1 1\nACMEweb 1 1\n"), refused(99, "occurs twice")),
        case(8, "table of contents with a package that is not there", INSTALL, header("ACMEweb 1 1\nACMEz 1 1\n"), refused(99, "is missing")),
        case(8, "table of contents with stray bytes", INSTALL, header("ACME\u{ff} 1 1\n"), refused(99, "")),
        case(8, "table of contents without an end", INSTALL, |b| b.source(".ds", [&b"# PaCkAgE DaTaStReAm\n"[..], &b"A 1 1\n".repeat(1000)].concat()), refused(99, "")),
        case(8, "table of contents of 2 MiB", INSTALL, |b| b.source(".ds", [&b"# PaCkAgE DaTaStReAm\n"[..], &b"# x\n".repeat(1 << 19)].concat()), refused(99, "it is longer than 1 MiB")),
        case(8, "table of contents that is not padded", INSTALL, |b| { let bytes = b.streamed("070701", Bench::web(), &[]); b.source(".ds", [&b"# PaCkAgE DaTaStReAm\nACMEweb 1 1\n# end of header\n"[..], &bytes[512..]].concat()) }, refused(99, "not padded")),
        case(8, "first archive without a pkgmap", INSTALL, first(&[("ACMEweb/pkginfo", "PKG=ACMEweb\n")]), refused(99, "pkgmap is missing")),
        case(8, "first archive with a pkgmap twice", INSTALL, first(&[("ACMEweb/pkgmap", ": 1 1\n"), ("ACMEweb/./pkgmap", ": 1 1\n")]), refused(99, "occurs twice")),
        case(8, "first archive with a pkgmap that is a link", INSTALL, |b| b.source(".ds", datastream("ACMEweb 1 1\n", &[cpio("070701", &[Cpio::of_mode(0o120_777, "ACMEweb/pkgmap", "/etc/passwd")]), cpio("070701", &[])])), refused(99, "not a regular file")),
        case(8, "first archive with a pkginfo of 4 GiB", INSTALL, |b| b.source(".ds", datastream("ACMEweb 1 1\n", &[cpio("070701", &[Cpio::file("ACMEweb/pkginfo", "").with(FILESIZE, "ffffffff")]), cpio("070701", &[])])), refused(99, "is too large")),
        case(8, "first archive with a pkgmap of 1 GiB that is not there", INSTALL, |b| b.source(".ds", datastream("ACMEweb 1 1\n", &[cpio("070701", &[Cpio::file("ACMEweb/pkgmap", "").with(FILESIZE, "3fffffff")]), cpio("070701", &[])])), refused(99, "unexpected end of archive")),
        case(8, "first archive with a signature of 4 GiB", INSTALL, |b| b.source(".ds", datastream("ACMEweb 1 1\n", &[cpio("070701", &[Cpio::file("signature", "").with(FILESIZE, "ffffffff")]), cpio("070701", &[])])), refused(99, "more than 16 MiB")),
    ]
}

#[rustfmt::skip] // each case is a line
fn fields_of_tar() -> Vec<Case> {
    let size = |text: &'static [u8; 12]| move |b: &Bench| b.tar(Bench::web(), &[Tar { size: Some(*text), ..Tar::file(format!("{ID}/x"), "data") }]);
    let record = |kind: u8, data: &'static str| move |b: &Bench| b.tar(Bench::web(), &[Tar { kind, ..Tar::file("pax", data) }, Tar::file(format!("{ID}/x"), "data")]);
    let two = handled(&["bin/httpd f 755 two\\n"]);
    vec![
        case(8, "tar: size with letters", ADD, size(b"0000zz00000\0"), refused(33, "archive is damaged")),
        case(8, "tar: size of 8 GiB", ADD, size(b"77777777777\0"), refused(33, "")),
        case(8, "tar: size below 0", ADD, size(b"-0000000001\0"), refused(33, "archive is damaged")),
        case(8, "tar: size of 2^63 in base 256", ADD, size(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), refused(33, "")),
        case(8, "tar: size of 2^64-1 in base 256", ADD, size(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), refused(33, "")),
        case(8, "tar: size below 0 in base 256", ADD, size(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), refused(33, "")),
        case(8, "tar: size that is too small", ADD, |b| b.tar(Bench::web(), &[Tar { size: Some(octal(1)), ..Tar::file(format!("{ID}/x"), "x".repeat(1000)) }]), refused(33, "archive is damaged")),
        case(8, "tar: an empty size", ADD, size(b"\0\0\0\0\0\0\0\0\0\0\0\0"), refused(33, "archive is damaged")),
        case(8, "tar: header with a wrong sum", ADD, |b| { let mut bytes = b.tarred(Bench::web(), &[]); let at = bytes.len() - 1024 - 1024; bytes[at] ^= 1; b.source(".tar", bytes) }, refused(33, "archive is damaged")),
        case(8, "tar: a name of 2 MiB", ADD, |b| b.tar(Bench::web(), &Tar::long("n/".repeat(1 << 20), "evil")), refused(33, "longer than 1 MiB")),
        case(8, "tar: a link name of 2 MiB", ADD, |b| b.tar(Bench::web(), &[Tar { kind: b'K', ..Tar::file("link", "n/".repeat(1 << 20)) }, Tar::link(b'2', format!("{ID}/x"), "x")]), refused(33, "longer than 1 MiB")),
        case(8, "tar: a pax record that is no record", ADD, record(b'x', "nothing at all"), refused(33, "archive is damaged")),
        case(8, "tar: a pax record with a length that lies", ADD, record(b'x', "99 path=x\n"), refused(33, "archive is damaged")),
        case(8, "tar: a pax record with a size of words", ADD, record(b'x', "13 size=many\n"), refused(33, "is not a number")),
        case(8, "tar: a pax record with a name that climbs", ADD, record(b'x', "28 path=900-01/../../canary\n"), refused(33, "`..`")),
        case(8, "tar: a pax record with a NUL in a name", ADD, record(b'x', "12 path=a\0b\n"), refused(33, "NUL")),
        case(8, "tar: a record for all that climbs", ADD, record(b'g', "28 path=900-01/../../canary\n"), two.clone()),
        case(8, "tar: a long name that belongs to nothing", ADD, |b| b.tar(Bench::web(), &Tar::long("x", "")[..1]), two.clone()),
        case(9, "tar: a pax record with another size", ADD, record(b'x', "12 size=512\n"), refused(33, "a different size from its header")),
        case(9, "tar: a pax record with size 0", ADD, record(b'x', "10 size=0\n"), refused(33, "a different size from its header")),
        case(8, "tar: an end in the middle", ADD, |b| { let bytes = b.tarred(Bench::web(), &[]); b.source(".tar", [&bytes[..1024], &[0; 1024], &bytes[1024..]].concat()) }, refused(33, "no package in it")),
        case(8, "tar: no end", ADD, |b| { let bytes = b.tarred(Bench::web(), &[]); b.source(".tar", &bytes[..bytes.len() - 1024]) }, two),
    ]
}

/// The patch as a zip archive, with other bytes behind the last occurrence of a signature.
fn zip_field(signature: [u8; 4], at: usize, bytes: &'static [u8]) -> impl Fn(&Bench) -> PathBuf {
    move |b| {
        let mut zip = b.zipped(Bench::web(), &[], None);
        let from = zip.windows(4).rposition(|window| window == signature).unwrap();
        zip[from + at..from + at + bytes.len()].copy_from_slice(bytes);
        b.source(".zip", zip)
    }
}

#[rustfmt::skip] // each case is a line
fn fields_of_zip() -> Vec<Case> {
    vec![
        case(8, "zip: another sum", ADD, zip_field(*b"PK\x01\x02", 16, b"\x01\x02\x03\x04"), refused(33, "")),
        case(9, "zip: another size", ADD, zip_field(*b"PK\x01\x02", 24, b"\x05\0\0\0"), refused(10, "size 5, expected 4")),
        case(9, "zip: a size of 4 GiB", ADD, zip_field(*b"PK\x01\x02", 24, b"\xfe\xff\xff\xff"), refused(10, "size 4294967294, expected 4")),
        case(9, "zip: another compressed size", ADD, zip_field(*b"PK\x01\x02", 20, b"\xfe\xff\xff\x7f"), refused(33, "")),
        case(8, "zip: an unknown method", ADD, zip_field(*b"PK\x01\x02", 10, b"\x63\0"), refused(33, "")),
        case(8, "zip: an encrypted member", ADD, zip_field(*b"PK\x01\x02", 8, b"\x01\0"), refused(33, "")),
        case(8, "zip: a member that begins elsewhere", ADD, zip_field(*b"PK\x01\x02", 42, b"\xff\xff\xff\x7f"), refused(33, "")),
        case(13, "zip: members that overlap", ADD, zip_field(*b"PK\x01\x02", 42, b"\0\0\0\0"), refused(33, "")),
        case(8, "zip: a directory of 65,535 members", ADD, zip_field(*b"PK\x05\x06", 10, b"\xfe\xff"), refused(33, "")),
        case(8, "zip: a directory that begins elsewhere", ADD, zip_field(*b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"), refused(33, "")),
        case(8, "zip: a comment that is not there", ADD, zip_field(*b"PK\x05\x06", 20, b"\xff\xff"), refused(33, "")),
        case(6, "zip: two members of one name", ADD, |b| { let mut zip = b.zipped(Bench::web(), &[("900-01/ACMEweb/pkgmaq", b": 1 1\n")], None); while let Some(at) = zip.windows(6).position(|w| w == b"pkgmaq") { zip[at + 5] = b'p'; } b.source(".zip", zip) }, refused(33, "occurs twice")),
    ]
}

#[rustfmt::skip] // each case is a line
fn fields_of_the_pkgmap() -> Vec<Case> {
    let content = |content: &'static str| move |b: &Bench| b.lines(&[&format!("f none new 0644 root root {content}")]);
    let first = |line: &'static str| move |b: &Bench| b.damaged(|p| { let text = fs::read_to_string(p.join("pkgmap")).unwrap(); let (_, rest) = text.split_once('\n').unwrap(); fs::write(p.join("pkgmap"), format!("{line}{rest}")).unwrap(); });
    let two = handled(&["bin/httpd f 755 two\\n"]);
    vec![
        case(8, "pkgmap: size below 0", ADD, content("-2 130 0"), refused(28, "unable to read content info")),
        case(8, "pkgmap: size in hex", ADD, content("0x2 130 0"), refused(28, "unable to read content info")),
        case(8, "pkgmap: size of 2^64", ADD, content("18446744073709551616 130 0"), refused(28, "unable to read content info")),
        case(8, "pkgmap: size of 2^64-1", ADD, content("18446744073709551615 130 0"), refused(18, "are needed")),
        case(8, "the same, only asked", TRY, content("18446744073709551615 130 0"), refused(18, "are needed")),
        case(8, "the same, only planned", PLAN, content("18446744073709551615 130 0"), refused(3, "are needed")),
        case(8, "pkgmap: size of 8 EiB", ADD, content("9223372036854775807 130 0"), refused(18, "are needed")),
        case(8, "pkgmap: sum of 17 bits", ADD, content("2 65536 0"), refused(28, "unable to read content info")),
        case(8, "pkgmap: no sum", ADD, content("2"), refused(28, "unable to read content info")),
        case(8, "pkgmap: unknown size and sum", ADD, content("? ? ?"), refused(10, "new")),
        case(8, "pkgmap: first line is missing", ADD, first(""), refused(28, "line 1")),
        case(8, "pkgmap: first line without numbers", ADD, first(": a b\n"), refused(28, "line 1")),
        case(8, "pkgmap: no parts", ADD, first(": 0 0\n"), two.clone()),
        case(8, "pkgmap: 4 billion parts", ADD, first(": 4294967295 1\n"), two.clone()),
        case(8, "pkgmap: parts that overflow", ADD, first(": 4294967296 1\n"), refused(28, "line 1")),
        case(8, "pkgmap: huge blocks", ADD, first(": 1 18446744073709551615\n"), two),
        case(8, "pkgmap: a part that is none", ADD, |b| b.edited("pkgmap", "1 f none bin/httpd", "2 f none bin/httpd"), refused(28, "bad volume number")),
        case(8, "pkgmap: a part that overflows", ADD, |b| b.edited("pkgmap", "1 f none bin/httpd", "99999999999999999999 f none bin/httpd"), refused(28, "bad volume number")),
        case(8, "pkgmap: nothing in it", ADD, |b| b.damaged(|p| fs::write(p.join("pkgmap"), "").unwrap()), refused(28, "line 1")),
    ]
}

#[rustfmt::skip] // each case is a line
fn disagreeing() -> Vec<Case> {
    let new = |content: &'static str, data: &'static str| move |b: &Bench| b.stream(Bench::web().line("new", &format!("f none new 0644 root root {content}")), &[Cpio::file("reloc/new", data)]);
    let tar = |content: &'static str, data: &'static str| move |b: &Bench| b.tar(Bench::web().line("new", &format!("f none new 0644 root root {content}")), &[Tar::file(format!("{ID}/ACMEweb/reloc/new"), data)]);
    let file = |data: &'static str| move |b: &Bench| b.damaged(|p| fs::write(p.join("reloc/bin/httpd"), data).unwrap());
    vec![
        case(9, "stream: shorter than the pkgmap says", ADD, new("3 130 0", "x\n"), refused(10, "size 2, expected 3")),
        case(9, "stream: longer than the pkgmap says", ADD, new("1 120 0", "x\n"), refused(10, "size 2, expected 1")),
        case(9, "stream: empty and not so in the pkgmap", ADD, new("2 130 0", ""), refused(10, "size 0, expected 2")),
        case(9, "stream: empty in the pkgmap", ADD, new("0 0 0", "x\n"), refused(10, "size 2, expected 0")),
        case(9, "tar: shorter than the pkgmap says", ADD, tar("3 130 0", "x\n"), refused(10, "size 2, expected 3")),
        case(9, "tar: longer than the pkgmap says", ADD, tar("1 120 0", "x\n"), refused(10, "size 2, expected 1")),
        case(9, "directory: shorter than the pkgmap says", ADD, file("two"), refused(10, "size 3, expected 4")),
        case(9, "directory: longer than the pkgmap says", ADD, file("two\n\n"), refused(10, "size 5, expected 4")),
        case(9, "the same, only asked", TRY, file("two\n\n"), refused(10, "size 5, expected 4")),
        case(9, "the same, packed", PACK, file("two\n\n"), refused(1, "size")),
        case(9, "the same, checked", CHECK, file("two\n\n"), refused(1, "size")),
        case(9, "pkginfo is longer than the pkgmap says", ADD, |b| b.edited("pkginfo", "PKG=ACMEweb\n", "PKG=ACMEweb\n\n"), refused(10, "pkginfo")),
        case(9, "a script that the pkgmap does not know", ADD, |b| b.damaged(|p| fs::write(p.join("install/preinstall"), "touch \"$PKG_INSTALL_ROOT/executed\"\n").unwrap()), handled(&["bin/httpd f 755 two\\n"])),
        case(9, "a script that is missing", ADD, |b| b.lines(&["i preinstall 5 1 0"]), refused(10, "install/preinstall")),
    ]
}

#[rustfmt::skip] // each case is a line
fn sums() -> Vec<Case> {
    let file = |data: &'static str| move |b: &Bench| b.damaged(|p| fs::write(p.join("reloc/bin/httpd"), data).unwrap());
    vec![
        case(10, "right size, wrong sum", ADD, file("twi\n"), refused(10, "sum 350, expected 356")),
        case(10, "wrong size, right sum", ADD, file("two\n\0"), refused(10, "size 5, expected 4")),
        case(10, "the same, only asked", TRY, file("two\n\0"), refused(10, "size 5, expected 4")),
        case(10, "other bytes of one size and sum", ADD, file("owt\n"), handled(&["bin/httpd f 755 owt\\n"])),
        case(10, "other bytes of the size, sum and time of what is installed", ADD, |b| b.patch(Bench::web().file("bin/httpd", 0o755, "eno\n")), handled(&["bin/httpd f 755 eno\\n"])),
        case(10, "an edit of the size and sum of what is installed", ADD, |b| { b.stage.file("/opt/ACMEweb/bin/httpd", "noe\n"); b.stage.mode("/opt/ACMEweb/bin/httpd", 0o755); b.patch(Bench::web()) }, handled(&["bin/httpd f 755 two\\n"])),
        case(10, "a new package with a wrong sum", INSTALL, |b| { let spool = b.spool(&Package::new("ACMEa").file("x", 0o644, "x\n")); fs::write(spool.join("ACMEa/reloc/x"), "y\n").unwrap(); spool }, refused(1, "cksum")),
    ]
}
