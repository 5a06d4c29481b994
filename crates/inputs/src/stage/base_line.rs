//! One line of a base: an object with everything that a backout restores, or a mount point.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_changeset::format::manifest::{RecordedState, decode, encoded, unhex};
use patchadm_rootfs::{Digest, FileType, Timestamp};
use patchadm_svr4::package::{ObjectPath, rule};

/// One object of a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseObject {
    /// Its path in the root.
    pub path: ObjectPath,
    /// The object that was there.
    pub state: BaseState,
}

/// The object at a path of a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseState {
    /// An object. Those with the same `group` are names of one object.
    Object(Box<RecordedState>),
    /// A mount point, which was not entered.
    Mount,
}

/// A line as it is written: `was` of the undo manifest with `path`, or `mount`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenObject<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    mount: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<FileType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    b3: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "is_none_or_empty")]
    xattrs: Option<Cow<'a, BTreeMap<String, String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
}

#[allow(clippy::ref_option)] // serde hands down a reference to the field
fn is_none_or_empty(xattrs: &Option<Cow<'_, BTreeMap<String, String>>>) -> bool {
    xattrs.as_ref().is_none_or(|xattrs| xattrs.is_empty())
}

impl BaseObject {
    /// Returns the state of an object; `None` for a mount point.
    pub fn object(&self) -> Option<&RecordedState> {
        match &self.state {
            BaseState::Object(state) => Some(state),
            BaseState::Mount => None,
        }
    }

    /// Gives the link group of an object a number after `last`, so that it differs from those of another list.
    #[must_use]
    pub fn numbered_behind(mut self, last: u32) -> Self {
        if let BaseState::Object(state) = &mut self.state {
            state.group = state.group.map(|group| group + last);
        }
        self
    }

    /// Reads a line, without its newline.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let written: WrittenObject<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let path = ObjectPath::new(&decode(&written.path)).map_err(|error| error.to_string())?;
        if !rule::holds("base.path", encoded(path.as_bytes()) == written.path) {
            return Err("`path` is not as this program writes it".to_owned());
        }
        let state = if written.mount {
            if !rule::holds("base.mount.bare", written.is_bare()) {
                return Err("a mount point has nothing but its path".to_owned());
            }
            BaseState::Mount
        } else {
            BaseState::Object(Box::new(written.state()?))
        };
        Ok(Self { path, state })
    }

    /// Appends the line, with its newline.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let mut written = WrittenObject::at(&self.path);
        match &self.state {
            BaseState::Mount => written.mount = true,
            BaseState::Object(state) => {
                written.kind = Some(state.kind);
                written.mode = Some(state.mode);
                written.uid = Some(state.uid);
                written.gid = Some(state.gid);
                written.mtime = Some(state.mtime);
                written.size = state.size;
                written.b3 = state.b3.as_deref().map(|b3| Cow::Owned(b3.to_string()));
                written.target = state.target.as_deref().map(Cow::Borrowed);
                written.device = state.device;
                written.xattrs = Some(Cow::Borrowed(&state.xattrs));
                written.group = state.group;
            }
        }
        // Strings, numbers and a map with string keys, into memory: this cannot fail.
        let _ = serde_json::to_writer(&mut *out, &written);
        out.push(b'\n');
    }
}

impl<'a> WrittenObject<'a> {
    fn at(path: &'a ObjectPath) -> Self {
        Self {
            path: encoded(path.as_bytes()),
            mount: false,
            kind: None,
            mode: None,
            uid: None,
            gid: None,
            mtime: None,
            size: None,
            b3: None,
            target: None,
            device: None,
            xattrs: None,
            group: None,
        }
    }

    /// Tells whether it says nothing but its path.
    fn is_bare(&self) -> bool {
        let is_attributed = self.kind.is_some()
            || self.mode.is_some()
            || self.uid.is_some()
            || self.gid.is_some()
            || self.mtime.is_some()
            || self.xattrs.is_some()
            || self.group.is_some();
        !is_attributed && !self.has_size() && self.target.is_none() && self.device.is_none()
    }

    fn has_size(&self) -> bool {
        self.size.is_some() || self.b3.is_some()
    }

    fn state(self) -> Result<RecordedState, String> {
        let (Some(kind), Some(mode), Some(uid), Some(gid), Some(mtime)) =
            (self.kind, self.mode, self.uid, self.gid, self.mtime)
        else {
            return Err("it needs `kind`, `mode`, `uid`, `gid` and `mtime`".to_owned());
        };
        let digest = self.b3.as_deref().and_then(Digest::from_hex);
        if !rule::holds("base.mode", mode <= 0o7777) {
            return Err("`mode` has other bits than those of permissions".to_owned());
        }
        if !rule::holds("base.owner", uid != u32::MAX && gid != u32::MAX) {
            return Err("`uid` or `gid` is no account".to_owned());
        }
        if !rule::holds("base.mtime", mtime.nanoseconds < 1_000_000_000) {
            return Err("`mtime` has more than a second in nanoseconds".to_owned());
        }
        if !rule::holds("base.b3", self.b3.is_none() || digest.is_some()) {
            return Err("`b3` is no digest".to_owned());
        }
        if !rule::holds("base.kind", self.fits(kind)) {
            return Err("what it says does not fit its `kind`".to_owned());
        }
        let xattrs = self.xattrs.map(Cow::into_owned).unwrap_or_default();
        if !rule::holds("base.xattrs", xattrs.values().all(|value| unhex(value).is_some())) {
            return Err("`xattrs` has a value that is not hexadecimal".to_owned());
        }
        Ok(RecordedState {
            kind,
            mode,
            uid,
            gid,
            mtime,
            size: self.size,
            b3: digest.map(|digest| Box::new(digest.into())),
            target: self.target.map(|target| target.into_owned().into()),
            device: self.device,
            xattrs,
            group: self.group,
        })
    }

    /// Tells whether it has what an object of this type has, and nothing else.
    fn fits(&self, kind: FileType) -> bool {
        let is_file = kind == FileType::Regular;
        let is_link = kind == FileType::Symlink;
        let is_device = matches!(kind, FileType::Block | FileType::Character);
        let is_grouped = self.group.is_some();
        self.size.is_some() == is_file
            && self.b3.is_some() == is_file
            && self.target.is_some() == is_link
            && self.device.is_some() == is_device
            && !(is_grouped && kind == FileType::Directory)
            && kind != FileType::Socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "{\"path\":\"/usr/pkg/bin/a\",\"kind\":\"file\",\"mode\":493,\"uid\":0,\"gid\":0,\
        \"mtime\":{\"seconds\":1754377781,\"nanoseconds\":0},\"size\":12,\"b3\":\"@\",\"group\":1}";

    fn file() -> String {
        FILE.replace('@', &"5f".repeat(32))
    }

    #[test]
    fn a_line_has_the_names_of_the_contract_and_comes_back() {
        let device = "{\"path\":\"/dev/a%20%FF\",\"kind\":\"block\",\"mode\":384,\"uid\":1,\"gid\":2,\
            \"mtime\":{\"seconds\":-1,\"nanoseconds\":5},\"device\":[8,1],\"xattrs\":{\"user.a\":\"00ff\"}}";
        let link = "{\"path\":\"/l\",\"kind\":\"symlink\",\"mode\":511,\"uid\":0,\"gid\":0,\
            \"mtime\":{\"seconds\":1,\"nanoseconds\":0},\"target\":\"../%0A\"}";
        let device = &device.replace("%20", " ");
        for line in [&file(), device, link, "{\"path\":\"/usr/pkg/data\",\"mount\":true}"] {
            let object = BaseObject::parse(line.as_bytes()).unwrap();
            let mut written = Vec::new();
            object.append_to(&mut written);
            assert_eq!(std::str::from_utf8(&written).unwrap(), format!("{line}\n"));
        }
        assert!(BaseObject::parse(file().as_bytes()).unwrap().object().is_some());
    }

    #[test]
    fn what_no_reading_of_a_tree_writes_into_a_line_is_refused() {
        for (old, new) in [
            ("/usr/pkg/bin/a", "usr/pkg/bin/a"),
            ("/usr/pkg/bin/a", "/usr/pkg/../a"),
            ("/usr/pkg/bin/a", "/usr//pkg/bin/a"),
            ("/usr/pkg/bin/a", "/usr/pkg/bin/%61"),
            ("\"mode\":493", "\"mode\":33261"),
            ("\"uid\":0", "\"uid\":4294967295"),
            ("\"gid\":0", "\"gid\":4294967295"),
            ("\"nanoseconds\":0", "\"nanoseconds\":1000000000"),
            ("5f5f", "5fxx"),
            ("\"size\":12,", ""),
            ("\"kind\":\"file\"", "\"kind\":\"directory\""),
            ("\"kind\":\"file\"", "\"kind\":\"socket\""),
            ("\"size\":12", "\"size\":12,\"target\":\"x\""),
            ("\"size\":12", "\"size\":12,\"xattrs\":{\"user.a\":\"0\"}"),
            ("\"size\":12", "\"size\":12,\"more\":1"),
            ("\"mode\":493", "\"mount\":true,\"mode\":493"),
            ("\"uid\":0,", ""),
        ] {
            let line = file().replacen(old, new, 1);
            assert!(line != file() && BaseObject::parse(line.as_bytes()).is_err(), "{new}");
        }
    }
}
