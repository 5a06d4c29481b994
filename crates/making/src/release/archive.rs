//! Archives, opened once and read in parts by several threads, with objects in the order of paths.
//!
//! All archives are refused that have two objects of one path, an object below a non-directory (no name may lead out
//! through a link), or a hard link to nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{ContentReader, ReleaseProblem};
use patchadm_inputs::input_file::InputFile;
use patchadm_inputs::program_run::ending_signal;
use patchadm_releases::{FileContent, LinkGroup, ReleaseObject, ReleaseObjectKind};
use patchadm_rootfs::{INTERRUPTED, Sums, WorkStep, human};
use patchadm_svr4::format::pkgmap::MOST_ENTRIES;
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Debug)]
pub(super) struct ArchiveFile {
    file: Arc<File>,
    size: u64,
    step: Option<WorkStep>,
}

impl ArchiveFile {
    pub(super) fn open(path: &Path) -> Result<Self, ReleaseProblem> {
        let file = InputFile::open_anything(path).map_err(ReleaseProblem::Io)?.into_regular();
        let file =
            file.map_err(|_| ReleaseProblem::Unsupported("a release that is not a regular file".to_owned()))?;
        let seen = file.metadata().map_err(ReleaseProblem::Io)?;
        Ok(Self { file: Arc::new(file), size: seen.len(), step: None })
    }

    pub(super) fn counted(self, step: WorkStep) -> Self {
        Self { step: Some(step), ..self }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn part(&self, start: u64, size: u64) -> FilePart {
        FilePart { file: self.clone(), start, size }
    }
}

#[derive(Clone, Debug)]
pub(super) struct FilePart {
    file: ArchiveFile,
    pub(super) start: u64,
    pub(super) size: u64,
}

impl FilePart {
    pub(super) fn reader(&self) -> PartReader<'_> {
        PartReader { file: &self.file, position: self.start, left: self.size }
    }
}

#[derive(Debug)]
pub(super) struct PartReader<'a> {
    file: &'a ArchiveFile,
    position: u64,
    left: u64,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if ending_signal().is_some() {
            return Err(io::Error::other(INTERRUPTED));
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.position)?;
        self.position += count as u64;
        self.left -= count as u64;
        if let Some(step) = &self.file.step {
            step.advance(count as u64);
        }
        Ok(count)
    }
}

pub(super) fn read_limited(input: &mut dyn Read, limit: u64, what: &str) -> Result<Vec<u8>, ReleaseProblem> {
    let mut bytes = Vec::new();
    input.take(limit + 1).read_to_end(&mut bytes).map_err(ReleaseProblem::of_archive)?;
    if bytes.len() as u64 > limit {
        return Err(ReleaseProblem::BadForm(format!("{what} is longer than {limit} bytes")));
    }
    Ok(bytes)
}

const LONGEST_CHAIN: usize = 64;

/// Memory for an attribute beside name and value.
const ATTRIBUTE: usize = 64;

/// Of paths, targets and attributes.
const MOST_TEXT: usize = 512 << 20;

pub(super) struct TextRoom(usize);

impl Default for TextRoom {
    fn default() -> Self {
        Self(MOST_TEXT)
    }
}

impl TextRoom {
    pub(super) fn add(&mut self, object: &ReleaseObject) -> Result<(), ReleaseProblem> {
        let target = match &object.kind {
            ReleaseObjectKind::Symlink(target) => target.len(),
            _ => 0,
        };
        let attributes = object.xattrs.iter().map(|(name, value)| name.len() + value.len() + ATTRIBUTE);
        self.spend(object.path.as_bytes().len() + target + attributes.sum::<usize>())
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), ReleaseProblem> {
        let too_much = || {
            let most = human(MOST_TEXT as u64);
            ReleaseProblem::BadForm(format!("it has more than {most} of paths, link targets and attributes"))
        };
        self.0 = self.0.checked_sub(bytes).ok_or_else(too_much)?;
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct ObjectCollector {
    drafts: Vec<Draft>,
    contents: usize,
    room: TextRoom,
}

struct Draft {
    object: ReleaseObject,
    source: DraftSource,
}

enum DraftSource {
    Nowhere,
    Content(usize),
    LinkTo(ObjectPath),
}

#[derive(Debug, Default)]
pub(super) struct ContentEntry {
    names: Vec<ObjectPath>,
    size: u64,
}

pub(super) fn content_of(sums: Sums) -> FileContent {
    FileContent { size: sums.size, cksum: sums.cksum, digest: sums.b3 }
}

impl ObjectCollector {
    pub(super) fn add(&mut self, object: ReleaseObject) -> Result<(), ReleaseProblem> {
        self.draft(object, DraftSource::Nowhere)
    }

    pub(super) fn add_files(
        &mut self,
        objects: impl IntoIterator<Item = ReleaseObject>,
    ) -> Result<(), ReleaseProblem> {
        let number = self.contents;
        self.contents += 1;
        objects.into_iter().try_for_each(|object| self.draft(object, DraftSource::Content(number)))
    }

    pub(super) fn add_link(
        &mut self,
        object: ReleaseObject,
        target: ObjectPath,
    ) -> Result<(), ReleaseProblem> {
        self.room.spend(target.as_bytes().len())?;
        self.draft(object, DraftSource::LinkTo(target))
    }

    fn draft(&mut self, object: ReleaseObject, source: DraftSource) -> Result<(), ReleaseProblem> {
        if self.drafts.len() == MOST_ENTRIES {
            return Err(ReleaseProblem::BadForm(format!("it has more than {MOST_ENTRIES} members")));
        }
        self.room.add(&object)?;
        self.drafts.push(Draft { object, source });
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(Vec<ReleaseObject>, Vec<ContentEntry>), ReleaseProblem> {
        self.drafts.sort_by(|one, other| one.object.path.cmp(&other.object.path));
        self.refuse_duplicates()?;
        self.refuse_misplaced()?;
        self.resolve_links()?;
        let mut contents: Vec<ContentEntry> = Vec::new();
        contents.resize_with(self.contents, ContentEntry::default);
        for draft in &self.drafts {
            if let DraftSource::Content(number) = draft.source
                && let Some(entry) = contents.get_mut(number)
            {
                entry.names.push(draft.object.path.clone());
                entry.size = draft.object.content().map_or(0, |content| content.size);
            }
        }
        let mut groups = BTreeMap::new();
        for draft in &mut self.drafts {
            if let (DraftSource::Content(number), ReleaseObjectKind::File { links, .. }) =
                (&draft.source, &mut draft.object.kind)
                && contents.get(*number).is_some_and(|entry| entry.names.len() > 1)
            {
                let next = u32::try_from(groups.len()).unwrap_or(u32::MAX);
                *links = Some(*groups.entry(*number).or_insert(LinkGroup(next)));
            }
        }
        let objects = self.drafts.into_iter().map(|draft| draft.object).collect();
        Ok((objects, contents))
    }

    fn refuse_duplicates(&self) -> Result<(), ReleaseProblem> {
        let twice = self.drafts.windows(2).find_map(|pair| match pair {
            [one, next] if one.object.path == next.object.path => Some(&one.object.path),
            _ => None,
        });
        twice.map_or(Ok(()), |path| Err(ReleaseProblem::BadForm(format!("two objects are called <{path}>"))))
    }

    fn refuse_misplaced(&self) -> Result<(), ReleaseProblem> {
        for draft in &self.drafts {
            for above in draft.object.path.ancestors_bytes() {
                let Some(at) = self.position(above) else { continue };
                if self.drafts.get(at).is_some_and(|above| !above.object.is_directory()) {
                    let (member, above) = (draft.object.path.to_string(), above.escape_ascii());
                    let reason = format!("is below <{above}>, which is not a directory");
                    return Err(ReleaseProblem::Unsafe { member, reason });
                }
                // Objects above were examined in their turn.
                break;
            }
        }
        Ok(())
    }

    fn position(&self, path: &[u8]) -> Option<usize> {
        self.drafts.binary_search_by(|draft| draft.object.path.as_bytes().cmp(path)).ok()
    }

    /// Gives a hard link the content and attributes of its file, or makes it a symbolic link like its target.
    fn resolve_links(&mut self) -> Result<(), ReleaseProblem> {
        for at in 0..self.drafts.len() {
            let Some(Draft { object, source: DraftSource::LinkTo(first) }) = self.drafts.get(at) else {
                continue;
            };
            let (path, class, mut target) = (object.path.clone(), object.class.clone(), first.clone());
            let mut found = None;
            for _ in 0..LONGEST_CHAIN {
                match self.position(target.as_bytes()).and_then(|at| self.drafts.get(at)) {
                    Some(Draft { source: DraftSource::LinkTo(next), .. }) => target = next.clone(),
                    Some(Draft { source: DraftSource::Content(number), object }) => {
                        found = Some((DraftSource::Content(*number), object.clone()));
                        break;
                    }
                    // A symbolic link with several names is equivalent to several links.
                    Some(Draft { source, object })
                        if matches!(source, DraftSource::Nowhere)
                            && matches!(object.kind, ReleaseObjectKind::Symlink(_)) =>
                    {
                        found = Some((DraftSource::Nowhere, object.clone()));
                        break;
                    }
                    _ => break,
                }
            }
            let Some((source, mut object)) = found else {
                let reason =
                    format!("<{path}> is a hard link to <{first}>, which the archive does not contain");
                return Err(ReleaseProblem::bad(reason));
            };
            (object.path, object.class) = (path, class);
            self.room.add(&object)?;
            if let Some(draft) = self.drafts.get_mut(at) {
                *draft = Draft { object, source };
            }
        }
        Ok(())
    }
}

pub(super) trait NumberedContents: Send + Sync {
    fn each_content(&self, visit: &mut ContentVisit<'_>) -> Result<(), ReleaseProblem>;
}

pub(super) type ContentVisit<'a> = dyn FnMut(usize, &mut dyn Read) -> ControlFlow<()> + 'a;

pub(super) struct ArchiveContents<A> {
    pub(super) archive: A,
    pub(super) names: Vec<ContentEntry>,
}

impl<A: NumberedContents> ContentReader for ArchiveContents<A> {
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let chosen = |entry: &ContentEntry| entry.names.iter().position(wanted);
        let mut waited: Vec<Option<usize>> = self.names.iter().map(chosen).collect();
        let mut left = waited.iter().flatten().count();
        if left == 0 {
            return Ok(());
        }
        let name = |number: usize, at: usize| self.names.get(number).and_then(|entry| entry.names.get(at));
        let mut outcome = Ok(());
        let walked = self.archive.each_content(&mut |number, data| {
            let waited = waited.get_mut(number).and_then(Option::take);
            let Some(path) = waited.and_then(|at| name(number, at)) else { return ControlFlow::Continue(()) };
            left -= 1;
            outcome = sink(path, data);
            if outcome.is_err() || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        outcome?;
        walked.map_err(io::Error::other)?;
        for (number, entry) in self.names.iter().enumerate() {
            let Some(path) = waited.get_mut(number).and_then(Option::take).and_then(|at| name(number, at))
            else {
                continue;
            };
            if entry.size > 0 {
                return Err(io::Error::other(ReleaseProblem::Changed(format!("the archive of {path}"))));
            }
            sink(path, &mut io::empty())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_releases::ObjectOwner;
    use patchadm_rootfs::Timestamp;
    use patchadm_svr4::package::{Mode, Word};

    fn object(path: &str, attribute: usize) -> ReleaseObject {
        let owner = ObjectOwner { name: None, id: Some(0) };
        ReleaseObject {
            path: ObjectPath::new(path.as_bytes()).unwrap(),
            kind: ReleaseObjectKind::Pipe,
            mode: Mode::of(0o644),
            owner: owner.clone(),
            group: owner,
            mtime: Timestamp::whole(0),
            xattrs: BTreeMap::from([(b"user.a".to_vec(), vec![7; attribute])]),
            class: Word::default(),
        }
    }

    const TOLD: &str = "it has more than 512.0 MiB of paths, link targets and attributes";

    #[test]
    fn members_have_a_limit_of_text_in_sum() {
        let mut collector = ObjectCollector { room: TextRoom(10_000), ..ObjectCollector::default() };
        let added = (0..100).map(|number| collector.add(object(&format!("/{number}"), 1_000)));
        let refused: Vec<String> = added.filter_map(Result::err).map(|error| error.to_string()).collect();
        assert_eq!((refused.len(), refused[0].as_str()), (91, TOLD));
    }

    #[test]
    fn links_that_repeat_the_attributes_of_a_file_count() {
        let mut collector = ObjectCollector { room: TextRoom(10_000), ..ObjectCollector::default() };
        collector.add_files([object("/file", 1_000)]).unwrap();
        for number in 0..20 {
            let link = ReleaseObject { xattrs: BTreeMap::new(), ..object(&format!("/link{number}"), 0) };
            collector.add_link(link, ObjectPath::new(b"/file").unwrap()).unwrap();
        }
        assert_eq!(collector.finish().map(drop).unwrap_err().to_string(), TOLD);
    }
}
