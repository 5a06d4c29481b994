//! The files that the header of an rpm package lists; the archive after it repeats this only in part.

use std::collections::BTreeMap;

use super::capabilities;
use super::header::{RpmHeader, damaged};
use super::tags;
use crate::release::collector::content_of;
use crate::release::error::ReleaseProblem;
use patchadm_releases::{Device, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_rootfs::{Sums, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, Word};

/// Flags of a file: edited by administrators; not in the package.
const CONFIG: u64 = 1;
pub(super) const GHOST: u64 = 1 << 6;

/// Reads the list, by path. Ghosts are left out. The content of files is still unknown.
pub(super) fn listed(header: &RpmHeader) -> Result<BTreeMap<ObjectPath, ReleaseObject>, ReleaseProblem> {
    let columns = Columns::read(header)?;
    let mut found = BTreeMap::new();
    for at in 0..columns.names.len() {
        let path = columns.path(at)?;
        if columns.flags.get(at).is_some_and(|flags| flags & GHOST != 0) {
            continue;
        }
        let object = columns.object(at, path.clone())?;
        if path.relative().is_empty() {
            continue;
        }
        if found.insert(path.clone(), object).is_some() {
            return Err(ReleaseProblem::BadForm(format!("two objects are called <{path}>")));
        }
    }
    Ok(found)
}

/// The list as the header has it: a column for each attribute.
struct Columns<'a> {
    names: Vec<&'a [u8]>,
    directories: Vec<&'a [u8]>,
    directory_of: Vec<u64>,
    modes: Vec<u64>,
    devices: Vec<u64>,
    times: Vec<u64>,
    targets: Vec<&'a [u8]>,
    flags: Vec<u64>,
    users: Vec<&'a [u8]>,
    groups: Vec<&'a [u8]>,
    capabilities: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn read(header: &'a RpmHeader) -> Result<Self, ReleaseProblem> {
        let columns = Self {
            names: header.strings(tags::BASE_NAMES)?,
            directories: header.strings(tags::DIR_NAMES)?,
            directory_of: header.numbers(tags::DIR_INDEXES)?,
            modes: header.numbers(tags::FILE_MODES)?,
            devices: header.numbers(tags::FILE_RDEVS)?,
            times: header.numbers(tags::FILE_MTIMES)?,
            targets: header.strings(tags::FILE_LINKTOS)?,
            flags: header.numbers(tags::FILE_FLAGS)?,
            users: header.strings(tags::FILE_USERS)?,
            groups: header.strings(tags::FILE_GROUPS)?,
            capabilities: header.strings(tags::FILE_CAPS)?,
        };
        let count = columns.names.len();
        let texts = [columns.targets.len(), columns.users.len(), columns.groups.len()];
        let numbers =
            [&columns.directory_of, &columns.modes, &columns.devices, &columns.times, &columns.flags];
        let is_whole = texts.iter().all(|&length| length == count)
            && numbers.iter().all(|column| column.len() == count)
            && [0, count].contains(&columns.capabilities.len());
        if is_whole { Ok(columns) } else { Err(damaged()) }
    }

    fn path(&self, at: usize) -> Result<ObjectPath, ReleaseProblem> {
        let directory =
            self.directory_of.get(at).and_then(|&at| self.directories.get(usize::try_from(at).ok()?));
        let (Some(directory), Some(name)) = (directory, self.names.get(at)) else { return Err(damaged()) };
        Ok(ObjectPath::new(&[directory, *name].concat())?)
    }

    fn object(&self, at: usize, path: ObjectPath) -> Result<ReleaseObject, ReleaseProblem> {
        let number = |column: &[u64]| column.get(at).copied().unwrap_or_default();
        let text = |column: &[&'a [u8]]| column.get(at).copied().unwrap_or_default();
        let owner = |column| ObjectOwner {
            name: Some(Word::from(&*String::from_utf8_lossy(text(column)))),
            id: None,
        };
        let mode = u32::try_from(number(&self.modes)).unwrap_or_default();
        let device = u32::try_from(number(&self.devices)).unwrap_or_default();
        let device = Device { major: device >> 8, minor: device & 0xff };
        let is_config = number(&self.flags) & CONFIG != 0;
        let kind = match mode & 0o170_000 {
            0o100_000 => ReleaseObjectKind::File {
                content: content_of(Sums::of(&mut &b""[..]).map_err(ReleaseProblem::Io)?),
                upkeep: if is_config { Upkeep::Editable } else { Upkeep::Delivered },
                links: None,
            },
            0o040_000 => ReleaseObjectKind::Directory { exclusive: false },
            0o120_000 => ReleaseObjectKind::Symlink(text(&self.targets).to_vec()),
            0o010_000 => ReleaseObjectKind::Pipe,
            0o060_000 => ReleaseObjectKind::Block(device),
            0o020_000 => ReleaseObjectKind::Character(device),
            _ => return Err(ReleaseProblem::Unsupported(format!("<{path}>, a file of an unknown type"))),
        };
        let seconds = i64::try_from(number(&self.times)).unwrap_or_default();
        Ok(ReleaseObject {
            kind,
            mode: Mode::of(mode),
            owner: owner(&self.users),
            group: owner(&self.groups),
            mtime: Timestamp::whole(seconds),
            xattrs: capability(text(&self.capabilities), &path)?,
            class: Word::default(),
            path,
        })
    }
}

/// Returns the extended attribute that a capability is.
fn capability(text: &[u8], path: &ObjectPath) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReleaseProblem> {
    let text = String::from_utf8_lossy(text);
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let refused =
        || ReleaseProblem::Unsupported(format!("<{path}> with the capabilities `{}`", text.escape_debug()));
    let value = capabilities::attribute(&text).ok_or_else(refused)?;
    Ok(BTreeMap::from([(b"security.capability".to_vec(), value)]))
}
