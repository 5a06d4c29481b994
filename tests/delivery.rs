//! Packages and patches that the tests make themselves, in every form in which they can be delivered.
//!
//! A package is built object by object, its pkgmap counted from the bytes. It is delivered as a directory, a
//! datastream or an archive, or put on a root by hand: objects, lines in `contents`, pkginfo, as pkgadd(1M) would. What
//! is delivered is always well formed; tests of bad input damage it afterwards.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use patchadm::format::checksum::sum;
use patchadm::format::compress;
use patchadm::format::cpio::{Form, Header};
use patchadm::format::datastream;
use patchadm::package::PkgInst;
use zip::write::SimpleFileOptions;

use crate::scenario::Scenario;

/// When everything that is delivered was last modified: 2020-01-01 00:00:00 UTC.
pub(crate) const DELIVERED: u64 = 1_577_836_800;

/// A package, or the part of a patch that is for one.
#[derive(Clone)]
pub(crate) struct Package {
    /// Its name, also that of its directory.
    pub(crate) name: String,
    parameters: Vec<(String, String)>,
    objects: Vec<Object>,
    information: Vec<(String, Vec<u8>)>,
}

/// An entry of the pkgmap.
#[derive(Clone)]
struct Object {
    path: String,
    /// Type, mode, owner and group, separated by blanks; the type alone for links.
    what: String,
    body: Body,
}

#[derive(Clone)]
enum Body {
    None,
    Bytes(Vec<u8>),
    Target(String),
}

impl Package {
    /// Version 1.0 of a package that lives in `/opt/NAME`, the name without its leading capitals.
    pub(crate) fn new(name: &str) -> Self {
        let home = name.trim_start_matches(|letter: char| letter.is_ascii_uppercase());
        let parameters = [
            ("PKG", name),
            ("NAME", "A package"),
            ("ARCH", "i386"),
            ("VERSION", "1.0"),
            ("CATEGORY", "application"),
            ("CLASSES", "none"),
            ("BASEDIR", &format!("/opt/{home}")),
        ];
        Self {
            name: name.to_owned(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            objects: Vec::new(),
            information: Vec::new(),
        }
    }

    /// Sets a parameter of its pkginfo.
    pub(crate) fn says(mut self, name: &str, value: &str) -> Self {
        self.parameters.retain(|(other, _)| other != name);
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an object with content; `what` is `type mode owner group`.
    pub(crate) fn object(mut self, path: &str, what: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.objects.push(Object {
            path: path.to_owned(),
            what: what.to_owned(),
            body: Body::Bytes(bytes.into()),
        });
        self
    }

    /// Adds a file of everyday attributes.
    pub(crate) fn file(self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.object(path, "f 0755 root bin", bytes)
    }

    /// Adds a directory.
    pub(crate) fn directory(mut self, path: &str) -> Self {
        let what = "d 0755 root bin".to_owned();
        self.objects.push(Object { path: path.to_owned(), what, body: Body::None });
        self
    }

    /// Adds a symbolic link (`s`) or a hard link (`l`).
    pub(crate) fn link(mut self, letter: &str, path: &str, target: &str) -> Self {
        let body = Body::Target(target.to_owned());
        self.objects.push(Object { path: path.to_owned(), what: letter.to_owned(), body });
        self
    }

    /// Adds a file of its `install` directory.
    pub(crate) fn information(mut self, name: &str, text: &str) -> Self {
        self.information.push((name.to_owned(), text.into()));
        self
    }

    /// Makes a patch of one package out of it.
    pub(crate) fn patch(self, id: &str) -> Patch {
        Patch::new(id).package(self)
    }

    fn value(&self, name: &str) -> &str {
        self.parameters.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    fn pkginfo(&self) -> String {
        self.parameters.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    fn pkgmap(&self) -> String {
        let pkginfo = self.pkginfo();
        let mut lines = vec![information_line("pkginfo", pkginfo.as_bytes())];
        lines.extend(self.information.iter().map(|(name, bytes)| information_line(name, bytes)));
        lines.extend(self.objects.iter().map(Object::pkgmap_line));
        lines.sort_by(|one, other| one.0.cmp(&other.0));
        lines.into_iter().fold(": 1 100\n".to_owned(), |text, (_, line)| text + &line + "\n")
    }

    /// Its files, relative to the directory of the package.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files =
            vec![("pkginfo".to_owned(), self.pkginfo().into()), ("pkgmap".to_owned(), self.pkgmap().into())];
        files.extend(self.information.iter().map(|(name, bytes)| (format!("install/{name}"), bytes.clone())));
        files.extend(self.objects.iter().filter_map(|object| match &object.body {
            Body::Bytes(bytes) => Some((object.place(), bytes.clone())),
            _ => None,
        }));
        files
    }
}

fn information_line(name: &str, bytes: &[u8]) -> (String, String) {
    (name.to_owned(), format!("1 i {name} {} {} {DELIVERED}", bytes.len(), sum(bytes)))
}

impl Object {
    /// Where its bytes are in the directory of the package.
    fn place(&self) -> String {
        match self.path.strip_prefix('/') {
            Some(absolute) => format!("root/{absolute}"),
            None => format!("reloc/{}", self.path),
        }
    }

    fn pkgmap_line(&self) -> (String, String) {
        let (letter, attributes) = self.what.split_once(' ').unwrap_or((&self.what, ""));
        let line = match &self.body {
            Body::None => format!("1 {letter} none {} {attributes}", self.path),
            Body::Target(target) => format!("1 {letter} none {}={target}", self.path),
            Body::Bytes(bytes) => {
                let (size, sum) = (bytes.len(), sum(bytes));
                format!("1 {letter} none {} {attributes} {size} {sum} {DELIVERED}", self.path)
            }
        };
        (self.path.clone(), line)
    }

    fn contents_line(&self, path: &str, package: &str) -> String {
        let (letter, attributes) = self.what.split_once(' ').unwrap_or((&self.what, ""));
        match &self.body {
            Body::None => format!("{path} {letter} none {attributes} {package}"),
            Body::Target(target) => format!("{path}={target} {letter} none {package}"),
            Body::Bytes(bytes) => {
                let (size, sum) = (bytes.len(), sum(bytes));
                format!("{path} {letter} none {attributes} {size} {sum} {DELIVERED} {package}")
            }
        }
    }
}

/// A patch: sparse packages and what goes with them.
#[derive(Clone)]
pub(crate) struct Patch {
    id: String,
    packages: Vec<Package>,
    files: Vec<(String, Vec<u8>)>,
}

impl Patch {
    /// A patch without packages yet.
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            packages: Vec::new(),
            files: vec![(format!("README.{id}"), format!("Patch-ID# {id}\n").into())],
        }
    }

    /// Adds a sparse package, which gets the id of the patch.
    pub(crate) fn package(mut self, package: Package) -> Self {
        self.packages.push(package.says("SUNW_PATCHID", &self.id));
        self
    }

    /// Sets a parameter of the package that was added last.
    pub(crate) fn says(mut self, name: &str, value: &str) -> Self {
        let package = self.packages.pop().expect("a package to speak of");
        self.packages.push(package.says(name, value));
        self
    }

    /// Adds a file beside the packages.
    pub(crate) fn beside(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.into()));
        self
    }

    /// Its files, relative to the directory of the patch.
    fn all_files(&self) -> Vec<(String, Vec<u8>)> {
        let of = |package: &Package| {
            let name = package.name.clone();
            package.files().into_iter().map(move |(path, bytes)| (format!("{name}/{path}"), bytes))
        };
        self.packages.iter().flat_map(of).chain(self.files.iter().cloned()).collect()
    }

    /// Writes it as a directory beside the root; gives its path.
    pub(crate) fn directory(&self, stage: &Scenario) -> PathBuf {
        let at = stage.beside("delivered").join(&self.id);
        for (path, bytes) in self.all_files() {
            let path = at.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        at
    }

    fn tar(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in self.all_files() {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(DELIVERED);
            archive.append_data(&mut header, format!("{}/{path}", self.id), &bytes[..]).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn zip(&self) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (path, bytes) in self.all_files() {
            archive.start_file(format!("{}/{path}", self.id), SimpleFileOptions::default()).unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    /// The bytes of a datastream with all its packages.
    pub(crate) fn datastream(&self) -> Vec<u8> {
        let mtime = i64::try_from(DELIVERED).unwrap();
        let announced: Vec<_> = self
            .packages
            .iter()
            .map(|package| datastream::Package {
                inst: PkgInst::new(&package.name).unwrap(),
                parts: 1,
                max_blocks: 100,
                pkginfo: package.pkginfo().into(),
                pkgmap: package.pkgmap().into(),
            })
            .collect();
        let mut stream = datastream::Writer::new(Vec::new(), &announced, mtime).unwrap();
        for package in &self.packages {
            let mut part = stream.begin_part(Form::Newc).unwrap();
            for (path, bytes) in package.files() {
                let header = Header::file(path.as_bytes(), 0o644, mtime, bytes.len() as u64);
                part.member(&header, &bytes[..]).unwrap();
            }
            stream = part.finish().unwrap();
        }
        stream.finish().unwrap()
    }

    /// Writes it in the form that `suffix` names (empty for a directory); gives its path.
    pub(crate) fn delivered(&self, stage: &Scenario, suffix: &str) -> PathBuf {
        let bytes = match suffix {
            "" => return self.directory(stage),
            ".tar" => self.tar(),
            ".tar.gz" => gzip(&self.tar()),
            ".tar.Z" => compressed(&self.tar()),
            ".zip" => self.zip(),
            ".ds" => self.datastream(),
            other => panic!("no form of delivery is called {other}"),
        };
        let directory = stage.beside("delivered");
        fs::create_dir_all(&directory).unwrap();
        let at = directory.join(format!("{}{suffix}", self.id));
        fs::write(&at, bytes).unwrap();
        at
    }
}

/// Compresses as gzip(1) does.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Compresses as compress(1) does.
fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = compress::Encoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Scenario {
    /// Puts packages on the root by hand, as pkgadd(1M) would: objects, `contents`, pkginfo.
    pub(crate) fn install(&self, packages: &[&Package]) {
        let mut lines = Vec::new();
        for package in packages {
            self.directory(package.value("BASEDIR"));
            for object in &package.objects {
                let path = match object.path.strip_prefix('/') {
                    Some(_) => object.path.clone(),
                    None => format!("{}/{}", package.value("BASEDIR"), object.path),
                };
                self.install_object(object, &path);
                lines.push((path.clone(), object.contents_line(&path, &package.name)));
            }
            let mut pkginfo = package.pkginfo();
            let _ = write!(pkginfo, "PKGINST={}\nINSTDATE=Nov 19 2026 12:00\n", package.name);
            self.package(&package.name, &pkginfo);
        }
        let recorded = fs::read_to_string(self.at("/var/sadm/install/contents")).unwrap_or_default();
        let recorded = recorded.lines().filter(|line| !line.starts_with('#'));
        lines.extend(recorded.map(|line| {
            let path = line.split([' ', '=']).next().unwrap_or_default();
            (path.to_owned(), line.to_owned())
        }));
        lines.sort();
        let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        self.contents(&lines);
    }

    fn install_object(&self, object: &Object, path: &str) {
        match (&object.body, &*object.what) {
            (Body::None, _) => self.directory(path),
            (Body::Target(target), "s") => self.symlink(path, target),
            (Body::Target(target), _) => {
                let source = Path::new(path).parent().unwrap().join(target);
                self.link(path, source.to_str().unwrap());
            }
            (Body::Bytes(bytes), what) => {
                self.file(path, bytes);
                let mode = what.split(' ').nth(1).unwrap();
                self.mode(path, u32::from_str_radix(mode, 8).unwrap());
                self.mtime(path, DELIVERED);
            }
        }
    }
}
