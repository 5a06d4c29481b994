//! Options that verbs of several programs share.

use std::path::PathBuf;

use super::options::{ColourOption, Extensions, PolicyOption, QuietOption, RootOption, VerboseOption};
use super::{one_of, seconds};
use patchadm_core::operation::patches::apply::SignatureRequest;
use patchadm_inputs::sign::DemandWord;

/// Options of a verb that works on a root under its policy, and has more to say where that is asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct VerbOptions {
    #[command(flatten)]
    pub root: RootOption,
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _verbose: VerboseOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _policy: PolicyOption,
    #[command(flatten)]
    _extensions: Extensions,
}

/// Options of a verb that works on a root under its policy, and says all it has to say.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BriefVerbOptions {
    #[command(flatten)]
    pub root: RootOption,
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    policy: PolicyOption,
    #[command(flatten)]
    _extensions: Extensions,
}

impl BriefVerbOptions {
    /// Returns the options about a root, and true if given: actions that work on no root refuse them.
    #[cfg(feature = "sign")]
    pub fn about_root(&self) -> [(&'static str, bool); 2] {
        [("-R", !self.root.named().is_empty()), ("--policy", self.policy.is_said())]
    }
}

/// Options of a verb that works on a root and reads no policy, and has more to say where that is asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PolicylessOptions {
    #[command(flatten)]
    pub root: RootOption,
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _verbose: VerboseOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _extensions: Extensions,
}

/// Options of a verb that works on no root, and says all it has to say.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RootlessOptions {
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _extensions: Extensions,
}

/// The option of a verb that changes or writes something.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct DryRunOption {
    /// Show what would be done, but change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// The option of a verb that may ask before it changes something.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct YesOption {
    /// Do not ask for confirmation
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// The option of a verb that takes a lock.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct WaitOption {
    /// Wait up to this long, such as 10m, for another command to finish [default: policy, else 0s]
    #[arg(long = "wait", id = "wait", value_name = "DURATION", value_parser = seconds)]
    pub seconds: Option<u64>,
}

/// The option that names the directory of moved undo data.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct UndoDirOption {
    /// Use DIR for undo data instead of the package database
    #[arg(long, value_name = "DIR")]
    pub undo_dir: Option<PathBuf>,
}

/// Options that say what is demanded of signatures.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SignatureOptions {
    /// Set how signatures are checked: require, warn, or off [default: policy]
    #[arg(long, value_name = "WORD", value_parser = one_of(&DemandWord::ALL), hide_possible_values = true)]
    pub signature: Option<DemandWord>,
    /// Trust the keys in DIR instead of the root's keys
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
}

impl SignatureOptions {
    pub fn said(&self) -> [(&'static str, bool); 2] {
        [("--signature", self.signature.is_some()), ("--keys", self.keys.is_some())]
    }

    pub fn request(self) -> SignatureRequest {
        SignatureRequest { word: self.signature, keys: self.keys, ..SignatureRequest::default() }
    }
}
