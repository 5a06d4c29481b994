//! The report of a run as a web page: tables, and each package with its log.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use patchadm_bulk_values::journal::BuildState;
use patchadm_bulk_values::report::{
    MOST_HARMFUL, ReportTextInput, ReportedPackage, RunReport, state_heading,
};
use patchadm_cli::reply::words::human;
use patchadm_pages::{PageCell, PagePart, PageRow, PageStory, PageTable, TablePage, html_of_tables};

const NAMED_WAITING: usize = 100;

const COLUMNS: [&str; 8] = ["Package", "State", "Reason", "Needed by", "Duration", "Memory", "Slot", "Log"];

/// Logs that are not beside the page are linked below the run's web address, if there is one.
pub(crate) fn page_of(report: &RunReport, input: &ReportTextInput<'_>, has_logs_beside: bool) -> String {
    let page = RunPage { report, input, has_logs_beside };
    let parts = [
        page.most_harmful(),
        page.newly_failed(),
        page.repaired(),
        page.failures(),
        page.waiting(),
        page.not_reproducible(),
        page.leftovers(),
        page.shared_paths(),
        page.remarks(),
        page.machines(),
        page.patches(),
        page.taken_libraries(),
    ];
    let parts = parts.into_iter().flatten().chain([page.packages()]).collect();
    let title = format!("{}: run {}", input.title, report.run);
    html_of_tables(&TablePage { title, facts: page.facts(), skip: "Skip to the tables", parts })
}

struct RunPage<'a> {
    report: &'a RunReport,
    input: &'a ReportTextInput<'a>,
    has_logs_beside: bool,
}

fn row(kind: &'static str, cells: Vec<PageCell>) -> PageRow {
    PageRow { kind: kind.into(), cells }
}

fn count(number: u64) -> PageCell {
    PageCell::of_number(Some(number), |number| number.to_string())
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn plain(heading: &str, columns: &[&'static str], rows: Vec<PageRow>) -> Option<PagePart> {
    if rows.is_empty() {
        return None;
    }
    let (heading, columns) = (heading.to_owned(), columns.iter().copied().map(Into::into).collect());
    let table = PageTable { caption: heading.clone(), columns, kinds: Vec::new(), rows };
    Some(PagePart { heading, table: Some(table), ..PagePart::default() })
}

impl RunPage<'_> {
    fn facts(&self) -> Vec<(String, String)> {
        let report = self.report;
        let mut facts = vec![
            ("Base", self.input.base.to_owned()),
            ("Begin", report.began.clone()),
            ("End", report.ended.clone()),
            ("Run", report.run_words()),
            ("Set", report.set_words()),
        ];
        if let Some(platform) = &report.platform {
            let known = [("OS", &platform.os), ("Compiler", &platform.compiler)];
            facts.extend(known.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        }
        facts.extend(report.upload.as_ref().map(|upload| ("Upload", upload.words())));
        if let Some(set) = &report.set {
            if !set.kept.is_empty() {
                facts.push(("Kept from the previous set", set.kept.join(" ")));
            }
            facts.extend(set.left_out.iter().map(|left_out| ("Not in the set", left_out.words())));
            let unmet = set.unmet.iter().map(|unmet| format!("{} needs {}", unmet.package, unmet.library));
            facts.extend(unmet.map(|unmet| ("Unmet", unmet)));
        }
        facts.push(("Total", report.counts.values().sum::<u64>().to_string()));
        facts.extend(report.counts.iter().map(|(state, count)| (state_heading(*state), count.to_string())));
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn most_harmful(&self) -> Option<PagePart> {
        let rows = self.report.most_harmful(MOST_HARMFUL).into_iter().map(|package| {
            let maintainer = package.maintainer.clone().unwrap_or_default();
            let cells = vec![
                PageCell::of(&package.location),
                count(package.breaks),
                count(package.breaks_alone),
                PageCell::of(maintainer),
            ];
            row("", cells)
        });
        let columns = ["Location", "Packages that need it", "Waiting for nothing else", "Maintainer"];
        plain("Most harmful failures", &columns, rows.collect())
    }

    fn newly_failed(&self) -> Option<PagePart> {
        let failed = self.input.difference.iter().flat_map(|difference| &difference.failed);
        let rows = failed.map(|name| {
            let package = self.report.packages.iter().find(|package| package.package == *name);
            let suspects = package.map(|package| package.suspects.join(", ")).unwrap_or_default();
            row("", vec![PageCell::of(name), PageCell::of(suspects)])
        });
        plain("Newly failed", &["Package", "Changed since the last success"], rows.collect())
    }

    fn repaired(&self) -> Option<PagePart> {
        let repaired = self.input.difference.iter().flat_map(|difference| &difference.repaired);
        plain("Repaired", &["Package"], repaired.map(|name| row("", vec![PageCell::of(name)])).collect())
    }

    fn failures(&self) -> Option<PagePart> {
        let failed = |package: &&ReportedPackage| {
            matches!(package.state, BuildState::Failed | BuildState::Prefailed | BuildState::Deferred)
        };
        let stories: Vec<PageStory> =
            self.report.packages.iter().filter(failed).map(|package| self.story(package)).collect();
        let part = PagePart { heading: "Failures".to_owned(), stories, ..PagePart::default() };
        (!part.stories.is_empty()).then_some(part)
    }

    fn story(&self, package: &ReportedPackage) -> PageStory {
        let facts = [
            ("Cause", package.cause.map(|cause| cause.word().to_owned())),
            ("Phase", package.phase.clone()),
            ("Reason", package.detail.clone()),
            ("Run", package.run.map(|run| run.to_string())),
            ("Maintainer", package.maintainer.clone()),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let lines = self.input.log_ends.get(package.package.as_str()).cloned().unwrap_or_default();
        PageStory {
            heading: format!("{}: {}", package.package, package.state),
            facts: facts.collect(),
            link: self.log(package).map(|link| (link, "Log".to_owned())),
            lines,
        }
    }

    fn waiting(&self) -> Option<PagePart> {
        let mut waiting: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in &self.report.packages {
            for cause in &package.because {
                waiting.entry(cause).or_default().push(&package.package);
            }
        }
        let rows = waiting.into_iter().map(|(cause, packages)| {
            let named = packages.iter().take(NAMED_WAITING).copied().collect::<Vec<_>>().join(" ");
            let more = packages.len().saturating_sub(NAMED_WAITING);
            let named = if more > 0 { format!("{named} and {more} more") } else { named };
            row("", vec![PageCell::of(cause), count(packages.len() as u64), PageCell::of(named)])
        });
        plain("Packages that others wait for", &["Package", "Number", "Waiting for it"], rows.collect())
    }

    fn not_reproducible(&self) -> Option<PagePart> {
        let rows = self.report.not_reproducible.iter().map(|package| row("", vec![PageCell::of(package)]));
        plain("Not reproducible", &["Package, and the first file that differs"], rows.collect())
    }

    fn leftovers(&self) -> Option<PagePart> {
        let rows = self
            .report
            .leftovers
            .iter()
            .map(|left| row("", vec![PageCell::of(&left.package), PageCell::of(left.paths.join(" "))]));
        plain("Leftovers of packages that were removed", &["Package", "Paths"], rows.collect())
    }

    fn shared_paths(&self) -> Option<PagePart> {
        let rows = self.report.shared_paths.iter().map(|shared| {
            let cells = [shared.path.clone(), shared.more.to_string(), shared.packages.join(" ")];
            row("", cells.into_iter().map(PageCell::of).collect())
        });
        let columns = ["Path", "And more", "Packages (the last one is not in the set)"];
        plain("Paths of several packages", &columns, rows.collect())
    }

    fn remarks(&self) -> Option<PagePart> {
        let rows = self.report.remarks.iter().map(|remarks| {
            row("", vec![PageCell::of(&remarks.package), PageCell::of(remarks.remarks.join("; "))])
        });
        plain("Remarks about packages", &["Package", "Remarks"], rows.collect())
    }

    fn machines(&self) -> Option<PagePart> {
        let troubled = self.report.machines.iter();
        let troubled = troubled.filter(|machine| machine.trouble > 0 || machine.left_out.is_some());
        let rows = troubled.map(|machine| {
            let left_out = machine.left_out.clone().unwrap_or_default();
            row("", vec![PageCell::of(&machine.slot), count(machine.trouble), PageCell::of(left_out)])
        });
        plain("Machine trouble", &["Slot", "Times", "Left out"], rows.collect())
    }

    fn patches(&self) -> Option<PagePart> {
        let sources = self.report.patches.iter().flat_map(|patches| &patches.sources);
        let listed = sources.filter(|source| matches!(source.state.as_str(), "built" | "failed"));
        let rows = listed.map(|source| {
            let id = source.id.clone().unwrap_or_default();
            let cells = [id, source.source.clone(), source.state.clone(), source.reason.clone()];
            row("", cells.into_iter().map(PageCell::of).collect())
        });
        plain("Patches", &["Patch", "Source", "State", "Reason"], rows.collect())
    }

    fn taken_libraries(&self) -> Option<PagePart> {
        let taken = self.report.patches.iter().flat_map(|patches| &patches.takes_away);
        let rows = taken.map(|taken| {
            let cells = [taken.id.clone(), taken.library.clone(), taken.packages.join(" ")];
            row("", cells.into_iter().map(PageCell::of).collect())
        });
        let columns = ["Patch", "Library", "Packages that need it"];
        plain("Libraries that patches remove", &columns, rows.collect())
    }

    fn packages(&self) -> PagePart {
        let rows = self.report.packages.iter().map(|package| self.package_row(package)).collect();
        let there = BuildState::ALL.into_iter().filter(|state| self.report.count(*state) > 0);
        let table = PageTable {
            caption: format!("{} packages", self.report.packages.len()),
            columns: COLUMNS.map(Into::into).to_vec(),
            kinds: there.map(|state| (state.word(), state.word())).collect(),
            rows,
        };
        let heading = "All packages".to_owned();
        PagePart { heading, table: Some(table), ..PagePart::default() }
    }

    fn package_row(&self, package: &ReportedPackage) -> PageRow {
        let log = self.log(package);
        let words = if package.log.is_some() { "log" } else { "" };
        let cells = vec![
            PageCell::of(&package.package),
            PageCell { class: colour(package.state), ..PageCell::of(package.state.word()) },
            PageCell::of(reason(package)),
            count(package.breaks),
            PageCell::of_number(package.ms, seconds),
            PageCell::of_number(package.peak_memory.filter(|bytes| *bytes > 0), human),
            PageCell::of(package.slot.clone().unwrap_or_default()),
            PageCell { link: log, ..PageCell::of(words) },
        ];
        row(package.state.word(), cells)
    }

    fn log(&self, package: &ReportedPackage) -> Option<String> {
        let log = encoded(package.log.as_deref()?);
        if self.has_logs_beside {
            // Starts with the directory of logs, so that it is never taken for an absolute address.
            return Some(format!("./{log}"));
        }
        let url = self.input.url?;
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        is_web.then(|| format!("{}/{log}", url.trim_end_matches('/')))
    }
}

fn colour(state: BuildState) -> &'static str {
    match state {
        BuildState::Done | BuildState::UpToDate => "fine",
        BuildState::Failed => "warning",
        BuildState::Prefailed | BuildState::Deferred => "missing",
        _ => "quiet",
    }
}

fn reason(package: &ReportedPackage) -> String {
    let cause = package.cause.map(|cause| cause.word().to_owned());
    let phase = package.phase.as_ref().map(|phase| format!("in phase {phase}"));
    let more = match package.more_causes {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let because = (!package.because.is_empty()).then(|| format!("needs {}{more}", package.because.join(" ")));
    let parts = [cause, phase, package.detail.clone(), because];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Percent-encodes a path for a link.
fn encoded(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/+".contains(&byte);
    path.bytes().fold(String::with_capacity(path.len()), |mut out, byte| {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
