//! The request for an analysis on the command line.

use chrono::NaiveDate;

use patchadm_cli::arguments::days;
use patchadm_planning::analyze::{AnalysisRequest, Group, SynopsisPattern, UnwantedPatch};
use patchadm_svr4::patch::PatchId;

/// Options that narrow a list.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::verbs) struct AnalysisOptions {
    /// Leave out a patch, a patch up to a revision, or patches with a matching synopsis (a regular expression);
    /// repeatable
    #[arg(long, value_name = "WHAT", action = clap::ArgAction::Append)]
    ignore: Vec<String>,
    /// Limit groups to patches whose synopsis matches RE or, if RE begins with !, does not match; repeatable
    #[arg(long, value_name = "RE", action = clap::ArgAction::Append)]
    pattern: Vec<String>,
    /// Limit groups to patches at least this old, such as 7d
    #[arg(long, value_name = "DURATION", value_parser = days)]
    min_age: Option<u32>,
    /// Limit groups to patches at most this old, such as 1y
    #[arg(long, value_name = "DURATION", value_parser = days)]
    max_age: Option<u32>,
    /// Treat this patch as recommended; repeatable
    #[arg(long, value_name = "ID", action = clap::ArgAction::Append)]
    rec: Vec<String>,
    /// Treat this patch as a security patch; repeatable
    #[arg(long, value_name = "ID", action = clap::ArgAction::Append)]
    sec: Vec<String>,
    /// Do not add required patches
    #[arg(long)]
    no_requires: bool,
    /// Exit with 4 if a listed patch is missing, a fix is lost, or a registration is stale
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Debug)]
pub(in crate::verbs) struct AnalysisChoice {
    pub(in crate::verbs) request: AnalysisRequest,
    /// Lost fixes, stale registrations and missing patches have exit codes of their own.
    pub(in crate::verbs) is_check: bool,
}

impl AnalysisChoice {
    /// Interprets options and words; fails if they make no sense together.
    pub(in crate::verbs) fn of(
        options: &AnalysisOptions,
        words: &[String],
        today: NaiveDate,
    ) -> Result<Self, String> {
        let (mut groups, mut named) = (Vec::new(), Vec::new());
        for word in words {
            match Group::named(word) {
                Some(group) if !groups.contains(&group) => groups.push(group),
                Some(_) => {}
                None if can_be_patch(word) => named.push(word.clone()),
                None => return Err(format!("<{}> is neither a group nor a patch", word.escape_debug())),
            }
        }
        if words.is_empty() {
            groups.push(Group::MISSING);
        }
        let patterns = options.pattern.iter().map(|text| SynopsisPattern::parse(text));
        let unwanted = options.ignore.iter().map(|text| UnwantedPatch::parse(text));
        let request = AnalysisRequest {
            groups,
            named,
            unwanted: unwanted.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            patterns: patterns.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            min_age: options.min_age,
            max_age: options.max_age,
            recommended: options.rec.iter().map(|id| base_of(id)).collect(),
            security: options.sec.iter().map(|id| base_of(id)).collect(),
            with_requirements: !options.no_requires,
            first: Vec::new(),
            today,
        };
        Ok(Self { request, is_check: options.check })
    }
}

/// True for a possible base, with or without revision.
fn can_be_patch(word: &str) -> bool {
    PatchId::new(word).is_ok() || PatchId::new(&format!("{word}-0")).is_ok()
}

/// A word without revision is a base.
fn base_of(id: &str) -> String {
    PatchId::new(id).map_or_else(|_| id.to_owned(), |id| id.base().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(words: &[&str]) -> Result<AnalysisChoice, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        AnalysisChoice::of(&AnalysisOptions::default(), &words, NaiveDate::default())
    }

    #[test]
    fn words_are_groups_or_patches_and_none_is_missing() {
        let request = choice(&["mrs", "missingrs", "105181", "ACME-web-03"]).unwrap().request;
        assert_eq!(request.groups.iter().map(ToString::to_string).collect::<Vec<_>>(), ["missingrs"]);
        assert_eq!(request.named, ["105181", "ACME-web-03"]);
        assert_eq!(choice(&[]).unwrap().request.groups, [Group::MISSING]);
        assert!(choice(&["105181"]).unwrap().request.groups.is_empty());
        assert_eq!(choice(&["../x"]).unwrap_err(), "<../x> is neither a group nor a patch");
    }
}
