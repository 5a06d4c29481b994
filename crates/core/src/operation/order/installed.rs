//! The order of the packages or patches of a root.

use std::collections::BTreeSet;

use super::answer::{OrderAnswer, OrderOperand, OrderQuestion, OrderSubject};
use super::depend_edges::{DependingPackage, depend_edges};
use super::error::OrderError;
use super::library_uses::LibraryUses;
use super::object_owners::ObjectOwners;
use super::patch_edges::patch_graph;
use super::stale::{only_stale, stale_entries};
use crate::operation::failure::Failure;
use crate::operation::libraries::{ScanRequest, known_files, loader_settings};
use crate::operation::queries::recorded_path::recorded_lines;
use crate::operation::session::must_have_database;
use patchadm_inputs::database::{DatabaseError, RecordView, all, places, policy, read_consistently};
use patchadm_inputs::inventory::is_kept_package;
use patchadm_inputs::policy::Policy;
use patchadm_libraries::LibraryTree;
use patchadm_planning::order::DependencyGraph;
use patchadm_rootfs::Root;
use patchadm_svr4::format::depend::Depend;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// Sorts packages or patches of a root. `interrupt` returns the signal that asks this to end.
pub fn order_of_root(
    root: &Root,
    question: &OrderQuestion,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<OrderAnswer, OrderError> {
    must_have_database(root)?;
    match patches_meant(root, question)? {
        None => order_of_packages(root, question, interrupt),
        Some(_) if question.is_about_stale => Err(OrderError::StalePatches),
        Some(applied) => {
            let starts = question.patches(|id| applied.get(id).map(|patch| &patch.id))?;
            Ok(OrderAnswer::of(OrderSubject::Patches, question.order(&patch_graph(&applied), &starts)))
        }
    }
}

/// Returns the applied patches, if the operands are some of them; `None` if they are packages or paths.
fn patches_meant(root: &Root, question: &OrderQuestion) -> Result<Option<AppliedPatches>, OrderError> {
    if question.operands.is_empty() {
        return Ok(None);
    }
    let packages = read_consistently(root, package_names)?;
    let is_package = |operand: &&OrderOperand| match operand {
        OrderOperand::Name(name) => !instances(&packages, name).is_empty(),
        OrderOperand::Path(_) => true,
    };
    let (packages, others): (Vec<_>, Vec<_>) = question.operands.iter().partition(is_package);
    if others.is_empty() {
        return Ok(None);
    }
    let separator = policy::of_root(root).map_err(Failure::from)?.separator;
    let applied = read_consistently(root, |view| all::applied(view, &separator))?;
    let is_applied = |operand: &OrderOperand| match operand {
        OrderOperand::Name(name) => PatchId::new(name).is_ok_and(|id| applied.get(&id).is_some()),
        OrderOperand::Path(_) => false,
    };
    match others.iter().find(|operand| !is_applied(operand)) {
        Some(unknown) => Err(OrderError::Unknown(unknown.shown())),
        None if packages.is_empty() => Ok(Some(applied)),
        None => Err(OrderError::Mixed),
    }
}

/// Returns the names of the directories of packages. Reading each shows whether it is a package.
fn package_names(view: &RecordView<'_>) -> Result<Vec<PkgInst>, DatabaseError> {
    let names = view.list(&places::packages())?.unwrap_or_default();
    Ok(names.iter().filter_map(|name| PkgInst::new(std::str::from_utf8(name).ok()?).ok()).collect())
}

/// Returns the instances that a name means: the one of that name, otherwise all of that package.
fn instances<'p>(packages: &'p [PkgInst], name: &str) -> Vec<&'p PkgInst> {
    let exactly = packages.iter().find(|package| package.as_str() == name);
    exactly.map_or_else(
        || packages.iter().filter(|package| package.abbreviation() == name).collect(),
        |package| vec![package],
    )
}

/// The contents of the records at one moment.
struct PackageRecordsRead {
    packages: Vec<DependingPackage>,
    owners: ObjectOwners,
    /// The nodes that the operands mean.
    starts: Vec<String>,
}

fn order_of_packages(
    root: &Root,
    question: &OrderQuestion,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<OrderAnswer, OrderError> {
    let known = known_files(root);
    let Policy { shlib_skip, shlib_scan, .. } = policy::of_root(root).map_err(Failure::from)?;
    let request = ScanRequest { root, skip: &shlib_skip, scan: &shlib_scan, known: &known, interrupt };
    let scan = request.scan()?;
    let read: PackageRecordsRead = read_consistently(root, |view| {
        let packages = depending_packages(view)?;
        let owners = ObjectOwners::read(view, &scan.tree, root.workers())?;
        let instances: Vec<PkgInst> = packages.iter().map(|package| package.instance.clone()).collect();
        let operands = Operands { view, tree: &scan.tree, owners: &owners, packages: &instances };
        let starts = question.operands.iter().map(|operand| operands.nodes(operand));
        let starts = starts.collect::<Result<Vec<_>, OrderError>>()?.concat();
        Ok::<_, OrderError>(PackageRecordsRead { packages, owners, starts })
    })?;
    let PackageRecordsRead { packages, owners, mut starts } = read;
    let uses = LibraryUses::of(&scan.tree, &loader_settings(root), interrupt);
    if let Some(signal) = interrupt() {
        return Err(OrderError::Interrupted(signal));
    }
    let mut edges = depend_edges(&packages);
    edges.extend(owners.edges(&uses));
    let stale = question.is_about_stale.then(|| stale_entries(&uses, &owners, &kept(&packages)));
    let names: Vec<String> = packages.iter().map(|package| package.instance.to_string()).collect();
    let stale_names = || stale.iter().flatten().map(|entry| entry.name.clone());
    let graph = DependencyGraph::new(names.iter().cloned().chain(stale_names()).chain(starts.clone()), edges);
    if question.operands.is_empty() {
        starts.extend(names.into_iter().chain(stale_names()));
    }
    let mut order = question.order(&graph, &starts);
    let stale = stale.map(|entries| only_stale(&mut order, entries));
    let not_understood = scan.not_understood.into_iter().map(|(path, reason)| (root.show(&path), reason));
    let skipped = scan.skipped.iter().map(|path| root.show(path)).collect();
    let not_understood = not_understood.collect();
    Ok(OrderAnswer { stale, not_understood, skipped, ..OrderAnswer::of(OrderSubject::Packages, order) })
}

/// Returns the packages that hold kept libraries.
fn kept(packages: &[DependingPackage]) -> BTreeSet<String> {
    let kept = packages.iter().filter(|package| is_kept_package(&package.params));
    kept.map(|package| package.instance.to_string()).collect()
}

/// Reads all installed packages with their `depend` files.
fn depending_packages(view: &RecordView<'_>) -> Result<Vec<DependingPackage>, OrderError> {
    all::each(view, |package| {
        let Some(params) = package.params()? else { return Ok(None) };
        let instance = package.inst().clone();
        let depend = package.depend()?.map(|text| {
            let file = places::package(&instance).join(b"install/depend");
            (file.map(|path| path.to_string()).unwrap_or_default(), Depend::parse(&text))
        });
        Ok::<_, OrderError>(Some(DependingPackage { instance, params, depend }))
    })
}

/// The data in which operands are looked up.
struct Operands<'a> {
    view: &'a RecordView<'a>,
    tree: &'a LibraryTree,
    owners: &'a ObjectOwners,
    packages: &'a [PkgInst],
}

impl Operands<'_> {
    /// Returns the nodes that an operand means.
    fn nodes(&self, operand: &OrderOperand) -> Result<Vec<String>, OrderError> {
        let nodes = match operand {
            OrderOperand::Name(name) => {
                instances(self.packages, name).into_iter().map(ToString::to_string).collect()
            }
            OrderOperand::Path(path) => self.nodes_of_path(path)?,
        };
        if nodes.is_empty() { Err(OrderError::Unknown(operand.shown())) } else { Ok(nodes) }
    }

    /// Returns the packages of a path, as it was named or with its links followed; the object itself if none has it.
    fn nodes_of_path(&self, path: &ObjectPath) -> Result<Vec<String>, OrderError> {
        let lines = recorded_lines(self.view, std::slice::from_ref(path))?;
        let owners = lines.iter().flat_map(|lines| lines.values()).flat_map(|line| &line.owners);
        let owners: BTreeSet<String> = owners.map(|owner| owner.package.to_string()).collect();
        if !owners.is_empty() {
            return Ok(owners.into_iter().collect());
        }
        if let Some(way) = self.tree.follow(path.as_bytes()) {
            return Ok(self.owners.nodes(&way.path));
        }
        let located = self.view.root().resolver().locate(path).ok();
        let mut names = located.iter().chain([path]);
        let is_there = names.any(|path| self.view.look(path).is_ok_and(|seen| seen.is_some()));
        Ok(is_there.then(|| path.to_string()).into_iter().collect())
    }
}
