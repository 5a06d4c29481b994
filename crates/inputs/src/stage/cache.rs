//! Cached facts about files of a stage and its root. A file is unchanged while inode, size, mtime and ctime stay the
//! same; only the system sets the last one. A file touched less than 20 ms before it was examined is not cached: a
//! second change within a clock tick shows the same time. A damaged cache is ignored.

use crate::little_endian::LittleEndianFields;
use patchadm_rootfs::{Digest, Inode, KnownFile, Sums, Timestamp, Xattrs};
use patchadm_svr4::package::ObjectPath;

const MAGIC: &[u8; 16] = b"patchadm stage1\n";
const DIGEST: usize = 32;
const LARGEST: u64 = 4 << 30;

/// A file must have been unchanged for so many nanoseconds.
const QUIET: i128 = 20_000_000;

const MOST_XATTRS: usize = 4096;

/// Facts about a file that its status does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFile {
    /// With the sums of its bytes.
    pub file: KnownFile,
    pub xattrs: Xattrs,
}

#[derive(Clone, Copy, Debug)]
pub struct ReadFile<'o> {
    /// In the root and in the stage.
    pub path: &'o ObjectPath,
    /// With the sums of its bytes.
    pub file: KnownFile,
    pub xattrs: &'o Xattrs,
}

impl ReadFile<'_> {
    /// Returns false if the file had just been touched. `since` is by the clock of its file system.
    pub fn is_kept(&self, since: Timestamp) -> bool {
        let bytes = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        nanoseconds(since) - nanoseconds(self.file.ctime) >= QUIET && bytes <= MOST_XATTRS
    }
}

/// Sorted by path, each path once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheSide(Vec<(ObjectPath, CachedFile)>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageCache {
    pub stage: CacheSide,
    pub live: CacheSide,
}

#[derive(Clone, Copy, Debug)]
pub struct CachedFiles<'c>(&'c [(ObjectPath, CachedFile)]);

impl<'c> CachedFiles<'c> {
    pub fn file(&self, path: &ObjectPath) -> Option<&'c CachedFile> {
        let at = self.0.binary_search_by(|(known, _)| known.cmp(path)).ok()?;
        self.0.get(at).map(|(_, file)| file)
    }
}

impl CacheSide {
    /// Returns the files below a directory, for faster searches.
    pub fn below(&self, directory: &ObjectPath) -> CachedFiles<'_> {
        let lowest = directory.lowest_below();
        let begin = self.0.partition_point(|(known, _)| *known < lowest);
        let behind = self.0.get(begin..).unwrap_or_default();
        let count = behind.partition_point(|(known, _)| known.is_below(directory));
        CachedFiles(behind.get(..count).unwrap_or_default())
    }

    fn files(&self) -> impl Iterator<Item = ReadFile<'_>> {
        self.0.iter().map(|(path, CachedFile { file, xattrs })| ReadFile { path, file: *file, xattrs })
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl StageCache {
    /// Parses the file. An invalid file counts as empty.
    pub fn parse(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (digest, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(DIGEST)?;
        if bytes.len() as u64 > LARGEST || Digest::of(body).0 != digest {
            return None;
        }
        let mut fields = LittleEndianFields(body);
        let cache = Self { stage: side(&mut fields)?, live: side(&mut fields)? };
        fields.0.is_empty().then_some(cache)
    }

    pub fn write(&self) -> Vec<u8> {
        write_cache(self.stage.files(), self.live.files())
    }
}

/// Formats a cache of the files of a stage and of the root, both sorted by path, each path once.
pub fn write_cache<'o>(
    stage: impl Iterator<Item = ReadFile<'o>>,
    live: impl Iterator<Item = ReadFile<'o>>,
) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &[0; DIGEST]].concat();
    put_side(&mut bytes, stage);
    put_side(&mut bytes, live);
    let digest = Digest::of(bytes.get(MAGIC.len() + DIGEST..).unwrap_or_default());
    bytes.splice(MAGIC.len()..MAGIC.len() + DIGEST, digest.0);
    bytes
}

fn nanoseconds(time: Timestamp) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
}

fn put_side<'o>(out: &mut Vec<u8>, files: impl Iterator<Item = ReadFile<'o>>) {
    let (at, mut count) = (out.len(), 0_u64);
    out.extend(count.to_le_bytes());
    for ReadFile { path, file, xattrs } in files {
        count += 1;
        put_bytes(out, path.as_bytes());
        out.extend(file.inode.number.to_le_bytes());
        // A file without birth time gets an impossible one.
        put_time(out, file.inode.born.unwrap_or(Timestamp { seconds: 0, nanoseconds: u32::MAX }));
        put_time(out, file.mtime);
        put_time(out, file.ctime);
        out.extend(file.sums.size.to_le_bytes());
        out.extend(file.sums.cksum.to_le_bytes());
        out.extend(file.sums.b3.0);
        out.extend((xattrs.len() as u64).to_le_bytes());
        for (name, value) in xattrs {
            put_bytes(out, name);
            put_bytes(out, value);
        }
    }
    out.splice(at..at + size_of::<u64>(), count.to_le_bytes());
}

/// Length (fewer than 64 KiB) and bytes.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
    out.extend(bytes);
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend(time.seconds.to_le_bytes());
    out.extend(time.nanoseconds.to_le_bytes());
}

fn bytes<'a>(fields: &mut LittleEndianFields<'a>) -> Option<&'a [u8]> {
    let length = usize::from(fields.u16()?);
    fields.bytes(length)
}

fn time(fields: &mut LittleEndianFields<'_>) -> Option<Timestamp> {
    let seconds = fields.i64()?;
    Some(Timestamp { seconds, nanoseconds: fields.u32()? })
}

fn side(fields: &mut LittleEndianFields<'_>) -> Option<CacheSide> {
    let count = fields.u64()?;
    // An entry has more bytes than one.
    if count > fields.0.len() as u64 {
        return None;
    }
    let mut files = Vec::with_capacity(usize::try_from(count).ok()?.min(fields.0.len() / 100));
    for _ in 0..count {
        let path = ObjectPath::new(bytes(fields)?).ok()?;
        files.push((path, file(fields)?));
    }
    files.is_sorted_by(|(one, _), (next, _)| one < next).then_some(CacheSide(files))
}

fn file(fields: &mut LittleEndianFields<'_>) -> Option<CachedFile> {
    let number = fields.u64()?;
    let born = Some(time(fields)?).filter(|born| born.nanoseconds != u32::MAX);
    let (mtime, ctime) = (time(fields)?, time(fields)?);
    let size = fields.u64()?;
    let cksum = fields.u16()?;
    let sums = Sums { size, cksum, b3: Digest(fields.array()?) };
    let mut xattrs = Xattrs::new();
    for _ in 0..fields.u64()? {
        xattrs.insert(bytes(fields)?.to_vec(), bytes(fields)?.to_vec());
    }
    Some(CachedFile { file: KnownFile { inode: Inode { number, born }, mtime, ctime, sums }, xattrs })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(nanoseconds: u32) -> Timestamp {
        Timestamp { seconds: 1000, nanoseconds }
    }

    fn cached(born: Option<Timestamp>) -> CachedFile {
        let sums = Sums { size: 5, cksum: 7, b3: Digest([9; 32]) };
        let inode = Inode { number: 77, born };
        let file = KnownFile { inode, mtime: at(1), ctime: at(2), sums };
        CachedFile { file, xattrs: [(b"user.a".to_vec(), b"\0x".to_vec())].into() }
    }

    fn cache() -> StageCache {
        let entry = |name: &str, born| vec![(path(name), cached(born))];
        StageCache { stage: CacheSide(entry("/usr/a", Some(at(3)))), live: CacheSide(entry("/usr/b", None)) }
    }

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_cache_comes_back_and_a_damaged_one_is_empty() {
        let bytes = cache().write();
        assert_eq!(StageCache::parse(&bytes), cache());
        let found = |side: &CacheSide| side.below(&path("/usr")).file(&path("/usr/a")).cloned();
        assert_eq!(found(&cache().stage), Some(cached(Some(at(3)))));
        assert_eq!((cache().stage.len(), found(&cache().live)), (1, None));
        for length in 0..bytes.len() {
            assert!(StageCache::parse(&bytes[..length]).stage.is_empty(), "{length}");
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_eq!(StageCache::parse(&changed), StageCache::default(), "{place}");
        }
    }

    #[test]
    fn a_file_that_was_touched_just_before_is_not_kept() {
        let (path, CachedFile { file, xattrs }) = (path("/usr/a"), cached(None));
        let read = ReadFile { path: &path, file, xattrs: &xattrs };
        assert!(!read.is_kept(at(20_000_001)));
        assert!(read.is_kept(at(20_000_002)));
    }

    #[test]
    fn files_are_found_below_their_directory_and_not_below_another() {
        let names = ["/a", "/a-b", "/a/x", "/a/y/z", "/a0"];
        let side = CacheSide(names.map(|name| (path(name), cached(None))).into());
        let found = |directory: &str| {
            let below = side.below(&path(directory));
            names.map(|name| below.file(&path(name)).is_some())
        };
        assert_eq!(found("/a"), [false, false, true, true, false]);
        assert_eq!(found("/"), [true; 5]);
        assert_eq!(found("/nothing"), [false; 5]);
    }

    #[test]
    fn a_cache_out_of_order_is_damaged() {
        let side = |names: [&str; 2]| CacheSide(names.map(|name| (path(name), cached(None))).into());
        for (names, is_whole) in [(["/a", "/b"], true), (["/b", "/a"], false), (["/a", "/a"], false)] {
            let cache = StageCache { live: side(names), ..cache() };
            let read = StageCache::parse(&cache.write());
            assert_eq!(read == cache, is_whole, "{names:?}");
            assert_eq!(read.live.below(&ObjectPath::root()).file(&path("/b")).is_some(), is_whole);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let bytes = [&MAGIC[..], &Digest::of(&body).0, &body].concat();
            let _ = StageCache::parse(&bytes);
        }
    }
}
