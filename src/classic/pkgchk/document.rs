//! The JSON documents of pkgchk(1M).

use serde::Serialize;

use patchadm_cli::reply::ResultWord;
use patchadm_cli::reply::text::{finding, object};
use patchadm_cli::surroundings::Zone;
use patchadm_core::operation::mend::MendedRecord;
use patchadm_core::operation::object_check::device::{DeviceObject, DevicePackage};
use patchadm_core::operation::object_check::{ObjectCheckReport, ObjectFinding};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ContentsLine;

#[derive(Serialize)]
pub(super) struct CheckDocument {
    /// The word for a repair; `None` if nothing is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultWord>,
    checked: usize,
    discrepancies: Vec<CheckDiscrepancy>,
    unknown_packages: Vec<String>,
    /// Damaged records and their outcomes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<RepairedRecord>,
}

#[derive(Serialize)]
struct RepairedRecord {
    path: String,
    line: Option<u64>,
    reason: String,
    repaired: bool,
    complete: bool,
    notes: Vec<String>,
}

impl RepairedRecord {
    fn of(mended: &MendedRecord) -> Self {
        let MendedRecord { damage, is_made, is_whole, said } = mended;
        Self {
            path: damage.file.clone(),
            line: damage.line,
            reason: damage.reason.clone(),
            repaired: *is_made,
            complete: *is_whole,
            notes: said.clone(),
        }
    }
}

#[derive(Serialize)]
struct CheckDiscrepancy {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    errors: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct ListDocument {
    objects: Vec<RecordedObject>,
}

#[derive(Serialize)]
struct RecordedObject {
    path: String,
    r#type: &'static str,
    packages: Vec<String>,
}

impl CheckDocument {
    pub(super) fn of(report: &ObjectCheckReport, root: &Root, zone: Zone, fixes: bool) -> Self {
        let wrong = report.checked.iter().filter(|checked| !checked.findings.is_empty());
        let discrepancies = wrong.map(|checked| CheckDiscrepancy {
            path: root.show(&checked.path),
            package: None,
            errors: details(&checked.findings, zone),
        });
        let is_right = report.checked.iter().all(|checked| checked.findings.is_empty());
        let are_made = report.mended.iter().all(|mended| mended.is_made);
        let repaired = match (is_right && are_made, report.fixed + report.mended.len()) {
            (false, _) => ResultWord::Failed,
            (true, 0) => ResultWord::NothingToDo,
            (true, _) => ResultWord::Done,
        };
        Self {
            result: fixes.then_some(repaired),
            checked: report.checked.len(),
            discrepancies: discrepancies.collect(),
            unknown_packages: report.unknown.packages.clone(),
            records: report.mended.iter().map(RepairedRecord::of).collect(),
        }
    }

    /// Paths are as in the pkgmap.
    pub(super) fn of_device(packages: &[DevicePackage], missing: &[String], zone: Zone) -> Self {
        let objects = || packages.iter().flat_map(|one| one.objects.iter().map(move |object| (one, object)));
        let wrong = objects().filter(|(_, object)| !object.findings.is_empty());
        let discrepancies = wrong.map(|(one, object)| CheckDiscrepancy {
            path: object.path.to_string(),
            package: Some(one.package.clone()),
            errors: details(&object.findings, zone),
        });
        Self {
            result: None,
            checked: objects().count(),
            discrepancies: discrepancies.collect(),
            unknown_packages: missing.to_vec(),
            records: Vec::new(),
        }
    }
}

impl ListDocument {
    pub(super) fn of(lines: &[ContentsLine], root: &Root) -> Self {
        let objects = lines.iter().map(|line| RecordedObject {
            path: root.show(&line.path),
            r#type: object::type_name(line.object.ftype),
            packages: line.owners.iter().map(|owner| owner.package.to_string()).collect(),
        });
        Self { objects: objects.collect() }
    }

    pub(super) fn of_device(packages: &[DevicePackage]) -> Self {
        let recorded = |package: &str, object: &DeviceObject| RecordedObject {
            path: object.path.to_string(),
            r#type: object::type_name(object.object.ftype),
            packages: vec![package.to_owned()],
        };
        let objects = packages
            .iter()
            .flat_map(|one| one.objects.iter().map(move |object| recorded(&one.package, object)));
        Self { objects: objects.collect() }
    }
}

fn details(findings: &[ObjectFinding], zone: Zone) -> Vec<String> {
    findings.iter().map(|finding| finding::detail(finding, zone)).collect()
}
