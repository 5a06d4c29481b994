//! Which procedure scripts of a patch run, and who keeps its records: the program, or the scripts themselves.
//!
//! Stock patch scripts are never needed: the program does their work. Scripts of a package's own always run. Where
//! they are the stock scripts with commands added, they keep the records and build the backout package themselves,
//! and the program leaves that to them; otherwise they run beside the program's own bookkeeping. This is decided by
//! the texts alone, before anything is done.

use std::collections::BTreeSet;

use patchadm_inputs::policy::ScriptPolicy;
use patchadm_inputs::source::{Hooks, PackageImage, sun_scripts};
use patchadm_svr4::package::{Params, PkgInst};

use crate::plan::refusal::Reason;
use crate::plan::scripts::{Deliverer, InstallScripts, SystemScripts, is_passing, is_recorded};

/// Words by which a script of a package's own shows that it keeps the records of the patch, or builds the backout
/// package: the names are those of the published patch scripts.
const BOOKKEEPING: [&[u8]; 2] = [b"PATCHLIST", b"PATCH_BUILD_DIR"];

/// Whom the user wants to do the work of the patch scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The program, unless a package has patch scripts of its own.
    #[default]
    Auto,
    /// The program; a package whose own scripts do it is refused.
    Native,
    /// The scripts of every package that has a checkinstall, stock ones too.
    Script,
}

/// Who keeps the records of a package and makes its undo archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bookkeeping {
    /// The program.
    Program,
    /// The package's scripts.
    Scripts,
}

/// Why a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptReason {
    /// It is the patch's or the package's own.
    Own,
    /// It is a stock script, which works together with others that are not.
    Together,
    /// It is a stock script, and the user wants scripts to do the work.
    Forced,
    /// It is the system's script for a class.
    System,
}

/// A script that runs, for those who read the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedScript {
    /// The package; none for a script of the patch itself.
    pub package: Option<PkgInst>,
    /// Its name.
    pub name: String,
    /// Why it runs.
    pub why: ScriptReason,
}

/// What decides about scripts beside the packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptChoice {
    /// What the user wants.
    pub engine: Engine,
    /// Which scripts the root allows.
    pub policy: ScriptPolicy,
    /// The class action scripts that are there beside the packages' own.
    pub system: SystemScripts,
}

/// What is decided about one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenScripts {
    /// Who keeps the records.
    pub bookkeeping: Bookkeeping,
    /// The scripts that run.
    pub scripts: InstallScripts,
    /// Why each of them runs.
    pub planned: Vec<PlannedScript>,
    /// The files of `install` that go when everything is done.
    pub passing: Vec<String>,
}

impl ChosenScripts {
    /// Whether any script runs.
    pub fn has_scripts(&self) -> bool {
        !self.planned.is_empty()
    }

    /// The classes whose files are the matter of a script of the package's own.
    pub fn own_classes(&self) -> impl Iterator<Item = &str> {
        let own = self.planned.iter().filter(|script| script.why == ScriptReason::Own);
        own.filter_map(|script| script.name.strip_prefix("i."))
    }
}

impl ScriptReason {
    /// As a plan says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Together => "stock, works together with others",
            Self::Forced => "stock, forced",
            Self::System => "of the system",
        }
    }
}

impl ScriptChoice {
    /// Decides about a package of a patch that is installed with these parameters, or about the package that takes
    /// one back.
    pub(in crate::plan) fn about(
        &self,
        package: &PkgInst,
        image: &PackageImage,
        params: &Params,
        role: Role,
    ) -> Result<ChosenScripts, Reason> {
        let mut scripts = InstallScripts::of(image, params, &self.system);
        // nobody can be asked: what a request script would answer is in the response that a patch is given
        scripts.request = false;
        let own = |name: &str| image.install.get(name).is_some_and(|text| !role.does(name, text));
        let keeps_records = |name: &String| {
            let text = image.install.get(name).filter(|_| own(name));
            text.is_some_and(|text| role.leaves_records_to(text))
        };
        let by_scripts = names(&scripts).iter().any(keeps_records);
        let bookkeeping = match self.engine {
            Engine::Script if scripts.checkinstall => Bookkeeping::Scripts,
            Engine::Auto if by_scripts => Bookkeeping::Scripts,
            Engine::Native if by_scripts => return Err(Reason::RecordsByScripts(package.to_string())),
            _ => Bookkeeping::Program,
        };
        if bookkeeping == Bookkeeping::Program {
            scripts.checkinstall &= own("checkinstall");
            scripts.preinstall &= own("preinstall");
            scripts.postinstall &= own("postinstall");
            // a stock script under the name of a class copies as the program does; what a backout package holds has
            // been through the system's scripts already
            scripts.classes.retain(|class, deliverer| match deliverer {
                Deliverer::Package => own(&format!("i.{class}")),
                Deliverer::Root | Deliverer::Host | Deliverer::Standard => role == Role::Patch,
            });
        }
        let why = |name: &str| match name.strip_prefix("i.").and_then(|class| scripts.classes.get(class)) {
            Some(deliverer) if *deliverer != Deliverer::Package => ScriptReason::System,
            _ if own(name) => ScriptReason::Own,
            _ if self.engine == Engine::Script => ScriptReason::Forced,
            _ => ScriptReason::Together,
        };
        let planned: Vec<PlannedScript> = names(&scripts)
            .into_iter()
            .map(|name| PlannedScript { package: Some(package.clone()), why: why(&name), name })
            .collect();
        self.check(Some(package.as_str()), &planned, &scripts.unknown)?;
        let passing = passing(image, bookkeeping, |name| planned.iter().any(|script| script.name == name));
        Ok(ChosenScripts { bookkeeping, scripts, planned, passing })
    }

    /// The scripts of the patch itself that run now.
    pub(super) fn hooks<'h>(
        &self,
        hooks: impl IntoIterator<Item = &'h str>,
    ) -> Result<Vec<PlannedScript>, Reason> {
        let planned: Vec<PlannedScript> = hooks
            .into_iter()
            .map(|name| PlannedScript { package: None, name: name.to_owned(), why: ScriptReason::Own })
            .collect();
        self.check(None, &planned, &BTreeSet::new())?;
        Ok(planned)
    }

    /// Refuses scripts that the policy of the root does not allow. The scripts of the classes in `unknown` are no better
    /// known than those of the package.
    fn check(
        &self,
        of: Option<&str>,
        planned: &[PlannedScript],
        unknown: &BTreeSet<String>,
    ) -> Result<(), Reason> {
        let is_unknown = |name: &str| name.strip_prefix("i.").is_some_and(|class| unknown.contains(class));
        let forbidden = |script: &&PlannedScript| match self.policy {
            ScriptPolicy::Run => false,
            ScriptPolicy::Known => script.why == ScriptReason::Own || is_unknown(&script.name),
            ScriptPolicy::None | ScriptPolicy::Unwanted => true,
        };
        match planned.iter().find(forbidden) {
            Some(script) => {
                let package = of.map(str::to_owned);
                let by_option = self.policy == ScriptPolicy::Unwanted;
                Err(Reason::ScriptForbidden { package, script: script.name.clone(), by_option })
            }
            None => Ok(()),
        }
    }
}

/// The scripts that patchadd(1M) itself runs, by name.
pub(in crate::plan) fn applying(hooks: &Hooks) -> impl Iterator<Item = &'static str> {
    let there = [("prepatch", hooks.prepatch.is_some()), ("postpatch", hooks.postpatch.is_some())];
    there.into_iter().filter(|(_, there)| *there).map(|(name, _)| name)
}

/// The scripts that patchrm(1M) itself runs, where they are among the files of the patch's directory.
pub const BACKING_OUT: [&str; 2] = ["prebackout", "postbackout"];

/// What a package is in a command about patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Role {
    /// A package of a patch.
    Patch,
    /// A backout package that the classic tools or a patch's own scripts have made.
    Foreign,
    /// A backout package of ours, which has a manifest.
    Ours,
}

impl Role {
    /// Whether the program does the work of a file of `install`. In a backout package the stock scripts stand under
    /// the names of other scripts.
    fn does(self, name: &str, text: &[u8]) -> bool {
        match self {
            Self::Patch => sun_scripts::role(name, text).is_some(),
            Self::Foreign => {
                sun_scripts::role(name, text).is_some()
                    || sun_scripts::role(&format!("patch_{name}"), text).is_some()
            }
            // a class action script that does not just copy is the `u.<class>` of the patch: it knows better how to undo
            Self::Ours => !name.starts_with("i.") || sun_scripts::role(name, text).is_some(),
        }
    }

    /// Whether a package with a script of its own with this text keeps its records itself.
    fn leaves_records_to(self, text: &[u8]) -> bool {
        let has = |word: &&[u8]| text.windows(word.len()).any(|part| part == *word);
        match self {
            Self::Patch => BOOKKEEPING.iter().any(has),
            Self::Foreign => true,
            Self::Ours => false,
        }
    }
}

/// The scripts in the order in which they run.
fn names(scripts: &InstallScripts) -> Vec<String> {
    let fixed = |name: &str, there: bool| there.then(|| name.to_owned());
    let before = [fixed("checkinstall", scripts.checkinstall), fixed("preinstall", scripts.preinstall)];
    let classes = scripts.classes.keys().map(|class| Some(format!("i.{class}")));
    let after = [fixed("postinstall", scripts.postinstall)];
    before.into_iter().chain(classes).chain(after).flatten().collect()
}

/// The files of `install` that only this run has a use for: the scripts that run, and what scripts that keep the records
/// take from there.
fn passing(image: &PackageImage, bookkeeping: Bookkeeping, runs: impl Fn(&str) -> bool) -> Vec<String> {
    let is_material = |name: &str| {
        name.starts_with("patch_") || name.starts_with("u.") || matches!(name, "checkinstall" | "deletes")
    };
    let goes = |name: &&String| match bookkeeping {
        Bookkeeping::Program => is_passing(name) && runs(name),
        Bookkeeping::Scripts => is_recorded(name) && (is_passing(name) || is_material(name)),
    };
    image.install.keys().filter(goes).cloned().collect()
}
