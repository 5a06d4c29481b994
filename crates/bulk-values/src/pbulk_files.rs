//! Files in which pbulk reports a run: `success`, `error`, `pbuild`, `report`, `status`.

use std::fmt::Write as _;
use std::io;

use patchadm_svr4::package::control::is_hidden;

use crate::journal::BuildState;

/// A package of a run in pbulk's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PbulkPackage<'a> {
    pub pkgname: &'a str,
    pub state: BuildState,
    /// Its binary must not be distributed ([`restricted_subset`]).
    pub is_restricted: bool,
    /// Direct and indirect dependents, and itself.
    pub depth: u64,
    /// Index of its record.
    pub index: u32,
}

/// Content of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PbulkStatus<'a> {
    /// System and processor of packages, such as `Linux/x86_64`.
    pub platform: &'a str,
    /// If known.
    pub compiler: Option<&'a str>,
    /// ISO 8601.
    pub began: &'a str,
    /// ISO 8601; `None` while running.
    pub ended: Option<&'a str>,
    /// Address of the reports; empty without one.
    pub base_url: &'a str,
}

/// PKGNAMEs with a result, in byte order.
pub fn success(packages: &[PbulkPackage<'_>]) -> String {
    names(packages, BuildState::has_result)
}

/// PKGNAMEs of failed builds, in byte order.
pub fn error(packages: &[PbulkPackage<'_>]) -> String {
    names(packages, |state| state == BuildState::Failed)
}

fn names(packages: &[PbulkPackage<'_>], is_meant: impl Fn(BuildState) -> bool) -> String {
    let mut out = String::new();
    for package in sorted(packages).into_iter().filter(|package| is_meant(package.state)) {
        out.push_str(package.pkgname);
        out.push('\n');
    }
    out
}

/// `PKGNAME|STATE|restricted or empty|DEPTH` lines, in byte order.
pub fn pbuild(packages: &[PbulkPackage<'_>]) -> String {
    let mut out = String::new();
    for package in sorted(packages) {
        let restricted = if package.is_restricted { "restricted" } else { "" };
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{}|{}|{restricted}|{}",
            package.pkgname,
            package.state.pbulk_word(),
            package.depth
        );
    }
    out
}

/// Writes records in byte order of PKGNAME, with `PKG_DEPTH`, `RESTRICTED_SUBSET` and `BUILD_STATUS` at the end.
/// `record` gives the lines of a record in `presolve`, which may be large all together.
pub fn write_report(
    packages: &[PbulkPackage<'_>],
    record: &dyn Fn(u32) -> String,
    out: &mut impl io::Write,
) -> io::Result<()> {
    for package in sorted(packages) {
        let record = record(package.index);
        out.write_all(record.as_bytes())?;
        if !record.is_empty() && !record.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        let restricted = if package.is_restricted { "yes" } else { "no" };
        let state = package.state.pbulk_word();
        writeln!(out, "PKG_DEPTH={}\nRESTRICTED_SUBSET={restricted}\nBUILD_STATUS={state}", package.depth)?;
    }
    Ok(())
}

pub fn status(status: &PbulkStatus<'_>) -> String {
    let start_dir = start_directory(status.began);
    let lines = [
        ("PLATFORM", Some(status.platform)),
        ("COMPILER", status.compiler),
        ("BUILD_START_ISO", Some(status.began)),
        ("BUILD_START_DIR", Some(&*start_dir)),
        ("BASE_URL", Some(status.base_url)),
        ("BUILD_END_ISO", status.ended),
    ];
    let mut out = String::new();
    for (name, value) in lines {
        let Some(value) = value else { continue };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name}={}", value.split(is_hidden).collect::<Vec<_>>().join(" "));
    }
    out
}

/// pbulk's directory name for an ISO 8601 start time: `20261126.0800`.
fn start_directory(began: &str) -> String {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let (date, time) = began.split_once(['T', ' ']).unwrap_or((began, ""));
    format!("{}.{:.4}", digits(date), digits(time))
}

fn sorted<'a>(packages: &[PbulkPackage<'a>]) -> Vec<PbulkPackage<'a>> {
    let mut sorted = packages.to_vec();
    sorted.sort_by_key(|package| package.pkgname);
    sorted
}

/// Returns which packages are restricted, by RESTRICTED or `NO_BIN_ON_FTP` or because of a dependency. `needs` has the
/// indices of each package's dependencies; unknown ones are ignored.
pub fn restricted_subset(own: &[bool], needs: &[Vec<u32>]) -> Vec<bool> {
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); own.len()];
    for (package, needs) in needs.iter().enumerate().take(own.len()) {
        for need in needs {
            let need = usize::try_from(*need).ok().and_then(|need| needed_by.get_mut(need));
            if let Some(dependents) = need {
                dependents.push(package);
            }
        }
    }
    let mut restricted = own.to_vec();
    let mut open: Vec<usize> =
        (0..own.len()).filter(|package| restricted.get(*package) == Some(&true)).collect();
    while let Some(package) = open.pop() {
        for dependent in needed_by.get(package).into_iter().flatten() {
            if let Some(is_restricted) =
                restricted.get_mut(*dependent).filter(|is_restricted| !**is_restricted)
            {
                *is_restricted = true;
                open.push(*dependent);
            }
        }
    }
    restricted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages() -> Vec<PbulkPackage<'static>> {
        let package = |pkgname, state, depth| PbulkPackage {
            pkgname,
            state,
            is_restricted: pkgname == "b-1",
            depth,
            index: u32::from(pkgname != "a-1"),
        };
        vec![
            package("b-1", BuildState::UpToDate, 1),
            package("a-1", BuildState::Done, 12),
            package("c-1", BuildState::Failed, 3),
            package("d-1", BuildState::Deferred, 1),
            package("e-1", BuildState::IndirectPrefailed, 1),
        ]
    }

    #[test]
    fn names_and_states_are_in_byte_order_and_in_words_of_pbulk() {
        assert_eq!(success(&packages()), "a-1\nb-1\n");
        assert_eq!(error(&packages()), "c-1\n");
        let expected =
            "a-1|done||12\nb-1|done|restricted|1\nc-1|failed||3\nd-1|open||1\ne-1|indirect-prefailed||1\n";
        assert_eq!(pbuild(&packages()), expected);
    }

    #[test]
    fn a_report_is_the_records_with_three_more_lines_each() {
        let two = &packages()[..2];
        let expected = "PKGNAME=a-1\nPKG_LOCATION=x/a\nDEPENDS=\nPKG_DEPTH=12\nRESTRICTED_SUBSET=no\nBUILD_STATUS=done\n\
                        PKGNAME=b-1\nPKG_DEPTH=1\nRESTRICTED_SUBSET=yes\nBUILD_STATUS=done\n";
        let record = |index| {
            ["PKGNAME=a-1\nPKG_LOCATION=x/a\nDEPENDS=\n", "PKGNAME=b-1"].map(str::to_owned)[index as usize]
                .clone()
        };
        let mut written = Vec::new();
        write_report(two, &record, &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn the_status_has_one_line_for_each_value() {
        let began = "2026-11-26T08:00:00Z";
        let of = |ended| {
            let platform = "Linux/x86_64\nX=1\u{202e}2";
            status(&PbulkStatus {
                platform,
                compiler: None,
                began,
                ended,
                base_url: "https://example.org/bulk",
            })
        };
        let expected = "PLATFORM=Linux/x86_64 X=1 2\nBUILD_START_ISO=2026-11-26T08:00:00Z\n\
                        BUILD_START_DIR=20261126.0800\nBASE_URL=https://example.org/bulk\n";
        assert_eq!(of(None), expected);
        assert!(of(Some("2026-11-26T09:00:00Z")).ends_with("\nBUILD_END_ISO=2026-11-26T09:00:00Z\n"));
    }

    #[test]
    fn what_needs_a_restricted_package_is_restricted_and_what_it_needs_is_not() {
        // 0 needs 1, 1 needs 2; 3 needs 2 and itself; 4 needs an unknown one.
        let needs = [vec![1], vec![2], vec![], vec![2, 3], vec![99]];
        let restricted = |own: [bool; 5]| restricted_subset(&own, &needs);
        assert_eq!(restricted([false, true, false, false, false]), [true, true, false, false, false]);
        assert_eq!(restricted([false, false, true, false, false]), [true, true, true, true, false]);
        assert_eq!(restricted([false; 5]), [false; 5]);
    }

    #[test]
    fn a_chain_of_100_000_packages_is_restricted_by_its_last() {
        let needs: Vec<Vec<u32>> = (1..=100_000).map(|next| vec![next]).chain([vec![]]).collect();
        let mut own = vec![false; needs.len()];
        own[100_000] = true;
        assert!(restricted_subset(&own, &needs).iter().all(|is_restricted| *is_restricted));
    }
}
