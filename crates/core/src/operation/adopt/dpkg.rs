//! The records of dpkg about a package: `var/lib/dpkg` of the root, read directly.
//!
//! These files are read: `status` (version, architecture, synopsis, conffiles), the package's list of paths, its conffiles
//! and MD5 sums below `info`, and `diversions`. A path that another package or the administrator has diverted is taken at
//! its actual place. Nothing is interpreted that dpkg would run.

use std::collections::BTreeMap;

use super::differing::Md5Sum;
use super::software_list::{SoftwareList, package_name, paths_of};
use crate::operation::failure::Failure;
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Ftype, ObjectPath};

/// The largest of the files, in bytes.
const LARGEST_RECORD: u64 = 256 << 20;

/// The records of dpkg below a root.
const RECORDS: &str = "/var/lib/dpkg";

/// A package as the file `status` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct DpkgStatus {
    arch: String,
    version: String,
    status: String,
    title: Option<String>,
}

/// The actual places of diverted paths.
#[derive(Debug, Default)]
struct Diversions(Vec<Diversion>);

/// A path that is somewhere else for every package but one.
#[derive(Debug)]
struct Diversion {
    from: ObjectPath,
    to: ObjectPath,
    /// The package that diverts it, or `:` for the administrator.
    by: String,
}

impl Diversions {
    /// Parses the file `diversions`: three lines for each.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        let diversions = lines.chunks(3).map(|three| match three {
            [from, to, by] => {
                let path = |line: &[u8]| ObjectPath::new(line).map_err(|error| error.to_string());
                let by = String::from_utf8_lossy(by).into_owned();
                Ok(Diversion { from: path(from)?, to: path(to)?, by })
            }
            _ => Err("it does not have three lines for each diversion".to_owned()),
        });
        Ok(Self(diversions.collect::<Result<_, _>>()?))
    }

    /// Returns the actual place of a path of a package.
    fn place_of(&self, package: &str, path: ObjectPath) -> ObjectPath {
        let found = self.0.iter().find(|diversion| diversion.from == path && diversion.by != package);
        found.map_or(path, |diversion| diversion.to.clone())
    }
}

/// Lists a package, `NAME` or `NAME:ARCH`.
pub(super) fn listed(root: &Root, package: &str) -> Result<SoftwareList, Failure> {
    let bad = |reason: String| Failure::BadFile(format!("dpkg package {package}: {reason}"));
    let (name, arch) = package.split_once(':').map_or((package, None), |(name, arch)| (name, Some(arch)));
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    if !is_word(name) || !arch.is_none_or(is_word) {
        return Err(bad("that is no name of a package".to_owned()));
    }
    let Some(status) = record(root, "status")? else {
        let place = ObjectPath::new(RECORDS.as_bytes()).map(|path| root.show(&path)).unwrap_or_default();
        return Err(bad(format!("there are no records of dpkg in {place}")));
    };
    let found = status_of(&status, name, arch).map_err(&bad)?;
    let both = format!("{name}:{}", found.arch);
    let of = |suffix: &str| -> Result<Option<Vec<u8>>, Failure> {
        match record(root, &format!("info/{both}.{suffix}"))? {
            Some(text) => Ok(Some(text)),
            None => record(root, &format!("info/{name}.{suffix}")),
        }
    };
    let text = of("list")?.ok_or_else(|| bad("there is no list of its paths".to_owned()))?;
    let diversions = Diversions::parse(&record(root, "diversions")?.unwrap_or_default());
    let diversions = diversions.map_err(|reason| bad(format!("diversions: {reason}")))?;
    let listed = paths_of(&text).map_err(|reason| bad(format!("its list: {reason}")))?;
    let mut paths: BTreeMap<ObjectPath, Ftype> =
        listed.into_iter().map(|(path, ftype)| (diversions.place_of(name, path), ftype)).collect();
    for path in conffiles(&of("conffiles")?.unwrap_or_default()) {
        if let Some(ftype) = paths.get_mut(&diversions.place_of(name, path)) {
            *ftype = Ftype::Editable;
        }
    }
    let sums = md5sums(&of("md5sums")?.unwrap_or_default());
    Ok(SoftwareList {
        adopted: format!("dpkg {both}"),
        pkg: Some(package_name("DEB", name)),
        version: Some(found.version),
        arch: Some(found.arch),
        title: found.title,
        paths,
        md5: sums.into_iter().map(|(path, sum)| (diversions.place_of(name, path), sum)).collect(),
        ..SoftwareList::default()
    })
}

/// Returns a record of dpkg; `None` if it does not exist.
fn record(root: &Root, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let path = ObjectPath::new(format!("{RECORDS}/{name}").as_bytes());
    let path = path.map_err(|error| Failure::BadFile(error.to_string()))?;
    Ok(root.read(&path, LARGEST_RECORD)?)
}

/// Finds an installed package. One with several architectures has to be named with its own.
fn status_of(text: &[u8], name: &str, arch: Option<&str>) -> Result<DpkgStatus, String> {
    let text = String::from_utf8_lossy(text);
    let stanzas = text.split("\n\n").filter_map(|stanza| status_in(stanza, name));
    let found: Vec<DpkgStatus> =
        stanzas.filter(|one| arch.is_none_or(|arch| one.arch == arch) && is_installed(one)).collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err("dpkg has not installed it".to_owned()),
        several => {
            let archs: Vec<&str> = several.iter().map(|one| one.arch.as_str()).collect();
            Err(format!(
                "it is installed for several architectures: {}; name it as NAME:ARCH",
                archs.join(" ")
            ))
        }
    }
}

fn is_installed(one: &DpkgStatus) -> bool {
    one.status.split_whitespace().nth(2) == Some("installed")
}

/// Reads a stanza of `status`, if it is that of the package.
fn status_in(stanza: &str, name: &str) -> Option<DpkgStatus> {
    let value = |field: &str| {
        let mut lines = stanza.lines();
        let line = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    };
    (value("Package")? == name).then(|| DpkgStatus {
        arch: value("Architecture").unwrap_or_default(),
        version: value("Version").unwrap_or_default(),
        status: value("Status").unwrap_or_default(),
        title: value("Description").filter(|title| !title.is_empty()),
    })
}

/// Returns the existing conffiles. Skips lines with words before the path: an upgrade removes their files.
fn conffiles(text: &[u8]) -> impl Iterator<Item = ObjectPath> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"/"));
    lines.filter_map(|line| ObjectPath::new(line.trim_ascii_end()).ok())
}

/// Returns the sums, by path. Skips invalid lines.
fn md5sums(text: &[u8]) -> Vec<(ObjectPath, Md5Sum)> {
    let lines = text.split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| {
            let (sum, path) = line.split_at_checked(32)?;
            let path = [b"/", path.strip_prefix(b"  ")?].concat();
            Some((ObjectPath::new(&path).ok()?, sum_of(sum)?))
        })
        .collect()
}

fn sum_of(digits: &[u8]) -> Option<Md5Sum> {
    let mut sum = Md5Sum::default();
    for (byte, two) in sum.iter_mut().zip(digits.chunks(2)) {
        let text = std::str::from_utf8(two)
            .ok()
            .filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: web\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.0-1\n\
                          Description: a web server\n of two lines\n\n\
                          Package: lib\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n\
                          Package: lib\nStatus: install ok installed\nArchitecture: i386\nVersion: 1\n\n\
                          Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n";

    fn at(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_installed_package_is_found_and_one_of_two_architectures_has_to_be_named() {
        let web = status_of(STATUS.as_bytes(), "web", None).unwrap();
        assert_eq!((web.version.as_str(), web.title.as_deref()), ("1:2.0-1", Some("a web server")));
        assert_eq!(status_of(STATUS.as_bytes(), "lib", Some("i386")).unwrap().arch, "i386");
        assert!(status_of(STATUS.as_bytes(), "lib", None).unwrap_err().contains("amd64 i386"));
        for name in ["gone", "we", "nothing"] {
            assert_eq!(status_of(STATUS.as_bytes(), name, None).unwrap_err(), "dpkg has not installed it");
        }
    }

    #[test]
    fn a_diverted_path_lies_elsewhere_for_all_but_who_diverts_it() {
        let text = b"/bin/sh\n/bin/sh.distrib\ndash\n/bin/x\n/bin/x.real\n:\n";
        let diversions = Diversions::parse(text).unwrap();
        assert_eq!(diversions.place_of("bash", at("/bin/sh")), at("/bin/sh.distrib"));
        assert_eq!(diversions.place_of("dash", at("/bin/sh")), at("/bin/sh"));
        assert_eq!(diversions.place_of("x", at("/bin/x")), at("/bin/x.real"));
        assert!(Diversions::parse(b"/a\n/b\n").is_err());
    }

    #[test]
    fn sums_and_conffiles_are_those_of_whole_lines() {
        let sums = md5sums(
            b"d41d8cd98f00b204e9800998ecf8427e  usr/empty\nshort  x\nzz1d8cd98f00b204e9800998ecf8427e  y\n",
        );
        assert_eq!(sums.len(), 1);
        assert_eq!((&sums[0].0, sums[0].1[0]), (&at("/usr/empty"), 0xd4));
        let files: Vec<ObjectPath> = conffiles(b"/etc/a\nremove-on-upgrade /etc/b\n\n").collect();
        assert_eq!(files, [at("/etc/a")]);
    }
}
