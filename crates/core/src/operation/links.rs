//! Links named after the classic commands. Makes all or none: names taken by other objects are found first. A link that
//! already leads to the program stays.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, FileType, RootError, random};
use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AppletLinks {
    pub made: Vec<&'static str>,
    pub replaced: Vec<&'static str>,
    pub kept: Vec<&'static str>,
}

#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    #[error("{} has other files with these names: {}", .directory.display(), .names.join(" "))]
    Taken {
        directory: PathBuf,
        names: Vec<&'static str>,
        /// Only symbolic links have the names, so they may be replaced.
        only_links: bool,
    },
    #[error("the program cannot find its own file: {0}")]
    Program(io::Error),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// `directory` must exist. `force` replaces links that lead elsewhere, never other objects.
pub fn make_links(
    directory: &Path,
    program: &Path,
    names: &[&'static str],
    force: bool,
) -> Result<AppletLinks, LinksError> {
    let program = fs::canonicalize(program).map_err(LinksError::Program)?;
    let dir = Dir::of_host(directory)?;
    let mut report = AppletLinks::default();
    let (mut taken, mut only_links) = (Vec::new(), true);
    for &name in names {
        match dir.look(name.as_bytes())? {
            None => report.made.push(name),
            Some(_) if fs::canonicalize(directory.join(name)).is_ok_and(|at| at == program) => {
                report.kept.push(name);
            }
            Some(seen) if force && seen.file_type == FileType::Symlink => report.replaced.push(name),
            Some(seen) => {
                only_links &= seen.file_type == FileType::Symlink;
                taken.push(name);
            }
        }
    }
    if !taken.is_empty() {
        return Err(LinksError::Taken { directory: directory.to_owned(), names: taken, only_links });
    }
    let target = program.as_os_str().as_bytes();
    for name in &report.made {
        dir.make_symlink(name.as_bytes(), target)?;
    }
    for name in &report.replaced {
        let new = format!(".{name}-{:016x}", random()?);
        dir.make_symlink(new.as_bytes(), target)?;
        dir.rename(new.as_bytes(), name.as_bytes())?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NAMES: [&str; 3] = ["pkgadd", "pkginfo", "pkgrm"];

    fn stage() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (program, links) = (dir.path().join("patchadm"), dir.path().join("bin"));
        fs::write(&program, "").unwrap();
        fs::create_dir(&links).unwrap();
        (dir, program, links)
    }

    #[test]
    fn links_are_made_once() {
        let (_dir, program, links) = stage();
        let report = make_links(&links, &program, &NAMES, false).unwrap();
        assert_eq!(report, AppletLinks { made: NAMES.to_vec(), ..AppletLinks::default() });
        assert_eq!(fs::canonicalize(links.join("pkginfo")).unwrap(), fs::canonicalize(&program).unwrap());
        let again = make_links(&links, &program, &NAMES, false).unwrap();
        assert_eq!(again, AppletLinks { kept: NAMES.to_vec(), ..AppletLinks::default() });
    }

    #[test]
    fn what_is_there_is_named_and_only_links_can_be_replaced() {
        let (_dir, program, links) = stage();
        symlink("/usr/sbin/pkgadd", links.join("pkgadd")).unwrap();
        let taken = |force| match make_links(&links, &program, &NAMES, force) {
            Err(LinksError::Taken { names, only_links, .. }) => Some((names, only_links)),
            _ => None,
        };
        assert_eq!(taken(false), Some((vec!["pkgadd"], true)));
        fs::write(links.join("pkgrm"), "#!/bin/sh\n").unwrap();
        assert_eq!(taken(true), Some((vec!["pkgrm"], false)));
        assert!(!links.join("pkginfo").exists(), "nothing is made where something is refused");
        fs::remove_file(links.join("pkgrm")).unwrap();
        let report = make_links(&links, &program, &NAMES, true).unwrap();
        assert_eq!((report.replaced, report.made), (vec!["pkgadd"], vec!["pkginfo", "pkgrm"]));
        assert_eq!(fs::read_dir(&links).unwrap().count(), NAMES.len());
    }
}
