//! Objects that only the old version of a replaced package has. They go as in a removal, and edited files are kept
//! under another name. Objects of class scripts stay, without an owner.

use std::collections::BTreeSet;

use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, PkgInst};

use super::remove::owned;
use crate::plan::edits::Edits;
use crate::plan::objects::Handling;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::Reason;
use crate::plan::scripts::{SystemScripts, class_scripts};
use crate::plan::target::Wanted;

#[derive(Clone, Copy, Debug)]
pub(super) struct GivenUpObject<'a> {
    path: &'a ObjectPath,
    line: &'a ContentsLine,
    /// A class script owns the object, so the program must not touch it.
    is_by_script: bool,
}

impl GivenUpObject<'_> {
    fn yields(&self) -> bool {
        !self.is_by_script && !self.is_shared() && !self.line.object.ftype.is_directory()
    }

    fn is_shared(&self) -> bool {
        self.line.owners.len() > 1
    }
}

/// Directories and links on the way to new objects stay with the package.
pub(super) fn given_up<'a>(
    (package, old): (&PkgInst, &Installed),
    wanted: &[Wanted<'_>],
    inventory: &'a Inventory,
    system: &SystemScripts,
) -> Vec<GivenUpObject<'a>> {
    let staying: BTreeSet<&[u8]> = wanted.iter().map(|each| each.path.as_bytes()).collect();
    let above: BTreeSet<&[u8]> = wanted.iter().flat_map(|each| each.path.ancestors_bytes()).collect();
    let leads_on = |line: &ContentsLine| {
        let ftype = line.object.ftype;
        above.contains(line.path.as_bytes()) && (ftype.is_directory() || ftype == Ftype::Symlink)
    };
    let classes: BTreeSet<&str> = owned(package, inventory).map(|(_, _, class)| class).collect();
    let has_script = |class: &&str| !class_scripts(old, class, system).is_empty();
    let scripted: BTreeSet<&str> = classes.into_iter().filter(has_script).collect();
    owned(package, inventory)
        .filter(|(path, line, _)| !staying.contains(path.as_bytes()) && !leads_on(line))
        .map(|(path, line, class)| GivenUpObject {
            path,
            line,
            is_by_script: scripted.contains(class) && !line.object.ftype.is_directory(),
        })
        .collect()
}

pub(super) fn consider_edits(
    edits: &mut Edits<'_>,
    package: &PkgInst,
    given_up: &[GivenUpObject<'_>],
) -> Result<(), Reason> {
    let mut going = given_up.iter().filter(|one| !one.is_by_script && !one.is_shared());
    going.try_for_each(|one| edits.consider((package, false), one.path, None))
}

pub(super) fn yielding(given_up: &[GivenUpObject<'_>]) -> BTreeSet<ObjectPath> {
    given_up.iter().filter(|one| one.yields()).map(|one| one.path.clone()).collect()
}

pub(super) fn take_away(
    draft: &mut PlanBuilder<'_>,
    package: &PkgInst,
    given_up: &[GivenUpObject<'_>],
    edits: &Edits<'_>,
) -> Result<(), Reason> {
    given_up.iter().try_for_each(|one| take_one_away(draft, package, one, &edits.handling(one.path)))
}

fn take_one_away(
    draft: &mut PlanBuilder<'_>,
    package: &PkgInst,
    given_up: &GivenUpObject<'_>,
    handling: &Handling,
) -> Result<(), Reason> {
    let GivenUpObject { path, line, is_by_script } = *given_up;
    if is_by_script {
        let is_shared = draft.disown(package, path, line.clone());
        if !is_shared && draft.old(path).is_some() {
            let path = draft.inventory.show(path);
            let class = &line.object.class;
            draft.notes.push(format!("{path} stays, and no package owns it: class {class} has a script"));
        }
        return Ok(());
    }
    if !line.object.ftype.is_directory() && draft.claim(package, path).is_err() {
        // the new version has the same place under another path
        draft.disown(package, path, line.clone());
        return Ok(());
    }
    let live = draft.old(path).filter(|live| !live.is_directory());
    if let (Handling::CopyFirst(suffix), Some(old)) = (handling, live) {
        draft.keep_copy(package, path, old, suffix).map_err(|problem| Reason::Object {
            package: package.clone(),
            path: path.to_string(),
            problem,
        })?;
    }
    draft.delete(package, path)
}
