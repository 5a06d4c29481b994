use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};

use md5::{Digest as _, Md5};

use crate::sha256::Sha256;
use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_rootfs::RootError;
use patchadm_svr4::package::{ContentInfo, Ftype, ObjectPath, Params, PkgInst};

#[derive(Clone, Debug)]
pub struct NativePackage {
    pub origin: NativeOrigin,
    /// With epoch, and revision or release.
    pub version: String,
    /// Changes when the same version is installed again.
    pub stamp: String,
    pub arch: String,
    pub title: Option<String>,
    pub has_other_versions: bool,
    /// At their actual places.
    pub paths: BTreeMap<ObjectPath, NativePath>,
    /// Places to which somebody diverted its files.
    pub diverted: BTreeSet<ObjectPath>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativePath {
    /// Of a regular file: `f`, or `e` for a configuration file.
    pub ftype: Ftype,
    /// `None` for objects without bytes, and if it is not recorded.
    pub sum: Option<FileSum>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NativePresence {
    Installed {
        version: String,
        arch: String,
        /// Changes when the same version is installed again.
        stamp: String,
    },
    /// It is being changed, or half installed.
    Busy(UnfinishedChange),
    Gone,
}

/// The step that finishes the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnfinishedChange {
    /// It was unpacked, and is to be configured.
    Configure,
    /// Its files may be of two versions: it must be installed again.
    Reinstall,
}

#[derive(Clone, Copy, Debug)]
pub struct RegisteredPackage<'a> {
    pub origin: &'a NativeOrigin,
    /// At adoption or refresh.
    pub version: &'a str,
    /// At adoption or refresh.
    pub arch: &'a str,
}

impl NativePackage {
    pub fn registration(&self) -> NativeRegistration {
        NativeRegistration {
            version: self.version.clone(),
            digest: Some(self.digest()),
            stamp: Some(self.stamp.clone()),
            diverted: Some(differing_text(&self.diverted)).filter(|text| !text.is_empty()),
        }
    }

    /// Returns the time when it was last unpacked, in seconds since 1970, if recorded.
    pub fn installed_at(&self) -> Option<i64> {
        let moment = |word: &str| {
            let (_, moment) = word.rsplit_once('@').unwrap_or(("", word));
            moment.split('.').next().and_then(|seconds| seconds.parse().ok())
        };
        self.stamp.split_whitespace().filter_map(moment).max()
    }

    /// SHA-256 over the sorted paths, each with its type and sum.
    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (path, native) in &self.paths {
            let sum = native.sum.map(|sum| sum.to_string()).unwrap_or_default();
            digest.update(path.as_bytes());
            digest.update([0]);
            digest.update([native.ftype.letter()]);
            digest.update(sum);
            digest.update(b"\n");
        }
        FileSum::Sha256(digest.finalize()).to_string()
    }
}

/// The origin of an adopted package: `dpkg NAME:ARCH`, `rpm NAME`, `rpm NAME.ARCH`, `rpm NAME-VERSION-RELEASE.ARCH`,
/// `tree` or `paths`.
pub const ADOPTED: &str = "PATCHADM_ADOPTED";

/// Of the rpm package, if [`ADOPTED`] has more than the name.
pub const NATIVE_NAME: &str = "NATIVE_NAME";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NativeManager {
    Dpkg,
    Rpm,
}

impl NativeManager {
    pub const ALL: [Self; 2] = [Self::Dpkg, Self::Rpm];

    pub fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manager| manager.name() == name)
    }
}

impl fmt::Display for NativeManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A native package as a registration names it. An rpm package that is installed once is named alone and followed
/// through upgrades; with several architectures by name and architecture; with several versions exactly, and it is
/// followed nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NativeOrigin {
    pub manager: NativeManager,
    pub name: String,
    /// Always present for dpkg.
    pub arch: Option<String>,
    /// With epoch and release, for one of several rpm packages of a name.
    pub version: Option<String>,
}

impl NativeOrigin {
    /// Returns the origin of an adopted package; `None` for a tree or paths.
    pub fn of(params: &Params) -> Option<Self> {
        let origin = Self::parse(&params.text(ADOPTED))?;
        let name = params.text(NATIVE_NAME);
        let one_of_several = || {
            let rest = origin.name.strip_prefix(name.trim()).filter(|_| !name.trim().is_empty())?;
            let (version, arch) = rest.rsplit_once('.')?;
            let version = match version {
                "" => None,
                version => Some(version.strip_prefix('-')?.to_owned()),
            };
            Some(Self {
                name: name.trim().to_owned(),
                arch: Some(arch.to_owned()),
                version,
                manager: origin.manager,
            })
        };
        Some(match origin.manager {
            NativeManager::Rpm => one_of_several().unwrap_or(origin),
            NativeManager::Dpkg => origin,
        })
    }

    pub fn write(&self, params: &mut Params) {
        params.set(ADOPTED, self.to_string());
        match (self.manager, &self.arch) {
            (NativeManager::Rpm, Some(_)) => params.set(NATIVE_NAME, self.name.as_str()),
            _ => params.remove(NATIVE_NAME),
        }
    }

    /// Parses the value of [`ADOPTED`]. Everything after `rpm` is the name.
    pub fn parse(text: &str) -> Option<Self> {
        let (manager, package) = text.trim().split_once(' ')?;
        let manager = NativeManager::named(manager)?;
        let (name, arch) = match manager {
            NativeManager::Dpkg => {
                package.split_once(':').map_or((package, None), |(name, arch)| (name, Some(arch)))
            }
            NativeManager::Rpm => (package, None),
        };
        let is_name = !name.is_empty() && !name.starts_with('-') && !name.contains(['/', ' ', '\t', '\n']);
        is_name.then(|| Self { manager, name: name.to_owned(), arch: arch.map(str::to_owned), version: None })
    }

    /// Architecture and version may differ.
    pub fn is_instance_of(&self, other: &Self) -> bool {
        self.manager == other.manager && self.name == other.name
    }

    pub fn queried(&self) -> String {
        let whole = self.to_string();
        whole.split_once(' ').map_or_else(|| whole.clone(), |(_, package)| package.to_owned())
    }
}

impl fmt::Display for NativeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manager, name, arch, version } = self;
        match (manager, arch, version) {
            (_, None, _) => write!(f, "{manager} {name}"),
            (NativeManager::Dpkg, Some(arch), _) => write!(f, "{manager} {name}:{arch}"),
            (NativeManager::Rpm, Some(arch), None) => write!(f, "{manager} {name}.{arch}"),
            (NativeManager::Rpm, Some(arch), Some(version)) => {
                write!(f, "{manager} {name}-{version}.{arch}")
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NativeOwner {
    pub origin: NativeOrigin,
    /// Empty if not recorded.
    pub version: String,
}

impl NativeOwner {
    /// Returns it in words with its manager, as `openssl 3.0.22-1 (dpkg)`.
    pub fn with_manager(&self) -> String {
        format!("{self} ({})", self.origin.manager)
    }
}

impl fmt::Display for NativeOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, version } = self;
        let arch = origin.arch.as_ref().filter(|_| version.is_empty());
        write!(f, "{}", origin.name)?;
        match arch {
            Some(arch) => write!(f, ":{arch}"),
            None if version.is_empty() => Ok(()),
            None => write!(f, " {version}"),
        }
    }
}

// The name of an adopted package is the native one with a prefix, by the rules of pkginfo(4). Further installations are
// instances: `DEBlibssl3.i386`, `RPMkernel.5d41402a`.

/// In bytes (pkginfo(4)).
pub const LONGEST_PKG: usize = 32;

const DIGITS: usize = 6;
const INSTANCE_DIGITS: usize = 8;

impl NativeManager {
    /// Prefixes `DEB` or `RPM`, with a hyphen for every invalid byte. A name that gets too long is cut and ends with
    /// the first digits of its SHA-256.
    pub fn package_name(self, name: &str) -> String {
        let prefix = match self {
            Self::Dpkg => "DEB",
            Self::Rpm => "RPM",
        };
        let is_kept = |letter: char| letter.is_ascii_alphanumeric() || "+-".contains(letter);
        let letters = name.bytes().map(char::from).map(|letter| if is_kept(letter) { letter } else { '-' });
        let whole: String = prefix.chars().chain(letters).collect();
        if whole.len() <= LONGEST_PKG {
            return whole;
        }
        let start: String = whole.chars().take(LONGEST_PKG - DIGITS - 1).collect();
        format!("{start}-{}", digits(name, DIGITS))
    }

    /// Returns the manager of an adopted package by its usual name, if nothing else of its record is left.
    pub fn of_package_name(package: &PkgInst) -> Option<Self> {
        let is_named = |manager: &Self| {
            let rest = package.as_str().strip_prefix(&manager.package_name(""));
            rest.is_some_and(|rest| {
                rest.starts_with(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
            })
        };
        Self::ALL.into_iter().find(is_named)
    }
}

impl NativePackage {
    /// Returns the name of a registration if [`NativeManager::package_name`] is taken: an instance with the
    /// architecture, or for rpm with the digest of name, version and architecture.
    pub fn instance_name(&self) -> String {
        let NativeOrigin { manager, name, .. } = &self.origin;
        let suffix = match manager {
            NativeManager::Dpkg => self.arch.clone(),
            NativeManager::Rpm => digits(&format!("{name}-{}.{}", self.version, self.arch), INSTANCE_DIGITS),
        };
        format!("{}.{suffix}", manager.package_name(name))
    }
}

fn digits(text: &str, count: usize) -> String {
    FileSum::Sha256(Sha256::digest(text)).to_string().chars().take(count).collect()
}

/// At adoption or refresh, as its manager prints it.
pub const NATIVE_VERSION: &str = "NATIVE_VERSION";

/// SHA-256 over the native records of its paths.
pub const NATIVE_DIGEST: &str = "NATIVE_DIGEST";

/// Changes when the same version is installed again.
pub const NATIVE_STAMP: &str = "NATIVE_STAMP";

/// Escaped paths of files that differed from the native record: bytes of an administrator.
pub const NATIVE_DIFFERING: &str = "NATIVE_DIFFERING";

/// Of the files among them: `PATH:SIZE:SUM:TIME`, as the registration records the edited file.
pub const NATIVE_EDITED: &str = "NATIVE_EDITED";

/// Escaped places to which files of the package were diverted.
pub const NATIVE_DIVERTED: &str = "NATIVE_DIVERTED";

/// Applied patches that were partly handed over to the native package.
pub const NATIVE_OVERTAKEN: &str = "NATIVE_OVERTAKEN";

/// Only adoptions and refreshes write such parameters: no patch delivers them, and no backout restores them.
pub fn is_native_parameter(name: &str) -> bool {
    name.starts_with("NATIVE_")
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeRegistration {
    pub version: String,
    /// `None` in a registration of an earlier form.
    pub digest: Option<String>,
    /// Changes when the same version is installed again; `None` in a registration of an earlier form.
    pub stamp: Option<String>,
    /// Escaped places of diverted files.
    pub diverted: Option<String>,
}

impl NativeRegistration {
    /// Reads the registration of an adopted package. An earlier form only had `VERSION`.
    pub fn of(params: &Params) -> Self {
        let value = |name: &str| Some(params.text(name).trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            version: value(NATIVE_VERSION).or_else(|| value("VERSION")).unwrap_or_default(),
            digest: value(NATIVE_DIGEST),
            stamp: value(NATIVE_STAMP),
            diverted: value(NATIVE_DIVERTED),
        }
    }

    /// Returns the version, which an earlier form lacks.
    pub fn named_version(params: &Params) -> Option<String> {
        Some(params.text(NATIVE_VERSION).into_owned()).filter(|version| !version.is_empty())
    }

    pub fn write(&self, params: &mut Params) {
        params.set(NATIVE_VERSION, self.version.as_str());
        for (name, value) in
            [(NATIVE_DIGEST, &self.digest), (NATIVE_STAMP, &self.stamp), (NATIVE_DIVERTED, &self.diverted)]
        {
            match value {
                Some(value) => params.set(name, value.as_str()),
                None => params.remove(name),
            }
        }
    }
}

/// Reads [`NATIVE_DIFFERING`]. Invalid paths are ignored.
pub fn differing_of(params: &Params) -> BTreeSet<ObjectPath> {
    let text = params.text(NATIVE_DIFFERING);
    text.split_whitespace().filter_map(|word| ObjectPath::new(&decode(word)).ok()).collect()
}

/// Returns the value of [`NATIVE_DIFFERING`] for these paths.
pub fn differing_text<'p>(paths: impl IntoIterator<Item = &'p ObjectPath>) -> String {
    paths.into_iter().map(word_of).collect::<Vec<_>>().join(" ")
}

fn word_of(path: &ObjectPath) -> String {
    encode(path.as_bytes()).replace(' ', "%20")
}

/// Reads [`NATIVE_EDITED`]. Invalid entries are ignored.
pub fn edited_of(params: &Params) -> BTreeMap<ObjectPath, ContentInfo> {
    let parse = |word: &str| {
        let mut parts = word.rsplitn(4, ':');
        let mtime = match parts.next()? {
            "?" => None,
            seconds => Some(seconds.parse().ok()?),
        };
        let cksum = parts.next()?.parse().ok()?;
        let size = parts.next()?.parse().ok()?;
        let path = ObjectPath::new(&decode(parts.next()?)).ok()?;
        Some((path, ContentInfo { size: Some(size), cksum: Some(cksum), mtime }))
    };
    params.text(NATIVE_EDITED).split_whitespace().filter_map(parse).collect()
}

/// Returns the value of [`NATIVE_EDITED`] for these files.
pub fn edited_text(edited: &BTreeMap<ObjectPath, ContentInfo>) -> String {
    let word = |(path, content): (&ObjectPath, &ContentInfo)| {
        let ContentInfo { size: Some(size), cksum: Some(cksum), mtime } = content else { return None };
        let mtime = mtime.map_or_else(|| "?".to_owned(), |mtime| mtime.to_string());
        Some(format!("{}:{size}:{cksum}:{mtime}", word_of(path)))
    };
    edited.iter().filter_map(word).collect::<Vec<_>>().join(" ")
}

/// Shows if a file is the delivered one, but not who delivered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSum {
    /// dpkg, and early packages of rpm.
    Md5([u8; 16]),
    /// rpm.
    Sha256([u8; 32]),
}

impl FileSum {
    /// Parses hexadecimal digits, whose number determines the algorithm.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        match digits.len() {
            32 => bytes_of(digits).map(Self::Md5),
            64 => bytes_of(digits).map(Self::Sha256),
            _ => None,
        }
    }

    pub fn is_of(&self, bytes: &mut impl Read) -> io::Result<bool> {
        Ok(match self {
            Self::Md5(expected) => {
                let mut sum = Md5::new();
                io::copy(bytes, &mut sum)?;
                expected[..] == sum.finalize()[..]
            }
            Self::Sha256(expected) => {
                let mut sum = Sha256::new();
                io::copy(bytes, &mut sum)?;
                expected[..] == sum.finalize()[..]
            }
        })
    }
}

impl fmt::Display for FileSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Md5(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn bytes_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut sum = [0; N];
    for (byte, two) in sum.iter_mut().zip(digits.chunks(2)) {
        let text = std::str::from_utf8(two)
            .ok()
            .filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(sum)
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum NativeError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("{manager} package {package}: {reason}")]
    Package {
        manager: NativeManager,
        /// As it was named.
        package: String,
        reason: String,
    },
    #[error("{reason}")]
    Records { manager: NativeManager, reason: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_as_it_was_written_and_a_tree_has_none() {
        for text in ["dpkg libssl3:amd64", "rpm openssl-libs"] {
            assert_eq!(NativeOrigin::parse(text).unwrap().to_string(), text);
        }
        for text in ["tree", "paths", "", "dpkg ", "dpkg ../../etc:amd64", "rpm -e", "apt web"] {
            assert_eq!(NativeOrigin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_of_several_rpm_packages_keeps_its_name_apart_from_its_version() {
        let origin = |arch: Option<&str>, version: Option<&str>| NativeOrigin {
            manager: NativeManager::Rpm,
            name: "kernel-rt".to_owned(),
            arch: arch.map(str::to_owned),
            version: version.map(str::to_owned),
        };
        for (origin, text) in [
            (origin(None, None), "rpm kernel-rt"),
            (origin(Some("i686"), None), "rpm kernel-rt.i686"),
            (origin(Some("x86_64"), Some("1:6.1-1.el9")), "rpm kernel-rt-1:6.1-1.el9.x86_64"),
        ] {
            let mut params: Params = [(NATIVE_NAME, "of before")].into_iter().collect();
            origin.write(&mut params);
            assert_eq!(params.text(ADOPTED), text);
            assert_eq!(NativeOrigin::of(&params), Some(origin));
        }
        let dotted: Params = [(ADOPTED, "rpm python3.11")].into_iter().collect();
        assert_eq!(NativeOrigin::of(&dotted).unwrap().name, "python3.11", "a name may have a full stop");
    }

    #[test]
    fn a_name_of_another_package_manager_becomes_one_of_a_package() {
        assert_eq!(NativeManager::Dpkg.package_name("libstdc++6"), "DEBlibstdc++6");
        assert_eq!(NativeManager::Dpkg.package_name("libssl1.1"), "DEBlibssl1-1");
        assert_eq!(NativeManager::Rpm.package_name("a_b \u{e9}"), "RPMa-b---");
        let manager = |name: &str| NativeManager::of_package_name(&PkgInst::new(name).unwrap());
        assert_eq!(manager("DEBlibssl3.i386"), Some(NativeManager::Dpkg));
        assert_eq!(manager("RPM4tools"), Some(NativeManager::Rpm));
        assert_eq!(manager("DEBUGtools"), None);
    }

    #[test]
    fn an_instance_has_the_architecture_or_the_digest_of_what_rpm_calls_it_behind_a_full_stop() {
        let package = |manager: NativeManager, name: &str, version: &str, arch: &str| NativePackage {
            origin: NativeOrigin { manager, name: name.to_owned(), arch: None, version: None },
            version: version.to_owned(),
            stamp: String::new(),
            arch: arch.to_owned(),
            title: None,
            has_other_versions: false,
            paths: BTreeMap::new(),
            diverted: BTreeSet::new(),
        };
        let dpkg = package(NativeManager::Dpkg, "libssl1.1", "1-1", "i386").instance_name();
        assert_eq!(dpkg, "DEBlibssl1-1.i386");
        let rpm = |version: &str| package(NativeManager::Rpm, "kernel", version, "x86_64").instance_name();
        // printf kernel-6.1-1.x86_64 | sha256sum
        assert_eq!(rpm("6.1-1"), "RPMkernel.afb0cedc");
        assert_ne!(rpm("6.1-1"), rpm("6.1-2"));
        assert_eq!(PkgInst::new(&dpkg).unwrap().abbreviation(), "DEBlibssl1-1");
    }

    #[test]
    fn a_long_name_is_cut_and_differs_from_that_of_another_with_the_same_start() {
        let name = |name: &str| NativeManager::Dpkg.package_name(name);
        let exact = "a".repeat(29);
        assert_eq!(name(&exact), format!("DEB{exact}"));
        let (one, other) = (name("libgstreamer-plugins-base1.0-0"), name("libgstreamer-plugins-base1.0-dev"));
        assert_eq!((one.len(), other.len()), (32, 32));
        assert!(one.starts_with("DEBlibgstreamer-plugins-b-"), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn a_registration_of_an_earlier_form_has_its_version_alone() {
        let mut params: Params = [("VERSION", "1:2.0-1")].into_iter().collect();
        let earlier = NativeRegistration::of(&params);
        assert_eq!(
            earlier,
            NativeRegistration { version: "1:2.0-1".to_owned(), ..NativeRegistration::default() }
        );
        let now = NativeRegistration {
            version: "1:2.0-2".to_owned(),
            digest: Some("aa".to_owned()),
            stamp: Some("1".to_owned()),
            diverted: Some("/bin/sh.distrib".to_owned()),
        };
        now.write(&mut params);
        assert_eq!(NativeRegistration::of(&params), now);
        assert_eq!(params.text("VERSION"), "1:2.0-1");
    }

    #[test]
    fn differing_paths_come_back_whatever_is_in_their_names() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let paths = BTreeSet::from([path("/etc/a b"), path("/etc/50%"), path("/etc/\u{e9}")]);
        let mut params = Params::new();
        params.set(NATIVE_DIFFERING, differing_text(&paths));
        assert_eq!(differing_of(&params), paths);
    }

    #[test]
    fn edited_files_come_back_with_their_content_whatever_is_in_their_names() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let content = ContentInfo { size: Some(7), cksum: Some(412), mtime: Some(-5) };
        let untimed = ContentInfo { mtime: None, ..content };
        let edited = BTreeMap::from([(path("/etc/a:b 50%"), content), (path("/etc/\u{e9}"), untimed)]);
        let mut params = Params::new();
        params.set(NATIVE_EDITED, edited_text(&edited));
        assert_eq!(edited_of(&params), edited);
        params.set(NATIVE_EDITED, "/etc/x /etc/y:1:2 etc/z:1:2:3 /etc/w:1:2:x");
        assert_eq!(edited_of(&params), BTreeMap::new());
    }

    #[test]
    fn a_sum_is_that_of_its_bytes_and_the_number_of_digits_says_which() {
        let md5 = FileSum::parse(b"d41d8cd98f00b204e9800998ecf8427e").unwrap();
        let sha = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let sha256 = FileSum::parse(sha).unwrap();
        for sum in [md5, sha256] {
            assert!(sum.is_of(&mut &b""[..]).unwrap());
            assert!(!sum.is_of(&mut &b"x"[..]).unwrap());
        }
        assert_eq!(sha256.to_string().as_bytes(), sha);
        for wrong in
            [&b""[..], b"d41d", b"zz1d8cd98f00b204e9800998ecf8427e", b"+41d8cd98f00b204e9800998ecf8427e"]
        {
            assert_eq!(FileSum::parse(wrong), None);
        }
    }
}
