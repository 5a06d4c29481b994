use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use patchadm_inputs::native::FileSum;
use patchadm_rootfs::{FileType, Interrupt, Resolver, Root, side_by_side};
use patchadm_svr4::package::ObjectPath;

/// Finds objects that are not a file with the recorded sum.
pub(in crate::operation) fn differing(
    root: &Root,
    sums: &BTreeMap<ObjectPath, FileSum>,
    objects: &[ObjectPath],
    interrupt: Interrupt<'_>,
) -> Result<Vec<ObjectPath>, Failure> {
    let looked_at = side_by_side(root.workers(), objects.len(), || {
        let resolver = root.resolver();
        move |at: usize| {
            let path = objects.get(at)?;
            let expected = sums.get(path)?;
            let has = Failure::unless_interrupted(interrupt)
                .and_then(|()| has_sum(root, &resolver, path, *expected));
            Some(has.map(|has| (!has).then(|| path.clone())))
        }
    });
    let differing: Result<Vec<Option<ObjectPath>>, Failure> = looked_at.into_iter().flatten().collect();
    Ok(differing?.into_iter().flatten().collect())
}

pub(in crate::operation) fn has_sum(
    root: &Root,
    resolver: &Resolver<'_>,
    path: &ObjectPath,
    expected: FileSum,
) -> Result<bool, Failure> {
    let physical = resolver.locate(path)?;
    let Some(parent) = physical.parent() else { return Ok(false) };
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(false) };
    let is_file = dir.look(physical.name())?.is_some_and(|seen| seen.file_type == FileType::Regular);
    if !is_file {
        return Ok(false);
    }
    let mut file = dir.open_regular(physical.name())?;
    Ok(expected.is_of(&mut file).map_err(|error| dir.read_error(physical.name(), &error))?)
}
