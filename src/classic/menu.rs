//! The menu of packages on a device, for pkgadd(1M) and pkgtrans(1) without operands.

use std::fmt::Write as _;
use std::path::Path;

use patchadm_cli::surroundings::{Output, questions};
use patchadm_core::operation::queries::packages::{PackageListing, spooled_packages};
use patchadm_core::operation::queries::select::PackageSelection;

const QUESTION: &str = "\nSelect package(s) you wish to process (or 'all' to process\n\
                        all packages). (default: all) [?,??,q]: ";

pub(crate) fn choose(output: &mut Output, device: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let listing = spooled_packages(device, &PackageSelection::default())?;
    output.complain(text(&listing))?;
    Ok(questions::words(output, QUESTION, "all").and_then(|words| answer(words, &listing)))
}

/// Silently reads the choice that a script wrote to standard input. An empty or missing line is `all`.
pub(crate) fn chosen_in_advance(output: &mut Output, device: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let all = || vec!["all".to_owned()];
    let words = questions::words(output, "", "all").unwrap_or_else(all);
    if words == all() {
        return Ok(Some(words));
    }
    Ok(answer(words, &spooled_packages(device, &PackageSelection::default())?))
}

fn text(listing: &PackageListing) -> String {
    let mut text = "\nThe following packages are available:\n".to_owned();
    for (number, package) in (1..).zip(&listing.packages) {
        let param = |name| package.params.text(name);
        let _ = writeln!(text, "{number:3}  {:<14}  {}", package.instance, param("NAME"));
        let _ = writeln!(text, "{:21}({}) {}", "", param("ARCH"), param("VERSION"));
    }
    text
}

fn answer(words: Vec<String>, listing: &PackageListing) -> Option<Vec<String>> {
    if words.iter().any(|word| matches!(word.as_str(), "q" | "?" | "??")) {
        return None;
    }
    let by_number = |word: String| {
        let place = word.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let package = place.and_then(|place| listing.packages.get(place));
        package.map_or(word, |package| package.instance.clone())
    };
    Some(words.into_iter().map(by_number).collect())
}
