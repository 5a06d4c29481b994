//! A result is described and enters the pool.

use std::collections::BTreeMap;
use std::io::Write as _;

use patchadm_bulk_values::conf::CheckLevel;
use patchadm_bulk_values::journal::FailureCause;
use patchadm_bulk_values::result::{BuildResult, Digest, NewResult, PhaseTime, ResultFile, ResultPackage};
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::sha256_text;
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::{Mode, Params};

use super::inputs::{BuildCosts, TaskInputs};
use super::order::TaskFailure;
use super::packing::PackedResult;
use super::step::{StepError, TaskError};
use crate::differences::{ComparedFiles, differences};
use crate::file_copy::{copy_file, each_part};
use crate::pool::{Flush, FoundResult, LOG, PoolEntry, RESULT};

/// The largest log that is kept in the pool, in bytes.
const LARGEST_LOG: u64 = 1 << 30;

/// A build whose result is kept.
pub(super) struct KeptBuild<'a> {
    /// The directory with its files.
    pub(super) results: &'a Dir,
    pub(super) packed: &'a PackedResult,
    pub(super) leftovers: Vec<String>,
    pub(super) level: CheckLevel,
    pub(super) costs: &'a BuildCosts,
    /// The directory with its log.
    pub(super) logs: &'a Dir,
}

/// Lets a result enter the pool. The one that is there already stays; the first file that differs from it is returned.
pub(super) fn keep(inputs: &TaskInputs<'_>, build: &KeptBuild<'_>) -> Result<Option<String>, StepError> {
    let (name, dir) = inputs.pool.begin()?;
    let entered = fill(inputs, build, &dir).and_then(|result| {
        let flush = if inputs.order.is_local { Flush::Later } else { Flush::Now };
        let is_first = inputs.pool.enter((&name, &dir), &inputs.order.key, flush)?;
        Ok((!is_first).then_some(result))
    });
    match entered {
        Ok(None) => Ok(None),
        Ok(Some(result)) => match inputs.pool.find(&inputs.order.key)? {
            FoundResult::Result(first) => Ok(first_difference(&first, &result, inputs)),
            _ => Ok(None),
        },
        Err(error) => {
            // What stays has a name that nobody looks for, and goes with the next prune.
            let _ = inputs.pool.give_up(&name);
            Err(error)
        }
    }
}

/// Returns the first difference between two results of one key: the object and its bytes, or else the file.
fn first_difference(first: &PoolEntry, other: &BuildResult, inputs: &TaskInputs<'_>) -> Option<String> {
    let one = &first.result;
    let directory = inputs.place.part("results");
    let (before, now) = (names_of(one), names_of(other));
    let compared = differences(
        &ComparedFiles { directory: &first.path, names: &before },
        &ComparedFiles { directory: &directory, names: &now },
        &inputs.order.varies,
    );
    if let Ok(found) = compared
        && (!found.is_empty() || !inputs.order.varies.is_empty())
    {
        return found.first().map(ToString::to_string);
    }
    let files = |result: &BuildResult| -> BTreeMap<String, Digest> {
        result.stored_files().map(|(name, _, digest)| (name.to_owned(), digest)).collect()
    };
    let (one, other) = (files(one), files(other));
    let mut names = one.keys().chain(other.keys());
    names.find(|name| one.get(*name) != other.get(*name)).cloned()
}

fn names_of(result: &BuildResult) -> Vec<String> {
    result.stored_files().map(|(name, _, _)| name.to_owned()).collect()
}

/// Returns the result of the last build, if this one differs from it only in what varies by its record. It stays then: so nothing
/// that needs it is built again.
fn alike_before(inputs: &TaskInputs<'_>, build: &KeptBuild<'_>) -> Result<Option<PoolEntry>, TaskError> {
    let order = inputs.order;
    let Some(key) = order.previous.as_ref().filter(|_| !order.varies.is_empty()) else { return Ok(None) };
    let FoundResult::Result(before) = inputs.pool.find(key)? else { return Ok(None) };
    let packages = build.packed.packages.iter().map(|(file, _)| file.clone());
    let now: Vec<String> = packages.chain(build.packed.files.iter().cloned()).collect();
    let (names, directory) = (names_of(&before.result), inputs.place.part("results"));
    let compared = differences(
        &ComparedFiles { directory: &before.path, names: &names },
        &ComparedFiles { directory: &directory, names: &now },
        &order.varies,
    );
    // What cannot be compared is another result.
    Ok(compared.is_ok_and(|found| found.is_empty()).then_some(*before))
}

/// Copies the packages of the result that is in the pool already.
pub(super) fn copy_result(inputs: &TaskInputs<'_>, to: &Dir) -> Result<PackedResult, TaskError> {
    let mut packed = PackedResult::default();
    let FoundResult::Result(entry) = inputs.pool.find(&inputs.order.key)? else {
        return Err(std::io::Error::other("the result that is to be checked is gone").into());
    };
    let from = Dir::of_host(&entry.path)?;
    for package in &entry.result.packages {
        copy_file(&from, package.file.as_bytes(), to, package.file.as_bytes())?;
        let mut params = Params::new();
        params.set("PKG", &package.pkg);
        packed.packages.push((package.file.clone(), params));
    }
    packed.files.extend(entry.result.files.iter().map(|file| file.file.clone()));
    Ok(packed)
}

/// Writes down that the result in the pool was checked.
pub(super) fn keep_check(inputs: &TaskInputs<'_>, leftovers: Vec<String>) -> Result<(), StepError> {
    if let FoundResult::Result(entry) = inputs.pool.find(&inputs.order.key)? {
        let mut result = entry.result;
        (result.check, result.leftovers) = (inputs.work.conf.check, leftovers);
        inputs.pool.describe_anew(&result, &described(&result)?)?;
    }
    Ok(())
}

fn fill(inputs: &TaskInputs<'_>, build: &KeptBuild<'_>, dir: &Dir) -> Result<BuildResult, StepError> {
    let order = inputs.order;
    let mut result = BuildResult::new(NewResult {
        pkgname: order.package.clone(),
        location: order.location.clone(),
        inputs: order.inputs.clone(),
        slot: order.slot.clone(),
        work: inputs.work.id.clone(),
        run: order.run,
        built: order.time.clone(),
    });
    let before = alike_before(inputs, build)?;
    let from = match &before {
        Some(before) => &Dir::of_host(&before.path)?,
        None => build.results,
    };
    for (file, params) in &build.packed.packages {
        let sums = moved(from, file, dir)?;
        result.packages.push(ResultPackage {
            pkg: params.text("PKG").into_owned(),
            arch: params.text("ARCH").into_owned(),
            version: params.text("VERSION").into_owned(),
            file: file.clone(),
            size: sums.size,
            b3: sums.b3,
            sha256: sums.sha256,
        });
    }
    for file in &build.packed.files {
        let sums = moved(from, file, dir)?;
        result.files.push(ResultFile { file: file.clone(), size: sums.size, b3: sums.b3 });
    }
    (result.ms, result.cpu_ms) = (build.costs.ms, build.costs.cpu_ms);
    result.peak_memory = build.costs.peak_memory;
    result.phases = phases(build.costs);
    (result.check, result.leftovers) = (build.level, build.leftovers.clone());
    result.remarks.clone_from(&build.packed.remarks);
    let log = build.logs.read_regular(format!("{}.log", order.package).as_bytes(), LARGEST_LOG)?;
    put(dir, LOG, &compressed(&log.unwrap_or_default())?)?;
    put(dir, RESULT, &described(&result)?)?;
    Ok(result)
}

/// Returns the description of a result. One that nobody would believe is no result.
fn described(result: &BuildResult) -> Result<Vec<u8>, StepError> {
    result.to_bytes().map_err(|error| TaskFailure::of(FailureCause::Result, error.to_string()).into())
}

/// Returns how long each phase took.
fn phases(costs: &BuildCosts) -> Vec<PhaseTime> {
    let ends = costs.phases.iter().skip(1).map(|(_, began)| *began).chain([costs.ms]);
    let phases = costs.phases.iter().zip(ends);
    phases
        .map(|((name, began), end)| PhaseTime { name: name.clone(), ms: end.saturating_sub(*began) })
        .collect()
}

fn put(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), RootError> {
    let mut file = dir.create(name.as_bytes())?;
    file.put(bytes)?;
    file.set_mode(Mode::of(0o644))
}

/// The size and digests of a file.
struct FileSums {
    size: u64,
    b3: Digest,
    sha256: String,
}

/// Copies a file to the directory of a result, and digests the copy.
fn moved(from: &Dir, name: &str, to: &Dir) -> Result<FileSums, RootError> {
    copy_file(from, name.as_bytes(), to, name.as_bytes())?;
    to.set_mode(name.as_bytes(), Mode::of(0o644))?;
    sums(to, name.as_bytes())
}

fn sums(dir: &Dir, name: &[u8]) -> Result<FileSums, RootError> {
    let (mut b3, mut sha256, mut size) = (blake3::Hasher::new(), Sha256::new(), 0);
    let add = |bytes: &[u8]| {
        b3.update(bytes);
        sha256.update(bytes);
        size += bytes.len() as u64;
        Ok(())
    };
    each_part(&dir.open_regular(name)?, |error| dir.read_error(name, error), add)?;
    let b3 = Digest::from_bytes(*b3.finalize().as_bytes());
    Ok(FileSums { size, b3, sha256: sha256_text(&sha256.finalize()) })
}

/// Compresses the log of a build.
fn compressed(log: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(log)?;
    encoder.finish()
}
