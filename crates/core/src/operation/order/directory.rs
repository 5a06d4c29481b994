//! The order of packages in a directory, or of patches in a depot.
//!
//! Nothing says where the packages of a directory will find their libraries. So any library with the needed SONAME and for
//! the same machine counts.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::path::Path;

use super::answer::{OrderAnswer, OrderOperand, OrderQuestion, OrderSubject};
use super::depend_edges::{DependingPackage, depend_edges};
use super::error::OrderError;
use super::object_owners::ObjectOwners;
use super::patch_edges::patch_graph;
use crate::operation::depots::{DepotLocation, FetchSession, open_depot};
use patchadm_inputs::depot::{DepotIndex, DepotPatch};
use patchadm_inputs::source::{
    self, Extent, Image, Origin, PackageImage, Source, SourceError, SourceProblem,
};
use patchadm_libraries::elf::{self, ElfFacts, ElfMachine};
use patchadm_planning::order::{DependencyGraph, EdgeKind, NeedEdge};
use patchadm_svr4::format::depend::Depend;
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst, variables};
use patchadm_svr4::patch::{AppliedPatches, InstalledInfo, PatchId, PatchList, PatchRecords, Requirements};

/// The largest program or library that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Sorts the packages of a directory, or the patches of a depot.
pub fn order_of_directory(
    directory: &Path,
    question: &OrderQuestion,
    session: &FetchSession<'_>,
) -> Result<OrderAnswer, OrderError> {
    if question.is_about_stale {
        return Err(OrderError::StaleElsewhere);
    }
    let mut delivered = DeliveredPackages::default();
    if !directory.join("index.json").is_file() {
        delivered.read(directory)?;
    }
    if !delivered.packages.is_empty() {
        return delivered.order(question);
    }
    let depot =
        open_depot(&DepotLocation::Directory(directory.to_owned()), &[], session).map_err(Box::new)?;
    if depot.index().patches().len() == 0 {
        return Err(OrderError::Empty(directory.to_owned()));
    }
    let patches = patches_of(depot.index());
    let starts = match question.patches(|id| patches.get(id).map(|patch| &patch.id))? {
        none if none.is_empty() => patches.iter().map(|patch| patch.id.to_string()).collect(),
        starts => starts,
    };
    Ok(OrderAnswer::of(OrderSubject::Patches, question.order(&patch_graph(&patches), &starts)))
}

/// Returns the patches of a depot with their relations, as if all were applied to one package.
fn patches_of(index: &DepotIndex) -> AppliedPatches {
    let separator = PatchId::SEPARATOR;
    let info = |patch: &DepotPatch| InstalledInfo {
        obsoletes: PatchList::parse(&patch.obsoletes.join(" "), separator).unwrap_or_default(),
        requires: Requirements::parse(&patch.requires.join(" "), separator).unwrap_or_default(),
        ..InstalledInfo::default()
    };
    let Ok(package) = PkgInst::new("depot") else { return AppliedPatches::new(Vec::new()) };
    let mut records = PatchRecords::none(package);
    for patch in index.patches() {
        if let Ok(id) = PatchId::new(&patch.id) {
            records.record_applied(&id, info(patch));
        }
    }
    AppliedPatches::new(vec![records])
}

/// A delivered program or library.
struct DeliveredObject {
    package: String,
    path: String,
    facts: ElfFacts,
}

/// The packages of a directory.
#[derive(Default)]
struct DeliveredPackages {
    packages: Vec<DependingPackage>,
    objects: Vec<DeliveredObject>,
    /// The packages that would own each path.
    owners: ObjectOwners,
    paths: BTreeSet<ObjectPath>,
    not_understood: Vec<(String, String)>,
}

impl DeliveredPackages {
    /// Reads a directory that is a package or holds packages: as directories, datastreams or archives. Skips everything
    /// else, including patches.
    fn read(&mut self, directory: &Path) -> Result<(), OrderError> {
        match source::open(Origin::Path(directory), Extent::Unchecked) {
            Ok((source, image)) => return self.take(&source, &image),
            Err(error) if is_no_package(&error) => {}
            Err(error) => return Err(error.into()),
        }
        for (name, is_directory) in source::directory_names(directory) {
            // A directory of packages is no package of this directory.
            if is_directory {
                continue;
            }
            match source::open(Origin::Path(&directory.join(name)), Extent::Unchecked) {
                Ok((source, image)) => self.take(&source, &image)?,
                Err(error) if is_no_package(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take(&mut self, source: &Source, image: &Image) -> Result<(), OrderError> {
        if image.packages.iter().any(|package| package.params.get("SUNW_PATCHID").is_some()) {
            return Ok(());
        }
        for package in &image.packages {
            self.packages.extend(described(package));
            for path in package.pkgmap.entries.iter().filter_map(|entry| placed(package, &entry.path)) {
                self.owners.add(path.clone(), vec![package.spooled_name()]);
                self.paths.insert(path);
            }
        }
        source.stream(image, &mut |_, _| true, &mut |number, path, _, data: &mut dyn Read| {
            let Some(package) = image.packages.get(number) else { return Ok(()) };
            self.look_into(package, path, data).map_err(|error| SourceError {
                path: source.path().to_owned(),
                problem: SourceProblem::Io { file: Some(path.to_string()), error },
            })
        })?;
        Ok(())
    }

    /// Looks into a file if it is a program or library.
    fn look_into(
        &mut self,
        package: &PackageImage,
        path: &PackagePath,
        data: &mut dyn Read,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        data.take(elf::MAGIC.len() as u64).read_to_end(&mut bytes)?;
        if bytes != elf::MAGIC {
            return Ok(());
        }
        data.take(LARGEST).read_to_end(&mut bytes)?;
        let read = if bytes.len() as u64 > LARGEST {
            Err(format!("it is larger than {} MiB", LARGEST >> 20))
        } else {
            elf::read(&mut &bytes[..]).map_err(|error| error.to_string())
        };
        let path = placed(package, path).map_or_else(|| path.to_string(), |path| path.to_string());
        let package = package.spooled_name();
        match read {
            Ok(facts) => self.objects.extend(facts.map(|facts| DeliveredObject { package, path, facts })),
            Err(reason) => self.not_understood.push((format!("{package}: {path}"), reason)),
        }
        Ok(())
    }

    fn order(mut self, question: &OrderQuestion) -> Result<OrderAnswer, OrderError> {
        self.not_understood.sort();
        let names: Vec<String> = self.packages.iter().map(|package| package.instance.to_string()).collect();
        let starts = question.operands.iter().map(|operand| self.nodes(operand, &names));
        let mut starts = starts.collect::<Result<Vec<_>, OrderError>>()?.concat();
        if starts.is_empty() {
            starts.clone_from(&names);
        }
        let mut edges = depend_edges(&self.packages);
        edges.extend(soname_edges(&self.objects));
        let order = question.order(&DependencyGraph::new(names, edges), &starts);
        Ok(OrderAnswer {
            not_understood: self.not_understood,
            ..OrderAnswer::of(OrderSubject::Packages, order)
        })
    }

    /// Returns the packages that an operand means.
    fn nodes(&self, operand: &OrderOperand, names: &[String]) -> Result<Vec<String>, OrderError> {
        let of_name = |name: &str| {
            let packages = self.packages.iter().map(|package| &package.instance);
            packages.filter(|instance| instance.abbreviation() == name).map(ToString::to_string).collect()
        };
        let nodes: Vec<String> = match operand {
            OrderOperand::Name(name) if names.contains(name) => vec![name.clone()],
            OrderOperand::Name(name) => of_name(name),
            OrderOperand::Path(path) if self.paths.contains(path) => self.owners.nodes(path),
            OrderOperand::Path(_) => Vec::new(),
        };
        if nodes.is_empty() { Err(OrderError::Unknown(operand.shown())) } else { Ok(nodes) }
    }
}

/// Returns whether an error only means that something other than a package was opened.
fn is_no_package(error: &SourceError) -> bool {
    matches!(error.problem, SourceProblem::BadForm(_) | SourceProblem::HoldsPatches(_))
}

/// Returns a package with its `depend` file; `None` if its name is invalid.
fn described(package: &PackageImage) -> Option<DependingPackage> {
    let instance = PkgInst::new(&package.spooled_name()).ok()?;
    let depend = package.install.get("depend");
    let depend = depend.map(|text| (format!("{instance}/install/depend"), Depend::parse(text)));
    Some(DependingPackage { instance, params: package.params.clone(), depend })
}

/// Returns where an object would be installed; `None` if that is unknown.
fn placed(package: &PackageImage, path: &PackagePath) -> Option<ObjectPath> {
    let base = match package.params.get("BASEDIR").map(<[u8]>::trim_ascii) {
        None | Some(b"") => ObjectPath::root(),
        Some(base) => ObjectPath::new(base).ok()?,
    };
    path.resolve(&base, |name| variables::value(&package.params, name)).ok()
}

/// Returns the edges from the needs of objects to the packages whose libraries have that SONAME.
fn soname_edges(objects: &[DeliveredObject]) -> Vec<NeedEdge> {
    let mut providers: HashMap<(&str, ElfMachine), BTreeSet<&str>> = HashMap::new();
    for object in objects {
        if let Some(soname) = &object.facts.soname {
            providers.entry((soname, object.facts.machine)).or_default().insert(&object.package);
        }
    }
    let mut edges = Vec::new();
    for object in objects {
        for need in &object.facts.needed {
            let Some(packages) = providers.get(&(&**need, object.facts.machine)) else { continue };
            if packages.contains(&*object.package) {
                continue;
            }
            edges.extend(packages.iter().map(|to| NeedEdge {
                from: object.package.clone(),
                to: (*to).to_owned(),
                kind: EdgeKind::Elf,
                object: Some(object.path.clone()),
                need: need.clone(),
            }));
        }
    }
    edges
}
