//! The facts about packages in a stamp of `contents`: the pkginfo of each, as left by the last run that wrote it.
//!
//! The stamp proves nothing: anyone who may write the records may write the stamp. It shows what someone else has
//! changed since.
//!
//! ```text
//! <package> <number of the run> <BLAKE3 of pkginfo> s|-      in the order of their bytes; s: with a spooled copy
//!  <path>                                                    behind its package: given up, although the object stays
//! ```

use std::collections::{BTreeMap, BTreeSet};

use patchadm_rootfs::Digest;
use patchadm_svr4::package::{ObjectPath, PkgInst, escape, unescape};

/// A package as a run left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPackage {
    /// The number of the run.
    pub run: u64,
    /// The digest of its pkginfo.
    pub pkginfo: Digest,
    /// Whether it had the copy of its pkgmap in `save/pspool`.
    pub is_spooled: bool,
    /// The paths whose lines runs took from it while the objects stayed, as removef(1M) does.
    pub given_up: BTreeSet<ObjectPath>,
}

/// The packages about which facts are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundPackages(BTreeMap<PkgInst, BoundPackage>);

impl BoundPackages {
    /// Reads the lines of a stamp; returns `None` if they are malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut packages = Self::default();
        let mut last = None;
        let lines = bytes.strip_suffix(b"\n").map_or(&[][..], |lines| lines).split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(path) = line.strip_prefix(b" ") {
                let package: &PkgInst = last.as_ref()?;
                let path = ObjectPath::new(&unescape(path)).ok()?;
                packages.0.get_mut(package)?.given_up.insert(path);
                continue;
            }
            let (name, bound) = package_of(std::str::from_utf8(line).ok()?)?;
            last = Some(name.clone());
            packages.set(name, bound);
        }
        (bytes.is_empty() || bytes.ends_with(b"\n")).then_some(packages)
    }

    /// Returns the lines of a stamp.
    pub fn write(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (name, bound) in &self.0 {
            let copy = if bound.is_spooled { "s" } else { "-" };
            lines.extend_from_slice(format!("{name} {} {} {copy}\n", bound.run, bound.pkginfo).as_bytes());
            for path in &bound.given_up {
                lines.push(b' ');
                lines.extend_from_slice(&escape(path.as_bytes()));
                lines.push(b'\n');
            }
        }
        lines
    }

    /// Returns the facts about a package.
    pub fn get(&self, package: &PkgInst) -> Option<&BoundPackage> {
        self.0.get(package)
    }

    /// Returns the facts about a package, for changes.
    pub fn get_mut(&mut self, package: &PkgInst) -> Option<&mut BoundPackage> {
        self.0.get_mut(package)
    }

    /// Iterates over all packages, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&PkgInst, &BoundPackage)> {
        self.0.iter()
    }

    /// Records the facts about a package.
    pub fn set(&mut self, package: PkgInst, bound: BoundPackage) {
        self.0.insert(package, bound);
    }

    /// Removes the facts about a package that is being removed.
    pub fn remove(&mut self, package: &PkgInst) {
        self.0.remove(package);
    }
}

/// Returns the package of a line.
fn package_of(line: &str) -> Option<(PkgInst, BoundPackage)> {
    let mut words = line.split(' ');
    let name = PkgInst::new(words.next()?).ok()?;
    let run = words.next()?.parse().ok()?;
    let pkginfo = Digest::from_hex(words.next()?)?;
    let is_spooled = match words.next()? {
        "s" => true,
        "-" => false,
        _ => return None,
    };
    let bound = BoundPackage { run, pkginfo, is_spooled, given_up: BTreeSet::new() };
    words.next().is_none().then_some((name, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let mut packages = BoundPackages::default();
        for (name, is_spooled) in [("X.2", true), ("ACMEweb", false), ("GONE", true)] {
            let paths: &[&[u8]] = if is_spooled { &[b"/opt/a b\n", b"/opt/c"] } else { &[] };
            let given_up = paths.iter().map(|path| ObjectPath::new(path).unwrap()).collect();
            let bound = BoundPackage { run: u64::MAX, pkginfo: Digest([7; 32]), is_spooled, given_up };
            packages.set(PkgInst::new(name).unwrap(), bound);
        }
        packages.remove(&PkgInst::new("GONE").unwrap());
        let text = packages.write();
        assert_eq!(BoundPackages::parse(&text), Some(packages.clone()));
        assert_eq!(packages.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["ACMEweb", "X.2"]);
        let text = String::from_utf8(text).unwrap();
        for (from, to) in [
            ("ACMEweb", "../x"),
            (" -", ""),
            (" -", " x"),
            (" -", " - -"),
            ("07", "xy"),
            (" 1", " a"),
            (" /opt/c", " opt/c"),
        ] {
            assert_eq!(BoundPackages::parse(text.replacen(from, to, 1).as_bytes()), None, "{from} {to}");
        }
        assert_eq!(BoundPackages::parse(b""), Some(BoundPackages::default()));
        for odd in [&b" /opt/c\n"[..], b"X.2", b"ACMEweb 1\n"] {
            assert_eq!(BoundPackages::parse(odd), None, "{odd:?}");
        }
    }
}
