//! The file systems that runs are played on: what a real one would not do the door does not let through.

use rustix::io::Errno;

use super::world::{World, at};
use crate::package::ObjectPath;
use crate::plan::Plan;
use crate::root::{Call, Door, Step};

/// What a file system is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// It can do everything.
    Usual,
    /// Names cannot be exchanged.
    NoExchange,
    /// Names cannot be exchanged, and nothing can have two of them.
    NoLinks,
    /// A rename cannot be kept from replacing what is there.
    NoReplace,
    /// Names cannot be exchanged, and a rename cannot be kept from replacing what is there.
    OnlyRename,
}

impl Ground {
    pub(super) const ALL: [Self; 5] =
        [Self::Usual, Self::NoExchange, Self::NoLinks, Self::NoReplace, Self::OnlyRename];
    pub(super) const POOR: [Self; 4] = [Self::NoExchange, Self::NoLinks, Self::NoReplace, Self::OnlyRename];

    /// A door that lets nothing through that the file system cannot do, and asks `watcher` about the rest.
    pub(super) fn door(
        self,
        watcher: impl Fn(&Step<'_>) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> Door {
        Door::watched(move |step| self.can(step).and_then(|()| watcher(step)))
    }

    /// The same without a watcher.
    pub(super) fn open_door(self) -> Door {
        self.door(|_| Ok(()))
    }

    fn can(self, step: &Step<'_>) -> Result<(), Errno> {
        match (self, step.call) {
            (Self::NoExchange | Self::NoLinks | Self::OnlyRename, Call::Exchange)
            | (Self::NoReplace | Self::OnlyRename, Call::Move) => Err(Errno::INVAL),
            (Self::NoLinks, Call::MakeLink) => Err(Errno::PERM),
            _ => Ok(()),
        }
    }

    pub(super) fn can_exchange(self) -> bool {
        matches!(self, Self::Usual | Self::NoReplace)
    }

    /// The plan of a world as far as such a file system can carry it out.
    pub(super) fn plan(self, world: &World) -> Plan {
        let mut plan = world.plan();
        let turns = [at("/opt/web/flat"), at("/opt/web/tree")];
        let is_turn = |path: &ObjectPath| turns.iter().any(|turn| path == turn || path.is_below(turn));
        plan.changes.retain(|change| {
            let can_turn = self.can_exchange() || !is_turn(&change.path);
            can_turn && (self != Self::NoLinks || change.path != at("/opt/web/bin/httpd2"))
        });
        if !self.can_exchange() {
            for undo in &mut plan.undo {
                undo.saved.retain(|(_, path)| !is_turn(path));
            }
        }
        plan
    }
}
