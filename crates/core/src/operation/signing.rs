//! Makes keys and signatures, without a root. A patch is signed by its manifest, which is compared with the patch or
//! made. New files appear by one rename; a secret key never replaces another.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use patchadm_inputs::depot::{DepotIndex, LARGEST_INDEX};
use patchadm_inputs::input_file::{InputFile, read_own, read_start};
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{
    KeyFileError, KeyId, KeySeed, LARGEST_MANIFEST, Manifest, ManifestEntry, ManifestForm, PublicKey,
    SecretKey, Sha256Sum,
};
use patchadm_inputs::source::{self, Extent, Origin, SourceError};
use patchadm_rootfs::{Dir, FileType, RootError, random};
use patchadm_svr4::package::Mode;
use patchadm_svr4::patch::{PatchId, PatchMacros};

const PROGRAM: &str = "patchadm-sign";

const MANIFEST_HEAD: &[u8] = b"# patchadm manifest ";
const INDEX_HEAD: &[u8] = b"{\"schema\":\"patchadm-depot/";

const DEEPEST: usize = 256;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("cannot read {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} already exists, and keys are not replaced", .0.display())]
    Exists(PathBuf),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{}: the manifest does not match the patch: {reason}", .path.display())]
    Differs { path: PathBuf, reason: String },
    /// A key, manifest or index is invalid, or a manifest cannot cover an object.
    #[error("{}: {reason}", .path.display())]
    Unfit {
        /// The named path, or one below it.
        path: PathBuf,
        reason: String,
    },
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

impl SigningError {
    fn unfit(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Self::Unfit { path: path.into(), reason: reason.to_string() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedKeyPair {
    pub public: PublicKey,
    pub public_file: PathBuf,
    pub secret_file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeSignature {
    pub target: PathBuf,
    pub file: PathBuf,
    pub key: KeyId,
}

/// Makes `NAME.sec` (0600) and `NAME.pub`, which must not exist. Without a password, the secret key is not encrypted.
pub fn generate_key(
    name: &Path,
    password: Option<&[u8]>,
    comment: Option<&str>,
) -> Result<GeneratedKeyPair, SigningError> {
    let [secret_file, public_file] = ["sec", "pub"].map(|ending| with_ending(name, ending));
    let dir = directory_of(name)?;
    for file in [&secret_file, &public_file] {
        if dir.look(name_of(file))?.is_some() {
            return Err(SigningError::Exists(file.clone()));
        }
    }
    let seed = KeySeed { id: random_bytes()?, secret: random_bytes()?, salt: random_bytes()? };
    let key = SecretKey::new(&seed);
    let public = key.public();
    let comment = comment.map_or_else(|| format!("patchadm secret key {}", public.id), one_line);
    let text =
        key.write(&seed, password, &comment).map_err(|error| SigningError::unfit(&secret_file, error))?;
    put(&dir, &secret_file, text.as_bytes(), 0o600, false)?;
    put(&dir, &public_file, public.write().as_bytes(), 0o644, false)?;
    Ok(GeneratedKeyPair { public, public_file, secret_file })
}

/// Requests the password only for an encrypted key.
pub fn read_secret_key<E: From<SigningError>>(
    path: &Path,
    password: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<SecretKey, E> {
    let wrong = |error| SigningError::unfit(path, error);
    let unreadable = |error| SigningError::Io { path: path.to_owned(), error };
    let text = read_own(path, 4096).map_err(unreadable)?;
    let password = if SecretKey::is_encrypted(&text).map_err(wrong)? { Some(password()?) } else { None };
    Ok(SecretKey::parse(&text, password.as_deref()).map_err(wrong)?)
}

/// Signs a manifest or an index; or a patch by its manifest, which is compared or made. `time` is in seconds since
/// 1970.
pub fn sign_target(key: &SecretKey, target: &Path, time: i64) -> Result<MadeSignature, SigningError> {
    let (manifest, text) = manifest_of(target)?;
    let name = String::from_utf8_lossy(name_of(&manifest)).into_owned();
    let file = appended(&manifest, ".minisig");
    put(&directory_of(&file)?, &file, &signature_file(key, &text, &name, time), 0o644, true)?;
    Ok(MadeSignature { target: target.to_owned(), file, key: key.public().id })
}

pub fn sign_index(key: &SecretKey, text: &[u8], time: i64) -> Vec<u8> {
    signature_file(key, text, "index.json", time)
}

fn signature_file(key: &SecretKey, text: &[u8], name: &str, time: i64) -> Vec<u8> {
    let comment = format!("timestamp:{time}\tfile:{}\thashed", one_line(name));
    let signature = key.sign(text, &comment);
    signature.write(&format!("signature from patchadm secret key {}", signature.key)).into_bytes()
}

fn manifest_of(target: &Path) -> Result<(PathBuf, Vec<u8>), SigningError> {
    let unreadable = |error| SigningError::Io { path: target.to_owned(), error };
    let metadata = std::fs::metadata(target).map_err(unreadable)?;
    if metadata.is_dir() {
        if target.join("pkginfo").is_file() && target.join("../MANIFEST").is_file() {
            let reason = "it is a package of a patch with a manifest; sign the patch";
            return Err(SigningError::unfit(target, reason));
        }
        return checked(target.join("MANIFEST"), || members_manifest(target));
    }
    if !metadata.is_file() {
        let reason = "it is neither a file nor a directory";
        return Err(SigningError::unfit(target, reason));
    }
    if begins_with(target, INDEX_HEAD)? {
        let text = read_file(target, LARGEST_INDEX as u64)?;
        DepotIndex::parse(&text).map_err(|error| SigningError::unfit(target, error))?;
        return Ok((target.to_owned(), text));
    }
    if begins_with(target, MANIFEST_HEAD)? {
        let text = read_file(target, LARGEST_MANIFEST)?;
        Manifest::parse(&text).map_err(|error| SigningError::unfit(target, error))?;
        return Ok((target.to_owned(), text));
    }
    checked(appended(target, ".manifest"), || file_manifest(target))
}

fn begins_with(path: &Path, head: &[u8]) -> Result<bool, SigningError> {
    let start = read_start(path, head.len() as u64);
    let start = start.map_err(|error| SigningError::Io { path: path.to_owned(), error })?;
    Ok(start.starts_with(head))
}

/// Compares the existing manifest with the patch, or writes it.
fn checked(
    path: PathBuf,
    make: impl FnOnce() -> Result<Manifest, SigningError>,
) -> Result<(PathBuf, Vec<u8>), SigningError> {
    let expected = make()?;
    if !path.exists() {
        let text = expected.write();
        put(&directory_of(&path)?, &path, &text, 0o644, false)?;
        return Ok((path, text));
    }
    let text = read_file(&path, LARGEST_MANIFEST)?;
    let difference = match Manifest::parse(&text) {
        Ok(found) => found.difference(&expected),
        Err(error) => Some(error.to_string()),
    };
    match difference {
        None => Ok((path, text)),
        Some(reason) => Err(SigningError::Differs { path, reason }),
    }
}

fn file_manifest(target: &Path) -> Result<Manifest, SigningError> {
    let sum = sum_of(target)?;
    let entries = vec![ManifestEntry { path: name_of(target).to_vec(), sum }];
    Ok(Manifest { patch: patch_id(target)?, form: ManifestForm::File, date: None, entries })
}

fn members_manifest(target: &Path) -> Result<Manifest, SigningError> {
    let patch = patch_id(target)?;
    let mut entries = Vec::new();
    collect(&Dir::of_host(target)?, target, &mut Vec::new(), &mut entries)?;
    entries.retain(|entry| !patchadm_inputs::sign::is_of_manifest(&entry.path));
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Manifest { patch, form: ManifestForm::Members, date: None, entries })
}

/// `above` is the path in the patch, with a slash at the end unless empty.
fn collect(
    dir: &Dir,
    top: &Path,
    above: &mut Vec<u8>,
    entries: &mut Vec<ManifestEntry>,
) -> Result<(), SigningError> {
    let unfit = |above: &[u8], name: &[u8], reason| {
        let path = top.join(OsStr::from_bytes(&[above, name].concat()));
        SigningError::unfit(path, reason)
    };
    if above.split(|&byte| byte == b'/').count() > DEEPEST + 1 {
        return Err(unfit(above, b"", "directories are nested too deeply"));
    }
    for name in dir.names()? {
        match dir.look(&name)?.map(|seen| seen.file_type) {
            Some(FileType::Regular) => {
                let path = [above, &name[..]].concat();
                let sum = sum_of_reader(&mut dir.open_regular(&name)?)
                    .map_err(|error| SigningError::Root(dir.read_error(&name, &error)))?;
                entries.push(ManifestEntry { path, sum });
            }
            Some(FileType::Directory) => {
                let length = above.len();
                above.extend_from_slice(&name);
                above.push(b'/');
                collect(&dir.dir(&name)?, top, above, entries)?;
                above.truncate(length);
            }
            _ => {
                let reason = "it is neither a file nor a directory, and no manifest covers it";
                return Err(unfit(above, &name, reason));
            }
        }
    }
    Ok(())
}

fn patch_id(target: &Path) -> Result<String, SigningError> {
    let (_, image) = source::open(Origin::Path(target), Extent::Everything)?;
    let ids = image.packages.iter().filter_map(|package| {
        Some(PatchMacros::from_params(&package.params, PatchId::SEPARATOR).ok()??.id.to_string())
    });
    let ids: std::collections::BTreeSet<String> = ids.collect();
    let unfit = |reason| SigningError::unfit(target, reason);
    match ids.len() {
        0 => Err(unfit("none of its packages names a patch (SUNW_PATCHID)")),
        1 => Ok(ids.into_iter().next().unwrap_or_default()),
        _ => Err(unfit("its packages name different patches")),
    }
}

fn sum_of(path: &Path) -> Result<Sha256Sum, SigningError> {
    let unreadable = |error| SigningError::Io { path: path.to_owned(), error };
    let mut file = InputFile::open(path).map_err(unreadable)?;
    sum_of_reader(&mut file).map_err(unreadable)
}

fn sum_of_reader(input: &mut impl Read) -> io::Result<Sha256Sum> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(sum.finalize()),
            Ok(count) => sum.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, SigningError> {
    let unreadable = |error| SigningError::Io { path: path.to_owned(), error };
    let text = read_start(path, limit).map_err(unreadable)?;
    if text.len() as u64 > limit {
        return Err(SigningError::unfit(path, "it is too large for such a file"));
    }
    Ok(text)
}

/// Writes a durable file by one rename.
fn put(dir: &Dir, path: &Path, bytes: &[u8], mode: u32, replaces: bool) -> Result<(), SigningError> {
    let (private, mut file) = dir.create_private(PROGRAM)?;
    let name = name_of(path);
    let written = file
        .put(bytes)
        .and_then(|()| file.set_mode(Mode::of(mode)))
        .and_then(|()| file.sync())
        .and_then(|()| if replaces { dir.rename(&private, name) } else { dir.move_to(&private, dir, name) })
        .and_then(|()| dir.sync());
    if let Err(error) = written {
        let _ = dir.remove(&private);
        return Err(error.into());
    }
    Ok(())
}

fn directory_of(path: &Path) -> Result<Dir, RootError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Dir::of_host(parent.unwrap_or(Path::new(".")))
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    appended(name, &format!(".{ending}"))
}

fn appended(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(256).collect()
}

fn random_bytes<const N: usize>() -> Result<[u8; N], RootError> {
    let mut bytes = [0; N];
    for part in bytes.chunks_mut(8) {
        for (to, from) in part.iter_mut().zip(random()?.to_ne_bytes()) {
            *to = from;
        }
    }
    Ok(bytes)
}
