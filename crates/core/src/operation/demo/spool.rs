//! Writes sample packages and patches in directory form, as a producer delivers them.
//!
//! Everything has fixed content, modes and times: two runs write the same bytes. Only new files are made; nothing is
//! overwritten.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::samples::{BASEDIR, EPOCH, Sample, SamplePackage, SamplePatch};
use crate::format::deletes;
use crate::format::params;
use crate::format::pkgmap::{Pkgmap, PkgmapEntry};
use crate::package::checksum;
use crate::package::{ContentInfo, Ftype, Mode, Object, ObjectAttributes, PackagePath, Params, Timestamp};
use crate::root::{Dir, NewTree};

/// The size of a block of a pkgmap's first line, in bytes.
const BLOCK: u64 = 512;

/// Writes a patch into the new directory `at`: README and sparse packages.
pub(super) fn write_patch(at: &Path, patch: &SamplePatch) -> io::Result<()> {
    make_directory(at)?;
    let readme = format!(
        "Patch-ID# {}\n\nSynopsis: {}\n\nPatches accumulated and obsoleted by this patch: {}\n\n\
         Patches required with this patch: {}\n",
        patch.id, patch.synopsis, patch.obsoletes, patch.requires
    );
    write_file(&at.join(format!("README.{}", patch.id)), readme.as_bytes(), 0o644, EPOCH)?;
    let mut macros = vec![("SUNW_PATCHID", patch.id)];
    macros.extend([("SUNW_OBSOLETES", patch.obsoletes), ("SUNW_REQUIRES", patch.requires)]);
    macros.retain(|(_, value)| !value.is_empty());
    patch.packages.iter().try_for_each(|package| write_package(&at.join(package.name), package, &macros))
}

/// Writes a package into the new directory `at`; `macros` are further parameters.
pub(super) fn write_package(at: &Path, package: &SamplePackage, macros: &[(&str, &str)]) -> io::Result<()> {
    make_directory(at)?;
    let mut entries = Vec::new();
    for sample in &package.objects {
        let entry = entry(*sample)?;
        if let Sample::File(path, mode, text, day) = sample {
            let to = at.join("reloc").join(path);
            write_file(&to, text.as_bytes(), *mode, EPOCH + day * 86_400)?;
        }
        entries.push(entry);
    }
    if !package.deletes.is_empty() {
        let paths: Vec<PackagePath> =
            package.deletes.iter().map(|path| path_of(path)).collect::<Result<_, _>>()?;
        make_directory(&at.join("install"))?;
        entries.push(information(&at.join("install/deletes"), "deletes", &deletes::write(&paths))?);
    }
    let parameters = params::write(&parameters(package, macros));
    entries.push(information(&at.join("pkginfo"), "pkginfo", &parameters)?);
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let blocks = entries.iter().map(|entry| entry.object.content.size.unwrap_or(0).div_ceil(BLOCK)).sum();
    let pkgmap = Pkgmap { parts: 1, max_blocks: blocks, compressed_blocks: None, entries };
    write_file(&at.join("pkgmap"), &pkgmap.write(), 0o644, EPOCH)
}

fn parameters(package: &SamplePackage, macros: &[(&str, &str)]) -> Params {
    let fixed = [
        ("PKG", package.name),
        ("NAME", package.title),
        ("ARCH", "all"),
        ("VERSION", "2.0"),
        ("CATEGORY", "application"),
        ("BASEDIR", BASEDIR),
        ("CLASSES", "none"),
    ];
    fixed.iter().chain(macros).copied().collect()
}

fn entry(sample: Sample) -> io::Result<PkgmapEntry> {
    let (path, mut object) = match sample {
        Sample::Directory(path) => (path, owned(Ftype::Directory, 0o755)),
        Sample::File(path, mode, text, day) => {
            let mut object = owned(Ftype::File, mode);
            object.content = content(text.as_bytes(), EPOCH + day * 86_400);
            (path, object)
        }
        Sample::Symlink(path, _) => (path, Object::new(Ftype::Symlink, "none")),
        Sample::Link(path, _) => (path, Object::new(Ftype::Link, "none")),
    };
    if let Sample::Symlink(_, target) | Sample::Link(_, target) = sample {
        object.target = Some(target.as_bytes().to_vec());
    }
    Ok(PkgmapEntry { part: 1, path: path_of(path)?, object })
}

fn owned(ftype: Ftype, mode: u32) -> Object {
    let mut object = Object::new(ftype, "none");
    object.attributes = ObjectAttributes {
        mode: Some(Mode::of(mode)),
        owner: Some("root".to_owned()),
        group: Some("bin".to_owned()),
    };
    object
}

/// Writes an information file, and gives its entry.
fn information(at: &Path, name: &str, bytes: &[u8]) -> io::Result<PkgmapEntry> {
    write_file(at, bytes, 0o644, EPOCH)?;
    let mut object = Object::new(Ftype::Information, "");
    object.content = content(bytes, EPOCH);
    Ok(PkgmapEntry { part: 1, path: path_of(name)?, object })
}

fn content(bytes: &[u8], mtime: i64) -> ContentInfo {
    ContentInfo { size: Some(bytes.len() as u64), cksum: Some(checksum::sum(bytes)), mtime: Some(mtime) }
}

fn path_of(path: &str) -> io::Result<PackagePath> {
    PackagePath::new(path.as_bytes()).map_err(io::Error::other)
}

/// Makes a directory, 0755 whatever the umask says; its parent must be there.
pub(super) fn make_directory(at: &Path) -> io::Result<()> {
    let (above, name) = split(at)?;
    Ok(Dir::of_host(above)?.make_dir(name, Mode::of(0o755)).map(drop)?)
}

/// Makes a file that is not there yet, with the directories above it.
pub(super) fn write_file(at: &Path, bytes: &[u8], mode: u32, mtime: i64) -> io::Result<()> {
    let (above, name) = split(at)?;
    let file = NewTree::at(above)?.write(name, bytes, Mode::of(mode))?;
    Ok(file.set_mtime(Timestamp::whole(mtime))?)
}

fn split(at: &Path) -> io::Result<(&Path, &[u8])> {
    let (Some(above), Some(name)) = (at.parent(), at.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok((if above.as_os_str().is_empty() { Path::new(".") } else { above }, name.as_bytes()))
}
