//! The packages of both directories by the source that they were built from.
//!
//! All packages of a source belong together: they are patched in one patch, or none of them is. The source of an
//! unreadable file is not known. The file is taken for a package of the other directory that its own directory lacks
//! and that its name begins with. So a damaged file stops its own source and no other one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inputs::InputFile;
use crate::build::{ReleaseSide, UnpairedPackage};
use crate::release::ReleaseError;

/// The packages of one source.
#[derive(Debug, Default)]
pub(super) struct SourcePackages {
    /// The packages that both directories have, by name and architecture, and whether their files are the same.
    pub(super) pairs: BTreeMap<(String, String), bool>,
    /// The packages that one directory lacks, sorted.
    pub(super) unpaired: Vec<UnpairedPackage>,
    /// The numbers of the files that hold them.
    pub(super) files: BTreeSet<usize>,
    /// A file that is taken for one of them and cannot be read.
    pub(super) damage: Option<Arc<ReleaseError>>,
}

/// The sources of both directories.
#[derive(Debug, Default)]
pub(super) struct SourceTable {
    /// The sources by name.
    pub(super) sources: BTreeMap<String, SourcePackages>,
    /// The files that cannot be read and belong to no source, by their names.
    pub(super) strays: BTreeMap<String, Arc<ReleaseError>>,
}

/// The files of a package in each directory.
#[derive(Default)]
struct PackageFiles {
    from: Vec<usize>,
    to: Vec<usize>,
}

impl SourceTable {
    /// Sorts packages by their sources.
    pub(super) fn of(files: &[InputFile]) -> Self {
        let mut table = Self::default();
        for (name, packages) in by_source(files) {
            let source = table.sources.entry(name).or_default();
            for ((name, arch), PackageFiles { from, to }) in packages {
                source.files.extend(from.iter().chain(&to));
                let side = match (&from[..], &to[..]) {
                    ([], _) => ReleaseSide::To,
                    (_, []) => ReleaseSide::From,
                    (from, to) => {
                        source.pairs.insert((name, arch), is_same(files, from, to));
                        continue;
                    }
                };
                source.unpaired.push(UnpairedPackage { name, arch, side });
            }
            source.unpaired.sort();
        }
        table.blame(files);
        table
    }

    /// Finds the sources of the files that cannot be read.
    fn blame(&mut self, files: &[InputFile]) {
        for file in files {
            let Err(error) = &file.content else { continue };
            let lacking = self.sources.iter().filter(|(_, source)| source.lacks(file.side, ""));
            let lacking: Vec<String> = lacking.map(|(name, _)| name.clone()).collect();
            let named: Vec<String> = lacking
                .iter()
                .filter(|name| self.sources.get(*name).is_some_and(|one| one.lacks(file.side, &file.name())))
                .cloned()
                .collect();
            let blamed = if named.is_empty() { lacking } else { named };
            if blamed.is_empty() {
                self.strays.insert(file.name(), error.clone());
            }
            for name in blamed {
                if let Some(source) = self.sources.get_mut(&name) {
                    source.damage.get_or_insert_with(|| error.clone());
                }
            }
        }
    }
}

impl SourcePackages {
    /// Tells whether nothing differs, as far as that is seen without opening anything.
    pub(super) fn is_same(&self) -> bool {
        self.pairs.values().all(|is_same| *is_same)
    }

    /// Returns the digests of the files on one side.
    pub(super) fn digests<'f>(
        &self,
        files: &'f [InputFile],
        side: ReleaseSide,
    ) -> impl Iterator<Item = String> + use<'_, 'f> {
        let of_side =
            self.files.iter().filter_map(move |at| files.get(*at)).filter(move |file| file.side == side);
        of_side.filter_map(|file| Some(file.content.as_ref().ok()?.digest.sha256.clone()))
    }

    /// Returns the bytes of all its files.
    pub(super) fn size(&self, files: &[InputFile]) -> u64 {
        let contents = self.files.iter().filter_map(|at| files.get(*at)?.content.as_ref().ok());
        contents.map(|content| content.digest.size).sum()
    }

    /// Returns the same of packages that have to be opened: none where the files of both directories are the same.
    pub(super) fn size_to_read(&self, files: &[InputFile]) -> u64 {
        if self.is_same() { 0 } else { self.size(files) }
    }

    /// Tells whether a directory lacks a package that the other one has and that a file may be by its name; of the empty
    /// name every package.
    fn lacks(&self, side: ReleaseSide, file: &str) -> bool {
        let is_of = |name: &str| {
            let rest = file.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-', '.']))
        };
        self.unpaired.iter().any(|one| one.side != side && (file.is_empty() || is_of(&one.name)))
    }
}

/// The files of each package, by source, name and architecture.
type PackagesOfSource = BTreeMap<(String, String), PackageFiles>;

fn by_source(files: &[InputFile]) -> BTreeMap<String, PackagesOfSource> {
    let mut found: BTreeMap<String, PackagesOfSource> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        for package in file.content.iter().flat_map(|content| &content.packages) {
            let key = (package.name.clone(), package.arch.clone());
            let of_package = found.entry(package.source.clone()).or_default().entry(key).or_default();
            match file.side {
                ReleaseSide::From => of_package.from.push(at),
                ReleaseSide::To => of_package.to.push(at),
            }
        }
    }
    found
}

/// Tells whether one file on each side has the package, and both have the same bytes.
fn is_same(files: &[InputFile], from: &[usize], to: &[usize]) -> bool {
    let digest = |at: usize| Some(&files.get(at)?.content.as_ref().ok()?.digest.sha256);
    match (from, to) {
        ([one], [other]) => digest(*one) == digest(*other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::digest::InputDigest;
    use super::super::inputs::InputContent;
    use super::*;
    use crate::release::{PackageIdentity, ReleaseProblem};

    /// Returns a file `NAME_ARCH.deb` of a source, with a digest; a damaged one without a source.
    fn file(side: ReleaseSide, name: &str, source: Option<(&str, &str)>) -> InputFile {
        let path = Path::new("/set").join(format!("{name}_all.deb"));
        let content = match source {
            None => Err(Arc::new(ReleaseError { path: path.clone(), problem: ReleaseProblem::NotFound })),
            Some((source, digest)) => Ok(InputContent {
                digest: InputDigest { sha256: digest.to_owned(), size: 1, stamp: [0; 32] },
                packages: vec![PackageIdentity {
                    name: name.to_owned(),
                    arch: "all".to_owned(),
                    version: "1".to_owned(),
                    source: source.to_owned(),
                }],
            }),
        };
        InputFile { path, side, content }
    }

    fn told(files: &[InputFile]) -> Vec<String> {
        let table = SourceTable::of(files);
        let of_source = |(name, source): (&String, &SourcePackages)| {
            let pairs = source
                .pairs
                .iter()
                .map(|((name, _), same)| format!(" {name}{}", if *same { "=" } else { "!" }));
            let alone = source.unpaired.iter().map(|one| format!(" {:?}:{}", one.side, one.name));
            let damage = source.damage.iter().map(|_| " damaged".to_owned());
            format!("{name}:{}", pairs.chain(alone).chain(damage).collect::<String>())
        };
        let strays = table.strays.keys().map(|name| format!("stray {name}"));
        table.sources.iter().map(of_source).chain(strays).collect()
    }

    use ReleaseSide::{From, To};

    #[test]
    fn siblings_are_together_and_compared_by_their_files() {
        let ssl = |digest| Some(("openssl", digest));
        let files = [
            file(From, "openssl", ssl("1")),
            file(From, "libssl3", ssl("2")),
            file(From, "gone", ssl("4")),
            file(To, "libssl3", ssl("3")),
            file(To, "openssl", ssl("1")),
            file(To, "fresh", Some(("fresh", "1"))),
        ];
        assert_eq!(told(&files), ["fresh: To:fresh", "openssl: libssl3! openssl= From:gone"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_taken_for_what_its_directory_lacks() {
        let files = [
            file(From, "curl", Some(("curl", "1"))),
            file(From, "libcurl4", Some(("curl", "1"))),
            file(From, "less", Some(("less", "1"))),
            file(To, "curl", Some(("curl", "1"))),
            file(To, "libcurl4", None),
            file(To, "rubbish", None),
        ];
        // `less` is not there, either, and may be the rubbish; `curl` is not asked twice.
        assert_eq!(told(&files), ["curl: curl= From:libcurl4 damaged", "less: From:less damaged"]);
        assert_eq!(told(&files[3..]), ["curl: To:curl", "stray libcurl4_all.deb", "stray rubbish_all.deb"]);
    }
}
