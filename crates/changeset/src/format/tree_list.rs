//! `tree.<n>` in a stage: the list of a directory that changes by one exchange. A JSON line per path, in byte order:
//! old and new object. Only listed objects are dropped later. The journal has the list's digest, so any other form is
//! damage.

use patchadm_rootfs::{Inode, Timestamp};
use serde::{Deserialize, Serialize};

use super::manifest::{decode, encode};

pub(crate) const LARGEST: u64 = 1 << 30;

const LONGEST_PATH: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedIdentity {
    /// The letter of find(1) `-type`.
    pub(crate) file_type: char,
    pub(crate) inode: Inode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mtime: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListedPath {
    pub(crate) path: Vec<u8>,
    pub(crate) old: Option<ListedIdentity>,
    pub(crate) new: Option<ListedIdentity>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeList(Vec<ListedPath>);

#[derive(Serialize, Deserialize)]
struct TreeListLine {
    path: String,
    #[serde(default)]
    old: Option<ListedIdentity>,
    #[serde(default)]
    new: Option<ListedIdentity>,
}

impl TreeList {
    pub(crate) fn of(mut paths: Vec<ListedPath>) -> Self {
        paths.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Self(paths)
    }

    pub(crate) fn paths(&self) -> &[ListedPath] {
        &self.0
    }

    pub(crate) fn place_of(&self, path: &[u8]) -> Option<usize> {
        self.0.binary_search_by(|listed| listed.path.as_slice().cmp(path)).ok()
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 192);
        for listed in &self.0 {
            let line =
                TreeListLine { path: encode(&listed.path), old: listed.old.clone(), new: listed.new.clone() };
            // Serializing strings and numbers cannot fail.
            let _ = serde_json::to_writer(&mut bytes, &line);
            bytes.push(b'\n');
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut paths: Vec<ListedPath> = Vec::new();
        let lines = match bytes {
            [] => return Some(Self::default()),
            bytes => bytes.strip_suffix(b"\n")?.split(|&byte| byte == b'\n'),
        };
        for line in lines {
            let TreeListLine { path, old, new } = serde_json::from_slice(line).ok()?;
            let path = decode(&path).into_owned();
            let follows = paths.last().is_none_or(|before| before.path < path);
            let is_something = old.is_some() || new.is_some();
            if !is_relative(&path) || !follows || !is_something {
                return None;
            }
            paths.push(ListedPath { path, old, new });
        }
        Some(Self(paths))
    }
}

fn is_relative(path: &[u8]) -> bool {
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    path.len() <= LONGEST_PATH && path.split(|&byte| byte == b'/').all(is_name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(number: u64) -> ListedIdentity {
        let inode = Inode { number, born: Some(Timestamp { seconds: 7, nanoseconds: 8 }) };
        ListedIdentity { file_type: 'f', inode, size: None, mtime: None }
    }

    fn list() -> TreeList {
        let listed = |path: &[u8], old: Option<ListedIdentity>, new: Option<ListedIdentity>| ListedPath {
            path: path.to_vec(),
            old,
            new,
        };
        let changed = ListedIdentity { size: Some(9), mtime: Some(Timestamp::whole(5)), ..object(3) };
        TreeList::of(vec![
            listed(b"lib/b \xff", Some(object(2)), Some(changed)),
            listed(b"lib", Some(object(1)), Some(object(11))),
            listed(b"lib-new", None, Some(object(12))),
        ])
    }

    #[test]
    fn a_list_comes_back_as_it_was_written_and_is_found_by_its_paths() {
        let list = list();
        let text = list.write();
        assert!(text.starts_with(b"{\"path\":\"lib\",\"old\":{\"file_type\":\"f\",\"inode\":{\"number\":1,"));
        assert_eq!(TreeList::parse(&text).as_ref(), Some(&list));
        assert_eq!(list.place_of(b"lib-new"), Some(1));
        assert_eq!(list.place_of(b"lib/c"), None);
        assert_eq!(TreeList::parse(b""), Some(TreeList::default()));
    }

    #[test]
    fn a_list_that_leads_out_of_its_directory_or_is_out_of_order_is_none() {
        let line = |path: &str| {
            format!("{{\"path\":\"{path}\",\"old\":null,\"new\":{}}}\n", serde_json::json!(object(1)))
        };
        assert!(TreeList::parse(line("a/b").as_bytes()).is_some());
        for path in ["", "/etc", "../etc", "a/../b", "a//b", "a/", ".", "a%00b"] {
            assert_eq!(TreeList::parse(line(path).as_bytes()), None, "{path}");
        }
        assert_eq!(TreeList::parse((line("b") + &line("a")).as_bytes()), None, "out of order");
        assert_eq!(TreeList::parse((line("a") + &line("a")).as_bytes()), None, "twice");
        assert_eq!(TreeList::parse(line("a").trim_end().as_bytes()), None, "cut short");
        assert_eq!(TreeList::parse(b"{\"path\":\"a\",\"old\":null,\"new\":null}\n"), None, "nothing");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = TreeList::parse(&bytes);
        }
    }
}
