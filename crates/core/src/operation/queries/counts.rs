//! The number of objects of each kind in a package, and the space that they take: the FILES of pkginfo(1).

use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{ContentsLine, Ftype, Object, OwnerStatus, PkgInst};

/// The size of a block in bytes.
const BLOCK: u64 = 512;

/// Objects of a package by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ObjectCounts {
    /// Everything that is installed or spooled.
    pub pathnames: u64,
    /// Partially installed objects.
    pub partial: u64,
    /// Objects that other packages own as well.
    pub shared: u64,
    /// Hard links; symbolic links are not counted.
    pub links: u64,
    /// Directories.
    pub directories: u64,
    /// Executable regular files.
    pub executables: u64,
    /// Objects with a setuid or setgid bit.
    pub set_id: u64,
    /// Files of the package itself.
    pub information: u64,
    /// Space in blocks of 512 bytes, each file rounded up; information files are not counted.
    pub blocks: u64,
}

impl ObjectCounts {
    /// Counts an object of an installed package, if the package owns it.
    pub fn add_line(&mut self, line: &ContentsLine, package: &PkgInst) {
        let Some(owner) = line.owners.iter().find(|owner| owner.package == *package) else { return };
        self.pathnames += 1;
        self.partial += u64::from(owner.status == Some(OwnerStatus::Partial));
        self.shared += u64::from(line.owners.len() > 1);
        self.add_object(&line.object);
    }

    /// Counts everything that a spooled package delivers. As in the classic tools, the `pkgmap` itself counts as a pathname
    /// and as an information file.
    pub fn of_pkgmap(pkgmap: &Pkgmap) -> Self {
        let mut counts = Self { pathnames: 1, information: 1, ..Self::default() };
        for entry in &pkgmap.entries {
            counts.pathnames += 1;
            counts.information += u64::from(entry.is_information());
            counts.add_object(&entry.object);
        }
        counts
    }

    fn add_object(&mut self, object: &Object) {
        let mode = object.attributes.mode;
        let has = |bits| mode.is_some_and(|mode| mode.bits() & bits != 0);
        self.links += u64::from(object.ftype == Ftype::Link);
        self.directories += u64::from(object.ftype.is_directory());
        self.executables += u64::from(object.ftype.is_regular() && has(0o111));
        self.set_id += u64::from(has(0o6000));
        if object.ftype.is_regular() {
            self.blocks = self.blocks.saturating_add(object.content.size.unwrap_or(0).div_ceil(BLOCK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spooled_package_counts_as_the_classic_tools_do() {
        let pkgmap = Pkgmap::parse(
            b": 1 44\n1 d none bin 0755 root bin\n1 f none bin/stux 0755 root bin 700 2132 981173106\n\
              1 s none bin/stuxlink=stux\n1 i pkginfo 289 22457 1795158102\n1 d none share 0755 root bin\n\
              1 f none share/shared 0644 root bin 7 641 981173106\n",
        );
        let counts = ObjectCounts::of_pkgmap(&pkgmap.unwrap());
        let expected = ObjectCounts {
            pathnames: 7,
            directories: 2,
            executables: 1,
            information: 2,
            blocks: 3,
            ..ObjectCounts::default()
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn an_installed_package_counts_what_it_owns_and_with_whom() {
        let package = PkgInst::new("SUNWa").unwrap();
        let mut counts = ObjectCounts::default();
        for line in [
            "/a f none 4755 root bin 513 1 1 SUNWa SUNWb",
            "/b=a l none !SUNWa",
            "/c=a s none SUNWa",
            "/d x none 0755 root bin SUNWa",
            "/e f none 0755 root bin 513 1 1 SUNWb",
        ] {
            counts.add_line(&ContentsLine::parse(line.as_bytes()).unwrap(), &package);
        }
        let expected = ObjectCounts {
            pathnames: 4,
            partial: 1,
            shared: 1,
            links: 1,
            directories: 1,
            executables: 1,
            set_id: 1,
            information: 0,
            blocks: 2,
        };
        assert_eq!(counts, expected);
    }
}
