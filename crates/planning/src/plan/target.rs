//! One package of a run: the place of its relative paths, the values of its variables, its installed objects, and the
//! links of the root on the way to them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Deref;

use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::{
    Ftype, Mode, Object, ObjectPath, PackagePath, Params, PathError, PkgInst, variables,
};

use super::refusal::{ObjectProblem, Reason};
use patchadm_inputs::format::objects_file::GivenAttributes;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::NativeOrigin;
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::{AtPath, Followed, LinkFollower, LinkMap, Live, LiveKind};

#[derive(Clone, Debug)]
pub(super) struct PackageTarget<'a> {
    pub(super) package: PkgInst,
    pub(super) index: usize,
    pub(super) image: &'a PackageImage,
    pub(super) params: Params,
    pub(super) basedir: ObjectPath,
    places: BTreeMap<ObjectPath, Result<ObjectPath, ObjectProblem>>,
}

#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) entry: &'a PkgmapEntry,
    pub(super) path: ObjectPath,
    pub(super) object: WantedObject<'a>,
    pub(super) given: Option<&'a GivenAttributes>,
}

#[derive(Clone, Debug)]
pub(super) enum WantedObject<'a> {
    Delivered(&'a Object),
    /// A modified copy.
    Settled(Box<Object>),
}

impl Wanted<'_> {
    pub(super) fn open_attributes(&self) -> Option<String> {
        let attributes = &self.object.attributes;
        // A symbolic link has no mode of its own, a hard link no attributes.
        let has_mode = self.object.ftype != Ftype::Symlink;
        let open = [
            ('m', has_mode && attributes.mode.is_none()),
            ('u', attributes.owner.is_none()),
            ('g', attributes.group.is_none()),
        ];
        let letters: String = open.into_iter().filter(|(_, is)| *is).map(|(letter, _)| letter).collect();
        Some(letters).filter(|letters| self.object.ftype != Ftype::Link && !letters.is_empty())
    }
}

impl WantedObject<'_> {
    /// Copies the object if necessary.
    pub(super) fn set_mode(&mut self, mode: Option<Mode>) {
        let mut object = Object::clone(self);
        object.attributes.mode = mode;
        *self = Self::Settled(Box::new(object));
    }
}

impl Deref for WantedObject<'_> {
    type Target = Object;

    fn deref(&self) -> &Object {
        match self {
            Self::Delivered(object) => object,
            Self::Settled(object) => object,
        }
    }
}

pub(super) fn base_directory(params: &Params) -> Result<ObjectPath, PathError> {
    match params.get("BASEDIR").map(<[u8]>::trim_ascii) {
        None | Some(b"") => Ok(ObjectPath::root()),
        Some(path) => ObjectPath::new(path),
    }
}

impl<'a> PackageTarget<'a> {
    pub(super) fn new(
        package: PkgInst,
        index: usize,
        image: &'a PackageImage,
        params: Params,
    ) -> Result<Self, Reason> {
        let basedir = base_directory(&params).map_err(|error| Reason::BadPkginfo {
            package: package.to_string(),
            reason: format!("BASEDIR: {error}"),
        })?;
        Ok(Self { package, index, image, params, basedir, places: BTreeMap::new() })
    }

    /// Moves paths of adopted packages to their diverted or recorded locations.
    pub(super) fn in_root(self, inventory: &Inventory) -> Result<Self, Reason> {
        let installed = inventory.packages.get(&self.package);
        let Some(origin) = installed.and_then(|installed| NativeOrigin::of(&installed.params)) else {
            return Ok(self);
        };
        let (mut named, mut circles) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.image.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
            let path = self.spelled(&entry.path)?;
            if leads_to_itself(inventory, &path, &entry.object).is_some() {
                circles.insert(path.clone());
            }
            named.insert(path);
        }
        for path in &self.image.deletes {
            named.insert(self.spelled(path)?);
        }
        let recorded = self.recorded_by_place(inventory);
        let mut places = BTreeMap::new();
        // A link to itself is excluded by its own name.
        for path in named.difference(&circles) {
            let place = inventory.physical.get(path).unwrap_or(path);
            if let Some(diverted) = inventory.diverted(path, &origin) {
                let by = || diverted.by.clone().unwrap_or_else(|| "the administrator".to_owned());
                let to = diverted.place.clone();
                let is_there = inventory.live.contains_key(&to);
                let found = if is_there { Ok(to) } else { Err(ObjectProblem::Diverted { to, by: by() }) };
                places.insert(path.clone(), found);
            } else if let Some(recorded) = recorded.get(place).filter(|recorded| {
                // A path that the package names in both spellings moves from one to the other.
                !inventory.lines.contains_key(path) && !named.contains(**recorded)
            }) {
                places.insert(path.clone(), Ok((*recorded).clone()));
            } else if let Some(to) = inventory.native_owners.diverted_addition(path, &origin)
                && !inventory.lines.contains_key(path)
            {
                places.insert(path.clone(), Ok(to.clone()));
            }
        }
        Ok(Self { places, ..self })
    }

    fn recorded_by_place<'i>(&self, inventory: &'i Inventory) -> BTreeMap<&'i ObjectPath, &'i ObjectPath> {
        let is_own =
            |path: &ObjectPath| inventory.lines.get(path).is_some_and(|line| line.is_owned_by(&self.package));
        let mut recorded: BTreeMap<&ObjectPath, &ObjectPath> = BTreeMap::new();
        for path in inventory.lines.keys() {
            let place = inventory.physical.get(path).unwrap_or(path);
            let known = recorded.entry(place).or_insert(path);
            if is_own(path) {
                *known = path;
            }
        }
        recorded
    }

    fn spelled(&self, path: &PackagePath) -> Result<ObjectPath, Reason> {
        path.resolve(&self.basedir, |name| self.variable(name))
            .map_err(|error| self.refuse(path, ObjectProblem::BadPath(error.to_string())))
    }

    pub(super) fn resolve(&self, path: &PackagePath) -> Result<ObjectPath, Reason> {
        let spelled = self.spelled(path)?;
        match self.places.get(&spelled) {
            Some(Ok(place)) => Ok(place.clone()),
            Some(Err(problem)) => Err(self.refuse(&spelled, problem.clone())),
            None => Ok(spelled),
        }
    }

    pub(super) fn write(&self, path: &ObjectPath) -> Result<PackagePath, Reason> {
        let relative = if path.is_below(&self.basedir) && !self.basedir.relative().is_empty() {
            path.as_bytes().get(self.basedir.as_bytes().len() + 1..).unwrap_or_default()
        } else {
            path.as_bytes()
        };
        PackagePath::new(relative)
            .map_err(|error| self.refuse(path, ObjectProblem::BadPath(error.to_string())))
    }

    pub(super) fn wanted(&self) -> Result<Vec<Wanted<'a>>, Reason> {
        self.objects(|entry, path| self.expand(entry, path))
    }

    /// For archives of this program: a `$` is not a variable.
    pub(super) fn saved(&self) -> Result<Vec<Wanted<'a>>, Reason> {
        self.objects(|entry, _| Ok(WantedObject::Delivered(&entry.object)))
    }

    fn objects(
        &self,
        object: impl Fn(&'a PkgmapEntry, &ObjectPath) -> Result<WantedObject<'a>, Reason>,
    ) -> Result<Vec<Wanted<'a>>, Reason> {
        let classes: HashSet<String> = classes(&self.params).into_iter().collect();
        let mut wanted = Vec::new();
        for entry in self.image.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
            if classes.contains(entry.object.class.as_str()) {
                let path = self.resolve(&entry.path)?;
                let object = object(entry, &path)?;
                let given = self.image.given.objects.get(&entry.path);
                wanted.push(Wanted { entry, path, object, given });
            }
        }
        wanted.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(wanted)
    }

    pub(super) fn declared_directories(&self) -> BTreeMap<ObjectPath, Object> {
        let classes: HashSet<String> = classes(&self.params).into_iter().collect();
        let entries = self.image.pkgmap.entries.iter().filter(|entry| entry.object.ftype.is_directory());
        let left_out = entries.filter(|entry| !classes.contains(entry.object.class.as_str()));
        let declared = left_out.filter_map(|entry| {
            let object = variables::expand_object(&entry.object, &self.params).ok()?.into_owned();
            Some((self.resolve(&entry.path).ok()?, object))
        });
        declared.collect()
    }

    pub(super) fn refuse(&self, path: &impl ToString, problem: ObjectProblem) -> Reason {
        Reason::Object { package: self.package.clone(), path: path.to_string(), problem }
    }

    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        variables::value(&self.params, name)
    }

    fn expand(&self, entry: &'a PkgmapEntry, path: &ObjectPath) -> Result<WantedObject<'a>, Reason> {
        let object = variables::expand_object(&entry.object, &self.params).map(|object| match object {
            Cow::Borrowed(object) => WantedObject::Delivered(object),
            Cow::Owned(object) => WantedObject::Settled(Box::new(object)),
        });
        object.map_err(|error| self.refuse(path, ObjectProblem::BadPath(error.to_string())))
    }
}

/// True for patches and backout packages.
pub(super) fn is_patch(delivered: &Params) -> bool {
    let says = |name: &&str| !delivered.text(name).trim().is_empty();
    ["SUNW_PATCHID", "Patch_label", "ACTIVE_PATCH"].iter().any(says)
}

pub(super) fn classes(params: &Params) -> Vec<String> {
    let text = params.text("CLASSES");
    let classes: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if classes.is_empty() { vec!["none".to_owned()] } else { classes }
}

/// Adds each class that is not there yet.
pub(super) fn add_classes<'c>(classes: &mut Vec<String>, more: impl Iterator<Item = &'c str>) {
    let mut known: HashSet<String> = classes.iter().cloned().collect();
    for class in more {
        if !known.contains(class) {
            known.insert(class.to_owned());
            classes.push(class.to_owned());
        }
    }
}

/// The symbolic links of a root.
pub(super) struct KnownLinks<'a>(pub(super) &'a BTreeMap<ObjectPath, Live>);

impl LinkMap for KnownLinks<'_> {
    fn at(&self, path: &[u8]) -> AtPath {
        match self.0.get(path).map(|live| &live.kind) {
            Some(LiveKind::Symlink(target)) => AtPath::Link(target.as_slice().into()),
            _ => AtPath::Other,
        }
    }
}

/// Returns the destination of a path through the links of the root.
pub(super) fn place_of(links: &mut LinkFollower<KnownLinks<'_>>, path: &ObjectPath) -> ObjectPath {
    let mut place = || {
        let followed = links.follow(Followed::default(), path.parent_bytes()?, &mut false)?;
        ObjectPath::new(followed.path()).ok()?.join(path.name()).ok()
    };
    place().unwrap_or_else(|| path.clone())
}

/// The place of a link that would point to itself, because two directories are one on this root (`/bin`, `/usr/bin`).
pub(super) fn leads_to_itself(
    inventory: &Inventory,
    path: &ObjectPath,
    object: &Object,
) -> Option<ObjectPath> {
    let to = object.target.as_deref().filter(|_| object.ftype.is_link())?;
    let mut links = LinkFollower::new(KnownLinks(&inventory.live));
    let mut place_of = |path: &ObjectPath| {
        inventory.physical.get(path).cloned().unwrap_or_else(|| place_of(&mut links, path))
    };
    let place = place_of(path);
    let is_itself = if object.ftype == Ftype::Link {
        path.link_source(to).is_ok_and(|source| source != *path && place_of(&source) == place)
    } else {
        // A relative target starts in the directory that the package means; the system resolves it in the real one.
        let targets = [path, &place].into_iter().filter_map(|link| symlink_target(link, to));
        targets.filter(|to| to.name() == place.name()).any(|to| place_of(&to) == place)
    };
    is_itself.then_some(place)
}

/// Links on the way are not followed.
pub(super) fn symlink_target(link: &ObjectPath, to: &[u8]) -> Option<ObjectPath> {
    let mut at = if to.first() == Some(&b'/') { ObjectPath::root() } else { link.parent()? };
    for part in to.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        at = if part == b".." { at.parent().unwrap_or_else(ObjectPath::root) } else { at.join(part).ok()? };
    }
    Some(at)
}
