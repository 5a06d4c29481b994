use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::io::Read;

use super::failure::Failure;
use patchadm_changeset::stored_file::StoredFile;
use patchadm_changeset::transaction::{ContentSource, FileSink, StreamError, WantedFile};
use patchadm_inputs::source::{Image, Source};
use patchadm_planning::plan::{Action, Body, Change, Member, NewObject, Plan};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// Sources of a plan's content: its packages are those of one image.
pub(super) struct OneSource<'a> {
    pub(super) source: &'a Source,
    pub(super) image: &'a Image,
}

impl ContentSource for OneSource<'_> {
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        interrupt: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        let mut is_wanted = |package: usize, path: &PackagePath| wanted(package, path);
        let mut sink = |package: usize, path: &PackagePath, _, data: &mut dyn Read| {
            sink(package, path, data).map_err(StreamError::Sink)
        };
        self.source.stream_until(self.image, &mut is_wanted, interrupt, &mut sink)
    }

    fn stored(&self, _: usize, path: &PackagePath) -> Option<&StoredFile> {
        self.source.stored_file(path)
    }
}

/// The packages of the plan are those of all images, in order.
pub(super) struct ManySources<'a>(pub(super) Vec<OneSource<'a>>);

impl ContentSource for ManySources<'_> {
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        interrupt: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        let mut before = 0;
        for one in &mut self.0 {
            let packages = one.image.packages.iter().enumerate();
            let of_this = |package: usize, path: &PackagePath| wanted(before + package, path);
            let mut files = packages.flat_map(|(at, package)| package.files().map(move |file| (at, file)));
            // Streams that must be read from the beginning are read only if needed.
            if files.any(|(at, file)| of_this(at, &file.path)) {
                one.stream(&of_this, interrupt, &mut |package, path, data: &mut dyn Read| {
                    sink(before + package, path, data)
                })?;
            }
            before += one.image.packages.len();
        }
        Ok(())
    }
}

/// Each package of the plan is the index of an archive, which has one package.
pub(super) struct ArchiveSources<'a>(pub(super) Vec<OneSource<'a>>);

impl ContentSource for ArchiveSources<'_> {
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        interrupt: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        for (index, one) in self.0.iter_mut().enumerate() {
            let of_this = |_: usize, path: &PackagePath| wanted(index, path);
            // Streams that must be read from the beginning are read only if needed.
            let mut files = one.image.packages.iter().flat_map(patchadm_inputs::source::PackageImage::files);
            if !files.any(|file| of_this(0, &file.path)) {
                continue;
            }
            one.stream(&of_this, interrupt, &mut |_, path, data: &mut dyn Read| sink(index, path, data))?;
        }
        Ok(())
    }

    fn stored(&self, index: usize, path: &PackagePath) -> Option<&StoredFile> {
        self.0.get(index)?.stored(0, path)
    }
}

/// For plans that only remove objects.
pub(super) struct NoContent;

impl ContentSource for NoContent {
    fn stream(
        &mut self,
        _: &WantedFile<'_>,
        _: Interrupt<'_>,
        _: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ContentPlace {
    #[default]
    Nothing,
    Live(ObjectPath),
    Source(usize, PackagePath),
}

/// By package and path.
pub(super) type SourceBytes = HashMap<(usize, PackagePath), Vec<u8>>;

impl ContentPlace {
    /// `all` are the changes of the plan.
    pub(super) fn of<S: BuildHasher>(new: &NewObject, all: &HashMap<&ObjectPath, &Change, S>) -> Self {
        match &new.body {
            Body::Member(member) => Self::of_member(member),
            Body::CopyOf(path) => Self::Live(path.clone()),
            Body::Link(path) => match all.get(path).map(|change| &change.action) {
                Some(Action::Add(new) | Action::Replace(new)) => match &new.body {
                    Body::Member(member) => Self::of_member(member),
                    _ => Self::Nothing,
                },
                _ => Self::Live(path.clone()),
            },
            _ => Self::Nothing,
        }
    }

    fn of_member(member: &Member) -> Self {
        Self::Source(member.package, member.path.clone())
    }
}

/// Reads up to `limit` + 1 bytes of each file.
pub(super) fn source_bytes(
    content: &mut dyn ContentSource,
    wanted: &HashSet<(usize, PackagePath)>,
    limit: u64,
    interrupt: Interrupt<'_>,
) -> Result<SourceBytes, StreamError> {
    let mut found = SourceBytes::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let is_wanted = |package: usize, path: &PackagePath| wanted.contains(&(package, path.clone()));
    let mut sink = |package: usize, path: &PackagePath, data: &mut dyn Read| {
        let mut bytes = Vec::new();
        // The stream reports read errors.
        if data.take(limit.saturating_add(1)).read_to_end(&mut bytes).is_ok() {
            found.insert((package, path.clone()), bytes);
        }
        Ok(())
    };
    content.stream(&is_wanted, interrupt, &mut sink)?;
    Ok(found)
}

/// `None` if it has more than `limit` bytes.
pub(super) fn live_bytes(root: &Root, path: &ObjectPath, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let located = root.resolver().locate_object(path)?;
    let parent = located.parent().unwrap_or_else(ObjectPath::root);
    let Some(directory) = root.dir_of_object(&parent)? else { return Ok(None) };
    Ok(directory.read_regular(located.name(), limit).ok().flatten())
}

/// Includes edited files that are kept.
pub(in crate::operation) fn new_bytes(plan: &Plan) -> u64 {
    let copied = plan.changes.iter().filter_map(|change| match &change.action {
        Action::Add(NewObject { body: Body::CopyOf(path), .. })
        | Action::Replace(NewObject { body: Body::CopyOf(path), .. }) => Some(path),
        _ => None,
    });
    let copied: HashSet<&ObjectPath> = copied.collect();
    let old = plan.changes.iter().filter(|change| copied.contains(&change.path));
    let sizes: HashMap<&ObjectPath, u64> =
        old.filter_map(|change| Some((&change.path, change.old.as_ref()?.size()?))).collect();
    let size = |path: &ObjectPath| sizes.get(path).copied().unwrap_or(0);
    let bytes = plan.changes.iter().map(|change| match &change.action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Member(member) => member.size,
            Body::CopyOf(path) => size(path),
            _ => 0,
        },
        _ => 0,
    });
    bytes.sum()
}
