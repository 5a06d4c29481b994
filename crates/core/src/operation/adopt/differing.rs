//! Files whose bytes differ from the sum that another package manager has recorded.

use std::collections::BTreeMap;
use std::io;

use md5::{Digest as _, Md5};

use crate::operation::failure::Failure;
use patchadm_rootfs::{FileType, Root};
use patchadm_svr4::package::ObjectPath;

/// An MD5 sum.
pub(super) type Md5Sum = [u8; 16];

/// Finds the objects with a recorded sum that are not a file with this sum.
pub(super) fn differing(
    root: &Root,
    sums: &BTreeMap<ObjectPath, Md5Sum>,
    objects: &[ObjectPath],
) -> Result<Vec<ObjectPath>, Failure> {
    let resolver = root.resolver();
    let mut differing = Vec::new();
    for path in objects {
        let Some(expected) = sums.get(path) else { continue };
        let physical = resolver.locate(path)?;
        let Some(parent) = physical.parent() else { continue };
        let dir = root.dir(&parent)?;
        let is_file = dir.look(physical.name())?.is_some_and(|seen| seen.file_type == FileType::Regular);
        let has_sum = is_file && {
            let mut file = dir.open_regular(physical.name())?;
            let mut sum = Md5::new();
            io::copy(&mut file, &mut sum).map_err(|error| dir.read_error(physical.name(), &error))?;
            Md5Sum::from(sum.finalize()) == *expected
        };
        if !has_sum {
            differing.push(path.clone());
        }
    }
    Ok(differing)
}
