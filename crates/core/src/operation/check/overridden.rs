//! The attributes that objects of packages adopted from dpkg have by dpkg-statoverride(1), whatever is recorded.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::CheckError;
use patchadm_inputs::database::{DatabaseError, RecordView, contents, installed};
use patchadm_inputs::native::{NativeManager, NativeOrigin, dpkg};
use patchadm_svr4::package::{ContentsLine, ObjectAttributes, ObjectPath, PkgInst};

/// Attributes by path.
#[derive(Debug, Default)]
pub(super) struct OverriddenAttributes(BTreeMap<ObjectPath, ObjectAttributes>);

impl OverriddenAttributes {
    /// Reads the overrides of recorded objects. Where dpkg would refuse the file, a comparison knows of none, and a repair
    /// fails.
    pub(super) fn of(view: &RecordView<'_>, fixes: bool) -> Result<Self, CheckError> {
        let overrides = match dpkg::overrides(view.root()) {
            Err(error) if fixes => return Err(CheckError::Operation(error.into())),
            read => read.unwrap_or_default(),
        };
        if overrides.is_empty() {
            return Ok(Self::default());
        }
        let paths: BTreeSet<ObjectPath> = overrides.paths().cloned().collect();
        let lines = contents::lines_at(view, &paths, &[]).map_err(DatabaseError::from)?;
        let (mut adopted, mut attributes) = (BTreeMap::new(), BTreeMap::new());
        for (path, line) in lines {
            if let Some(one) = overrides.of(&path)
                && is_of_dpkg(view, &line, &mut adopted)?
            {
                attributes.insert(path, one.attributes());
            }
        }
        Ok(Self(attributes))
    }

    /// Returns a line with the attributes that its object has.
    pub(super) fn line<'l>(&self, line: &'l ContentsLine) -> Cow<'l, ContentsLine> {
        match self.0.get(&line.path).filter(|_| !line.object.ftype.is_link()) {
            None => Cow::Borrowed(line),
            Some(attributes) => {
                let mut line = line.clone();
                line.object.attributes = attributes.clone();
                Cow::Owned(line)
            }
        }
    }
}

/// Tells whether an owner of a line was adopted from dpkg. Each package is read once.
fn is_of_dpkg(
    view: &RecordView<'_>,
    line: &ContentsLine,
    known: &mut BTreeMap<PkgInst, bool>,
) -> Result<bool, DatabaseError> {
    for owner in &line.owners {
        if !known.contains_key(&owner.package) {
            let params = installed::params(view, &owner.package)?;
            let origin = params.and_then(|params| NativeOrigin::of(&params));
            let is_of_it = origin.is_some_and(|origin| origin.manager == NativeManager::Dpkg);
            known.insert(owner.package.clone(), is_of_it);
        }
        if known.get(&owner.package) == Some(&true) {
            return Ok(true);
        }
    }
    Ok(false)
}
