//! What a parameter goes back to, in whatever order the patches of a package go.
//!
//! The archive of a patch has the parameters as they were when it was applied, those of earlier patches among them.
//! When an earlier one goes first, what it had found is handed down to the next patch that set the parameter: it stands
//! in `parameters` in that patch's save directory, in the form of a pkginfo, and counts instead of what the archive says.
//! So a parameter that came with a patch goes with it, and what is shown depends on the patches that are applied alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::manifest::Manifest;
use crate::format::params::{self, ParamFile};
use crate::package::{Installed, Mode, Params, PkgInst, rule};
use crate::patch::PatchId;

use super::RecordChange;
use super::parameters::is_patch_record;
use super::records::{save_of, save_path};
use super::refusal::Reason;
use super::restore::Later;

/// The file in a save directory.
const FILE: &str = "parameters";

/// The line of the file that names the parameters that were not there; no parameter has that name, as all begin with a
/// capital letter.
const ABSENT: &str = "absent";

/// Values by name; none for a parameter that was not there.
type Values = BTreeMap<String, Option<Vec<u8>>>;

/// A package whose patch goes.
#[derive(Clone, Copy)]
pub(super) struct Package<'a> {
    /// Its name.
    pub(super) name: &'a PkgInst,
    /// Its records.
    pub(super) installed: &'a Installed,
    /// What separates base and revision of an id.
    pub(super) separator: &'a str,
}

/// What the patches behind the one that goes take over.
#[derive(Debug, Default)]
pub(super) struct HandedDown {
    /// The parameters that keep their values, because a later patch has set them.
    pub(super) set_again: BTreeSet<String>,
    /// The files of those patches.
    pub(super) changes: Vec<RecordChange>,
}

impl Package<'_> {
    /// Puts into `saved`, the parameters before a patch by its archive, what earlier patches have handed down to it.
    pub(super) fn put_handed_down(
        &self,
        id: &PatchId,
        manifest: &Manifest,
        saved: &mut Params,
    ) -> Result<(), Reason> {
        for (name, value) in self.handed_down(id, manifest)? {
            match value {
                Some(value) => saved.set(&name, value),
                None => saved.remove(&name),
            }
        }
        Ok(())
    }

    /// Hands the values of `before`, from before a patch with this manifest, down to the next patches that set them. One
    /// that is only there because of earlier patches, which a later one passes on by its silence, goes.
    pub(super) fn hand_down(
        &self,
        manifest: &Manifest,
        before: &Params,
        later: &Later<'_>,
    ) -> Result<HandedDown, Reason> {
        let mut handed = HandedDown::default();
        let mut taken: BTreeMap<usize, Values> = BTreeMap::new();
        for name in manifest.header.parameters.iter().filter(|name| !is_patch_record(name)) {
            let value = before.get(name);
            for (at, (_, manifest)) in later.iter().enumerate() {
                let header = manifest.map(|manifest| &manifest.header);
                let Some(header) = header.filter(|header| header.parameters.contains(name)) else { continue };
                taken.entry(at).or_default().insert(name.clone(), value.map(<[u8]>::to_vec));
                if value.is_some() || !header.silent.contains(name) {
                    handed.set_again.insert(name.clone());
                    break;
                }
            }
        }
        for (at, values) in taken {
            let Some((id, Some(manifest))) = later.get(at) else { continue };
            let Some((saved_as, _)) = save_of(self.installed, id, self.separator) else { continue };
            let mut all = self.handed_down(id, manifest)?;
            all.extend(values);
            handed.changes.push(RecordChange::Write {
                path: save_path(self.name, saved_as, FILE)?,
                bytes: write(&all),
                mode: Mode::of(0o600),
                mtime: None,
            });
        }
        Ok(handed)
    }

    /// What was handed down to a patch: only parameters that the patch set.
    fn handed_down(&self, id: &PatchId, manifest: &Manifest) -> Result<Values, Reason> {
        let save = save_of(self.installed, id, self.separator);
        let Some(bytes) = save.and_then(|(_, save)| save.parameters.as_deref()) else {
            return Ok(Values::new());
        };
        let bad = |reason: String| Reason::BadUndoData {
            package: self.name.clone(),
            reason: format!("save/{id}/{FILE}: {reason}"),
        };
        let values = read(bytes).map_err(bad)?;
        let is_set = |name: &String| manifest.header.parameters.contains(name) && !is_patch_record(name);
        match values.keys().find(|name| !rule::holds("save.parameters.name", is_set(name))) {
            Some(name) => Err(bad(format!("{name} is no parameter that the patch set"))),
            None => Ok(values),
        }
    }
}

fn read(bytes: &[u8]) -> Result<Values, String> {
    let params = ParamFile::parse(bytes).map_err(|error| error.to_string())?.params();
    let there = params.iter().filter(|(name, _)| *name != ABSENT);
    let mut values: Values = there.map(|(name, value)| (name.to_owned(), Some(value.to_vec()))).collect();
    values.extend(params.text(ABSENT).split_whitespace().map(|name| (name.to_owned(), None)));
    Ok(values)
}

fn write(values: &Values) -> Vec<u8> {
    let mut file = Params::new();
    for (name, value) in values {
        if let Some(value) = value {
            file.set(name, value);
        }
    }
    let absent = values.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str());
    let absent: Vec<&str> = absent.collect();
    if !absent.is_empty() {
        file.set(ABSENT, absent.join(" "));
    }
    params::write(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_down_is_read_as_it_was_written() {
        let values = Values::from([
            ("INSTDATE".to_owned(), Some(b"Nov 20 2026 06:37".to_vec())),
            ("SUNW_OBSOLETES".to_owned(), Some(Vec::new())),
            ("SUNW_PATCHID".to_owned(), None),
            ("WORD".to_owned(), None),
        ]);
        assert_eq!(read(&write(&values)), Ok(values));
    }
}
