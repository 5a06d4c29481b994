//! Large input that is legal: handled within the bounds, or refused before it costs anything.

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use patchadm_svr4::format::pkgmap::MOST_ENTRIES;

use crate::delivery::Patch;
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{
    ADD, CHECK, Case, INFO, INSTALL, PACK, PLAN, TRY, case, handled, refused, says,
};

#[rustfmt::skip] // each case is a line
pub(super) fn cases() -> Vec<Case> {
    let cases = vec![
        case(14, "a pkginfo of 100 MB", ADD, pkginfo, refused(28, "pkginfo is corrupt: it is larger than the limit of 16 MiB")),
        case(14, "the same, listed as a giant", INFO, pkginfo, refused(1, "it is larger than the limit of 16 MiB")),
        case(14, "15,000 parameters", ADD, |b| parameters(b, 15_000), handled(&["bin/httpd f 755 two\\n"])),
        case(14, "90,000 parameters", ADD, |b| parameters(b, 90_000), handled(&["bin/httpd f 755 two\\n"])),
        case(14, "100,000 obsoletes", ADD, |b| relations(b, "SUNW_OBSOLETES"), refused(28, "with the new records in it")),
        case(14, "100,000 requires", ADD, |b| relations(b, "SUNW_REQUIRES"), refused(25, "requires patch")),
        case(14, "100,000 incompatible patches", ADD, |b| relations(b, "SUNW_INCOMPAT"), handled(&["bin/httpd f 755 two\\n"])),
        case(14, "a README of 100 MB", ADD, |b| { let d = b.patch(Bench::web()); fs::write(d.join(format!("README.{ID}")), "Obsoletes: x\n".repeat(8_000_000)).unwrap(); d }, handled(&["bin/httpd f 755 two\\n"])),
    ];
    let mut cases: Vec<Case> = cases.into_iter().map(Case::giant).collect();
    cases.extend(lists());
    cases
}

/// Memory for a million entries if a command only reads the list: 448 bytes each, including their lines of up to 62
/// bytes, plus the needs of every command.
const ROOM: u64 = 448 * MILLION as u64 / 1024 + (32 << 10);
const MILLION: usize = 1_000_000;

/// A million entries are legal. They are handled in [`ROOM`]; with less memory, and by commands that collect more of
/// each than its line, they are refused before anything else happens.
#[rustfmt::skip] // each case is a line
fn lists() -> Vec<Case> {
    let files = |number| format!("1 f none new/{number:07} 0644 root root 2 130 0\n");
    let links = |number| format!("1 s none new/{number:07}=../target\n");
    let directories = |number| format!("1 d none new/{number:07} 0755 root root\n");
    let few = |words: &str| refused(33, words);
    let cases = vec![
        case(14, "a million files that are missing", ADD, move |b| list(b, MILLION, files), few("not enough memory for 1000002 entries")),
        case(14, "a million files that are missing, only asked", TRY, move |b| list(b, MILLION, files), few("not enough memory for 1000002 entries")),
        case(14, "a million files that are missing, only planned", PLAN, move |b| list(b, MILLION, files), refused(1, "not enough memory for 1000002 entries")),
        case(14, "a million symbolic links", ADD, move |b| list(b, MILLION, links), few("not enough memory for 1000002 entries")),
        case(14, "a million directories", ADD, move |b| list(b, MILLION, directories), few("not enough memory for 1000002 entries")),
        case(14, "400,000 symbolic links", ADD, move |b| list(b, 400_000, links), few("not enough memory for 400002 entries")),
        case(14, "a million files, installed", INSTALL, move |b| list(b, MILLION, files), refused(1, "not enough memory for 1000002 entries")),
        case(14, "400,000 files, installed", INSTALL, move |b| list(b, 400_000, files), refused(1, "not enough memory for 400002 entries")),
        case(14, "a million files, listed in little room", INFO, move |b| list(b, MILLION, files), refused(1, "not enough memory for 1000002 entries")),
        case(14, "a million files, packed in little room", PACK, move |b| list(b, MILLION, files), refused(1, "not enough memory for 1000002 entries")),
        case(14, "a million files, listed", INFO, move |b| list(b, MILLION, files), says("ACMEweb")).within(ROOM),
        case(14, "a million symbolic links, listed", INFO, move |b| list(b, MILLION, links), says("ACMEweb")).within(ROOM),
        case(14, "a million directories, listed", INFO, move |b| list(b, MILLION, directories), says("ACMEweb")).within(ROOM),
        case(14, "a million symbolic links, packed", PACK, move |b| list(b, MILLION, links), says("")).within(ROOM),
        case(14, "a million directories, checked", CHECK, move |b| list(b, MILLION, directories), refused(1, "not enough memory for 1000002 entries")).within(ROOM),
        case(14, "400,000 directories, checked", CHECK, move |b| list(b, 400_000, directories), refused(1, "not enough memory for 400002 entries")),
        case(14, "8,000,001 entries", ADD, |b| list(b, MOST_ENTRIES, |number| format!("1 d none {number:07} ? ? ?\n")), refused(28, "more than 8000000 entries")),
        case(14, "8,000,001 entries, listed", INFO, |b| list(b, MOST_ENTRIES, |number| format!("1 d none {number:07} ? ? ?\n")), refused(1, "more than 8000000 entries")),
        case(14, "a pkgmap with 200 MB of comments", ADD, |b| list(b, 4_000_000, |_| format!("# {}\n", "x".repeat(47))), few("not enough memory for 2 entries in a pkgmap of 200000")),
        case(14, "a pkgmap with 200 MB of comments, listed", INFO, |b| list(b, 4_000_000, |_| format!("# {}\n", "x".repeat(47))), says("ACMEweb")),
    ];
    cases.into_iter().map(Case::giant).collect()
}

/// The patch with `count` more lines in its pkgmap.
fn list(b: &Bench, count: usize, line: impl Fn(usize) -> String) -> PathBuf {
    b.damaged(|package| {
        let pkgmap = OpenOptions::new().append(true).open(package.join("pkgmap")).unwrap();
        let mut pkgmap = BufWriter::new(pkgmap);
        (0..count).for_each(|number| pkgmap.write_all(line(number).as_bytes()).unwrap());
        pkgmap.flush().unwrap();
    })
}

/// The patch with 100 MB of parameters.
fn pkginfo(b: &Bench) -> PathBuf {
    let value = "x".repeat(991);
    let many: String = (0..100_000).map(|number| format!("V{number:06}={value}\n")).collect();
    b.damaged(|package| {
        let own = fs::read_to_string(package.join("pkginfo")).unwrap();
        fs::write(package.join("pkginfo"), own + &many).unwrap();
    })
}

/// The patch with `count` short parameters.
fn parameters(b: &Bench, count: usize) -> PathBuf {
    let more: String = (1..count).map(|number| format!("\nV{number:06}=x")).collect();
    b.patch(Bench::web().param("V", &format!("x{more}")))
}

/// The patch with 100,000 ids in this parameter.
fn relations(b: &Bench, name: &str) -> PathBuf {
    let ids: Vec<String> = (100_000..200_000).map(|number| format!("{number}-01")).collect();
    Patch::of(ID, Bench::web()).says(name, &ids.join(" ")).directory(&b.stage)
}
