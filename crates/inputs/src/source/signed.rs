//! Sources whose signature counts: verified against their manifest when opened, and sealed afterwards (`seal`). A patch
//! without a required signature, or without a manifest, costs nothing.
//!
//! ```text
//! FILE.manifest beside a file ─► verdict ─► SHA-256 of the file ─► its form is determined, and it is read
//! MANIFEST inside ─► verdict ─► names and files in memory ─► packages are parsed from that memory
//! ```

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::error::SourceProblem;
use super::image::{Image, ImageSignature};
use super::member::{MemberKind, PackagePart};
use super::room::SharedRoom;
use super::scan::{Scan, check_information};
use super::seal::{BLOCK, Seal, SealedMembers, read_block};
use super::{Input, Source, SourceError};
use crate::input_file::{InputDirectory, InputFile};
use crate::program_run::ending_signal;
use crate::sha256::RunningDigest;
use crate::sign::{
    Demand, DemandWord, KeyRole, LARGEST_MANIFEST, LARGEST_SIGNATURE, Manifest, ManifestForm,
    SignatureFormat, SignedFiles, Verdict, judge,
};
use patchadm_rootfs::{Digest, Interrupt};
use patchadm_svr4::package::PackagePath;

/// The signature must satisfy all demands. Reads as much as [`Extent::Everything`](super::Extent::Everything).
pub fn open_signed(path: &Path, demands: &[Demand]) -> Result<(Source, Image), SourceError> {
    open_signed_until(path, demands, &SharedRoom::default(), &ending_signal)
}

/// Like [`open_signed`], with memory that other sources share, and a signal check.
pub fn open_signed_until(
    path: &Path,
    demands: &[Demand],
    room: &SharedRoom,
    interrupt: Interrupt<'_>,
) -> Result<(Source, Image), SourceError> {
    if demands.iter().all(|demand| demand.word == DemandWord::Off) {
        let source = Source::open(path, interrupt)?.sharing(room);
        let image = source.scan(interrupt)?;
        return Ok((source, image));
    }
    let refused = |verdict: Verdict| SourceError::signature(path, verdict);
    if let Some((file, files)) = beside(path)? {
        let (verdict, manifest) = judge_all(Some(&files), demands).map_err(refused)?;
        let blocks = match &manifest {
            None => None,
            Some(manifest) => {
                let blocks = sealed_blocks(&file, manifest, interrupt).map_err(|error| match error {
                    FileFault::Interrupted(signal) => {
                        SourceError { path: path.to_owned(), problem: SourceProblem::Interrupted(signal) }
                    }
                    FileFault::Io(error) => SourceError {
                        path: path.to_owned(),
                        problem: SourceProblem::Io { file: None, error },
                    },
                    FileFault::Differs(reason) => refused(verdict.clone().but_bad(reason)),
                })?;
                Some(blocks)
            }
        };
        let seal = Seal::of_blocks(blocks);
        let source = Source::from_sealed_file(file, path, seal, interrupt)?.sharing(room);
        let mut image = source.scan(interrupt)?;
        image.signature = ImageSignature::of(verdict, Some(files), manifest.as_ref());
        return Ok((source, image));
    }
    open_members(Source::open(path, interrupt)?.sharing(room), demands, interrupt)
}

fn open_members(
    mut source: Source,
    demands: &[Demand],
    interrupt: Interrupt<'_>,
) -> Result<(Source, Image), SourceError> {
    let path = source.path.clone();
    let refused = |verdict: Verdict| SourceError::signature(&path, verdict);
    let mut scan = Scan::holding_manifests().sharing(source.room.clone());
    let order =
        source.walk_into(&mut scan, &|_| true, interrupt).map_err(|error| source.or_of_patches(error))?;
    let files = scan.signed_files().map_err(|problem| source.or_of_patches(source.error(problem)))?;
    let judged = judge_all(files.as_ref().map(|(_, files)| files), demands);
    let (verdict, manifest) = judged
        .map_err(|verdict| refused(if scan.has_pkcs7() { verdict.but_reason(PKCS7) } else { verdict }))?;
    let mut unread = Vec::new();
    if let (Some(manifest), Some((top, _))) = (&manifest, &files) {
        let bad = |reason: String| refused(verdict.clone().but_bad(reason));
        if manifest.form != ManifestForm::Members {
            return Err(bad("contains a manifest that is for a single file".to_owned()));
        }
        let sealed = SealedMembers { manifest: manifest.clone(), top: top.clone() };
        sealed.check_names(&source.every_name(&scan)?).map_err(bad)?;
        unread = sealed.check_held(scan.held()).map_err(bad)?;
        source.seal = Seal::of_members(sealed);
    }
    let name = source.name();
    let image = scan.finish(&name, source.form, &order, &|_| true);
    let mut image = image.map_err(|problem| source.or_of_patches(source.error(problem)))?;
    image.packages.iter().try_for_each(check_information).map_err(|problem| source.error(problem))?;
    image.signature = ImageSignature::of(verdict, files.map(|(_, files)| files), manifest.as_ref());
    source.read_unread(&image, &unread, interrupt)?;
    Ok((source, image))
}

const PKCS7: &str = "is signed as a Java archive (PKCS#7), which is not verified; `patchadm sign` signs it";

/// The verdict of the strictest demand, with the manifest if it is trusted.
fn judge_all(
    files: Option<&SignedFiles>,
    demands: &[Demand],
) -> Result<(Verdict, Option<Manifest>), Verdict> {
    let (mut worst, mut trusted): (Option<Verdict>, Option<Manifest>) = (None, None);
    for demand in demands.iter().filter(|demand| demand.word != DemandWord::Off) {
        let (verdict, manifest) = judge(files, demand, KeyRole::Patch);
        if verdict.is_refused() {
            return Err(verdict);
        }
        trusted = trusted.or(manifest);
        if worst.as_ref().is_none_or(|found| found.state < verdict.state) {
            worst = Some(verdict);
        }
    }
    Ok((worst.unwrap_or_else(Verdict::unchecked), trusted))
}

/// Each is opened once.
fn beside(path: &Path) -> Result<Option<(File, SignedFiles)>, SourceError> {
    let fail = |file: &Path, error| SourceError {
        path: path.to_owned(),
        problem: SourceProblem::read(&file.display().to_string(), error),
    };
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = InputDirectory::open(above).map_err(|error| fail(above, error))?;
    let read =
        |path: &Path, limit| directory.read_start(Path::new(path.file_name().unwrap_or_default()), limit);
    let manifest_path = appended(path, ".manifest");
    let manifest = read(&manifest_path, LARGEST_MANIFEST);
    let Some(manifest) = manifest.map_err(|error| fail(&manifest_path, error))? else { return Ok(None) };
    let mut signature = None;
    for format in SignatureFormat::ALL {
        let signature_path = appended(&manifest_path, format.ending());
        let text = read(&signature_path, LARGEST_SIGNATURE);
        if let Some(text) = text.map_err(|error| fail(&signature_path, error))? {
            signature = Some((format, text));
            break;
        }
    }
    let file = InputFile::open(path).map_err(|error| fail(path, error))?.into_regular();
    Ok(file.ok().map(|file| (file, SignedFiles { manifest, signature })))
}

fn appended(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

enum FileFault {
    Io(io::Error),
    Differs(&'static str),
    Interrupted(i32),
}

/// Limits memory to this many MiB and three more.
const MOST_WAITING: usize = 2;

/// Reads a file once, for its SHA-256 and for the digest of each MiB; both cover the same bytes in memory.
fn sealed_blocks(
    file: &File,
    manifest: &Manifest,
    interrupt: Interrupt<'_>,
) -> Result<Vec<Digest>, FileFault> {
    if manifest.form != ManifestForm::File {
        return Err(FileFault::Differs("has a manifest beside it that is for a directory"));
    }
    let (mut sum, mut blocks) = (RunningDigest::of_parts_waiting(MOST_WAITING), Vec::new());
    let mut spare: Option<Vec<u8>> = None;
    loop {
        if let Some(signal) = interrupt() {
            return Err(FileFault::Interrupted(signal));
        }
        let mut block = spare.take().unwrap_or_default();
        block.resize(BLOCK, 0);
        let count = read_block(file, &mut block, sum.size()).map_err(FileFault::Io)?;
        block.truncate(count);
        if count > 0 {
            blocks.push(Digest::of(&block));
            spare = sum.update(block);
        }
        if count < BLOCK {
            break;
        }
    }
    match manifest.entries.first() {
        Some(entry) if entry.sum == sum.sha256() => Ok(blocks),
        _ => Err(FileFault::Differs("is not the file that its manifest describes")),
    }
}

impl Source {
    fn every_name(&self, scan: &Scan) -> Result<BTreeMap<Vec<u8>, MemberKind>, SourceError> {
        let mut names = BTreeMap::new();
        if let Input::Directory(directory) = &self.input {
            let mut add = |path: &[u8], kind: &MemberKind| drop(names.insert(path.to_vec(), kind.clone()));
            directory.each_name(&mut Vec::new(), &mut add).map_err(|problem| self.error(problem))?;
            return Ok(names);
        }
        names.extend(scan.names().map(|path| (path.as_bytes().to_vec(), MemberKind::File)));
        names.extend(scan.special().map(|(path, kind)| (path.as_bytes().to_vec(), kind.clone())));
        Ok(names)
    }

    /// Reads members that are not read as objects, so that they are compared, too.
    fn read_unread(
        &self,
        image: &Image,
        unread: &[PackagePath],
        interrupt: Interrupt<'_>,
    ) -> Result<(), SourceError> {
        let files: Vec<HashSet<&[u8]>> = image
            .packages
            .iter()
            .map(|package| package.files().map(|entry| entry.path.as_bytes()).collect())
            .collect();
        let is_object = |path: &PackagePath| match image.locate(path) {
            Some((index, PackagePart::Object(_, object))) => {
                files.get(index).is_some_and(|files| files.contains(object))
            }
            _ => false,
        };
        let wanted: HashSet<&PackagePath> = unread.iter().filter(|path| !is_object(path)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        self.walk::<SourceError>(interrupt, &mut |member, data| {
            if member.kind == MemberKind::File && wanted.contains(&member.path) {
                let read = io::copy(data, &mut io::sink());
                read.map_err(|error| self.error(SourceProblem::of_member(&member.path, error)))?;
            }
            Ok(())
        })
    }
}
