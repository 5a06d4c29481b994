//! The fixes of one host, package by package, for documents of vulnerability scanners; also the maker and ids of such
//! documents.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use patchadm_inputs::sign::sha256;
use patchadm_svr4::package::control::visible_json;
use serde::Serialize;

use super::inventory::{FleetPatchStanding, HostInventory, InventoryPackage, InventoryPatch, OvertakenFix};

#[derive(Clone, Debug)]
pub struct DocumentMaker {
    /// The person or organisation that answers for the document.
    pub author: String,
    pub version: String,
    pub now: DateTime<Utc>,
}

/// The inventory would make a document that is many times as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its patches, packages and fixes make a document that is too large")]
pub struct DocumentTooLarge;

/// Limits the statements of a document, in bytes: patches, packages and fixes multiply, so a small inventory could make
/// an endless document.
#[derive(Debug)]
pub(super) struct StatementRoom(usize);

impl Default for StatementRoom {
    fn default() -> Self {
        Self(128 << 20)
    }
}

impl StatementRoom {
    /// For the words around the values of a statement.
    pub(super) const FRAME: usize = 512;

    pub(super) fn take(&mut self, bytes: usize) -> Result<(), DocumentTooLarge> {
        self.0 = self.0.checked_sub(bytes).ok_or(DocumentTooLarge)?;
        Ok(())
    }
}

pub(super) fn moment(moment: &DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Derived from the content of a document that has no URN yet.
pub(super) fn urn_of(document: &impl Serialize) -> String {
    // Strings and numbers: serialising these cannot fail.
    let content = serde_json::to_vec(document).unwrap_or_default();
    format!("urn:uuid:{}", uuid_of(&content))
}

pub(super) fn text_of(document: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    visible_json(&text).into_owned() + "\n"
}

/// Returns a version 8 UUID (RFC 9562): equal documents get equal ids.
fn uuid_of(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(36);
    for (at, byte) in sha256(bytes).iter().take(16).enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(at, 4 | 6 | 8 | 10) {
            digits.push('-');
        }
        // Writing into a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

// A fix is present while its patch is in force, or dpkg or rpm has a version that contains it; it is gone if the patch
// was lost to them. The key is the URL by which scanners know a package: if two installed packages have one URL, both
// must have the fix.

const LONGEST_URL: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FixStatus {
    Fixed,
    /// It was present, and is lost.
    Lost,
    /// Lost, and the loss was accepted.
    Accepted,
    /// Nothing certain.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownFix<'a> {
    pub(super) fix: &'a str,
    pub(super) url: &'a str,
    pub(super) packages: Vec<&'a str>,
    pub(super) status: FixStatus,
    /// Sentences without a full stop.
    pub(super) reasons: Vec<Rc<str>>,
}

type PatchMeaning = (FixStatus, Rc<str>);

/// In memory, of a patch for one fix of one package.
const MEANING: usize = 192;

/// The statements of patches about each fix of a package.
type ToldFixes<'a> = BTreeMap<(&'a str, &'a str), Vec<PatchMeaning>>;

pub(super) fn known_fixes<'a>(
    inventory: &'a HostInventory,
    room: &mut StatementRoom,
) -> Result<Vec<KnownFix<'a>>, DocumentTooLarge> {
    let packages = inventory.packages.iter().flatten().map(AsRef::as_ref);
    let urls: HashMap<&str, &str> =
        packages.filter_map(|package| Some((package.package.as_str(), url_of(package)?))).collect();
    let mut by_url: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (instance, url) in &urls {
        by_url.entry(url).or_default().insert(instance);
    }
    let told = told(inventory, &urls, room)?;
    let mut fixes: BTreeSet<(&str, &str)> = BTreeSet::new();
    fixes.extend(told.keys().filter_map(|(fix, instance)| Some((*fix, *urls.get(instance)?))));
    let mut known = Vec::new();
    for (fix, url) in fixes {
        // Some documents have the URL twice.
        room.take(StatementRoom::FRAME + fix.len() + 2 * url.len())?;
        let packages = by_url.get(url);
        for instance in packages.into_iter().flatten() {
            room.take(MEANING + instance.len())?;
        }
        let packages: Vec<&str> = packages.into_iter().flatten().copied().collect();
        let of_each = packages.iter().map(|instance| told.get(&(fix, *instance)).map(Vec::as_slice));
        let (status, reasons) = joined(of_each.map(|told| in_one_package(told.unwrap_or_default())));
        for reason in &reasons {
            room.take(reason.len())?;
        }
        known.push(KnownFix { fix, url, packages, status, reasons });
    }
    Ok(known)
}

pub(super) fn url_of(package: &InventoryPackage) -> Option<&str> {
    let url = package.purl.as_deref()?;
    let is_url = url.starts_with("pkg:")
        && url.len() <= LONGEST_URL
        && url.bytes().all(|byte| byte.is_ascii_graphic());
    is_url.then_some(url)
}

/// Only about packages with a URL.
fn told<'a>(
    inventory: &'a HostInventory,
    urls: &HashMap<&str, &str>,
    room: &mut StatementRoom,
) -> Result<ToldFixes<'a>, DocumentTooLarge> {
    let mut told = ToldFixes::new();
    let meanings = meanings(inventory, room)?;
    for (patch, meaning) in inventory.patches.iter().zip(meanings) {
        let Some(meaning) = meaning else { continue };
        let packages = patch.about.packages.iter().map(String::as_str);
        let packages: Vec<&str> = packages.filter(|package| urls.contains_key(package)).collect();
        if packages.is_empty() {
            continue;
        }
        for fix in &patch.about.fixes {
            for package in &packages {
                room.take(MEANING)?;
                told.entry((fix, package)).or_default().push(meaning.clone());
            }
        }
    }
    let listed: HashSet<&str> = inventory.patches.iter().map(|patch| patch.about.id.as_str()).collect();
    let mut by_native: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for package in inventory.packages.iter().flatten().filter(|one| urls.contains_key(one.package.as_str())) {
        if let (Some(manager), Some(native)) = (&package.manager, &package.native) {
            by_native.entry((manager, &native.name)).or_default().push(&package.package);
        }
    }
    let ended = [
        (FixStatus::Lost, &inventory.lost),
        (FixStatus::Accepted, &inventory.accepted),
        (FixStatus::Fixed, &inventory.contained),
    ];
    let ended = ended.into_iter().flat_map(|(status, list)| list.iter().map(move |ended| (status, ended)));
    for (status, ended) in ended.filter(|(_, ended)| !listed.contains(ended.id.as_str())) {
        let Some(packages) = by_native.get(&(ended.manager.as_str(), ended.name.as_str())) else { continue };
        let reason: Rc<str> = of_ended(status, ended).into();
        room.take(reason.len())?;
        for fix in &ended.fixes {
            for package in packages {
                room.take(MEANING)?;
                told.entry((fix, package)).or_default().push((status, reason.clone()));
            }
        }
    }
    Ok(told)
}

fn of_ended(status: FixStatus, ended: &OvertakenFix) -> String {
    let OvertakenFix { id, manager, name, version, is_partial, .. } = ended;
    match status {
        FixStatus::Lost if *is_partial => {
            format!("the fix of patch {id} was lost in part to {name} {version} ({manager})")
        }
        FixStatus::Fixed => format!("the fix of patch {id} is contained in {name} {version} ({manager})"),
        FixStatus::Accepted => {
            format!("the fix of patch {id} was lost to {name} {version} ({manager}), which was accepted")
        }
        _ => format!("the fix of patch {id} was lost to {name} {version} ({manager})"),
    }
}

/// Of each patch. A superseded or obsoleted one has its fixes only while the one that replaced it is there.
fn meanings(
    inventory: &HostInventory,
    room: &mut StatementRoom,
) -> Result<Vec<Option<PatchMeaning>>, DocumentTooLarge> {
    let (lost, accepted) = (by_id(&inventory.lost), by_id(&inventory.accepted));
    let mut own: Vec<Option<PatchMeaning>> = Vec::with_capacity(inventory.patches.len());
    for patch in &inventory.patches {
        let meaning = of_patch(patch, &lost, &accepted);
        room.take(meaning.as_ref().map_or(0, |(_, reason)| reason.len()))?;
        own.push(meaning.map(|(status, reason)| (status, reason.into())));
    }
    let or_later = |(found, last): (&Option<PatchMeaning>, usize)| {
        let found = found.as_ref()?;
        let later = own.get(last).and_then(Option::as_ref);
        let is_gone = |later: &&PatchMeaning| found.0 == FixStatus::Fixed && later.0 != FixStatus::Fixed;
        Some(later.filter(is_gone).unwrap_or(found).clone())
    };
    Ok(own.iter().zip(last_of_each(&inventory.patches)).map(or_later).collect())
}

fn by_id(list: &[OvertakenFix]) -> HashMap<&str, &OvertakenFix> {
    let mut found = HashMap::new();
    for ended in list {
        found.entry(ended.id.as_str()).or_insert(ended);
    }
    found
}

/// Returns for each patch the index of the one that replaced it last, or its own. The number of patches ends a circle.
pub(super) fn last_of_each(patches: &[InventoryPatch]) -> Vec<usize> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (at, patch) in patches.iter().enumerate() {
        first.entry(patch.about.id.as_str()).or_insert(at);
    }
    let by = |patch: &InventoryPatch| first.get(patch.by.as_deref()?).copied();
    let mut far: Vec<usize> = patches.iter().enumerate().map(|(at, patch)| by(patch).unwrap_or(at)).collect();
    let behind = |far: &[usize], at: usize| far.get(at).copied().unwrap_or(at);
    let mut last: Vec<usize> = (0..patches.len()).collect();
    // Steps double: a chain may have as many links as there are patches.
    let mut steps = patches.len();
    while steps > 0 {
        if steps % 2 == 1 {
            last = last.iter().map(|at| behind(&far, *at)).collect();
        }
        far = far.iter().map(|at| behind(&far, *at)).collect();
        steps /= 2;
    }
    last
}

fn of_patch(
    patch: &InventoryPatch,
    lost: &HashMap<&str, &OvertakenFix>,
    accepted: &HashMap<&str, &OvertakenFix>,
) -> Option<(FixStatus, String)> {
    let id = &patch.about.id;
    let to = |list: &HashMap<&str, &OvertakenFix>, status| {
        let ended = list.get(id.as_str())?;
        Some((status, of_ended(status, ended)))
    };
    let lost = || {
        to(lost, FixStatus::Lost)
            .or_else(|| to(accepted, FixStatus::Accepted))
            .unwrap_or_else(|| (FixStatus::Lost, format!("the fix of patch {id} was lost")))
    };
    match patch.standing {
        FleetPatchStanding::Effective | FleetPatchStanding::Superseded | FleetPatchStanding::Obsoleted
            if patch.is_partly_lost =>
        {
            Some(lost())
        }
        FleetPatchStanding::Effective | FleetPatchStanding::Superseded | FleetPatchStanding::Obsoleted
            if patch.is_partly_overtaken =>
        {
            let unknown =
                || (FixStatus::Unknown, format!("a part of patch {id} was overwritten by dpkg or rpm"));
            Some(to(accepted, FixStatus::Accepted).unwrap_or_else(unknown))
        }
        FleetPatchStanding::Effective | FleetPatchStanding::Superseded | FleetPatchStanding::Obsoleted
            if patch.is_uncertain =>
        {
            let reason = format!("dpkg or rpm has not finished with the package of patch {id}");
            Some((FixStatus::Unknown, reason))
        }
        FleetPatchStanding::Effective | FleetPatchStanding::Superseded | FleetPatchStanding::Obsoleted => {
            Some((FixStatus::Fixed, evidence(patch)))
        }
        FleetPatchStanding::Contained => Some((
            FixStatus::Fixed,
            format!("the fix of patch {id} is contained in the version that is installed"),
        )),
        FleetPatchStanding::Lost => Some(lost()),
        FleetPatchStanding::Interrupted => {
            Some((FixStatus::Unknown, format!("patch {id} was left half applied by another tool")))
        }
        FleetPatchStanding::Other => {
            Some((FixStatus::Unknown, format!("the state of patch {id} is unknown")))
        }
        FleetPatchStanding::Removed => None,
    }
}

fn evidence(patch: &InventoryPatch) -> String {
    let mut text = format!("fixed by patch {}", patch.about.id);
    // Writing into a string does not fail.
    if let Some(sha256) = &patch.about.sha256 {
        let _ = write!(text, " (sha256 {sha256})");
    }
    if let Some(date) = patch.date {
        let _ = write!(text, ", applied {}", date.format("%Y-%m-%dT%H:%M:%SZ"));
    }
    if let Some(signature) = &patch.signature {
        let _ = write!(text, ", signature {}", signature.state);
        if let Some(key) = &signature.key {
            let _ = write!(text, " by key {key}");
        }
    }
    text
}

/// One patch that has the fix is enough.
fn in_one_package(told: &[PatchMeaning]) -> (FixStatus, Vec<Rc<str>>) {
    let status = told.iter().map(|(status, _)| *status).min().unwrap_or(FixStatus::Unknown);
    let reasons = told.iter().filter(|(one, _)| *one == status).map(|(_, reason)| reason.clone());
    (status, reasons.collect())
}

/// Fixed if all packages with this URL are. Lost if one of them is, unless every loss was accepted.
fn joined(packages: impl Iterator<Item = (FixStatus, Vec<Rc<str>>)>) -> (FixStatus, Vec<Rc<str>>) {
    let packages: Vec<_> = packages.collect();
    let has = |wanted: FixStatus| packages.iter().any(|(status, _)| *status == wanted);
    let status = [FixStatus::Lost, FixStatus::Accepted, FixStatus::Unknown].into_iter().find(|one| has(*one));
    let status = status.unwrap_or(FixStatus::Fixed);
    let (mut reasons, mut known): (Vec<Rc<str>>, HashSet<&str>) = (Vec::new(), HashSet::new());
    let silent = packages.iter().any(|(_, reasons)| reasons.is_empty());
    for reason in packages.iter().filter(|(one, _)| *one == status).flat_map(|(_, reasons)| reasons) {
        if known.insert(reason) {
            reasons.push(reason.clone());
        }
    }
    if status == FixStatus::Unknown && silent {
        reasons.push(
            "another installed package has the same URL, and none of its patches contains the fix".into(),
        );
    }
    (status, reasons)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fleet::InventoryReader;

    #[test]
    fn a_name_follows_from_the_bytes_and_is_a_uuid_of_its_version() {
        let name = uuid_of(b"x");
        assert_eq!(name, "2d711642-b726-8044-8162-7ca9fbac32f5");
        assert_eq!(name, uuid_of(b"x"));
        assert_ne!(name, uuid_of(b"y"));
    }

    const URL: &str = "pkg:deb/debian/web@2?arch=amd64";

    fn package(instance: &str) -> Value {
        let native = json!({"name": "web", "version": "2", "arch": "amd64"});
        json!({
            "package": instance, "name": null, "version": "2", "arch": "amd64",
            "manager": "dpkg", "native": native, "purl": URL,
        })
    }

    fn patch(id: &str, state: &[&str], fixes: &[&str]) -> Value {
        json!({
            "id": id, "state": state, "date": "2026-11-20T07:00:00+01:00", "synopsis": null, "packages": ["DEBweb"],
            "undo": [], "removable": {"now": true, "reason": null}, "fixes": fixes, "sha256": "0f".repeat(32),
            "signature": {"state": "trusted", "key": "00ff", "name": null},
        })
    }

    fn ended(id: &str, outcome: &str) -> Value {
        json!({
            "id": id, "outcome": outcome, "manager": "dpkg", "name": "web", "version": "2", "fixes": ["CVE-2026-1234"],
        })
    }

    fn inventory(patches: &[Value], lists: &[(&str, Value)], packages: &[&str]) -> HostInventory {
        let packages: Vec<Value> = packages.iter().map(|instance| package(instance)).collect();
        let mut document = json!({
            "schema": "patchadm/1", "command": "list", "root": "/", "patches": patches, "packages": packages,
            "unfinished": null,
        });
        for (name, list) in lists {
            document[*name] = json!([list]);
        }
        let mut reader = InventoryReader::default();
        let mut read = reader.read(document.to_string().as_bytes(), "web1").unwrap();
        read.inventories.pop().unwrap()
    }

    fn known(patches: &[Value], lists: &[(&str, Value)], packages: &[&str]) -> Vec<(FixStatus, String)> {
        let inventory = inventory(patches, lists, packages);
        let claims = known_fixes(&inventory, &mut StatementRoom::default()).unwrap();
        assert!(claims.iter().all(|claim| (claim.fix, claim.url) == ("CVE-2026-1234", URL)), "{claims:?}");
        claims.into_iter().map(|claim| (claim.status, claim.reasons.join("; "))).collect()
    }

    fn of_states(states: &[&[&str]]) -> Vec<FixStatus> {
        let patches = states.iter().enumerate();
        let patches = patches.map(|(at, state)| patch(&format!("10{at}-01"), state, &["CVE-2026-1234"]));
        let known = known(&patches.collect::<Vec<_>>(), &[], &["DEBweb"]);
        known.into_iter().map(|(status, _)| status).collect()
    }

    #[test]
    fn a_fix_is_there_while_its_patch_is_and_nothing_is_claimed_of_what_is_not_certain() {
        for state in ["effective", "superseded", "obsoleted", "contained"] {
            assert_eq!(of_states(&[&[state]]), [FixStatus::Fixed], "{state}");
        }
        assert_eq!(of_states(&[&["effective", "restricted"]]), [FixStatus::Fixed]);
        let uncertain: [&[&str]; 4] = [
            &["effective", "partly-overtaken"],
            &["effective", "uncertain"],
            &["interrupted"],
            &["a word of the future"],
        ];
        for state in uncertain {
            assert_eq!(of_states(&[state]), [FixStatus::Unknown], "{state:?}");
        }
        assert_eq!(of_states(&[&["lost"]]), [FixStatus::Lost]);
        assert_eq!(of_states(&[&["removed"]]), []);
        assert_eq!(of_states(&[&["lost"], &["interrupted"], &["effective"]]), [FixStatus::Fixed]);
        assert_eq!(of_states(&[&["lost"], &["interrupted"]]), [FixStatus::Lost]);
    }

    #[test]
    fn the_evidence_is_the_patch_its_digest_its_date_and_the_verdict_on_its_signature() {
        let told = known(&[patch("100-01", &["effective"], &["CVE-2026-1234"])], &[], &["DEBweb"]);
        let expected = format!(
            "fixed by patch 100-01 (sha256 {}), applied 2026-11-20T06:00:00Z, signature trusted by key 00ff",
            "0f".repeat(32)
        );
        assert_eq!(told, [(FixStatus::Fixed, expected)]);
    }

    #[test]
    fn what_ended_counts_by_how_it_ended_for_the_package_that_overtook_it() {
        let contained = known(&[], &[("overtaken", ended("100-01", "contained"))], &["DEBweb"]);
        let expected = "the fix of patch 100-01 is contained in web 2 (dpkg)".to_owned();
        assert_eq!(contained, [(FixStatus::Fixed, expected)]);
        let lost = [("overtaken", ended("100-01", "lost")), ("lost", ended("100-01", "lost"))];
        let expected = "the fix of patch 100-01 was lost to web 2 (dpkg)".to_owned();
        assert_eq!(known(&[], &lost, &["DEBweb"]), [(FixStatus::Lost, expected)]);
        let accepted = ("accepted", ended("300-01", "accepted"));
        let told = known(&[], std::slice::from_ref(&accepted), &["DEBweb"]);
        let expected = "the fix of patch 300-01 was lost to web 2 (dpkg), which was accepted".to_owned();
        assert_eq!(told, [(FixStatus::Accepted, expected)]);
        let pending = patch("300-01", &["lost"], &["CVE-2026-1234"]);
        let foreseen = known(&[pending], std::slice::from_ref(&accepted), &["DEBweb"]);
        assert_eq!(foreseen[0].0, FixStatus::Accepted, "beforehand");
        let both = known(&[], &[accepted, ("lost", ended("100-01", "lost"))], &["DEBweb"]);
        assert_eq!(both[0].0, FixStatus::Lost, "one loss is not accepted");
        let again = known(&[patch("200-01", &["effective"], &["CVE-2026-1234"])], &lost, &["DEBweb"]);
        assert_eq!(again[0].0, FixStatus::Fixed);
    }

    #[test]
    fn what_was_lost_in_part_is_lost_until_that_was_accepted() {
        let partly = |state: &str| patch("100-01", &["effective", state], &["CVE-2026-1234"]);
        let lost = [("lost", ended("100-01", "partly-lost"))];
        let expected = "the fix of patch 100-01 was lost in part to web 2 (dpkg)".to_owned();
        assert_eq!(known(&[partly("partly-lost")], &lost, &["DEBweb"]), [(FixStatus::Lost, expected)]);
        let accepted = [("accepted", ended("100-01", "accepted"))];
        let told = known(&[partly("partly-overtaken")], &accepted, &["DEBweb"]);
        assert_eq!(told[0].0, FixStatus::Accepted);
    }

    #[test]
    fn a_superseded_patch_has_a_fix_only_while_the_patch_that_replaced_it_is_there() {
        let earlier = |by: &str| {
            let mut earlier = patch("100-01", &["superseded"], &["CVE-2026-1234"]);
            earlier["by"] = json!(by);
            earlier
        };
        for (state, status) in [
            (&["effective"][..], FixStatus::Fixed),
            (&["lost"][..], FixStatus::Lost),
            (&["effective", "uncertain"][..], FixStatus::Unknown),
        ] {
            let told = known(&[earlier("100-02"), patch("100-02", state, &[])], &[], &["DEBweb"]);
            assert_eq!(told.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [status], "{state:?}");
        }
        let told = known(&[earlier("100-01")], &[], &["DEBweb"]);
        assert_eq!(told[0].0, FixStatus::Fixed, "a circle ends");
    }

    #[test]
    fn all_packages_of_one_url_must_have_the_fix() {
        let patched = [patch("100-01", &["effective"], &["CVE-2026-1234"])];
        let told = known(&patched, &[], &["DEBweb", "DEBweb.2"]);
        let expected =
            "another installed package has the same URL, and none of its patches contains the fix".to_owned();
        assert_eq!(told, [(FixStatus::Unknown, expected)]);
    }

    #[test]
    fn fixes_times_packages_are_limited() {
        let names: Vec<String> = (0..2_000).map(|number| format!("DEBweb.{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let fixes: Vec<String> = (0..2_000).map(|number| format!("CVE-2026-{number:04}")).collect();
        let told = |fixes: &[String]| {
            let mut patch = patch("100-01", &["effective"], &[]);
            (patch["packages"], patch["fixes"]) = (json!(names), json!(fixes));
            let inventory = inventory(&[patch], &[], &names);
            known_fixes(&inventory, &mut StatementRoom::default()).map(|known| known.len())
        };
        assert_eq!(told(&fixes[..20]), Ok(20));
        assert_eq!(told(&fixes), Err(DocumentTooLarge));
    }

    #[test]
    fn the_end_of_a_long_chain_of_patches_is_found_at_once() {
        let patches: Vec<Value> = (0..4_000)
            .map(|number| {
                let mut patch = patch(&format!("1{number:04}-01"), &["superseded"], &["CVE-2026-1234"]);
                patch["by"] = json!(format!("1{:04}-01", number + 1));
                patch
            })
            .collect();
        let inventory = inventory(&patches, &[], &["DEBweb"]);
        assert!(last_of_each(&inventory.patches).iter().all(|last| *last == patches.len() - 1));
        let known = known_fixes(&inventory, &mut StatementRoom::default()).unwrap();
        assert_eq!(known.iter().map(|fix| fix.reasons.len()).collect::<Vec<_>>(), [patches.len()]);
    }
}
