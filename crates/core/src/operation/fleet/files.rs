//! Where inventories come from: files, directories of them, and what was read from elsewhere.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use patchadm_inputs::input_file::InputFile;

/// The largest document, in bytes: 64 MiB. A root with 1,000 patches takes about one.
pub const LARGEST_INVENTORY: u64 = 64 << 20;

/// How many directories below each other are entered.
const DEEPEST: usize = 16;

/// An inventory that was named.
#[derive(Clone, Debug)]
pub enum InventorySource {
    /// A file, or a directory: all files below it whose names end in `.json`.
    Path(PathBuf),
    /// A text, with its name.
    Text {
        /// The name that messages have for it.
        name: String,
        /// The document.
        text: Vec<u8>,
    },
}

/// An inventory that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadInventory {
    /// The file, with the root where it is about one of many.
    pub source: String,
    /// The reason, in one line.
    pub reason: String,
}

impl UnreadInventory {
    fn of(path: &Path, reason: &str) -> Self {
        Self { source: path.display().to_string(), reason: reason.to_owned() }
    }
}

/// A document that is to be read.
#[derive(Debug)]
pub(super) enum DocumentSource {
    File(PathBuf),
    Text { name: String, text: Vec<u8> },
}

impl DocumentSource {
    /// Returns the name for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text { name, .. } => name.clone(),
        }
    }

    /// Returns the name that a machine has if its document has none: that of the file, without its ending.
    pub(super) fn machine(&self) -> String {
        match self {
            Self::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Text { name, .. } => name.clone(),
        }
    }

    /// Reads the document.
    pub(super) fn text(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Text { text, .. } if text.len() as u64 > LARGEST_INVENTORY => {
                Err(too_large(LARGEST_INVENTORY))
            }
            Self::Text { text, .. } => Ok(text),
            Self::File(path) => read_limited(&path, LARGEST_INVENTORY),
        }
    }
}

/// Reads a file up to a limit; a larger one is refused before it is read, where its size tells.
pub(super) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = InputFile::open(path)?;
    let size = file.metadata()?.len();
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

/// Returns the documents that a source stands for; what cannot be looked at is told beside them.
pub(super) fn documents(source: InventorySource, unread: &mut Vec<UnreadInventory>) -> Vec<DocumentSource> {
    let path = match source {
        InventorySource::Text { name, text } => return vec![DocumentSource::Text { name, text }],
        InventorySource::Path(path) => path,
    };
    if !path.is_dir() {
        return vec![DocumentSource::File(path)];
    }
    let (mut found, known) = (Vec::new(), unread.len());
    collect(&path, 0, &mut found, unread);
    if found.is_empty() && unread.len() == known {
        unread.push(UnreadInventory::of(&path, "no file below it has a name that ends in .json"));
    }
    found.sort();
    found.into_iter().map(DocumentSource::File).collect()
}

/// Collects the files of a directory. Symbolic links to directories are not followed.
fn collect(directory: &Path, depth: usize, found: &mut Vec<PathBuf>, unread: &mut Vec<UnreadInventory>) {
    let entries = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => return unread.push(UnreadInventory::of(directory, &error.to_string())),
    };
    for entry in entries {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|file_type| file_type.is_dir());
        if is_directory && depth < DEEPEST {
            collect(&path, depth + 1, found, unread);
        } else if is_directory {
            unread.push(UnreadInventory::of(&path, "it is too deep: directories are entered 16 levels down"));
        } else if path.extension().is_some_and(|ending| ending == "json") && path.is_file() {
            found.push(path);
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
        let documents = |unread: &mut Vec<UnreadInventory>| {
            documents(InventorySource::Path(dir.path().to_owned()), unread)
        };
        let mut unread = Vec::new();
        assert!(documents(&mut unread).is_empty());
        assert_eq!(unread[0].reason, "no file below it has a name that ends in .json");
        fs::create_dir(at("web")).unwrap();
        for name in ["b.json", "a.json", "notes.txt", "web/c.json"] {
            fs::write(at(name), "{}").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), at("loop.json")).unwrap();
        let names: Vec<String> = documents(&mut unread).iter().map(DocumentSource::machine).collect();
        assert_eq!((names, unread.len()), (["a", "b", "c"].map(str::to_owned).to_vec(), 1));
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
