//! A patch that is delivered, and may be applied nowhere yet.

use serde::Serialize;

use patchadm_cli::reply::CommandReport;
use patchadm_cli::reply::words::{named_value, reboot_sentence};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::queries::inspect::PatchWords;
use patchadm_inputs::native::fixed_in_said;
use patchadm_inputs::source::Image;
use patchadm_svr4::patch::{FixId, FixList, PatchId, PatchMacros};

/// Everything about a delivered patch.
#[derive(Debug, Serialize)]
pub(super) struct DeliveredPatch {
    patch: DeliveredFields,
}

/// The fields of a delivered patch.
#[derive(Debug, Serialize)]
struct DeliveredFields {
    id: String,
    state: [&'static str; 1],
    synopsis: Option<String>,
    packages: Vec<String>,
    obsoletes: Vec<String>,
    requires: Vec<String>,
    incompatibles: Vec<String>,
    /// What it fixes, as it says.
    fixes: Vec<String>,
    reboot: Option<&'static str>,
    /// The native versions that have its fix, as it says.
    fixed_in: Option<String>,
    /// The number of files that it delivers.
    delivers: usize,
    /// The number of paths that it deletes.
    deletes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<Vec<DeliveredObject>>,
}

/// An object that the patch delivers, or a path that it deletes.
#[derive(Debug, Serialize)]
struct DeliveredObject {
    package: String,
    path: String,
    /// The letter of its type in pkgmap(4), or `deletes`.
    kind: String,
}

impl DeliveredPatch {
    pub(super) fn of(image: &Image, is_verbose: bool) -> Self {
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
        let of_patchinfo =
            image.patchinfo.iter().flat_map(|info| &info.fixes).filter_map(|id| FixId::new(id).ok());
        let of_packages = facts.iter().flat_map(|one| one.fixes.iter().cloned());
        let fixes: FixList = of_packages.chain(of_patchinfo).collect();
        let packages = image.packages.iter();
        let patch = DeliveredFields {
            id: union(&|one| vec![one.id.to_string()]).join(", "),
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
            objects: is_verbose.then(|| objects(image)),
        };
        Self { patch }
    }
}

fn objects(image: &Image) -> Vec<DeliveredObject> {
    let of = |package: &str, path: String, kind: String| DeliveredObject {
        package: package.to_owned(),
        path,
        kind,
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

impl CommandReport for DeliveredPatch {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let patch = &self.patch;
        let fields = [
            ("Patch", patch.id.clone()),
            ("Synopsis", patch.synopsis.clone().unwrap_or_default()),
            ("State", patch.state.join(", ")),
            ("Packages", patch.packages.join(", ")),
            ("Obsoletes", patch.obsoletes.join(", ")),
            ("Requires", patch.requires.join(", ")),
            ("Incompatible", patch.incompatibles.join(", ")),
            ("Fixes", patch.fixes.join(", ")),
            ("Fixed in", patch.fixed_in.clone().unwrap_or_default()),
            ("Restart", reboot_sentence(patch.reboot).unwrap_or_default().to_owned()),
            ("Files", patch.delivers.to_string()),
            ("Deletes", if patch.deletes == 0 { String::new() } else { patch.deletes.to_string() }),
        ];
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            output.line(named_value(name, value))?;
        }
        for DeliveredObject { package, path, kind } in patch.objects.iter().flatten() {
            output.line(named_value(package, &format!("{kind} {path}")))?;
        }
        Ok(())
    }
}
