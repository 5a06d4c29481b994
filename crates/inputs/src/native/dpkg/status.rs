//! The file `status` of dpkg (deb822(5), dpkg-query(1)). It has hundreds of thousands of lines, so only requested
//! packages are parsed beyond their names.

use std::collections::BTreeMap;

use super::deb_file::parse_relations;
use crate::native::{FileSum, UnfinishedChange};
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DpkgStatus {
    pub arch: String,
    /// `Multi-Arch: same`: several architectures may be installed at once.
    pub is_same: bool,
    pub version: String,
    /// Three words: wanted state, need of reinstallation, present state.
    pub status: String,
    /// The first line of the description.
    pub title: Option<String>,
    /// With the sums that they were delivered with.
    pub conffiles: BTreeMap<ObjectPath, FileSum>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DpkgStanding {
    Installed,
    Busy(UnfinishedChange),
    Gone,
}

impl DpkgStatus {
    /// `hold`, `install` and other wishes do not count.
    pub(super) fn standing(&self) -> DpkgStanding {
        let mut words = self.status.split_whitespace().skip(1);
        match (words.next(), words.next()) {
            (_, Some("config-files" | "not-installed")) => DpkgStanding::Gone,
            (Some("ok"), Some("installed")) => DpkgStanding::Installed,
            (Some("ok"), Some("unpacked" | "half-configured" | "triggers-awaited" | "triggers-pending")) => {
                DpkgStanding::Busy(UnfinishedChange::Configure)
            }
            _ => DpkgStanding::Busy(UnfinishedChange::Reinstall),
        }
    }

    /// Ignores a stanza without version or status.
    fn read(stanza: &[u8]) -> Self {
        let mut found = Self::default();
        let mut is_in_conffiles = false;
        for line in stanza.split(|&byte| byte == b'\n') {
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                if is_in_conffiles {
                    found.conffiles.extend(conffile(line));
                }
                continue;
            }
            is_in_conffiles = false;
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (field, value) = line.split_at(colon);
            let value = || String::from_utf8_lossy(value.get(1..).unwrap_or_default()).trim().to_owned();
            match field {
                b"Architecture" => found.arch = value(),
                b"Multi-Arch" => found.is_same = value() == "same",
                b"Version" => found.version = value(),
                b"Status" => found.status = value(),
                b"Description" => found.title = Some(value()).filter(|title| !title.is_empty()),
                b"Conffiles" => is_in_conffiles = true,
                _ => {}
            }
        }
        found
    }
}

/// Parses ` PATH SUM [obsolete]`. Conffiles that an upgrade will remove have no sum yet.
fn conffile(line: &[u8]) -> Option<(ObjectPath, FileSum)> {
    let text = line.trim_ascii();
    let text = text.strip_suffix(b" obsolete").unwrap_or(text);
    let blank = text.iter().rposition(|&byte| byte == b' ')?;
    let (path, sum) = text.split_at(blank);
    Some((ObjectPath::new(path.trim_ascii()).ok()?, FileSum::parse(sum.get(1..)?)?))
}

pub(super) fn entries<'n>(
    text: &[u8],
    is_wanted: impl Fn(&str) -> Option<&'n str>,
) -> BTreeMap<&'n str, Vec<DpkgStatus>> {
    let mut found: BTreeMap<&str, Vec<DpkgStatus>> = BTreeMap::new();
    for stanza in stanzas(text) {
        if let Some(name) = name_of(stanza).and_then(&is_wanted) {
            found.entry(name).or_default().push(DpkgStatus::read(stanza));
        }
    }
    found
}

pub(super) fn present(text: &[u8]) -> impl Iterator<Item = (String, DpkgStatus)> {
    known(text).filter(|(_, found)| found.standing() != DpkgStanding::Gone)
}

pub(super) fn known(text: &[u8]) -> impl Iterator<Item = (String, DpkgStatus)> {
    let named = stanzas(text).filter_map(|stanza| Some((name_of(stanza)?, stanza)));
    named.map(|(name, stanza)| (name.to_owned(), DpkgStatus::read(stanza)))
}

pub(super) fn successors(text: &[u8], name: &str) -> Vec<(String, DpkgStatus)> {
    let is_relation = |line: &&[u8]| line.starts_with(b"Replaces:") || line.starts_with(b"Provides:");
    let names_it = |stanza: &[u8]| {
        let mut fields = stanza.split(|&byte| byte == b'\n').filter(is_relation);
        fields
            .any(|field| parse_relations(&String::from_utf8_lossy(field)).iter().any(|one| one.name == name))
    };
    let named = stanzas(text).filter_map(|stanza| Some((name_of(stanza)?, stanza)));
    let others = named.filter(|(other, stanza)| *other != name && names_it(stanza));
    let read = others.map(|(other, stanza)| (other.to_owned(), DpkgStatus::read(stanza)));
    read.filter(|(_, found)| found.standing() == DpkgStanding::Installed).collect()
}

pub(super) fn names(text: &[u8]) -> impl Iterator<Item = &str> {
    stanzas(text).filter_map(name_of)
}

fn stanzas(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let stanza;
        (stanza, rest) = (!rest.is_empty()).then(|| next_stanza(rest))?;
        Some(stanza)
    })
}

fn next_stanza(text: &[u8]) -> (&[u8], &[u8]) {
    match text.windows(2).position(|two| two == b"\n\n") {
        Some(end) => {
            let (stanza, rest) = text.split_at(end);
            (stanza, rest.trim_ascii_start())
        }
        None => (text, &[]),
    }
}

/// dpkg writes the name first.
fn name_of(stanza: &[u8]) -> Option<&str> {
    let mut lines = stanza.split(|&byte| byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"Package:"))?;
    std::str::from_utf8(line).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: web\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.0-1\n\
                          Conffiles:\n /etc/web.conf d41d8cd98f00b204e9800998ecf8427e\n /etc/a b d41d8cd98f00b204e9800998ecf8427e obsolete\n \
                          /etc/new newconffile\n\
                          Description: a web server\n of two lines\n\n\
                          Package: lib\nStatus: hold ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\n\n\
                          Package: lib\nStatus: install ok half-configured\nArchitecture: i386\nVersion: 1\n\n\
                          Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n";

    fn found(name: &str) -> Vec<DpkgStatus> {
        entries(STATUS.as_bytes(), |one| (one == name).then_some("it")).remove("it").unwrap_or_default()
    }

    #[test]
    fn a_package_is_found_with_what_dpkg_says_of_it() {
        let [web] = found("web").try_into().unwrap();
        assert_eq!((web.version.as_str(), web.title.as_deref()), ("1:2.0-1", Some("a web server")));
        assert_eq!(web.standing(), DpkgStanding::Installed);
        let paths: Vec<String> = web.conffiles.keys().map(ToString::to_string).collect();
        assert_eq!(paths, ["/etc/a b", "/etc/web.conf"]);
        assert!(found("we").is_empty());
    }

    #[test]
    fn a_held_package_is_installed_and_one_in_between_is_busy() {
        let standings: Vec<DpkgStanding> = found("lib").iter().map(DpkgStatus::standing).collect();
        let configure = DpkgStanding::Busy(UnfinishedChange::Configure);
        let reinstall = DpkgStanding::Busy(UnfinishedChange::Reinstall);
        assert_eq!(standings, [DpkgStanding::Installed, configure]);
        let same: Vec<bool> = found("lib").iter().map(|one| one.is_same).collect();
        assert_eq!(same, [true, false]);
        assert_eq!(found("gone")[0].standing(), DpkgStanding::Gone);
        for (status, standing) in [
            ("install reinstreq installed", reinstall),
            ("install ok half-installed", reinstall),
            ("install ok unpacked", configure),
            ("install ok triggers-pending", configure),
            ("purge ok not-installed", DpkgStanding::Gone),
            ("", reinstall),
        ] {
            let one = DpkgStatus { status: status.to_owned(), ..DpkgStatus::default() };
            assert_eq!(one.standing(), standing, "{status}");
        }
    }

    #[test]
    fn a_successor_says_that_it_replaces_or_provides_the_package() {
        let text = "Package: libssl3t64\nStatus: install ok installed\nVersion: 2\nArchitecture: amd64\n\
                    Replaces: libssl3 (<< 2), libssl-old\n\n\
                    Package: other\nStatus: install ok installed\nVersion: 1\nProvides: libssl30, libx (= 1)\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nProvides: libssl3\n";
        let names = |name: &str| -> Vec<String> {
            successors(text.as_bytes(), name).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("libssl3"), ["libssl3t64"]);
        assert_eq!(names("libx"), ["other"]);
        assert_eq!(names("libssl"), Vec::<String>::new());
    }

    #[test]
    fn every_package_that_is_not_gone_comes_in_the_order_of_the_file() {
        let found: Vec<String> =
            present(STATUS.as_bytes()).map(|(name, one)| format!("{name}:{}", one.arch)).collect();
        assert_eq!(found, ["web:amd64", "lib:amd64", "lib:i386"]);
    }
}
