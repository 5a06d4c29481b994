//! The listings of pkginfo(1): one line, two lines, or all fields of a package.

use std::io::Write as _;

use patchadm_core::operation::queries::packages::{ObjectCounts, PackageState, PackageSummary};
use patchadm_svr4::format::params::compact;
use patchadm_svr4::package::control::controls_on_one_line;

/// Shown before STATUS, in this order. The first ones are shown even if empty.
const FIELDS: [&str; 13] = [
    "NAME",
    "CATEGORY",
    "ARCH",
    "VERSION",
    "BASEDIR",
    "VENDOR",
    "DESC",
    "PSTAMP",
    "INSTDATE",
    "VSTOCK",
    "SERIALNUM",
    "HOTLINE",
    "EMAIL",
];
const SHOWN_EMPTY: usize = 6;

/// Returns the line of the short listing: category, instance padded to `width`, name.
pub fn short(package: &PackageSummary, width: usize) -> Vec<u8> {
    let category = value(package, "CATEGORY");
    let first = category.split(|byte| *byte == b',').next().unwrap_or_default();
    let mut line = fit(first, 11);
    line.push(b' ');
    line.extend(fit(package.instance.as_bytes(), width));
    line.push(b' ');
    line.extend(value(package, "NAME"));
    line.push(b'\n');
    line
}

/// Returns the two lines of the extracted listing.
pub fn extracted(package: &PackageSummary, width: usize) -> Vec<u8> {
    let mut text = fit(package.instance.as_bytes(), width);
    text.extend(b"  ");
    text.extend(value(package, "NAME"));
    text.push(b'\n');
    text.extend(vec![b' '; width]);
    text.extend(b"  (");
    text.extend(value(package, "ARCH"));
    text.extend(b") ");
    text.extend(value(package, "VERSION"));
    text.push(b'\n');
    text
}

/// Returns all fields, and a blank line.
pub fn long(package: &PackageSummary) -> Vec<u8> {
    let mut text = Vec::new();
    field(&mut text, "PKGINST", package.instance.as_bytes());
    for (place, name) in FIELDS.into_iter().enumerate() {
        let value = value(package, name);
        if !value.is_empty() || place < SHOWN_EMPTY && package.params.get(name).is_some() {
            field(&mut text, name, &value);
        }
    }
    field(&mut text, "STATUS", status(package.state).as_bytes());
    if let Some(counts) = &package.counts {
        files(&mut text, counts, package.state);
    }
    text.push(b'\n');
    text
}

pub fn status(state: PackageState) -> &'static str {
    match state {
        PackageState::Complete => "completely installed",
        PackageState::Partial => "partially installed",
        PackageState::Spooled => "spooled",
    }
}

fn files(text: &mut Vec<u8>, counts: &ObjectCounts, state: PackageState) {
    let word = if state == PackageState::Spooled { "spooled" } else { "installed" };
    let lines = [
        (counts.partial, "partially installed pathnames"),
        (counts.shared, "shared pathnames"),
        (counts.links, "linked files"),
        (counts.directories, "directories"),
        (counts.executables, "executables"),
        (counts.set_id, "setuid/setgid executables"),
        (counts.information, "package information files"),
        (counts.blocks, "blocks used (approx)"),
    ];
    field(text, "FILES", format!("{:7} {word} pathnames", counts.pathnames).as_bytes());
    for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
        put(text, format_args!("{count:20} {what}\n"));
    }
}

fn field(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(text, format_args!("{name:>10}:  "));
    text.extend_from_slice(value);
    text.push(b'\n');
}

/// Returns a parameter as listings show it, always on one line: ARCH and CATEGORY without white space.
fn value(package: &PackageSummary, name: &str) -> Vec<u8> {
    let value = package.params.get(name).unwrap_or_default();
    if matches!(name, "ARCH" | "CATEGORY") { compact(value) } else { controls_on_one_line(value) }
}

/// Exactly `width` bytes, like `%-W.Ws`.
fn fit(value: &[u8], width: usize) -> Vec<u8> {
    let mut out = value.to_vec();
    out.resize(width, b' ');
    out
}

fn put(text: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to a vector does not fail.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::Params;

    fn package(instance: &str, params: &[(&str, &str)]) -> PackageSummary {
        PackageSummary {
            instance: instance.to_owned(),
            params: params.iter().map(|(name, value)| (*name, *value)).collect::<Params>(),
            state: PackageState::Complete,
            counts: None,
        }
    }

    fn stuf() -> PackageSummary {
        let counts = ObjectCounts {
            pathnames: 22,
            links: 1,
            directories: 6,
            executables: 3,
            blocks: 62,
            ..ObjectCounts::default()
        };
        let params = [
            ("CLASSES", "none preserve build script"),
            ("BASEDIR", "/opt/SUNWstuf"),
            ("NAME", "Stuff for testing (SUNWstuf)"),
            ("ARCH", "i386"),
            ("VERSION", "1.0,REV=2026.01"),
            ("CATEGORY", "application"),
            ("VENDOR", "Test Vendor, Inc."),
            ("PSTAMP", "vm20261120070142"),
            ("HOTLINE", ""),
            ("INSTDATE", "Nov 20 2026 07:03"),
        ];
        PackageSummary { counts: Some(counts), ..package("SUNWstuf", &params) }
    }

    #[test]
    fn the_long_listing_is_that_of_the_classic_tool() {
        assert_eq!(
            String::from_utf8(long(&stuf())).unwrap(),
            "   PKGINST:  SUNWstuf
      NAME:  Stuff for testing (SUNWstuf)
  CATEGORY:  application
      ARCH:  i386
   VERSION:  1.0,REV=2026.01
   BASEDIR:  /opt/SUNWstuf
    VENDOR:  Test Vendor, Inc.
    PSTAMP:  vm20261120070142
  INSTDATE:  Nov 20 2026 07:03
    STATUS:  completely installed
     FILES:       22 installed pathnames
                   1 linked files
                   6 directories
                   3 executables
                  62 blocks used (approx)

"
        );
    }

    #[test]
    fn a_spooled_package_is_listed_with_what_the_spool_has() {
        let counts = ObjectCounts {
            pathnames: 7,
            directories: 2,
            information: 2,
            blocks: 3,
            ..ObjectCounts::default()
        };
        let params = [("NAME", "X"), ("BASEDIR", ""), ("ARCH", "sparc, i386")];
        let spooled = PackageSummary {
            state: PackageState::Spooled,
            counts: Some(counts),
            ..package("SUNWx", &params)
        };
        assert_eq!(
            String::from_utf8(long(&spooled)).unwrap(),
            "   PKGINST:  SUNWx
      NAME:  X
      ARCH:  sparc,i386
   BASEDIR:  \n    STATUS:  spooled
     FILES:        7 spooled pathnames
                   2 directories
                   2 package information files
                   3 blocks used (approx)

"
        );
    }

    #[test]
    fn the_short_and_the_extracted_listing_align_their_columns() {
        let params = [
            ("CATEGORY", "application-of-ours utils,x"),
            ("NAME", "Foo tools"),
            ("ARCH", "i386"),
            ("VERSION", "1.0,REV=2"),
        ];
        let foo = package("ACMEfoo", &params);
        assert_eq!(short(&foo, 9), b"application ACMEfoo   Foo tools\n");
        assert_eq!(extracted(&foo, 9), b"ACMEfoo    Foo tools\n           (i386) 1.0,REV=2\n");
        let system = package("SUNWcsr", &[("CATEGORY", "system"), ("NAME", "Core")]);
        assert_eq!(short(&system, 7), b"system      SUNWcsr Core\n");
    }
}
