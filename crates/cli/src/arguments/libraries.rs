//! The option about shared libraries that a change takes away from their consumers.

use super::words::{meant_by, one_of, word_for};
use patchadm_core::operation::libraries::LibraryRequest;
use patchadm_inputs::format::plan_file::{PlanFileError, PlanOptions};
use patchadm_inputs::policy::LibraryWords;

const REPORT: LibraryWords = LibraryWords { keep: false, stop: false };
const KEEP: LibraryWords = LibraryWords { keep: true, stop: false };
const STOP: LibraryWords = LibraryWords { keep: false, stop: true };
const KEEP_OR_STOP: LibraryWords = LibraryWords { keep: true, stop: true };

const LIBRARIES: [(&str, LibraryRequest); 5] = [
    ("report", LibraryRequest { words: Some(REPORT), keep: false, always: false }),
    ("stop", LibraryRequest { words: Some(STOP), keep: false, always: false }),
    ("keep", LibraryRequest { words: Some(KEEP), keep: false, always: false }),
    ("keep-or-stop", LibraryRequest { words: Some(KEEP_OR_STOP), keep: false, always: false }),
    ("keep-always", LibraryRequest { words: Some(KEEP), keep: true, always: true }),
];

/// Values of `shlibs` in a plan file, as in a policy.
const PLAN_WORDS: [(&str, LibraryWords); 4] =
    [("report", REPORT), ("keep", KEEP), ("stop", STOP), ("keep,stop", KEEP_OR_STOP)];

/// Values of `keep_shlibs` in a plan file; true if libraries stay even if the patch forbids it.
const PLAN_KEEPING: [(&str, bool); 2] = [("allowed", false), ("always", true)];

/// What happens to libraries that a change takes away.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LibraryOptions {
    /// Set what happens to old libraries that other objects still need: report, stop, keep, keep-or-stop, or
    /// keep-always (even if the patch forbids it) [default: policy]
    #[arg(long, value_name = "WORD", value_parser = one_of(&LIBRARIES), hide_possible_values = true)]
    libs: Option<LibraryRequest>,
}

impl LibraryOptions {
    pub fn request(&self) -> LibraryRequest {
        self.libs.unwrap_or_default()
    }

    pub fn write(&self, options: &mut PlanOptions) {
        let request = self.request();
        options.shlibs = word_for(&PLAN_WORDS, request.words);
        options.keep_shlibs = word_for(&PLAN_KEEPING, request.keep.then_some(request.always));
    }

    pub fn of_plan(options: &PlanOptions) -> Result<Self, PlanFileError> {
        let words = meant_by(&PLAN_WORDS, "shlibs", options.shlibs.as_deref())?;
        let keeping = meant_by(&PLAN_KEEPING, "keep_shlibs", options.keep_shlibs.as_deref())?;
        let request = LibraryRequest { words, keep: keeping.is_some(), always: keeping == Some(true) };
        Ok(Self { libs: Some(request).filter(|request| *request != LibraryRequest::default()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_file_says_what_the_option_says() {
        for (word, request) in LIBRARIES {
            let mut written = PlanOptions::default();
            LibraryOptions { libs: Some(request) }.write(&mut written);
            let read = LibraryOptions::of_plan(&written).unwrap();
            assert_eq!(read.request(), request, "{word}");
        }
        let of = |shlibs: Option<&str>, keep: Option<&str>| {
            let options = PlanOptions {
                shlibs: shlibs.map(str::to_owned),
                keep_shlibs: keep.map(str::to_owned),
                ..PlanOptions::default()
            };
            LibraryOptions::of_plan(&options).map(|options| options.request())
        };
        let kept = LibraryRequest { words: Some(REPORT), keep: true, always: false };
        assert_eq!(of(Some("report"), Some("allowed")).unwrap(), kept);
        assert_eq!(of(None, None).unwrap(), LibraryRequest::default());
        assert!(of(Some("lose"), None).is_err() && of(None, Some("never")).is_err());
    }
}
