//! The simulated file systems of the runs: the door blocks every call that the real one would not support.

use std::sync::LazyLock;

use rustix::io::Errno;

use super::world::{World, at};
use crate::format::journal::Op;
use crate::plan::Plan;
use patchadm_rootfs::{ChangeCall, Door, RootChange};
use patchadm_svr4::package::ObjectPath;

/// The capabilities of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// It can do everything.
    Usual,
    /// Names cannot be exchanged.
    NoExchange,
    /// Names cannot be exchanged, and nothing can have two of them.
    NoLinks,
    /// A rename cannot be kept from replacing an existing object.
    NoReplace,
    /// Names cannot be exchanged, and a rename cannot be kept from replacing an existing object.
    OnlyRename,
    /// Nothing can be renamed into `/opt/web/bin` from another directory than one in it.
    Apart,
    /// It can do everything, and the changes below `/opt/web` become visible at once.
    Exchanged,
}

impl Ground {
    pub(super) const ALL: [Self; 7] = [
        Self::Usual,
        Self::NoExchange,
        Self::NoLinks,
        Self::NoReplace,
        Self::OnlyRename,
        Self::Apart,
        Self::Exchanged,
    ];
    /// The file systems that are less capable everywhere.
    pub(super) const POOR: [Self; 4] = [Self::NoExchange, Self::NoLinks, Self::NoReplace, Self::OnlyRename];

    /// Returns a door that blocks every call that the file system lacks, and asks `watcher` about the rest.
    pub(super) fn door(
        self,
        watcher: impl Fn(&RootChange<'_>) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> Door {
        Door::watched(move |step| self.can(step).and_then(|()| watcher(step)))
    }

    /// Returns the same door without a watcher.
    pub(super) fn open_door(self) -> Door {
        self.door(|_| Ok(()))
    }

    fn can(self, step: &RootChange<'_>) -> Result<(), Errno> {
        match (self, step.call) {
            (Self::NoExchange | Self::NoLinks | Self::OnlyRename, ChangeCall::Exchange)
            | (Self::NoReplace | Self::OnlyRename, ChangeCall::Move) => Err(Errno::INVAL),
            (Self::NoLinks, ChangeCall::MakeLink) => Err(Errno::PERM),
            (Self::Apart, ChangeCall::Exchange) if is_of_bin(step.path) => Err(Errno::XDEV),
            _ => Ok(()),
        }
    }

    pub(super) fn can_exchange(self) -> bool {
        !matches!(self, Self::NoExchange | Self::NoLinks | Self::OnlyRename)
    }

    /// Returns whether the plan has a new object with two names. Without it, the switch meets the directory that is
    /// apart late, when there is much to put back.
    fn can_link(self) -> bool {
        !matches!(self, Self::NoLinks | Self::Apart)
    }

    /// Returns the part of a world's plan that such a file system can carry out.
    pub(super) fn plan(self, world: &World) -> Plan {
        let mut plan = world.plan();
        if self == Self::Exchanged {
            world.exchange(&["/opt/web"]);
        }
        let turns = [at("/opt/web/flat"), at("/opt/web/tree")];
        let is_turn = |path: &ObjectPath| turns.iter().any(|turn| path == turn || path.is_below(turn));
        plan.changes.retain(|change| {
            let can_turn = self.can_exchange() || !is_turn(&change.path);
            can_turn && (self.can_link() || change.path != at("/opt/web/bin/httpd2"))
        });
        if !self.can_exchange() {
            for undo in &mut plan.undo {
                undo.saved.retain(|(_, path)| !is_turn(path));
            }
        }
        plan
    }
}

/// Returns whether a path is that of the one new object for `/opt/web/bin` in the stage of the first domain.
fn is_of_bin(staged: &ObjectPath) -> bool {
    static STAGED: LazyLock<String> = LazyLock::new(|| {
        let world = World::new();
        world.run_plan(&Ground::Apart.plan(&world), Door::default(), &|| None).unwrap();
        let journal = world.journal();
        let is_httpd = |op: &&Op| op.path == at("/opt/web/bin/httpd");
        journal.ops.iter().find(is_httpd).unwrap().stage.clone()
    });
    let staged = staged.to_string();
    staged.starts_with("/var/sadm/patchadm/stage/") && staged.ends_with(&format!("/{}", *STAGED))
}
