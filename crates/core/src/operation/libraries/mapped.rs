//! Consumers that no file tells: processes that map a library, and globs of the policy. A library that only processes
//! need stays no longer than they do.
//!
//! On the running system, processes count if their program stays, even if they map an earlier version: they load the
//! library by name when restarted. Only the superuser sees processes of other users. A process with more mappings than
//! can be read counts as one that maps all libraries.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::running::{ProcessFiles, ReplacedFiles, UsedFile, WantedFiles, end_of_look, processes};
use crate::operation::session::RootAndPolicy;
use patchadm_libraries::LibraryTree;
use patchadm_libraries::decision::{
    CandidateNode, CandidateOrigin, Consumer, ConsumerSource, LibraryCandidate, OtherConsumer, OtherSource,
};
use patchadm_rootfs::{ObjectStatus, Root};
use patchadm_svr4::package::ObjectPath;

pub(super) fn other_consumers(
    ground: &RootAndPolicy,
    (candidates, recorded): (&BTreeMap<ObjectPath, LibraryCandidate>, &BTreeMap<ObjectPath, ObjectPath>),
    after: &LibraryTree,
) -> BTreeMap<ObjectPath, BTreeSet<OtherConsumer>> {
    let is_file = |(_, candidate): &(&ObjectPath, &LibraryCandidate)| {
        matches!(candidate.node, CandidateNode::File(_)) && candidate.origin != CandidateOrigin::Archived
    };
    let files = candidates.iter().filter(is_file).map(|(path, _)| path.clone()).collect();
    let mut others = mapped_by(&ground.root, &files, |program| after.file_at(program).is_some());
    for (physical, candidate) in candidates {
        let named = [Some(physical), recorded.get(physical)].into_iter().flatten();
        let is_file = matches!(candidate.node, CandidateNode::File(_));
        let globs = &ground.policy.shlib_keep;
        if is_file && named.into_iter().any(|path| globs.iter().any(|glob| glob.names(path))) {
            let consumer = OtherConsumer { path: physical.clone(), source: OtherSource::Policy };
            others.entry(physical.clone()).or_default().insert(consumer);
        }
    }
    others
}

/// A process needs a library only while it runs, so the records do not name it.
pub(super) fn is_process(consumer: &Consumer) -> bool {
    matches!(consumer.source, ConsumerSource::Other(OtherSource::Mapped(_)))
}

/// Returns programs that map one of these libraries. `stays` tells whether a program exists after the plan.
fn mapped_by(
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
    let stop = end_of_look();
    for (process, directory) in processes() {
        let Some(files) = ProcessFiles::of(&directory, &stop) else { continue };
        let used = if files.is_cut { libraries.clone() } else { wanted.used_by(&files.mapped) };
        if used.is_empty() {
            continue;
        }
        let Some(program) = files.program.as_ref().and_then(|file| ProcessProgram::of(root, file, &before))
        else {
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

struct ProcessProgram {
    path: ObjectPath,
    /// False for a path in another root, or a nameless file.
    is_here: bool,
}

impl ProcessProgram {
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

fn is_at(root: &Root, path: &ObjectPath, status: &ObjectStatus) -> bool {
    let look = || {
        let physical = root.resolver().locate(path).ok()?;
        root.dir_if_there(&physical.parent()?).ok()??.look(physical.name()).ok()?
    };
    look().is_some_and(|found| (found.file_system, found.inode) == (status.file_system, status.inode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

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
