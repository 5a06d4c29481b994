//! Where the bytes of a file before or after a plan are, and how they are read from there.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::io::Read as _;

use crate::operation::failure::Failure;
use patchadm_changeset::transaction::{ContentSource, StreamError};
use patchadm_planning::plan::{Action, Body, Change, Member, NewObject};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// Where the bytes of one side of an object come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ContentPlace {
    /// There are none.
    #[default]
    Nothing,
    /// The live file.
    Live(ObjectPath),
    /// A file of the source: its package, and its path there.
    Source(usize, PackagePath),
}

/// The bytes of files of a source, by package and path.
pub(super) type SourceBytes = HashMap<(usize, PackagePath), Vec<u8>>;

impl ContentPlace {
    /// Where the bytes of a new object come from. `all` are the changes of the plan.
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

/// Reads these files of a source, and at most one byte more than `limit` of each.
pub(super) fn source_bytes(
    content: &mut dyn ContentSource,
    wanted: &HashSet<(usize, PackagePath)>,
    limit: u64,
) -> Result<SourceBytes, StreamError> {
    let mut found = SourceBytes::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let is_wanted = |package: usize, path: &PackagePath| wanted.contains(&(package, path.clone()));
    let mut sink = |package: usize, path: &PackagePath, data: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        // What cannot be read is told by the stream.
        if data.take(limit.saturating_add(1)).read_to_end(&mut bytes).is_ok() {
            found.insert((package, path.clone()), bytes);
        }
        Ok(())
    };
    content.stream(&is_wanted, &mut sink)?;
    Ok(found)
}

/// Reads a file of the root, which the caller may be kept from reading; none where it has more than `limit` bytes.
pub(super) fn live_bytes(root: &Root, path: &ObjectPath, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let located = root.resolver().locate_object(path)?;
    let parent = located.parent().unwrap_or_else(ObjectPath::root);
    let Some(directory) = root.dir_of_object(&parent)? else { return Ok(None) };
    Ok(directory.read_regular(located.name(), limit).ok().flatten())
}
