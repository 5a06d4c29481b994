//! Reads inventories of many hosts, and the previous report, in parallel and each up to a size limit. Unreadable files
//! are reported and do not affect the others.

use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io, thread};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use patchadm_inputs::input_file::{InputDirectory, InputFile, InputKind};
use patchadm_planning::fleet::{InventoryReader, NamedInventory, PastReport, PastReportError};
use patchadm_rootfs::{WorkMeter, WorkUnit};

#[derive(Debug, Default)]
pub struct FleetFiles {
    pub documents: usize,
    pub inventories: Vec<NamedInventory>,
    pub unread: Vec<UnreadInventory>,
    /// Named like inventories, but no regular files in their directory.
    pub passed_over: Vec<PathBuf>,
}

type DocumentResult = (Vec<NamedInventory>, Vec<UnreadInventory>);

/// Reads `jobs` inventories at a time. One from the future is not taken: it would stay the newest of its host.
pub fn read_inventories(
    sources: Vec<InventorySource>,
    now: DateTime<Utc>,
    jobs: NonZeroUsize,
    meter: &WorkMeter,
) -> FleetFiles {
    let mut files = FleetFiles::default();
    let mut all: Vec<Mutex<Option<DocumentSource>>> = Vec::new();
    for source in sources {
        let documents = documents(source, &mut files);
        all.extend(documents.into_iter().map(|document| Mutex::new(Some(document))));
    }
    files.documents = all.len();
    let results: Vec<Mutex<Option<DocumentResult>>> = all.iter().map(|_| Mutex::new(None)).collect();
    let (next, step) = (AtomicUsize::new(0), meter.begin(WorkUnit::Files, all.len() as u64));
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(all.len()) {
            scope.spawn(|| {
                let mut reader = InventoryReader::default();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(document), Some(result)) = (all.get(place), results.get(place)) else { break };
                    let document = document.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let given = document.map(|document| read_document(&mut reader, document, now));
                    *result.lock().unwrap_or_else(PoisonError::into_inner) = given;
                    step.advance(1);
                }
            });
        }
    });
    for result in results {
        let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (inventories, unread) = result.unwrap_or_default();
        files.inventories.extend(inventories);
        files.unread.extend(unread);
    }
    files
}

/// Clocks and time zones differ.
const FUTURE: TimeDelta = TimeDelta::days(1);

fn read_document(
    reader: &mut InventoryReader,
    document: DocumentSource,
    now: DateTime<Utc>,
) -> DocumentResult {
    let (source, machine) = (document.name(), document.machine());
    let unread = |reason: String| UnreadInventory { source: source.clone(), reason };
    let text = match document.text() {
        Ok(text) => text,
        Err(error) => return (Vec::new(), vec![unread(error.to_string())]),
    };
    match reader.read(&text, &machine) {
        Err(error) => (Vec::new(), vec![unread(error.to_string())]),
        Ok(read) => {
            let of_root = |root: &str, reason: String| UnreadInventory {
                source: format!("{source}: root {}", root.escape_debug()),
                reason,
            };
            let failed = read.failed.iter().map(|(root, error)| of_root(root, error.to_string()));
            let (mut inventories, mut unread) = (Vec::new(), failed.collect::<Vec<_>>());
            for inventory in read.inventories {
                match inventory.at.filter(|at| at.signed_duration_since(now) > FUTURE) {
                    Some(at) => {
                        let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
                        let reason = format!("its time is in the future: {at}");
                        unread.push(of_root(&inventory.root, reason));
                    }
                    None => inventories.push(NamedInventory { source: source.clone(), inventory }),
                }
            }
            (inventories, unread)
        }
    }
}

/// 512 MiB: enough for ten thousand hosts with a thousand patches each.
const LARGEST_REPORT: u64 = 512 << 20;

#[derive(Debug, thiserror::Error)]
pub enum PastFileError {
    #[error("cannot read {}: {reason}", .path.display())]
    File { path: PathBuf, reason: io::Error },
    #[error("{}: {reason}", .path.display())]
    Form { path: PathBuf, reason: PastReportError },
}

pub fn read_past_report(path: &Path) -> Result<PastReport, PastFileError> {
    let text = read_limited(path, LARGEST_REPORT)
        .map_err(|reason| PastFileError::File { path: path.to_owned(), reason })?;
    PastReport::parse(&text).map_err(|reason| PastFileError::Form { path: path.to_owned(), reason })
}

/// 64 MiB. A root with 1,000 patches takes about one.
pub const LARGEST_INVENTORY: u64 = 64 << 20;

const DEEPEST: usize = 16;

#[derive(Clone, Debug)]
pub enum InventorySource {
    /// A file, or a directory: all files below it that end in `.json`.
    Path(PathBuf),
    Text {
        /// For messages.
        name: String,
        text: Vec<u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnreadInventory {
    /// With the root in an inventory of many.
    pub source: String,
    /// In one line.
    pub reason: String,
}

impl UnreadInventory {
    fn of(path: &Path, reason: &str) -> Self {
        Self { source: path.display().to_string(), reason: reason.to_owned() }
    }
}

#[derive(Debug)]
enum DocumentSource {
    File(PathBuf),
    /// In a directory that hosts may write to: none of them chooses a file elsewhere by a link.
    Inside {
        top: Arc<InputDirectory>,
        below: PathBuf,
        /// For messages.
        path: PathBuf,
    },
    Text {
        name: String,
        text: Vec<u8>,
    },
}

impl DocumentSource {
    fn name(&self) -> String {
        match self {
            Self::File(path) | Self::Inside { path, .. } => path.display().to_string(),
            Self::Text { name, .. } => name.clone(),
        }
    }

    /// The name of a machine without one in its document: the file name without `.json`.
    fn machine(&self) -> String {
        match self {
            Self::File(path) | Self::Inside { path, .. } => {
                path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
            Self::Text { name, .. } => name.clone(),
        }
    }

    fn text(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Text { text, .. } if text.len() as u64 > LARGEST_INVENTORY => {
                Err(too_large(LARGEST_INVENTORY))
            }
            Self::Text { text, .. } => Ok(text),
            Self::File(path) => read_limited(&path, LARGEST_INVENTORY),
            Self::Inside { top, below, .. } => {
                let file = top.file(&below)?;
                let size = file.metadata()?.len();
                read_up_to(LARGEST_INVENTORY, file, size)
            }
        }
    }
}

fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = InputFile::open(path)?;
    let size = file.metadata()?.len();
    read_up_to(limit, file, size)
}

fn read_up_to(limit: u64, file: impl io::Read, size: u64) -> io::Result<Vec<u8>> {
    if size > limit {
        return Err(too_large(limit));
    }
    let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(limit.saturating_add(1)).read_to_end(&mut text)?;
    if text.len() as u64 > limit { Err(too_large(limit)) } else { Ok(text) }
}

fn too_large(limit: u64) -> io::Error {
    let mebibytes = limit >> 20;
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {mebibytes} MiB ({limit} bytes)"))
}

/// Adds unreadable documents to `files`.
fn documents(source: InventorySource, files: &mut FleetFiles) -> Vec<DocumentSource> {
    let path = match source {
        InventorySource::Text { name, text } => return vec![DocumentSource::Text { name, text }],
        InventorySource::Path(path) => path,
    };
    if !path.is_dir() {
        return vec![DocumentSource::File(path)];
    }
    let top = match InputDirectory::open(&path) {
        Ok(top) => Arc::new(top),
        Err(error) => {
            files.unread.push(UnreadInventory::of(&path, &error.to_string()));
            return Vec::new();
        }
    };
    let (mut found, known) = (Vec::new(), files.unread.len());
    collect((&path, &top), &path, 0, &mut found, files);
    if found.is_empty() && files.unread.len() == known {
        files.unread.push(UnreadInventory::of(&path, "no file below it has a name that ends in .json"));
    }
    found.sort();
    let inside = |found: PathBuf| {
        let below = found.strip_prefix(&path).unwrap_or(&found).to_owned();
        DocumentSource::Inside { top: top.clone(), below, path: found }
    };
    found.into_iter().map(inside).collect()
}

/// Does not follow symbolic links to directories, or out of `top`.
fn collect(
    (path_of_top, top): (&Path, &InputDirectory),
    directory: &Path,
    depth: usize,
    found: &mut Vec<PathBuf>,
    files: &mut FleetFiles,
) {
    let entries = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => return files.unread.push(UnreadInventory::of(directory, &error.to_string())),
    };
    for entry in entries {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|file_type| file_type.is_dir());
        if is_directory && depth < DEEPEST {
            collect((path_of_top, top), &path, depth + 1, found, files);
        } else if is_directory {
            let reason = "it is too deep: only 16 levels of directories are read";
            files.unread.push(UnreadInventory::of(&path, reason));
        } else if path.extension().is_some_and(|ending| ending == "json") {
            let kind = path.strip_prefix(path_of_top).map(|below| top.kind(below));
            if matches!(kind, Ok(Ok(InputKind::File))) {
                found.push(path);
            } else {
                files.passed_over.push(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_the_json_files_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let documents =
            |files: &mut FleetFiles| documents(InventorySource::Path(dir.path().to_owned()), files);
        let mut files = FleetFiles::default();
        assert!(documents(&mut files).is_empty());
        assert_eq!(files.unread[0].reason, "no file below it has a name that ends in .json");
        fs::create_dir(at("web")).unwrap();
        for name in ["b.json", "a.json", "notes.txt", "web/c.json"] {
            fs::write(at(name), "{}").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), at("loop.json")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("device.json")).unwrap();
        let names: Vec<String> = documents(&mut files).iter().map(DocumentSource::machine).collect();
        assert_eq!((names, files.unread.len()), (["a", "b", "c"].map(str::to_owned).to_vec(), 1));
        files.passed_over.sort();
        assert_eq!(files.passed_over, [at("device.json"), at("loop.json")]);
    }

    #[test]
    fn a_link_in_a_directory_leads_to_no_file_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for directory in ["lists", "lists/old"] {
            fs::create_dir(at(directory)).unwrap();
        }
        fs::write(at("secret.json"), "{\"secret\":7}").unwrap();
        fs::write(at("lists/old/a.json"), "{}").unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
        link(Path::new("old/a.json"), "lists/newest.json");
        link(Path::new("../secret.json"), "lists/above.json");
        link(&at("secret.json"), "lists/absolute.json");
        let mut files = FleetFiles::default();
        let documents = documents(InventorySource::Path(at("lists")), &mut files);
        let names: Vec<String> = documents.iter().map(DocumentSource::machine).collect();
        assert_eq!(names, ["newest", "a"]);
        files.passed_over.sort();
        assert_eq!(files.passed_over, [at("lists/above.json"), at("lists/absolute.json")]);
        // A link may take the place of a file that was found.
        fs::remove_file(at("lists/old/a.json")).unwrap();
        link(&at("secret.json"), "lists/old/a.json");
        for document in documents {
            let error = document.text().unwrap_err().to_string();
            assert_eq!(error, "it is a symbolic link that leads out of the directory");
        }
    }

    #[test]
    fn an_inventory_from_the_future_is_not_taken() {
        let now = DateTime::from_timestamp(1_795_158_000, 0).unwrap();
        let read = |at: DateTime<Utc>| {
            let text = format!(
                r#"{{"schema":"patchadm/1","command":"list","at":"{}","patches":[]}}"#,
                at.to_rfc3339_opts(SecondsFormat::Secs, true)
            );
            let source = InventorySource::Text { name: "web".to_owned(), text: text.into_bytes() };
            let files = read_inventories(vec![source], now, NonZeroUsize::MIN, &WorkMeter::default());
            (files.inventories.len(), files.unread)
        };
        assert_eq!(read(now + FUTURE), (1, Vec::new()));
        let late = now + FUTURE + TimeDelta::seconds(1);
        let reason =
            format!("its time is in the future: {}", late.to_rfc3339_opts(SecondsFormat::Secs, true));
        assert_eq!(read(late), (0, vec![UnreadInventory { source: "web: root /".to_owned(), reason }]));
    }

    #[test]
    fn a_text_from_elsewhere_has_the_same_limit() {
        let text = |length: u64| {
            let text = vec![b' '; usize::try_from(length).unwrap()];
            DocumentSource::Text { name: "standard input".to_owned(), text }.text()
        };
        assert!(text(LARGEST_INVENTORY).is_ok() && text(LARGEST_INVENTORY + 1).is_err());
    }

    #[test]
    fn what_is_larger_than_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert!(read_limited(&path, 4).is_err());
        assert!(read_limited(Path::new("/dev/zero"), 4096).is_err(), "its size does not tell");
    }
}
