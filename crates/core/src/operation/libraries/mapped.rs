//! Processes of the running system that have mapped libraries that a plan removes.
//!
//! Processes are examined only for the root of the running system. A process counts if its program file stays: if its
//! program is removed too, the process runs a removed file anyway. One that has mapped an earlier version of the library,
//! which a run replaced since, counts like any other: it loads the library of that name when it is started again. Only the
//! superuser sees the processes of other users.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::running::{ProcessFiles, ReplacedFiles, UsedFile, WantedFiles, processes};
use patchadm_libraries::decision::{OtherConsumer, OtherSource};
use patchadm_rootfs::{ObjectStatus, Root};
use patchadm_svr4::package::ObjectPath;

/// Returns the programs that have mapped one of these libraries, by physical path. `stays` tells whether the file of a
/// program exists after the plan.
pub(super) fn mapped_by(
    root: &Root,
    libraries: &BTreeSet<ObjectPath>,
    stays: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<OtherConsumer>> {
    let mut mapped: BTreeMap<ObjectPath, BTreeSet<OtherConsumer>> = BTreeMap::new();
    if !root.is_system() || libraries.is_empty() {
        return mapped;
    }
    let replaced = ReplacedFiles::of(root);
    let wanted = WantedFiles::at(root, libraries, &replaced);
    let before = WantedFiles::replaced(&replaced);
    for (process, directory) in processes() {
        let Some(files) = ProcessFiles::of(&directory) else { continue };
        let used = wanted.used_by(&files.mapped);
        if used.is_empty() {
            continue;
        }
        let Some(program) = files.program.as_ref().and_then(|file| Program::of(root, file, &before)) else {
            continue;
        };
        if program.is_here && !stays(&program.path) {
            continue;
        }
        for path in used {
            let (program, source) = (program.path.clone(), OtherSource::Mapped(process));
            mapped.entry(path).or_default().insert(OtherConsumer { path: program, source });
        }
    }
    mapped
}

/// The file of a program.
struct Program {
    path: ObjectPath,
    /// Whether the path is one of this root. Otherwise it is one in another root, or of a file that has no path any more.
    is_here: bool,
}

impl Program {
    fn of(root: &Root, file: &UsedFile, before: &WantedFiles) -> Option<Self> {
        if let Some(path) = before.paths_of(file).next() {
            return Some(Self { path: path.clone(), is_here: true });
        }
        let path = ObjectPath::new(&file.path).ok()?;
        let is_here =
            !file.is_deleted && file.status.as_ref().is_some_and(|status| is_at(root, &path, status));
        Some(Self { path, is_here })
    }
}

/// Tells whether a file is the one at a path of the root.
fn is_at(root: &Root, path: &ObjectPath, status: &ObjectStatus) -> bool {
    let look = || {
        let physical = root.resolver().locate(path).ok()?;
        root.dir_if_there(&physical.parent()?).ok()??.look(physical.name()).ok()?
    };
    look().is_some_and(|found| (found.file_system, found.inode) == (status.file_system, status.inode))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn who_has_a_library_mapped_is_named_while_its_program_stays() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut library = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
        let Some(library) = library.find(|path| path.contains(".so")) else { return };
        let library =
            ObjectPath::new(fs::canonicalize(library).unwrap().as_os_str().as_encoded_bytes()).unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        let all = BTreeSet::from([library.clone()]);
        let own = OtherSource::Mapped(std::process::id());
        let found = mapped_by(&root, &all, |_| true);
        assert!(found[&library].iter().any(|consumer| consumer.source == own));
        let own_program = std::env::current_exe().unwrap();
        let own_program = ObjectPath::new(own_program.as_os_str().as_encoded_bytes()).unwrap();
        let found = mapped_by(&root, &all, |program| *program != own_program);
        let mut others = found.get(&library).into_iter().flatten();
        assert!(others.all(|consumer| consumer.source != own));
    }
}
