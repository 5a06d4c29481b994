//! The records of the installed packages before and after, by what they say: a backout may leave notes that a patch was there.

use std::collections::BTreeMap;

use patchadm_bulk_values::result::Digest;
use patchadm_rootfs::{FileType, Root, RootError};
use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::places;
use serde::{Deserialize, Serialize};

/// The largest record that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// What the records say.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RecordState {
    /// The lines about objects.
    contents: Digest,
    /// The parameters of each package.
    packages: BTreeMap<String, Vec<(String, Vec<u8>)>>,
}

impl RecordState {
    /// Reads the records of a root.
    pub(super) fn read(root: &Root) -> Result<Self, RootError> {
        let contents = root.read(&places::contents(), LARGEST)?.unwrap_or_default();
        let lines = contents.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#"));
        let contents = Digest::of(&lines.collect::<Vec<_>>().concat());
        let mut packages = BTreeMap::new();
        if let Some(dir) = root.dir_if_there(&places::packages())? {
            for name in dir.names()? {
                if dir.look(&name)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
                    continue;
                }
                let Some(text) = dir.dir(&name)?.read_regular(b"pkginfo", LARGEST)? else { continue };
                packages.insert(String::from_utf8_lossy(&name).into_owned(), said(&text));
            }
        }
        Ok(Self { contents, packages })
    }

    /// Returns which records of another state say something else.
    pub(super) fn differences(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.contents != after.contents {
            found.push(format!("{} says something else", places::contents()));
        }
        for name in self
            .packages
            .keys()
            .chain(after.packages.keys().filter(|name| !self.packages.contains_key(*name)))
        {
            if self.packages.get(name) != after.packages.get(name) {
                found.push(format!("the pkginfo of {name} says something else"));
            }
        }
        found
    }
}

/// Returns the parameters of a package, but for what a patch that was backed out may leave.
fn said(pkginfo: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(file) = ParamFile::parse(pkginfo) else { return vec![(String::new(), pkginfo.to_vec())] };
    let is_left = |name: &str, value: &[u8]| {
        (value.is_empty() && matches!(name, "PATCHLIST" | "PATCH_OBSOLETES"))
            || (name.starts_with("PATCH_INFO_") && value == b"backed out")
    };
    let params = file.params();
    let kept = params.iter().filter(|(name, value)| !is_left(name, value));
    kept.map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}
