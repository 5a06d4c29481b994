//! The packages of both directories, digested and identified once without unpacking, and grouped by source.
//!
//! The source of an unreadable file is unknown. It is attributed to a package that only its own directory lacks, by the
//! beginning of the name, so that a damaged file stops no other source.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::build::{ReleaseSide, UnpairedPackage};
use crate::release::{PackageIdentity, ReleaseError, ReleaseProblem, identify, set_entries};
use patchadm_inputs::input_file::InputFile;
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{Sha256Sum, sha256_text};
use patchadm_rootfs::{WorkMeter, WorkUnit, side_by_side};

#[derive(Debug)]
pub(super) struct InputEntry {
    pub(super) path: PathBuf,
    pub(super) side: ReleaseSide,
    /// Digest and packages, or why it cannot be read.
    pub(super) content: Result<InputContent, Arc<ReleaseError>>,
}

#[derive(Debug)]
pub(super) struct InputContent {
    pub(super) digest: InputDigest,
    pub(super) packages: Vec<PackageIdentity>,
}

pub(super) fn read_inputs(
    release: &Path,
    stable: &Path,
    cores: usize,
    meter: &WorkMeter,
) -> Result<Vec<InputEntry>, ReleaseError> {
    let mut found = Vec::new();
    for (side, path) in [(ReleaseSide::From, release), (ReleaseSide::To, stable)] {
        found.extend(set_entries(path)?.into_iter().map(|path| (side, path)));
    }
    let step = meter.begin(WorkUnit::Packages, found.len() as u64);
    let read = side_by_side(cores.max(1), found.len(), || {
        |at: usize| {
            let read = found.get(at).map(|(_, path)| content(path).map_err(Arc::new));
            step.advance(1);
            read
        }
    });
    let files = found.iter().zip(read.into_iter().flatten());
    Ok(files.map(|((side, path), content)| InputEntry { path: path.clone(), side: *side, content }).collect())
}

fn content(path: &Path) -> Result<InputContent, ReleaseError> {
    let packages = identify(path)?;
    let unreadable = |error| ReleaseError { path: path.to_owned(), problem: ReleaseProblem::Io(error) };
    Ok(InputContent { digest: InputDigest::of(path).map_err(unreadable)?, packages })
}

impl InputEntry {
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[derive(Debug, Default)]
pub(super) struct SourcePackages {
    pub(super) pairs: BTreeMap<(String, String), bool>,
    pub(super) unpaired: Vec<UnpairedPackage>,
    pub(super) files: BTreeSet<usize>,
    /// An unreadable file that probably belongs to the source.
    pub(super) damage: Option<Arc<ReleaseError>>,
}

#[derive(Debug, Default)]
pub(super) struct SourceTable {
    pub(super) sources: BTreeMap<String, SourcePackages>,
    /// Unreadable files of no source, by name.
    pub(super) strays: BTreeMap<String, Arc<ReleaseError>>,
}

#[derive(Default)]
struct PackageFiles {
    from: Vec<usize>,
    to: Vec<usize>,
}

impl SourceTable {
    pub(super) fn of(files: &[InputEntry]) -> Self {
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

    fn blame(&mut self, files: &[InputEntry]) {
        let mut from = LackingSources::of(&self.sources, ReleaseSide::From);
        let mut to = LackingSources::of(&self.sources, ReleaseSide::To);
        for file in files {
            let Err(error) = &file.content else { continue };
            let lacking = if file.side == ReleaseSide::From { &mut from } else { &mut to };
            if lacking.is_empty {
                self.strays.insert(file.name(), error.clone());
            }
            for name in lacking.blamed_for(&file.name()) {
                if let Some(source) = self.sources.get_mut(&name) {
                    source.damage.get_or_insert_with(|| error.clone());
                }
            }
        }
    }
}

/// The sources whose packages are missing from a directory. Each is named once, for its first unreadable file.
struct LackingSources {
    is_empty: bool,
    all: Vec<String>,
    by_package: HashMap<String, Vec<String>>,
}

impl LackingSources {
    fn of(sources: &BTreeMap<String, SourcePackages>, side: ReleaseSide) -> Self {
        let mut found = Self { is_empty: true, all: Vec::new(), by_package: HashMap::new() };
        for (name, source) in sources {
            let mut lacking = source.unpaired.iter().filter(|one| one.side != side).peekable();
            if lacking.peek().is_some() {
                found.all.push(name.clone());
            }
            for one in lacking {
                found.by_package.entry(one.name.clone()).or_default().push(name.clone());
            }
        }
        found.is_empty = found.all.is_empty();
        found
    }

    /// Returns the sources of the packages that this file may be, by its name, or all.
    fn blamed_for(&mut self, file: &str) -> Vec<String> {
        let ends = file.match_indices(['_', '-', '.']).map(|(end, _)| end).chain([file.len()]);
        let (mut blamed, mut is_named) = (Vec::new(), false);
        for name in ends.filter_map(|end| file.get(..end)) {
            if let Some(sources) = self.by_package.get_mut(name) {
                blamed.append(sources);
                is_named = true;
            }
        }
        if is_named { blamed } else { std::mem::take(&mut self.all) }
    }
}

impl SourcePackages {
    /// True if digests show no difference.
    pub(super) fn is_same(&self) -> bool {
        self.pairs.values().all(|is_same| *is_same)
    }

    pub(super) fn digests<'f>(
        &self,
        files: &'f [InputEntry],
        side: ReleaseSide,
    ) -> impl Iterator<Item = String> + use<'_, 'f> {
        let of_side =
            self.files.iter().filter_map(move |at| files.get(*at)).filter(move |file| file.side == side);
        of_side.filter_map(|file| Some(file.content.as_ref().ok()?.digest.sha256.clone()))
    }

    pub(super) fn size(&self, files: &[InputEntry]) -> u64 {
        let contents = self.files.iter().filter_map(|at| files.get(*at)?.content.as_ref().ok());
        contents.map(|content| content.digest.size).sum()
    }

    /// Bytes of packages to open; files equal on both sides are not.
    pub(super) fn size_to_read(&self, files: &[InputEntry]) -> u64 {
        if self.is_same() { 0 } else { self.size(files) }
    }
}

type PackagesOfSource = BTreeMap<(String, String), PackageFiles>;

fn by_source(files: &[InputEntry]) -> BTreeMap<String, PackagesOfSource> {
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

fn is_same(files: &[InputEntry], from: &[usize], to: &[usize]) -> bool {
    let digest = |at: usize| Some(&files.get(at)?.content.as_ref().ok()?.digest.sha256);
    match (from, to) {
        ([one], [other]) => digest(*one) == digest(*other),
        _ => false,
    }
}

const DEEPEST: usize = 256;
const BUFFER: usize = 1 << 17;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InputDigest {
    /// Hexadecimal SHA-256 of a file, or of a directory's names, types and contents.
    pub(super) sha256: String,
    pub(super) size: u64,
    /// Digest of file attributes, which changes whenever a file does.
    pub(super) stamp: Sha256Sum,
}

struct InputSums {
    content: Sha256,
    stamp: Sha256,
    size: u64,
    buffer: Vec<u8>,
    reads: bool,
}

impl InputDigest {
    /// Reads a directory recursively. Follows a link only at the top.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let sums = InputSums::of(path, true)?;
        let sha256 = sha256_text(&sums.content.finalize());
        Ok(Self { sha256, size: sums.size, stamp: sums.stamp.finalize() })
    }

    pub(super) fn is_still(&self, path: &Path) -> io::Result<bool> {
        Ok(self.stamp == InputSums::of(path, false)?.stamp.finalize())
    }
}

pub(super) fn sha256_of(input: &mut impl Read) -> io::Result<Sha256Sum> {
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    while let Some(bytes) = next(input, &mut buffer)? {
        sum.update(bytes);
    }
    Ok(sum.finalize())
}

fn next<'b>(input: &mut impl Read, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    let count = loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    Ok(buffer.get(..count).filter(|bytes| !bytes.is_empty()))
}

impl InputSums {
    fn of(path: &Path, reads: bool) -> io::Result<Self> {
        let buffer = if reads { vec![0; BUFFER] } else { Vec::new() };
        let mut sums = Self { content: Sha256::new(), stamp: Sha256::new(), size: 0, buffer, reads };
        let seen = std::fs::metadata(path)?;
        if seen.is_dir() {
            sums.directory(path, &seen, 0)?;
        } else {
            sums.file(path, &seen)?;
        }
        Ok(sums)
    }

    fn directory(&mut self, path: &Path, seen: &Metadata, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "directories are nested too deeply"));
        }
        self.stamp_of(seen);
        let names = std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let inside = path.join(&name);
            let seen = inside.symlink_metadata()?;
            // Each name and count has its length before it, which avoids ambiguity.
            self.put(if seen.is_dir() { b"d" } else { b"f" });
            self.put_counted(name.as_bytes());
            if seen.is_dir() {
                self.directory(&inside, &seen, depth + 1)?;
                self.put(b"e");
            } else if seen.is_file() {
                self.put(&seen.len().to_be_bytes());
                self.file(&inside, &seen)?;
            } else {
                self.stamp_of(&seen);
                let target = std::fs::read_link(&inside).unwrap_or_default();
                self.put_counted(target.as_os_str().as_bytes());
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, seen: &Metadata) -> io::Result<()> {
        self.stamp_of(seen);
        if !seen.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a directory"));
        }
        self.size += seen.len();
        if self.reads {
            let mut file = InputFile::open(path)?;
            while let Some(bytes) = next(&mut file, &mut self.buffer)? {
                self.content.update(bytes);
            }
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.content.update(bytes);
    }

    fn put_counted(&mut self, bytes: &[u8]) {
        self.put(&(bytes.len() as u64).to_be_bytes());
        self.put(bytes);
    }

    fn stamp_of(&mut self, seen: &Metadata) {
        let numbers = [seen.dev(), seen.ino(), seen.size(), u64::from(seen.mode())];
        let times = [seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec()];
        let bytes = numbers.iter().map(|number| number.to_be_bytes());
        for bytes in bytes.chain(times.iter().map(|time| time.to_be_bytes())) {
            self.stamp.update(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{PackageIdentity, ReleaseProblem};

    use std::fs;
    use std::path::Path;

    use ReleaseSide::{From, To};

    /// A damaged file has no source.
    fn file(side: ReleaseSide, name: &str, source: Option<(&str, &str)>) -> InputEntry {
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
        InputEntry { path, side, content }
    }

    fn told(files: &[InputEntry]) -> Vec<String> {
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
        // `less` is missing too, so the damaged file may be that; `curl` is not counted twice.
        assert_eq!(told(&files), ["curl: curl= From:libcurl4 damaged", "less: From:less damaged"]);
        assert_eq!(told(&files[3..]), ["curl: To:curl", "stray libcurl4_all.deb", "stray rubbish_all.deb"]);
    }

    #[test]
    fn many_unreadable_files_and_sources_take_no_time() {
        let sources: Vec<String> = (0..30_000).map(|number| format!("s{number}")).collect();
        let whole = sources.iter().map(|name| file(From, name, Some((name, "1"))));
        let damaged = |name: &str| file(To, name, None);
        let odd = (0..30_000).map(|number| damaged(&format!("odd{number}")));
        let files: Vec<InputEntry> = whole.chain(odd).chain([damaged("s7")]).collect();
        let table = SourceTable::of(&files);
        assert!(table.sources.values().all(|source| source.damage.is_some()) && table.strays.is_empty());
        let named: Vec<InputEntry> =
            files.into_iter().filter(|file| !file.name().starts_with("odd")).collect();
        let table = SourceTable::of(&named);
        let damaged: Vec<_> = table.sources.iter().filter(|(_, source)| source.damage.is_some()).collect();
        assert!(matches!(damaged[..], [(name, _)] if name == "s7"));
    }

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_digest_of_a_file_is_that_of_sha256sum() {
        let dir = tree(&[("a", "2")]);
        let found = InputDigest::of(&dir.path().join("a")).unwrap();
        assert_eq!(found.sha256, "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35");
        assert_eq!(found.size, 1);
    }

    #[test]
    fn a_directory_has_the_digest_of_its_names_and_contents_wherever_it_is() {
        let of = |files: &[(&str, &str)]| InputDigest::of(tree(files).path()).unwrap().sha256;
        let first = of(&[("a/b", "x"), ("c", "y")]);
        assert_eq!(first, of(&[("c", "y"), ("a/b", "x")]));
        for other in [&[("a/b", "x"), ("c", "z")][..], &[("a/c", "x"), ("c", "y")], &[("a", "x"), ("c", "y")]]
        {
            assert_ne!(first, of(other), "{other:?}");
        }
        assert_ne!(of(&[("a", ""), ("b", "")]), of(&[("a", "b")]));
    }

    #[test]
    fn a_file_that_is_exchanged_for_one_of_the_same_bytes_is_another_one() {
        let dir = tree(&[("p/a", "x")]);
        let before = InputDigest::of(dir.path()).unwrap();
        assert!(before.is_still(dir.path()).unwrap());
        fs::write(dir.path().join("new"), "x").unwrap();
        fs::rename(dir.path().join("new"), dir.path().join("p/a")).unwrap();
        assert!(!before.is_still(dir.path()).unwrap());
        assert_eq!(InputDigest::of(dir.path()).unwrap().sha256, before.sha256);
    }
}
