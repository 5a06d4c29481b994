//! `pkgadd`: what installing one package does to a root, as a new instance or over an installed one.
//!
//! The admin file decides where the package goes and what stops it (admin(4)); a question that it leaves open is a
//! refusal where nobody can be asked. Files that no package recorded, and edited ones, are kept beside the new ones.

use crate::format::admin::{Admin, Alteration, Basedir, Check, Instance};
use crate::package::{Edited, Ftype, Installed, Inventory, Mode, ObjectPath, Params, PkgInst};
use crate::source::{Image, PackageImage};

use super::depend::unmet_at_installation;
use super::draft::Draft;
use super::edits::{EditChoice, Edits};
use super::links::sources_first;
use super::occasion::Occasion;
use super::parameters::{self, merged};
use super::records::{self, RecordChanges, package_path};
use super::refusal::{Command, Reason, Refusal};
use super::scripts::refuse_scripts;
use super::target::{Target, Wanted};
use super::validate::{refuse_other_zones, same_version};
use super::{Plan, RecordChange, SpaceNeed, TreeContent, TreeFile, space};

/// What decides about an installation beside the package.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// The admin file.
    pub admin: Admin,
    /// Whether the user can be asked. What the admin file leaves open is then taken as agreed to: the command asks
    /// before it carries the plan out.
    pub conversation: bool,
    /// The environment that is recorded: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
    /// The answers of a request script.
    pub response: Params,
}

impl Default for InstallOptions {
    fn default() -> Self {
        let (environment, response) = (Params::new(), Params::new());
        Self { admin: Admin::delivered(), conversation: false, environment, response }
    }
}

/// Where the package at a place of the image would go: the instance, and its parameters (BASEDIR and CLASSES among
/// them). Of the inventory it looks at the packages only, so that the paths concerned can be surveyed after it.
pub fn placement(
    image: &Image,
    index: usize,
    inventory: &Inventory,
    options: &InstallOptions,
    occasion: &Occasion,
) -> Result<(PkgInst, Params), Refusal> {
    let refuse = |reason: Reason| refusal(image, index, reason);
    let delivered = image.packages.get(index).ok_or_else(|| refuse(Reason::NoSuchPackage))?;
    let installation = Installation { delivered, index, inventory, options, occasion };
    installation.placement().map_err(refuse)
}

/// Plans the installation of the package at a place of the image.
pub fn install(
    image: &Image,
    index: usize,
    inventory: &Inventory,
    options: &InstallOptions,
    occasion: &Occasion,
) -> Result<Plan, Refusal> {
    let refuse = |reason: Reason| refusal(image, index, reason.shown(inventory));
    let delivered = image.packages.get(index).ok_or_else(|| refuse(Reason::NoSuchPackage))?;
    let installation = Installation { delivered, index, inventory, options, occasion };
    installation.plan().map_err(refuse)
}

fn refusal(image: &Image, index: usize, reason: Reason) -> Refusal {
    let name = image.packages.get(index).map(|package| package.params.text("PKG").into_owned());
    reason.of(Command::Pkgadd, &name.unwrap_or_else(|| image.name.clone()))
}

struct Installation<'a> {
    delivered: &'a PackageImage,
    index: usize,
    inventory: &'a Inventory,
    options: &'a InstallOptions,
    occasion: &'a Occasion,
}

impl Installation<'_> {
    fn placement(&self) -> Result<(PkgInst, Params), Reason> {
        let package = self.instance()?;
        let old = self.inventory.packages.get(&package);
        self.check_installed(&package, old)?;
        refuse_scripts(self.delivered, false)?;
        self.check_depend()?;
        let params = self.params(&package, old)?;
        Ok((package, params))
    }

    fn plan(&self) -> Result<Plan, Reason> {
        let (package, params) = self.placement()?;
        let old = self.inventory.packages.get(&package);
        let target = Target::new(package.clone(), self.index, self.delivered, params)?;
        let mut wanted = target.wanted()?;
        self.settle_set_id(&mut wanted)?;
        let draft = self.draft(&target, &wanted)?;
        let records = package_records(&target, old)?;
        let changes: Vec<_> = draft.changes.into_values().collect();
        let space = self.space(&target, &changes, &records)?;
        Ok(Plan {
            command: Command::Pkgadd.name(),
            patches: Vec::new(),
            changes,
            records,
            contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
            trailer: self.occasion.trailer("pkgadd", &package),
            packages: vec![package],
            undo: Vec::new(),
            space,
            discard: Vec::new(),
            notes: draft.notes,
        })
    }

    /// The instance that the package goes into: one of the same version, one that is overwritten, or a new one.
    fn instance(&self) -> Result<PkgInst, Reason> {
        let name = self.delivered.params.text("PKG").trim().to_owned();
        let bad = |reason: String| Reason::BadPkginfo { package: name.clone(), reason };
        let base = PkgInst::new(&name).map_err(|error| bad(error.to_string()))?;
        let installed = self.inventory.packages.iter();
        let instances: Vec<(&PkgInst, &Installed)> =
            installed.filter(|(instance, _)| instance.abbreviation() == base.abbreviation()).collect();
        if instances.is_empty() {
            return Ok(base);
        }
        let same = instances.iter().find(|(_, old)| same_version(&old.params, &self.delivered.params));
        match (self.options.admin.instance, same) {
            (Instance::Quit, _) => {
                Err(Reason::Administration(format!("package {name} is installed already")))
            }
            (Instance::Ask, _) if !self.options.conversation => Err(Reason::Interaction(format!(
                "package {name} is installed already, and the admin file does not say what is to be done"
            ))),
            (_, Some((instance, _))) => Ok((*instance).clone()),
            (Instance::Overwrite, None) => match instances.as_slice() {
                [(instance, _)] => Ok((*instance).clone()),
                _ => Err(Reason::Administration(format!("several instances of {name} are installed"))),
            },
            (_, None) => self.new_instance(&base, instances.len()),
        }
    }

    fn new_instance(&self, base: &PkgInst, count: usize) -> Result<PkgInst, Reason> {
        let most = self.delivered.params.text("MAXINST").trim().parse().unwrap_or(1);
        if count >= most {
            let reason = format!("{count} instances of {base} are installed, and MAXINST is {most}");
            return Err(Reason::Administration(reason));
        }
        let free = (2..=count + 2)
            .filter_map(|number| PkgInst::new(&format!("{base}.{number}")).ok())
            .find(|instance| !self.inventory.packages.contains_key(instance));
        free.ok_or_else(|| Reason::Administration(format!("there is no free instance name for {base}")))
    }

    /// An installed instance must be whole and unpatched: a base package over a patched one would leave records that
    /// speak of files that are gone.
    fn check_installed(&self, package: &PkgInst, old: Option<&Installed>) -> Result<(), Reason> {
        let Some(old) = old else { return Ok(()) };
        if old.partial {
            self.check(self.options.admin.partial, || {
                format!("package {package} is only partially installed")
            })?;
        }
        let patches = old.params.text("PATCHLIST");
        if !patches.trim().is_empty() {
            let reason = format!("patches are applied to package {package}: {}", patches.trim());
            return Err(Reason::Administration(reason));
        }
        refuse_other_zones(package, &old.params, &self.delivered.params)
    }

    fn check_depend(&self) -> Result<(), Reason> {
        let Some(depend) = self.delivered.install.get("depend") else { return Ok(()) };
        let unmet = unmet_at_installation(depend, self.inventory);
        if unmet.is_empty() {
            return Ok(());
        }
        self.check(self.options.admin.idepend, || unmet.join("; "))
    }

    fn params(&self, package: &PkgInst, old: Option<&Installed>) -> Result<Params, Reason> {
        let none = Params::new();
        let old = old.map_or(&none, |old| &old.params);
        let mut delivered = self.delivered.params.clone();
        self.settle_basedir(package, old, &mut delivered)?;
        let mut new = merged(package, old, &delivered, &self.options.environment, self.occasion);
        if old.is_empty() {
            // a package that was patched before it was made carries its records with it
            for (name, value) in delivered.iter().filter(|(name, _)| parameters::is_patch_record(name)) {
                new.set(name, value);
            }
        }
        for (name, value) in self.options.response.iter().filter(|(name, _)| parameters::is_stored(name)) {
            new.set(name, value);
        }
        new.remove("INSTDATE");
        new.set("INSTDATE", self.occasion.instdate());
        Ok(new)
    }

    /// BASEDIR by the admin file; an installed one stays.
    fn settle_basedir(&self, package: &PkgInst, old: &Params, delivered: &mut Params) -> Result<(), Reason> {
        let entries = &self.delivered.pkgmap.entries;
        let relocatable = entries.iter().any(|entry| !entry.is_information() && !entry.path.is_absolute());
        let wanted = match &self.options.admin.basedir {
            Basedir::Path(path) => {
                let text = String::from_utf8_lossy(path).replace("$PKGINST", package.as_str());
                if !text.starts_with('/') {
                    let reason = format!("basedir={text} of the admin file has a variable without value");
                    return Err(Reason::Administration(reason));
                }
                text
            }
            Basedir::Ask if relocatable && old.get("BASEDIR").is_none() && !self.options.conversation => {
                return Err(Reason::Interaction(
                    "the admin file does not say where the package goes".to_owned(),
                ));
            }
            Basedir::Ask | Basedir::Default => return Ok(()),
        };
        match old.get("BASEDIR") {
            Some(there) if there != wanted.as_bytes() => Err(Reason::Administration(format!(
                "it is installed in {}, and the admin file demands {wanted}",
                String::from_utf8_lossy(there)
            ))),
            _ => {
                delivered.set("BASEDIR", wanted);
                Ok(())
            }
        }
    }

    /// Set-id programs, by the admin file.
    fn settle_set_id(&self, wanted: &mut [Wanted<'_>]) -> Result<(), Reason> {
        let set_id = |wanted: &&mut Wanted<'_>| {
            wanted.object.ftype.is_regular() && wanted.object.attributes.mode.is_some_and(Mode::is_set_id)
        };
        for found in wanted.iter_mut().filter(set_id) {
            let path = self.inventory.show(&found.path);
            match self.options.admin.setuid {
                Alteration::NoCheck => {}
                Alteration::NoChange => {
                    let mode = found.object.attributes.mode.map(|mode| Mode::of(mode.bits() & 0o1777));
                    found.object.attributes.mode = mode;
                }
                Alteration::Quit => {
                    return Err(Reason::Administration(format!("{path} would be a set-id program")));
                }
                Alteration::Ask if self.options.conversation => {}
                Alteration::Ask => {
                    return Err(Reason::Interaction(format!("{path} would be a set-id program")));
                }
            }
        }
        Ok(())
    }

    fn draft(&self, target: &Target<'_>, wanted: &[Wanted<'_>]) -> Result<Draft<'_>, Reason> {
        let choice = EditChoice { general: Edited::Replace, ..EditChoice::default() };
        let mut edits = Edits::new(self.inventory, choice, target.package.as_str(), false);
        for each in wanted {
            edits.consider(&each.path, Some(&each.object))?;
            if self.is_conflict(&target.package, each) {
                let path = &each.path;
                match self.options.admin.conflict {
                    Alteration::NoChange => edits.leave(path),
                    Alteration::Quit => {
                        return Err(Reason::Administration(conflict(&self.inventory.show(path))));
                    }
                    Alteration::Ask if !self.options.conversation => {
                        return Err(Reason::Interaction(conflict(&self.inventory.show(path))));
                    }
                    Alteration::NoCheck | Alteration::Ask => {}
                }
            }
        }
        let mut draft = Draft::new(self.inventory);
        for each in wanted.iter().filter(|each| each.object.ftype != Ftype::Link) {
            draft.place(target, each, &edits.handling(&each.path))?;
        }
        for ((), each) in sources_first(wanted.iter().map(|each| ((), each)).collect()) {
            draft.link(target, each, &edits.handling(&each.path))?;
        }
        draft.relink()?;
        draft.finish()?;
        Ok(draft)
    }

    /// Whether another package owns the path and says something else about it.
    fn is_conflict(&self, package: &PkgInst, wanted: &Wanted<'_>) -> bool {
        let Some(line) = self.inventory.lines.get(&wanted.path) else { return false };
        let others = line.owners.iter().any(|owner| owner.package != *package);
        let (known, object) = (&line.object, &wanted.object);
        let silent = object.attributes.mode.is_none();
        let same = known.ftype == object.ftype
            && known.content == object.content
            && known.target == object.target
            && (silent || known.attributes == object.attributes);
        others && !same
    }

    fn space(
        &self,
        target: &Target<'_>,
        changes: &[super::Change],
        records: &[RecordChange],
    ) -> Result<Vec<SpaceNeed>, Reason> {
        let mut extra = Vec::new();
        let text = self.delivered.install.get("space").map(Vec::as_slice).unwrap_or_default();
        for line in String::from_utf8_lossy(text).lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            if let (Some(path), Some(Ok(blocks)), Some(Ok(inodes))) =
                (words.next(), words.next().map(str::parse::<u64>), words.next().map(str::parse::<u64>))
            {
                let path = crate::package::PackagePath::new(path.as_bytes()).map_err(|error| {
                    Reason::BadPkginfo { package: "space".to_owned(), reason: error.to_string() }
                })?;
                extra.push((target.resolve(&path)?, blocks.saturating_mul(512), inodes));
            }
        }
        let needs = space::needs(self.inventory, changes, records, &[], &extra);
        if let Err(reason) = space::enough(&needs) {
            let words = reason.of(Command::Pkgadd, &target.package).why();
            self.check(self.options.admin.space, || words)?;
        }
        Ok(needs)
    }

    /// What a check of the admin file makes of something that was found.
    fn check(&self, check: Check, found: impl FnOnce() -> String) -> Result<(), Reason> {
        match check {
            Check::NoCheck => Ok(()),
            Check::Ask if self.options.conversation => Ok(()),
            Check::Ask => Err(Reason::Interaction(found())),
            Check::Quit => Err(Reason::Administration(found())),
        }
    }
}

fn conflict(path: &ObjectPath) -> String {
    format!("{path} is already installed and is being used by another package")
}

/// The directory of a new instance as one tree, or the changed files of an installed one.
fn package_records(target: &Target<'_>, old: Option<&Installed>) -> Result<Vec<RecordChange>, Reason> {
    let files = records::files(&target.package, target.image, &target.params);
    if let Some(old) = old {
        return Ok(RecordChanges::of(&target.package, old, files)?.changes);
    }
    let files = files.into_iter().map(|(name, bytes)| TreeFile {
        name: name.into_bytes(),
        content: TreeContent::Bytes(bytes),
        mode: Mode::of(0o644),
        mtime: None,
    });
    let path = package_path(&target.package, b"")?;
    Ok(vec![RecordChange::AddTree { path, files: files.collect() }])
}
