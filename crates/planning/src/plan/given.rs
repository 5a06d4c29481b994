//! Attributes beyond the pkgmap (patchadm-objects(5)): nanoseconds and extended attributes. An object whose line has
//! extended attributes gets exactly those, apart from labels, which belong to the system. Without privileges no file
//! gets or needs capabilities. A hard link has the attributes of its file.

use patchadm_inputs::format::objects_file::{GivenAttributes, may_be_given};
use patchadm_rootfs::{ACCESS_LIST, CAPABILITY, DEFAULT_LIST, Live, Timestamp, Xattrs};
use patchadm_svr4::package::{Ftype, Object, ObjectPath};

use super::NewXattrs;
use super::plan_builder::PlanBuilder;
use super::refusal::ObjectProblem;
use super::target::Wanted;

pub(super) fn mtime(wanted: &Wanted<'_>) -> Option<Timestamp> {
    let seconds = wanted.object.content.mtime?;
    let nanoseconds = wanted.given.and_then(|given| given.mtime_ns).unwrap_or_default();
    Some(Timestamp { seconds, nanoseconds })
}

impl PlanBuilder<'_> {
    pub(super) fn given_xattrs(
        &mut self,
        path: &ObjectPath,
        wanted: &Wanted<'_>,
    ) -> Result<NewXattrs, ObjectProblem> {
        let Some(given) = wanted.given.and_then(|given| given.xattrs.as_ref()) else {
            return Ok(NewXattrs::Inherited);
        };
        if let Some(name) = given.keys().find(|name| !can_have(&wanted.object, name)) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(ObjectProblem::CannotHave { ftype: wanted.object.ftype, name });
        }
        if wanted.object.ftype == Ftype::Symlink {
            return Ok(NewXattrs::Inherited);
        }
        let mut given = given.clone();
        if !self.inventory.privileged && given.remove(CAPABILITY).is_some() {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} gets no file capabilities, which only root can set"));
        }
        Ok(NewXattrs::Given(given))
    }
}

pub(super) fn has_given(old: &Live, given: Option<&GivenAttributes>, privileged: bool) -> bool {
    let Some(given) = given else { return true };
    let counts = |name: &[u8]| may_be_given(name) && (privileged || name != CAPABILITY);
    let counting = |xattrs: &Xattrs| -> Xattrs {
        xattrs
            .iter()
            .filter(|(name, _)| counts(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    given.mtime_ns.is_none_or(|nanoseconds| nanoseconds == old.mtime.nanoseconds)
        && given.xattrs.as_ref().is_none_or(|xattrs| counting(xattrs) == counting(&old.xattrs))
}

/// Returns all extended attributes of an object that stays, with given ones and kept capabilities; `None` if it has
/// them already.
pub fn with_given(old: &Live, new: &NewXattrs) -> Option<Xattrs> {
    let mut xattrs = old.xattrs.clone();
    match new {
        NewXattrs::Given(given) => {
            xattrs.retain(|name, _| !may_be_given(name));
            xattrs.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        NewXattrs::Exact(all) => {
            xattrs.extend(all.get(CAPABILITY).map(|value| (CAPABILITY.to_vec(), value.clone())));
        }
        NewXattrs::Inherited => {}
    }
    (xattrs != old.xattrs).then_some(xattrs)
}

fn can_have(object: &Object, name: &[u8]) -> bool {
    let ftype = object.ftype;
    match name {
        DEFAULT_LIST => ftype.is_directory(),
        ACCESS_LIST => ftype != Ftype::Symlink,
        CAPABILITY => ftype.is_regular() || ftype == Ftype::Link,
        _ => ftype.is_regular() || ftype.is_directory() || ftype == Ftype::Link,
    }
}
