//! The package as scripts find it: the named directory, or a private copy of what was checked if it is packed, signed,
//! unreadable for the scripts' user, or if others could exchange something in it meanwhile. A copy is a package
//! directory, too, so `dirname $0` works in both.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::operation::device::{DeliveredPackage, OpenDevice};
use crate::operation::failure::Failure;
use crate::script::trust::{ScriptUser, unreadable_by};
use patchadm_inputs::source::{Form, Image, PackageImage, SourceError, SourceProblem};
use patchadm_planning::plan::script_schedule::steps::ListedFile;
use patchadm_planning::plan::{Body, Member};
use patchadm_rootfs::{NewTree, Summing, WritableFile, is_own_tree};
use patchadm_svr4::package::{Mode, PackagePath};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageDirectory {
    pub(crate) package: PathBuf,
    /// A copy has scripts, but no objects until they are unpacked.
    pub(crate) is_copy: bool,
}

impl PackageDirectory {
    /// Copies below `private` unless `user` can read the original and it [`stays_as_checked`].
    pub(crate) fn of(
        delivered: DeliveredPackage<'_>,
        user: Option<ScriptUser>,
        private: &Path,
    ) -> Result<Self, Failure> {
        let DeliveredPackage { device, image: package, .. } = delivered;
        if device.source.form() == Form::Directory {
            let absolute =
                std::path::absolute(device.source.path()).map_err(|error| failed(device, error))?;
            let place = package.directory_in(&absolute);
            let mut needed = vec![place.join("pkginfo"), place.join("pkgmap")];
            needed.extend(package.install.keys().map(|name| place.join("install").join(name)));
            let is_hidden = |path: &PathBuf| user.is_some_and(|user| unreadable_by(user, path).is_some());
            if !needed.iter().any(is_hidden) && stays_as_checked(&device.image, &place) {
                return Ok(Self { package: place, is_copy: false });
            }
        }
        let place = private.join(&package.directory);
        copy(package, &place).map_err(|error| failed(device, error))?;
        Ok(Self { package: place, is_copy: true })
    }

    /// `INST_DATADIR`.
    pub(crate) fn data_directory(&self) -> &Path {
        self.package.parent().unwrap_or(&self.package)
    }

    pub(crate) fn script(&self, name: &str) -> PathBuf {
        self.package.join("install").join(name)
    }

    /// Returns where the content is, or will be unpacked.
    pub(crate) fn object(&self, part: u32, path: &PackagePath) -> PathBuf {
        let (kind, relative) = kind(path);
        let numbered = self.package.join(format!("{kind}.{part}"));
        let top = if !self.is_copy && numbered.is_dir() { numbered } else { self.package.join(kind) };
        top.join(std::ffi::OsStr::from_bytes(relative))
    }

    /// Verifies content against the pkgmap; unpacks it into a copy.
    pub(crate) fn take(&self, delivered: DeliveredPackage<'_>, files: &[&ListedFile]) -> Result<(), Failure> {
        let DeliveredPackage { device, index, image: package } = delivered;
        let members = files.iter().filter_map(|file| member(file)).map(|member| (&member.path, member));
        let members: HashMap<&PackagePath, &Member> = members.collect();
        let mut copy = self.is_copy.then(|| NewTree::at(&self.package)).transpose()?;
        let mut wanted = |of: usize, path: &PackagePath| of == index && members.contains_key(path);
        device.source.stream::<Failure>(&device.image, &mut wanted, &mut |_, path, _, data| {
            let Some(member) = members.get(path) else { return Ok(()) };
            // Only the caller, who runs the scripts, reads it.
            let file = copy.as_mut().map(|copy| copy.file(&unpacked(path)));
            let poured = file.transpose().map_err(|error| error.to_string());
            poured.and_then(|file| pour(member, data, file)).map_err(|reason| {
                let problem = SourceProblem::Corrupt {
                    package: package.directory.clone(),
                    file: path.to_string(),
                    reason,
                };
                SourceError { path: device.source.path().to_owned(), problem }.into()
            })
        })
    }
}

/// True if scripts may use the files of a source in place. A signature promises the very bytes that it covers, and
/// whoever had a file open before may write to it still, so nothing signed is used in place.
pub(crate) fn stays_as_checked(image: &Image, directory: &Path) -> bool {
    image.signature.files.is_none() && is_own_tree(directory).unwrap_or(false)
}

fn kind(path: &PackagePath) -> (&'static str, &[u8]) {
    match path.as_bytes().strip_prefix(b"/") {
        Some(relative) => ("root", relative),
        None => ("reloc", path.as_bytes()),
    }
}

fn unpacked(path: &PackagePath) -> Vec<u8> {
    let (kind, relative) = kind(path);
    [kind.as_bytes(), b"/", relative].concat()
}

pub(crate) fn member(file: &ListedFile) -> Option<&Member> {
    match &file.new.body {
        Body::Member(member) => Some(member),
        _ => None,
    }
}

fn failed(device: &OpenDevice, error: io::Error) -> Failure {
    let path = device.source.path().to_owned();
    SourceError { path, problem: SourceProblem::Io { file: None, error } }.into()
}

fn copy(package: &PackageImage, place: &Path) -> io::Result<()> {
    let mut tree = NewTree::at(place)?;
    let readable = Mode::of(0o644);
    tree.write(b"pkginfo", &package.pkginfo_bytes, readable)?;
    tree.write(b"pkgmap", &package.pkgmap_bytes, readable)?;
    tree.directory(b"install")?;
    for (name, text) in &package.install {
        tree.write(&[b"install/", name.as_bytes()].concat(), text, readable)?;
    }
    Ok(())
}

/// Compares content with the pkgmap, and writes it to `file`, if any. Returns the difference.
fn pour(member: &Member, data: &mut dyn Read, mut file: Option<WritableFile>) -> Result<(), String> {
    let mut summing = Summing::default();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = match data.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.to_string()),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        summing.update(bytes);
        if summing.size() > member.size {
            return Err(format!("size {} expected, more delivered", member.size));
        }
        if let Some(file) = &mut file {
            file.put(bytes).map_err(|error| error.to_string())?;
        }
    }
    let sums = summing.finish();
    if sums.size != member.size {
        return Err(format!("file size <{}> expected <{}> actual", member.size, sums.size));
    }
    if sums.cksum != member.cksum {
        return Err(format!("file cksum <{}> expected <{}> actual", member.cksum, sums.cksum));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn package_at(spool: &Path) -> PathBuf {
        let place = spool.join("ACMEx");
        fs::create_dir_all(place.join("install")).unwrap();
        fs::create_dir_all(place.join("reloc/bin")).unwrap();
        fs::write(place.join("pkginfo"), "PKG=ACMEx\nNAME=X\nARCH=all\nVERSION=1\nCATEGORY=application\n")
            .unwrap();
        fs::write(place.join("reloc/bin/x"), "hello\n").unwrap();
        fs::write(place.join("install/checkinstall"), "exit 0\n").unwrap();
        let size = fs::metadata(place.join("pkginfo")).unwrap().len();
        let sum = patchadm_svr4::package::checksum::sum(&fs::read(place.join("pkginfo")).unwrap());
        let script = patchadm_svr4::package::checksum::sum(b"exit 0\n");
        let map = format!(
            ": 1 2\n1 f none bin/x 0755 root root 6 542 1577836800\n1 i checkinstall 7 {script} 0\n\
             1 i pkginfo {size} {sum} 0\n"
        );
        fs::write(place.join("pkgmap"), map).unwrap();
        place
    }

    fn device(spool: &Path) -> OpenDevice {
        OpenDevice::open(spool, &["ACMEx".to_owned()], &patchadm_rootfs::never).unwrap().unwrap()
    }

    #[test]
    fn a_directory_that_can_be_read_is_used_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let place = package_at(dir.path());
        let device = device(dir.path());
        let medium = PackageDirectory::of(device.delivered(0).unwrap(), None, Path::new("/nowhere")).unwrap();
        assert_eq!(medium, PackageDirectory { package: place.clone(), is_copy: false });
        assert_eq!(medium.data_directory(), dir.path());
        let path = PackagePath::new(b"bin/x").unwrap();
        assert_eq!(medium.object(1, &path), place.join("reloc/bin/x"));
    }

    #[test]
    fn what_others_may_write_to_is_copied_as_it_was_checked() {
        for path in ["ACMEx/reloc/bin/x", "ACMEx/install/checkinstall", "ACMEx/install", "ACMEx", ""] {
            let dir = tempfile::tempdir().unwrap();
            let spool = dir.path().join("spool");
            let place = package_at(&spool);
            fs::set_permissions(spool.join(path), fs::Permissions::from_mode(0o777)).unwrap();
            let device = device(&spool);
            let private = dir.path().join("private");
            let delivered = device.delivered(0).unwrap();
            let medium = PackageDirectory::of(delivered, None, &private).unwrap();
            assert_eq!(medium, PackageDirectory { package: private.join("ACMEx"), is_copy: true }, "{path}");
            fs::write(place.join("install/checkinstall"), "exit 1\n").unwrap();
            assert_eq!(fs::read_to_string(medium.script("checkinstall")).unwrap(), "exit 0\n", "{path}");
        }
    }

    #[test]
    fn what_the_unprivileged_user_cannot_read_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        package_at(&dir.path().join("closed"));
        fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        let device = device(&dir.path().join("closed"));
        let private = dir.path().join("private");
        let stranger = ScriptUser { uid: 54_321, gid: 54_321 };
        let medium = PackageDirectory::of(device.delivered(0).unwrap(), Some(stranger), &private).unwrap();
        assert!(medium.is_copy);
        assert_eq!(fs::read_to_string(medium.script("checkinstall")).unwrap(), "exit 0\n");
        for name in ["pkginfo", "pkgmap"] {
            let (copied, own) = (medium.package.join(name), dir.path().join("closed/ACMEx").join(name));
            assert_eq!(fs::read(copied).unwrap(), fs::read(own).unwrap());
        }
    }
}
