//! The attributes that a taken object gets: those of the stage, as far as they count on the root.

use crate::inventory::Inventory;
use crate::plan::{AttributeChange, NewXattrs};
use crate::three_way_attributes::ComparedAttributes;
use patchadm_changeset::format::journal::is_settable;
use patchadm_rootfs::{Live, LiveKind, Timestamp, Xattrs};
use patchadm_svr4::package::Mode;
