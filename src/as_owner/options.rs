//! Options about the owner of a root, and the refusal of a root that does not belong to the superuser alone.

use std::path::Path;

use crate::as_owner;
use patchadm_cli::arguments::RootOption;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Stop, failure};
use patchadm_cli::surroundings::Surroundings;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::whose_root::{AnswerOfRun, RootStanding, SaidOfOwner, standing};
use patchadm_core::script::environment::{ASKED, TRUSTED};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;

/// The options that say how far the owner of the root is trusted.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct OwnerOptions {
    /// Run as the owner of the root directory, in a process without the caller's privileges
    #[arg(long, conflicts_with = "trust_root")]
    pub(crate) as_owner: bool,
    /// Trust the owner of the root as much as the superuser
    #[arg(long)]
    pub(crate) trust_root: bool,
}

impl OwnerOptions {
    /// Returns which options were given. A command that changes no root has none of them.
    pub(crate) fn said(self) -> [(&'static str, bool); 2] {
        [("--as-owner", self.as_owner), ("--trust-root", self.trust_root)]
    }

    /// Opens the root to change or plan for. A process of another owner gets the arguments `A`, and ends the command.
    pub(crate) fn open<A: clap::CommandFactory>(
        self,
        call: &Invocation,
        root: &RootOption,
        command: Command,
    ) -> anyhow::Result<Root> {
        let root = root.open(call)?;
        match self.standing(&call.surroundings, root).map_err(|failed| refused(command, &failed))? {
            RootStanding::Owner(root) => Err(Stop::Ended(as_owner::run::<A>(call, &root)?).into()),
            RootStanding::Caller(root) => {
                root.look_at_records().map_err(|error| refused(command, &error.into()))?;
                Ok(root)
            }
        }
    }

    pub(crate) fn standing(self, surroundings: &Surroundings, root: Root) -> Result<RootStanding, Failure> {
        let by_run = surroundings.run.as_ref().and(surroundings.trust.as_deref());
        let by_run = by_run.and_then(|word| match word {
            ASKED => Some(AnswerOfRun::Asked),
            TRUSTED => Some(AnswerOfRun::Trusted),
            _ => None,
        });
        let said = SaidOfOwner { is_trusted: self.trust_root, as_owner: self.as_owner, by_run };
        let host = root.elsewhere(Path::new("/"))?;
        let root = match &surroundings.for_superuser {
            None => root,
            Some(directory) => {
                root.must_be(directory)?;
                root.for_superuser()
            }
        };
        standing(root, &host, said)
    }
}

/// Three lines: the owner, that nothing was changed, how to go on.
fn refused(command: Command, failed: &Failure) -> Stop {
    Stop::Refused {
        exit: failure::code(command, failed),
        message: failure::described(&Wording::default(), command, failed),
    }
}
