//! The menu of the packages on a device, for commands without operands: pkgadd(1M), pkgtrans(1).

use std::fmt::Write as _;
use std::path::Path;

use patchadm_cli::surroundings::{Output, questions};
use patchadm_core::operation::queries::packages::{PackageListing, spooled_packages};
use patchadm_core::operation::queries::select::PackageSelection;

const QUESTION: &str = "\nSelect package(s) you wish to process (or 'all' to process\n\
                        all packages). (default: all) [?,??,q]: ";

/// Lets the user at a terminal choose packages; none if the user wants none.
pub(crate) fn choose(output: &mut Output, device: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let listing = spooled_packages(device, &PackageSelection::default())?;
    output.complain(text(&listing))?;
    Ok(questions::words(output, QUESTION, "all").and_then(|words| answer(words, &listing)))
}

/// Takes the choice from standard input without showing anything: a script has written it there. An empty line, or no
/// line at all, is `all`.
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

/// Numbers become the packages that they stand for.
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
