//! Lists a package datastream: each package with its parameters, then the members of its parts.
//!
//! ```text
//! cargo run --example list_datastream -- ACMEhello.pkg
//! ```
//! Without a file it lists a package made in memory, by the example `make_package`.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use patchadm_svr4::format::datastream::DatastreamReader;
use patchadm_svr4::format::params;

#[allow(dead_code)] // its `main` is another example's
#[path = "make_package.rs"]
pub(crate) mod make_package;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    match std::env::args_os().nth(1) {
        Some(file) => list(BufReader::new(File::open(file)?), &mut out),
        None => list(&make_package::make_package("ACMEhello", &make_package::sample())?[..], &mut out),
    }
}

/// Writes the packages and members of `stream` to `out`.
pub(crate) fn list(stream: impl Read, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut reader = DatastreamReader::new(stream)?;
    let packages = reader.packages().to_vec();
    for package in &packages {
        let pkginfo = params::parse(&package.pkginfo)?;
        writeln!(out, "{}: {}, version {}", package.inst, pkginfo.text("NAME"), pkginfo.text("VERSION"))?;
    }
    while let Some(part) = reader.next_part()? {
        writeln!(out, "{}, part {}:", packages[part.package].inst, part.part)?;
        while let Some(member) = reader.next_member()? {
            writeln!(out, "{:>10} {:06o} {}", member.header.size, member.header.mode, member.path)?;
        }
    }
    Ok(())
}
