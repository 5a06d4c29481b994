//! All objects below a directory, to any depth and width: neither stack nor descriptors grow with the tree.

use patchadm_rootfs::{Descent, Dir, FileType, ObjectStatus, RootError};

/// Calls a function with each object below a directory, in byte order: with the directory that it is in, its name and its
/// status. Where it returns true, and the object is a directory, what is in that comes next.
pub(crate) fn each_below<E: From<RootError>>(
    top: &Dir,
    mut visit: impl FnMut(&Dir, &[u8], &ObjectStatus) -> Result<bool, E>,
) -> Result<(), E> {
    let mut descent = Descent::below(top);
    let mut rest = vec![last_first(top)?];
    while let Some(names) = rest.last_mut() {
        let Some(name) = names.pop() else {
            rest.pop();
            descent.leave()?;
            continue;
        };
        let here = descent.here();
        let Some(seen) = here.look(&name)? else { continue };
        if visit(here, &name, &seen)? && seen.file_type == FileType::Directory {
            let dir = here.dir(&name)?;
            rest.push(last_first(&dir)?);
            descent.enter(&name, dir)?;
        }
    }
    Ok(())
}

/// Returns the names in a directory, the last one first.
fn last_first(dir: &Dir) -> Result<Vec<Vec<u8>>, RootError> {
    let mut names = dir.names()?;
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn wide_and_deep_trees_are_walked_in_order_and_what_is_not_wanted_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..3_000 {
            fs::create_dir(dir.path().join(format!("{number:04}"))).unwrap();
        }
        let deep = dir.path().join("0001/".to_owned() + &"d/".repeat(1_000));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        fs::create_dir(dir.path().join("0002/hidden")).unwrap();
        let mut seen_names = Vec::new();
        each_below::<RootError>(&Dir::of_host(dir.path()).unwrap(), |_, name, _| {
            seen_names.push(String::from_utf8(name.to_vec()).unwrap());
            Ok(name != b"0002")
        })
        .unwrap();
        assert_eq!(seen_names.len(), 3_000 + 1_000 + 1);
        assert_eq!((&*seen_names[0], &*seen_names[1], &*seen_names[2]), ("0000", "0001", "d"));
        assert_eq!((&*seen_names[1_002], &*seen_names[1_003]), ("file", "0002"));
        assert_eq!(seen_names[1_004], "0003");
    }
}
