//! A patch as a directory. It stands under a private name until its manifest is written.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use rustix::io::Errno;

use super::super::draft::PatchDraft;
use super::super::error::BuildError;
use super::destination::{PatchDestination, WriteWatch, WrittenPatch, check_free, parent_and_name};
use super::members::{copy, feed};
use super::sink::{PatchMember, PatchSink};
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{MANIFEST, Manifest, Sha256Sum, sha256};
use patchadm_rootfs::{Dir, FileType, NewTree, Timestamp, UnnamedDirectory};
use patchadm_svr4::package::Mode;

/// The part of a private name that marks a patch that is being written.
const PROGRAM: &str = "patchadm-build";

/// The number of bytes that are read and written at once.
const BUFFER: usize = 1 << 18;

/// The file that marks a directory as a patch.
const MARK: &[u8] = b"patchinfo";

/// Writes a patch as a directory.
pub(super) fn write(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    watch: WriteWatch<'_>,
) -> Result<WrittenPatch, BuildError> {
    check_free(to, &to.path)?;
    let (parent, name) = parent_and_name(&to.path)?;
    let parent = Dir::of_host(parent)?;
    check_replaced(&parent, name, to)?;
    // The leftovers of another run are not worth an error here.
    let _ = parent.remove_leftovers(PROGRAM);
    let mut building = UnnamedDirectory::begin(&parent, PROGRAM, name)?;
    let mut sink = DirectorySink {
        names: draft.packages.iter().map(|package| package.sparse.pkg.to_string()).collect(),
        tree: &mut building.tree,
        package: None,
        buffer: vec![0; BUFFER],
        digests: BTreeMap::new(),
        bytes: 0,
        path: to.path.clone(),
    };
    feed(draft, &mut sink, watch)?;
    let text = Manifest::of_members(&draft.id, draft.date, &sink.digests).write();
    let bytes = sink.bytes + text.len() as u64;
    sink.beside(&PatchMember::own(MANIFEST.as_bytes(), &text, draft.date), &mut &text[..])?;
    building.close(Timestamp::whole(draft.date))?;
    if to.replaces {
        // A power cut must not find the old patch gone and the new one without its bytes.
        parent.sync_file_system()?;
    }
    if let Some(signal) = (watch.interrupt)() {
        return Err(BuildError::Interrupted(signal));
    }
    match building.publish(to.replaces) {
        Err(error) if error.errno() == Some(Errno::EXIST) => Err(BuildError::Exists(to.path.clone())),
        published => Ok(published.map(|()| WrittenPatch {
            path: to.path.clone(),
            manifest: to.path.join(MANIFEST),
            bytes,
            sha256: sha256(&text),
        })?),
    }
}

/// Refuses to replace an object that is not a patch.
fn check_replaced(parent: &Dir, name: &[u8], to: &PatchDestination) -> Result<(), BuildError> {
    let Some(seen) = parent.look(name)? else { return Ok(()) };
    if seen.file_type != FileType::Directory {
        return Err(BuildError::Exists(to.path.clone()));
    }
    let inside = parent.dir(name)?.names()?;
    if inside.is_empty() || inside.iter().any(|name| name == MARK) {
        return Ok(());
    }
    Err(BuildError::Foreign(to.path.clone()))
}

/// A directory under construction.
struct DirectorySink<'a> {
    tree: &'a mut NewTree,
    /// The names of the packages.
    names: Vec<String>,
    /// The package whose files come.
    package: Option<usize>,
    buffer: Vec<u8>,
    /// The digests of all members so far.
    digests: BTreeMap<Vec<u8>, Sha256Sum>,
    bytes: u64,
    path: PathBuf,
}

impl DirectorySink<'_> {
    fn put(
        &mut self,
        name: Vec<u8>,
        member: &PatchMember<'_>,
        data: &mut dyn Read,
    ) -> Result<(), BuildError> {
        let mut file = self.tree.file(&name)?;
        let mut sum = Sha256::new();
        let mut bytes = 0;
        let copied = copy(data, &mut self.buffer, &mut |part| {
            sum.update(part);
            bytes += part.len() as u64;
            Ok(file.put(part)?)
        })?;
        copied.map_err(|error| BuildError::Write { path: self.path.clone(), error })?;
        file.set_mode(Mode::of(member.mode))?;
        file.set_mtime(Timestamp::whole(member.mtime))?;
        self.bytes += bytes;
        self.digests.insert(name, sum.finalize());
        Ok(())
    }
}

impl PatchSink for DirectorySink<'_> {
    fn beside(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        self.put(member.name.to_vec(), member, data)
    }

    fn begin_package(&mut self, index: usize) -> Result<(), BuildError> {
        self.package = Some(index);
        Ok(())
    }

    fn member(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let package = self.package.and_then(|index| self.names.get(index)).map(String::as_str);
        let name = [package.unwrap_or_default().as_bytes(), b"/", member.name].concat();
        self.put(name, member, data)
    }
}
