use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::{Days, NaiveDate};

use crate::operation::check::{RootExamination, RootFinding};
use crate::operation::failure::Failure;
use crate::operation::keys::{KeysError, RootKeys, read_keys};
use crate::operation::mend::RegistrationRepair;
use crate::operation::native_hooks::{HookEntry, HookReport, HookState, survey_hooks};
use crate::operation::patches::overtaken::NativeOverview;
use crate::operation::record_damage::{damage_of_stages, find_damage};
use crate::operation::session::{RootAndPolicy, command_as_typed};
use crate::operation::whose_root::RootStanding;
use patchadm_changeset::format::journal::JournalError;
use patchadm_changeset::records::OpenRun;
use patchadm_changeset::transaction::{
    ForeseenRecovery, LeftoverStages, Recovered, foresee_recovery, leftover_stages, typed_command,
};
use patchadm_inputs::database::{
    DatabaseError, RecordDamage, RecordRepair, RecordView, ViewError, identity_fault, installed,
    read_consistently,
};
use patchadm_inputs::format::overtaken::OvertakenState;
use patchadm_inputs::native::{NativeManager, NativeOrigin};
use patchadm_inputs::sign::{DemandWord, KeyRole, TrustedKey};
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::{Root, Untrusted, never};
use patchadm_svr4::package::ObjectPath;

pub(super) fn lock(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let wait = format!("{} --wait DURATION", examination.wording().verb("VERB").trim_matches('`'));
    vec![match &examination.holder {
        Ok(None) => RootFinding::ok("lock", "no command is changing the root"),
        Ok(Some(holder)) => {
            RootFinding::limited("lock", format!("held by {}", holder.describe())).with_command(wait)
        }
        Err(error) if error.is_refused_access() => RootFinding::unknown("lock", error.to_string()),
        Err(error) => RootFinding::attention("lock", error.to_string()),
    }]
}

pub(super) fn rights(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let failure = match &examination.changes {
        Ok(RootStanding::Caller(_)) => return vec![RootFinding::ok("rights", "you may change the root")],
        Ok(RootStanding::Owner(_)) => {
            return vec![RootFinding::ok(
                "rights",
                "the root is changed as its owner, by the policy of this host",
            )];
        }
        Err(failure) => failure,
    };
    let finding = RootFinding::limited("rights", format!("read-only access: {failure}"));
    vec![match failure.untrusted() {
        Some(_) => finding.with_command(examination.wording().verb("VERB --as-owner")),
        None => finding,
    }]
}

pub(super) fn policy(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    vec![match &examination.policy {
        Ok(_) => match RootAndPolicy::of(examination.root).ok().and_then(|known| known.ignored_depot) {
            Some(ignored) => RootFinding::limited("policy", ignored.to_string()),
            None => RootFinding::ok("policy", "all settings are valid"),
        },
        Err(reason) => RootFinding::attention(
            "policy",
            format!("commands refuse to change the root until it is fixed: {reason}"),
        ),
    }]
}

pub(super) fn unfinished(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    const WHAT: &str = "unfinished";
    vec![match &examination.run {
        Ok(None) => match leftover_runs(examination) {
            LeftoverStages { runs, .. } if runs.is_empty() => RootFinding::ok(WHAT, "no unfinished run"),
            LeftoverStages { runs, has_last_run, .. } => {
                let unchanged = if has_last_run { "" } else { "; the root is unchanged" };
                let text = format!("leftovers of {} use disk space{unchanged}", runs.join(", "));
                RootFinding::limited(WHAT, text).with_command(examination.wording().verb("recover"))
            }
        },
        Ok(Some(run)) => of_run(examination, run),
        Err(ViewError::Journal { reason: JournalError::Version(_), .. }) => {
            RootFinding::unknown(WHAT, "only the version of patchadm that wrote the journal can read it")
        }
        Err(error @ ViewError::Journal { reason: JournalError::Earlier(_), .. }) => {
            RootFinding::attention(WHAT, without_advice(error))
                .with_command(examination.wording().verb("recover --keep-stage DIR"))
        }
        Err(error @ ViewError::Journal { .. }) => RootFinding::attention(WHAT, without_advice(error))
            .with_command(examination.wording().verb("recover --discard-journal")),
        Err(error) if error.is_refused_access() || matches!(error, ViewError::Busy(_)) => {
            RootFinding::unknown(WHAT, error.to_string())
        }
        Err(error) => RootFinding::attention(WHAT, error.to_string())
            .with_command(examination.wording().verb("recover")),
    }]
}

/// Returns what ended runs left, unless a command is at work.
fn leftover_runs(examination: &RootExamination<'_>) -> LeftoverStages {
    if !matches!(examination.holder, Ok(None)) {
        return LeftoverStages::default();
    }
    leftover_stages(examination.root).unwrap_or_default()
}

/// The advice is the finding's command.
fn without_advice(error: &ViewError) -> String {
    match error {
        ViewError::Journal { path, reason } => format!("the journal {path} cannot be read: {reason}"),
        error => error.to_string(),
    }
}

fn of_run(examination: &RootExamination<'_>, run: &OpenRun) -> RootFinding {
    let name = &run.name;
    // Everybody may read the name that the planner gave the run, and only the owner what was typed.
    let typed = may_read(examination).ok().and_then(|root| typed_command(root, name));
    let command = command_as_typed(typed.as_deref()).unwrap_or_else(|| run.command.clone());
    match &examination.holder {
        Ok(Some(holder)) => {
            let text = format!("run {name} ({command}) is in progress, by {}", holder.describe());
            return RootFinding::limited("unfinished", text);
        }
        Err(error) => {
            let text = format!(
                "run {name} ({command}) is in progress or was interrupted; the lock cannot be read: {error}"
            );
            return RootFinding::attention("unfinished", text);
        }
        Ok(None) => {}
    }
    let next = match foreseen(examination) {
        Ok(Some(Recovered::Foreseen { is_rolled_back: true, .. })) => ": recovery rolls it back".to_owned(),
        Ok(Some(Recovered::Foreseen { .. })) => " after its commit: recovery cleans up".to_owned(),
        Ok(_) => String::new(),
        Err(untrusted) => {
            let reason = untrusted.to_string();
            format!("; the outcome of its recovery cannot be predicted: {}", reason.trim_end_matches('.'))
        }
    };
    RootFinding::attention("unfinished", format!("run {name} ({command}) was interrupted{next}"))
        .with_command(examination.wording().verb("recover"))
}

/// Refuses a root whose files somebody else may have made of any size.
fn may_read<'e>(examination: &'e RootExamination<'_>) -> Result<&'e Root, &'e Untrusted> {
    match &examination.changes {
        Ok(RootStanding::Caller(root) | RootStanding::Owner(root)) => Ok(root),
        Err(failure) => failure.untrusted().map_or(Ok(examination.root), Err),
    }
}

/// `None` if only a recovery can tell.
fn foreseen(examination: &RootExamination<'_>) -> Result<Option<Recovered>, Box<Untrusted>> {
    let root = may_read(examination).map_err(|untrusted| Box::new(untrusted.clone()))?;
    match foresee_recovery(root, None) {
        Ok(ForeseenRecovery::Root(foreseen)) => Ok(Some(foreseen.1)),
        Ok(ForeseenRecovery::Foreign(untrusted)) => Err(untrusted),
        // It was recovered, or only a recovery can tell.
        _ => Ok(None),
    }
}

/// The marker connects archives and journal with this root.
pub(super) fn identity(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    vec![match identity_fault(examination.root) {
        Ok(None) => RootFinding::ok("identity", "journal and root-id match"),
        Ok(Some(fault)) => RootFinding::attention("identity", fault.to_string())
            .with_command(examination.wording().verb("recover --new-identity")),
        Err(ViewError::Journal { .. }) => RootFinding::unknown("identity", "the journal cannot be read"),
        Err(error) => RootFinding::unknown("identity", error.to_string()),
    }]
}

/// Only the journal tells its version; other records of a later version look like damage.
pub(super) fn program(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    vec![match &examination.run {
        Err(ViewError::Journal { path, reason: reason @ JournalError::Version(_) }) => {
            RootFinding::attention(
                "program",
                format!(
                    "a later version of patchadm has changed this root; use that version: {path}: {reason}"
                ),
            )
        }
        Err(ViewError::Journal { .. }) => RootFinding::unknown("program", "the journal cannot be read"),
        Err(error) => RootFinding::unknown("program", error.to_string()),
        Ok(_) => RootFinding::ok("program", "no later version of patchadm has changed this root"),
    }]
}

const MOST_TOLD: usize = 20;

pub(super) fn records(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let known = examination.request.damage;
    match known.map_or_else(|| found(examination), |damage| Ok(Some(damage.to_vec()))) {
        Ok(None) => {
            let root = examination.root.prefix().display();
            let registration = examination.wording().registration();
            let text = format!(
                "there is no package database below {root}; specify another root with -R, or {registration}"
            );
            vec![RootFinding::attention("records", text)]
        }
        Ok(Some(damage)) if damage.is_empty() => {
            vec![RootFinding::ok("records", "all records are consistent")]
        }
        Ok(Some(damage)) => of_all(examination, &damage),
        // The journal has its own finding.
        Err(failure) => vec![RootFinding::unknown("records", failure.to_string())],
    }
}

/// `None` without a package database.
fn found(examination: &RootExamination<'_>) -> Result<Option<Vec<RecordDamage>>, Failure> {
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

fn of_all(examination: &RootExamination<'_>, damage: &[RecordDamage]) -> Vec<RootFinding> {
    let mut findings: Vec<RootFinding> =
        damage.iter().take(MOST_TOLD).map(|one| of_damage(examination, one)).collect();
    let more = damage.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        let records = if more == 1 { "record is" } else { "records are" };
        let finding = RootFinding::attention("records", format!("{more} more {records} damaged"));
        findings.push(finding.with_command(examination.wording().verb("check --json")));
    }
    findings
}

fn of_damage(examination: &RootExamination<'_>, damage: &RecordDamage) -> RootFinding {
    let finding = RootFinding::attention("records", damage.to_string());
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
            RootFinding::limited("records", format!("{damage}; restore it from a backup"))
        }
        RecordRepair::Stages => finding,
        RecordRepair::LostCopy { .. } => {
            RootFinding::limited("records", damage.to_string()).with_command(pkgadd(examination))
        }
    }
}

fn pkgadd(examination: &RootExamination<'_>) -> String {
    examination.wording().command("pkgadd", "-d DEVICE PKG")
}

pub(super) fn registrations(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let overview = match NativeOverview::of(examination.root, &examination.now(), true) {
        Ok(overview) => overview,
        Err(failure) => return vec![RootFinding::unknown("native", failure.to_string())],
    };
    let refresh = || examination.wording().verb("adopt --refresh");
    let stale = overview.changes.iter().map(|(package, change)| {
        let finding = RootFinding::attention("native", format!("package {package}: {change}"));
        if change.is_settled() { finding.with_command(refresh()) } else { finding }
    });
    let lost = overview.lost().map(|one| {
        let wording = examination.wording();
        let accept = wording.verb(&format!("adopt --refresh --accept {}", one.patch));
        let first = match one.state {
            OvertakenState::PartlyLost => format!("{} removes the rest of it", wording.removal(&one.patch)),
            _ => format!("{} applies a patch for {} {}", wording.verb("add PATCH"), one.package, one.version),
        };
        // The command accepts the loss.
        let text = format!("{}: {}; {first}, or accept the loss", one.patch, one.told());
        RootFinding::attention("native", text).with_command(accept)
    });
    let findings: Vec<RootFinding> = stale.chain(lost).collect();
    if findings.is_empty() {
        return vec![RootFinding::ok("native", "all adopted packages match their package manager")];
    }
    findings
}

/// Without hooks, commands still find stale registrations, but nobody is warned before an upgrade.
pub(super) fn hooks(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    const WHAT: &str = "hooks";
    let found = adopted_from(examination.root).and_then(|managers| {
        let report = if managers.is_empty() { None } else { Some(survey_hooks(examination.root)?) };
        Ok((managers, report))
    });
    match found {
        Err(failure) => vec![RootFinding::unknown(WHAT, failure.to_string())],
        Ok((_, None)) => vec![RootFinding::ok(WHAT, "no package was adopted from dpkg or rpm")],
        Ok((managers, Some(report))) => {
            let findings = lacking_hooks(examination, &managers, &report);
            if findings.is_empty() { vec![RootFinding::ok(WHAT, "they are present")] } else { findings }
        }
    }
}

fn adopted_from(root: &Root) -> Result<BTreeSet<NativeManager>, Failure> {
    let packages = RootAndPolicy::of(root)?.packages()?;
    let origins = packages.values().filter_map(|installed| NativeOrigin::of(&installed.params));
    Ok(origins.map(|origin| origin.manager).collect())
}

fn lacking_hooks(
    examination: &RootExamination<'_>,
    managers: &BTreeSet<NativeManager>,
    report: &HookReport,
) -> Vec<RootFinding> {
    let concerned = || report.hooks.iter().filter(|hook| managers.contains(&hook.manager.native()));
    let in_state = |state: HookState| -> Vec<String> {
        let wanted = concerned().filter(|hook| hook.is_wanted && hook.state == state);
        wanted.map(|hook: &HookEntry| examination.root.show(&hook.path)).collect()
    };
    let install = || examination.wording().verb("setup hooks install");
    let mut findings = Vec::new();
    let elsewhere = "of an earlier version or for a program elsewhere";
    for (state, what) in [(HookState::Missing, "missing"), (HookState::Outdated, elsewhere)] {
        let paths = in_state(state);
        if !paths.is_empty() {
            let finding = RootFinding::limited("hooks", format!("{what}: {}", paths.join(", ")));
            findings.push(finding.with_command(install()));
        }
    }
    let changed = in_state(HookState::Changed);
    if !changed.is_empty() {
        let text = format!("changed by the administrator: {}", changed.join(", "));
        findings.push(RootFinding::limited("hooks", text));
    }
    if concerned().any(|hook| hook.state != HookState::Missing) && !report.has_program {
        let text = format!("they do nothing: the program {} is not in the root", report.program);
        findings.push(RootFinding::limited("hooks", text));
    }
    if managers.contains(&NativeManager::Rpm) && report.has_rpm_alone {
        let text = "rpm has no hook files; the trigger of the patchadm .rpm was not checked";
        findings.push(RootFinding::unknown("hooks", text));
    }
    findings
}

/// Days before a key's end at which it is reported.
const SOON: u64 = 30;

pub(super) fn keys(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let RootKeys { ring, place } = match read_keys(examination.root) {
        Ok(keys) => keys,
        Err(KeysError::Failed(failure)) => return vec![RootFinding::unknown("keys", failure.to_string())],
        Err(error) => return vec![RootFinding::attention("keys", error.to_string())],
    };
    let today = examination.request.now.date_naive();
    let good: Vec<&TrustedKey> =
        ring.keys.iter().filter(|trusted| ring.revoked.reason(trusted.key.id).is_none()).collect();
    let findings: Vec<RootFinding> =
        good.iter().filter_map(|key| of_key(examination, (key, &place), today)).collect();
    if !findings.is_empty() {
        return findings;
    }
    let demand = examination.policy.as_ref().ok().and_then(|policy| policy.signature);
    vec![match good.len() {
        0 if demand == Some(DemandWord::Require) => {
            RootFinding::attention("keys", "the policy requires signatures, and no keys are trusted")
                .with_command(examination.wording().verb("key trust FILE"))
        }
        0 => RootFinding::ok("keys", "no keys are trusted"),
        1 => RootFinding::ok("keys", "1 key is trusted"),
        number => RootFinding::ok("keys", format!("{number} keys are trusted")),
    }]
}

fn of_key(
    examination: &RootExamination<'_>,
    (trusted, place): (&TrustedKey, &ObjectPath),
    today: NaiveDate,
) -> Option<RootFinding> {
    let last = trusted.rules.expires?;
    let (id, name) = (trusted.key.id, &trusted.name);
    if last < today {
        let text = format!("key {id} ({name}) expired on {last}: later signatures are refused");
        return Some(RootFinding::attention("keys", text).with_command(renewal(examination, trusted, place)));
    }
    let is_soon = last <= today.checked_add_days(Days::new(SOON)).unwrap_or(today);
    let text = format!("key {id} ({name}) expires on {last}");
    is_soon.then(|| RootFinding::limited("keys", text).with_command(renewal(examination, trusted, place)))
}

/// The command repeats the other rules, because new rules replace all.
fn renewal(examination: &RootExamination<'_>, trusted: &TrustedKey, place: &ObjectPath) -> String {
    let TrustedKey { name, rules, .. } = trusted;
    let mut words = format!("key trust --name {} --expires YYYY-MM-DD", Wording::quoted(name));
    if rules.roles != KeyRole::ALL {
        let roles: Vec<&str> = rules.roles.iter().map(|role| role.word()).collect();
        let _ = write!(words, " --roles {}", roles.join(","));
    }
    if let Some(bases) = &rules.bases_text {
        let _ = write!(words, " --bases {}", Wording::quoted(bases));
    }
    let file = format!("{}/{name}.pub", examination.show(place));
    examination.wording().verb(&format!("{words} {}", Wording::quoted(&file)))
}
