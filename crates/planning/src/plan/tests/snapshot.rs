//! The snapshot of a patch whose scripts keep the records.

use super::parcel::{Parcel, patch};
use super::path;
use super::world::World;
use crate::plan::UndoArchive;
use crate::plan::patch::snapshot::completed;
use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_svr4::package::ObjectPath;

/// Returns the archive that is planned for a patch of scripts, and the root when they are through.
fn applied(scripts: impl FnOnce(&mut World)) -> UndoArchive {
    let base = Parcel::empty("base").package("ACMEweb", "").file("bin/httpd", "same").file("bin/tool", "old");
    let mut world = World::new().with(&base);
    let parcel = patch("900-01", "")
        .file("bin/httpd", "same")
        .file("bin/new", "new")
        .file("bin/tool", "new")
        .deletes("bin/never")
        .install("checkinstall", "PATCHLIST=");
    world.plan(&parcel).unwrap();
    let plan = world.apply(&parcel).unwrap().plan;
    let before = world.inventory.packages[&super::package("ACMEweb")].clone();
    assert_eq!(world.patchadd(&parcel), 0);
    scripts(&mut world);
    completed(&plan.undo[0], &before, &world.inventory)
}

fn record(archive: &UndoArchive, at: &str) -> Option<ObjectRecord> {
    let at: ObjectPath = path(at);
    archive.manifest.objects.iter().find(|record| record.object_path().as_ref() == Some(&at)).cloned()
}

#[test]
fn it_names_every_object_that_the_patch_delivers_or_takes_away_changed_or_not() {
    let archive = applied(|_| ());
    for at in ["/opt/web/bin/httpd", "/opt/web/bin/new", "/opt/web/bin/tool"] {
        assert!(record(&archive, at).unwrap().delivered, "{at}");
    }
    let never = record(&archive, "/opt/web/bin/never").unwrap();
    assert!(!never.delivered && never.has_path());
}

#[test]
fn what_scripts_took_away_again_is_not_delivered() {
    let archive = applied(|world| {
        for at in ["/opt/web/bin/new", "/opt/web/bin/tool"] {
            world.inventory.live.remove(&path(at));
        }
    });
    for at in ["/opt/web/bin/new", "/opt/web/bin/tool"] {
        let record = record(&archive, at).unwrap();
        assert!(!record.delivered && record.became.is_none() && record.has_path(), "{at}");
    }
}
