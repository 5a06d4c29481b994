//! Package URLs (ECMA-427), by which scanners and inventories know installed packages.
//!
//! ```text
//! pkg:deb/debian/openssl@3.0.11-1~deb12u2?arch=amd64&distro=debian-12
//! pkg:rpm/fedora/openssl-libs@3.0.9-2.fc38?arch=x86_64&distro=fedora-38&epoch=1
//! pkg:generic/ACMEweb@2.0%2CREV%3D2026.01.01?arch=sparc
//! ```

use std::fmt::Write as _;

use super::{NativeManager, NativeOrigin, NativeRegistration};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeIdentity {
    pub manager: NativeManager,
    pub name: String,
    /// As the manager prints it, with epoch, and revision or release.
    pub version: String,
    pub arch: String,
}

impl NativeIdentity {
    /// Returns that of an installed package, if it was adopted from dpkg or rpm.
    pub fn of(params: &Params) -> Option<Self> {
        let NativeOrigin { manager, name, arch, .. } = NativeOrigin::of(params)?;
        let version = NativeRegistration::of(params).version;
        let arch = arch.unwrap_or_else(|| params.text("ARCH").trim().to_owned());
        Some(Self { manager, name, version, arch })
    }

    /// Without a known distribution, dpkg counts as Debian's, and an rpm package has no vendor.
    fn url(&self, distribution: Option<&Distribution>) -> String {
        let release = distribution.map(|found| match &found.release {
            Some(release) => format!("{}-{release}", found.id),
            None => found.id.clone(),
        });
        let (vendor, version, epoch) = match self.manager {
            NativeManager::Dpkg => {
                let vendor = distribution.map_or("debian", |found| &found.id);
                (Some(vendor), self.version.as_str(), None)
            }
            NativeManager::Rpm => {
                let (epoch, version) = match self.version.split_once(':') {
                    Some((epoch, version)) => (Some(epoch.to_owned()), version),
                    None => (None, self.version.as_str()),
                };
                (distribution.map(|found| rpm_vendor(&found.id)), version, epoch)
            }
        };
        let kind = match self.manager {
            NativeManager::Dpkg => "deb",
            NativeManager::Rpm => "rpm",
        };
        let arch = Some(self.arch.clone());
        // Sorted by name.
        let qualifiers = [("arch", arch), ("distro", release), ("epoch", epoch)];
        url(kind, vendor, &self.name, version, &qualifiers)
    }
}

pub fn package_url(package: &PkgInst, params: &Params, distribution: Option<&Distribution>) -> String {
    if let Some(native) = NativeIdentity::of(params) {
        return native.url(distribution);
    }
    let value = |name: &str| params.text(name).trim().to_owned();
    url("generic", None, package.abbreviation(), &value("VERSION"), &[("arch", Some(value("ARCH")))])
}

fn rpm_vendor(id: &str) -> &str {
    if id == "rhel" { "redhat" } else { id }
}

fn url(
    kind: &str,
    vendor: Option<&str>,
    name: &str,
    version: &str,
    qualifiers: &[(&str, Option<String>)],
) -> String {
    let mut url = format!("pkg:{kind}/");
    if let Some(vendor) = vendor {
        url.push_str(&encoded(vendor));
        url.push('/');
    }
    url.push_str(&encoded(name));
    if !version.is_empty() {
        url.push('@');
        url.push_str(&encoded(version));
    }
    let told = qualifiers.iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
    for (at, (key, value)) in told.filter(|(_, value)| !value.is_empty()).enumerate() {
        let before = if at == 0 { '?' } else { '&' };
        // Writing into a string does not fail.
        let _ = write!(url, "{before}{key}={}", encoded(value));
    }
    url
}

/// Percent-encodes everything except letters, digits and `.-_~:`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

// The vendor is the distribution of a root, by its `etc/os-release` (os-release(5)).

const LARGEST: u64 = 64 << 10;
const LONGEST: usize = 64;

/// In the order of os-release(5).
const PLACES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `VERSION_ID`, else `VERSION_CODENAME`, such as `12`.
    pub release: Option<String>,
}

impl Distribution {
    /// Follows links inside the root. A missing, irregular or oversized file counts as none.
    pub fn of(root: &Root) -> Option<Self> {
        let read = |place: &&str| {
            let path = ObjectPath::new(place.as_bytes()).ok()?;
            let physical = root.resolver().locate_dir(&path).ok()?;
            let dir = root.dir_if_there(&physical.parent()?).ok()??;
            dir.read_regular(physical.name(), LARGEST).ok()?
        };
        Self::parse(&PLACES.iter().find_map(read)?)
    }

    /// Parses the file. Values become part of URLs, so only lower-case letters, digits and `._-` are accepted.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
            let value = lines.next_back()?.trim_matches(['"', '\'']);
            let is_part =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
            let is_believed = !value.is_empty() && value.len() <= LONGEST && value.bytes().all(is_part);
            is_believed.then(|| value.to_owned())
        };
        let release = value("VERSION_ID").or_else(|| value("VERSION_CODENAME"));
        Some(Self { id: value("ID")?, release })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)], os_release: &str) -> String {
        let params: Params = lines.iter().copied().collect();
        let distribution = Distribution::parse(os_release.as_bytes());
        package_url(&PkgInst::new("ACMEweb.2").unwrap(), &params, distribution.as_ref())
    }

    #[test]
    fn a_package_of_dpkg_has_the_vendor_the_version_with_its_epoch_and_the_release() {
        let lines =
            [("PATCHADM_ADOPTED", "dpkg libstdc++6:amd64"), ("NATIVE_VERSION", "1:12.2.0-14+deb12u1")];
        assert_eq!(
            of(&lines, "ID=debian\nVERSION_ID=\"12\"\n"),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
        assert_eq!(
            of(&lines, "ID=ubuntu\nVERSION_ID=\"24.04\"\n"),
            "pkg:deb/ubuntu/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=ubuntu-24.04"
        );
        assert_eq!(of(&lines, ""), "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64");
    }

    #[test]
    fn the_epoch_of_a_package_of_rpm_is_a_qualifier() {
        let lines = [
            ("PATCHADM_ADOPTED", "rpm openssl-libs"),
            ("NATIVE_VERSION", "1:3.0.9-2.fc38"),
            ("ARCH", "x86_64"),
        ];
        assert_eq!(
            of(&lines, "ID=fedora\nVERSION_ID=38\n"),
            "pkg:rpm/fedora/openssl-libs@3.0.9-2.fc38?arch=x86_64&distro=fedora-38&epoch=1"
        );
        assert_eq!(
            of(&lines, "ID=rhel\nVERSION_ID=9.3\n"),
            "pkg:rpm/redhat/openssl-libs@3.0.9-2.fc38?arch=x86_64&distro=rhel-9.3&epoch=1"
        );
        assert_eq!(of(&lines, ""), "pkg:rpm/openssl-libs@3.0.9-2.fc38?arch=x86_64&epoch=1");
    }

    #[test]
    fn any_other_package_is_generic_and_what_it_says_of_itself_stays_inside_its_place() {
        assert_eq!(
            of(&[("VERSION", "2.0,REV=2026.01.01"), ("ARCH", "sparc")], "ID=debian\n"),
            "pkg:generic/ACMEweb@2.0%2CREV%3D2026.01.01?arch=sparc"
        );
        assert_eq!(
            of(&[("VERSION", "1?x=y#z/../<b> \u{e9}"), ("ARCH", "")], ""),
            "pkg:generic/ACMEweb@1%3Fx%3Dy%23z%2F..%2F%3Cb%3E%20%C3%A9"
        );
        assert_eq!(of(&[("PATCHADM_ADOPTED", "tree")], ""), "pkg:generic/ACMEweb");
    }

    fn read(text: &str) -> Option<(String, Option<String>)> {
        Distribution::parse(text.as_bytes()).map(|found| (found.id, found.release))
    }

    #[test]
    fn the_name_and_the_release_are_read_with_quotes_or_without() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!(read(debian), Some(("debian".to_owned(), Some("12".to_owned()))));
        let rolling = "ID='arch'\nBUILD_ID=rolling\n";
        assert_eq!(read(rolling), Some(("arch".to_owned(), None)));
        let unreleased = "ID=debian\nVERSION_CODENAME=trixie\n";
        assert_eq!(read(unreleased), Some(("debian".to_owned(), Some("trixie".to_owned()))));
        assert_eq!(read("ID=fedora\nID=rhel\n"), Some(("rhel".to_owned(), None)), "the last one counts");
    }

    #[test]
    fn what_cannot_be_part_of_a_url_is_not_believed() {
        for text in ["", "ID=\n", "ID=../x\n", "ID=<b>\n", "ID=De\u{301}bian\n", "XID=debian\n", "\u{0}"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&format!("ID={}\n", "a".repeat(65))), None);
        let odd = read("ID=debian\nVERSION_ID=\"12?arch=x\"\n");
        assert_eq!(odd, Some(("debian".to_owned(), None)));
    }
}
