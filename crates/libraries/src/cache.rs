//! The known facts about the files of a root, `elf.cache` (patchadm-elf-cache(5)): the next scan reads only files that
//! changed since. The file may be removed at any time; a damaged one is ignored. All numbers are little-endian:
//!
//! ```text
//! "patchadm-elf 1\n\0"
//! u32 mounts, u32 entries, u32 facts, u32 CRC-32C of all that follows
//! a line for each mount      PATH TYPE, the path escaped
//! an entry for each file     u32 mount, u32 fact, u64 inode, u64 size, i64 mtime, i64 ctime, times in nanoseconds
//! a line for each fact       JSON; the fact of an entry is its number from 1, or 0 of what is no program or library
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::elf::{DlopenNote, ElfFacts, ElfMachine, NeededVersion};
use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_inputs::little_endian::LittleEndianFields;
use patchadm_rootfs::{ObjectStatus, Timestamp};
use patchadm_svr4::package::ObjectPath;

const MAGIC: &[u8; 16] = b"patchadm-elf 1\n\0";

const ENTRY: usize = 40;

/// 1 GiB.
pub const LARGEST: u64 = 1 << 30;

/// A file must have been unchanged for so many nanoseconds before the scan: a second change within one tick of a coarse
/// clock shows the same time.
const QUIET: i64 = 2_000_000_000;

/// Neither a program nor a library.
const NONE: u32 = 0;

/// Could not be read as ELF.
const NOT_UNDERSTOOD: u32 = u32::MAX;

/// A file is unchanged while these stay the same. Only the system sets the status change time, at every change of
/// content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheKey {
    mount: u32,
    inode: u64,
    size: u64,
    mtime: i64,
    ctime: i64,
}

/// The mount point, and the type of its file system.
pub type MountName = (ObjectPath, String);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactsCache {
    mounts: Vec<MountName>,
    /// Sorted, each inode of a mount once.
    entries: Vec<(CacheKey, Option<Arc<ElfFacts>>)>,
}

impl FactsCache {
    pub fn mount(&self, mount: &MountName) -> Option<u32> {
        self.mounts.iter().position(|known| known == mount).and_then(|at| u32::try_from(at).ok())
    }

    /// Returns the key of a file on a mount; `None` if its times cannot be represented.
    pub fn key(mount: u32, status: &ObjectStatus) -> Option<CacheKey> {
        let (mtime, ctime) = (nanoseconds(status.mtime)?, nanoseconds(status.ctime)?);
        Some(CacheKey { mount, inode: status.inode.number, size: status.size, mtime, ctime })
    }

    /// Returns `Some(None)` if the file is no program or library.
    pub fn file(&self, key: &CacheKey) -> Option<Option<&Arc<ElfFacts>>> {
        let at = self.entries.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        self.entries.get(at).map(|(_, facts)| facts.as_ref())
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes a cache of the files that a scan found. The scan began at `since`.
    pub fn new(
        mounts: Vec<MountName>,
        files: impl IntoIterator<Item = (CacheKey, Option<Arc<ElfFacts>>)>,
        since: Timestamp,
    ) -> Self {
        let latest = nanoseconds(since).unwrap_or_default().saturating_sub(QUIET);
        let mut entries: Vec<_> = files.into_iter().filter(|(key, _)| key.ctime <= latest).collect();
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by_key(|(key, _)| (key.mount, key.inode));
        Self { mounts, entries }
    }

    /// Reads the file. A damaged file gives an empty cache.
    pub fn parse(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = LittleEndianFields(bytes.strip_prefix(MAGIC)?);
        let [mounts, entries, facts, checksum] = [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        if crc32c::crc32c(fields.0) != checksum {
            return None;
        }
        let mounts = (0..mounts).map(|_| mount(&mut fields)).collect::<Option<Vec<_>>>()?;
        let (mut table, rest) = fields
            .0
            .split_at_checked((entries as usize).checked_mul(ENTRY)?)
            .map(|(one, rest)| (LittleEndianFields(one), rest))?;
        let mut lines = rest.split_inclusive(|byte| *byte == b'\n');
        let known = lines.by_ref().take(facts as usize).map(parse_facts).collect::<Option<Vec<_>>>()?;
        if lines.next().is_some() || known.len() != facts as usize {
            return None;
        }
        let mut found = Vec::with_capacity(table.0.len() / ENTRY);
        while !table.0.is_empty() {
            let (key, fact) = entry(&mut table, mounts.len())?;
            match fact {
                NONE => found.push((key, None)),
                NOT_UNDERSTOOD => {}
                line => found.push((key, Some(known.get(line as usize - 1)?.clone()))),
            }
        }
        let order = |key: &CacheKey| (key.mount, key.inode);
        found
            .is_sorted_by(|(one, _), (next, _)| order(one) < order(next))
            .then_some(Self { mounts, entries: found })
    }

    pub fn write(&self) -> Vec<u8> {
        let mut lines: Vec<String> = Vec::new();
        let mut numbers: HashMap<*const ElfFacts, u32> = HashMap::new();
        let mut body = Vec::new();
        for (path, file_system) in &self.mounts {
            body.extend(format!("{} {file_system}\n", encode(path.as_bytes())).into_bytes());
        }
        for (key, facts) in &self.entries {
            let fact = facts.as_ref().map_or(NONE, |facts| {
                *numbers.entry(Arc::as_ptr(facts)).or_insert_with(|| {
                    lines.push(format_facts(facts));
                    u32::try_from(lines.len()).unwrap_or(NOT_UNDERSTOOD)
                })
            });
            body.extend(key.mount.to_le_bytes());
            body.extend(fact.to_le_bytes());
            body.extend(key.inode.to_le_bytes());
            body.extend(key.size.to_le_bytes());
            body.extend(key.mtime.to_le_bytes());
            body.extend(key.ctime.to_le_bytes());
        }
        body.extend(lines.concat().into_bytes());
        let counts = [self.mounts.len(), self.entries.len(), lines.len()];
        let mut bytes = MAGIC.to_vec();
        bytes.extend(counts.iter().flat_map(|count| u32::try_from(*count).unwrap_or(u32::MAX).to_le_bytes()));
        bytes.extend(crc32c::crc32c(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }
}

fn nanoseconds(time: Timestamp) -> Option<i64> {
    time.seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(time.nanoseconds))
}

fn mount(fields: &mut LittleEndianFields<'_>) -> Option<MountName> {
    let (path, file_system) = std::str::from_utf8(fields.line()?).ok()?.rsplit_once(' ')?;
    Some((ObjectPath::new(&decode(path)).ok()?, file_system.to_owned()))
}

fn entry(fields: &mut LittleEndianFields<'_>, mounts: usize) -> Option<(CacheKey, u32)> {
    let (mount, fact) = (fields.u32()?, fields.u32()?);
    let (inode, size) = (fields.u64()?, fields.u64()?);
    let (mtime, ctime) = (fields.i64()?, fields.i64()?);
    ((mount as usize) < mounts).then_some((CacheKey { mount, inode, size, mtime, ctime }, fact))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsLine {
    class: u8,
    machine: u16,
    #[serde(rename = "type")]
    file_type: u16,
    soname: Option<String>,
    needed: Vec<String>,
    rpath: Option<String>,
    runpath: Option<String>,
    flags: u64,
    interp: Option<String>,
    verneed: BTreeMap<String, Vec<String>>,
    weak: Vec<(String, String)>,
    verdef: Vec<String>,
    dlopen: Vec<DlopenNote>,
}

fn format_facts(facts: &ElfFacts) -> String {
    let mut verneed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for need in &facts.needs {
        verneed.entry(need.library.clone()).or_default().push(need.version.clone());
    }
    let weak = facts.needs.iter().filter(|need| need.is_weak);
    let line = FactsLine {
        class: if facts.machine.is_64 { 64 } else { 32 },
        machine: facts.machine.number,
        file_type: facts.file_type,
        soname: facts.soname.clone(),
        needed: facts.needed.clone(),
        rpath: facts.rpath.clone(),
        runpath: facts.runpath.clone(),
        flags: facts.flags,
        interp: facts.interpreter.clone(),
        weak: weak.map(|need| (need.library.clone(), need.version.clone())).collect(),
        verneed,
        verdef: facts.defines.clone(),
        dlopen: facts.dlopen.clone(),
    };
    // Text and numbers alone can always be written.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

fn parse_facts(line: &[u8]) -> Option<Arc<ElfFacts>> {
    let line: FactsLine = serde_json::from_slice(line).ok()?;
    let is_64 = match line.class {
        64 => true,
        32 => false,
        _ => return None,
    };
    let weak: HashSet<(String, String)> = line.weak.into_iter().collect();
    let needs = line.verneed.into_iter().flat_map(|(library, versions)| {
        versions.into_iter().map(move |version| (library.clone(), version)).collect::<Vec<_>>()
    });
    let needs = needs.map(|need| {
        let is_weak = weak.contains(&need);
        NeededVersion { library: need.0, version: need.1, is_weak }
    });
    Some(Arc::new(ElfFacts {
        machine: ElfMachine { number: line.machine, is_64 },
        file_type: line.file_type,
        soname: line.soname,
        needed: line.needed,
        rpath: line.rpath,
        runpath: line.runpath,
        flags: line.flags,
        interpreter: line.interp,
        defines: line.verdef,
        needs: needs.collect(),
        dlopen: line.dlopen,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::tests::Sample;

    fn facts(soname: &str) -> Arc<ElfFacts> {
        let sample = Sample {
            soname: Some(soname),
            needed: &["libb.so.1", "liba.so.1"],
            runpath: Some("$ORIGIN"),
            interpreter: Some("/lib/ld.so"),
            defines: &["V2", "V1"],
            needs: &[("liba.so.1", &["?A1", "A2"]), ("libb.so.1", &["B1"])],
            dlopen: Some(r#"[{"soname":["libc.so"],"priority":"required"}]"#),
            flags: 0x800,
            ..Sample::default()
        };
        Arc::new(crate::elf::read(&mut &sample.bytes()[..]).unwrap().unwrap())
    }

    fn key(mount: u32, inode: u64) -> CacheKey {
        CacheKey { mount, inode, size: 7, mtime: -5, ctime: 1_000_000_000 }
    }

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    fn cache() -> FactsCache {
        let mounts = vec![(at("/"), "ef53".to_owned()), (at("/opt/with blank\n"), "58465342".to_owned())];
        let (one, two) = (facts("one"), facts("two"));
        let files = [
            (key(1, 3), Some(two)),
            (key(0, 9), None),
            (key(0, 4), Some(one.clone())),
            (key(0, 5), Some(one)),
            (CacheKey { ctime: 2_500_000_000, ..key(0, 6) }, None),
        ];
        FactsCache::new(mounts, files, Timestamp { seconds: 4, nanoseconds: 0 })
    }

    #[test]
    fn what_is_written_is_read_again() {
        let cache = cache();
        let bytes = cache.write();
        assert_eq!(FactsCache::parse(&bytes), cache);
        assert_eq!(cache.mount(&(at("/opt/with blank\n"), "58465342".to_owned())), Some(1));
        assert_eq!(cache.file(&key(0, 9)), Some(None));
        assert_eq!(cache.file(&key(1, 3)).unwrap().unwrap().soname.as_deref(), Some("two"));
        assert_eq!(cache.file(&key(1, 4)), None);
        assert_eq!(cache.file(&CacheKey { ctime: 7, ..key(0, 9) }), None, "somebody has changed it");
    }

    #[test]
    fn a_file_that_was_changed_just_before_the_scan_is_not_kept() {
        assert_eq!(cache().len(), 4);
        assert_eq!(cache().file(&CacheKey { ctime: 2_500_000_000, ..key(0, 6) }), None);
    }

    #[test]
    fn a_cache_that_is_damaged_anywhere_says_nothing() {
        let whole = cache().write();
        for length in 0..whole.len() {
            assert!(FactsCache::parse(&whole[..length]).is_empty());
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(FactsCache::parse(&damaged).is_empty(), "{at}");
        }
    }

    #[test]
    fn a_planted_cache_with_a_right_checksum_cannot_lead_out_of_its_tables() {
        let whole = cache().write();
        let body = &whole[32..];
        for at in 0..body.len() {
            for value in [0, 0xff, b'\n'] {
                let mut planted = body.to_vec();
                planted[at] = value;
                let checksum = crc32c::crc32c(&planted).to_le_bytes();
                let bytes = [&whole[..28], &checksum[..], &planted].concat();
                let _ = FactsCache::parse(&bytes);
            }
        }
        let counts = [1u32, u32::MAX, u32::MAX];
        let checksum = crc32c::crc32c(b"").to_le_bytes();
        let bytes: Vec<u8> =
            MAGIC.iter().copied().chain(counts.iter().flat_map(|count| count.to_le_bytes())).collect();
        assert!(FactsCache::parse(&[&bytes[..], &checksum].concat()).is_empty());
    }
}
