//! Resolved records of a tree, scanned, read or imported; and pbulk's `scan/pscan` and `scan/presolve`.

use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use patchadm_bulk_values::records::{
    ImportError, PbulkFields, PkgName, RecipeLocation, RecipeRecord, Records,
};
use patchadm_bulk_values::resolve::{
    DependencyResolution, Graph, PrefailReason, ResolvedState, UnknownName, resolve, select,
};
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_inputs::input_file::InputFile;
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

use crate::scan::{TreeScanError, TreeScanRequest, repetition_notes, scan};
use crate::set::{SetError, name_holders};
use crate::space::must_have_room;
use crate::work::{BulkWork, PROGRAM, SCAN};

const RECORDS: &str = "records";

const PSCAN: &str = "pscan";

const PRESOLVE: &str = "presolve";

const BUFFER: usize = 1 << 16;

#[derive(Debug)]
pub struct ResolvedTree {
    pub records: Records,
    pub resolution: DependencyResolution,
}

#[derive(Debug)]
pub struct ScannedTree {
    pub tree: ResolvedTree,
    pub digest: Blake3Digest,
    pub locations: usize,
    pub scanned: usize,
    pub reused: usize,
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ForeignRecordsError {
    #[error("{}: {error}", path.display())]
    Import { path: PathBuf, error: ImportError },
    #[error(transparent)]
    Set(#[from] SetError),
    #[error(transparent)]
    Root(#[from] RootError),
}

#[derive(Debug, thiserror::Error)]
pub enum ResolvedTreeError {
    #[error("nothing has been scanned yet: `patchadm bulk scan` reads the tree")]
    NotScanned,
    #[error("the last scan: {0}")]
    Unknown(UnknownName),
    #[error("{} means several packages: {}", name.escape_debug(), packages.join(", "))]
    Several { name: String, packages: Vec<String> },
    #[error("{} is damaged: {error}; rewrite it with `patchadm bulk scan`", path.display())]
    Damaged { path: PathBuf, error: ImportError },
    #[error(transparent)]
    Set(#[from] SetError),
    #[error(transparent)]
    Root(#[from] RootError),
}

impl ResolvedTree {
    fn of(work: &BulkWork, records: Records) -> Result<Self, SetError> {
        let resolution = resolve(&records, &name_holders(work)?);
        Ok(Self { records, resolution })
    }

    pub fn read(work: &BulkWork) -> Result<Self, ResolvedTreeError> {
        let dir = work.directory(SCAN)?;
        // Version 0.1 stored records as read in pbulk's file.
        let mut name = None;
        for known in [RECORDS, PSCAN] {
            if name.is_none() && dir.look(known.as_bytes())?.is_some() {
                name = Some(known);
            }
        }
        let name = name.ok_or(ResolvedTreeError::NotScanned)?;
        let file = dir.open_regular(name.as_bytes())?;
        let records = Records::import(BufReader::new(file))
            .map_err(|error| ResolvedTreeError::Damaged { path: work.path.join(SCAN).join(name), error })?;
        Ok(Self::of(work, records)?)
    }

    /// Accepts PKGNAME, the name without version, and the location.
    pub fn only_package(&self, name: &str) -> Result<u32, ResolvedTreeError> {
        let found = select(&self.records, [name]).map_err(ResolvedTreeError::Unknown)?;
        match found.as_slice() {
            [one] => Ok(*one),
            several => Err(ResolvedTreeError::Several {
                name: name.to_owned(),
                packages: several.iter().map(|index| self.pkgname(*index)).collect(),
            }),
        }
    }

    pub fn pkgname(&self, index: u32) -> String {
        self.records.name_of(index)
    }

    /// Returns packages that cannot be built for a reason of their own, with it, in byte order.
    pub fn prefailed(&self) -> Vec<(String, String)> {
        let states = (0..).zip(self.resolution.states());
        let mut found: Vec<(String, String)> = states
            .filter_map(|(index, state)| match state {
                ResolvedState::Prefailed(reason) => Some((self.pkgname(index), reason.to_string())),
                _ => None,
            })
            .collect();
        found.sort();
        found
    }
}

pub fn scan_tree(request: &TreeScanRequest<'_>) -> Result<ScannedTree, TreeScanError> {
    let scanned = scan(request)?;
    let tree = ResolvedTree::of(request.work, scanned.records)?;
    let digest = files_of(&tree, request.is_kept.then_some(request.work))?;
    Ok(ScannedTree {
        tree,
        digest,
        locations: scanned.locations,
        scanned: scanned.scanned,
        reused: scanned.reused,
        notes: scanned.notes,
    })
}

/// Uses foreign records instead of a scan.
pub fn import_tree(work: &BulkWork, path: &Path) -> Result<ScannedTree, ForeignRecordsError> {
    let failed = |error| ForeignRecordsError::Import { path: path.to_owned(), error };
    let file = InputFile::open(path).map_err(|error| failed(error.into()))?;
    let records = Records::import(BufReader::new(file)).map_err(failed)?;
    let locations: std::collections::BTreeSet<_> = records.iter().map(RecipeRecord::location).collect();
    let locations = locations.len();
    let tree = ResolvedTree::of(work, records)?;
    let digest = files_of(&tree, Some(work))?;
    let notes = repetition_notes(&tree.records);
    Ok(ScannedTree { tree, digest, locations, scanned: 0, reused: 0, notes })
}

/// Digests the records. With a directory, writes them as read, for keys, and in pbulk's form.
fn files_of(tree: &ResolvedTree, work: Option<&BulkWork>) -> Result<Blake3Digest, RootError> {
    let ResolvedTree { records, resolution } = tree;
    let mut out = BufWriter::with_capacity(BUFFER, DigestedWrites(blake3::Hasher::new()));
    let _ = records.write_plain(&mut out).and_then(|()| out.flush());
    let digest = Blake3Digest::from_bytes(*out.get_ref().0.finalize().as_bytes());
    let Some(work) = work else { return Ok(digest) };
    let dir = work.directory(SCAN)?;
    must_have_room(&dir, 0)?;
    dir.replace_streamed(PROGRAM, RECORDS.as_bytes(), Mode::of(0o644), |file| {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        records.write_plain(&mut out)?;
        out.flush()
    })?;
    // Unresolved records have no DEPENDS.
    let before = |index| {
        let fields = PbulkFields { found: locations_found(tree, index), ..PbulkFields::default() };
        is_of_pbulk(resolution, index).then_some(fields)
    };
    let resolved = |index| is_of_pbulk(resolution, index).then(|| pbulk_fields(records, resolution, index));
    write_records(&dir, PSCAN, records, before)?;
    write_records(&dir, PRESOLVE, records, resolved)?;
    Ok(digest)
}

fn write_records<'a>(
    dir: &Dir,
    name: &str,
    records: &'a Records,
    fields: impl Fn(u32) -> Option<PbulkFields<'a>>,
) -> Result<(), RootError> {
    must_have_room(dir, 0)?;
    dir.replace_streamed(PROGRAM, name.as_bytes(), Mode::of(0o644), |file| {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        records.write_pbulk(&mut out, &fields)?;
        out.flush()
    })
}

struct DigestedWrites(blake3::Hasher);

impl Write for DigestedWrites {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In the order of `ALL_DEPENDS`.
fn depends<'a>(records: &'a Records, resolution: &DependencyResolution, index: u32) -> Vec<&'a PkgName> {
    let found = resolution.depends(index).iter();
    found.filter_map(|need| records.get(*need).map(RecipeRecord::pkgname)).collect()
}

/// Includes DEPENDS, one field per line; empty without a record.
pub(crate) fn record_text(records: &Records, resolution: &DependencyResolution, index: u32) -> String {
    let mut text = Vec::new();
    if let Some(record) = records.get(index) {
        let _ = records.write_record(record, &depends(records, resolution, index), &mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// As in pbulk's files, one field per line; empty without a record.
pub(crate) fn pbulk_record_text(records: &Records, resolution: &DependencyResolution, index: u32) -> String {
    let mut text = Vec::new();
    if let Some(record) = records.get(index) {
        let _ = records.write_pbulk_record(record, &pbulk_fields(records, resolution, index), &mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns pbulk fields that a recipe does not set. Members of a cycle have no DEPENDS, because pbulk-build stops at a
/// cycle; their reason names it.
fn pbulk_fields<'a>(records: &'a Records, resolution: &DependencyResolution, index: u32) -> PbulkFields<'a> {
    let reason = match resolution.state(index) {
        // The record itself has it.
        Some(ResolvedState::Prefailed(PrefailReason::Skip(_))) => None,
        Some(ResolvedState::Prefailed(reason)) => Some(reason),
        _ => None,
    };
    let depends =
        if is_in_circle(resolution, index) { Vec::new() } else { depends(records, resolution, index) };
    let found = resolution.found(index).iter().map(|found| Some(records.get((*found)?)?.location()));
    let fail_reason = reason.map(|reason| reason.to_string().replace(char::is_control, " "));
    PbulkFields { depends, found: found.collect(), fail_reason }
}

/// True if pbulk's files list the package: they identify packages by name, so a shared name stands for its owner.
pub(crate) fn is_of_pbulk(resolution: &DependencyResolution, index: u32) -> bool {
    !matches!(resolution.state(index), Some(ResolvedState::Prefailed(PrefailReason::Duplicate { .. })))
}

/// Counts direct and indirect dependents by DEPENDS, including the package itself.
pub(crate) fn pbulk_depths(resolution: &DependencyResolution) -> Vec<u32> {
    let graph = resolution.graph();
    let has_depends = |index| !is_in_circle(resolution, index) && is_of_pbulk(resolution, index);
    if graph.indices().all(has_depends) {
        return graph.depths();
    }
    let needs = |index| if has_depends(index) { graph.needs(index) } else { &[] };
    Graph::new(graph.indices().map(|index| needs(index).to_vec())).depths()
}

fn is_in_circle(resolution: &DependencyResolution, index: u32) -> bool {
    matches!(resolution.state(index), Some(ResolvedState::Prefailed(PrefailReason::Circle(_))))
}

fn locations_found(tree: &ResolvedTree, index: u32) -> Vec<Option<&RecipeLocation>> {
    let found = tree.resolution.found(index).iter();
    found.map(|found| Some(tree.records.get((*found)?)?.location())).collect()
}
