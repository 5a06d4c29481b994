//! The contents of a source except the data of its objects.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use super::error::SourceProblem;
use super::member::{MemberStamp, PackagePart};
use super::room::RoomTaken;
use crate::format::objects_file::ObjectsFile;
use crate::sign::{Manifest, SignatureState, SignedFiles, Verdict};
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_container::{Compression, ContainerFormat, OpenedContainer};
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{PackagePath, Params, PkgInst};
use patchadm_svr4::patch::{
    FixList, PatchId, PatchList, PatchListError, PatchMacros, PatchMacrosError, Requirements,
    RequirementsError,
};

/// The longest magic number of a file that is no source.
const MAGIC_LENGTH: u64 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Directory,
    Datastream(Option<Compression>),
    Tar(Option<Compression>),
    Zip,
}

impl Form {
    /// Fails if the content is that of no source.
    pub(super) fn of(opened: &mut OpenedContainer<'_>) -> Result<Self, SourceProblem> {
        match (opened.form, opened.compression) {
            (ContainerFormat::Datastream, compression) => Ok(Self::Datastream(compression)),
            (ContainerFormat::Tar, compression) => Ok(Self::Tar(compression)),
            (ContainerFormat::Zip, None) => Ok(Self::Zip),
            (ContainerFormat::Unsupported(what), _) => {
                Err(SourceProblem::Unsupported(format!("{what} compression")))
            }
            _ => {
                let mut start = Vec::new();
                // Without its first bytes, the file is just no source.
                let _ = (&mut opened.reader).take(MAGIC_LENGTH).read_to_end(&mut start);
                Err(SourceProblem::foreign(&start))
            }
        }
    }
}

#[derive(Clone, Debug)]
pub struct Image {
    /// The file name of the operand.
    pub name: String,
    /// The single directory at the top of an archive, such as `103201-01`.
    pub top: Option<String>,
    pub form: Form,
    /// In the order of a datastream, otherwise sorted by directory. Never empty.
    pub packages: Vec<PackageImage>,
    /// Name and text, beside the packages.
    pub readme: Option<(String, Vec<u8>)>,
    /// Beside the packages.
    pub patchinfo: Option<PatchinfoFile>,
    /// Beside the packages.
    pub hooks: Hooks,
    pub signature: ImageSignature,
    /// Of the file, or of the sorted list of files, if requested.
    pub sha256: Option<String>,
    pub(super) index: HashMap<Vec<u8>, usize>,
    pub(super) _taken: Arc<RoomTaken>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSignature {
    /// Never one that the policy refuses.
    pub verdict: Verdict,
    /// Only if they are trusted.
    pub files: Option<SignedFiles>,
    /// In a trusted manifest.
    pub patch: Option<String>,
    /// An option disabled the check.
    pub is_waived: bool,
}

impl ImageSignature {
    pub(super) fn unchecked() -> Self {
        Self { verdict: Verdict::unchecked(), files: None, patch: None, is_waived: false }
    }

    /// Keeps the files only if the manifest is trusted.
    pub(super) fn of(verdict: Verdict, files: Option<SignedFiles>, manifest: Option<&Manifest>) -> Self {
        let files = files.filter(|_| manifest.is_some());
        let patch = manifest.map(|manifest| manifest.patch.clone());
        Self { verdict, files, patch, is_waived: false }
    }

    /// Returns the verdict for reports and the history, if the signature was examined or an option disabled that.
    pub fn record(&self) -> Option<SignatureRecord> {
        let is_told = self.is_waived || self.verdict.state != SignatureState::Unchecked;
        is_told.then(|| self.verdict.record())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    pub prepatch: Option<Vec<u8>>,
    pub postpatch: Option<Vec<u8>>,
    pub prebackout: Option<Vec<u8>>,
    pub postbackout: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub struct PackageImage {
    /// Perhaps with a `.suffix`.
    pub directory: String,
    /// PKG is present and a package name.
    pub params: Params,
    pub pkginfo_bytes: Vec<u8>,
    /// Every information file of the pkgmap is present with its size and sum.
    pub pkgmap: Pkgmap,
    pub pkgmap_bytes: Vec<u8>,
    /// Of `install/` by name: scripts, depend, copyright, …
    pub install: BTreeMap<String, Vec<u8>>,
    /// From `install/deletes`.
    pub deletes: Vec<PackagePath>,
    /// From `install/patchadm.objects`.
    pub given: ObjectsFile,
    /// A package in a datastream with only pkginfo and pkgmap, as `pkgtrans -i -s` writes it.
    pub is_description: bool,
    /// Ended by `/`; empty if the source is the package.
    pub(super) at: Vec<u8>,
    pub(super) stamps: BTreeMap<String, MemberStamp>,
}

impl PackageImage {
    /// From records. `params` must have PKG.
    pub fn without_source(params: Params, pkgmap: Pkgmap) -> Self {
        Self {
            directory: params.text("PKG").into_owned(),
            pkginfo_bytes: patchadm_svr4::format::params::write(&params),
            params,
            pkgmap_bytes: pkgmap.write(),
            pkgmap,
            install: BTreeMap::new(),
            deletes: Vec::new(),
            given: ObjectsFile::default(),
            is_description: false,
            at: Vec::new(),
            stamps: BTreeMap::new(),
        }
    }

    /// Returns the name of its directory, unless the source is the package itself under another name.
    pub fn spooled_name(&self) -> String {
        let abbreviation = self.params.text("PKG");
        let is_instance = PkgInst::new(&self.directory).is_ok_and(|name| name.abbreviation() == abbreviation);
        if is_instance { self.directory.clone() } else { abbreviation.into_owned() }
    }

    /// Returns the package directory, in a source that is the directory `source`.
    pub fn directory_in(&self, source: &std::path::Path) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let inside = self.at.strip_suffix(b"/").unwrap_or(&self.at);
        if inside.is_empty() { source.to_owned() } else { source.join(std::ffi::OsStr::from_bytes(inside)) }
    }

    /// Returns the source's stamp of `pkginfo`, `pkgmap` or a file `install/…`.
    pub fn stamp(&self, name: &str) -> MemberStamp {
        self.stamps.get(name).copied().unwrap_or(MemberStamp::UNKNOWN)
    }

    /// Returns the entries of objects with their own content (`f`, `e`, `v`).
    pub fn files(&self) -> impl Iterator<Item = &PkgmapEntry> {
        self.pkgmap.entries.iter().filter(|entry| entry.object.ftype.is_regular())
    }
}

impl Image {
    pub fn without_source(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            top: None,
            form: Form::Directory,
            packages: Vec::new(),
            readme: None,
            patchinfo: None,
            hooks: Hooks::default(),
            signature: ImageSignature::unchecked(),
            sha256: None,
            index: HashMap::new(),
            _taken: Arc::default(),
        }
    }

    pub(super) fn locate<'p>(&self, path: &'p PackagePath) -> Option<(usize, PackagePart<'p>)> {
        // All packages of a source have the same depth.
        let depth = self.packages.first()?.at.split_inclusive(|&byte| byte == b'/').count();
        let (directory, rest) = cut(path.as_bytes(), depth)?;
        Some((*self.index.get(directory)?, PackagePart::of(rest)))
    }
}

pub(super) fn cut(path: &[u8], depth: usize) -> Option<(&[u8], &[u8])> {
    if depth == 0 {
        return Some((&[], path));
    }
    let slash = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(depth - 1)?.0;
    path.split_at_checked(slash + 1)
}

#[derive(Debug, thiserror::Error)]
pub enum ImageMacrosError {
    #[error("package {package}: {error}")]
    Package { package: String, error: Box<PatchMacrosError> },
    #[error("package {0} is not part of a patch")]
    NoPatch(String),
    #[error("its packages name two patches, {0} and {1}")]
    TwoIds(PatchId, PatchId),
    #[error("it has no package")]
    NoPackage,
    #[error("patchinfo: {0}")]
    List(#[from] PatchListError),
    #[error("patchinfo: PATCH_REQUIRES: {0}")]
    Requires(#[from] RequirementsError),
}

#[derive(Clone, Debug)]
pub struct ImageMacros {
    /// Each entry once.
    pub whole: PatchMacros,
    /// By index, including the lists of the patchinfo.
    pub packages: Vec<PatchMacros>,
}

impl Image {
    /// Statements of a package or the patchinfo hold for the whole patch, each entry once.
    pub fn patch_macros(&self, separator: &str) -> Result<PatchMacros, ImageMacrosError> {
        Ok(self.all_macros(separator)?.whole)
    }

    pub fn all_macros(&self, separator: &str) -> Result<ImageMacros, ImageMacrosError> {
        let mut packages: Vec<PatchMacros> = Vec::with_capacity(self.packages.len());
        for package in &self.packages {
            let name = &package.directory;
            let macros = PatchMacros::from_params(&package.params, separator)
                .map_err(|error| ImageMacrosError::Package { package: name.clone(), error: Box::new(error) })?
                .ok_or_else(|| ImageMacrosError::NoPatch(name.clone()))?;
            if let Some(first) = packages.first().filter(|first| first.id != macros.id) {
                return Err(ImageMacrosError::TwoIds(first.id.clone(), macros.id));
            }
            packages.push(macros);
        }
        let first = packages.first().ok_or(ImageMacrosError::NoPackage)?;
        let mut whole = first.clone();
        for macros in packages.iter().skip(1) {
            add(&mut whole, macros);
        }
        if let Some(info) = &self.patchinfo {
            let list = |words: &[String]| PatchList::parse(&words.join(" "), separator);
            let said = PatchMacros {
                id: whole.id.clone(),
                requires: Requirements::parse(&info.requires.join(" "), separator)?,
                obsoletes: list(&info.obsoletes)?,
                incompatibles: list(&info.incompat)?,
                properties: info.properties.clone(),
                fixes: FixList::parse_legible(&info.fixes.join(" ")),
            };
            add(&mut whole, &said);
            for macros in &mut packages {
                add_lists(macros, &said);
            }
        }
        Ok(ImageMacros { whole, packages })
    }
}

fn add(whole: &mut PatchMacros, more: &PatchMacros) {
    add_lists(whole, more);
    for word in &more.properties {
        if !whole.properties.contains(word) {
            whole.properties.push(word.clone());
        }
    }
}

fn add_lists(macros: &mut PatchMacros, more: &PatchMacros) {
    macros.obsoletes.extend(more.obsoletes.iter().cloned());
    macros.requires.extend(more.requires.iter().cloned());
    macros.incompatibles.extend(more.incompatibles.iter().cloned());
    macros.fixes.unite(&more.fixes);
}
