//! `delivered`, beside an undo archive: the objects on the disk that the patch put there (patchadm-undo(5)). A backout
//! need not read them to see that they have not been edited.
//!
//! ```text
//! <CRC-32C of the lines below, in hexadecimal>
//! <inode> <birth time or -> <status change time> <BLAKE3> <path, escaped>
//! ```
//! Times are `seconds.nanoseconds`. On the file systems for which there is a list, every write to a file and every
//! change of its attributes changes its status change time, which no program can set. So an object with the same inode,
//! birth time and status change time, and with the size and modification time in the manifest, holds the same bytes.
//! The list is a hint: a damaged list counts as none, and so does a line that does not match its object exactly, as in
//! a copied root.

use std::collections::BTreeMap;
use std::io::{self, Write};

use patchadm_rootfs::{Digest, Inode, Timestamp};
use patchadm_svr4::package::{ObjectPath, escape, unescape};

/// The name of the list, which lies beside an undo archive.
pub const DELIVERED: &[u8] = b"delivered";
/// The largest list that is read, in bytes: 256 MiB.
pub const LARGEST_DELIVERED: u64 = 256 << 20;

/// Hexadecimal digits of the checksum.
const CHECKSUM: usize = 8;

/// An object as it was right after the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredObject {
    /// Its inode and birth time, which a copy of it does not have.
    pub inode: Inode,
    /// Its status change time.
    pub changed: Timestamp,
    /// The digest of its bytes.
    pub b3: Digest,
}

/// The list, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveredObjects(pub BTreeMap<ObjectPath, DeliveredObject>);

impl DeliveredObjects {
    /// Reads the file; returns `None` if it is anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (stated, lines) = bytes.split_at_checked(CHECKSUM + 1)?;
        if stated != head(crc32c::crc32c(lines)).as_bytes() {
            return None;
        }
        let lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(line).collect::<Option<_>>().map(Self)
    }

    /// Writes the file, its lines in the order of the paths.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // It is written to memory.
        let _ = write_listed(self.0.iter().map(|(path, object)| (path, *object)), &mut bytes);
        bytes
    }
}

/// Writes the file of these objects, which are in the order of their paths. Each line is made twice, because the
/// checksum precedes all of them; this way the whole file is never in memory.
pub fn write_listed<'l>(
    objects: impl Iterator<Item = (&'l ObjectPath, DeliveredObject)> + Clone,
    to: &mut impl Write,
) -> io::Result<()> {
    let lines = objects.map(|(path, object)| written(path, object));
    let sum = lines.clone().fold(0, |sum, line| crc32c::crc32c_append(sum, &line));
    to.write_all(head(sum).as_bytes())?;
    for line in lines {
        to.write_all(&line)?;
    }
    Ok(())
}

fn written(path: &ObjectPath, object: DeliveredObject) -> Vec<u8> {
    let born = object.inode.born.map_or_else(|| "-".to_owned(), |born| born.to_string());
    let mut line = format!("{} {born} {} {} ", object.inode.number, object.changed, object.b3).into_bytes();
    line.extend_from_slice(&escape(path.as_bytes()));
    line.push(b'\n');
    line
}

fn head(checksum: u32) -> String {
    format!("{checksum:08x}\n")
}

fn line(line: &[u8]) -> Option<(ObjectPath, DeliveredObject)> {
    let mut words = line.splitn(5, |&byte| byte == b' ');
    let mut text = || std::str::from_utf8(words.next()?).ok();
    let (number, born, changed, digest) = (text()?, text()?, text()?, text()?);
    let born = if born == "-" { None } else { Some(Timestamp::parse(born)?) };
    let inode = Inode { number: number.parse().ok()?, born };
    let object =
        DeliveredObject { inode, changed: Timestamp::parse(changed)?, b3: Digest::from_hex(digest)? };
    Some((ObjectPath::new(&unescape(words.next()?)).ok()?, object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> DeliveredObjects {
        let object = |number, born| DeliveredObject {
            inode: Inode { number, born },
            changed: Timestamp { seconds: 1_700_000_000, nanoseconds: 7 },
            b3: Digest::of(b"bytes"),
        };
        let path = |path: &[u8]| ObjectPath::new(path).unwrap();
        DeliveredObjects(BTreeMap::from([
            (path(b"/opt/a b\n\xff"), object(12, Some(Timestamp { seconds: -1, nanoseconds: 999_999_999 }))),
            (path(b"/opt/c"), object(u64::MAX, None)),
        ]))
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(DeliveredObjects::parse(&list().write()), Some(list()));
        assert_eq!(
            DeliveredObjects::parse(&DeliveredObjects::default().write()),
            Some(DeliveredObjects::default())
        );
    }

    #[test]
    fn a_list_with_any_other_byte_is_none() {
        let written = list().write();
        assert_eq!(DeliveredObjects::parse(b""), None);
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 1;
            assert_eq!(DeliveredObjects::parse(&damaged), None, "byte {at}");
            assert_eq!(DeliveredObjects::parse(&written[..at]), None, "cut at {at}");
        }
    }
}
