//! Decides which scripts of a patch run and who keeps its records. Stock patch scripts never have to run: the program
//! does their work. A package's own script always runs. If it is a stock script with added commands, it keeps the
//! records and builds the backout package. Only the texts decide.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use patchadm_changeset::format::escaped::{as_text, as_text_if_any};
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_inputs::source::{Hooks, PackageImage, sun_scripts};
use patchadm_svr4::package::{Params, PkgInst};

use crate::plan::refusal::Reason;
use crate::plan::scripts::{Deliverer, InstallScripts, SystemScripts, is_passing, is_recorded};

/// From the published patch scripts. A script that contains one of these names keeps the records itself.
const BOOKKEEPING: [&[u8]; 2] = [b"PATCHLIST", b"PATCH_BUILD_DIR"];

/// Who does the work of the patch scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The program, unless a package has patch scripts of its own.
    #[default]
    Auto,
    /// The program; refuses a package whose own scripts must do it.
    Native,
    /// The scripts of every package with a checkinstall, stock ones too.
    Script,
}

/// The keeper of a package's records makes its undo archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bookkeeping {
    Program,
    Scripts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptReason {
    /// The patch or package has its own script.
    Own,
    /// A stock script works together with others that are not.
    Together,
    /// The user wants stock scripts to do the work.
    Forced,
    /// The system's script for a class.
    System,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedScript {
    /// `None` for a script of the patch itself.
    #[serde(serialize_with = "as_text_if_any")]
    pub package: Option<PkgInst>,
    pub name: String,
    #[serde(serialize_with = "as_text")]
    pub why: ScriptReason,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptChoice {
    pub engine: Engine,
    /// Allowed by the root.
    pub policy: ScriptPolicy,
    /// Other than those of the packages.
    pub system: SystemScripts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenScripts {
    pub bookkeeping: Bookkeeping,
    pub scripts: InstallScripts,
    pub planned: Vec<PlannedScript>,
    /// Files of `install` that are removed at the end.
    pub passing: Vec<String>,
}

impl ChosenScripts {
    pub fn has_scripts(&self) -> bool {
        !self.planned.is_empty()
    }

    /// Classes whose files a script of the package itself installs.
    pub fn own_classes(&self) -> impl Iterator<Item = &str> {
        let own = self.planned.iter().filter(|script| script.why == ScriptReason::Own);
        own.filter_map(|script| script.name.strip_prefix("i."))
    }
}

impl fmt::Display for ScriptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Together => "stock, works together with others",
            Self::Forced => "stock, forced",
            Self::System => "of the system",
        })
    }
}

impl ScriptChoice {
    pub(in crate::plan) fn about(
        &self,
        package: &PkgInst,
        image: &PackageImage,
        params: &Params,
        role: Role,
    ) -> Result<ChosenScripts, Reason> {
        let mut scripts = InstallScripts::of(image, params, &self.system);
        // Nobody can be asked: the answers of a request script are in the patch's response
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
            // A stock script under the name of a class copies as the program does; the files of a backout package have
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

pub(in crate::plan) fn applying(hooks: &Hooks) -> impl Iterator<Item = &'static str> {
    let there = [("prepatch", hooks.prepatch.is_some()), ("postpatch", hooks.postpatch.is_some())];
    there.into_iter().filter(|(_, there)| *there).map(|(name, _)| name)
}

/// patchrm(1M) itself runs them, if the patch's directory has them.
pub const BACKING_OUT: [&str; 2] = ["prebackout", "postbackout"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Role {
    Patch,
    /// Made by the classic tools or a patch's own scripts.
    Foreign,
    /// Has a manifest.
    Ours,
}

impl Role {
    /// Backout packages contain the stock scripts under other names.
    fn does(self, name: &str, text: &[u8]) -> bool {
        match self {
            Self::Patch => sun_scripts::role(name, text).is_some(),
            Self::Foreign => {
                sun_scripts::role(name, text).is_some()
                    || sun_scripts::role(&format!("patch_{name}"), text).is_some()
            }
            // A class action script that does not just copy is the `u.<class>` of the patch: it knows better how to
            // undo
            Self::Ours => !name.starts_with("i.") || sun_scripts::role(name, text).is_some(),
        }
    }

    fn leaves_records_to(self, text: &[u8]) -> bool {
        let has = |word: &&[u8]| text.windows(word.len()).any(|part| part == *word);
        match self {
            Self::Patch => BOOKKEEPING.iter().any(has),
            Self::Foreign => true,
            Self::Ours => false,
        }
    }
}

fn names(scripts: &InstallScripts) -> Vec<String> {
    let fixed = |name: &str, there: bool| there.then(|| name.to_owned());
    let before = [fixed("checkinstall", scripts.checkinstall), fixed("preinstall", scripts.preinstall)];
    let classes = scripts.classes.keys().map(|class| Some(format!("i.{class}")));
    let after = [fixed("postinstall", scripts.postinstall)];
    before.into_iter().chain(classes).chain(after).flatten().collect()
}

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
