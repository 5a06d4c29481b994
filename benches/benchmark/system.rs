//! The set `system`: regular files of this machine's `/usr`.

use std::fs::{self, File as OpenFile};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::kinds::Kind;
use crate::random::Random;
use crate::slices::BLOCK;
use crate::workload::{Donor, File, Scale, Workload};

/// Where the files are.
const PLACE: &str = "/usr";

/// Takes files in the order of a hash of the seed and their path until there are as many, or as many bytes, as the scale
/// says. Those that come next are what the patch adds.
pub(crate) fn workload(scale: Scale) -> Result<Workload> {
    let mut paths = Vec::new();
    list(Path::new(PLACE), fs::metadata(PLACE)?.dev(), &mut paths)?;
    paths.sort_by_cached_key(|path| (hash(path), path.clone()));
    let mut taken = Vec::new();
    let mut bytes = 0;
    let mut rest = paths.into_iter().filter_map(Taken::new);
    while taken.len() < scale.files && bytes < scale.files * scale.mean {
        let Some(next) = rest.next() else { break };
        bytes += next.size;
        taken.push(next);
    }
    ensure!(taken.len() >= 2 * scale.replaced, "{PLACE} has too few files to measure with");
    let added: Vec<Taken> = rest.take(scale.added).collect();
    let donors = Kind::ALL.map(|kind| donors(&taken, kind));
    let file = |(key, taken): (usize, Taken)| {
        let donors = Arc::clone(&donors[taken.kind as usize]);
        let path = format!("opt/acme{}", taken.path.display());
        File::real(path, Donor { path: taken.path, size: taken.size }, key as u64, donors)
    };
    let base = taken.into_iter().enumerate().map(file).collect();
    let added =
        added.into_iter().enumerate().map(|(number, taken)| file((1_000_000 + number, taken))).collect();
    Ok(Workload::of(base, added, scale))
}

/// A file that is taken.
struct Taken {
    path: PathBuf,
    size: usize,
    kind: Kind,
}

impl Taken {
    /// A file that can be read and has a name that every package format can hold.
    fn new(path: PathBuf) -> Option<Self> {
        if !is_plain(&path) {
            return None;
        }
        let mut file = OpenFile::open(&path).ok()?;
        let size = file.metadata().ok()?.len() as usize;
        let mut begin = Vec::new();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut begin).ok()?;
        Some(Self { path, size, kind: Kind::of(&begin) })
    }
}

/// Whether a path needs no quotes anywhere: letters, digits and a few signs, and not too long.
pub(crate) fn is_plain(path: &Path) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-@,:~".contains(byte);
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.len() < 200 && bytes.iter().all(plain)
}

/// Those of a kind that have a block to give; all that have one where none of the kind has.
fn donors(taken: &[Taken], kind: Kind) -> Arc<[Donor]> {
    let large = || taken.iter().filter(|taken| taken.size >= BLOCK);
    let donor = |taken: &Taken| Donor { path: taken.path.clone(), size: taken.size };
    let of_kind: Arc<[Donor]> = large().filter(|taken| taken.kind == kind).map(donor).collect();
    if of_kind.is_empty() { large().map(donor).collect() } else { of_kind }
}

/// The regular files below a directory, on its file system, outside the directory of this project.
fn list(directory: &Path, device: u64, paths: &mut Vec<PathBuf>) -> Result<()> {
    if directory == Path::new(env!("CARGO_MANIFEST_DIR")) {
        return Ok(());
    }
    // What this user may not read, he cannot measure with.
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            paths.push(entry.path());
        } else if kind.is_dir() && entry.metadata()?.dev() == device {
            list(&entry.path(), device, paths)?;
        }
    }
    Ok(())
}

fn hash(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_encoded_bytes();
    let words = bytes.chunks(8).map(|chunk| chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    Random::seeded(&[11].into_iter().chain(words).collect::<Vec<_>>()).next()
}
