//! Options about shared libraries that a change takes away from their consumers.

use super::words::{meant_by, one_of, word_for};
use patchadm_core::operation::libraries::LibraryRequest;
use patchadm_inputs::format::plan_file::{PlanFileError, PlanOptions};
use patchadm_inputs::policy::LibraryWords;

const WORDS: [(&str, LibraryWords); 4] = [
    ("report", LibraryWords { keep: false, stop: false }),
    ("keep", LibraryWords { keep: true, stop: false }),
    ("stop", LibraryWords { keep: false, stop: true }),
    ("keep,stop", LibraryWords { keep: true, stop: true }),
];

/// Which libraries stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// Those that may.
    Allowed,
    /// Also those of patches that forbid it.
    Always,
}

const KEEPING: [(&str, Keeping); 2] = [("allowed", Keeping::Allowed), ("always", Keeping::Always)];

/// What becomes of libraries that a change takes away.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LibraryOptions {
    /// What becomes of libraries that others still need: report, keep, stop or keep,stop; otherwise as the policy of the root says
    #[arg(long, value_name = "WORDS", value_parser = one_of(&WORDS), hide_possible_values = true)]
    shlibs: Option<LibraryWords>,
    /// Keep libraries that others still need; with =always also where the patch forbids it
    #[arg(long, value_name = "always", value_parser = one_of(&KEEPING), hide_possible_values = true,
          num_args = 0..=1, require_equals = true, default_missing_value = "allowed")]
    keep_shlibs: Option<Keeping>,
}

impl LibraryOptions {
    /// Returns the request that the options stand for.
    pub fn request(&self) -> LibraryRequest {
        LibraryRequest {
            words: self.shlibs,
            keep: self.keep_shlibs.is_some(),
            always: self.keep_shlibs == Some(Keeping::Always),
        }
    }

    /// Writes them down in a plan file.
    pub fn write(&self, options: &mut PlanOptions) {
        options.shlibs = word_for(&WORDS, self.shlibs);
        options.keep_shlibs = word_for(&KEEPING, self.keep_shlibs);
    }

    /// Returns the options that a plan file has.
    pub fn of_plan(options: &PlanOptions) -> Result<Self, PlanFileError> {
        Ok(Self {
            shlibs: meant_by(&WORDS, "shlibs", options.shlibs.as_deref())?,
            keep_shlibs: meant_by(&KEEPING, "keep_shlibs", options.keep_shlibs.as_deref())?,
        })
    }
}
