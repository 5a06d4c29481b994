//! Options of the commands that apply patches of a depot.

use std::ffi::OsString;
use std::path::PathBuf;

use super::fetching::FetchOptions;
use crate::call::{Invocation, PROGRAM};
use crate::patch_command::{FetchedApply, Fetching, PatchRequest, SetCommand};
use crate::reply::Stop;
use patchadm_core::operation::depots::is_address;
use patchadm_core::operation::patches::apply::ApplyRequest;
use patchadm_core::operation::patches::sets::SetApplication;
use patchadm_core::resolve::SetRequest;

/// Options that name a depot and say which of its patches are taken.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SetOptions {
    /// Take patches from this depot: a directory, or an address that begins with file:, http: or https:
    #[arg(short = 'M', value_name = "DEPOT")]
    depot: Option<OsString>,
    /// Apply all patches in one transaction, or none
    #[arg(long, requires = "depot")]
    all_or_nothing: bool,
    /// Take a withdrawn patch that is named with its revision
    #[arg(long, requires = "depot")]
    withdrawn: bool,
    /// Take nothing that is only required
    #[arg(long, requires = "depot")]
    no_requires: bool,
    /// Leave this patch out; may be repeated
    #[arg(long, value_name = "ID", requires = "depot", action = clap::ArgAction::Append)]
    exclude: Vec<String>,
    #[command(flatten)]
    fetching: FetchOptions,
}

impl SetOptions {
    /// The request of a command with these options: patches of the depot, if one is named, else the patches that the operands
    /// are.
    pub(crate) fn request(
        self,
        call: &Invocation,
        apply: ApplyRequest,
        wait: Option<u64>,
        usage: &'static str,
    ) -> Result<PatchRequest, Stop> {
        let has_addresses = apply.patches.iter().any(|patch| is_address(patch.as_os_str()));
        if self.depot.is_none() && !has_addresses {
            self.fetching.must_be_unsaid(usage)?;
            return Ok(PatchRequest::Apply(apply));
        }
        let fetching = fetching(call, self.fetching, wait);
        let Some(depot) = self.depot else {
            return Ok(PatchRequest::Fetched(Box::new(FetchedApply { apply, fetching })));
        };
        let choices = SetRequest {
            all_or_nothing: self.all_or_nothing,
            withdrawn: self.withdrawn,
            no_requires: self.no_requires,
            exclude: self.exclude,
            ..SetRequest::default()
        };
        let operands = apply.patches.iter().map(|path: &PathBuf| path.clone().into_os_string()).collect();
        let application = SetApplication { depot, operands, choices, apply };
        Ok(PatchRequest::Set(Box::new(SetCommand { application, fetching })))
    }
}

/// How a command fetches with these options.
pub(crate) fn fetching(call: &Invocation, options: FetchOptions, wait: Option<u64>) -> Fetching {
    let surroundings = &call.surroundings;
    let is_shown = call.program == PROGRAM && surroundings.stderr_is_terminal;
    let has_bar = is_shown && !surroundings.is_quiet && !call.in_json;
    Fetching { options, wait, has_bar, surroundings: surroundings.clone() }
}
