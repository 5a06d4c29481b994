//! Options of the commands that apply patches of a depot.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::patch_command::{ApplyCommand, Fetching};
use patchadm_cli::arguments::fetching::FetchOptions;
use patchadm_cli::arguments::named_text;
use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::patches::EndCodes;
use patchadm_core::operation::patches::apply::{ApplyRequest, DepotOperands, PatchOperands};
use patchadm_inputs::format::plan_file::PlanOptions;
use patchadm_planning::resolve::SetRequest;

/// Options that name a depot and say which of its patches are taken.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SetOptions {
    /// Take patches from this depot: a directory, or an address that begins with file:, http: or https:
    #[arg(short = 'M', value_name = "DEPOT")]
    depot: Option<OsString>,
    #[command(flatten)]
    choices: ChoiceOptions,
    #[command(flatten)]
    fetching: FetchOptions,
}

/// Options that say which patches of a depot are taken.
#[derive(Clone, Debug, Default, clap::Args)]
struct ChoiceOptions {
    /// Apply all patches in one transaction, or none
    #[arg(long)]
    all_or_nothing: bool,
    /// Take a withdrawn patch that is named with its revision
    #[arg(long)]
    withdrawn: bool,
    /// Take nothing that is only required
    #[arg(long)]
    no_requires: bool,
    /// Leave this patch out; may be repeated
    #[arg(long, value_name = "ID", action = clap::ArgAction::Append)]
    exclude: Vec<String>,
}

impl ChoiceOptions {
    fn request(self) -> SetRequest {
        let Self { all_or_nothing, withdrawn, no_requires, exclude } = self;
        SetRequest { all_or_nothing, withdrawn, no_requires, exclude, ..SetRequest::default() }
    }
}

impl SetOptions {
    /// The options that only name a depot, if any, and say how it is reached.
    pub(crate) fn naming(depot: Option<OsString>, fetching: FetchOptions) -> Self {
        Self { depot, fetching, ..Self::default() }
    }

    /// Writes to a plan file what is taken from where. How it is fetched is not part of a plan.
    pub(crate) fn write(&self, options: &mut PlanOptions) -> Result<(), String> {
        let ChoiceOptions { all_or_nothing, withdrawn, no_requires, exclude } = self.choices.clone();
        options.depot = self.depot.as_ref().map(named_text).transpose()?;
        (options.all_or_nothing, options.withdrawn) = (all_or_nothing, withdrawn);
        (options.no_requires, options.exclude) = (no_requires, exclude);
        Ok(())
    }

    /// Reads from a plan file what is taken from where.
    pub(crate) fn read(&mut self, options: &PlanOptions) {
        self.depot = options.depot.as_ref().map(OsString::from);
        self.choices = ChoiceOptions {
            all_or_nothing: options.all_or_nothing,
            withdrawn: options.withdrawn,
            no_requires: options.no_requires,
            exclude: options.exclude.clone(),
        };
    }

    /// Completes a request with these options: if a depot is named, the operands are those of the depot.
    pub(crate) fn command(
        self,
        call: &Invocation,
        mut apply: ApplyRequest,
        wait: Option<u64>,
    ) -> ApplyCommand {
        apply.choices = self.choices.request();
        if let Some(depot) = self.depot {
            let ids = std::mem::take(&mut apply.patches).into_iter().map(PathBuf::into_os_string);
            let patches = PatchOperands::Words(ids.collect());
            apply.depot = Some(DepotOperands { depot: Some(depot), patches });
        }
        ApplyCommand { apply, fetching: fetching(call, self.fetching, wait), codes: EndCodes::default() }
    }
}

/// Returns how a command with these options fetches what it needs.
pub(crate) fn fetching(call: &Invocation, options: FetchOptions, wait: Option<u64>) -> Fetching {
    let surroundings = &call.surroundings;
    let is_shown = call.program == PROGRAM && surroundings.stderr_is_terminal;
    let has_bar = is_shown && !surroundings.is_quiet && !call.in_json;
    Fetching { options, wait, has_bar, surroundings: surroundings.clone() }
}
