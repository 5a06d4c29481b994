use std::collections::HashSet;

use rustix::io::Errno;
use serde::Serialize;

use crate::plan::Plan;
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::is_layered;
use crate::transaction::stage::domains::HOLDER;
use patchadm_rootfs::{Dir, DirectoryUser, FileType, ObjectStatus, Root, RootError, users_of};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

const STAGED_ROOT: &[u8] = b".patchadm-stage";

/// Exchangeable as far as the survey shows.
#[derive(Debug)]
pub(crate) struct TreeSurvey {
    pub(crate) path: ObjectPath,
    pub(crate) top: ObjectStatus,
    pub(crate) objects: Vec<SurveyedObject>,
}

#[derive(Debug)]
pub(crate) struct SurveyedObject {
    pub(crate) path: Vec<u8>,
    pub(crate) seen: ObjectStatus,
}

pub(crate) fn survey(root: &Root, path: &ObjectPath) -> Result<TreeSurvey, Cause> {
    let no = |reason: String| Err(Cause::no_exchange(root, path, reason));
    let Some(parent) = path.parent() else { return no("it is the root directory".to_owned()) };
    let above = root.dir(&parent)?.itself()?;
    let dir = root.dir(path).map_err(|error| refused(root, path, error))?;
    let top = dir.itself()?;
    if (top.mount, top.file_system) != (above.mount, above.file_system) {
        return no("it is a mount point or a subvolume".to_owned());
    }
    if is_layered(&dir)? {
        return no("it is on overlayfs".to_owned());
    }
    if let Some(reason) = dir.unsupported()? {
        return no(format!("it {reason}"));
    }
    if let Some(held) = held_record(root, path)? {
        return no(format!("it holds {}", root.show(&held)));
    }
    if let Some(reason) = dir.mount_in_the_way().map_err(|error| refused(root, path, error))? {
        return no(reason);
    }
    let mut survey = TreeSurvey { path: path.clone(), top, objects: Vec::new() };
    survey.must_be_movable(&dir, b"", &survey.top)?;
    drop(dir);
    let mut rest = vec![Vec::new()];
    while let Some(relative) = rest.pop() {
        rest.extend(survey.look_through(root, &relative)?);
    }
    survey.objects.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(survey)
}

impl TreeSurvey {
    fn look_through(&mut self, root: &Root, relative: &[u8]) -> Result<Vec<Vec<u8>>, Cause> {
        let dir = below(&self.path, relative).map(|path| root.dir(&path))?;
        let dir = dir.map_err(|error| refused(root, &self.path, error))?;
        if dir.hands_down_project() {
            return Err(self.no(&dir, b"", "passes a project id on to new files"));
        }
        let mut directories = Vec::new();
        for name in dir.names().map_err(|error| refused(root, &self.path, error))? {
            let Some(seen) = dir.look(&name)? else { continue };
            self.must_be_movable(&dir, &name, &seen)?;
            let path = if relative.is_empty() { name } else { [relative, b"/", &name].concat() };
            if seen.file_type == FileType::Directory {
                directories.push(path.clone());
            }
            self.objects.push(SurveyedObject { path, seen });
        }
        Ok(directories)
    }

    fn must_be_movable(&self, dir: &Dir, name: &[u8], seen: &ObjectStatus) -> Result<(), Cause> {
        if let Some(reason) = seen.obstacle {
            return Err(self.no(dir, name, reason));
        }
        if seen.file_type != FileType::Directory {
            return Ok(());
        }
        let reason = if (seen.mount, seen.file_system) != (self.top.mount, self.top.file_system) {
            "is a mount point or a subvolume"
        } else if seen.encrypted {
            "is encrypted"
        } else if name == STAGED_ROOT || name.starts_with(HOLDER) {
            "belongs to a stage"
        } else {
            return Ok(());
        };
        Err(self.no(dir, name, reason))
    }

    fn no(&self, dir: &Dir, name: &[u8], reason: &str) -> Cause {
        let object = dir.root().show(&dir.at(name));
        Cause::no_exchange(dir.root(), &self.path, format!("{object} {reason}"))
    }

    pub(crate) fn holders(&self) -> Vec<DirectoryUser> {
        let inodes: HashSet<u64> = self.objects.iter().map(|object| object.seen.inode.number).collect();
        let is_inside = |file_system: (u32, u32), inode: u64| {
            file_system == self.top.file_system && (inode == self.top.inode.number || inodes.contains(&inode))
        };
        users_of(&is_inside)
    }
}

pub(crate) fn below(directory: &ObjectPath, relative: &[u8]) -> Result<ObjectPath, Cause> {
    if relative.is_empty() {
        return Ok(directory.clone());
    }
    directory.join(relative).map_err(|error| Cause::Internal(error.to_string()))
}

fn held_record(root: &Root, path: &ObjectPath) -> Result<Option<ObjectPath>, Cause> {
    let places = [
        places::records(),
        places::install(),
        places::packages(),
        places::patches(),
        places::own_directory(),
        places::stages(),
    ];
    for place in places {
        let physical = root.resolver().locate_dir(&place)?;
        if physical == *path || physical.is_below(path) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// A reason not to exchange the directory, unless the object is gone or any call there would fail.
pub(crate) fn refused(root: &Root, path: &ObjectPath, error: RootError) -> Cause {
    use Errno as E;
    match error.errno() {
        Some(E::NOENT | E::NOTDIR) => Cause::Changed(root.show(path)),
        Some(E::IO | E::ROFS | E::NOSPC | E::DQUOT | E::MFILE | E::NFILE | E::NOMEM) | None => error.into(),
        Some(_) => Cause::no_exchange(root, path, error.to_string()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeWay {
    /// Name by name.
    Renames,
    /// All at once.
    Exchange,
    /// The run changes nothing there.
    Nothing,
}

/// Actual or predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeReport {
    /// Physical path.
    pub path: ObjectPath,
    pub way: ExchangeWay,
    /// Processes that stay in the old directory.
    pub holders: Vec<DirectoryUser>,
}

impl ExchangeReport {
    pub(crate) fn nothing(path: &ObjectPath) -> Self {
        Self { path: path.clone(), way: ExchangeWay::Nothing, holders: Vec::new() }
    }
}

pub(crate) fn must_allow_scripts(root: &Root, directories: &[ObjectPath]) -> Result<(), Cause> {
    let reason = || "procedure scripts run between the changes".to_owned();
    directories.first().map_or(Ok(()), |directory| Err(Cause::no_exchange(root, directory, reason())))
}

/// Does not foresee obstacles that show only when new directories are made. [`Cause::NoExchange`] refuses an impossible
/// exchange; scripts make every one impossible.
pub fn foresee_exchanges(
    root: &Root,
    plan: &Plan,
    directories: &[ObjectPath],
    has_scripts: bool,
) -> Result<Vec<ExchangeReport>, Cause> {
    if has_scripts {
        must_allow_scripts(root, directories)?;
    }
    let resolver = root.resolver();
    let mut reports: Vec<_> = directories.iter().map(ExchangeReport::nothing).collect();
    if reports.is_empty() {
        return Ok(reports);
    }
    for change in &plan.changes {
        let physical = resolver.locate_object(&change.path)?;
        for report in reports.iter_mut().filter(|report| report.way == ExchangeWay::Nothing) {
            if physical == report.path || physical.is_below(&report.path) {
                report.holders = survey(root, &report.path)?.holders();
                report.way = ExchangeWay::Exchange;
            }
        }
    }
    Ok(reports)
}
