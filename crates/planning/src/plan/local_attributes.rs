//! Attributes that an administrator gave an object of an adopted package. They are local edits: a patch leaves those
//! that it does not change, and the choice for edited files decides about the others. A dpkg-statoverride(1) entry
//! always counts. Other packages get all delivered attributes, as in pkgadd(1M).

use std::fmt;

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::native::dpkg::{StatOverride, UnknownAccount};
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{ACCESS_LIST, CAPABILITY, Live, LiveKind, Xattrs};
use patchadm_svr4::package::{Accounts, Mode, Object, ObjectAttributes, ObjectPath, PkgInst};

use super::NewXattrs;
use super::refusal::{EditedAttribute, ObjectProblem};
use super::target::Wanted;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) mode: Mode,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) recorded: ObjectAttributes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LocalAttributes {
    mode: Option<Mode>,
    uid: Option<u32>,
    gid: Option<u32>,
    recorded: Option<ObjectAttributes>,
    /// An override keeps set-id bits that the patch removes.
    keeps_set_id: bool,
    /// Of the new file, if they are not the inherited ones.
    xattrs: Option<Xattrs>,
    pub(super) notes: Vec<String>,
}

pub(super) struct LocalObject<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) package: &'a PkgInst,
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) recorded: Option<&'a Object>,
    pub(super) choice: Edited,
}

impl LocalAttributes {
    pub(super) fn apply(&self, resolved: Resolved) -> Resolved {
        Resolved {
            mode: self.mode.unwrap_or(resolved.mode),
            uid: self.uid.unwrap_or(resolved.uid),
            gid: self.gid.unwrap_or(resolved.gid),
            recorded: self.recorded.clone().unwrap_or(resolved.recorded),
        }
    }

    pub(super) fn xattrs(&self, delivered: NewXattrs) -> NewXattrs {
        match (&self.xattrs, delivered) {
            (Some(xattrs), NewXattrs::Inherited) => NewXattrs::Exact(xattrs.clone()),
            (_, delivered) => delivered,
        }
    }

    /// Attributes that stay as found, in the letters of the manifest.
    pub(super) fn kept(&self) -> String {
        let is_override = self.recorded.is_some();
        let kept = [
            ('m', self.mode.is_some() && !is_override),
            ('u', self.uid.is_some() && !is_override),
            ('g', self.gid.is_some() && !is_override),
            ('x', self.xattrs.is_some()),
            ('s', self.keeps_set_id),
        ];
        kept.into_iter().filter(|(_, is)| *is).map(|(letter, _)| letter).collect()
    }

    fn decide(
        &mut self,
        object: &LocalObject<'_>,
        one: &AttributeValues,
    ) -> Result<Option<u32>, EditedAttribute> {
        let AttributeValues { name, live, recorded, delivered } = one;
        if delivered.number == Some(live.number()) {
            return Ok(None);
        }
        let path = object.shown();
        if recorded.number == Some(live.number()) {
            self.notes.push(format!("{path} gets {name} {delivered} in place of {live}"));
            return Ok(None);
        }
        let is_changed = !delivered.is(recorded);
        match object.choice {
            _ if !is_changed => self
                .notes
                .push(format!("{path} keeps {name} {live}, which was set locally in place of {recorded}")),
            Edited::Keep => self.notes.push(format!(
                "{path} keeps {name} {live}, which was set locally; the patch has {delivered}"
            )),
            Edited::Replace => {
                self.notes
                    .push(format!("{path} gets {name} {delivered} of the patch; {live} was set locally"));
                return Ok(None);
            }
            Edited::Stop => {
                let (local, delivered) = (format!("{name} {live}"), delivered.to_string());
                return Err(EditedAttribute { path: object.wanted.path.clone(), local, delivered });
            }
        }
        Ok(Some(live.number()))
    }
}

struct AttributeValues {
    name: &'static str,
    live: AttributeValue,
    recorded: AttributeValue,
    delivered: AttributeValue,
}

struct AttributeValue {
    text: String,
    number: Option<u32>,
}

impl AttributeValue {
    fn mode(mode: Mode) -> Self {
        Self { text: format!("{:04o}", mode.bits()), number: Some(mode.bits()) }
    }

    fn number(&self) -> u32 {
        self.number.unwrap_or_default()
    }

    fn is(&self, other: &Self) -> bool {
        self.text == other.text || self.number.is_some() && self.number == other.number
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'a> LocalObject<'a> {
    pub(super) fn attributes(&self) -> Result<(LocalAttributes, Vec<EditedAttribute>), ObjectProblem> {
        let mut local = LocalAttributes::default();
        let mut stops = Vec::new();
        if self.wanted.object.ftype.is_link() {
            return Ok((local, stops));
        }
        if let Some(one) = override_of(self.inventory, self.package, &self.wanted.path) {
            self.overridden(one, &mut local)?;
        } else {
            for values in self.values() {
                match local.decide(self, &values) {
                    Ok(None) => {}
                    Ok(Some(value)) if values.name == "mode" => local.mode = Some(Mode::of(value)),
                    Ok(Some(value)) if values.name == "owner" => local.uid = Some(value),
                    Ok(Some(value)) => local.gid = Some(value),
                    Err(stop) => stops.push(stop),
                }
            }
        }
        self.extended(&mut local);
        Ok((local, stops))
    }

    fn shown(&self) -> ObjectPath {
        self.inventory.show(&self.wanted.path)
    }

    fn live(&self) -> Option<&'a Live> {
        let live = self.inventory.live.get(&self.wanted.path)?;
        let ftype = self.wanted.object.ftype;
        let is_alike = match live.kind {
            LiveKind::Directory => ftype.is_directory(),
            LiveKind::Regular { .. } => ftype.is_regular(),
            LiveKind::Symlink(_) | LiveKind::Socket => false,
            LiveKind::Pipe | LiveKind::Device { .. } => !ftype.is_directory() && !ftype.is_regular(),
        };
        is_alike.then_some(live)
    }

    fn values(&self) -> Vec<AttributeValues> {
        let (Some(live), Some(recorded)) = (self.live(), self.recorded) else { return Vec::new() };
        let (recorded, delivered) = (&recorded.attributes, &self.wanted.object.attributes);
        let accounts = &self.inventory.accounts;
        let mut values = Vec::new();
        if let (Some(recorded), Some(delivered)) = (recorded.mode, delivered.mode) {
            let [live, recorded, delivered] = [live.mode, recorded, delivered].map(AttributeValue::mode);
            values.push(AttributeValues { name: "mode", live, recorded, delivered });
        }
        if !self.inventory.privileged {
            return values;
        }
        let user = |name: &str| AttributeValue { text: name.to_owned(), number: accounts.uid(name) };
        let group = |name: &str| AttributeValue { text: name.to_owned(), number: accounts.gid(name) };
        if let (Some(recorded), Some(delivered)) = (&recorded.owner, &delivered.owner) {
            let live = AttributeValue { text: accounts.user(live.uid).to_string(), number: Some(live.uid) };
            let [recorded, delivered] = [recorded, delivered].map(|name| user(name));
            values.push(AttributeValues { name: "owner", live, recorded, delivered });
        }
        if let (Some(recorded), Some(delivered)) = (&recorded.group, &delivered.group) {
            let live = AttributeValue { text: accounts.group(live.gid).to_string(), number: Some(live.gid) };
            let [recorded, delivered] = [recorded, delivered].map(|name| group(name));
            values.push(AttributeValues { name: "group", live, recorded, delivered });
        }
        // A recorded account that the root lacks proves nothing.
        values.retain(|one| one.recorded.number.is_some());
        values
    }

    fn overridden(&self, one: &StatOverride, local: &mut LocalAttributes) -> Result<(), ObjectProblem> {
        let given = Overridden::of(one, self.inventory)?;
        let delivered = &self.wanted.object.attributes;
        let accounts = &self.inventory.accounts;
        let is_same = delivered.mode.is_none_or(|mode| Some(mode) == given.mode)
            && delivered.owner.as_deref().is_none_or(|owner| accounts.uid(owner) == given.uid)
            && delivered.group.as_deref().is_none_or(|group| accounts.gid(group) == given.gid);
        let is_there = self.live().is_some_and(|live| given.is_on(live));
        if !is_same || !is_there {
            local.notes.push(format!("{} has {}, regardless of the patch", self.shown(), given.words(one)));
        }
        let set_id = given.mode.map_or(0, Mode::bits) & 0o6000;
        let taken = delivered.mode.map_or(0, |mode| set_id & !mode.bits());
        let recorded = self.recorded.and_then(|object| object.attributes.mode);
        local.keeps_set_id = taken != 0 && recorded.is_some_and(Mode::is_set_id);
        if local.keeps_set_id {
            local.notes.push(format!(
                "{} keeps its set-id bits, which the patch removes, because of its override",
                self.shown()
            ));
        }
        (local.mode, local.uid, local.gid) = (given.mode, given.uid, given.gid);
        local.recorded = Some(given.recorded(accounts, delivered));
        Ok(())
    }

    /// Neither dpkg nor a pkgmap records these.
    fn extended(&self, local: &mut LocalAttributes) {
        let Some(live) = self.live() else { return };
        if self.wanted.given.is_some_and(|given| given.xattrs.is_some()) {
            return;
        }
        if live.xattrs.contains_key(ACCESS_LIST) {
            local.notes.push(format!("{} keeps its access control list", self.shown()));
            // Like any new object; the undo data has to say so.
            local.xattrs = Some(live.handed_on(false));
        }
        let capability = live.xattrs.get(CAPABILITY).filter(|_| self.wanted.object.ftype.is_regular());
        let Some(capability) = capability else { return };
        if !self.inventory.privileged {
            local
                .notes
                .push(format!("{} loses its file capabilities, which only root can set", self.shown()));
            return;
        }
        local.notes.push(format!("{} keeps its file capabilities", self.shown()));
        let xattrs = local.xattrs.get_or_insert_with(|| live.handed_on(false));
        xattrs.insert(CAPABILITY.to_vec(), capability.clone());
    }
}

pub(super) struct Overridden {
    pub(super) mode: Option<Mode>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

impl Overridden {
    pub(super) fn of(one: &StatOverride, inventory: &Inventory) -> Result<Self, ObjectProblem> {
        if !inventory.privileged {
            // A set-id bit would be another user's.
            let mode = Some(one.mode).filter(|mode| !mode.is_set_id());
            return Ok(Self { mode, uid: None, gid: None });
        }
        let (uid, gid) = one.numbers(&inventory.accounts).map_err(|unknown| match unknown {
            UnknownAccount::User(name) => ObjectProblem::UnknownUser(name),
            UnknownAccount::Group(name) => ObjectProblem::UnknownGroup(name),
        })?;
        Ok(Self { mode: Some(one.mode), uid: Some(uid), gid: Some(gid) })
    }

    fn is_on(&self, live: &Live) -> bool {
        self.mode.is_none_or(|mode| mode == live.mode)
            && self.uid.is_none_or(|uid| uid == live.uid)
            && self.gid.is_none_or(|gid| gid == live.gid)
    }

    pub(super) fn words(&self, one: &StatOverride) -> String {
        let StatOverride { user, group, mode, listed } = one;
        let mode = format!("mode {:04o}", mode.bits());
        let owner =
            if self.uid.is_some() { format!(", owner {user} and group {group}") } else { String::new() };
        format!("{mode}{owner} by dpkg-statoverride of {listed}")
    }

    fn recorded(&self, accounts: &Accounts, delivered: &ObjectAttributes) -> ObjectAttributes {
        ObjectAttributes {
            mode: self.mode.or(delivered.mode),
            owner: self.uid.map(|uid| accounts.user(uid)).or_else(|| delivered.owner.clone()),
            group: self.gid.map(|gid| accounts.group(gid)).or_else(|| delivered.group.clone()),
        }
    }
}

pub(super) fn override_of<'i>(
    inventory: &'i Inventory,
    package: &PkgInst,
    path: &ObjectPath,
) -> Option<&'i StatOverride> {
    let of_path = inventory.overrides.of(path)?;
    (inventory.manager(package) == Some(NativeManager::Dpkg)).then_some(of_path)
}

/// Returns the entries that do not mirror the mode: named users and groups, and the group if there is a mask. The whole
/// value if it is no such list.
pub(super) fn named_entries(list: &[u8]) -> Vec<&[u8]> {
    const USER_OBJ: u16 = 1;
    const GROUP_OBJ: u16 = 4;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    let Some((_, entries)) = list.split_at_checked(4).filter(|(_, entries)| entries.len() % 8 == 0) else {
        return vec![list];
    };
    let tag = |entry: &&[u8]| match entry {
        [low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    };
    let entries: Vec<&[u8]> = entries.chunks(8).collect();
    let has_mask = entries.iter().any(|entry| tag(entry) == MASK);
    let is_of_mode = |entry: &&[u8]| match tag(entry) {
        USER_OBJ | MASK | OTHER => true,
        GROUP_OBJ => !has_mask,
        _ => false,
    };
    entries.into_iter().filter(|entry| !is_of_mode(entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = vec![2, 0, 0, 0];
        for (tag, permissions, id) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(permissions.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn what_another_mode_changes_of_a_list_is_no_difference() {
        let none = u32::MAX;
        let before = list(&[(1, 7, none), (2, 5, 7), (4, 5, none), (16, 5, none), (32, 5, none)]);
        let closed = list(&[(1, 6, none), (2, 5, 7), (4, 5, none), (16, 0, none), (32, 0, none)]);
        let of_another = list(&[(1, 7, none), (2, 7, 7), (4, 5, none), (16, 5, none), (32, 5, none)]);
        let of_the_group = list(&[(1, 7, none), (2, 5, 7), (4, 7, none), (16, 5, none), (32, 5, none)]);
        assert_eq!(named_entries(&before), named_entries(&closed));
        assert_ne!(named_entries(&before), named_entries(&of_another));
        assert_ne!(named_entries(&before), named_entries(&of_the_group));
        let minimal = |group| list(&[(1, 7, none), (4, group, none), (32, 5, none)]);
        assert_eq!(named_entries(&minimal(5)), named_entries(&minimal(0)));
        assert_ne!(named_entries(b"odd"), named_entries(b"other"));
    }
}
