//! The records of packages and objects.

use super::examination::Examination;
use super::finding::Finding;
use crate::operation::failure::Failure;
use crate::operation::mend::RegistrationRepair;
use crate::operation::record_damage::{damage_of_stages, find_damage};
use patchadm_inputs::database::{
    DatabaseError, RecordDamage, RecordRepair, RecordView, installed, read_consistently,
};
use patchadm_inputs::native::NativeManager;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::never;

/// The most damaged records that are told one by one.
const MOST_TOLD: usize = 20;

/// Damaged records, each with its repair.
pub(super) fn records(examination: &Examination<'_>) -> Vec<Finding> {
    match found(examination) {
        Ok(None) => {
            let root = examination.root.prefix().display();
            let text = format!(
                "there is no package database below {root}; another root is named with -R, a new one made by its first package"
            );
            vec![Finding::attention("records", text).with_command(pkgadd(examination))]
        }
        Ok(Some(damage)) if damage.is_empty() => vec![Finding::ok("records", "they agree with each other")],
        Ok(Some(damage)) => told(examination, &damage),
        // The journal has a finding of its own.
        Err(failure) => vec![Finding::unknown("records", failure.to_string())],
    }
}

/// Returns the damage, or `None` if there is no package database.
fn found(examination: &Examination<'_>) -> Result<Option<Vec<RecordDamage>>, Failure> {
    let root = examination.root;
    if !installed::has_database(&RecordView::live(root))? {
        return Ok(None);
    }
    read_consistently(root, |view| match find_damage(view, root.workers(), &never) {
        Err(Failure::Database(DatabaseError::Damaged(damage))) => Ok(Some(vec![*damage])),
        found => {
            let mut found = found?;
            found.extend(damage_of_stages(view)?);
            Ok(Some(found))
        }
    })
}

fn told(examination: &Examination<'_>, damage: &[RecordDamage]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        damage.iter().take(MOST_TOLD).map(|one| of_damage(examination, one)).collect();
    let more = damage.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        let finding = Finding::attention("records", format!("{more} more records are damaged"));
        findings.push(finding.with_command(examination.wording().verb("verify")));
    }
    findings
}

fn of_damage(examination: &Examination<'_>, damage: &RecordDamage) -> Finding {
    let finding = Finding::attention("records", damage.to_string());
    let pkgchk = |words: &str| examination.wording().command("pkgchk", words);
    let adopt = |words: &str| examination.wording().verb(&format!("adopt {words}"));
    match RegistrationRepair::of(damage) {
        Some(RegistrationRepair::Refresh(..)) => return finding.with_command(adopt("--refresh")),
        Some(RegistrationRepair::Adoption(_, manager)) => {
            return finding.with_command(adopt(&format!("--{manager} NAME")));
        }
        None => {}
    }
    match &damage.repair {
        RecordRepair::Package(package) => finding.with_command(pkgchk(&format!("-f {package}"))),
        RecordRepair::Contents => finding.with_command(pkgchk("-f")),
        RecordRepair::Installation(_) | RecordRepair::Owner { lost_after: Some(_), .. } => {
            finding.with_command(pkgadd(examination))
        }
        RecordRepair::Owner { package, lost_after: None } => {
            finding.with_command(pkgchk(&format!("-f {package}")))
        }
        RecordRepair::EmptyDirectory(_) => {
            finding.with_command(format!("rmdir {}", Wording::quoted(&damage.file)))
        }
        // No change stops because of it.
        RecordRepair::LostCopy { package, is_patched }
            if *is_patched || NativeManager::of_package_name(package).is_some() =>
        {
            Finding::limited("records", format!("{damage}; put it back from a backup"))
        }
        RecordRepair::Stages => finding,
        RecordRepair::LostCopy { .. } => {
            Finding::limited("records", damage.to_string()).with_command(pkgadd(examination))
        }
    }
}

fn pkgadd(examination: &Examination<'_>) -> String {
    examination.wording().command("pkgadd", "-d DEVICE PKG")
}
