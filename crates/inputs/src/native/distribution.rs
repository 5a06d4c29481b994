//! The distribution that a root is of, by its `etc/os-release` (os-release(5)): the vendor in the URLs of its packages.

use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// The longest value that is believed, in bytes.
const LONGEST: usize = 64;

/// The places of the file, in the order of os-release(5).
const PLACES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// A distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// `ID`: its name for programs, as `debian`.
    pub id: String,
    /// `VERSION_ID`, else `VERSION_CODENAME`: its release, as `12`; a distribution without releases has none.
    pub release: Option<String>,
}

impl Distribution {
    /// Reads that of a root. Links are followed inside it. A file that is missing, is no regular file, or is longer than
    /// any such file tells nothing.
    pub fn of(root: &Root) -> Option<Self> {
        let read = |place: &&str| {
            let path = ObjectPath::new(place.as_bytes()).ok()?;
            let physical = root.resolver().locate_dir(&path).ok()?;
            let dir = root.dir_if_there(&physical.parent()?).ok()??;
            dir.read_regular(physical.name(), LARGEST).ok()?
        };
        Self::parse(&PLACES.iter().find_map(read)?)
    }

    /// Reads the text of the file. The words go into URLs: a value with anything but lower-case letters, digits and `._-`
    /// is not believed.
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
