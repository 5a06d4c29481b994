//! `patchadm order`: packages or patches in order of renewal, dependencies first.
//!
//! ```text
//! root ─┬─ depend files ─ depend_edges ──┐
//!       ├─ scan ─ LibraryUses ───────────┼─► DependencyGraph ─► groups, edges
//!       │          └─ contents ─ owners ─┘           ▲
//!       └─ applied patches ─ patch_graph ────────────┤
//! directory of packages, depot ──────────────────────┘
//! ```
//! Objects without a package are nodes of their own. Nothing is locked or changed. [`order`](patchadm_planning::order)
//! forms the groups.

mod edges;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::operation::depots::{DepotError, DepotLocation, FetchSession, open_depot};
use crate::operation::failure::Failure;
use crate::operation::libraries::{ScanError, ScanRequest, known_files, loader_settings};
use crate::operation::queries::recorded_path::recorded_lines;
use crate::operation::session::must_have_database;
use edges::{DependingPackage, LibraryUses, ObjectOwners, depend_edges, patch_graph};
use patchadm_inputs::database::{
    DatabaseError, RecordView, ViewError, all, places, policy, read_consistently,
};
use patchadm_inputs::depot::{DepotIndex, DepotPatch};
use patchadm_inputs::inventory::is_kept_package;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::source;
use patchadm_inputs::source::{Extent, Image, Origin, PackageImage, Source, SourceError, SourceProblem};
use patchadm_libraries::elf::{ElfFacts, ElfMachine};
use patchadm_libraries::{LibraryTree, elf};
use patchadm_planning::order::{
    DependencyGraph, DependencyOrder, EdgeKind, NeedEdge, OrderDirection, OrderRequest,
};
use patchadm_rootfs::Root;
use patchadm_svr4::format::depend::Depend;
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst, variables};
use patchadm_svr4::patch::{AppliedPatches, InstalledInfo, PatchId, PatchList, PatchRecords, Requirements};

/// `interrupt` returns the signal that asks for the end, if any.
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

/// `None` if the operands are packages or paths.
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

fn package_names(view: &RecordView<'_>) -> Result<Vec<PkgInst>, DatabaseError> {
    let names = view.list(&places::packages())?.unwrap_or_default();
    Ok(names.iter().filter_map(|name| PkgInst::new(std::str::from_utf8(name).ok()?).ok()).collect())
}

/// Returns the instance of this name, or else all instances of that package.
fn instances<'p>(packages: &'p [PkgInst], name: &str) -> Vec<&'p PkgInst> {
    let exactly = packages.iter().find(|package| package.as_str() == name);
    exactly.map_or_else(
        || packages.iter().filter(|package| package.abbreviation() == name).collect(),
        |package| vec![package],
    )
}

/// Records of one moment.
struct PackageRecordsRead {
    packages: Vec<DependingPackage>,
    owners: ObjectOwners,
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

fn kept(packages: &[DependingPackage]) -> BTreeSet<String> {
    let kept = packages.iter().filter(|package| is_kept_package(&package.params));
    kept.map(|package| package.instance.to_string()).collect()
}

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

struct Operands<'a> {
    view: &'a RecordView<'a>,
    tree: &'a LibraryTree,
    owners: &'a ObjectOwners,
    packages: &'a [PkgInst],
}

impl Operands<'_> {
    fn nodes(&self, operand: &OrderOperand) -> Result<Vec<String>, OrderError> {
        let nodes = match operand {
            OrderOperand::Name(name) => {
                instances(self.packages, name).into_iter().map(ToString::to_string).collect()
            }
            OrderOperand::Path(path) => self.nodes_of_path(path)?,
        };
        if nodes.is_empty() { Err(OrderError::Unknown(operand.shown())) } else { Ok(nodes) }
    }

    /// Follows links; the object itself if no package owns it.
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

/// In bytes.
const LARGEST: u64 = 64 << 20;

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

/// Returns the patches as if all were applied to one package.
fn patches_of(index: &DepotIndex) -> AppliedPatches {
    let separator = PatchId::SEPARATOR;
    let info = |patch: &DepotPatch| InstalledInfo {
        obsoletes: PatchList::parse(&patch.obsoletes.join(" "), separator).unwrap_or_default(),
        requires: Requirements::parse(&patch.requires.join(" "), separator).unwrap_or_default(),
        ..InstalledInfo::default()
    };
    let Ok(package) = PkgInst::new("depot") else { return AppliedPatches::new(Vec::new()) };
    let mut records = PatchRecords::new(package);
    for patch in index.patches() {
        if let Ok(id) = PatchId::new(&patch.id) {
            records.record_applied(&id, info(patch));
        }
    }
    AppliedPatches::new(vec![records])
}

struct DeliveredBinary {
    package: String,
    path: String,
    facts: ElfFacts,
}

#[derive(Default)]
struct DeliveredPackages {
    packages: Vec<DependingPackage>,
    objects: Vec<DeliveredBinary>,
    owners: ObjectOwners,
    paths: BTreeSet<ObjectPath>,
    not_understood: Vec<(String, String)>,
}

impl DeliveredPackages {
    /// Reads packages (directories, datastreams, archives); skips everything else, patches included.
    fn read(&mut self, directory: &Path) -> Result<(), OrderError> {
        match source::open(Origin::Path(directory), Extent::Unchecked) {
            Ok((source, image)) => return self.take(&source, &image),
            Err(error) if is_no_package(&error) => {}
            Err(error) => return Err(error.into()),
        }
        for (name, is_directory) in source::directory_names(directory) {
            // A directory of packages is no package itself.
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
            Ok(facts) => self.objects.extend(facts.map(|facts| DeliveredBinary { package, path, facts })),
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

fn is_no_package(error: &SourceError) -> bool {
    matches!(
        error.problem,
        SourceProblem::BadForm(_) | SourceProblem::Foreign(_) | SourceProblem::HoldsPatches(_)
    )
}

/// `None` if its name is invalid.
fn described(package: &PackageImage) -> Option<DependingPackage> {
    let instance = PkgInst::new(&package.spooled_name()).ok()?;
    let depend = package.install.get("depend");
    let depend = depend.map(|text| (format!("{instance}/install/depend"), Depend::parse(text)));
    Some(DependingPackage { instance, params: package.params.clone(), depend })
}

/// Returns the installed path, if known.
fn placed(package: &PackageImage, path: &PackagePath) -> Option<ObjectPath> {
    let base = match package.params.get("BASEDIR").map(<[u8]>::trim_ascii) {
        None | Some(b"") => ObjectPath::root(),
        Some(base) => ObjectPath::new(base).ok()?,
    };
    path.resolve(&base, |name| variables::value(&package.params, name)).ok()
}

fn soname_edges(objects: &[DeliveredBinary]) -> Vec<NeedEdge> {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderSubject {
    /// Includes programs and libraries of no package.
    Packages,
    Patches,
}

impl OrderSubject {
    /// `packages` or `patches`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Patches => "patches",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderOperand {
    Name(String),
    /// As recorded.
    Path(ObjectPath),
}

#[derive(Clone, Debug, Default)]
pub struct OrderQuestion {
    /// If empty, all packages, or all patches of a depot.
    pub operands: Vec<OrderOperand>,
    pub direction: OrderDirection,
    /// Dependents first.
    pub is_reversed: bool,
    /// Only packages that need a kept library, or would load two versions of one.
    pub is_about_stale: bool,
    pub with_edges: bool,
}

#[derive(Clone, Debug)]
pub struct OrderAnswer {
    pub subject: OrderSubject,
    /// Groups, and edges if requested.
    pub order: DependencyOrder,
    /// In the order of the groups; `None` if not requested.
    pub stale: Option<Vec<StaleEntry>>,
    /// With reasons, sorted.
    pub not_understood: Vec<(String, String)>,
    /// Sorted.
    pub skipped: Vec<String>,
}

impl OrderAnswer {
    /// For orders that need no scan of files.
    fn of(subject: OrderSubject, order: DependencyOrder) -> Self {
        Self { subject, order, stale: None, not_understood: Vec::new(), skipped: Vec::new() }
    }
}

impl OrderOperand {
    fn shown(&self) -> String {
        match self {
            Self::Name(name) => name.escape_debug().to_string(),
            Self::Path(path) => path.to_string(),
        }
    }
}

impl OrderQuestion {
    fn order(&self, graph: &DependencyGraph, starts: &[String]) -> DependencyOrder {
        let Self { direction, is_reversed, with_edges, .. } = *self;
        graph.order(&OrderRequest { operands: starts, direction, is_reversed, with_edges })
    }

    fn patches<'k>(
        &self,
        known: impl Fn(&PatchId) -> Option<&'k PatchId>,
    ) -> Result<Vec<String>, OrderError> {
        let named = |operand: &OrderOperand| match operand {
            OrderOperand::Name(name) => {
                let id = PatchId::new(name).ok().and_then(|id| known(&id));
                id.map(ToString::to_string).ok_or_else(|| OrderError::Unknown(operand.shown()))
            }
            OrderOperand::Path(_) => Err(OrderError::Mixed),
        };
        self.operands.iter().map(named).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaleReason {
    /// Needs kept libraries.
    Kept,
    /// Would load several versions of one library.
    TwoVersions,
}

impl StaleReason {
    /// `kept` or `two-versions`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::TwoVersions => "two-versions",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleEntry {
    /// A package, or the path of an object without one.
    pub name: String,
    pub reason: StaleReason,
    /// Sorted.
    pub libraries: Vec<String>,
    /// A chain from a program to each library; sorted by program.
    pub ways: Vec<Vec<ObjectPath>>,
}

impl StaleEntry {
    /// True for an object without a package.
    pub fn is_object(&self) -> bool {
        self.name.starts_with('/')
    }
}

/// `kept` are packages of kept libraries, which need nothing for themselves.
fn stale_entries(uses: &LibraryUses, owners: &ObjectOwners, kept: &BTreeSet<String>) -> Vec<StaleEntry> {
    let is_kept = |nodes: &[String]| nodes.iter().any(|node| kept.contains(node));
    let mut of_kept: BTreeMap<String, (BTreeSet<String>, Vec<Vec<ObjectPath>>)> = BTreeMap::new();
    for (path, uses) in uses.uses.iter().filter(|(path, _)| !is_kept(&owners.nodes(path))) {
        for one in uses.iter().filter(|one| is_kept(&owners.nodes(&one.library))) {
            for node in owners.nodes(path) {
                let (libraries, ways) = of_kept.entry(node).or_default();
                libraries.insert(one.name.clone());
                ways.push(vec![path.clone(), one.library.clone()]);
            }
        }
    }
    let mut doubles: BTreeMap<(String, Vec<String>), Vec<Vec<ObjectPath>>> = BTreeMap::new();
    for double in uses.doubles.iter().filter(|double| !is_kept(&owners.nodes(&double.program))) {
        for node in owners.nodes(&double.program) {
            doubles.entry((node, double.libraries.clone())).or_default().extend(double.ways.iter().cloned());
        }
    }
    let of_kept = of_kept.into_iter().map(|(name, (libraries, ways))| StaleEntry {
        name,
        reason: StaleReason::Kept,
        libraries: libraries.into_iter().collect(),
        ways,
    });
    let of_doubles = doubles.into_iter().map(|((name, libraries), ways)| StaleEntry {
        name,
        reason: StaleReason::TwoVersions,
        libraries,
        ways,
    });
    of_kept.chain(of_doubles).collect()
}

/// Also sorts the entries like the groups.
fn only_stale(order: &mut DependencyOrder, mut entries: Vec<StaleEntry>) -> Vec<StaleEntry> {
    let stale: BTreeSet<&String> = entries.iter().map(|entry| &entry.name).collect();
    for group in &mut order.groups {
        group.retain(|name| stale.contains(name));
    }
    order.groups.retain(|group| !group.is_empty());
    order.edges.retain(|edge| stale.contains(&edge.from) && stale.contains(&edge.to));
    let places: HashMap<&String, usize> = order
        .groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| group.iter().map(move |name| (name, at)))
        .collect();
    entries.retain(|entry| places.contains_key(&entry.name));
    entries.sort_by(|one, other| {
        let key = |entry: &StaleEntry| {
            (places.get(&entry.name).copied(), entry.name.clone(), entry.reason, entry.libraries.clone())
        };
        key(one).cmp(&key(other))
    });
    entries
}

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
    #[error("{0} is not an existing package, patch or object")]
    Unknown(String),
    #[error("packages and patches cannot be ordered together: specify one or the other")]
    Mixed,
    #[error("patches have no stale libraries: specify packages or paths with --stale, or nothing")]
    StalePatches,
    #[error("--stale examines installed packages, and cannot be used with -M")]
    StaleElsewhere,
    #[error("{} holds neither packages nor patches", .0.display())]
    Empty(PathBuf),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Depot(#[from] Box<DepotError>),
}

impl From<ScanError> for OrderError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Root(error) => Self::Failure(error.into()),
            ScanError::Interrupted(signal) => Self::Interrupted(signal),
        }
    }
}

impl From<DatabaseError> for OrderError {
    fn from(error: DatabaseError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<ViewError> for OrderError {
    fn from(error: ViewError) -> Self {
        Self::Failure(DatabaseError::from(error).into())
    }
}
