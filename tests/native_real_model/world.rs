//! Packages of a story: three of them in three versions, between which paths move.

use std::collections::BTreeMap;

use crate::random::Random;

pub(super) const NAMES: [&str; 3] = ["pa", "pb", "pc"];
pub(super) const VERSIONS: [u32; 3] = [1, 2, 3];

/// The paths that a version of any package may have, spelled without links.
const SHARED: [&str; 7] = [
    "/usr/bin/t",
    "/usr/lib/m/a",
    "/usr/lib/m/b",
    "/usr/lib/m/deep/c",
    "/usr/share/m/d",
    "/usr/share/m/deep/e",
    "/usr/share/m/deep/f",
];

/// A file of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// As the package spells it.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) text: String,
}

/// A version of a package.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub(super) files: Vec<File>,
    /// The packages whose files it may take over.
    pub(super) replaces: Vec<&'static str>,
}

/// The packages of a story.
pub(super) struct World {
    versions: BTreeMap<(&'static str, u32), Version>,
}

impl World {
    /// The packages for a number.
    pub(super) fn of(number: u64) -> Self {
        let random = &mut Random(0x0011_d000 + number);
        let mut owners: BTreeMap<&str, &'static str> =
            SHARED.iter().map(|path| (*path, *random.one(&NAMES))).collect();
        let mut spellings: BTreeMap<&str, String> =
            SHARED.iter().map(|path| (*path, spelled(path, random))).collect();
        let mut versions: BTreeMap<(&'static str, u32), Version> = BTreeMap::new();
        for version in VERSIONS {
            for path in SHARED {
                let before = owners[path];
                if version > 1 && random.once_in(3) {
                    owners.insert(path, *random.one(&NAMES));
                }
                if random.once_in(5) {
                    spellings.insert(path, spelled(path, random));
                }
                let name = owners[path];
                let mode = if path == "/usr/bin/t" { *random.one(&[0o4755, 0o755]) } else { 0o644 };
                let file = File { path: spellings[path].clone(), mode, text: native(name, version, path) };
                let made = versions.entry((name, version)).or_default();
                // Now and then, a path is in no version, or in one that may not have it.
                if random.once_in(8) {
                    continue;
                }
                made.files.push(file);
                if before != name && !random.once_in(4) && !made.replaces.contains(&before) {
                    made.replaces.push(before);
                }
            }
            for name in NAMES {
                let made = versions.entry((name, version)).or_default();
                let setting = if version == 3 { 3 } else { 1 };
                let own = [
                    (format!("/usr/share/{name}/own"), native(name, version, "own")),
                    // The same content in each version.
                    (format!("/lib/{name}/same"), format!("native {name} any same\n")),
                    (format!("/etc/{name}.conf"), format!("native {name} any setting={setting}\n")),
                ];
                made.files.extend(own.map(|(path, text)| File { path, mode: 0o644, text }));
            }
        }
        Self { versions }
    }

    pub(super) fn version(&self, name: &str, version: u32) -> &Version {
        let found = self.versions.iter().find(|((known, number), _)| *known == name && *number == version);
        found.map(|(_, version)| version).unwrap()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u32, &Version)> {
        self.versions.iter().map(|((name, number), version)| (*name, *number, version))
    }
}

/// The bytes of a file of a version.
fn native(name: &str, version: u32, path: &str) -> String {
    format!("native {name} {version} {path}\n")
}

/// A path in one of its spellings.
pub(super) fn spelled(path: &str, random: &mut Random) -> String {
    let other = ["/usr/lib/", "/usr/bin/"].iter().any(|start| path.starts_with(start));
    if other && random.once_in(3) { path["/usr".len()..].to_owned() } else { path.to_owned() }
}

/// A path that a patch may add, regardless of its owner.
pub(super) fn any_shared(random: &mut Random) -> String {
    let path = *random.one(&SHARED);
    spelled(path, random)
}
