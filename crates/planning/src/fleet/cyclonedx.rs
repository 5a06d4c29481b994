//! The packages of a root and their patches as a bill of materials, CycloneDX 1.6. Patches in force are a component's
//! pedigree, with fixes and recorded digests; facts about signatures are properties. Lost fixes are vulnerabilities.

use std::collections::HashMap;

use serde::Serialize;

use super::inventory::{FleetPatchStanding, HostInventory, InventoryPackage, InventoryPatch};
use super::known_fixes::{
    DocumentMaker, DocumentTooLarge, FixStatus, KnownFix, StatementRoom, known_fixes, last_of_each, moment,
    text_of, url_of, urn_of,
};
use patchadm_svr4::patch::FixId;

const SCHEMA: &str = "http://cyclonedx.org/schema/bom-1.6.schema.json";

const ROOT: &str = "root";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaterialsDocument {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: BomMetadata,
    components: Vec<BomComponent>,
    dependencies: [BomDependency; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vulnerabilities: Vec<BomVulnerability>,
}

#[derive(Debug, Serialize)]
struct BomMetadata {
    timestamp: String,
    tools: BomTools,
    authors: Vec<BomAuthor>,
    component: BomComponent,
}

#[derive(Debug, Serialize)]
struct BomTools {
    components: Vec<BomComponent>,
}

#[derive(Debug, Serialize)]
struct BomAuthor {
    name: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct BomComponent {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pedigree: Option<BomPedigree>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<BomReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<BomProperty>,
}

#[derive(Debug, Serialize)]
struct BomPedigree {
    patches: Vec<BomPatch>,
    notes: String,
}

#[derive(Debug, Serialize)]
struct BomPatch {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<BomDiff>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resolves: Vec<BomIssue>,
}

#[derive(Debug, Serialize)]
struct BomDiff {
    url: String,
}

#[derive(Debug, Serialize)]
struct BomIssue {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IssueSource>,
}

#[derive(Debug, Serialize)]
struct IssueSource {
    name: &'static str,
    url: String,
}

#[derive(Debug, Serialize)]
struct BomReference {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    comment: String,
    hashes: Vec<BomHash>,
}

#[derive(Debug, Serialize)]
struct BomHash {
    alg: &'static str,
    content: String,
}

#[derive(Debug, Serialize)]
struct BomProperty {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
struct BomDependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(rename = "dependsOn")]
    depends_on: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BomVulnerability {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IssueSource>,
    analysis: BomAnalysis,
    affects: Vec<BomAffected>,
}

#[derive(Debug, Serialize)]
struct BomAnalysis {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<[&'static str; 1]>,
    detail: String,
}

#[derive(Debug, Serialize)]
struct BomAffected {
    #[serde(rename = "ref")]
    reference: String,
}

impl MaterialsDocument {
    /// Makes the document about a root; `None` if its inventory does not list packages.
    pub fn of(inventory: &HostInventory, maker: &DocumentMaker) -> Result<Option<Self>, DocumentTooLarge> {
        let Some(packages) = &inventory.packages else { return Ok(None) };
        let mut room = StatementRoom::default();
        let patches = patches_in_force(&inventory.patches);
        let mut components = Vec::with_capacity(packages.len());
        for package in packages {
            let its = patches.get(package.package.as_str()).map(Vec::as_slice).unwrap_or_default();
            its.iter().try_for_each(|patch| take_patch(&mut room, patch))?;
            components.push(BomComponent::of(package, its));
        }
        let known = known_fixes(inventory, &mut room)?;
        let mut document = Self {
            schema: SCHEMA,
            bom_format: "CycloneDX",
            spec_version: "1.6",
            serial_number: String::new(),
            version: 1,
            metadata: BomMetadata {
                timestamp: moment(&maker.now),
                tools: BomTools { components: vec![program(maker)] },
                authors: vec![BomAuthor { name: maker.author.clone() }],
                component: root(inventory),
            },
            components,
            dependencies: [BomDependency {
                reference: ROOT.to_owned(),
                depends_on: packages.iter().map(|package| reference_of(&package.package)).collect(),
            }],
            vulnerabilities: known.into_iter().map(BomVulnerability::of).collect(),
        };
        document.serial_number = urn_of(&document);
        Ok(Some(document))
    }

    pub fn text(&self) -> String {
        text_of(self)
    }
}

fn program(maker: &DocumentMaker) -> BomComponent {
    BomComponent {
        kind: "application",
        name: "patchadm".to_owned(),
        version: Some(maker.version.clone()),
        ..BomComponent::default()
    }
}

fn root(inventory: &HostInventory) -> BomComponent {
    let at = inventory.at.as_ref().map(|at| BomProperty::new("patchadm:listed", moment(at)));
    let properties = std::iter::once(BomProperty::new("patchadm:root", inventory.root.clone())).chain(at);
    BomComponent {
        kind: "operating-system",
        reference: Some(ROOT.to_owned()),
        name: inventory.machine.clone(),
        properties: properties.collect(),
        ..BomComponent::default()
    }
}

fn reference_of(instance: &str) -> String {
    format!("package:{instance}")
}

/// Returns the patches of each package, in the order of the list. A patch is in force only while the one that replaced
/// it is.
fn patches_in_force(patches: &[InventoryPatch]) -> HashMap<&str, Vec<&InventoryPatch>> {
    let is_there = |one: &InventoryPatch| is_in_force(one.standing) && !one.is_uncertain;
    let mut found: HashMap<&str, Vec<&InventoryPatch>> = HashMap::new();
    for (patch, last) in patches.iter().zip(last_of_each(patches)) {
        if !is_there(patch) || !patches.get(last).is_some_and(is_there) {
            continue;
        }
        for package in &patch.about.packages {
            let its = found.entry(package).or_default();
            // A patch may name a package twice.
            if its.last().is_none_or(|last| !std::ptr::eq(*last, patch)) {
                its.push(patch);
            }
        }
    }
    found
}

/// For a patch of one package.
fn take_patch(room: &mut StatementRoom, patch: &InventoryPatch) -> Result<(), DocumentTooLarge> {
    let length = |text: Option<&str>| text.map_or(0, str::len);
    let signature = patch.signature.as_ref().map_or(0, |signature| {
        signature.state.len() + length(signature.key.as_deref()) + length(signature.name.as_deref())
    });
    room.take(2 * StatementRoom::FRAME + signature)?;
    // An id is there again in the address of its source.
    patch.about.fixes.iter().try_for_each(|fix| room.take(128 + 2 * fix.len()))
}

impl BomComponent {
    fn of(package: &InventoryPackage, patches: &[&InventoryPatch]) -> Self {
        let native = package.native.as_ref();
        let kind = if native.is_some() { "unofficial" } else { "backport" };
        let ids: Vec<&str> = patches.iter().map(|patch| patch.about.id.as_str()).collect();
        let pedigree = (!patches.is_empty()).then(|| BomPedigree {
            patches: patches.iter().map(|patch| BomPatch::of(patch, kind)).collect(),
            notes: format!("Patches in the order of the list: {}.", ids.join(", ")),
        });
        let version = native.map_or(&package.version, |native| &native.version);
        let instance = BomProperty::new("patchadm:package", package.package.clone());
        let told = patches.iter().flat_map(|patch| properties(patch));
        Self {
            kind: "library",
            reference: Some(reference_of(&package.package)),
            name: native.map_or(&package.package, |native| &native.name).clone(),
            version: Some(version.clone()).filter(|version| !version.is_empty()),
            description: package.name.clone(),
            purl: url_of(package).map(str::to_owned),
            pedigree,
            external_references: patches.iter().filter_map(|patch| BomReference::of(patch)).collect(),
            properties: std::iter::once(instance).chain(told).collect(),
        }
    }
}

fn is_in_force(standing: FleetPatchStanding) -> bool {
    matches!(
        standing,
        FleetPatchStanding::Effective | FleetPatchStanding::Superseded | FleetPatchStanding::Obsoleted
    )
}

fn properties(patch: &InventoryPatch) -> Vec<BomProperty> {
    let about = |name: &str| format!("patchadm:patch:{}:{name}", patch.about.id);
    let mut properties = vec![BomProperty::new(about("state"), patch.standing.word().to_owned())];
    properties.extend(patch.date.as_ref().map(|date| BomProperty::new(about("applied"), moment(date))));
    if let Some(signature) = &patch.signature {
        properties.push(BomProperty::new(about("signature"), signature.state.clone()));
        properties
            .extend(signature.key.as_ref().map(|key| BomProperty::new(about("signature:key"), key.clone())));
        properties.extend(
            signature.name.as_ref().map(|name| BomProperty::new(about("signature:key-name"), name.clone())),
        );
    }
    properties
}

impl BomProperty {
    fn new(name: impl Into<String>, value: String) -> Self {
        Self { name: name.into(), value }
    }
}

impl BomPatch {
    fn of(patch: &InventoryPatch, kind: &'static str) -> Self {
        let diff = patch.about.sha256.as_deref().map(|sha256| BomDiff { url: name_of_digest(sha256) });
        let resolves = patch.about.fixes.iter().map(|fix| BomIssue::of(fix)).collect();
        Self { kind, diff, resolves }
    }
}

/// RFC 6920, human-readable form.
fn name_of_digest(sha256: &str) -> String {
    format!("nih:sha-256;{sha256}")
}

impl BomReference {
    fn of(patch: &InventoryPatch) -> Option<Self> {
        let sha256 = patch.about.sha256.clone()?;
        Some(Self {
            kind: "other",
            url: name_of_digest(&sha256),
            comment: format!("patch {}", patch.about.id),
            hashes: vec![BomHash { alg: "SHA-256", content: sha256 }],
        })
    }
}

impl IssueSource {
    fn of(fix: &str) -> Option<Self> {
        let is_cve = FixId::new(fix).is_ok_and(|id| id.is_cve());
        is_cve.then(|| Self { name: "CVE", url: format!("https://www.cve.org/CVERecord?id={fix}") })
    }
}

impl BomIssue {
    fn of(fix: &str) -> Self {
        let source = IssueSource::of(fix);
        Self { kind: if source.is_some() { "security" } else { "defect" }, id: fix.to_owned(), source }
    }
}

impl BomVulnerability {
    fn of(KnownFix { fix, packages, status, reasons, .. }: KnownFix<'_>) -> Self {
        let state = match status {
            FixStatus::Fixed => "resolved",
            FixStatus::Lost | FixStatus::Accepted => "exploitable",
            FixStatus::Unknown => "in_triage",
        };
        let response = (status == FixStatus::Accepted).then_some(["will_not_fix"]);
        let affects = packages.into_iter().map(|instance| BomAffected { reference: reference_of(instance) });
        Self {
            id: fix.to_owned(),
            source: IssueSource::of(fix),
            analysis: BomAnalysis { state, response, detail: reasons.join("; ") },
            affects: affects.collect(),
        }
    }
}
