use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_inputs::depot::DepotPatch;
use patchadm_inputs::policy::{Policy, is_listed};
use patchadm_svr4::format::params::compact;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchList, Requirements};

#[derive(Clone, Copy, Debug)]
pub struct ResolverInput<'a> {
    /// Patches of the depot, and operands.
    pub offers: &'a [Offer],
    pub applied: &'a AppliedPatches,
    pub installed: &'a InstalledPackages,
    /// The separator of ids, restricted and excluded patches, and packages whose patches come first.
    pub policy: &'a Policy,
    pub request: &'a SetRequest,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRequest {
    /// Ids; one without a revision means the current revision. `None` means all current patches.
    pub named: Option<Vec<String>>,
    pub all_or_nothing: bool,
    /// A withdrawn patch that is named with its revision may go in.
    pub withdrawn: bool,
    /// A named patch goes in again if no later revision of it is applied.
    pub again: bool,
    /// No requirement is pulled in.
    pub no_requires: bool,
    /// With a revision or without.
    pub exclude: Vec<String>,
    /// As messages name it.
    pub depot: Option<String>,
}

impl SetRequest {
    pub fn excludes(&self, id: &PatchId, separator: &str) -> bool {
        is_listed(&self.exclude, separator, id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub id: PatchId,
    pub requires: Requirements,
    pub obsoletes: PatchList,
    /// Patches that exclude it.
    pub incompatibles: PatchList,
    pub packages: Vec<OfferedPackage>,
    pub is_withdrawn: bool,
    /// Distinguishes two contents under the same id: a digest, or else the path.
    pub content: String,
    /// Fits if all three are equal.
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OfferedPackage {
    pub pkg: String,
    pub arch: String,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOffer(String);

impl Offer {
    /// Makes an offer of an entry of an index, whose ids have this separator.
    pub fn of_entry(entry: &DepotPatch, separator: &str) -> Result<Self, BadOffer> {
        let id = PatchId::parse(&entry.id, separator).map_err(|error| BadOffer(error.to_string()))?;
        let bad = |error: &dyn std::fmt::Display| BadOffer(format!("patch {}: {error}", entry.id));
        let list =
            |words: &[String]| PatchList::parse(&words.join(" "), separator).map_err(|error| bad(&error));
        let needs: Vec<String> = entry.requires.iter().map(|word| grouped(word)).collect();
        let package = |package: &patchadm_inputs::depot::DepotPackage| OfferedPackage {
            pkg: package.pkg.clone(),
            arch: package.arch.clone(),
            version: package.version.clone(),
        };
        Ok(Self {
            id,
            requires: Requirements::parse(&needs.join(" "), separator).map_err(|error| bad(&error))?,
            obsoletes: list(&entry.obsoletes)?,
            incompatibles: list(&entry.incompat)?,
            packages: entry.packages.iter().map(package).collect(),
            is_withdrawn: entry.has_flag("withdrawn"),
            content: entry.sha256.clone(),
            source: entry.path.clone(),
        })
    }
}

/// Adds the parentheses that some indexes omit around alternatives.
fn grouped(entry: &str) -> String {
    let is_bare = entry.contains('|') && !entry.contains('(');
    if is_bare { format!("( {entry} )") } else { entry.to_owned() }
}

type PackageKey = (Vec<u8>, Vec<u8>, Vec<u8>);

#[derive(Clone, Debug, Default)]
pub struct InstalledPackages {
    instances: HashMap<PackageKey, PkgInst>,
    named: HashMap<Vec<u8>, Vec<String>>,
}

impl InstalledPackages {
    /// Of two instances that a patch cannot tell apart the first counts.
    pub fn of<'a>(installed: impl Iterator<Item = (&'a PkgInst, &'a Params)>) -> Self {
        let mut all = Self::default();
        for (instance, params) in installed {
            let value = |name| params.get(name).unwrap_or_default().to_vec();
            let key = (value("PKG"), compact(&value("ARCH")), value("VERSION"));
            all.instances.entry(key).or_insert_with(|| instance.clone());
            let shown =
                format!("{} ({}) {}", params.text("PKG"), params.text("ARCH"), params.text("VERSION"));
            all.named.entry(value("PKG")).or_default().push(shown);
        }
        all
    }

    pub fn has(&self, package: &OfferedPackage) -> bool {
        self.find(package).is_some()
    }

    pub(super) fn find(&self, package: &OfferedPackage) -> Option<&PkgInst> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        self.instances.get(&(bytes(&package.pkg), compact(package.arch.as_bytes()), bytes(&package.version)))
    }

    pub(super) fn missed(&self, package: &OfferedPackage) -> String {
        let wanted = format!("{} ({}) {}", package.pkg, package.arch, package.version);
        match self.named.get(package.pkg.as_bytes()) {
            None => format!("{wanted} (not installed)"),
            Some(installed) => format!("{wanted} (installed: {})", installed.join(", ")),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct NamedPatches {
    /// True if the revision was named.
    pub(super) patches: BTreeMap<PatchId, bool>,
    pub(super) missing: BTreeSet<String>,
}

pub(super) fn named_patches(input: &ResolverInput<'_>) -> NamedPatches {
    let mut bases: BTreeMap<&str, Vec<&Offer>> = BTreeMap::new();
    for offer in input.offers {
        bases.entry(offer.id.base()).or_default().push(offer);
    }
    let mut named = NamedPatches::default();
    let Some(words) = &input.request.named else {
        let current = bases.values().filter_map(|offers| current(offers, input));
        named.patches = current.map(|id| (id, false)).collect();
        return named;
    };
    for word in words {
        let id = PatchId::parse(word, &input.policy.separator).ok();
        let offered = id.as_ref().and_then(|id| bases.get(id.base())).into_iter().flatten();
        let exact = offered.map(|offer| &offer.id).filter(|other| Some(*other) == id.as_ref()).min_by_key(
            |id| id.as_str().to_owned(), // one of several spellings, whatever the order of the offers
        );
        if let Some(exact) = exact {
            named.patches.insert(exact.clone(), true);
        } else if let Some(offers) = bases.get(word.as_str()) {
            if let Some(id) = current(offers, input) {
                named.patches.entry(id).or_insert(false);
            }
        } else {
            named.missing.insert(word.clone());
        }
    }
    named
}

/// The highest revision that is neither withdrawn nor excluded, else the highest.
fn current(offers: &[&Offer], input: &ResolverInput<'_>) -> Option<PatchId> {
    let is_free =
        |offer: &&&Offer| !offer.is_withdrawn && !is_excluded(input.request, input.policy, &offer.id);
    let highest = |free: Vec<&PatchId>| {
        free.into_iter().max_by(|a, b| a.cmp(b).then_with(|| b.as_str().cmp(a.as_str()))).cloned()
    };
    let free = highest(offers.iter().filter(is_free).map(|offer| &offer.id).collect());
    free.or_else(|| {
        let excluded = |offer: &&&Offer| excluded_by_option(input.request, input.policy, &offer.id);
        let is_unnamed = input.request.named.is_none();
        // Patches that an option excludes are not even mentioned.
        let rest = offers.iter().filter(|offer| !(is_unnamed && excluded(offer)));
        highest(rest.map(|offer| &offer.id).collect())
    })
}

/// Returns true if an option of the command or the policy leaves a patch out.
pub fn is_excluded(request: &SetRequest, policy: &Policy, id: &PatchId) -> bool {
    excluded_by_option(request, policy, id) || policy.excludes(id)
}

pub(super) fn excluded_by_option(request: &SetRequest, policy: &Policy, id: &PatchId) -> bool {
    request.excludes(id, &policy.separator)
}
