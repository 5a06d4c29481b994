//! Options that verbs of several programs share.

use std::path::PathBuf;

use super::one_of;
use super::options::{ColourOption, Extensions, PolicyOption, QuietOption, RootOption, VerboseOption};
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
    /// Returns the options about a root, and whether each was given: an action of the verb that works on no root
    /// accepts none of them.
    #[cfg(feature = "sign")]
    pub fn about_root(&self) -> [(&'static str, bool); 2] {
        [("-R", self.root.root.is_some()), ("--policy", self.policy.is_said())]
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

/// Options that say what is demanded of signatures.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SignatureOptions {
    /// What is demanded of signatures: require, warn or off
    #[arg(long, value_name = "WORD", value_parser = one_of(&DemandWord::ALL), hide_possible_values = true)]
    pub signature: Option<DemandWord>,
    /// Trust the keys in this directory of this machine instead of those of the root
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
}

impl SignatureOptions {
    /// Them, and whether each was said.
    pub fn said(&self) -> [(&'static str, bool); 2] {
        [("--signature", self.signature.is_some()), ("--keys", self.keys.is_some())]
    }

    /// Returns the request of these options.
    pub fn request(self) -> SignatureRequest {
        SignatureRequest { word: self.signature, keys: self.keys, ..SignatureRequest::default() }
    }
}
