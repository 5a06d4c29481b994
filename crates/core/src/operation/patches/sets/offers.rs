//! Patches and bundles by path, as offers.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::depot::SetDepot;
use crate::operation::analysis::facts_of_root;
use crate::operation::depots::{DepotProgress, FetchSession, PatchWork};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{ApplyOperand, ApplyOutcome, ApplyRequest, is_set};
use crate::operation::queries::applied_patches::PatchesError;
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::sign::Demand;
use patchadm_inputs::source::{Bundle, BundlePatches, Image, PackageImage};
use patchadm_planning::analyze::{AnalysisRequest, analyse, from_depot};
use patchadm_planning::plan::patch::validate::declared;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::resolve::{Offer, OfferedPackage, SetRequest, is_excluded};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::patch::PatchId;

/// Each is read once.
pub(super) struct OfferedOperands<'a> {
    pub(super) operands: Vec<ApplyOperand>,
    pub(super) offers: Vec<Offer>,
    /// Ids of operands; for a bundle those of its `patch_order`, otherwise all.
    pub(super) named: Vec<String>,
    /// As the user named it.
    pub(super) place: Option<String>,
    pub(super) unread: Vec<ApplyOutcome>,
    /// Dropping them removes unpacked files.
    pub(super) bundles: Vec<BundlePatches>,
    request: &'a ApplyRequest,
    interrupt: Interrupt<'a>,
    pub(super) demands: &'a [Demand],
    pub(super) separator: &'a str,
}

impl<'a> OfferedOperands<'a> {
    pub(super) fn new(
        (request, interrupt): (&'a ApplyRequest, Interrupt<'a>),
        demands: &'a [Demand],
        separator: &'a str,
    ) -> Self {
        Self {
            operands: Vec::new(),
            offers: Vec::new(),
            named: Vec::new(),
            place: None,
            unread: Vec::new(),
            bundles: Vec::new(),
            request,
            interrupt,
            demands,
            separator,
        }
    }

    /// Adds a patch, or a file with several patches, unpacked if needed. Fails if that is impossible, or on a signal.
    pub(super) fn open(&mut self, path: &Path, session: Option<&FetchSession<'_>>) -> Result<(), Failure> {
        match self.read(path) {
            Ok(operand) => {
                let id = self.offer(path, operand);
                self.named.extend(id);
            }
            Err(failure) if failure.signal().is_some() => return Err(failure),
            Err(failure) if is_set(path, &failure, self.interrupt)? => {
                match (Bundle::open(path, self.interrupt)?, session) {
                    (Some(bundle), Some(session)) => self.open_bundle(path, bundle, session)?,
                    _ => self.leave_out(path, failure),
                }
            }
            Err(failure) => self.leave_out(path, failure),
        }
        Ok(())
    }

    /// True for one patch and no bundle.
    pub(super) fn is_single(&self) -> bool {
        self.operands.len() == 1 && self.unread.is_empty() && self.bundles.is_empty()
    }

    fn open_bundle(
        &mut self,
        path: &Path,
        bundle: Bundle,
        session: &FetchSession<'_>,
    ) -> Result<(), Failure> {
        let patches = bundle.patches(&session.place_to_unpack()?, self.interrupt)?;
        let mut ids = Vec::new();
        let all = patches.paths.len();
        for (done, path) in patches.paths.iter().enumerate() {
            session.tell(DepotProgress::Patch { doing: PatchWork::Reading, done, all });
            match self.read(path) {
                Ok(operand) => ids.extend(self.offer(path, operand)),
                Err(failure) if failure.signal().is_some() => return Err(failure),
                Err(failure) => self.leave_out(path, failure),
            }
        }
        self.named.extend(patches.texts.order.clone().unwrap_or(ids));
        self.place.get_or_insert_with(|| path.display().to_string());
        self.bundles.push(patches);
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<ApplyOperand, Failure> {
        ApplyOperand::read(path, self.separator, self.demands, (self.request, self.interrupt))
    }

    fn offer(&mut self, path: &Path, operand: ApplyOperand) -> Option<String> {
        match offer_of(path, &operand.device.image, self.separator) {
            Ok(offer) => {
                let id = offer.id.to_string();
                self.offers.push(offer);
                self.operands.push(operand);
                Some(id)
            }
            Err(failure) => {
                self.unread.push(operand.refused(failure));
                None
            }
        }
    }

    fn leave_out(&mut self, path: &Path, failure: Failure) {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        self.unread.push(ApplyOutcome::refused(name, None, failure));
    }

    /// Patches that occur twice are compared by content, regardless of form and place.
    pub(super) fn identify_contents(&mut self) {
        let mut count: HashMap<PatchId, usize> = HashMap::new();
        for offer in &self.offers {
            *count.entry(offer.id.clone()).or_default() += 1;
        }
        for (offer, operand) in self.offers.iter_mut().zip(&self.operands) {
            if count.get(&offer.id).is_some_and(|number| *number > 1) {
                offer.content = content(&operand.device.image);
            }
        }
    }
}

/// Comparable content: packages with sums of objects, and other files except the README.
fn content(image: &Image) -> String {
    let package = |one: &PackageImage| {
        format!("{}{}", one.pkginfo_bytes.escape_ascii(), one.pkgmap_bytes.escape_ascii())
    };
    let mut packages: Vec<String> = image.packages.iter().map(package).collect();
    packages.sort();
    format!("{}{:?}{:?}", packages.concat(), image.patchinfo, image.hooks)
}

/// Combines all packages.
fn offer_of(path: &Path, image: &Image, separator: &str) -> Result<Offer, Failure> {
    let macros = declared(image, separator)
        .map_err(|reason| Failure::from(reason.of(Command::Patchadd, &image.name)))?;
    let packages = image.packages.iter().map(|package| {
        let text = |name| package.params.text(name).into_owned();
        OfferedPackage { pkg: text("PKG"), arch: text("ARCH"), version: text("VERSION") }
    });
    Ok(Offer {
        id: macros.id,
        requires: macros.requires,
        obsoletes: macros.obsoletes,
        incompatibles: macros.incompatibles,
        packages: packages.collect(),
        is_withdrawn: false,
        content: path.display().to_string(),
        source: path.display().to_string(),
    })
}

/// In bytes.
const LARGEST_LIST: u64 = 4 << 20;

const MOST_IDS: usize = 100_000;

/// `None` without operands.
pub(super) fn words(
    offers: &[Offer],
    separator: &str,
    depot: &str,
    operands: &[OsString],
) -> Result<Option<Vec<String>>, Failure> {
    if operands.is_empty() {
        return Ok(None);
    }
    let ids: HashSet<&PatchId> = offers.iter().map(|offer| &offer.id).collect();
    let bases: HashSet<&str> = offers.iter().map(|offer| offer.id.base()).collect();
    let is_offered = |word: &str| {
        bases.contains(word) || PatchId::parse(word, separator).is_ok_and(|id| ids.contains(&id))
    };
    let mut words = Vec::new();
    for operand in operands {
        match operand.to_str() {
            Some(word) if is_offered(word) => words.push(word.to_owned()),
            _ if Path::new(operand).is_file() => words.extend(listed(Path::new(operand))?),
            Some(word) if could_be_id(word, separator) => words.push(word.to_owned()),
            _ => {
                let operand = operand.to_string_lossy().into_owned();
                return Err(Failure::NotInDepot { operand, depot: depot.to_owned() });
            }
        }
    }
    Ok(Some(words))
}

fn could_be_id(word: &str, separator: &str) -> bool {
    PatchId::parse(word, separator).is_ok()
        || PatchId::parse(&format!("{word}{separator}1"), separator).is_ok()
}

/// The first word of each line; `#` begins a comment.
fn listed(path: &Path) -> Result<Vec<String>, Failure> {
    let text = read_start(path, LARGEST_LIST).and_then(|text| {
        String::from_utf8(text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
    });
    let shown = path.display().to_string();
    let refused = |reason: String| Failure::from(Reason::BadPatch(reason).of(Command::Patchadd, &shown));
    let text = text.map_err(|error| refused(format!("it cannot be read as a list of ids: {error}")))?;
    let lines = text.lines().filter_map(|line| line.split_whitespace().next());
    let words: Vec<String> =
        lines.filter(|word| !word.starts_with('#')).take(MOST_IDS + 1).map(str::to_owned).collect();
    if text.len() as u64 > LARGEST_LIST || words.len() > MOST_IDS {
        return Err(refused(format!("it lists more than {MOST_IDS} ids")));
    }
    Ok(words)
}

/// Returns missing patches by base, and patches named in addition. Excludes requirements, which the resolver adds with
/// their reason, and bases that an option or the policy excludes.
pub(super) fn missing_patches(
    (root, policy): (&Root, &Policy),
    depot: &SetDepot,
    offers: &[Offer],
    (request, choices): (&AnalysisRequest, &SetRequest),
) -> Result<Vec<String>, Failure> {
    let facts = facts_of_root(root).map_err(|error| match error {
        PatchesError::Database(error) => Failure::from(error),
        PatchesError::Policy(error) => error.into(),
    })?;
    let groups = AnalysisRequest { named: Vec::new(), with_requirements: false, ..request.clone() };
    let analysis = analyse(&from_depot(depot.depot.index()), &facts, &groups);
    let free = offers.iter().filter(|offer| !is_excluded(choices, policy, &offer.id));
    let free: HashSet<&str> = free.map(|offer| offer.id.base()).collect();
    let missing = analysis.patches.into_iter().filter(|patch| patch.is_missing).map(|patch| patch.base);
    let missing = missing.filter(|base| free.contains(base.as_str()));
    Ok(missing.chain(request.named.iter().cloned()).collect())
}
