//! The database of a large machine, written as files: packages, patches and lines of `contents` without installed
//! objects, and one package with a real file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use patchadm_svr4::package::checksum;

use crate::inputs::fresh;
use crate::workload::{File, OLD, Version};

/// The size of a database.
#[derive(Clone, Copy)]
pub(crate) struct Records {
    pub(crate) packages: usize,
    /// Applied patches, each to one package.
    pub(crate) patches: usize,
    /// Lines of `contents`.
    pub(crate) lines: usize,
}

impl Records {
    /// Returns a size with 400 lines and five patches per package.
    pub(crate) fn of_lines(lines: usize) -> Self {
        let packages = (lines / 400).max(1);
        Self { packages, patches: packages * 5, lines }
    }
}

/// The package with a real file.
pub(crate) const REAL: &str = "ACMEreal";

/// Returns the real file, the last one of the database.
pub(crate) fn real_file() -> File {
    File::new("opt/real/file".to_owned(), 20_000, 4_000_000)
}

/// Returns a path in the middle of the database.
pub(crate) fn some_path(records: Records) -> String {
    path(records.packages / 2, records.lines / records.packages / 2)
}

/// Returns some package of the database.
pub(crate) fn some_package(records: Records) -> String {
    package(records.packages / 2)
}

/// Writes the database of a new root.
pub(crate) fn write(root: &Path, records: Records) -> Result<()> {
    fresh(root)?;
    let install = root.join("var/sadm/install");
    fs::create_dir_all(&install)?;
    fs::write(install.join("contents"), contents(records)?)?;
    for number in 0..records.packages {
        let patches = (number..records.patches).step_by(records.packages);
        write_pkginfo(root, &package(number), patches)?;
    }
    write_pkginfo(root, REAL, std::iter::empty())?;
    let file = real_file();
    let path = root.join(&file.path);
    fs::create_dir_all(root.join("opt/real"))?;
    fs::write(&path, file.content(Version::Old)?)?;
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(OLD);
    Ok(fs::File::options().write(true).open(path)?.set_modified(time)?)
}

fn contents(records: Records) -> Result<String> {
    let Records { packages, lines, .. } = records;
    let mut text = String::with_capacity(lines * 80);
    for number in 0..packages {
        let package = package(number);
        for file in 0..lines / packages {
            let path = path(number, file);
            let (size, sum) = (1000 + 7 * file, (31 * number + 17 * file) % 65_536);
            let _ = writeln!(text, "{path} f none 0644 root root {size} {sum} {OLD} {package}");
        }
    }
    let file = real_file();
    let content = file.content(Version::Old)?;
    let (path, size, sum) = (&file.path, content.len(), checksum::sum(&content));
    let _ = writeln!(text, "/opt/real d none 0755 root root {REAL}");
    let _ = writeln!(text, "/{path} f none 0644 root root {size} {sum} {OLD} {REAL}");
    let _ = writeln!(text, "# Last modified by pkgadd for {REAL} package\n# Fri Nov 20 09:16:37 2026");
    Ok(text)
}

fn write_pkginfo(root: &Path, package: &str, patches: impl Iterator<Item = usize>) -> Result<()> {
    let directory = root.join("var/sadm/pkg").join(package);
    fs::create_dir_all(&directory)?;
    let ids: Vec<String> = patches.map(|number| format!("{}-01", 300_000 + number)).collect();
    let mut text = format!(
        "PKG={package}\nNAME=Acme {package}\nARCH=all\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/\nCLASSES=none\n\
         PKGINST={package}\nINSTDATE=Nov 20 2026 09:16\n"
    );
    if !ids.is_empty() {
        let _ = writeln!(text, "PATCHLIST={}", ids.join(" "));
    }
    for id in ids {
        let _ = writeln!(
            text,
            "PATCH_INFO_{id}=Installed: Fri Nov 20 09:16:37 UTC 2026 From: acme Obsoletes: Requires: Incompatibles:"
        );
    }
    Ok(fs::write(directory.join("pkginfo"), text)?)
}

/// The name of the package of this number.
pub(crate) fn package(number: usize) -> String {
    format!("ACME{number:04}")
}

fn path(package: usize, file: usize) -> String {
    format!("/opt/p{package:04}/share/lib/f{file:06}")
}
