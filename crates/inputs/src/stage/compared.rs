//! The attributes that are part of the state of an object where a stage and a root are compared.

use patchadm_svr4::package::Mode;

/// Set-id bits.
const SET_ID: u32 = 0o6000;

/// Which attributes are part of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComparedAttributes {
    /// Whether owners, set-id bits and the attributes of the namespaces `security` and `trusted` are: a copy made without
    /// privileges cannot have them.
    pub owners: bool,
}

impl ComparedAttributes {
    /// Returns the permission bits that count.
    pub fn mode(self, mode: Mode) -> Mode {
        if self.owners { mode } else { Mode::of(mode.bits() & !SET_ID) }
    }

    /// Tells whether an extended attribute counts. A label belongs to the system that the object is on.
    pub fn has_xattr(self, name: &[u8]) -> bool {
        let is_label = [&b"security.selinux"[..], b"security.ima", b"security.evm"].contains(&name)
            || name.starts_with(b"security.SMACK64");
        let is_of_owner = name.starts_with(b"security.") || name.starts_with(b"trusted.");
        !is_label && (self.owners || !is_of_owner)
    }
}
