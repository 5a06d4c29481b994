//! `install/patchadm.objects`: attributes that a pkgmap cannot express (patchadm-objects(5)), a header and a JSON line
//! per object. Unknown attributes and versions are refused: an ignored one is a right too many or too few.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_changeset::format::manifest::{decode, encode, recorded_xattrs, unhex};
use patchadm_rootfs::{CAPABILITY, Xattrs};
use patchadm_svr4::package::PackagePath;

pub const OBJECTS: &str = "patchadm.objects";

pub const VERSION: u32 = 1;

const LONGEST_LINE: usize = 1 << 20;
const LONGEST_VALUE: usize = 1 << 16;
const LONGEST_NAME: usize = 255;

/// By path in the pkgmap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectsFile {
    pub objects: BTreeMap<PackagePath, GivenAttributes>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenAttributes {
    /// Of the modification time; the pkgmap has its seconds.
    pub mtime_ns: Option<u32>,
    /// All except labels; `None` keeps those of the replaced object.
    pub xattrs: Option<Xattrs>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectsFileError {
    #[error("it is empty")]
    Empty,
    #[error("it is of version {0}: this program reads version {VERSION}")]
    Version(u32),
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct ObjectsHeader {
    objects: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectsLine {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xattrs: Option<BTreeMap<String, String>>,
}

impl ObjectsFile {
    pub fn parse(text: &[u8]) -> Result<Self, ObjectsFileError> {
        let mut lines = (1..).zip(text.split(|&byte| byte == b'\n')).filter(|(_, line)| !line.is_empty());
        let (at, first) = lines.next().ok_or(ObjectsFileError::Empty)?;
        let header: ObjectsHeader = parse_line(first).map_err(|reason| bad(at, reason))?;
        if header.objects != VERSION {
            return Err(ObjectsFileError::Version(header.objects));
        }
        let mut read = Self::default();
        for (at, line) in lines {
            let written: ObjectsLine = parse_line(line).map_err(|reason| bad(at, reason))?;
            let (path, given) = given(&written).map_err(|reason| bad(at, reason))?;
            if read.objects.insert(path, given).is_some() {
                return Err(bad(at, format!("{} is listed twice", written.path)));
            }
        }
        Ok(read)
    }

    /// Formats the file, sorted by path.
    pub fn write(&self) -> Vec<u8> {
        let mut text = Vec::new();
        put_line(&mut text, &ObjectsHeader { objects: VERSION });
        for (path, given) in &self.objects {
            put_line(
                &mut text,
                &ObjectsLine {
                    path: encode(path.as_bytes()),
                    mtime_ns: given.mtime_ns,
                    xattrs: given.xattrs.as_ref().map(recorded_xattrs),
                },
            );
        }
        text
    }
}

/// `user.*`, file capabilities, access control lists.
pub fn may_be_given(name: &[u8]) -> bool {
    name.len() <= LONGEST_NAME
        && (name.strip_prefix(b"user.").is_some_and(|rest| !rest.is_empty())
            || matches!(name, CAPABILITY | b"system.posix_acl_access" | b"system.posix_acl_default"))
        && !name.contains(&0)
}

fn bad(line: usize, reason: String) -> ObjectsFileError {
    ObjectsFileError::Line { line, reason }
}

fn given(written: &ObjectsLine) -> Result<(PackagePath, GivenAttributes), String> {
    let path = PackagePath::new(&decode(&written.path)).map_err(|error| error.to_string())?;
    if written.mtime_ns.is_some_and(|nanoseconds| nanoseconds >= 1_000_000_000) {
        return Err(format!("{}: `mtime_ns` is more than a second", written.path));
    }
    let mut xattrs = written.xattrs.is_some().then(Xattrs::new);
    for (name, value) in written.xattrs.iter().flatten() {
        let decoded = decode(name).into_owned();
        if !may_be_given(&decoded) {
            return Err(format!("{}: packages must not set the attribute {name}", written.path));
        }
        let value = unhex(value).filter(|value| value.len() <= LONGEST_VALUE);
        let value = value.ok_or_else(|| format!("{}: the value of {name} is not valid", written.path))?;
        xattrs.get_or_insert_default().insert(decoded, value);
    }
    Ok((path, GivenAttributes { mtime_ns: written.mtime_ns, xattrs }))
}

fn parse_line<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    if line.len() > LONGEST_LINE {
        return Err("it is longer than 1 MiB".to_owned());
    }
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

fn put_line(text: &mut Vec<u8>, value: &impl Serialize) {
    // Strings, numbers and maps with string keys: serialising these into memory cannot fail.
    let _ = serde_json::to_writer(&mut *text, value);
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = "{\"objects\":1}\n";

    fn reading(line: &str) -> Result<ObjectsFile, ObjectsFileError> {
        ObjectsFile::parse(format!("{HEADER}{line}\n").as_bytes())
    }

    #[test]
    fn a_line_gives_nanoseconds_and_all_attributes_of_an_object() {
        let line =
            r#"{"path":"bin/a%20b","mtime_ns":5,"xattrs":{"user.note":"6869","security.capability":""}}"#;
        let read = reading(line).unwrap();
        let given = &read.objects[&PackagePath::new(b"bin/a b").unwrap()];
        assert_eq!(given.mtime_ns, Some(5));
        let xattrs = given.xattrs.as_ref().unwrap();
        assert_eq!((xattrs[&b"user.note"[..]].as_slice(), xattrs.len()), (&b"hi"[..], 2));
    }

    #[test]
    fn no_attributes_are_something_else_than_none_of_the_old_ones() {
        let taken_away = reading(r#"{"path":"a","xattrs":{}}"#).unwrap();
        let silent = reading(r#"{"path":"a","mtime_ns":0}"#).unwrap();
        let given = |read: &ObjectsFile| read.objects.values().next().unwrap().xattrs.clone();
        assert_eq!((given(&taken_away), given(&silent)), (Some(Xattrs::new()), None));
    }

    #[test]
    fn a_bad_line_is_refused_by_its_number_and_an_unknown_version_by_its_own() {
        for (line, reason) in [
            ("garbage", "expected value"),
            ("{}", "missing field `path`"),
            (r#"{"path":"../etc"}"#, ""),
            (r#"{"path":"a","owner":"root"}"#, "unknown field `owner`"),
            (r#"{"path":"a","mtime_ns":1000000000}"#, "a: `mtime_ns` is more than a second"),
            (
                r#"{"path":"a","xattrs":{"trusted.x":"00"}}"#,
                "a: packages must not set the attribute trusted.x",
            ),
            (
                r#"{"path":"a","xattrs":{"security.ima":"00"}}"#,
                "a: packages must not set the attribute security.ima",
            ),
            (r#"{"path":"a","xattrs":{"user.":"00"}}"#, "a: packages must not set the attribute user."),
            (r#"{"path":"a","xattrs":{"user.a":"0"}}"#, "a: the value of user.a is not valid"),
            ("{\"path\":\"a\"}\n{\"path\":\"a\"}", ""),
        ] {
            let Err(ObjectsFileError::Line { line: at, reason: said }) = reading(line) else {
                panic!("{line} is read");
            };
            assert!(at >= 2 && said.contains(reason), "{line}: {said}");
        }
        assert_eq!(ObjectsFile::parse(b"{\"objects\":2}\n?"), Err(ObjectsFileError::Version(2)));
        assert_eq!(ObjectsFile::parse(b"\n"), Err(ObjectsFileError::Empty));
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof!["user\\.[a-z%]{1,9}".prop_map(String::into_bytes), Just(CAPABILITY.to_vec())]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            objects in prop::collection::btree_map(
                "[a-z% é]{1,9}(/[a-z]{1,3})?",
                (
                    prop::option::of(0u32..1_000_000_000),
                    prop::option::of(prop::collection::btree_map(name(), any::<Vec<u8>>(), 0..3)),
                ),
                0..5,
            ),
        ) {
            let objects = objects.into_iter().filter_map(|(path, (mtime_ns, xattrs))| {
                Some((PackagePath::new(path.as_bytes()).ok()?, GivenAttributes { mtime_ns, xattrs }))
            });
            let file = ObjectsFile { objects: objects.collect() };
            prop_assert_eq!(ObjectsFile::parse(&file.write()), Ok(file));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = ObjectsFile::parse(&bytes);
        }
    }
}
