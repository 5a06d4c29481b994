//! The rights that an undo archive may give back: set-id bits, file capabilities, device numbers and owners. An archive
//! that its run's records bind by digest is trusted like that run. Any other may have any author, and gives rights only
//! if the line of `contents` or the existing object has them.

use patchadm_changeset::format::manifest::RecordedState;
use patchadm_rootfs::{FileType, Live, LiveKind};
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{Accounts, Mode, Object, ObjectPath};

use super::plan_builder::PlanBuilder;

const CAPABILITY: &str = "security.capability";

const SET_ID: u32 = 0o6000;

#[derive(Clone, Copy, Debug)]
pub(super) struct OnRecord<'a> {
    pub(super) live: Option<&'a Live>,
    pub(super) line: Option<&'a Object>,
    pub(super) accounts: &'a Accounts,
}

impl<'a> OnRecord<'a> {
    pub(super) fn of(draft: &PlanBuilder<'a>, path: &ObjectPath) -> Self {
        let inventory = draft.inventory;
        Self {
            live: inventory.live.get(path),
            line: inventory.lines.get(path).map(|line| &line.object),
            accounts: &inventory.accounts,
        }
    }

    fn has_bits(&self) -> u32 {
        let live = self.live.filter(|live| matches!(live.kind, LiveKind::Regular { .. }));
        let line = self.line.filter(|line| line.ftype.is_regular()).and_then(|line| line.attributes.mode);
        live.map_or(0, |live| live.mode.bits()) | line.map_or(0, Mode::bits)
    }

    fn has_device(&self, kind: FileType, numbers: (u32, u32)) -> bool {
        let live = self.live.filter(|live| live.kind.file_type() == kind).and_then(Live::device);
        let line =
            self.line.filter(|line| FileType::of(line.ftype) == Some(kind)).and_then(|line| line.device);
        live == Some(numbers) || line == Some((Some(numbers.0), Some(numbers.1)))
    }

    fn owner(&self, uid: u32) -> (bool, u32) {
        let line = self.line.and_then(|line| self.accounts.uid(line.attributes.owner.as_deref()?));
        let live = self.live.map(|live| live.uid);
        ([line, live].contains(&Some(uid)), live.or(line).unwrap_or_default())
    }

    fn group(&self, gid: u32) -> (bool, u32) {
        let line = self.line.and_then(|line| self.accounts.gid(line.attributes.group.as_deref()?));
        let live = self.live.map(|live| live.gid);
        ([line, live].contains(&Some(gid)), live.or(line).unwrap_or_default())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) state: Option<RecordedState>,
    pub(super) left_out: Vec<&'static str>,
}

pub(super) fn allowed(was: &RecordedState, bound: bool, known: OnRecord<'_>) -> Allowed {
    let (mut state, mut left_out) = (was.clone(), Vec::new());
    if bound {
        return Allowed { state: Some(state), left_out };
    }
    if let (FileType::Block | FileType::Character, Some(numbers)) = (was.kind, was.device)
        && !holds("manifest.was.device", known.has_device(was.kind, numbers))
    {
        return Allowed { state: None, left_out };
    }
    if was.kind == FileType::Regular {
        let mode = mode(Mode::of(was.mode), bound, known);
        if mode.bits() != was.mode {
            state.mode = mode.bits();
            left_out.push("set-id bits");
        }
        let live = known.live.map(|live| RecordedState::of(live).xattrs);
        let has = live.is_some_and(|live| live.get(CAPABILITY) == was.xattrs.get(CAPABILITY));
        let has = !was.xattrs.contains_key(CAPABILITY) || has;
        if !holds("manifest.was.capability", has) {
            state.xattrs.remove(CAPABILITY);
            left_out.push("file capabilities");
        }
    }
    let ((has_uid, uid), (has_gid, gid)) = (known.owner(was.uid), known.group(was.gid));
    if !holds("manifest.was.owner", has_uid) && uid != was.uid {
        state.uid = uid;
        left_out.push("its owner");
    }
    if !holds("manifest.was.group", has_gid) && gid != was.gid {
        state.gid = gid;
        left_out.push("its group");
    }
    Allowed { state: Some(state), left_out }
}

pub(super) fn mode(mode: Mode, bound: bool, known: OnRecord<'_>) -> Mode {
    let unknown = mode.bits() & SET_ID & !known.has_bits();
    if holds("manifest.was.mode", bound || unknown == 0) {
        return mode;
    }
    Mode::of(mode.bits() & !unknown)
}

pub(super) fn may_be_device(object: &Object, bound: bool, known: OnRecord<'_>) -> bool {
    let kind = FileType::of(object.ftype);
    let numbers = match object.device {
        Some((Some(major), Some(minor))) => Some((major, minor)),
        _ => None,
    };
    let has = |(kind, numbers)| known.has_device(kind, numbers);
    holds("archive.pkgmap.device", bound || kind.zip(numbers).is_none_or(has))
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::{Inode, Timestamp, Xattrs};
    use patchadm_svr4::package::Ftype;

    fn live(mode: u32, uid: u32) -> Live {
        Live {
            kind: LiveKind::Regular {
                size: 0,
                b3: patchadm_rootfs::Sums::of(&mut &b""[..]).unwrap().b3,
                cksum: 0,
            },
            mode: Mode::of(mode),
            uid,
            gid: 0,
            mtime: Timestamp::whole(1),
            ctime: Timestamp::whole(1),
            inode: Inode { number: 7, born: None },
            links: 1,
            xattrs: Xattrs::new(),
            obstacle: None,
        }
    }

    /// An unbound archive has 4711, uid 5 and a capability; returns what it gives with this object and line.
    fn given(there: Option<&Live>, line: Option<&Object>) -> (u32, u32, bool, Vec<&'static str>) {
        let mut was = RecordedState::of(&live(0o4711, 5));
        was.xattrs.insert(CAPABILITY.to_owned(), "01".to_owned());
        let accounts = Accounts::default();
        let known = OnRecord { live: there, line, accounts: &accounts };
        assert_eq!(allowed(&was, true, known), Allowed { state: Some(was.clone()), left_out: Vec::new() });
        let Allowed { state, left_out } = allowed(&was, false, known);
        let state = state.unwrap();
        (state.mode, state.uid, state.xattrs.contains_key(CAPABILITY), left_out)
    }

    #[test]
    fn an_archive_that_nothing_binds_gives_no_rights_that_the_root_does_not_know() {
        let all = vec!["set-id bits", "file capabilities", "its owner"];
        assert_eq!(given(None, None), (0o711, 0, false, all.clone()));
        assert_eq!(given(Some(&live(0o755, 0)), None), (0o711, 0, false, all));
    }

    #[test]
    fn it_gives_those_that_the_object_or_its_line_has() {
        let mut same = live(0o4755, 5);
        assert_eq!(given(Some(&same), None), (0o4711, 5, false, vec!["file capabilities"]));
        same.xattrs.insert(b"security.capability".to_vec(), vec![1]);
        assert_eq!(given(Some(&same), None), (0o4711, 5, true, Vec::new()));
        let mut line = Object::new(Ftype::File, "none");
        line.attributes.mode = Mode::new(0o4755);
        assert_eq!(given(None, Some(&line)), (0o4711, 0, false, vec!["file capabilities", "its owner"]));
    }

    #[test]
    fn a_device_comes_back_with_the_numbers_that_are_known_only() {
        let accounts = Accounts::default();
        let mut was = RecordedState::of(&live(0o600, 0));
        (was.kind, was.device, was.size, was.b3) = (FileType::Block, Some((8, 0)), None, None);
        let mut line = Object::new(Ftype::Block, "none");
        for (minor, comes) in [(1, false), (0, true)] {
            line.device = Some((Some(8), Some(minor)));
            let known = OnRecord { live: None, line: Some(&line), accounts: &accounts };
            assert_eq!(allowed(&was, false, known).state.is_some(), comes);
            assert!(allowed(&was, true, known).state.is_some());
        }
    }

    #[test]
    fn a_group_that_the_root_does_not_know_of_the_object_is_not_given() {
        let accounts = Accounts::default();
        let was = RecordedState { gid: 7, ..RecordedState::of(&live(0o644, 0)) };
        let there = live(0o644, 0);
        let known = OnRecord { live: Some(&there), line: None, accounts: &accounts };
        let expected = RecordedState { gid: 0, ..was.clone() };
        let Allowed { state, left_out } = allowed(&was, false, known);
        assert_eq!((state, left_out), (Some(expected), vec!["its group"]));
        assert_eq!(allowed(&was, true, known).state, Some(was));
    }

    #[test]
    fn a_device_of_a_pkgmap_comes_back_with_the_numbers_that_are_known_only() {
        let accounts = Accounts::default();
        let device = |minor| {
            let mut object = Object::new(Ftype::Block, "none");
            object.device = Some((Some(8), Some(minor)));
            object
        };
        let line = device(0);
        let known = OnRecord { live: None, line: Some(&line), accounts: &accounts };
        assert!(may_be_device(&device(0), false, known));
        assert!(may_be_device(&device(1), true, known));
        assert!(!may_be_device(&device(1), false, known));
    }
}
