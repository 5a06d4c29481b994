//! Asks a package database who owns a path, or what a package owns.
//!
//! ```text
//! cargo run --example query_contents -- var/sadm/install/contents /usr/bin/ls
//! cargo run --example query_contents -- var/sadm/install/contents ACMEhello
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

use patchadm_svr4::format::contents::{ContentsReader, is_comment, key_of};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(contents), Some(question)) = (args.next(), args.next()) else {
        return Err("usage: query_contents CONTENTS PATH|PACKAGE".into());
    };
    let contents = BufReader::new(File::open(contents)?);
    let mut out = io::stdout().lock();
    if question.starts_with('/') {
        write_owners(contents, &question, &mut out)
    } else {
        write_objects(contents, &question, &mut out)
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
