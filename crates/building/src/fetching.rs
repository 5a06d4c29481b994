//! Distfiles: each is what its recipe says, by size and SHA-256, or is fetched from where its recipe says.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use patchadm_inputs::http::{Address, HttpAnswer, HttpClient, HttpRequest, HttpSettings};
use patchadm_rootfs::{Dir, RootError, WritableFile};
use patchadm_svr4::package::Mode;
use sha2::{Digest as _, Sha256};

use crate::work::{host_directory, made};

/// The bytes that are read at a time.
const PIECE: usize = 1 << 18;

/// A file of upstream that a recipe needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedDistfile {
    /// Its name below the directory of distfiles: a relative path without `.` and `..`.
    pub(crate) name: String,
    /// Its SHA-256.
    pub(crate) sha256: [u8; 32],
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Where it can be had.
    pub(crate) url: Option<String>,
}

/// Makes sure that distfiles are there; the error says which is not, and why.
pub(crate) fn provide(
    directory: &Path,
    wanted: &[WantedDistfile],
    http: &HttpSettings,
    interrupt: &dyn Fn() -> Option<i32>,
) -> Result<(), String> {
    for distfile in wanted {
        let failed = |reason: String| format!("{}: {reason}", distfile.name);
        let found = check(directory, distfile).map_err(|error| failed(error.to_string()))?;
        let Err(reason) = found else { continue };
        let Some(url) = &distfile.url else { return Err(failed(reason)) };
        fetch(directory, distfile, url, (http, interrupt))
            .map_err(|error| failed(format!("{reason}; {url}: {error}")))?;
    }
    Ok(())
}

/// Tells whether a distfile is what its recipe says, or why not.
fn check(directory: &Path, wanted: &WantedDistfile) -> Result<Result<(), String>, RootError> {
    let Some((dir, name)) = place(directory, &wanted.name, false)? else {
        return Ok(Err("it is not there".to_owned()));
    };
    if dir.look(&name)?.is_none() {
        return Ok(Err("it is not there".to_owned()));
    }
    let file = dir.open_regular(&name)?;
    let mut sums = DistfileSums::default();
    let mut buffer = vec![0; PIECE];
    loop {
        let read = file.read_at(&mut buffer, sums.size);
        let read = read.map_err(|error| dir.read_error(&name, &error))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        sums.add(bytes);
    }
    Ok(sums.compare(wanted))
}

/// The size and SHA-256 of what was read so far.
#[derive(Default)]
struct DistfileSums {
    size: u64,
    sha256: Sha256,
}

impl DistfileSums {
    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
    }

    fn compare(self, wanted: &WantedDistfile) -> Result<(), String> {
        if self.size != wanted.size {
            return Err(format!("it has {} bytes instead of {}", self.size, wanted.size));
        }
        let found: [u8; 32] = self.sha256.finalize().into();
        if found == wanted.sha256 { Ok(()) } else { Err("its SHA-256 is another one".to_owned()) }
    }
}

/// Opens the directory that a distfile is in.
fn place(directory: &Path, name: &str, is_made: bool) -> Result<Option<(Dir, Vec<u8>)>, RootError> {
    let (above, name) = name.rsplit_once('/').unwrap_or(("", name));
    let mut dir = host_directory(directory)?;
    for part in above.split('/').filter(|part| !part.is_empty()) {
        if dir.look(part.as_bytes())?.is_none() && !is_made {
            return Ok(None);
        }
        dir = made(&dir, part.as_bytes())?;
    }
    Ok(Some((dir, name.as_bytes().to_vec())))
}

/// How servers are reached, and who asks for the end.
type Network<'a> = (&'a HttpSettings, &'a dyn Fn() -> Option<i32>);

/// Fetches a distfile, and moves it into place when it is right.
fn fetch(directory: &Path, wanted: &WantedDistfile, url: &str, network: Network<'_>) -> Result<(), String> {
    let shown = |error: RootError| error.to_string();
    let Some((dir, name)) = place(directory, &wanted.name, true).map_err(shown)? else { return Ok(()) };
    let (private, mut file) = dir.create_private("fetch").map_err(shown)?;
    let fetched = read_into(&mut file, wanted, url, network);
    let placed = fetched.and_then(|()| {
        file.set_mode(Mode::of(0o644)).and_then(|()| file.sync()).map_err(shown)?;
        dir.remove(&name).and_then(|()| dir.rename(&private, &name)).map_err(shown)
    });
    if placed.is_err() {
        // It has a name that nobody looks for.
        let _ = dir.remove(&private);
    }
    placed
}

fn read_into(
    file: &mut WritableFile,
    wanted: &WantedDistfile,
    url: &str,
    (http, interrupt): Network<'_>,
) -> Result<(), String> {
    let mut sums = DistfileSums::default();
    let mut add = |bytes: &[u8]| {
        sums.add(bytes);
        if sums.size > wanted.size {
            return Err(format!("it has more than {} bytes", wanted.size));
        }
        file.put(bytes).map_err(|error| error.to_string())
    };
    match url.strip_prefix("file:") {
        Some(path) => read_host_file(Path::new(path), &mut add)?,
        None => read_url(url, (http, interrupt), &mut add)?,
    }
    sums.compare(wanted)
}

fn read_host_file(path: &Path, add: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
    let path: PathBuf = path.components().collect();
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut buffer = vec![0; PIECE];
    loop {
        let read = file.read(&mut buffer).map_err(|error| error.to_string())?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        add(bytes)?;
    }
}

fn read_url(
    url: &str,
    (http, interrupt): Network<'_>,
    add: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let address = Address::parse(url).map_err(|error| error.to_string())?;
    let client = HttpClient::new(http);
    let answer = client.get(&HttpRequest::whole(&address), interrupt);
    let HttpAnswer::Content(mut body) = answer.map_err(|error| error.to_string())? else {
        return Err("the server says that nothing has changed".to_owned());
    };
    while let Some(bytes) = body.next_bytes(interrupt).map_err(|error| error.to_string())? {
        add(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, bytes: &[u8], url: Option<String>) -> WantedDistfile {
        let sha256 = Sha256::digest(bytes).into();
        WantedDistfile { name: name.to_owned(), sha256, size: bytes.len() as u64, url }
    }

    fn provided(directory: &Path, wanted: WantedDistfile) -> Result<(), String> {
        provide(directory, &[wanted], &HttpSettings::default(), &|| None)
    }

    #[test]
    fn what_is_missing_or_wrong_is_fetched_and_what_is_right_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::write(&source, "upstream").unwrap();
        let distfiles = dir.path().join("distfiles");
        let url = Some(format!("file:{}", source.display()));
        provided(&distfiles, wanted("a/x.tar", b"upstream", url.clone())).unwrap();
        let path = distfiles.join("a/x.tar");
        assert_eq!(std::fs::read(&path).unwrap(), b"upstream");
        std::fs::write(&path, "cut").unwrap();
        provided(&distfiles, wanted("a/x.tar", b"upstream", url)).unwrap();
        std::fs::remove_file(&source).unwrap();
        provided(&distfiles, wanted("a/x.tar", b"upstream", None)).unwrap();
    }

    #[test]
    fn what_is_wrong_where_it_is_fetched_from_is_no_distfile() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::write(&source, "other").unwrap();
        let url = format!("file:{}", source.display());
        let said = provided(&dir.path().join("d"), wanted("x", b"wrong", Some(url.clone()))).unwrap_err();
        assert_eq!(said, format!("x: it is not there; {url}: its SHA-256 is another one"));
        assert_eq!(std::fs::read_dir(dir.path().join("d")).unwrap().count(), 0);
    }
}
