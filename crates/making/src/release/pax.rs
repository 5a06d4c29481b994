//! The pax records before a member of a tar archive.

use super::error::ReleaseProblem;
use patchadm_rootfs::Timestamp;

/// The names of extended attributes follow this.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The information on a member from the records before it.
#[derive(Debug, Default)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl PaxRecords {
    /// Takes the records of one header: `LENGTH KEY=VALUE` and a newline each. A value may have newlines, too.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), ReleaseProblem> {
        while !bytes.is_empty() {
            let (record, rest) =
                split(bytes).ok_or_else(|| ReleaseProblem::bad("archive is damaged: bad pax record"))?;
            let equals = record.iter().position(|&byte| byte == b'=');
            let equals = equals.ok_or_else(|| ReleaseProblem::bad("archive is damaged: bad pax record"))?;
            let (key, value) = record.split_at(equals);
            self.take(key, value.strip_prefix(b"=").unwrap_or_default())?;
            bytes = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReleaseProblem> {
        let damaged =
            || ReleaseProblem::bad(format!("archive is damaged: bad pax record {}", key.escape_ascii()));
        let number =
            || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(damaged);
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(damaged)?),
            b"uname" => self.user = Some(value.to_vec()),
            b"gname" => self.group = Some(value.to_vec()),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(ReleaseProblem::Unsupported("a sparse file in a tar archive".to_owned()));
            }
            _ if key.starts_with(b"SCHILY.acl.") => {
                return Err(ReleaseProblem::Unsupported(
                    "an access control list as text in a tar archive".to_owned(),
                ));
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Returns the first record without its length and newline, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(bytes.get(..blank)?).ok()?.parse().ok()?;
    let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
    Some((record, bytes.get(length..)?))
}

/// Returns a time as pax writes it: seconds, and a fraction of any length.
fn time(value: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.get(..9).unwrap_or(fraction);
    let nanoseconds: u32 = format!("{digits:0<9}").parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Timestamp { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Timestamp { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_may_hold_any_byte() {
        let mut records = PaxRecords::default();
        records.read(b"26 SCHILY.xattr.user.a=\nx\n30 mtime=1600000000.123456789\n").unwrap();
        assert_eq!(records.xattrs, [(b"user.a".to_vec(), b"\nx".to_vec())]);
        assert_eq!(records.mtime, Some(Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 }));
    }

    #[test]
    fn times_are_exact_and_may_be_before_1970() {
        assert_eq!(time(b"-1.25"), Some(Timestamp { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(time(b"7"), Some(Timestamp { seconds: 7, nanoseconds: 0 }));
        for bad in [&b"x"[..], b"1.x", b"", b"1.-5"] {
            assert_eq!(time(bad), None);
        }
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        for bad in [&b"5 a=b\n"[..], b"99 a=b\n", b"a=b\n", b"0 \n", b"3 \n", b"18446744073709551615 a=b\n"] {
            assert!(PaxRecords::default().read(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
