//! The deliveries of a story: packages with their objects and bytes.

use std::collections::BTreeMap;

use patchadm_inputs::source::{Image, PackageImage};
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::checksum::sum;
use patchadm_svr4::package::{ContentInfo, Ftype, Mode, Object, ObjectAttributes, PackagePath, Params};

/// The time that delivered files have, unless a story says otherwise.
pub(super) const DELIVERED: i64 = 1_577_836_800;

/// A patch or package with the bytes of its objects.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) image: Image,
    pub(super) bytes: BTreeMap<(usize, PackagePath), Vec<u8>>,
}

/// Returns a patch for version 1.0 of `ACMEweb` in /opt/web, without objects yet. `lists` are further
/// parameters.
pub(super) fn patch(id: &str, lists: &str) -> Parcel {
    Parcel::empty(id).package("ACMEweb", &format!("SUNW_PATCHID={id} {lists}"))
}

impl Parcel {
    pub(super) fn empty(name: &str) -> Self {
        let mut image = Image::without_source(name);
        image.readme = Some((format!("README.{name}"), b"read me\n".to_vec()));
        Self { image, bytes: BTreeMap::new() }
    }

    /// Adds a package; later calls describe it. `lists` are parameters `NAME=a,b`, commas become blanks.
    pub(super) fn package(mut self, name: &str, lists: &str) -> Self {
        let mut params = Params::from_iter([
            ("PKG", name),
            ("NAME", "A package"),
            ("ARCH", "i386"),
            ("VERSION", "1.0"),
            ("CATEGORY", "application"),
            ("CLASSES", "none"),
        ]);
        params.set("BASEDIR", format!("/opt/{}", name.trim_start_matches("ACME")));
        for (name, value) in lists.split_whitespace().filter_map(|word| word.split_once('=')) {
            params.set(name, value.replace(',', " "));
        }
        let map = Pkgmap { parts: 1, max_blocks: 1, compressed_blocks: None, entries: Vec::new() };
        self.image.packages.push(PackageImage::without_source(params, map));
        self
    }

    fn last(&mut self) -> &mut PackageImage {
        self.image.packages.last_mut().unwrap()
    }

    /// Adds an object; `what` is `letter mode owner group`, as `f 0755 root bin`.
    pub(super) fn object(mut self, path: &str, what: &str, bytes: Option<&str>, to: Option<&str>) -> Self {
        let words: Vec<&str> = what.split_whitespace().collect();
        let known = |at: usize| words.get(at).filter(|word| **word != "?").map(|word| (*word).to_owned());
        let mut object = Object::new(Ftype::from_letter(words[0].as_bytes()[0]).unwrap(), "none");
        object.attributes = ObjectAttributes {
            mode: known(1).map(|mode| Mode::new(u32::from_str_radix(&mode, 8).unwrap()).unwrap()),
            owner: known(2).map(Into::into),
            group: known(3).map(Into::into),
        };
        object.target = to.map(|to| to.as_bytes().to_vec());
        let place = PackagePath::new(path.as_bytes()).unwrap();
        if let Some(bytes) = bytes {
            object.content = ContentInfo {
                size: Some(bytes.len() as u64),
                cksum: Some(sum(bytes.as_bytes())),
                mtime: Some(DELIVERED),
            };
            let index = self.image.packages.len() - 1;
            self.bytes.insert((index, place.clone()), bytes.as_bytes().to_vec());
        }
        let last = self.last();
        last.pkgmap.entries.push(PkgmapEntry { part: 1, path: place, object });
        last.pkgmap_bytes = last.pkgmap.write();
        self
    }

    /// Gives the last object a class.
    pub(super) fn of_class(mut self, class: &str) -> Self {
        let last = self.last();
        if let Some(entry) = last.pkgmap.entries.last_mut() {
            entry.object.class = class.into();
        }
        last.pkgmap_bytes = last.pkgmap.write();
        self
    }

    pub(super) fn file(self, path: &str, bytes: &str) -> Self {
        self.object(path, "f 0755 root bin", Some(bytes), None)
    }

    pub(super) fn directory(self, path: &str) -> Self {
        self.object(path, "d 0755 root bin", None, None)
    }

    pub(super) fn symlink(self, path: &str, to: &str) -> Self {
        self.object(path, "s", None, Some(to))
    }

    pub(super) fn link(self, path: &str, to: &str) -> Self {
        self.object(path, "l", None, Some(to))
    }

    pub(super) fn pipe(self, path: &str) -> Self {
        self.object(path, "p 0600 root root", None, None)
    }

    pub(super) fn deletes(mut self, path: &str) -> Self {
        self.last().deletes.push(PackagePath::new(path.as_bytes()).unwrap());
        self
    }

    /// Adds a file of the package's `install` directory.
    pub(super) fn install(mut self, name: &str, text: &str) -> Self {
        let mut object = Object::new(Ftype::Information, "");
        object.content = ContentInfo {
            size: Some(text.len() as u64),
            cksum: Some(sum(text.as_bytes())),
            mtime: Some(DELIVERED),
        };
        let path = PackagePath::new(name.as_bytes()).unwrap();
        let last = self.last();
        last.install.insert(name.to_owned(), text.as_bytes().to_vec());
        last.pkgmap.entries.push(PkgmapEntry { part: 1, path, object });
        last.pkgmap_bytes = last.pkgmap.write();
        self
    }

    /// Sets a parameter of the last package.
    pub(super) fn says(mut self, name: &str, value: &str) -> Self {
        let last = self.last();
        last.params.set(name, value);
        last.pkginfo_bytes = patchadm_svr4::format::params::write(&last.params);
        self
    }
}
