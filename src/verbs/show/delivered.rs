//! A delivered patch, perhaps applied nowhere yet.

use std::path::Path;

use serde::Serialize;

use super::fix::not_asked;
use super::objects::PackageObjects;
use super::query::ShowQuery;
use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::Stop;
use patchadm_cli::reply::failure::{query_refused, reason, verb_code};
use patchadm_cli::reply::words::{named_value, reboot_sentence};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::{RootTurn, lock_wait_seconds, with_signals};
use patchadm_cli::surroundings::recovery::RecoveryNews;
use patchadm_core::operation::depots::{DepotLocation, DepotProgress, FetchSession, fetch_patch, open_depot};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::{SignatureRequest, delivered_changes, demands};
use patchadm_core::operation::queries::inspect::PatchWords;
use patchadm_core::operation::queries::reasons::{PackageFit, PatchAtHand, PatchNeed, patch_reasons};
use patchadm_core::operation::queries::recorded_path::is_within;
use patchadm_core::operation::session::{Caller, RootAndPolicy};
use patchadm_inputs::native::fixed_in_said;
use patchadm_inputs::source::{self, Extent, Image, Origin};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{FixId, FixList, PatchId, PatchMacros};

#[derive(Debug, Serialize)]
pub(super) struct DeliveredPatch {
    id: String,
    state: [&'static str; 1],
    synopsis: Option<String>,
    packages: Vec<String>,
    obsoletes: Vec<String>,
    requires: Vec<String>,
    /// Requirements, and what meets them in the root.
    needs: Vec<PatchNeed>,
    /// Packages, and matching instances of the root.
    fits: Vec<PackageFit>,
    incompatibles: Vec<String>,
    fixes: Vec<String>,
    reboot: Option<&'static str>,
    /// Native versions with its fix, as it says.
    fixed_in: Option<String>,
    delivers: usize,
    deletes: usize,
    /// Effect on each object of the root, with --files or --diff.
    #[serde(rename = "objects", skip_serializing_if = "Option::is_none")]
    packages_with_objects: Option<Vec<PackageObjects>>,
    /// The patch's own list, if the root has none of its packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<Vec<ListedObject>>,
    #[serde(skip)]
    has_files: bool,
    #[serde(skip)]
    has_diff: bool,
    #[serde(skip)]
    is_verbose: bool,
    #[serde(skip)]
    pub(super) remark: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListedObject {
    package: String,
    path: String,
    /// The letter of its type in pkgmap(4), or `deletes`.
    #[serde(rename = "type")]
    ftype: String,
}

impl DeliveredPatch {
    /// Compares with the root if objects are requested. Without a call, the root is one of several.
    pub(super) fn of(
        call: Option<&Invocation>,
        root: &Root,
        (patch, image): (&Path, &Image),
        query: &ShowQuery,
    ) -> anyhow::Result<Self> {
        let summary = Self::summary(root, image, query);
        if !query.has_files && !query.has_diff {
            return Ok(summary);
        }
        let (program, surroundings) = (Command::Patchadd.name(), &query.surroundings);
        let changes = |caller: &Caller<'_>| delivered_changes(root, patch, query.has_diff, caller);
        let compared = match call {
            Some(call) => call.change(root, program, None, changes)?,
            None => with_signals(|interrupt| {
                let wait = lock_wait_seconds(root, None);
                let speaks_as = PROGRAM.to_owned();
                // A question recovers nothing.
                let recovery = &RecoveryNews::default();
                let turn = RootTurn { surroundings, program, speaks_as, wait, interrupt, recovery };
                turn.with_caller(&|_| {}, changes)
            })?,
        };
        match compared {
            Ok(changes) => {
                let paths = query.paths_in(root)?;
                let of = PackageObjects::of_delivered(root, &changes, &is_within(root, &paths));
                Ok(Self { packages_with_objects: Some(of), ..summary })
            }
            Err(Failure::Refused(refusal)) if matches!(*refusal.reason, Reason::NotInstalled(_)) => {
                let remark = format!("{} is not compared with the root: {}", summary.id, refusal.why());
                Ok(Self { listed: Some(listed(image)), remark: Some(remark), ..summary })
            }
            Err(failed) => Err(Stop::Refused {
                exit: verb_code(Command::Patchadd, &failed),
                message: format!("the changes of {} cannot be computed: {}", summary.id, reason(&failed)),
            }
            .into()),
        }
    }

    fn summary(root: &Root, image: &Image, query: &ShowQuery) -> Self {
        let facts: Vec<PatchMacros> = image
            .packages
            .iter()
            .filter_map(|package| PatchMacros::from_params(&package.params, PatchId::SEPARATOR).ok()?)
            .collect();
        let union = |of: &dyn Fn(&PatchMacros) -> Vec<String>| {
            let mut all: Vec<String> = Vec::new();
            for word in facts.iter().flat_map(of) {
                if !all.contains(&word) {
                    all.push(word);
                }
            }
            all
        };
        let words = PatchWords::of_image(image);
        let id = union(&|one| vec![one.id.to_string()]).join(", ");
        // A root without a database has neither packages nor patches.
        let reasons = patch_reasons(root, &id, PatchAtHand::Delivered(image)).ok().flatten();
        let (needs, fits) = reasons.map(|found| (found.needs, found.packages)).unwrap_or_default();
        let of_patchinfo =
            image.patchinfo.iter().flat_map(|info| &info.fixes).filter_map(|id| FixId::new(id).ok());
        let of_packages = facts.iter().flat_map(|one| one.fixes.iter().cloned());
        let fixes: FixList = of_packages.chain(of_patchinfo).collect();
        let packages = image.packages.iter();
        Self {
            id,
            state: ["delivered"],
            synopsis: words.synopsis,
            packages: packages.clone().map(|package| package.params.text("PKG").into_owned()).collect(),
            obsoletes: union(&|one| one.obsoletes.iter().map(ToString::to_string).collect()),
            requires: union(&|one| one.requires.iter().map(ToString::to_string).collect()),
            incompatibles: union(&|one| one.incompatibles.iter().map(ToString::to_string).collect()),
            fixes: fixes.to_strings(),
            reboot: words.reboot,
            fixed_in: fixed_in_said(
                packages
                    .clone()
                    .map(|package| &package.params)
                    .chain(image.patchinfo.iter().map(|patchinfo| &patchinfo.other)),
            ),
            delivers: packages.clone().map(|package| package.files().count()).sum(),
            deletes: packages.map(|package| package.deletes.len()).sum(),
            needs,
            fits,
            packages_with_objects: None,
            listed: None,
            has_files: query.has_files,
            has_diff: query.has_diff,
            is_verbose: query.is_verbose,
            remark: None,
        }
    }
}

fn listed(image: &Image) -> Vec<ListedObject> {
    let of = |package: &str, path: String, ftype: String| ListedObject {
        package: package.to_owned(),
        path,
        ftype,
    };
    let mut all = Vec::new();
    for package in &image.packages {
        let entries = package.pkgmap.entries.iter().filter(|entry| !entry.is_information());
        all.extend(entries.map(|entry| {
            let kind = char::from(entry.object.ftype.letter()).to_string();
            of(&package.directory, entry.path.to_string(), kind)
        }));
        let deletes = package.deletes.iter();
        all.extend(deletes.map(|path| of(&package.directory, path.to_string(), "deletes".to_owned())));
    }
    all
}

impl DeliveredPatch {
    pub(super) fn line(&self) -> String {
        format!("{} not applied, delivered", self.id)
    }

    /// Returns the facts and, with --files, the objects.
    pub(super) fn text(&self) -> Vec<String> {
        let patch = self;
        let mut fields = vec![
            ("Patch", patch.id.clone()),
            ("Synopsis", patch.synopsis.clone().unwrap_or_default()),
            ("State", patch.state.join(", ")),
            ("Packages", patch.packages.join(", ")),
        ];
        fields.extend(patch.fits.iter().map(|fit| ("For", fit.to_string())));
        fields.push(("Obsoletes", patch.obsoletes.join(", ")));
        fields.extend(patch.needs.iter().map(|need| ("Requires", need.to_string())));
        fields.extend([
            ("Incompatible", patch.incompatibles.join(", ")),
            ("Fixes", patch.fixes.join(", ")),
            ("Fixed in", patch.fixed_in.clone().unwrap_or_default()),
            ("Restart", reboot_sentence(patch.reboot).unwrap_or_default().to_owned()),
            ("Files", patch.delivers.to_string()),
            ("Deletes", if patch.deletes == 0 { String::new() } else { patch.deletes.to_string() }),
        ]);
        let facts = fields.iter().filter(|(_, value)| !value.is_empty());
        let listed = self.listed.iter().flatten();
        let packages = self.packages_with_objects.iter().flatten().filter(|_| self.has_files);
        facts
            .map(|(name, value)| named_value(name, value))
            .chain(listed.map(|one| named_value(&one.package, &format!("{} {}", one.ftype, one.path))))
            .chain(packages.flat_map(|package| package.lines(self.is_verbose)))
            .collect()
    }

    pub(super) fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        self.text().iter().try_for_each(|line| output.line(line))?;
        let mut compared = self.packages_with_objects.iter().flatten().filter(|_| self.has_diff);
        compared.try_for_each(|package| package.print_differences(output))
    }
}

/// Returns the answer about a patch of the depot that an option names; `None` if there is no such patch or option.
pub(super) fn patch_of_depot(
    call: Option<&Invocation>,
    root: &Root,
    id: &str,
    query: &ShowQuery,
) -> anyhow::Result<Option<DeliveredPatch>> {
    let Some(named) = &query.depot else { return Ok(None) };
    let refused = |failed: Failure| query_refused(root, &failed);
    let ground = RootAndPolicy::of(root).map_err(refused)?;
    let location = DepotLocation::parse(named).map_err(|error| not_asked(&error))?;
    let demands = demands(&ground, &SignatureRequest::default()).map_err(refused)?;
    let progress = |_: DepotProgress<'_>| {};
    with_signals(|interrupt| -> anyhow::Result<Option<DeliveredPatch>> {
        let access = query.fetching.access(&query.surroundings, &ground.policy, None, interrupt, &progress);
        let session = FetchSession::new(access);
        let depot = open_depot(&location, &demands, &session).map_err(|error| not_asked(&error))?;
        let Some(patch) = depot.patches().into_iter().find(|patch| patch.id == id) else { return Ok(None) };
        // The path exists as long as the session.
        let path = fetch_patch(&depot, patch, &session).map_err(|error| not_asked(&error))?;
        let (_, image) = source::open(Origin::Path(&path), Extent::Everything)?;
        DeliveredPatch::of(call, root, (path.as_path(), &image), query).map(Some)
    })?
}
