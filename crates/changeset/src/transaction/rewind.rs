//! Restores protected objects in the middle of a run with procedure scripts. Everything that the scripts left is
//! discarded.
//!
//! The safety copies stay where they are, so that the run can still be rolled back. Copies of them are put in place,
//! just as a rollback would put back the originals.

use std::collections::{BTreeSet, HashMap};

use super::error::Cause;
use super::scripted::ScriptedRun;
use crate::format::journal::{Identity, Journal, Op};
use crate::transaction::objects::dirs::Dirs;
use crate::transaction::objects::identity::identity;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::safety_copies::{copy_object, copy_tree};
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::Inode;
use patchadm_rootfs::{FileType, Root};
use patchadm_svr4::package::ObjectPath;

impl ScriptedRun<'_> {
    /// Restores the protected objects at `objects`, and the protected record directories at `trees`, to their state
    /// before the run. No script may be running. After an error, call [`ScriptedRun::roll_back`].
    pub fn rewind(&mut self, objects: &BTreeSet<ObjectPath>, trees: &[ObjectPath]) -> Result<(), Cause> {
        let number = self.next_batch();
        let (root, domains, held) = self.root_domains_and_journal();
        let wanted = located(root, objects)?;
        let records = located(root, trees)?;
        let is_above = |path: &ObjectPath| wanted.iter().any(|wanted| wanted.is_below(path));
        let is_object = |op: &Op| wanted.contains(&op.path) || op.old.is_none() && is_above(&op.path);
        let is_meant = |op: &Op| if op.db { records.contains(&op.path) } else { is_object(op) };
        let mut dirs = Dirs::new(root);
        let mut ops = Vec::new();
        for op in held.ops.iter().filter(|op| is_meant(op)) {
            if !is_untouched(&mut dirs, op)? {
                ops.push(op);
            }
        }
        let mut copies = CopyMaker { domains, prefix: format!("again.{number}"), first: HashMap::new() };
        let ops: Vec<Op> =
            ops.into_iter().enumerate().map(|(at, op)| copies.of(op, at)).collect::<Result<_, Cause>>()?;
        let again = Journal { ops, ..held.clone() };
        let mut runner = OpRunner::open(root, &again)?;
        runner.put_back().into_iter().next().map_or(Ok(()), Err)
    }
}

/// Tells whether a protected object is unchanged; for records that is not known.
fn is_untouched(dirs: &mut Dirs, op: &Op) -> Result<bool, Cause> {
    let Some(parent) = dirs.parent(&op.path)? else { return Ok(op.old.is_none()) };
    Ok(match (parent.look(op.path.name())?, &op.old) {
        (None, None) => true,
        (Some(seen), Some(old)) => {
            !op.db && seen.inode == old.inode && op.touched.as_deref() == Some(&seen.ctime)
        }
        _ => false,
    })
}

fn located<'p>(
    root: &Root,
    paths: impl IntoIterator<Item = &'p ObjectPath>,
) -> Result<BTreeSet<ObjectPath>, Cause> {
    let resolver = root.resolver();
    paths.into_iter().map(|path| resolver.locate_object(path).map_err(Cause::from)).collect()
}

/// Copies safety copies.
struct CopyMaker<'a> {
    domains: &'a OpenDomains,
    prefix: String,
    /// The first copy of each safety copy, for the other names of one file: domain and staged name.
    first: HashMap<Inode, (usize, Vec<u8>)>,
}

impl CopyMaker<'_> {
    /// Returns the op that restores a copy of the safety copy of `op`.
    fn of(&mut self, op: &Op, at: usize) -> Result<Op, Cause> {
        let domain = self.domains.get(op.domain)?;
        let stage = if op.db { domain.records.again()? } else { domain.objects.again()? };
        let (within, held) = op.stage.split_once('/').unwrap_or(("o", &op.stage));
        let name = format!("{}.{at}", self.prefix);
        let mut again = op.clone();
        again.stage = format!("{within}/{name}");
        let Some(copy) = &op.new else { return Ok(again) };
        let (held, name) = (held.as_bytes(), name.as_bytes());
        let Some(seen) = stage.look(held)? else {
            return Err(Cause::Internal(format!("the held copy of {} is missing", op.path)));
        };
        if seen.file_type == FileType::Directory {
            copy_tree(&stage, held, &stage, name)?;
        } else {
            match self.first.get(&seen.inode).filter(|(domain, _)| *domain == op.domain) {
                Some((_, first)) => stage.make_link(name, &stage, first)?,
                None => drop(copy_object(&stage, held, &stage, name)?),
            }
            self.first.entry(seen.inode).or_insert_with(|| (op.domain, name.to_vec()));
        }
        let made = stage.look(name)?.map(|seen| identity(&seen, None, None));
        again.new = made.map(|made| {
            let (b3, target) = (copy.b3.clone(), copy.target.clone());
            Box::new(Identity { b3, target, ..made })
        });
        Ok(again)
    }
}
