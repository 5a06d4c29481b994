//! A run's queue of installf(1M) and removef(1M) requests (patchadm-journal(5)): a line per request, and per object
//! made or changed at once. Requests change `contents` in the last batch; a rollback undoes the objects. A last line
//! without newline was never acknowledged and does not count.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::escaped::{hex, unhex};
use patchadm_rootfs::{Digest, Inode, Timestamp};
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{Ftype, Mode, NO_ACCOUNT, ObjectPath, PkgInst, escape, unescape};

use patchadm_svr4::format::registration::Registration;
use patchadm_svr4::format::{FieldError, Fields};

/// In bytes.
pub const LARGEST: u64 = 256 << 20;

/// Bytes; Linux uses at most 24.
const LONGEST_CAPABILITY: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallfEntry {
    /// `add`: a package registers an object.
    Add(PkgInst, Registration),
    /// `remove`: a package gives an object up.
    Remove(PkgInst, ObjectPath),
    /// `finish-add`: a package's registrations (of one class) are final.
    FinishAdd(PkgInst, Option<String>),
    /// `finish-remove`: removals of a package are final.
    FinishRemove(PkgInst),
    /// `made`: an object was made at a free path.
    Made(ObjectPath, Ftype),
    /// `changed`: an object got other attributes; holds the old ones.
    Changed {
        /// Inside the root.
        path: ObjectPath,
        mode: Mode,
        uid: u32,
        gid: u32,
        inode: Inode,
        ftype: Ftype,
        /// For a file: set-id bits and capabilities return only to these bytes.
        b3: Option<Digest>,
        /// The value of the extended attribute, if any.
        capability: Option<Vec<u8>>,
    },
    /// `turned`: a symbolic link got another target.
    Turned {
        /// Inside the root.
        path: ObjectPath,
        old: Vec<u8>,
        new: Vec<u8>,
        /// The old owner, group and modification time; earlier versions did not write them.
        was: Option<(u32, u32, Timestamp)>,
    },
}

/// In the order of their arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallfRequests(pub Vec<InstallfEntry>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{} is not what this program writes", .field.map(|field| format!(", {field}")).unwrap_or_default())]
pub struct InstallfQueueError {
    /// Counts from 1.
    pub line: usize,
    /// If only one is wrong.
    pub field: Option<&'static str>,
}

impl InstallfRequests {
    /// The last line may be cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self, InstallfQueueError> {
        let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        // Empty, or a line that was cut short.
        lines.pop();
        let entries = lines.iter().enumerate().map(|(index, line)| {
            let wrong = |field| InstallfQueueError { line: index + 1, field };
            let entry = entry(&mut Fields::new(line)).ok_or(wrong(None))?;
            check(&entry).map_err(|field| wrong(Some(field))).map(|()| entry)
        });
        entries.collect::<Result<_, _>>().map(Self)
    }

    pub fn lines(entries: &[InstallfEntry]) -> Vec<u8> {
        let lines = entries.iter().map(|entry| [&write(entry)[..], b"\n"].concat());
        lines.collect::<Vec<_>>().concat()
    }

    /// Includes sources of hard links.
    pub fn paths(&self) -> BTreeSet<ObjectPath> {
        let mut paths = BTreeSet::new();
        for entry in &self.0 {
            match entry {
                InstallfEntry::Add(_, registration) => {
                    if let (Some(Ftype::Link), Some(target)) = (registration.ftype, &registration.target) {
                        paths.extend(registration.path.link_source(target));
                    }
                    paths.insert(registration.path.clone());
                }
                InstallfEntry::Remove(_, path) => drop(paths.insert(path.clone())),
                _ => {}
            }
        }
        paths
    }

    /// Packages with a final declaration, which covers all their pending requests, queued or recorded.
    pub fn finishing(&self) -> BTreeSet<PkgInst> {
        let finishing = self.0.iter().filter_map(|entry| match entry {
            InstallfEntry::FinishAdd(package, _) | InstallfEntry::FinishRemove(package) => {
                Some(package.clone())
            }
            _ => None,
        });
        finishing.collect()
    }
}

fn entry(fields: &mut Fields<'_>) -> Option<InstallfEntry> {
    let word = fields.next()?;
    let entry = match word {
        b"add" => {
            let package = package(fields)?;
            let class = class(fields).ok()?;
            let rest: Vec<&[u8]> = fields.by_ref().collect();
            InstallfEntry::Add(package, Registration::parse(&rest.join(&b' '), class.as_deref()).ok()?)
        }
        b"remove" => InstallfEntry::Remove(package(fields)?, path(fields)?),
        b"finish-add" => InstallfEntry::FinishAdd(package(fields)?, class(fields).ok()?),
        b"finish-remove" => InstallfEntry::FinishRemove(package(fields)?),
        b"made" => InstallfEntry::Made(path(fields)?, fields.ftype().ok()?),
        b"changed" => {
            let path = path(fields)?;
            let mode = std::str::from_utf8(fields.next()?).ok()?;
            let mode = u32::from_str_radix(mode, 8).ok().and_then(Mode::new)?;
            let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
            let (inode, ftype) = (inode(fields)?, fields.ftype().ok()?);
            let b3 = match fields.next() {
                Some(digest) => {
                    Some(Digest::from_hex(std::str::from_utf8(digest.strip_prefix(b"b3:")?).ok()?)?)
                }
                None => None,
            };
            let capability = match fields.next() {
                Some(value) => Some(unhex(std::str::from_utf8(value.strip_prefix(b"cap:")?).ok()?)?),
                None => None,
            };
            InstallfEntry::Changed { path, mode, uid, gid, inode, ftype, b3, capability }
        }
        b"turned" => {
            let (path, old) = fields.path_and_target().ok()?;
            let new = unescape(fields.next()?);
            let was = match fields.next() {
                Some(uid) => Some((number(uid)?, number(fields.next()?)?, moment(fields.next()?)?)),
                None => None,
            };
            InstallfEntry::Turned { path: ObjectPath::new(&path).ok()?, old: old?, new, was }
        }
        _ => return None,
    };
    fields.end().ok().map(|()| entry)
}

fn check(entry: &InstallfEntry) -> Result<(), &'static str> {
    use Ftype as T;
    match entry {
        InstallfEntry::Made(_, ftype) => {
            let is_made =
                matches!(ftype, T::Directory | T::Symlink | T::Link | T::Pipe | T::Block | T::Character);
            holds("queue.made.type", is_made).then_some(()).ok_or("the type")
        }
        InstallfEntry::Changed { uid, gid, inode, ftype, b3, capability, .. } => {
            let is_object =
                matches!(ftype, T::File | T::Directory | T::Symlink | T::Pipe | T::Block | T::Character);
            let has_sum = b3.is_some() == (*ftype == T::File);
            let is_capability = capability
                .as_ref()
                .is_none_or(|value| b3.is_some() && (1..=LONGEST_CAPABILITY).contains(&value.len()));
            check_owner(*uid, *gid, inode.born)?;
            [
                (holds("queue.changed.type", is_object && has_sum), "the type"),
                (holds("queue.changed.capability", is_capability), "the capabilities"),
            ]
            .into_iter()
            .try_for_each(|(is_right, field)| is_right.then_some(()).ok_or(field))
        }
        InstallfEntry::Turned { was: Some((uid, gid, mtime)), .. } => check_owner(*uid, *gid, Some(*mtime)),
        _ => Ok(()),
    }
}

fn check_owner(uid: u32, gid: u32, time: Option<Timestamp>) -> Result<(), &'static str> {
    let is_moment = time.is_none_or(|time| time.nanoseconds < 1_000_000_000);
    [
        (holds("queue.changed.owner", uid != NO_ACCOUNT), "the owner"),
        (holds("queue.changed.group", gid != NO_ACCOUNT), "the group"),
        (holds("queue.changed.born", is_moment), "the time"),
    ]
    .into_iter()
    .try_for_each(|(is_right, field)| is_right.then_some(()).ok_or(field))
}

fn package(fields: &mut Fields<'_>) -> Option<PkgInst> {
    PkgInst::new(std::str::from_utf8(fields.next()?).ok()?).ok()
}

fn path(fields: &mut Fields<'_>) -> Option<ObjectPath> {
    ObjectPath::new(&unescape(fields.next()?)).ok()
}

fn class(fields: &mut Fields<'_>) -> Result<Option<String>, FieldError> {
    if fields.clone().next() == Some(&b"?"[..]) {
        fields.next();
        return Ok(None);
    }
    fields.class().map(|class| Some(class.to_owned()))
}

fn number<N: FromStr>(field: &[u8]) -> Option<N> {
    std::str::from_utf8(field).ok().filter(|_| field.iter().all(u8::is_ascii_digit))?.parse().ok()
}

fn moment(field: &[u8]) -> Option<Timestamp> {
    Timestamp::parse(std::str::from_utf8(field).ok()?)
}

fn inode(fields: &mut Fields<'_>) -> Option<Inode> {
    let number = number(fields.next()?)?;
    let born = match fields.next()? {
        b"?" => None,
        born => Some(moment(born)?),
    };
    Some(Inode { number, born })
}

fn write(entry: &InstallfEntry) -> Vec<u8> {
    let named = |class: &Option<String>| class.clone().unwrap_or_else(|| "?".to_owned());
    let with_path = |word: &str, path: &ObjectPath| {
        let mut line = format!("{word} ").into_bytes();
        line.extend_from_slice(&escape(path.as_bytes()));
        line
    };
    match entry {
        InstallfEntry::Add(package, registration) => {
            let mut line = format!("add {package} {} ", named(&registration.class)).into_bytes();
            line.extend_from_slice(&registration.write());
            line
        }
        InstallfEntry::Remove(package, path) => with_path(&format!("remove {package}"), path),
        InstallfEntry::FinishAdd(package, class) => {
            format!("finish-add {package} {}", named(class)).into_bytes()
        }
        InstallfEntry::FinishRemove(package) => format!("finish-remove {package}").into_bytes(),
        InstallfEntry::Made(path, ftype) => [&with_path("made", path)[..], &[b' ', ftype.letter()]].concat(),
        InstallfEntry::Changed { path, mode, uid, gid, inode, ftype, b3, capability } => {
            let Inode { number, born } = inode;
            let born = born.map(|born| born.to_string());
            let born = born.as_deref().unwrap_or("?");
            let ftype = char::from(ftype.letter());
            let sum = b3.map(|digest| format!(" b3:{digest}")).unwrap_or_default();
            let capability = capability.as_deref().map(|value| format!(" cap:{}", hex(value)));
            let capability = capability.unwrap_or_default();
            let attributes =
                format!(" {:04o} {uid} {gid} {number} {born} {ftype}{sum}{capability}", mode.bits());
            [with_path("changed", path), attributes.into_bytes()].concat()
        }
        InstallfEntry::Turned { path, old, new, was } => {
            let was = was.map(|(uid, gid, mtime)| format!(" {uid} {gid} {mtime}")).unwrap_or_default();
            [&with_path("turned", path)[..], b"=", &escape(old), b" ", &escape(new), was.as_bytes()].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUEUE: &str = "\
add SUNWstuf conf /opt/stuf/a f 0644 root sys
add SUNWstuf ? /opt/stuf/l=a l
remove SUNWstuf /opt/stuf/with\\040blank
finish-add SUNWstuf ?
finish-add SUNWstuf conf
finish-remove SUNWstux.2
made /opt/stuf d
changed /opt/stuf/a 0600 0 3 1234 1795158000.000000007 f b3:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
changed /opt/stuf/b 2755 0 0 1235 ? d
changed /opt/stuf/c 0755 0 3 1236 ? f b3:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f cap:0100000200200000000000000000000000000000
turned /opt/stuf/s=../old ../new
turned /opt/stuf/t=../old ../new 1004 3 1795158000.000000007
";

    #[test]
    fn every_line_is_read_and_written() {
        let queue = InstallfRequests::parse(QUEUE.as_bytes()).unwrap();
        assert_eq!(queue.0.len(), 12);
        assert_eq!(String::from_utf8(InstallfRequests::lines(&queue.0)).unwrap(), QUEUE);
        let paths: Vec<String> = queue.paths().iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["/opt/stuf/a", "/opt/stuf/l", "/opt/stuf/with blank"]);
        let packages: Vec<String> = queue.finishing().iter().map(ToString::to_string).collect();
        assert_eq!(packages, ["SUNWstuf", "SUNWstux.2"]);
    }

    #[test]
    fn a_line_that_was_cut_short_does_not_count_and_a_bad_one_is_named() {
        assert_eq!(InstallfRequests::parse(b"finish-remove A\nremove A /op").unwrap().0.len(), 1);
        for bad in ["add A ? opt f ? ? ?\n", "made /a\n", "frob A\n", "\n", "finish-remove A B\n"] {
            let text = format!("finish-remove A\n{bad}");
            assert_eq!(
                InstallfRequests::parse(text.as_bytes()),
                Err(InstallfQueueError { line: 2, field: None }),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_field_that_no_line_of_ours_has_is_named() {
        for (bad, field) in [
            ("made /a f", "the type"),
            ("made /a e", "the type"),
            ("changed /a 0644 4294967295 0 7 ? d", "the owner"),
            ("changed /a 0644 0 4294967295 7 ? d", "the group"),
            ("changed /a 0644 0 0 7 1.1000000000 d", "the time"),
            ("turned /a=b c 4294967295 0 1.000000000", "the owner"),
            ("turned /a=b c 0 4294967295 1.000000000", "the group"),
            ("turned /a=b c 0 0 1.1000000000", "the time"),
            ("changed /a 4755 0 0 7 ? f", "the type"),
            ("changed /a 4755 0 0 7 ? e", "the type"),
            (
                "changed /a 0755 0 0 7 ? f b3:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f cap:",
                "the capabilities",
            ),
        ] {
            let error = InstallfRequests::parse(format!("{bad}\n").as_bytes()).unwrap_err();
            assert_eq!(error, InstallfQueueError { line: 1, field: Some(field) }, "{bad}");
            assert_eq!(error.to_string(), format!("line 1, {field} is not what this program writes"));
        }
        for bad in [
            "changed /a 10755 0 0 7 ? d",
            "changed /a 0644 0 0 7 ?",
            "turned /a=b c 0 0",
            "made /a/../b d",
            "made b d",
        ] {
            let error = InstallfRequests::parse(format!("{bad}\n").as_bytes()).unwrap_err();
            assert_eq!(error, InstallfQueueError { line: 1, field: None }, "{bad}");
        }
    }

    fn any_path() -> impl Strategy<Value = ObjectPath> {
        let name = proptest::collection::vec(1u8..=255, 1..6);
        proptest::collection::vec(name, 1..4).prop_filter_map("no path", |names| {
            let path = names.iter().fold(Vec::new(), |path, name| [&path[..], b"/", name].concat());
            ObjectPath::new(&path).ok()
        })
    }

    fn any_entry() -> impl Strategy<Value = InstallfEntry> {
        let package = || "[A-Z][a-z0-9]{0,8}".prop_map(|name| PkgInst::new(&name).unwrap());
        let class = || proptest::option::of("[a-z]{1,8}");
        let target = || proptest::collection::vec(1u8..=255, 1..9);
        let moment = || {
            let parts = (any::<i64>(), 0u32..1_000_000_000);
            parts.prop_map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds })
        };
        let inode = || {
            let born = proptest::option::of(moment());
            (any::<u64>(), born).prop_map(|(number, born)| Inode { number, born })
        };
        let symlink = move |(path, class, target)| Registration {
            class,
            ftype: Some(Ftype::Symlink),
            target: Some(target),
            attributes: patchadm_svr4::package::ObjectAttributes::default(),
            ..Registration::directory(path)
        };
        prop_oneof![
            (package(), (any_path(), class(), target()).prop_map(symlink))
                .prop_map(|(package, registration)| InstallfEntry::Add(package, registration)),
            (package(), any_path()).prop_map(|(package, path)| InstallfEntry::Remove(package, path)),
            (package(), class()).prop_map(|(package, class)| InstallfEntry::FinishAdd(package, class)),
            package().prop_map(InstallfEntry::FinishRemove),
            any_path().prop_map(|path| InstallfEntry::Made(path, Ftype::Pipe)),
            (any_path(), 0u32..=0o7777, (0..u32::MAX, 0..u32::MAX), inode(), any::<Option<u8>>()).prop_map(
                |(path, mode, (uid, gid), inode, digit)| {
                    let b3 = digit.map(|digit| Digest::from_hex(&format!("{digit:02x}").repeat(32)).unwrap());
                    let ftype = if b3.is_some() { Ftype::File } else { Ftype::Directory };
                    let capability = digit.filter(|digit| digit % 2 == 0).map(|digit| vec![digit; 20]);
                    let mode = Mode::of(mode);
                    InstallfEntry::Changed { path, mode, uid, gid, inode, ftype, b3, capability }
                }
            ),
            (any_path(), target(), target(), proptest::option::of((0..u32::MAX, 0..u32::MAX, moment())))
                .prop_map(|(path, old, new, was)| InstallfEntry::Turned { path, old, new, was }),
        ]
    }

    proptest! {
        #[test]
        fn any_queue_comes_back(entries in proptest::collection::vec(any_entry(), 0..8)) {
            prop_assert_eq!(InstallfRequests::parse(&InstallfRequests::lines(&entries)), Ok(InstallfRequests(entries)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = InstallfRequests::parse(&bytes);
        }
    }
}
