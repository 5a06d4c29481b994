//! Versions that one patch of a run delivers and a later one replaces, staged for the undo archives. No op names them:
//! those not kept as undo data are removed before anything is durable; an interrupted run's stage is removed as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::format::undo_files::StoredName;
use crate::plan::{Plan, ReplacedVersion};
use crate::transaction::error::Cause;
use crate::transaction::objects::copies::copy_summed;
use crate::transaction::settings::{ContentSource, RunWatch};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::object_stager::name_stored;
use patchadm_rootfs::{Dir, Root, Sums};
use patchadm_svr4::package::{ObjectPath, PackagePath};

#[derive(Debug, Default)]
pub(crate) struct StagedVersions {
    within: Option<Dir>,
    count: usize,
}

impl StagedVersions {
    pub(crate) fn stage(
        root: &Root,
        domains: &OpenDomains,
        plan: &Plan,
        content: &mut dyn ContentSource,
        watch: RunWatch<'_>,
    ) -> Result<Self, Cause> {
        if plan.versions.is_empty() {
            return Ok(Self::default());
        }
        let within = domains.get(0)?.objects.again()?;
        let members = plan.versions.iter().enumerate();
        let mut missing: BTreeMap<(usize, PackagePath), usize> = members
            .map(|(number, version)| ((version.member.package, version.member.path.clone()), number))
            .collect();
        let wanted = missing.clone();
        let is_wanted = |package: usize, path: &PackagePath| wanted.contains_key(&(package, path.clone()));
        let mut sink = |package: usize, path: &PackagePath, data: &mut dyn Read| {
            watch.check()?;
            let number = missing.remove(&(package, path.clone()));
            match number.and_then(|number| Some((number, plan.versions.get(number)?))) {
                Some((number, version)) => write(root, &within, number, version, data),
                None => Ok(()),
            }
        };
        let streamed = content.stream(&is_wanted, watch.interrupt, &mut sink).map_err(Cause::from);
        let streamed = streamed.or_else(|cause| watch.check().and(Err(cause)));
        let files = plan.versions.iter().map(|version| (&version.path, &version.member));
        streamed.map_err(|cause| name_stored(cause, root, content, files))?;
        match missing.into_values().find_map(|number| plan.versions.get(number)) {
            Some(ReplacedVersion { package, path, .. }) => {
                Err(Cause::Missing { package: package.to_string(), path: root.show(path) })
            }
            None => Ok(Self { within: Some(within), count: plan.versions.len() }),
        }
    }

    /// `passing` maps an archive's paths to versions.
    pub(crate) fn find(
        &self,
        passing: &BTreeMap<ObjectPath, Option<usize>>,
        path: &ObjectPath,
    ) -> Result<Option<(Dir, Vec<u8>)>, Cause> {
        let Some(number) = passing.get(path) else { return Ok(None) };
        match (number, &self.within) {
            (Some(number), Some(within)) => {
                Ok(Some((within.again()?, stored_version(*number).name.into_bytes())))
            }
            _ => Err(Cause::Internal(format!("the version of {path} that is to be saved is not staged"))),
        }
    }

    pub(crate) fn remove_except(&self, stay: &BTreeSet<&StoredName>) -> Result<(), Cause> {
        let Some(within) = &self.within else { return Ok(()) };
        for number in 0..self.count {
            if !stay.contains(&stored_version(number)) {
                within.remove(stored_version(number).name.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// The staged names of objects are numbers.
pub(crate) fn stored_version(number: usize) -> StoredName {
    StoredName { directory: 0, name: format!("version-{number}") }
}

fn write(
    root: &Root,
    within: &Dir,
    number: usize,
    version: &ReplacedVersion,
    data: &mut dyn Read,
) -> Result<(), Cause> {
    let ReplacedVersion { package, path, member } = version;
    let corrupt =
        |reason: String| Cause::Corrupt { package: package.to_string(), path: root.show(path), reason };
    let mut file = within.create(stored_version(number).name.as_bytes())?;
    file.reserve(member.size)?;
    let sums = copy_summed(data.take(member.size.saturating_add(1)), &mut file)?;
    let Sums { size, cksum, b3 } = sums.map_err(|error| corrupt(error.to_string()))?;
    if size != member.size {
        return Err(corrupt(format!("file size <{}> expected <{size}> actual", member.size)));
    }
    if cksum != member.cksum {
        return Err(corrupt(format!("file cksum <{}> expected <{cksum}> actual", member.cksum)));
    }
    if member.b3.as_deref().is_some_and(|expected| *expected != b3) {
        return Err(corrupt("it has changed since the run was planned".to_owned()));
    }
    Ok(())
}
