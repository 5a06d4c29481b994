//! What a stamp of `contents` says of packages: the pkginfo of each as the last run that wrote it left it.
//!
//! It is no proof of anything: whoever may write the records may write the stamp. It tells what somebody else changed
//! since.
//!
//! ```text
//! <package> <number of the run> <BLAKE3 of pkginfo> s|-      in the order of their bytes; s: with a spooled copy
//! ```

use std::collections::BTreeMap;

use patchadm_rootfs::Digest;
use patchadm_svr4::package::PkgInst;

/// A package as a run left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundPackage {
    /// The number of the run.
    pub run: u64,
    /// The digest of its pkginfo.
    pub pkginfo: Digest,
    /// Whether it had the copy of its pkgmap in `save/pspool`.
    pub is_spooled: bool,
}

/// The packages of which something is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundPackages(BTreeMap<PkgInst, BoundPackage>);

impl BoundPackages {
    /// Reads the lines of a stamp; none where they are no such lines.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let package = |line: &str| {
            let mut words = line.split(' ');
            let name = PkgInst::new(words.next()?).ok()?;
            let run = words.next()?.parse().ok()?;
            let pkginfo = Digest::from_hex(words.next()?)?;
            let is_spooled = match words.next()? {
                "s" => true,
                "-" => false,
                _ => return None,
            };
            words.next().is_none().then_some((name, BoundPackage { run, pkginfo, is_spooled }))
        };
        text.lines().map(package).collect::<Option<_>>().map(Self)
    }

    /// The lines of a stamp.
    pub fn write(&self) -> Vec<u8> {
        let line = |(name, bound): (&PkgInst, &BoundPackage)| {
            let copy = if bound.is_spooled { "s" } else { "-" };
            format!("{name} {} {} {copy}\n", bound.run, bound.pkginfo)
        };
        self.0.iter().map(line).collect::<String>().into_bytes()
    }

    /// What is known of a package.
    pub fn get(&self, package: &PkgInst) -> Option<&BoundPackage> {
        self.0.get(package)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&PkgInst, &BoundPackage)> {
        self.0.iter()
    }

    /// Notes a package.
    pub fn set(&mut self, package: PkgInst, bound: BoundPackage) {
        self.0.insert(package, bound);
    }

    /// Forgets a package that goes.
    pub fn remove(&mut self, package: &PkgInst) {
        self.0.remove(package);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let mut packages = BoundPackages::default();
        for (name, is_spooled) in [("X.2", true), ("ACMEweb", false), ("GONE", true)] {
            let bound = BoundPackage { run: u64::MAX, pkginfo: Digest([7; 32]), is_spooled };
            packages.set(PkgInst::new(name).unwrap(), bound);
        }
        packages.remove(&PkgInst::new("GONE").unwrap());
        let text = packages.write();
        assert_eq!(BoundPackages::parse(&text), Some(packages.clone()));
        assert_eq!(packages.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["ACMEweb", "X.2"]);
        let text = String::from_utf8(text).unwrap();
        for (from, to) in
            [("ACMEweb", "../x"), (" -", ""), (" -", " x"), (" -", " - -"), ("07", "xy"), (" 1", " a")]
        {
            assert_eq!(BoundPackages::parse(text.replacen(from, to, 1).as_bytes()), None, "{from} {to}");
        }
        assert_eq!(BoundPackages::parse(b""), Some(BoundPackages::default()));
    }
}
