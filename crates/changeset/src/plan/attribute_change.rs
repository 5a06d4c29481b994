//! The new attributes of an object that stays in place.

use crate::format::manifest::{RecordedState, recorded_xattrs};
use patchadm_rootfs::{Live, Timestamp, Xattrs};
use patchadm_svr4::package::Mode;

/// New attributes of an object that stays; `None` keeps the current value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// Permission bits; a symbolic link has none.
    pub mode: Option<Mode>,
    /// Numeric owner.
    pub uid: Option<u32>,
    /// Numeric group.
    pub gid: Option<u32>,
    /// All extended attributes (those not named are removed).
    pub xattrs: Option<Xattrs>,
    /// Modification time; never that of a directory, which changes with every name in it.
    pub mtime: Option<Timestamp>,
}

impl AttributeChange {
    /// Returns the part that an object does not have already, or `None` if it has all of it.
    pub fn lacking(self, live: &Live) -> Option<Self> {
        let lacking = Self {
            mode: self.mode.filter(|mode| *mode != live.mode),
            uid: self.uid.filter(|uid| *uid != live.uid),
            gid: self.gid.filter(|gid| *gid != live.gid),
            xattrs: self.xattrs.filter(|xattrs| *xattrs != live.xattrs),
            mtime: self.mtime.filter(|mtime| *mtime != live.mtime && !live.is_directory()),
        };
        (lacking != Self::default()).then_some(lacking)
    }

    /// Adds a later change, whose attributes win if both name one.
    #[must_use]
    pub fn then(self, later: &Self) -> Self {
        Self {
            mode: later.mode.or(self.mode),
            uid: later.uid.or(self.uid),
            gid: later.gid.or(self.gid),
            xattrs: later.xattrs.clone().or(self.xattrs),
            mtime: later.mtime.or(self.mtime),
        }
    }

    /// Returns the state of an object after the change.
    pub fn applied_to(&self, state: RecordedState) -> RecordedState {
        RecordedState {
            mode: self.mode.map_or(state.mode, Mode::bits),
            uid: self.uid.unwrap_or(state.uid),
            gid: self.gid.unwrap_or(state.gid),
            xattrs: self.xattrs.as_ref().map_or(state.xattrs, recorded_xattrs),
            mtime: self.mtime.unwrap_or(state.mtime),
            ..state
        }
    }
}
