//! The records of a root, and the ways to damage one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A record of the root of [`super::ground`].
#[derive(Debug)]
pub(crate) struct Record {
    /// Its path below the root.
    pub(crate) path: &'static str,
    /// Texts of which an answer about the record contains at least one.
    pub(crate) named: &'static [&'static str],
    /// Who needs the record. No answer and no `check` has to be about a record that nobody needs.
    pub(crate) kind: Need,
}

/// Who needs a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// `check` must not pass without it.
    Record,
    /// It is a hint or a memory: it never stops a command.
    Hint,
    /// Some commands read it, but the others and `check` need not; or another record has the same data.
    Some,
}

impl Record {
    /// True if a text is about the record.
    pub(crate) fn is_named(&self, text: &str) -> bool {
        self.named.iter().any(|name| text.contains(name))
    }
}

const fn record(path: &'static str, kind: Need, named: &'static [&'static str]) -> Record {
    Record { path, named, kind }
}

/// Every record that is damaged.
pub(crate) const RECORDS: [Record; 20] = [
    record("/var/sadm/patchadm/journal", Need::Some, &["patchadm/journal"]),
    record("/var/sadm/patchadm/root-id", Need::Some, &["patchadm/root-id"]),
    record("/var/sadm/install/contents", Need::Record, &["install/contents"]),
    record("/var/sadm/patchadm/contents.stamp", Need::Hint, &["contents.stamp"]),
    record("/var/sadm/pkg/ACMEweb", Need::Record, &["pkg/ACMEweb", "lost", "damaged"]),
    record(
        "/var/sadm/pkg/ACMEweb/pkginfo",
        Need::Record,
        &["ACMEweb/pkginfo", "pkg/ACMEweb", "ACMEweb is damaged"],
    ),
    record("/var/sadm/pkg/ACMEcalm/pkginfo", Need::Record, &["ACMEcalm/pkginfo", "pkg/ACMEcalm"]),
    record("/var/sadm/pkg/ACMEweb/save/pspool/ACMEweb/pkgmap", Need::Some, &["pspool/ACMEweb/pkgmap"]),
    record("/var/sadm/pkg/ACMEweb/save/pspool/ACMEweb/pkginfo", Need::Some, &["pspool/ACMEweb/pkginfo"]),
    record(
        "/var/sadm/pkg/ACMEweb/save",
        Need::Record,
        &["ACMEweb/save", "lost", "damaged", "undo data does not record it"],
    ),
    record(
        "/var/sadm/pkg/ACMEweb/save/100-02",
        Need::Record,
        &["save/100-02", "lost", "damaged", "undo data does not record it"],
    ),
    record(
        "/var/sadm/pkg/ACMEweb/save/100-02/undo.gz",
        Need::Record,
        &["save/100-02", "lost", "damaged", "undo data does not record it"],
    ),
    record(
        "/var/sadm/pkg/ACMEweb/save/100-01/obsolete.gz",
        Need::Record,
        &["save/100-01", "lost", "damaged"],
    ),
    record("/var/sadm/pkg/ACMEweb/save/100-02/undo.b3", Need::Hint, &["undo.b3"]),
    record("/var/sadm/pkg/ACMEweb/save/100-01/obsoleted_by", Need::Some, &["obsoleted_by"]),
    record("/var/sadm/patchadm/ledger/ACMEweb", Need::Record, &["ledger", "damaged"]),
    record("/var/sadm/patchadm/history", Need::Hint, &["patchadm/history"]),
    record("/var/sadm/patch/100-02", Need::Some, &["patch/100-02"]),
    record("/etc/patchadm/policy", Need::Some, &["patchadm/policy"]),
    record("/var/sadm/install/.lockfile", Need::Some, &[".lockfile"]),
];

/// A way to damage a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    Gone,
    Empty,
    FirstHalf,
    Rubbish,
    Nuls,
    Directory,
    Unreadable,
    /// A whole line is missing, from a pkginfo one that every installation records.
    LineGone,
    /// Everything behind the end of a line is gone.
    CutAtLine,
    /// One byte is changed.
    OtherByte,
}

impl Damage {
    /// Damages that affect everybody; [`Damage::Unreadable`] does not affect a superuser.
    pub(crate) const ALL: [Self; 6] =
        [Self::Gone, Self::Empty, Self::FirstHalf, Self::Rubbish, Self::Nuls, Self::Directory];

    /// Damages that leave a file that makes sense by itself, or one of the same size.
    pub(crate) const UNSEEN: [Self; 3] = [Self::LineGone, Self::CutAtLine, Self::OtherByte];

    /// True if a record can be damaged this way. In a file without a known digest a byte may be any byte.
    pub(crate) fn is_of(self, record: &Record) -> bool {
        let has_digest = [
            "undo.gz",
            "obsolete.gz",
            "undo.b3",
            "contents.stamp",
            "journal",
            "install/contents",
            "ACMEcalm/pkginfo",
        ];
        self != Self::OtherByte || has_digest.iter().any(|name| record.path.ends_with(name))
    }

    /// Damages the record at `path`. The files in a directory are its content.
    pub(crate) fn inflict(self, path: &Path) {
        let is_directory = path.is_dir();
        match self {
            Self::Gone if is_directory => fs::remove_dir_all(path).unwrap(),
            Self::Gone => fs::remove_file(path).unwrap(),
            Self::Unreadable => fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap(),
            Self::Directory if is_directory => {
                fs::remove_dir_all(path).unwrap();
                fs::write(path, "a file in the place of a directory\n").unwrap();
            }
            Self::Directory => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
            Self::Empty if is_directory => {
                fs::remove_dir_all(path).unwrap();
                fs::create_dir(path).unwrap();
            }
            _ if is_directory => {
                fs::read_dir(path).unwrap().for_each(|one| self.inflict(&one.unwrap().path()));
            }
            _ => fs::write(path, self.of_content(&fs::read(path).unwrap())).unwrap(),
        }
    }

    fn of_content(self, content: &[u8]) -> Vec<u8> {
        let half = content.len() / 2;
        match self {
            Self::FirstHalf => content[..half].to_vec(),
            Self::Nuls => vec![0; content.len().max(1)],
            Self::Rubbish => {
                let line = content[..half].iter().rposition(|byte| *byte == b'\n').map_or(half, |at| at + 1);
                [&content[..line], b"!rubbish \x01 in / the = middle\n", &content[line..]].concat()
            }
            Self::LineGone => {
                let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
                let is_needed = |line: &&[u8]| NEEDED.iter().any(|name| line.starts_with(name.as_bytes()));
                let gone = lines.iter().position(is_needed).unwrap_or(lines.len() / 2);
                [&lines[..gone], lines.get(gone + 1..).unwrap_or_default()].concat().concat()
            }
            Self::CutAtLine => {
                let end = content[..half].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                content[..end].to_vec()
            }
            Self::OtherByte => {
                // Behind the middle: the head of a stamp is padded with blanks, and its lists are short.
                let mut content = content.to_vec();
                content[half + half / 2] ^= 1;
                content
            }
            _ => Vec::new(),
        }
    }
}

/// The lines without which a pkginfo is damaged.
const NEEDED: [&str; 2] = ["PATCHLIST=", "INSTDATE="];
