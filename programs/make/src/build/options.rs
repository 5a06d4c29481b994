//! The options of `patchadm-make build`, and the request that they make.

use std::ffi::OsString;
use std::path::PathBuf;

use patchadm_cli::arguments::one_of;
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::reply::Stop;
use patchadm_making::build::{BuildRequest, PatchDestination, PatchForm};
use patchadm_producing::patch_options::{PatchOptions, wrong};
use patchadm_svr4::patch::PatchId;

pub(super) const USAGE: &str = "patchadm-make build [option...] --id id --from release --to release -o out";

const FORMS: [(&str, PatchForm); 5] = [
    ("dir", PatchForm::Directory),
    ("zip", PatchForm::Zip),
    ("tar", PatchForm::Tar),
    ("tar.gz", PatchForm::TarGz),
    ("datastream", PatchForm::Datastream),
];

/// Make a patch of an old and a new release
#[derive(clap::Parser)]
pub(super) struct BuildArgs {
    /// The id of the patch
    #[arg(long, value_name = "ID")]
    id: String,
    /// The old release: a tree, package, archive, or a directory of packages
    #[arg(long, value_name = "RELEASE")]
    pub(super) from: OsString,
    /// The new release
    #[arg(long, value_name = "RELEASE")]
    pub(super) to: OsString,
    /// The file or directory that the patch becomes
    #[arg(short = 'o', long = "output", value_name = "OUT")]
    out: PathBuf,
    /// The form of the patch: dir, zip, tar, tar.gz or datastream
    #[arg(long, value_name = "FORM", value_parser = one_of(&FORMS), hide_possible_values = true)]
    format: Option<PatchForm>,
    /// Replace a patch that is there
    #[arg(long)]
    pub(super) force: bool,
    /// Say what the patch would be, write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The name of the package, where there is one
    #[arg(long, value_name = "PKG")]
    pkg: Option<String>,
    /// An earlier revision, which the patch is to contain
    #[arg(long, value_name = "PATCH")]
    pub(super) previous: Option<PathBuf>,
    #[command(flatten)]
    pub(super) patch: PatchOptions,
    #[command(flatten)]
    _common: RootlessOptions,
}

impl BuildArgs {
    /// Returns where the patch is written: in the form that is asked for, else in the one that the ending of the name
    /// says, else as a directory. A form that contradicts the name is refused, because readers of the patch go by its
    /// name. So is the name of an archive of another kind.
    pub(super) fn destination(&self) -> Result<PatchDestination, Stop> {
        let named = PatchForm::of_name(&self.out);
        if let Some(ending) =
            PatchForm::other_archive(&self.out).filter(|_| self.format != Some(PatchForm::Directory))
        {
            let (out, endings) = (self.out.display(), PatchForm::endings().collect::<Vec<_>>().join(", "));
            let message = format!(
                "{out} is the name of an archive, and no patch is written as {ending}\n\
                 The name of a patch ends with one of {endings}, or it is that of a directory."
            );
            return Err(wrong(&message, USAGE));
        }
        match (self.format, named) {
            (Some(asked), Some(named)) if asked != named => {
                let (out, asked, named) = (self.out.display(), asked.word(), named.word());
                Err(wrong(
                    &format!("{out} is the name of a patch in the form {named}, and --format says {asked}"),
                    USAGE,
                ))
            }
            (asked, named) => {
                let form = asked.or(named).unwrap_or_default();
                Ok(PatchDestination { path: self.out.clone(), form, replaces: self.force })
            }
        }
    }

    /// Returns the request, for a caller at the time `now`.
    pub(super) fn request(&self, now: i64) -> Result<BuildRequest, Stop> {
        let id = PatchId::new(&self.id).map_err(|error| wrong(&error, USAGE))?;
        let mut request = self.patch.request(id, now, USAGE)?;
        request.naming.pkg.clone_from(&self.pkg);
        Ok(request)
    }
}
