//! Paths of patches and of bundles, as offers: what each patch says of itself, and which of them are named.

use std::path::{Path, PathBuf};

use crate::operation::depots::{DepotProgress, FetchSession, PatchWork};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{ApplyOutcome, is_set};
use crate::plan::refusal::{Command, Reason};
use crate::resolve::{Offer, OfferedPackage};
use crate::sign::Demand;
use crate::source::{Bundle, BundlePatches, Image, open_signed};

/// The patches of operands.
pub(super) struct OfferedOperands<'a> {
    pub(super) offers: Vec<Offer>,
    /// Where each offer is.
    pub(super) paths: Vec<PathBuf>,
    /// The ids that are named: those of the operands, and of a bundle those of its `patch_order`, else all.
    pub(super) named: Vec<String>,
    /// The first bundle, as it was named.
    pub(super) place: Option<String>,
    /// What cannot be read.
    pub(super) unread: Vec<ApplyOutcome>,
    /// The bundles; what was unpacked goes with them.
    pub(super) opened: Vec<BundlePatches>,
    demands: &'a [Demand],
    separator: &'a str,
}

impl<'a> OfferedOperands<'a> {
    /// Begins without operands.
    pub(super) fn new(demands: &'a [Demand], separator: &'a str) -> Self {
        Self {
            offers: Vec::new(),
            paths: Vec::new(),
            named: Vec::new(),
            place: None,
            unread: Vec::new(),
            opened: Vec::new(),
            demands,
            separator,
        }
    }

    /// Takes an operand: a patch, or what holds several, unpacked if need be. A set that cannot be unpacked is an error.
    pub(super) fn take(&mut self, path: &Path, session: &FetchSession<'_>) -> Result<(), Failure> {
        match self.offer(path) {
            Ok(id) => self.named.push(id),
            Err(failure) if is_set(path, &failure) => match Bundle::open(path)? {
                Some(bundle) => self.take_bundle(path, bundle, session)?,
                None => self.leave_out(path, failure),
            },
            Err(failure) => self.leave_out(path, failure),
        }
        Ok(())
    }

    fn take_bundle(
        &mut self,
        path: &Path,
        bundle: Bundle,
        session: &FetchSession<'_>,
    ) -> Result<(), Failure> {
        let patches = bundle.patches(&session.place_to_unpack()?)?;
        let mut ids = Vec::new();
        let all = patches.paths.len();
        for (done, path) in patches.paths.iter().enumerate() {
            session.tell(DepotProgress::Patch { doing: PatchWork::Reading, done, all });
            match self.offer(path) {
                Ok(id) => ids.push(id),
                Err(failure) => self.leave_out(path, failure),
            }
        }
        self.named.extend(patches.texts.order.clone().unwrap_or(ids));
        self.place.get_or_insert_with(|| path.display().to_string());
        self.opened.push(patches);
        Ok(())
    }

    /// Offers the patch at a path; its id.
    fn offer(&mut self, path: &Path) -> Result<String, Failure> {
        let (_, image) = open_signed(path, self.demands)?;
        let offer = offer_of(path, &image, self.separator)?;
        let id = offer.id.to_string();
        self.offers.push(offer);
        self.paths.push(path.to_owned());
        Ok(id)
    }

    fn leave_out(&mut self, path: &Path, failure: Failure) {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        self.unread.push(ApplyOutcome::refused(name, None, failure));
    }
}

/// What a patch says of itself, all its packages taken together.
fn offer_of(path: &Path, image: &Image, separator: &str) -> Result<Offer, Failure> {
    let refused = |reason: String| Failure::from(Reason::BadPatch(reason).of(Command::Patchadd, &image.name));
    let macros = image.patch_macros(separator).map_err(|error| refused(error.to_string()))?;
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
