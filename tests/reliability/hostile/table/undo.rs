//! Undo archives that are replaced, damaged, or of another patch, package or root, and other contents of a save
//! directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::delivery::{Patch, gzip};
use crate::packages::Package;
use crate::reliability::hostile::archives::{Cpio, Tar, cpio, datastream};
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{Case, REMOVE, case, handled, refused};

/// Backs the patch out by force, whatever has become of it since.
const FORCED: &str = "patchrm -f -R @ROOT@ 900-01";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = replaced();
    cases.extend(foreign());
    cases.extend(beside());
    cases
}

/// The root with the patch applied, and a change to the save directory of the patch.
fn applied(change: impl Fn(&Path)) -> impl Fn(&Bench) -> PathBuf {
    move |b| {
        b.apply(&Patch::of(ID, Bench::web()));
        change(&save(b, ID));
        PathBuf::new()
    }
}

fn save(b: &Bench, id: &str) -> PathBuf {
    b.stage.at(&format!("/var/sadm/pkg/ACMEweb/save/{id}"))
}

/// The root with the patch applied, and a change to the bytes of its archive.
fn altered(change: impl Fn(Vec<u8>) -> Vec<u8>) -> impl Fn(&Bench) -> PathBuf {
    applied(move |save| {
        let archive = save.join("undo.gz");
        fs::write(&archive, change(fs::read(&archive).unwrap())).unwrap();
    })
}

/// Makes the ledger say that the archive in a save directory was written by the run that wrote the original one.
fn vouch(save: &Path) {
    let bytes = fs::read(save.join("undo.gz")).unwrap();
    let id = save.file_name().unwrap().to_str().unwrap();
    crate::ledger::vouch(root_of(save), "ACMEweb", id, &bytes);
}

/// Removes the ledger, so that an archive without a manifest counts as one of another tool.
fn disown(save: &Path) {
    crate::ledger::disown(root_of(save), "ACMEweb");
}

/// The root of a save directory: `<root>/var/sadm/pkg/<PKG>/save/<id>`.
fn root_of(save: &Path) -> &Path {
    save.ancestors().nth(6).unwrap()
}

#[rustfmt::skip] // each case is a line
fn replaced() -> Vec<Case> {
    let other = |id: &'static str, vouched: bool| move |b: &Bench| {
        b.apply(&Patch::of("800-01", Package::new("ACMEweb").file("lib/x", 0o644, "new\n")));
        b.apply(&Patch::of(ID, Bench::web()));
        fs::copy(save(b, id).join("undo.gz"), save(b, ID).join("undo.gz")).unwrap();
        if vouched { vouch(&save(b, ID)); } else { disown(&save(b, ID)); }
        PathBuf::new()
    };
    let both = |b: &Bench| {
        b.apply(&Patch::of("800-01", Package::new("ACMEweb").file("lib/x", 0o644, "new\n")));
        b.apply(&Patch::of(ID, Bench::web()));
        for file in ["undo.gz", "undo.b3"] { fs::copy(save(b, "800-01").join(file), save(b, ID).join(file)).unwrap(); }
        PathBuf::new()
    };
    let of_root = |b: &Bench| {
        let elsewhere = Bench::template();
        elsewhere.apply(&Patch::of(ID, Bench::web()));
        b.apply(&Patch::of(ID, Bench::web()));
        for file in ["undo.gz", "undo.b3"] { fs::copy(save(&elsewhere, ID).join(file), save(b, ID).join(file)).unwrap(); }
        PathBuf::new()
    };
    let of_run = |b: &Bench| {
        b.apply(&Patch::of(ID, Bench::web()));
        let first = fs::read(save(b, ID).join("undo.gz")).unwrap();
        b.stage.run("patchrm -R @ROOT@ 900-01").fails(0);
        b.stage.file("/opt/ACMEweb/bin/httpd", "ONE\n");
        b.stage.run("patchadd -u -R @ROOT@ delivered/900-01").fails(0);
        fs::write(save(b, ID).join("undo.gz"), first).unwrap();
        PathBuf::new()
    };
    vec![
        case(16, "the archive of another patch", REMOVE, both, refused(4, "(an older copy, or somebody else's)")),
        case(16, "the same, vouched for", REMOVE, other("800-01", true), refused(4, "it belongs to patch 800-01")),
        case(16, "the same, that nobody vouches for", REMOVE, other("800-01", false), refused(4, "does not know it")),
        case(16, "the archive of another root", REMOVE, of_root, refused(4, "(an older copy, or somebody else's)")),
        case(16, "the archive of another run", REMOVE, of_run, refused(4, "(an older copy, or somebody else's)")),
        case(16, "an archive that is gone", REMOVE, applied(|save| fs::remove_file(save.join("undo.gz")).unwrap()), refused(4, "is lost")),
        case(16, "a save directory that is gone", REMOVE, applied(|save| fs::remove_dir_all(save).unwrap()), refused(4, "")),
        case(16, "an empty archive", REMOVE, altered(|_| Vec::new()), refused(4, "(an older copy, or somebody else's)")),
        case(16, "an archive of garbage", REMOVE, altered(|_| b"garbage".to_vec()), refused(4, "(an older copy, or somebody else's)")),
        case(16, "half an archive", REMOVE, altered(|bytes| bytes[..bytes.len() / 2].to_vec()), refused(4, "(an older copy, or somebody else's)")),
        case(16, "an archive without its last byte", REMOVE, altered(|bytes| bytes[..bytes.len() - 1].to_vec()), refused(4, "(an older copy, or somebody else's)")),
        case(16, "an archive with a byte behind it", REMOVE, altered(|bytes| [&bytes[..], b"x"].concat()), refused(4, "(an older copy, or somebody else's)")),
        case(16, "an archive with an empty member behind it", REMOVE, altered(|bytes| [bytes, gzip(b"")].concat()), refused(4, "(an older copy, or somebody else's)")),
        case(16, "an archive with a bit turned", REMOVE, altered(|mut bytes| { let at = bytes.len() / 2; bytes[at] ^= 1; bytes }), refused(4, "(an older copy, or somebody else's)")),
        case(16, "the same, forced", FORCED, altered(|mut bytes| { let at = bytes.len() / 2; bytes[at] ^= 1; bytes }), refused(4, "(an older copy, or somebody else's)")),
        case(16, "the same bytes, compressed otherwise", REMOVE, altered(|bytes| { use std::io::Read as _; let mut plain = Vec::new(); flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap(); gzip(&plain) }), refused(4, "(an older copy, or somebody else's)")),
        case(16, "an archive that is a tar archive", REMOVE, applied(|save| { fs::write(save.join("undo.gz"), gzip(&crate::reliability::hostile::archives::tar(&[Tar::file("/etc/passwd", "evil")]))).unwrap(); vouch(save); }), refused(4, "is damaged")),
    ]
}

/// An archive of somebody else: a package with these lines in its pkgmap, and these members.
fn by_somebody_else(
    lines: &'static str,
    members: &'static [(&'static str, &'static str)],
) -> impl Fn(&Bench) -> PathBuf {
    applied(move |save| {
        let pkginfo = "PKG=ACMEweb\nNAME=undo\nARCH=i386\nVERSION=1.0\nCATEGORY=system\nBASEDIR=/opt/ACMEweb\nCLASSES=none\nSUNW_PATCHID=900-01\n";
        let first = [("pkginfo", pkginfo.to_owned()), ("pkgmap", format!(": 1 1\n{lines}"))];
        let table = first.clone().map(|(name, data)| Cpio::file(format!("ACMEweb/{name}"), data));
        let mut part: Vec<Cpio> = first.map(|(name, data)| Cpio::file(name, data)).to_vec();
        part.extend(members.iter().map(|(name, data)| match name.strip_prefix("-> ") {
            Some(link) => Cpio::of_mode(0o120_777, link, data),
            None => Cpio::file(name, data),
        }));
        let stream = datastream("ACMEweb 1 1\n", &[cpio("070701", &table), cpio("070701", &part)]);
        fs::write(save.join("undo.gz"), gzip(&stream)).unwrap();
        disown(save);
    })
}

#[rustfmt::skip] // each case is a line
fn foreign() -> Vec<Case> {
    let line = |lines: &'static str| by_somebody_else(lines, &[("reloc/bin/httpd", "one\n")]);
    vec![
        case(16, "foreign: what was saved", REMOVE, line("1 f none bin/httpd 0755 root root 4 332 1577836800\n"), handled(&[])),
        case(16, "foreign: a path that climbs", REMOVE, line("1 f none ../../../canary/passwd 0644 root root 4 332 0\n"), refused(4, "`..`")),
        case(16, "foreign: a member that climbs", REMOVE, by_somebody_else("", &[("reloc/../../../../canary/passwd", "evil")]), refused(4, "`..`")),
        case(16, "foreign: an absolute member", REMOVE, by_somebody_else("", &[("/etc/passwd", "evil")]), refused(4, "absolute name")),
        case(16, "foreign: a link and a way through it", REMOVE, line("1 s none way=/etc\n1 f none way/shadow 0644 root root 4 332 0\n"), refused(4, "way")),
        case(16, "foreign: a file that is a link", REMOVE, by_somebody_else("1 f none bin/httpd 0755 root root 11 1 0\n", &[("-> reloc/bin/httpd", "/etc/passwd")]), refused(4, "")),
        case(16, "foreign: a member that is missing", REMOVE, by_somebody_else("1 f none bin/httpd 0755 root root 4 332 0\n", &[]), refused(4, "bin/httpd is missing")),
        case(16, "foreign: a wrong sum", REMOVE, line("1 f none bin/httpd 0755 root root 4 1 0\n"), refused(4, "size and checksum in its pkgmap")),
        case(16, "foreign: a wrong size", REMOVE, line("1 f none bin/httpd 0755 root root 5 332 0\n"), refused(4, "size and checksum in its pkgmap")),
        case(16, "foreign: the database", REMOVE, by_somebody_else("1 f none /var/sadm/install/contents 0644 root root 4 332 0\n", &[("root/var/sadm/install/contents", "one\n")]), refused(5, "is a record of packages and patches")),
        case(16, "foreign: an unknown type", REMOVE, line("1 q none bin/httpd 0755 root root 4 332 0\n"), refused(4, "unknown ftype")),
        case(16, "foreign: deletes that climb", REMOVE, by_somebody_else("1 i deletes\n", &[("install/deletes", "../../../canary/passwd\n")]), refused(4, "`..`")),
        case(16, "foreign: a manifest of garbage", REMOVE, by_somebody_else("", &[("install/patchadm.manifest", "garbage")]), refused(4, "manifest")),
        case(16, "foreign: a manifest of another patch", REMOVE, by_somebody_else("", &[("install/patchadm.manifest", "{}\n")]), refused(4, "")),
        case(16, "foreign: two packages", REMOVE, applied(|save| { let one = |name: &str| [Cpio::file(format!("{name}/pkginfo"), format!("PKG={name}\n")), Cpio::file(format!("{name}/pkgmap"), ": 1 1\n")]; let stream = datastream("ACMEweb 1 1\nACMEz 1 1\n", &[cpio("070701", &[one("ACMEweb"), one("ACMEz")].concat()), cpio("070701", &[]), cpio("070701", &[])]); fs::write(save.join("undo.gz"), gzip(&stream)).unwrap(); disown(save); }), refused(4, "more than one package")),
        case(16, "foreign: a script of its own", REMOVE, by_somebody_else("1 i postinstall\n", &[("install/postinstall", "touch \"$PKG_INSTALL_ROOT/executed\"\n")]), refused(4, "its checkinstall says")),
        case(16, "foreign: 8 MiB in a manifest", REMOVE, applied(|save| { let first = [("pkginfo", "PKG=ACMEweb\n"), ("pkgmap", ": 1 1\n")]; let table = first.map(|(name, data)| Cpio::file(format!("ACMEweb/{name}"), data)); let part = [&first.map(|(name, data)| Cpio::file(name, data))[..], &[Cpio::file("install/patchadm.manifest", vec![b'\n'; 8 << 20])]].concat(); let stream = datastream("ACMEweb 1 1\n", &[cpio("070701", &table), cpio("070701", &part)]); fs::write(save.join("undo.gz"), gzip(&stream)).unwrap(); disown(save); }), refused(4, "manifest")),
    ]
}

fn pipe(at: &Path) {
    assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
}

/// Replaces a file of the save directory by something else.
fn instead(name: &'static str, make: impl Fn(&Path)) -> impl Fn(&Bench) -> PathBuf {
    applied(move |save| {
        let at = save.join(name);
        fs::remove_file(&at).unwrap();
        make(&at);
    })
}

/// An archive that is said to be elsewhere.
fn pointed_to(text: &'static str) -> impl Fn(&Bench) -> PathBuf {
    move |b| {
        b.apply(&Patch::of(ID, Bench::web()));
        pipe(&b.stage.beside("out/pipe"));
        fs::remove_file(save(b, ID).join("undo.gz")).unwrap();
        let text = text.replace("@OUT@", b.stage.beside("out").to_str().unwrap());
        fs::write(save(b, ID).join("remote"), text.replace("@CANARY@", &b.canary())).unwrap();
        PathBuf::new()
    }
}

#[rustfmt::skip] // each case is a line
fn beside() -> Vec<Case> {
    vec![
        case(16, "the archive is a pipe", REMOVE, instead("undo.gz", pipe), refused(4, "")),
        case(16, "the archive is a directory", REMOVE, instead("undo.gz", |at| fs::create_dir(at).unwrap()), refused(4, "")),
        case(16, "the archive is a link out of the root", REMOVE, instead("undo.gz", |at| symlink("/etc/passwd", at).unwrap()), refused(4, "")),
        case(16, "the archive is a link to the canary", REMOVE, instead("undo.gz", |at| symlink("../../../../../../../canary/passwd", at).unwrap()), refused(4, "")),
        case(16, "the digest is garbage", REMOVE, applied(|save| fs::write(save.join("undo.b3"), "garbage\n").unwrap()), handled(&[])),
        case(16, "the digest is empty", REMOVE, applied(|save| fs::write(save.join("undo.b3"), "").unwrap()), handled(&[])),
        case(16, "the digest is 2 MiB", REMOVE, applied(|save| fs::write(save.join("undo.b3"), "f".repeat(2 << 20)).unwrap()), handled(&[])),
        case(16, "the digest is a pipe", REMOVE, instead("undo.b3", pipe), handled(&[])),
        case(16, "the digest is a link", REMOVE, instead("undo.b3", |at| symlink("/dev/null", at).unwrap()), handled(&[])),
        case(16, "the digest is that of something else", REMOVE, applied(|save| { let said = fs::read_to_string(save.join("undo.b3")).unwrap(); fs::write(save.join("undo.b3"), said.replacen(&said[..8], "00000000", 1)).unwrap(); }), handled(&[])),
        case(16, "elsewhere: a pipe", REMOVE, pointed_to("FIND_AT=@OUT@/pipe\nTYPE=filesystem\nSTATE=active\n"), refused(12, "not a valid place for an undo archive")),
        case(16, "elsewhere: /dev/zero", REMOVE, pointed_to("FIND_AT=/dev/zero\nTYPE=filesystem\nSTATE=active\n"), refused(12, "not a valid place for an undo archive")),
        case(16, "elsewhere: a path that climbs", REMOVE, pointed_to("FIND_AT=/opt/../etc/passwd\nTYPE=filesystem\nSTATE=active\n"), refused(4, "`..`")),
        case(16, "elsewhere: a relative path", REMOVE, pointed_to("FIND_AT=canary/passwd\nTYPE=filesystem\nSTATE=active\n"), refused(4, "")),
        case(16, "elsewhere: what is no archive", REMOVE, pointed_to("FIND_AT=@CANARY@/passwd\nTYPE=filesystem\nSTATE=active\n"), refused(12, "not a valid place for an undo archive")),
        case(16, "elsewhere: nowhere", REMOVE, pointed_to("FIND_AT=@CANARY@/nosuch\nTYPE=filesystem\nSTATE=active\n"), refused(12, "not a valid place for an undo archive")),
        case(16, "elsewhere: garbage", REMOVE, pointed_to("\u{0}\u{1}\n"), refused(4, "")),
        case(16, "two archives", REMOVE, applied(|save| fs::write(save.join("undo.Z"), "garbage").unwrap()), handled(&[])),
    ]
}
