//! Asks a package database who owns a path, or what a package owns.
//!
//! ```text
//! cargo run --example query_contents -- var/sadm/install/contents /usr/bin/ls
//! cargo run --example query_contents -- var/sadm/install/contents ACMEhello
//! ```
//! Without operands it asks a database of three lines.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

use patchadm_svr4::format::contents::{ContentsReader, is_comment, key_of};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

/// A small database.
pub(crate) const SAMPLE: &[u8] = b"/opt/bin d none 0755 root sys ACMEhello ACMEshop\n\
    /opt/bin/hello f none 0755 root sys 21 1760 1600000000 ACMEhello\n\
    /opt/bin/shop=hello s none ACMEshop\n";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    match &args[..] {
        [] => write_owners(SAMPLE, "/opt/bin", &mut out),
        [file, path] if path.starts_with('/') => {
            write_owners(BufReader::new(File::open(file)?), path, &mut out)
        }
        [file, package] => write_objects(BufReader::new(File::open(file)?), package, &mut out),
        _ => Err("usage: query_contents [CONTENTS PATH|PACKAGE]".into()),
    }
}

/// Writes the packages that own `path`. Only the line of the path is parsed.
pub(crate) fn write_owners(
    contents: impl BufRead,
    path: &str,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let path = ObjectPath::new(path.as_bytes())?;
    let mut reader = ContentsReader::new(contents);
    while let Some(line) = reader.next_line()? {
        if !is_comment(line) && *key_of(line) == *path.as_bytes() {
            for owner in ContentsLine::parse(line)?.owners {
                writeln!(out, "{}", owner.package)?;
            }
        }
    }
    Ok(())
}

/// Writes type and path of the objects that `package` owns.
pub(crate) fn write_objects(
    contents: impl BufRead,
    package: &str,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let package = PkgInst::new(package)?;
    let mut reader = ContentsReader::new(contents);
    while let Some(line) = reader.next_line()? {
        if is_comment(line) {
            continue;
        }
        let line = ContentsLine::parse(line)?;
        if line.is_owned_by(&package) {
            writeln!(out, "{} {}", char::from(line.object.ftype.letter()), line.path)?;
        }
    }
    Ok(())
}
