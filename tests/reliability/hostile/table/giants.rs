//! What is large: legal, and handled within the bounds, or refused before it costs anything.

use std::fs;
use std::path::PathBuf;

use crate::delivery::Patch;
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{ADD, Case, INFO, case, handled, refused};

#[rustfmt::skip] // each case is a line
pub(super) fn cases() -> Vec<Case> {
    let cases = vec![
        case(14, "a pkginfo of 100 MB", ADD, pkginfo, refused(33, "")),
        case(14, "the same, listed as a giant", INFO, pkginfo, refused(1, "")),
        case(14, "100,000 obsoletes", ADD, |b| relations(b, "SUNW_OBSOLETES"), refused(28, "with what is to be recorded in it")),
        case(14, "100,000 requires", ADD, |b| relations(b, "SUNW_REQUIRES"), refused(25, "requires patch")),
        case(14, "100,000 incompatible patches", ADD, |b| relations(b, "SUNW_INCOMPAT"), handled(&["bin/httpd f 755 two\\n"])),
        case(14, "a README of 100 MB", ADD, |b| { let d = b.patch(Bench::web()); fs::write(d.join(format!("README.{ID}")), "Obsoletes: x\n".repeat(8_000_000)).unwrap(); d }, handled(&["bin/httpd f 755 two\\n"])),
    ];
    cases.into_iter().map(Case::giant).collect()
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

/// The patch with 100,000 ids in this parameter.
fn relations(b: &Bench, name: &str) -> PathBuf {
    let ids: Vec<String> = (100_000..200_000).map(|number| format!("{number}-01")).collect();
    Patch::of(ID, Bench::web()).says(name, &ids.join(" ")).directory(&b.stage)
}
