//! The patches of a working directory, as entries of an index.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::PublishError;
use super::store::{Measured, digest, hex, measure};
use crate::depot::{DepotFile, DepotPackage, DepotPatch, object_path};
use crate::sign::{LARGEST_MANIFEST, LARGEST_SIGNATURE, Manifest, ManifestForm};
use crate::source::{self, Extent, Form, Image, Origin};
use patchadm_container::Compression;
use patchadm_svr4::format::readme;
use patchadm_svr4::package::Ftype;
use patchadm_svr4::patch::{PatchId, PatchMacros};

/// The directory of a `delta` that holds its patches, and the one that holds what is to be signed.
const PATCHES: &str = "patches";
const HANDOVER: &str = "handover";

/// A patch that is ready to be stored.
pub(super) struct PatchToPublish {
    /// The file, for messages.
    pub(super) path: PathBuf,
    /// Its id.
    pub(super) id: PatchId,
    /// Its line in the index.
    pub(super) entry: DepotPatch,
    /// The files of its objects, each with its digest.
    pub(super) objects: Vec<(File, DepotFile)>,
    /// The README, which is inside the patch.
    pub(super) readme: Option<Vec<u8>>,
}

/// Lists the files of a working directory that are patches by their names: all but manifests, signatures, hidden files.
pub(super) fn patch_files(work: &Path) -> Result<Vec<PathBuf>, PublishError> {
    let inside = work.join(PATCHES);
    let directory = if inside.is_dir() { inside } else { work.to_owned() };
    let unreadable = |error| PublishError::Directory { path: directory.clone(), error };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let is_file = entry.metadata().map_err(unreadable)?.is_file();
        if is_file && !is_beside(&entry.file_name().to_string_lossy()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn is_beside(name: &str) -> bool {
    name.starts_with('.') || [".manifest", ".minisig", ".sig", ".json"].iter().any(|end| name.ends_with(end))
}

/// Reads a patch with what lies beside it.
pub(super) fn read_patch(
    path: &Path,
    work: &Path,
    now: DateTime<Utc>,
    may_be_unsigned: bool,
) -> Result<PatchToPublish, PublishError> {
    let fail = |reason: String| PublishError::Patch { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(PublishError::Read)?;
    let measured = measure(&mut file)?;
    let again = file.try_clone().map_err(PublishError::Read)?;
    let (_, image) = source::open(Origin::File(again, path), Extent::Everything)?;
    let macros = macros(&image).map_err(fail)?;
    let beside = Beside::of(path, work)?;
    let manifest = beside.checked_manifest(&macros.id, &measured, may_be_unsigned).map_err(fail)?;
    let readme = image.readme.as_ref().map(|(_, text)| text.clone());
    let mut entry = entry(&image, &macros, &measured).map_err(fail)?;
    entry.date = manifest.and_then(|manifest| manifest.date).unwrap_or_else(|| crate::depot::stamp(&now));
    entry.readme = readme.as_ref().map(|text| DepotFile::new(&digest(text), text.len() as u64));
    let mut objects = vec![(file, DepotFile::new(&measured.sha256, measured.size))];
    for (found, place) in [(beside.manifest, &mut entry.manifest), (beside.signature, &mut entry.signature)] {
        if let Some((file, bytes)) = found {
            let object = DepotFile::new(&digest(&bytes), bytes.len() as u64);
            *place = Some(object.clone());
            objects.push((file, object));
        }
    }
    Ok(PatchToPublish { path: path.to_owned(), id: macros.id, entry, objects, readme })
}

/// The manifest and the signature beside a patch, opened once.
struct Beside {
    manifest: Option<(File, Vec<u8>)>,
    signature: Option<(File, Vec<u8>)>,
}

impl Beside {
    fn of(patch: &Path, work: &Path) -> Result<Self, PublishError> {
        let name = patch.file_name().unwrap_or_default().to_string_lossy();
        let near = |end: &str| patch.with_file_name(format!("{name}.manifest{end}"));
        let handed_over = |end: &str| work.join(HANDOVER).join(format!("{name}.manifest{end}"));
        let signatures = [near(".minisig"), near(".sig"), handed_over(".minisig"), handed_over(".sig")];
        let mut signature = None;
        for path in signatures {
            signature = match signature {
                None => open_small(&path, LARGEST_SIGNATURE)?,
                found => found,
            };
        }
        Ok(Self { manifest: open_small(&near(""), LARGEST_MANIFEST)?, signature })
    }

    /// Reads the manifest, which must be of this patch and of these bytes.
    fn checked_manifest(
        &self,
        id: &PatchId,
        measured: &Measured,
        may_be_unsigned: bool,
    ) -> Result<Option<Manifest>, String> {
        let Some((_, text)) = &self.manifest else {
            return if may_be_unsigned { Ok(None) } else { Err("it has no manifest beside it".to_owned()) };
        };
        if self.signature.is_none() && !may_be_unsigned {
            return Err("its manifest is not signed".to_owned());
        }
        let manifest = Manifest::parse(text).map_err(|error| format!("its manifest: {error}"))?;
        if PatchId::new(&manifest.patch).ok().as_ref() != Some(id) {
            return Err(format!("its manifest is that of patch {}", manifest.patch));
        }
        match (manifest.form, manifest.entries.as_slice()) {
            (ManifestForm::File, [entry]) if hex(&entry.sum) == measured.sha256 => Ok(Some(manifest)),
            (ManifestForm::File, _) => Err("its manifest has another digest than the file".to_owned()),
            _ => Err("its manifest is one of members, and a file needs one of form `file`".to_owned()),
        }
    }
}

fn open_small(path: &Path, limit: u64) -> Result<Option<(File, Vec<u8>)>, PublishError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(PublishError::Read)?,
    };
    let mut bytes = Vec::new();
    (&file).take(limit + 1).read_to_end(&mut bytes).map_err(PublishError::Read)?;
    if bytes.len() as u64 > limit {
        let reason = format!("it is larger than {limit} bytes");
        return Err(PublishError::Patch { path: path.to_owned(), reason });
    }
    Ok(Some((file, bytes)))
}

/// The macros of a patch, which all its packages agree on.
fn macros(image: &Image) -> Result<PatchMacros, String> {
    let mut found: Option<PatchMacros> = None;
    for package in &image.packages {
        let macros = PatchMacros::from_params(&package.params, PatchId::SEPARATOR);
        let macros = macros.map_err(|error| format!("package {}: {error}", package.directory))?;
        let macros = macros.ok_or_else(|| format!("package {} is not part of a patch", package.directory))?;
        match &found {
            Some(first) if first.id != macros.id => {
                return Err(format!("its packages name two patches, {} and {}", first.id, macros.id));
            }
            _ => found = found.or(Some(macros)),
        }
    }
    found.ok_or_else(|| "it has no package".to_owned())
}

fn entry(image: &Image, macros: &PatchMacros, measured: &Measured) -> Result<DepotPatch, String> {
    let field = |label| image.readme.as_ref().and_then(|(_, text)| readme::field(text, label));
    let keywords = field("Keywords").unwrap_or_default();
    let packages = image.packages.iter().map(|package| {
        let text = |name| package.params.text(name).into_owned();
        DepotPackage { pkg: text("PKG"), arch: text("ARCH"), version: text("VERSION") }
    });
    let objects = image.packages.iter().map(|package| {
        let delivered = package.pkgmap.entries.iter();
        let delivered = delivered.filter(|entry| entry.object.ftype != Ftype::Information).count();
        (delivered + package.deletes.len()) as u64
    });
    Ok(DepotPatch {
        id: macros.id.to_string(),
        path: object_path(&measured.sha256),
        sha256: measured.sha256.clone(),
        size: measured.size,
        format: format_word(image.form)?.to_owned(),
        manifest: None,
        signature: None,
        readme: None,
        date: String::new(),
        synopsis: field("Synopsis").unwrap_or_default(),
        keywords: keywords
            .split([' ', ',', '\n'])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        properties: macros.properties.clone(),
        packages: packages.collect(),
        requires: macros.requires.iter().map(|one| join(one.ids())).collect(),
        obsoletes: macros.obsoletes.iter().map(ToString::to_string).collect(),
        incompat: macros.incompatibles.iter().map(ToString::to_string).collect(),
        files: objects.sum(),
    })
}

fn join(alternatives: &[PatchId]) -> String {
    alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

fn format_word(form: Form) -> Result<&'static str, String> {
    match form {
        Form::Zip => Ok("zip"),
        Form::Tar(None) => Ok("tar"),
        Form::Tar(Some(Compression::Gzip)) => Ok("tar.gz"),
        Form::Datastream(None) => Ok("datastream"),
        _ => Err("a depot takes zip, tar, tar.gz and datastream".to_owned()),
    }
}
