//! The process of a trial, in its sandbox.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use patchadm_rootfs::{Dir, Root};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places::OWN_LOG;

use super::comparison::{compare_with_packages, first_change};
use super::error::TrialServeError;
use super::order::{FILE, RESULT, TrialOrder, TrialResult};
use super::records::RecordState;
use super::tree::{TreeState, changed_files};
use crate::first_names::first_names;
use crate::sandbox::OWN_PROGRAM;
use crate::work::PROGRAM;

/// Where the packages are, and where the result goes.
const PACKAGES: &str = "/packages";
const OUT: &str = "/out";

/// The largest order, in bytes.
const LARGEST_ORDER: u64 = 64 << 20;

/// The largest log that the verbs have kept, and the end of it that is told, in bytes.
const LARGEST_OWN_LOG: u64 = 256 << 20;
const NOTED: usize = 64 << 10;

/// Carries out the trial that is ordered, and writes down what came out.
pub fn serve_trial() -> Result<(), TrialServeError> {
    let packages = Dir::of_host(Path::new(PACKAGES))?;
    let order = packages.read_regular(FILE.as_bytes(), LARGEST_ORDER)?.unwrap_or_default();
    let order: TrialOrder =
        serde_json::from_slice(&order).map_err(|error| TrialServeError::Order(error.to_string()))?;
    let result = if order.patches.is_empty() {
        let root = Root::open(Path::new("/"))?;
        TrialResult { failure: None, changed: first_change(&root, Path::new(PACKAGES), &order)? }
    } else {
        TrialResult { failure: carry_out(&order)?, changed: None }
    };
    // A value of strings: serialising it cannot fail.
    let bytes = serde_json::to_vec(&result).unwrap_or_default();
    Dir::of_host(Path::new(OUT))?.replace_file(PROGRAM, RESULT.as_bytes(), &bytes, Mode::of(0o644))?;
    Ok(())
}

/// Returns why the patches do not pass, if they do not.
fn carry_out(order: &TrialOrder) -> Result<Option<String>, TrialServeError> {
    let root = Root::open(Path::new("/"))?;
    let (before, records) = (TreeState::read(&root)?, RecordState::read(&root)?);
    let files: Vec<String> = order.patches.iter().map(|patch| format!("{PACKAGES}/{}", patch.file)).collect();
    if let Err(how) = call("add", &files)? {
        tell_own_log(&root)?;
        return Ok(Some(format!("it cannot be applied: {how}")));
    }
    let differences = compare_with_packages(&root, Path::new(PACKAGES), order)?;
    if !differences.is_empty() {
        return Ok(Some(format!("the patched tree is not that of the new packages: {}", told(&differences))));
    }
    let ids: Vec<String> = order.patches.iter().map(|patch| patch.id.clone()).collect();
    if let Err(how) = call("remove", &ids)? {
        tell_own_log(&root)?;
        return Ok(Some(format!("it cannot be backed out: {how}")));
    }
    let mut differences = before.differences(&TreeState::read(&root)?);
    differences.extend(changed_files(&root, &before, order.layers)?);
    differences.extend(records.differences(&RecordState::read(&root)?));
    if !differences.is_empty() {
        return Ok(Some(format!("its backout does not restore the tree: {}", told(&differences))));
    }
    Ok(None)
}

/// Calls a verb of this program with operands; returns how it failed.
fn call(verb: &str, operands: &[String]) -> io::Result<Result<(), String>> {
    tell(format_args!("patchadm {verb} {}", operands.join(" ")));
    let ended = Command::new(OWN_PROGRAM).arg(verb).args(operands).stdin(Stdio::null()).status()?;
    Ok(if ended.success() {
        Ok(())
    } else {
        Err(format!("{verb}: {}", ended.to_string().replace("status: ", "")))
    })
}

/// Adds a line to the log.
fn tell(line: fmt::Arguments<'_>) {
    use io::Write as _;
    // If nobody reads the log, the trial goes on.
    let _ = writeln!(io::stdout(), "==> {line}");
}

/// Adds the end of what the verbs have noted, such as the output of scripts, to the log.
fn tell_own_log(root: &Root) -> Result<(), TrialServeError> {
    let path = ObjectPath::new(OWN_LOG.as_bytes())?;
    let log = root.read(&path, LARGEST_OWN_LOG)?.unwrap_or_default();
    let end = log.get(log.len().saturating_sub(NOTED)..).unwrap_or_default();
    tell(format_args!("{OWN_LOG} ends with:\n{}", String::from_utf8_lossy(end).trim_end()));
    Ok(())
}

/// Returns the first differences; the log gets all of them.
fn told(differences: &[String]) -> String {
    for difference in differences {
        tell(format_args!("{difference}"));
    }
    first_names(differences)
}
