//! The file `status` of dpkg (deb822(5), dpkg-query(1)), which has hundreds of thousands of lines.

use std::collections::BTreeMap;

use super::deb_file::{DebRelation, parse_relations};
use crate::native::package_cache::{MOST_OF_NAME, MOST_PACKAGES};
use crate::native::{FileSum, UnfinishedChange};
use patchadm_svr4::package::ObjectPath;

/// The largest of Debian have 50 KB.
const LARGEST_STANZA: usize = 1 << 20;

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

/// Entries by name, in the order of the file.
pub(super) fn entries(text: &[u8]) -> Result<BTreeMap<String, Vec<DpkgStatus>>, String> {
    let mut found: BTreeMap<String, Vec<DpkgStatus>> = BTreeMap::new();
    for (at, stanza) in stanzas(text).enumerate() {
        if at >= MOST_PACKAGES {
            return Err(format!("it has more than {MOST_PACKAGES} entries"));
        }
        let Some(name) = name_of(stanza) else { continue };
        if stanza.len() > LARGEST_STANZA {
            return Err(format!("the entry of {} is larger than 1 MiB", name.escape_debug()));
        }
        let of_name = found.entry(name.to_owned()).or_default();
        if of_name.len() == MOST_OF_NAME {
            return Err(format!("it has more than {MOST_OF_NAME} entries of {}", name.escape_debug()));
        }
        of_name.push(DpkgStatus::read(stanza));
    }
    Ok(found)
}

pub(super) fn present(text: &[u8]) -> impl Iterator<Item = (String, DpkgStatus)> {
    known(text).filter(|(_, found)| found.standing() != DpkgStanding::Gone)
}

fn known(text: &[u8]) -> impl Iterator<Item = (String, DpkgStatus)> {
    let named = stanzas(text).filter_map(|stanza| Some((name_of(stanza)?, stanza)));
    named.map(|(name, stanza)| (name.to_owned(), DpkgStatus::read(stanza)))
}

/// Calls `visit` for each installed package, with the names that it replaces or provides.
pub(super) fn each_replacement(
    text: &[u8],
    mut visit: impl FnMut(String, DpkgStatus, Vec<DebRelation>) -> Result<(), String>,
) -> Result<(), String> {
    let is_relation = |line: &&[u8]| line.starts_with(b"Replaces:") || line.starts_with(b"Provides:");
    for stanza in stanzas(text) {
        let Some(name) = name_of(stanza) else { continue };
        let fields = stanza.split(|&byte| byte == b'\n').filter(is_relation);
        let relations: Vec<DebRelation> =
            fields.flat_map(|field| parse_relations(&String::from_utf8_lossy(field))).collect();
        if relations.is_empty() {
            continue;
        }
        let found = DpkgStatus::read(stanza);
        if found.standing() == DpkgStanding::Installed {
            visit(name.to_owned(), found, relations)?;
        }
    }
    Ok(())
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
        entries(STATUS.as_bytes()).unwrap().remove(name).unwrap_or_default()
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
            let mut found = Vec::new();
            let visit = |by: String, _: DpkgStatus, relations: Vec<DebRelation>| {
                found.extend(relations.iter().any(|one| one.name == name).then_some(by));
                Ok(())
            };
            each_replacement(text.as_bytes(), visit).unwrap();
            found
        };
        assert_eq!(names("libssl3"), ["libssl3t64"]);
        assert_eq!(names("libx"), ["other"]);
        assert_eq!(names("libssl"), Vec::<String>::new());
    }

    #[test]
    fn entries_are_bounded_in_number_and_size() {
        let many = "Package: web\n\n".repeat(MOST_OF_NAME + 1);
        assert_eq!(entries(many.as_bytes()).unwrap_err(), "it has more than 1000 entries of web");
        let large = format!("Package: web\nDescription: {}\n", "x".repeat(LARGEST_STANZA));
        assert_eq!(entries(large.as_bytes()).unwrap_err(), "the entry of web is larger than 1 MiB");
        let numbered = |number: usize| format!("Package: w{number}\n\n");
        let all: String = (0..=MOST_PACKAGES).map(numbered).collect();
        assert_eq!(entries(all.as_bytes()).unwrap_err(), "it has more than 200000 entries");
        let fitting: String = (0..MOST_PACKAGES).map(numbered).collect();
        assert_eq!(entries(fitting.as_bytes()).unwrap().len(), MOST_PACKAGES);
    }

    #[test]
    fn every_package_that_is_not_gone_comes_in_the_order_of_the_file() {
        let found: Vec<String> =
            present(STATUS.as_bytes()).map(|(name, one)| format!("{name}:{}", one.arch)).collect();
        assert_eq!(found, ["web:amd64", "lib:amd64", "lib:i386"]);
    }
}
