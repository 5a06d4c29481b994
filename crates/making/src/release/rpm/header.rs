//! Headers of an rpm package: tagged values before a store of bytes, and the files that they list.

use std::collections::BTreeMap;
use std::io::Read;

use patchadm_inputs::sha256::Sha256;
use patchadm_releases::{Device, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_rootfs::{Digest, Sums, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, Word};

use crate::release::ReleaseProblem;
use crate::release::archive::{TextRoom, content_of};

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];

/// The limit of rpm.
const MOST_VALUES: u32 = 1 << 16;

/// In bytes; 20,000 files take five million.
const LARGEST_STORE: u32 = 64 << 20;

/// Of one tag. In memory an empty string takes sixteen times its size, and several tags can name one place.
const LONGEST_ARRAY: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct RpmHeader {
    values: BTreeMap<u32, TaggedValue>,
    store: Vec<u8>,
    pub(super) length: u64,
    pub(super) sha256: String,
}

#[derive(Clone, Copy, Debug)]
struct TaggedValue {
    value_type: u32,
    offset: usize,
    count: usize,
}

impl RpmHeader {
    pub(super) fn read(input: &mut dyn Read) -> Result<Self, ReleaseProblem> {
        let mut start = [0; 16];
        input.read_exact(&mut start).map_err(ReleaseProblem::of_archive)?;
        let [magic, sizes] = [start.get(..8), start.get(8..)].map(Option::unwrap_or_default);
        let (count, size) = (be32(sizes, 0).unwrap_or(0), be32(sizes, 4).unwrap_or(0));
        if magic != MAGIC || count == 0 || count > MOST_VALUES || size > LARGEST_STORE {
            return Err(damaged());
        }
        let index = bytes(input, u64::from(count) * 16)?;
        let store = bytes(input, size.into())?;
        let length = 16 + index.len() as u64 + store.len() as u64;
        let mut digest = Sha256::new();
        for part in [&start[..], &index, &store] {
            digest.update(part);
        }
        let sha256 = Digest(digest.finalize()).to_string();
        let mut values = BTreeMap::new();
        for entry in index.as_chunks::<16>().0 {
            let word = |at| be32(entry, at).unwrap_or_default();
            let size = |at| usize::try_from(word(at)).ok().filter(|&value| value <= store.len());
            let (Some(offset), Some(count)) = (size(8), size(12)) else { return Err(damaged()) };
            values.insert(word(0), TaggedValue { value_type: word(4), offset, count });
        }
        Ok(Self { values, store, length, sha256 })
    }

    pub(super) fn has(&self, tag: u32) -> bool {
        self.values.contains_key(&tag)
    }

    fn array(&self, tag: u32) -> Result<Option<&TaggedValue>, ReleaseProblem> {
        match self.values.get(&tag) {
            Some(value) if value.count > LONGEST_ARRAY => Err(ReleaseProblem::BadForm(format!(
                "its header has an array of {} values, and the limit is {LONGEST_ARRAY}",
                value.count
            ))),
            value => Ok(value),
        }
    }

    pub(super) fn strings(&self, tag: u32) -> Result<Vec<&[u8]>, ReleaseProblem> {
        let Some(value) = self.array(tag)? else { return Ok(Vec::new()) };
        if !matches!(value.value_type, 6 | 8 | 9) {
            return Err(damaged());
        }
        let mut rest = self.store.get(value.offset..).ok_or_else(damaged)?;
        let mut found = Vec::new();
        for _ in 0..value.count {
            let end = rest.iter().position(|&byte| byte == 0).ok_or_else(damaged)?;
            let (text, behind) = rest.split_at(end);
            found.push(text);
            rest = behind.get(1..).unwrap_or_default();
        }
        Ok(found)
    }

    pub(super) fn string(&self, tag: u32) -> Result<Option<String>, ReleaseProblem> {
        Ok(self.strings(tag)?.first().map(|text| String::from_utf8_lossy(text).into_owned()))
    }

    pub(super) fn numbers(&self, tag: u32) -> Result<Vec<u64>, ReleaseProblem> {
        let Some(value) = self.array(tag)? else { return Ok(Vec::new()) };
        let width = match value.value_type {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => return Err(damaged()),
        };
        let end = value.count.checked_mul(width).and_then(|length| value.offset.checked_add(length));
        let bytes = end.and_then(|end| self.store.get(value.offset..end)).ok_or_else(damaged)?;
        let number = |digits: &[u8]| digits.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        Ok(bytes.chunks_exact(width).map(number).collect())
    }
}

pub(super) fn damaged() -> ReleaseProblem {
    ReleaseProblem::bad("the package is damaged: its header cannot be read")
}

fn bytes(input: &mut dyn Read, length: u64) -> Result<Vec<u8>, ReleaseProblem> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes).map_err(ReleaseProblem::of_archive)?;
    if (bytes.len() as u64) < length { Err(damaged()) } else { Ok(bytes) }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

const CONFIG: u64 = 1;
pub(super) const GHOST: u64 = 1 << 6;

/// Leaves out ghosts. The content of files is not known yet.
pub(super) fn listed(header: &RpmHeader) -> Result<BTreeMap<ObjectPath, ReleaseObject>, ReleaseProblem> {
    let columns = Columns::read(header)?;
    // Names share their directories in the header.
    let (mut found, mut room) = (BTreeMap::new(), TextRoom::default());
    for at in 0..columns.names.len() {
        let path = columns.path(at)?;
        if columns.flags.get(at).is_some_and(|flags| flags & GHOST != 0) {
            continue;
        }
        let object = columns.object(at, path.clone())?;
        if path.relative().is_empty() {
            continue;
        }
        room.add(&object)?;
        if found.insert(path.clone(), object).is_some() {
            return Err(ReleaseProblem::BadForm(format!("two objects are called <{path}>")));
        }
    }
    Ok(found)
}

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

fn capability(text: &[u8], path: &ObjectPath) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReleaseProblem> {
    let text = String::from_utf8_lossy(text);
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let refused =
        || ReleaseProblem::Unsupported(format!("<{path}> with the capabilities `{}`", text.escape_debug()));
    let value = attribute(&text).ok_or_else(refused)?;
    Ok(BTreeMap::from([(b"security.capability".to_vec(), value)]))
}

// Translates capabilities from text (`cap_from_text(3)`) to the value of `security.capability`.

const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Version 2 of the value, and the flag that makes permitted capabilities effective.
const REVISION: u32 = 0x0200_0000;

const EFFECTIVE: u32 = 1;

#[derive(Default)]
struct CapabilitySets {
    effective: u64,
    permitted: u64,
    inheritable: u64,
}

/// Translates a text such as `cap_net_raw=ep`; `None` if a file cannot have it.
pub(super) fn attribute(text: &str) -> Option<Vec<u8>> {
    let mut sets = CapabilitySets::default();
    for clause in text.split_whitespace() {
        sets.apply(clause)?;
    }
    let given = sets.permitted | sets.inheritable;
    // The kernel has one flag for all of a file's capabilities.
    if sets.effective != 0 && sets.effective != given {
        return None;
    }
    let flag = if sets.effective == 0 { 0 } else { EFFECTIVE };
    let mut value = (REVISION | flag).to_le_bytes().to_vec();
    for shift in [0, 32] {
        for set in [sets.permitted, sets.inheritable] {
            value.extend((set >> shift & 0xffff_ffff).to_le_bytes().into_iter().take(4));
        }
    }
    Some(value)
}

impl CapabilitySets {
    /// Applies `NAME,NAME=ep` or `NAME+i-p`.
    fn apply(&mut self, clause: &str) -> Option<()> {
        let end = clause.find(['=', '+', '-'])?;
        let (names, mut actions) = clause.split_at_checked(end)?;
        let named = if names.is_empty() || names.eq_ignore_ascii_case("all") {
            (1 << NAMES.len()) - 1
        } else {
            names.split(',').try_fold(0, |bits, name| Some(bits | 1u64 << number(name)?))?
        };
        while let Some(operator) = actions.chars().next() {
            let rest = actions.get(1..)?;
            let end = rest.find(['=', '+', '-']).unwrap_or(rest.len());
            let (flags, behind) = rest.split_at_checked(end)?;
            if operator == '=' {
                self.each(|_, set| *set &= !named);
            }
            if !flags.chars().all(|flag| "eip".contains(flag)) {
                return None;
            }
            let is_wanted = |letter| flags.contains(letter);
            self.each(|letter, set| match operator {
                '-' if is_wanted(letter) => *set &= !named,
                '=' | '+' if is_wanted(letter) => *set |= named,
                _ => {}
            });
            actions = behind;
        }
        Some(())
    }

    fn each(&mut self, change: impl Fn(char, &mut u64)) {
        change('e', &mut self.effective);
        change('i', &mut self.inheritable);
        change('p', &mut self.permitted);
    }
}

fn number(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("cap_")?;
    NAMES.iter().position(|known| *known == name)
}

/// Tags by their names in rpm.
pub(super) mod tags {
    pub(crate) const SIGNATURE_SHA256: u32 = 273;
    pub(crate) const NAME: u32 = 1000;
    pub(crate) const VERSION: u32 = 1001;
    pub(crate) const RELEASE: u32 = 1002;
    pub(crate) const EPOCH: u32 = 1003;
    pub(crate) const SUMMARY: u32 = 1004;
    pub(crate) const ARCH: u32 = 1022;
    pub(crate) const FILE_MODES: u32 = 1030;
    pub(crate) const FILE_RDEVS: u32 = 1033;
    pub(crate) const FILE_MTIMES: u32 = 1034;
    pub(crate) const FILE_LINKTOS: u32 = 1036;
    pub(crate) const FILE_FLAGS: u32 = 1037;
    pub(crate) const FILE_USERS: u32 = 1039;
    pub(crate) const FILE_GROUPS: u32 = 1040;
    pub(crate) const SOURCE_RPM: u32 = 1044;
    pub(crate) const SOURCE_PACKAGE: u32 = 1106;
    pub(crate) const FILE_DEVICES: u32 = 1095;
    pub(crate) const FILE_INODES: u32 = 1096;
    pub(crate) const DIR_INDEXES: u32 = 1116;
    pub(crate) const BASE_NAMES: u32 = 1117;
    pub(crate) const DIR_NAMES: u32 = 1118;
    pub(crate) const PAYLOAD_FORMAT: u32 = 1124;
    pub(crate) const PAYLOAD_COMPRESSOR: u32 = 1125;
    pub(crate) const LONG_FILE_SIZES: u32 = 5008;
    pub(crate) const FILE_CAPS: u32 = 5010;
    pub(crate) const PAYLOAD_DIGEST: u32 = 5092;
    pub(crate) const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;

    pub(crate) const SCRIPTS: [(&str, &[u32]); 12] = [
        ("filetriggers", &[5066]),
        ("post", &[1024, 1086]),
        ("posttrans", &[1152, 1154]),
        ("postun", &[1026, 1088]),
        ("postuntrans", &[5105, 5107]),
        ("pre", &[1023, 1085]),
        ("pretrans", &[1151, 1153]),
        ("preun", &[1025, 1087]),
        ("preuntrans", &[5104, 5106]),
        ("transfiletriggers", &[5076]),
        ("triggers", &[1065]),
        ("verifyscript", &[1079, 1091]),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_have_a_limit() {
        let header = |count: u32, size: u32| {
            let words = [1_u32, size, tags::BASE_NAMES, 8, 0, count].map(u32::to_be_bytes).concat();
            let store = vec![0; usize::try_from(size).unwrap()];
            RpmHeader::read(&mut &[&MAGIC[..], &words, &store].concat()[..]).unwrap()
        };
        assert_eq!(header(2, 2).strings(tags::BASE_NAMES).unwrap(), [b"", b""]);
        let refused = header(1_048_577, 1_048_577).strings(tags::BASE_NAMES).unwrap_err().to_string();
        assert!(refused.contains("an array of 1048577 values, and the limit is 1048576"), "{refused}");
    }

    #[test]
    fn the_text_becomes_the_value_that_setcap_would_set() {
        let raw = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for text in ["cap_net_raw=ep", "= cap_net_raw+ep", "CAP_NET_RAW+pe", "cap_net_raw=eip cap_net_raw-i"]
        {
            assert_eq!(attribute(text).as_deref(), Some(&raw[..]), "{text}");
        }
        let two = attribute("cap_chown,cap_checkpoint_restore+i").unwrap();
        assert_eq!(two, [0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn what_no_file_can_have_is_refused() {
        for text in ["cap_nothing=ep", "cap_chown", "cap_chown=x", "cap_chown=ep cap_kill=p", "chown=ep"] {
            assert_eq!(attribute(text), None, "{text}");
        }
    }
}
