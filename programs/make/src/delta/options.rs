//! The options of `patchadm-make delta`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::arguments::{VerboseOption, one_of};
use patchadm_cli::reply::Stop;
use patchadm_making::build::{BuildRequest, PatchForm};
use patchadm_making::delta::parse_bases;
use patchadm_producing::patch_options::{FILE_FORMS, PatchOptions, read, wrong};
use patchadm_svr4::patch::PatchId;

pub(super) const USAGE: &str = "patchadm-make delta [option...] --release dir --stable dir --work dir";

/// Make the patches of a stable branch: one for each source of which a package changed
#[derive(clap::Parser)]
pub(super) struct DeltaArgs {
    /// The packages as they were released: a directory of them
    #[arg(long, value_name = "DIR")]
    pub(super) release: PathBuf,
    /// The packages as they are maintained
    #[arg(long, value_name = "DIR")]
    pub(super) stable: PathBuf,
    /// The working directory, with the patches that were made before
    #[arg(long, value_name = "DIR")]
    pub(super) work: PathBuf,
    /// A file with a line `SOURCE BASE` for each source whose patches are not named after it
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Look at these sources only; may be repeated
    #[arg(long, value_name = "SOURCE", num_args = 1.., action = clap::ArgAction::Append)]
    pub(super) only: Vec<String>,
    /// The form of the patches: zip, tar, tar.gz or datastream
    #[arg(long, value_name = "FORM", value_parser = one_of(&FILE_FORMS), hide_possible_values = true, default_value = "tar.gz", hide_default_value = true)]
    pub(super) format: PatchForm,
    /// Make the highest patch of each source anew, if it is not signed
    #[arg(long)]
    pub(super) rebuild: bool,
    /// Say which patches would be made, write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) patch: PatchOptions,
    #[command(flatten)]
    _common: RootlessOptions,
    #[command(flatten)]
    _verbose: VerboseOption,
}

impl DeltaArgs {
    /// Returns the request for every patch, for a caller at the time `now`. Each patch has its own id in the place of
    /// this one.
    pub(super) fn template(&self, now: i64) -> Result<BuildRequest, Stop> {
        let id = PatchId::new("source-01").map_err(|error| wrong(&error, USAGE))?;
        self.patch.request(id, now, USAGE)
    }

    /// Returns the bases that sources are given.
    pub(super) fn bases(&self) -> Result<BTreeMap<String, String>, Stop> {
        let Some(path) = &self.ids else { return Ok(BTreeMap::new()) };
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        parse_bases(&text).map_err(|error| wrong(&format!("{}: {error}", path.display()), USAGE))
    }
}
