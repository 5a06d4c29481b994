//! Distfiles: each is what its recipe says, by size and SHA-256, or is fetched from where its recipe says.

use std::path::Path;

use patchadm_bulk_values::records::{BY_DIGEST, Record};
use patchadm_inputs::http::without_password;
use patchadm_inputs::sha256::{Sha256, Sha256Sum};
use patchadm_inputs::sign::sha256_text;
use patchadm_rootfs::{Dir, FileType, RootError, WritableFile};
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

/// Returns the name of a distfile whose own name has another content already: a name belongs to whoever came first, be that the
/// operator or another recipe.
fn name_by_digest(wanted: &WantedDistfile) -> String {
    format!("{BY_DIGEST}/{}", sha256_text(&wanted.sha256))
}

/// Checks that the distfiles of a package are together no larger than its disk space.
pub(crate) fn must_be_within(wanted: &[WantedDistfile], limit: Option<u64>) -> Result<(), String> {
    let bytes = wanted.iter().fold(0_u64, |bytes, distfile| bytes.saturating_add(distfile.size));
    match limit {
        Some(limit) if bytes > limit => {
            Err(format!("DISTFILES has {bytes} bytes, over the limit disk={limit} of the package"))
        }
        _ => Ok(()),
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
        let reason = find(directory, wanted).err()?;
        let Some(url) = &wanted.url else { return Some(MissingDistfile { wanted, reason }) };
        let fetched = place_when_right(directory, wanted, |add| sources.read(url, interrupt, add));
        let error = fetched.err()?;
        Some(MissingDistfile { wanted, reason: format!("{reason}; {}: {error}", without_password(url)) })
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
        let taken = check(from, &wanted.name, wanted).and_then(|()| {
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
        let by_digest = name_by_digest(distfile);
        let copied = copy_one(from, &distfile.name, to, distfile).or_else(|reason| {
            match copy_one(from, &by_digest, to, distfile) {
                Err(Refusal::Package(_)) => Err(reason),
                copied => copied,
            }
        });
        match copied {
            Ok(()) => {}
            Err(Refusal::Package(reason)) => return Ok(Err(format!("{}: {reason}", distfile.name))),
            Err(Refusal::NoSpace(error)) => return Err(error),
        }
    }
    Ok(Ok(()))
}

/// Why a distfile is not copied.
enum Refusal {
    /// It is not what its recipe says, or has a name that cannot be made.
    Package(String),
    /// There is no space.
    NoSpace(RootError),
}

impl From<RootError> for Refusal {
    fn from(error: RootError) -> Self {
        if error.is_no_space() { Self::NoSpace(error) } else { Self::Package(error.to_string()) }
    }
}

/// Copies what lies under this name, if it is what the recipe says.
fn copy_one(from: &Path, name: &str, to: &Path, wanted: &WantedDistfile) -> Result<(), Refusal> {
    let missing = || Refusal::Package("it is not there".to_owned());
    let (dir, name) = place(from, name, false)?.ok_or_else(missing)?;
    let seen = dir.look(&name)?.ok_or_else(missing)?;
    has_size(seen.size, wanted).map_err(Refusal::Package)?;
    let (copies, copy) = place(to, &wanted.name, true)?.ok_or_else(missing)?;
    copy_file(&dir, &name, &copies, &copy)?;
    copies.set_mode(&copy, Mode::of(0o644))?;
    let checked = check(to, &wanted.name, wanted).map_err(Refusal::Package);
    if checked.is_err() {
        copies.remove(&copy)?;
    }
    checked
}

/// Tells whether a distfile is there as its recipe says, or why not: under its name, or under its digest.
fn find(directory: &Path, wanted: &WantedDistfile) -> Result<(), String> {
    check(directory, &wanted.name, wanted)
        .or_else(|reason| check(directory, &name_by_digest(wanted), wanted).map_err(|_| reason))
}

/// Tells whether the file of this name is what a recipe says, or why not.
fn check(directory: &Path, name: &str, wanted: &WantedDistfile) -> Result<(), String> {
    let shown = |error: RootError| error.to_string();
    let missing = || "it is not there".to_owned();
    let (dir, name) = place(directory, name, false).map_err(shown)?.ok_or_else(missing)?;
    let (file, seen) = dir.open_seen(&name).map_err(shown)?.ok_or_else(missing)?;
    has_size(seen.size, wanted)?;
    let mut sums = DistfileSums::default();
    let add = |bytes: &[u8]| {
        sums.add(bytes);
        Ok(())
    };
    each_part(&file, |error| dir.read_error(&name, error), add).map_err(shown)?;
    sums.compare(wanted)
}

fn has_size(size: u64, wanted: &WantedDistfile) -> Result<(), String> {
    if size == wanted.size {
        return Ok(());
    }
    Err(format!("it has {size} bytes instead of {}", wanted.size))
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
        has_size(self.size, wanted)?;
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
        let is_directory =
            dir.look(part.as_bytes())?.is_some_and(|seen| seen.file_type == FileType::Directory);
        if !is_directory && !is_made {
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
    let dir = host_directory(directory).map_err(shown)?;
    dir.remove_leftovers("fetch").map_err(shown)?;
    let (private, mut file) = dir.create_private("fetch").map_err(shown)?;
    let placed = read_into(&mut file, wanted, read).and_then(|()| {
        file.set_mode(Mode::of(0o644)).and_then(|()| file.sync()).map_err(shown)?;
        move_into_place((&dir, &private), directory, wanted).map_err(shown)
    });
    if placed.is_err() {
        // It has a name that nobody looks for.
        let _ = dir.remove(&private);
    }
    placed
}

/// Gives a distfile that is right its name, or its digest as its name where something else has that name already.
fn move_into_place(
    (from, private): (&Dir, &[u8]),
    directory: &Path,
    wanted: &WantedDistfile,
) -> Result<(), RootError> {
    // A name that cannot be made, because a file has the name of its directory, is taken as well.
    if let Ok(Some((dir, name))) = place(directory, &wanted.name, true)
        && dir.look(&name)?.is_none()
        && from.move_to(private, &dir, &name).is_ok()
    {
        return Ok(());
    }
    // Nobody but this program has these names: whatever else has one goes. A file is replaced by a rename, since a build beside
    // this one may be about to open it.
    let is_directory = |dir: &Dir, name: &[u8]| -> Result<Option<bool>, RootError> {
        Ok(dir.look(name)?.map(|seen| seen.file_type == FileType::Directory))
    };
    if is_directory(from, BY_DIGEST.as_bytes())? == Some(false) {
        from.remove(BY_DIGEST.as_bytes())?;
    }
    let Some((dir, name)) = place(directory, &name_by_digest(wanted), true)? else { return Ok(()) };
    if is_directory(&dir, &name)? == Some(true) {
        dir.remove_tree(&name)?;
    }
    from.replace(private, &dir, &name)
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
    use patchadm_rootfs::never;

    fn wanted(name: &str, bytes: &[u8], url: Option<String>) -> WantedDistfile {
        let sha256 = Sha256::digest(bytes);
        WantedDistfile { name: name.to_owned(), sha256, size: bytes.len() as u64, url }
    }

    #[test]
    fn the_password_of_a_source_is_in_no_message() {
        let dir = tempfile::tempdir().unwrap();
        let url = Some("http://user:SECRET@127.0.0.1:9/x".to_owned());
        let wanted = [wanted("x", b"x", url)];
        let missing = provide(dir.path(), &wanted, &Sources::default(), &never);
        let said = missing[0].to_string();
        assert!(said.contains("127.0.0.1:9/x") && !said.contains("SECRET"), "{said}");
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
            let missing = provide(&distfiles, &wanted, &Sources::default(), &never);
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

    #[test]
    fn a_name_keeps_its_content_and_another_content_has_its_digest_as_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (distfiles, copies) = (dir.path().join("distfiles"), dir.path().join("copies"));
        std::fs::create_dir(&distfiles).unwrap();
        std::fs::write(distfiles.join("v.tar"), "by hand!").unwrap();
        let place = |name: &str| {
            let wanted = wanted(name, b"upstream", None);
            place_when_right(&distfiles, &wanted, |add| add(b"upstream"))
        };
        let hex = sha256_text(&Sha256::digest(b"upstream"));
        // A name of a digest with another content is nobody's, and below a file there is no name.
        std::fs::create_dir_all(distfiles.join("by-sha256").join(&hex)).unwrap();
        for name in ["v.tar", "v.tar/x", "new/x", "last.tar/x"] {
            if name == "last.tar/x" {
                std::fs::remove_dir_all(distfiles.join("by-sha256")).unwrap();
                std::fs::write(distfiles.join("by-sha256"), "a file").unwrap();
                std::fs::write(distfiles.join("last.tar"), "by hand!").unwrap();
                assert!(find(&distfiles, &wanted(name, b"upstream", None)).is_err(), "it is to be fetched");
            }
            place(name).unwrap();
            let wanted = wanted(name, b"upstream", None);
            assert_eq!(find(&distfiles, &wanted), Ok(()), "{name}");
            copy_distfiles(&distfiles, &copies, &[wanted]).unwrap().unwrap();
            assert_eq!(std::fs::read(copies.join(name)).unwrap(), b"upstream");
            std::fs::remove_dir_all(&copies).unwrap();
        }
        assert_eq!(std::fs::read(distfiles.join("v.tar")).unwrap(), b"by hand!");
        assert_eq!(std::fs::read(distfiles.join("new/x")).unwrap(), b"upstream");
        assert_eq!(std::fs::read(distfiles.join("by-sha256").join(hex)).unwrap(), b"upstream");
    }

    #[test]
    fn distfiles_that_collide_are_the_failure_of_their_package() {
        let dir = tempfile::tempdir().unwrap();
        let (distfiles, copies) = (dir.path().join("distfiles"), dir.path().join("copies"));
        std::fs::create_dir_all(distfiles.join("by-sha256")).unwrap();
        std::fs::write(distfiles.join("x"), "upstream").unwrap();
        let hex = sha256_text(&Sha256::digest(b"upstream"));
        std::fs::write(distfiles.join("by-sha256").join(hex), "upstream").unwrap();
        for other in ["x", "x/y"] {
            let both = [wanted("x", b"upstream", None), wanted(other, b"upstream", None)];
            assert!(copy_distfiles(&distfiles, &copies, &both).unwrap().is_err(), "{other}");
            std::fs::remove_dir_all(&copies).unwrap();
        }
    }
}
