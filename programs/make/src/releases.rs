//! Releases named by options, and left-out scripts.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use patchadm_cli::reply::Stop;
use patchadm_cli::reply::failure::hinted;
use patchadm_making::release::{Release, open};
use patchadm_producing::ends::of_release;
use patchadm_rootfs::WorkMeter;

/// An unreadable release has the code of an unreadable patch. `lost` says what did not happen.
pub(super) fn read_release(
    operand: &OsStr,
    cores: usize,
    meter: &WorkMeter,
    lost: &str,
) -> Result<Release, Stop> {
    open(operand, cores, meter).map_err(|error| {
        let (exit, next) = of_release(&error);
        Stop::Refused { exit, message: hinted(&format!("{lost}: {error}"), next) }
    })
}

/// Counts scripts by name, from `PACKAGE: SCRIPT`.
pub(super) fn left_out_scripts(scripts: &[String]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for script in scripts {
        let name = script.rsplit_once(": ").map_or(script.as_str(), |(_, name)| name);
        *counts.entry(name).or_default() += 1;
    }
    let each: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    match scripts.len() {
        0 => None,
        1 => Some(format!("a script of another package format is left out: {}", scripts.concat())),
        count => Some(format!("{count} scripts of another package format are left out: {}", each.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_counted_by_their_names() {
        let said = |scripts: &[&str]| {
            left_out_scripts(&scripts.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(said(&[]), None);
        assert_eq!(
            said(&["web: postinst"]).as_deref(),
            Some("a script of another package format is left out: web: postinst")
        );
        let three = said(&["db: postinst", "web: postinst", "web: prerm"]);
        assert_eq!(
            three.as_deref(),
            Some("3 scripts of another package format are left out: 2 postinst, 1 prerm")
        );
    }
}
