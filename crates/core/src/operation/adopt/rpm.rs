//! The records of rpm about a package, obtained from rpm(8), because only it can read its database.
//!
//! One query names the package and all of its files. Files that no package delivers (`%ghost`) are left out.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, Stdio};

use super::software_list::{SoftwareList, package_name};
use crate::operation::failure::Failure;
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Ftype, ObjectPath};

/// The places of the database below a root, the newer one first.
const DATABASES: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];

/// The query: a line of the package, and one of each file.
const QUERY: &str =
    r"P\t%{NAME}\t%{EPOCH}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SUMMARY}\n[F\t%{FILEFLAGS}\t%{FILENAMES}\n]";

/// The longest answer, in bytes.
const LONGEST_ANSWER: u64 = 256 << 20;

/// Flags of a file: `%config`, `%ghost`.
const CONFIG: u32 = 1;
const GHOST: u32 = 1 << 6;

/// Lists a package.
pub(super) fn listed(root: &Root, package: &str) -> Result<SoftwareList, Failure> {
    let bad = |reason: String| Failure::BadFile(format!("rpm package {package}: {reason}"));
    if package.is_empty() || package.starts_with('-') {
        return Err(bad("that is no name of a package".to_owned()));
    }
    let database =
        database(root)?.ok_or_else(|| bad("there are no records of rpm in the root".to_owned()))?;
    parse(&asked(&database, package).map_err(&bad)?).map_err(bad)
}

/// Returns the database of a root as the host sees it; `None` if there is none.
fn database(root: &Root) -> Result<Option<OsString>, Failure> {
    for place in DATABASES {
        let Ok(path) = ObjectPath::new(place.as_bytes()) else { continue };
        let physical = root.resolver().locate_dir(&path)?;
        if root.dir_if_there(&physical)?.is_some() {
            let inside = OsString::from_vec(physical.relative().to_vec());
            return Ok(Some(root.physical_path()?.join(inside).into_os_string()));
        }
    }
    Ok(None)
}

/// Returns the answer of rpm(8). A missing rpm, or an unknown package, is an error.
fn asked(database: &OsStr, package: &str) -> Result<Vec<u8>, String> {
    let mut command = Command::new("rpm");
    command.arg("-q").arg("--dbpath").arg(database).args(["--queryformat", QUERY, "--", package]);
    let spawned =
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| format!("the command rpm cannot be run: {error}"))?;
    let mut answer = Vec::new();
    let read = match child.stdout.take() {
        Some(stdout) => stdout.take(LONGEST_ANSWER + 1).read_to_end(&mut answer).map(drop),
        None => Ok(()),
    };
    let ended = child.wait().map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())?;
    if !ended.success() {
        return Err("rpm has not installed it".to_owned());
    }
    if answer.len() as u64 > LONGEST_ANSWER {
        return Err("the answer of rpm is larger than 256 MiB".to_owned());
    }
    Ok(answer)
}

/// Reads the answer about one package.
fn parse(answer: &[u8]) -> Result<SoftwareList, String> {
    let wrong = || "the answer of rpm makes no sense".to_owned();
    let mut list = SoftwareList::default();
    let (mut packages, mut paths) = (0, BTreeMap::new());
    for line in answer.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        if let Some(words) = line.strip_prefix(b"P\t") {
            packages += 1;
            let words = String::from_utf8_lossy(words).into_owned();
            let [name, epoch, version, arch, title] = five(&words).ok_or_else(wrong)?;
            let epoch = if epoch.parse::<u64>().is_ok() { format!("{epoch}:") } else { String::new() };
            list.adopted = format!("rpm {name}");
            list.pkg = Some(package_name("RPM", name));
            list.version = Some(format!("{epoch}{version}"));
            list.arch = Some(arch.to_owned());
            list.title = Some(title.to_owned()).filter(|title| !title.trim().is_empty());
        } else {
            let (path, ftype) = file(line).ok_or_else(wrong)?;
            paths.extend(ftype.map(|ftype| (path, ftype)));
        }
    }
    match packages {
        1 => Ok(SoftwareList { paths, ..list }),
        0 => Err(wrong()),
        _ => Err("it is installed in several versions; name it as NAME-VERSION-RELEASE".to_owned()),
    }
}

fn five(words: &str) -> Option<[&str; 5]> {
    words.splitn(5, '\t').collect::<Vec<_>>().try_into().ok()
}

/// Returns a line of a file: its path, and its type if the package delivers it.
fn file(line: &[u8]) -> Option<(ObjectPath, Option<Ftype>)> {
    let rest = line.strip_prefix(b"F\t")?;
    let tab = rest.iter().position(|&byte| byte == b'\t')?;
    let (flags, path) = rest.split_at_checked(tab)?;
    let flags: u32 = std::str::from_utf8(flags).ok()?.parse().ok()?;
    let path = ObjectPath::new(path.get(1..)?).ok()?;
    let ftype = if flags & CONFIG != 0 { Ftype::Editable } else { Ftype::File };
    let is_delivered = flags & GHOST == 0 && !path.relative().is_empty();
    Some((path, is_delivered.then_some(ftype)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &str = "F\t0\t/usr/bin/web\nF\t17\t/etc/web.conf\nF\t64\t/var/log/web.log\n";

    #[test]
    fn an_answer_names_the_package_and_what_it_delivers() {
        let list = parse(format!("P\tweb\t1\t2.0-1.el9\tx86_64\tA web server\n{FILES}").as_bytes()).unwrap();
        assert_eq!((list.pkg.as_deref(), list.version.as_deref()), (Some("RPMweb"), Some("1:2.0-1.el9")));
        assert_eq!((list.adopted.as_str(), list.arch.as_deref()), ("rpm web", Some("x86_64")));
        let types: Vec<(String, Ftype)> =
            list.paths.iter().map(|(path, ftype)| (path.to_string(), *ftype)).collect();
        let expected = [("/etc/web.conf", Ftype::Editable), ("/usr/bin/web", Ftype::File)];
        assert_eq!(types, expected.map(|(path, ftype)| (path.to_owned(), ftype)));
        let without = parse(b"P\tweb\t(none)\t2.0-1\tnoarch\t\n").unwrap();
        assert_eq!((without.version.as_deref(), without.title), (Some("2.0-1"), None));
    }

    #[test]
    fn two_versions_and_rubbish_are_refused() {
        let line = "P\tweb\t(none)\t2.0-1\tnoarch\tweb\n";
        assert!(parse(format!("{line}{line}").as_bytes()).unwrap_err().contains("several versions"));
        for rubbish in ["", "F\tx\t/a\n", "package web is not installed\n", "P\tweb\n"] {
            assert!(parse(rubbish.as_bytes()).unwrap_err().contains("makes no sense"), "{rubbish:?}");
        }
    }
}
