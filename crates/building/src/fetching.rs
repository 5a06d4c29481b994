//! Distfiles: each is what its recipe says, by size and SHA-256, or is fetched from where its recipe says.

use std::path::Path;

use patchadm_bulk::records::Record;
use patchadm_inputs::sha256::{Sha256, Sha256Sum};
use patchadm_rootfs::{Dir, RootError, WritableFile};
use patchadm_svr4::package::Mode;
use serde::{Deserialize, Serialize};

use crate::file_copy::{copy_file, each_part};
use crate::sources::{AddBytes, Sources};
use crate::work::{host_directory, made};

/// A file of upstream that a recipe needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedDistfile {
    /// Its name below the directory of distfiles: a relative path without `.` and `..`.
    pub name: String,
    /// Its SHA-256.
    pub sha256: Sha256Sum,
    /// Its size in bytes.
    pub size: u64,
    /// Where it can be had.
    pub url: Option<String>,
}

impl WantedDistfile {
    /// Returns those that a record names.
    pub(crate) fn of(record: &Record) -> Vec<Self> {
        let wanted = record.distfiles().into_iter().map(|distfile| Self {
            name: distfile.name.to_owned(),
            sha256: distfile.sha256,
            size: distfile.size,
            url: distfile.url.map(str::to_owned),
        });
        wanted.collect()
    }
}

/// A distfile that is not there, with the reason.
#[derive(Debug)]
pub(crate) struct MissingDistfile<'a> {
    wanted: &'a WantedDistfile,
    reason: String,
}

impl std::fmt::Display for MissingDistfile<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.wanted.name, self.reason)
    }
}

/// Looks whether distfiles are there, and fetches the others from where their recipe says; returns those that are not there
/// then, in their order.
pub(crate) fn provide<'a>(
    directory: &Path,
    wanted: &'a [WantedDistfile],
    sources: &Sources,
    interrupt: &dyn Fn() -> Option<i32>,
) -> Vec<MissingDistfile<'a>> {
    let missing = |wanted: &'a WantedDistfile| {
        let found = check(directory, wanted).unwrap_or_else(|error| Err(error.to_string()));
        let reason = found.err()?;
        let Some(url) = &wanted.url else { return Some(MissingDistfile { wanted, reason }) };
        let fetched = place_when_right(directory, wanted, |add| sources.read(url, interrupt, add));
        let error = fetched.err()?;
        Some(MissingDistfile { wanted, reason: format!("{reason}; {url}: {error}") })
    };
    wanted.iter().filter_map(missing).collect()
}

/// Takes distfiles that are missing from another directory, in which no link is followed; the error says which is not there
/// either, and why. `source` is what wrote that directory.
pub(crate) fn take_from(
    directory: &Path,
    from: &Path,
    missing: &[MissingDistfile<'_>],
    source: &str,
) -> Result<(), String> {
    for missing in missing {
        let wanted = missing.wanted;
        let failed = |reason: String| format!("{missing}; {source}: {reason}");
        let found = check(from, wanted).unwrap_or_else(|error| Err(error.to_string()));
        let taken = found.and_then(|()| {
            let shown = |error: RootError| error.to_string();
            let Some((dir, name)) = place(from, &wanted.name, false).map_err(shown)? else { return Ok(()) };
            let file = dir.open_regular(&name).map_err(shown)?;
            place_when_right(directory, wanted, |add| each_part(&file, ToString::to_string, add))
        });
        taken.map_err(failed)?;
    }
    Ok(())
}

/// Copies distfiles to an empty directory, where a build sees them; the inner error says which copy is not what its recipe says.
pub(crate) fn copy_distfiles(
    from: &Path,
    to: &Path,
    wanted: &[WantedDistfile],
) -> Result<Result<(), String>, RootError> {
    for distfile in wanted {
        if let Some((dir, name)) = place(from, &distfile.name, false)?
            && dir.look(&name)?.is_some()
            && let Some((copies, _)) = place(to, &distfile.name, true)?
        {
            copy_file(&dir, &name, &copies, &name)?;
            copies.set_mode(&name, Mode::of(0o644))?;
        }
        if let Err(reason) = check(to, distfile)? {
            return Ok(Err(format!("{}: {reason}", distfile.name)));
        }
    }
    Ok(Ok(()))
}

/// Tells whether a distfile is what its recipe says, or why not.
fn check(directory: &Path, wanted: &WantedDistfile) -> Result<Result<(), String>, RootError> {
    let Some((dir, name)) = place(directory, &wanted.name, false)? else {
        return Ok(Err("it is not there".to_owned()));
    };
    if dir.look(&name)?.is_none() {
        return Ok(Err("it is not there".to_owned()));
    }
    let mut sums = DistfileSums::default();
    let add = |bytes: &[u8]| {
        sums.add(bytes);
        Ok(())
    };
    each_part(&dir.open_regular(&name)?, |error| dir.read_error(&name, error), add)?;
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
        if self.sha256.finalize() == wanted.sha256 {
            Ok(())
        } else {
            Err("its SHA-256 is another one".to_owned())
        }
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

/// Writes a distfile as `read` hands it on, and moves it into place when it is right.
fn place_when_right(
    directory: &Path,
    wanted: &WantedDistfile,
    read: impl FnOnce(AddBytes<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let shown = |error: RootError| error.to_string();
    let Some((dir, name)) = place(directory, &wanted.name, true).map_err(shown)? else { return Ok(()) };
    dir.remove_leftovers("fetch").map_err(shown)?;
    let (private, mut file) = dir.create_private("fetch").map_err(shown)?;
    let placed = read_into(&mut file, wanted, read).and_then(|()| {
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
    read: impl FnOnce(AddBytes<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let mut sums = DistfileSums::default();
    read(&mut |bytes: &[u8]| {
        sums.add(bytes);
        if sums.size > wanted.size {
            return Err(format!("it has more than {} bytes", wanted.size));
        }
        file.put(bytes).map_err(|error| error.to_string())
    })?;
    sums.compare(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, bytes: &[u8], url: Option<String>) -> WantedDistfile {
        let sha256 = Sha256::digest(bytes);
        WantedDistfile { name: name.to_owned(), sha256, size: bytes.len() as u64, url }
    }

    #[test]
    fn what_is_missing_is_taken_from_a_directory_where_it_is_right_and_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (distfiles, from) = (dir.path().join("distfiles"), dir.path().join("from"));
        std::fs::create_dir_all(from.join("a")).unwrap();
        std::fs::write(from.join("a/x.tar"), "upstream").unwrap();
        std::fs::write(from.join("y"), "other").unwrap();
        std::os::unix::fs::symlink("a/x.tar", from.join("z")).unwrap();
        let taken = |wanted: WantedDistfile| {
            let wanted = [wanted];
            let missing = provide(&distfiles, &wanted, &Sources::default(), &|| None);
            take_from(&distfiles, &from, &missing, "fetch")
        };
        taken(wanted("a/x.tar", b"upstream", None)).unwrap();
        assert_eq!(std::fs::read(distfiles.join("a/x.tar")).unwrap(), b"upstream");
        let said = taken(wanted("y", b"wrong", None)).unwrap_err();
        assert_eq!(said, "y: it is not there; fetch: its SHA-256 is another one");
        assert!(taken(wanted("z", b"upstream", None)).is_err());
        let said = taken(wanted("none", b"", None)).unwrap_err();
        assert_eq!(said, "none: it is not there; fetch: it is not there");
        assert_eq!(std::fs::read_dir(&distfiles).unwrap().count(), 1);
    }

    #[test]
    fn a_build_sees_copies_that_are_what_its_recipe_says() {
        let dir = tempfile::tempdir().unwrap();
        let (distfiles, copies) = (dir.path().join("distfiles"), dir.path().join("copies"));
        std::fs::create_dir_all(distfiles.join("a")).unwrap();
        std::fs::write(distfiles.join("a/x.tar"), "upstream").unwrap();
        let copied = |wanted: WantedDistfile| copy_distfiles(&distfiles, &copies, &[wanted]).unwrap();
        copied(wanted("a/x.tar", b"upstream", None)).unwrap();
        assert_eq!(std::fs::read(copies.join("a/x.tar")).unwrap(), b"upstream");
        std::fs::remove_dir_all(&copies).unwrap();
        let said = copied(wanted("a/x.tar", b"UPSTREAM", None)).unwrap_err();
        assert_eq!(said, "a/x.tar: its SHA-256 is another one");
        let said = copied(wanted("b/y.tar", b"", None)).unwrap_err();
        assert_eq!(said, "b/y.tar: it is not there");
    }
}
