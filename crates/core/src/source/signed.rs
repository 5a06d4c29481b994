//! Sources whose signature is asked for: what is signed, whether it is what its manifest says, and whether it stays that.
//!
//! ```text
//!   FILE.manifest beside a file ─► verdict ─► SHA-256 of the file ─► its form is told, and it is read
//!   MANIFEST inside ─► verdict ─► names and what is held in memory ─► packages are parsed from that memory
//! ```
//! Whatever is read a second time is compared again: of a file each MiB with its digest of the first reading, of members
//! each file with its sum in the manifest, the last bytes of which are given to nobody if it differs. An exchange between
//! the check and the use is found when it is used. A patch that nobody asks about, or that has no manifest, costs nothing.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use super::error::SourceProblem;
use super::image::Image;
use super::member::{Kind, PackagePart, SourceMember};
use super::scan::{Scan, check_information};
use super::{Input, Source, SourceError};
use crate::sign::{
    Demand, DemandWord, KeyRole, LARGEST_MANIFEST, LARGEST_SIGNATURE, Manifest, ManifestForm, Sha256Sum,
    SignatureFormat, SignedFiles, Verdict, is_of_manifest, judge, sha256,
};
use patchadm_rootfs::Digest;
use patchadm_svr4::package::PackagePath;

/// What a file is divided into, each part with a digest of its own.
const BLOCK: usize = 1 << 20;

/// What is known of the signature of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSignature {
    /// The verdict; never one that the policy refuses.
    pub verdict: Verdict,
    /// The manifest and its signature, where they are trusted.
    pub files: Option<SignedFiles>,
    /// The id of the patch that a trusted manifest is about.
    pub patch: Option<String>,
}

impl ImageSignature {
    /// That nobody looked.
    pub(super) fn unchecked() -> Self {
        Self { verdict: Verdict::unchecked(), files: None, patch: None }
    }

    fn of(verdict: Verdict, files: Option<SignedFiles>, manifest: Option<&Manifest>) -> Self {
        let files = files.filter(|_| manifest.is_some());
        Self { verdict, files, patch: manifest.map(|manifest| manifest.patch.clone()) }
    }
}

/// What a source must stay.
#[derive(Debug, Default)]
pub(super) struct Seal {
    members: Option<SealedMembers>,
    blocks: Option<Vec<Digest>>,
    /// What was found to be something else, when it was read again.
    broken: OnceLock<String>,
}

/// The manifest of the members, and the directory at the top that they lie in, ended by `/` if there is one.
#[derive(Debug)]
struct SealedMembers {
    manifest: Manifest,
    top: Vec<u8>,
}

/// Opens a patch as far as its signature is good enough for all demands. Everything but the content of the objects is
/// read, as with [`Extent::Everything`](super::Extent::Everything).
pub fn open_signed(path: &Path, demands: &[Demand]) -> Result<(Source, Image), SourceError> {
    if demands.iter().all(|demand| demand.word == DemandWord::Off) {
        return super::open(super::Origin::Path(path), super::Extent::Everything);
    }
    let refused = |verdict: Verdict| SourceError::signature(path, verdict);
    if let Some((file, files)) = beside(path)? {
        let (verdict, manifest) = judge_all(Some(&files), demands).map_err(refused)?;
        let blocks = match &manifest {
            None => None,
            Some(manifest) => {
                let blocks = sealed_blocks(&file, manifest).map_err(|error| match error {
                    FileFault::Io(error) => SourceError {
                        path: path.to_owned(),
                        problem: SourceProblem::Io { file: None, error },
                    },
                    FileFault::Differs(reason) => refused(verdict.clone().but_bad(reason)),
                })?;
                Some(blocks)
            }
        };
        let source = Source::from_sealed_file(file, path, Seal { blocks, ..Seal::default() })?;
        let mut image = source.scan()?;
        image.signature = ImageSignature::of(verdict, Some(files), manifest.as_ref());
        return Ok((source, image));
    }
    open_members(Source::open(path)?, demands)
}

/// Opens a source that may have a manifest inside.
fn open_members(mut source: Source, demands: &[Demand]) -> Result<(Source, Image), SourceError> {
    let path = source.path.clone();
    let refused = |verdict: Verdict| SourceError::signature(&path, verdict);
    let mut scan = Scan::holding_manifests();
    let order = source.walk_into(&mut scan, &|_| true).map_err(|error| source.or_of_patches(error))?;
    let files = scan.signed_files().map_err(|problem| source.or_of_patches(source.error(problem)))?;
    let judged = judge_all(files.as_ref().map(|(_, files)| files), demands);
    let (verdict, manifest) = judged.map_err(|verdict| match scan.has_pkcs7() {
        true => refused(verdict.but_reason(PKCS7)),
        false => refused(verdict),
    })?;
    let mut unread = Vec::new();
    if let (Some(manifest), Some((top, _))) = (&manifest, &files) {
        let bad = |reason: String| refused(verdict.clone().but_bad(reason));
        if manifest.form != ManifestForm::Members {
            return Err(bad("has a manifest inside that is one of a file".to_owned()));
        }
        let sealed = SealedMembers { manifest: manifest.clone(), top: top.clone() };
        sealed.check_names(&source.every_name(&scan)?).map_err(bad)?;
        unread = sealed.check_held(&scan).map_err(bad)?;
        source.seal.members = Some(sealed);
    }
    let name = source.name();
    let image = scan.finish(&name, source.form, &order, &|_| true);
    let mut image = image.map_err(|problem| source.or_of_patches(source.error(problem)))?;
    image.packages.iter().try_for_each(check_information).map_err(|problem| source.error(problem))?;
    image.signature = ImageSignature::of(verdict, files.map(|(_, files)| files), manifest.as_ref());
    source.read_unread(&image, &unread)?;
    Ok((source, image))
}

/// What a Java archive with a signature of Sun's kind is told.
const PKCS7: &str = "is signed as a Java archive (PKCS#7), which is not verified; `patchadm sign` signs it";

/// The verdict of the strictest demand, and the manifest where all of them trust it; the refusing verdict if there is one.
fn judge_all(
    files: Option<&SignedFiles>,
    demands: &[Demand],
) -> Result<(Verdict, Option<Manifest>), Verdict> {
    let mut worst: Option<(Verdict, Option<Manifest>)> = None;
    for demand in demands.iter().filter(|demand| demand.word != DemandWord::Off) {
        let (verdict, manifest) = judge(files, demand, KeyRole::Patch);
        if verdict.is_refused() {
            return Err(verdict);
        }
        if worst.as_ref().is_none_or(|(found, _)| found.state < verdict.state) {
            worst = Some((verdict, manifest));
        }
    }
    Ok(worst.unwrap_or_else(|| (Verdict::unchecked(), None)))
}

/// A file that has a manifest beside it, each opened once; none for anything else.
fn beside(path: &Path) -> Result<Option<(File, SignedFiles)>, SourceError> {
    let fail = |file: &Path, error| SourceError {
        path: path.to_owned(),
        problem: SourceProblem::read(&file.display().to_string(), error),
    };
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let manifest_path = appended(path, ".manifest");
    let manifest = read_if_there(&manifest_path, LARGEST_MANIFEST);
    let Some(manifest) = manifest.map_err(|error| fail(&manifest_path, error))? else { return Ok(None) };
    let mut signature = None;
    for format in SignatureFormat::ALL {
        let signature_path = appended(&manifest_path, format.ending());
        let read = read_if_there(&signature_path, LARGEST_SIGNATURE);
        if let Some(text) = read.map_err(|error| fail(&signature_path, error))? {
            signature = Some((format, text));
            break;
        }
    }
    let file = File::open(path).map_err(|error| fail(path, error))?;
    Ok(Some((file, SignedFiles { manifest, signature })))
}

fn appended(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The first bytes of a file, one more than the limit at most, so that whoever judges them sees that they are too many.
fn read_if_there(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        Ok(_) => {}
    }
    let mut text = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// Why a file has no digests.
enum FileFault {
    Io(io::Error),
    Differs(&'static str),
}

/// Reads a file once: its sum must be that of the manifest; the digest of each MiB.
fn sealed_blocks(file: &File, manifest: &Manifest) -> Result<Vec<Digest>, FileFault> {
    if manifest.form != ManifestForm::File {
        return Err(FileFault::Differs("has a manifest beside it that is one of a directory"));
    }
    let (mut sum, mut blocks) = (Sha256::new(), Vec::new());
    let mut buffer = vec![0; BLOCK];
    loop {
        let at = (blocks.len() * BLOCK) as u64;
        let count = read_block(file, &mut buffer, at).map_err(FileFault::Io)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        sum.update(bytes);
        if count > 0 {
            blocks.push(Digest::of(bytes));
        }
        if count < BLOCK {
            break;
        }
    }
    let sum: Sha256Sum = sum.finalize().into();
    match manifest.entries.first() {
        Some(entry) if entry.sum == sum => Ok(blocks),
        _ => Err(FileFault::Differs("is not the file that its manifest is about")),
    }
}

/// Fills the buffer from a place of a file on, up to the end of the file.
fn read_block(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The block of a file that was read last.
#[derive(Debug, Default)]
pub(super) struct ReadBlock {
    number: Option<usize>,
    bytes: Vec<u8>,
}

impl Seal {
    /// Reads from a file at a position: what is given out was compared with its digest, where there are digests.
    pub(super) fn read_at(
        &self,
        file: &File,
        last: &mut ReadBlock,
        buffer: &mut [u8],
        position: u64,
    ) -> io::Result<usize> {
        let Some(blocks) = &self.blocks else { return file.read_at(buffer, position) };
        let number = usize::try_from(position / BLOCK as u64).unwrap_or(usize::MAX);
        let Some(digest) = blocks.get(number) else { return Ok(0) };
        if last.number != Some(number) {
            last.number = None;
            last.bytes.resize(BLOCK, 0);
            let count = read_block(file, &mut last.bytes, number as u64 * BLOCK as u64)?;
            last.bytes.truncate(count);
            if Digest::of(&last.bytes) != *digest {
                return Err(self.broken_by("it was changed while it was read".to_owned()));
            }
            last.number = Some(number);
        }
        let within = usize::try_from(position % BLOCK as u64).unwrap_or_default();
        let rest = last.bytes.get(within..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    /// The sum that a member must have; an error if it must not be there. None without a manifest of members.
    pub(super) fn expected(&self, member: &SourceMember) -> Option<Result<Sha256Sum, String>> {
        let sealed = self.members.as_ref()?;
        if member.kind == Kind::Directory {
            return None;
        }
        let path = member.path.as_bytes();
        let inside = path.strip_prefix(&sealed.top[..]);
        if inside.is_some_and(is_of_manifest) {
            return None;
        }
        let Some(sum) = inside.and_then(|inside| sealed.manifest.sum(inside)) else {
            return Some(Err(format!("has {}, which its manifest does not list", shown(path))));
        };
        let is_right = match &member.kind {
            // Whoever reads nothing of an empty file has read all of it.
            Kind::File => member.size > 0 || *sum == sha256(b""),
            Kind::HardLink(target) => sealed.sum_of_link(target) == Some(sum),
            _ => false,
        };
        Some(if is_right { Ok(*sum) } else { Err(format!("{} is not what its manifest says", shown(path))) })
    }

    /// What was found to be something else.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    fn broken_by(&self, reason: String) -> io::Error {
        let error = io::Error::new(io::ErrorKind::InvalidData, reason.clone());
        // The first is told.
        let _ = self.broken.set(reason);
        error
    }

    /// Wraps the content of a member that must have this sum.
    pub(super) fn digested<'a>(
        &'a self,
        member: &SourceMember,
        expected: Sha256Sum,
        inner: &'a mut dyn Read,
    ) -> DigestedMember<'a> {
        let name = shown(member.path.as_bytes());
        let left = if member.kind == Kind::File { member.size } else { 0 };
        DigestedMember { seal: self, inner, sum: Sha256::new(), left, expected, name }
    }
}

/// The content of a member, whose last bytes are an error if it is not what the manifest says.
pub(super) struct DigestedMember<'a> {
    seal: &'a Seal,
    inner: &'a mut dyn Read,
    sum: Sha256,
    left: u64,
    expected: Sha256Sum,
    name: String,
}

impl Read for DigestedMember<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        self.left = self.left.saturating_sub(count as u64);
        if self.left == 0 || count == 0 {
            let sum: Sha256Sum = self.sum.clone().finalize().into();
            if sum != self.expected {
                return Err(self.seal.broken_by(format!("{} is not what its manifest says", self.name)));
            }
        }
        Ok(count)
    }
}

impl SealedMembers {
    /// Compares the names of a source with those of the manifest: none more, none less, no link and no device.
    fn check_names(&self, names: &BTreeMap<Vec<u8>, Kind>) -> Result<(), String> {
        let mut met = HashSet::new();
        for (path, kind) in names {
            let Some(inside) = path.strip_prefix(&self.top[..]) else {
                return Err(format!("has {} beside the directory of its manifest", shown(path)));
            };
            if is_of_manifest(inside) && *kind == Kind::File {
                continue;
            }
            let sum = self.manifest.sum(inside);
            match kind {
                Kind::File => {}
                Kind::HardLink(target) if sum.is_some() && sum == self.sum_of_link(target) => {}
                Kind::HardLink(_) => return Err(format!("{} is a link to another file", shown(path))),
                _ => return Err(format!("{} is a link or device, which no manifest covers", shown(path))),
            }
            if sum.is_none() {
                return Err(format!("has {}, which its manifest does not list", shown(path)));
            }
            met.insert(inside);
        }
        let missing = self.manifest.entries.iter().find(|entry| !met.contains(&entry.path[..]));
        match missing {
            Some(entry) => Err(format!("lacks {}, which its manifest lists", shown(&entry.path))),
            None => Ok(()),
        }
    }

    /// The sum of the file that a hard link is another name of.
    fn sum_of_link(&self, target: &PackagePath) -> Option<&Sha256Sum> {
        target.as_bytes().strip_prefix(&self.top[..]).and_then(|inside| self.manifest.sum(inside))
    }

    /// Compares what is held in memory; the paths of everything else.
    fn check_held(&self, scan: &Scan) -> Result<Vec<PackagePath>, String> {
        let mut unread = Vec::new();
        for (path, bytes) in scan.held() {
            let Some(inside) = path.as_bytes().strip_prefix(&self.top[..]) else { continue };
            if is_of_manifest(inside) {
                continue;
            }
            match bytes {
                Some(bytes) if self.manifest.sum(inside) == Some(&sha256(bytes)) => {}
                Some(_) => return Err(format!("{} is not what its manifest says", shown(path.as_bytes()))),
                None => unread.push(path.clone()),
            }
        }
        Ok(unread)
    }
}

fn shown(path: &[u8]) -> String {
    path.get(..200).unwrap_or(path).escape_ascii().to_string()
}

impl Source {
    /// Every name of the source but those of directories.
    fn every_name(&self, scan: &Scan) -> Result<BTreeMap<Vec<u8>, Kind>, SourceError> {
        let mut names = BTreeMap::new();
        if let Input::Directory(directory) = &self.input {
            let mut add = |path: &[u8], kind: &Kind| drop(names.insert(path.to_vec(), kind.clone()));
            directory.each_name(&mut Vec::new(), &mut add).map_err(|problem| self.error(problem))?;
            return Ok(names);
        }
        names.extend(scan.names().map(|path| (path.as_bytes().to_vec(), Kind::File)));
        names.extend(scan.special().map(|(path, kind)| (path.as_bytes().to_vec(), kind.clone())));
        Ok(names)
    }

    /// Reads what will not be read as the content of an object, so that it has been compared as well.
    fn read_unread(&self, image: &Image, unread: &[PackagePath]) -> Result<(), SourceError> {
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
        self.walk::<SourceError>(&mut |member, data| {
            if member.kind == Kind::File && wanted.contains(&member.path) {
                let read = io::copy(data, &mut io::sink());
                read.map_err(|error| self.error(SourceProblem::of_member(&member.path, error)))?;
            }
            Ok(())
        })
    }
}
