//! What a repair leaves alone: the objects of packages of dpkg and rpm for which no package of their record stands.

use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::NativeOwner;
use patchadm_rootfs::RootError;
use patchadm_svr4::package::{ContentsLine, ObjectPath};

/// The native owners of objects that may be repaired.
pub(super) struct NativeFiles<'g> {
    ground: &'g RootAndPolicy,
    /// The packages of the root, and the owners of the objects.
    inventory: Inventory,
}

impl<'g> NativeFiles<'g> {
    /// Finds the owners of recorded objects.
    pub(super) fn of(ground: &'g RootAndPolicy, lines: &[ContentsLine]) -> Result<Self, Failure> {
        let index = ground.native_index();
        if index.is_empty() {
            return Ok(Self { ground, inventory: Inventory::default() });
        }
        let resolver = ground.root.resolver();
        let place = |line: &ContentsLine| Ok((line.path.clone(), resolver.locate_object(&line.path)?));
        let places = lines.iter().map(place).collect::<Result<Vec<_>, RootError>>()?;
        let native_owners = index.owners_of(places.iter().map(|(path, place)| (path, place)), &resolver)?;
        let packages = ground.packages()?;
        Ok(Self { ground, inventory: Inventory { packages, native_owners, ..Inventory::default() } })
    }

    /// Returns the native package that owns a recorded object, if no package of its line stands for it. What is changed in its
    /// place has all of its names changed: each of them counts.
    pub(super) fn owner(&self, line: &ContentsLine) -> Result<Option<NativeOwner>, RootError> {
        if self.ground.native_index().is_empty() {
            return Ok(None);
        }
        let Inventory { native_owners, .. } = &self.inventory;
        let is_own = line
            .owners
            .iter()
            .any(|owner| self.inventory.foreign_owner(&owner.package, &line.path).is_none());
        if let Some(owner) = native_owners.of(&line.path).first().filter(|_| !is_own) {
            return Ok(Some(owner.clone()));
        }
        self.owner_of_name(line)
    }

    fn owner_of_name(&self, line: &ContentsLine) -> Result<Option<NativeOwner>, RootError> {
        let root = &self.ground.root;
        let place = root.resolver().locate_object(&line.path)?;
        let live = root.live_at(&place)?.filter(|live| live.links > 1 && !live.is_directory());
        let Some(live) = live else { return Ok(None) };
        let mut inventory = Inventory { packages: self.inventory.packages.clone(), ..Inventory::default() };
        inventory.native_owners.add_names(self.ground.native_index(), root, [(&place, &live)].into_iter())?;
        let foreign = line.owners.iter().map(|owner| inventory.foreign_name(&owner.package, &live));
        // One package that stands for all names is enough.
        let foreign: Option<Vec<_>> = foreign.collect();
        Ok(foreign.and_then(|names| names.first().map(|(_, owner)| owner.clone())))
    }

    /// Returns a native package that owns an object without a record.
    pub(super) fn owner_of_unrecorded(&self, path: &ObjectPath) -> Result<Option<NativeOwner>, RootError> {
        let resolver = self.ground.root.resolver();
        let owners = self.ground.native_index().owners(&resolver.locate_object(path)?, &resolver)?;
        Ok(owners.into_iter().next().cloned())
    }
}
