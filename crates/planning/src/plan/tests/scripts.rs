//! The scripts of a patch that run, and the keeper of the records.

use std::collections::BTreeMap;

use super::package;
use super::parcel::{Parcel, patch};
use super::world::{World, now};
use crate::plan::patch::backout_input::BackoutArchive;
use crate::plan::patch::engine::{Bookkeeping, Engine};
use crate::plan::patch::patch_plan::PatchPlan;
use crate::plan::refusal::Refusal;
use crate::plan::scripts::Deliverer;
use patchadm_inputs::policy::{Edited, ScriptPolicy};
use patchadm_svr4::format::pkgmap::PkgmapEntry;

/// Returns a stock script, as a producer delivers it.
fn stock(name: &str) -> Option<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/goldens/scripts/subst/");
    std::fs::read_to_string(format!("{path}{name}")).ok()
}

fn world() -> World {
    World::new().with(&Parcel::empty("base").package("ACMEweb", "").file("bin/httpd", "old"))
}

fn planned(world: &mut World, parcel: &Parcel) -> Result<PatchPlan, Refusal> {
    world.plan(parcel)?;
    world.apply(parcel)
}

/// Returns the keeper of the records, and the scripts that run, each with the reason.
fn decided(engine: Engine, parcel: &Parcel) -> (Bookkeeping, String) {
    let mut world = world();
    world.options.scripts.engine = engine;
    let scripted = planned(&mut world, parcel).unwrap();
    let scripts = scripted.scripts();
    let shown = scripts.iter().map(|script| format!("{} ({})", script.name, script.why));
    (scripted.parts[0].chosen.bookkeeping, shown.collect::<Vec<_>>().join(", "))
}

#[test]
fn a_patch_without_scripts_has_none_whatever_is_wanted() {
    for engine in [Engine::Auto, Engine::Native, Engine::Script] {
        let plain = patch("900-01", "").file("bin/httpd", "new");
        assert_eq!(decided(engine, &plain), (Bookkeeping::Program, String::new()));
    }
}

#[test]
fn own_scripts_run_beside_the_bookkeeping_of_the_program() {
    let mut own = patch("900-01", "CLASSES=none,mine").file("bin/httpd", "new").of_class("mine");
    own = own.install("postinstall", "exit 0").install("i.mine", "exit 0").install("checkinstall", "exit 0");
    own.image.hooks.prepatch = Some(b"exit 0".to_vec());
    own.image.hooks.postpatch = Some(b"exit 0".to_vec());
    own.image.hooks.prebackout = Some(b"exit 0".to_vec());
    let all = "prepatch (own), checkinstall (own), i.mine (own), postinstall (own), postpatch (own)";
    for engine in [Engine::Auto, Engine::Native] {
        assert_eq!(decided(engine, &own), (Bookkeeping::Program, all.to_owned()));
    }
    assert_eq!(decided(Engine::Script, &own), (Bookkeeping::Scripts, all.to_owned()));
}

#[test]
fn scripts_that_keep_the_records_are_left_to_it_and_nothing_else_may_do_it_for_them() {
    let own = patch("900-01", "")
        .file("bin/httpd", "new")
        .install("checkinstall", "echo PATCHLIST=900-01 >> $1")
        .install("preinstall", "exit 0");
    assert_eq!(
        decided(Engine::Auto, &own),
        (Bookkeeping::Scripts, "checkinstall (own), preinstall (own)".to_owned())
    );
    let builder = patch("900-01", "").file("bin/httpd", "new").install("preinstall", "cd $PATCH_BUILD_DIR");
    let mut world = world();
    world.options.scripts.engine = Engine::Native;
    for parcel in [&own, &builder] {
        let refusal = planned(&mut world, parcel).unwrap_err();
        assert_eq!(refusal.code(), 10);
        assert_eq!(refusal.why(), "the scripts of package ACMEweb keep the records of the patch themselves");
    }
}

#[test]
fn stock_scripts_run_only_where_that_is_wanted_or_others_need_them() {
    let names = ["checkinstall", "preinstall", "postinstall"];
    let Some(texts) = names.iter().map(|name| stock(name)).collect::<Option<Vec<_>>>() else {
        return crate::skipped("stock_scripts_run_only_where_that_is_wanted: ../shared is not here");
    };
    let with = |postinstall: &str| {
        let plain = patch("900-01", "").file("bin/httpd", "new");
        let plain = plain.install("checkinstall", &texts[0]).install("preinstall", &texts[1]);
        plain.install("postinstall", postinstall)
    };
    assert_eq!(decided(Engine::Auto, &with(&texts[2])), (Bookkeeping::Program, String::new()));
    let forced = names.map(|name| format!("{name} (stock, forced)")).join(", ");
    assert_eq!(decided(Engine::Script, &with(&texts[2])), (Bookkeeping::Scripts, forced));
    let (bookkeeping, scripts) = decided(Engine::Auto, &with(&format!("{}\nexit 1\n", texts[2])));
    assert_eq!(bookkeeping, Bookkeeping::Scripts);
    assert!(scripts.starts_with("checkinstall (stock, works together with others)"), "{scripts}");
    assert!(scripts.ends_with("postinstall (own)"), "{scripts}");
}

#[test]
fn the_policy_decides_which_scripts_may_run() {
    let own = patch("900-01", "").file("bin/httpd", "new").install("postinstall", "exit 0");
    let mut hooked = patch("900-01", "").file("bin/httpd", "new");
    hooked.image.hooks.postpatch = Some(b"exit 0".to_vec());
    let of_class = |class: &str| {
        let classes = format!("CLASSES=none,{class}");
        patch("900-01", &classes).file("bin/httpd", "new").of_class(class).file("bin/other", "new")
    };
    let (copies, runs, delivered) = (of_class("renamenew"), of_class("sed"), of_class("mine"));
    for (parcel, known) in
        [(&own, false), (&hooked, false), (&copies, true), (&runs, false), (&delivered, false)]
    {
        let mut world = world();
        let system = &mut world.options.scripts.system;
        system.standard.extend(["i.sed".to_owned(), "i.renamenew".to_owned()]);
        system.root.insert("i.mine".to_owned());
        system.delivered.insert((Deliverer::Root, "i.mine".to_owned()));
        for (policy, allowed) in
            [(ScriptPolicy::Run, true), (ScriptPolicy::Known, known), (ScriptPolicy::None, false)]
        {
            world.options.scripts.policy = policy;
            assert_eq!(planned(&mut world, parcel).is_ok(), allowed, "{policy:?}");
        }
    }
}

#[test]
fn a_backout_package_with_a_script_of_its_own_is_installed_as_it_is() {
    let mut world = world();
    world.patchadd(&patch("900-01", "CLASSES=none,cfg").file("bin/httpd", "new").of_class("cfg"));
    let decided = |classic: Parcel, engine| {
        let name = package("ACMEweb");
        let image = &classic.image.packages[0];
        let records = BTreeMap::new();
        let archive = BackoutArchive {
            patch: &super::id("900-01"),
            index: 0,
            package: &name,
            image,
            made_by_scripts: None,
            manifest: None,
            records: &records,
            is_bound: false,
            native: None,
            outside: None,
        };
        let mut removal = world.removal.clone();
        removal.scripts.engine = engine;
        removal.hooks.insert("postbackout".to_owned());
        let scripted = world.back_out("900-01", &[archive], &removal)?;
        let names: Vec<String> = scripted.scripts().into_iter().map(|script| script.name).collect();
        Ok((scripted.parts[0].chosen.bookkeeping, names.join(" ")))
    };
    let classic = || patch("900-01", "CLASSES=none,cfg").file("bin/httpd", "old");
    let own = || classic().of_class("cfg").install("i.cfg", "exit 0");
    let refused = |refusal: Refusal| refusal.code();
    assert_eq!(decided(classic(), Engine::Auto).unwrap(), (Bookkeeping::Program, "postbackout".to_owned()));
    assert_eq!(decided(own(), Engine::Auto).unwrap(), (Bookkeeping::Scripts, "i.cfg postbackout".to_owned()));
    assert_eq!(decided(own(), Engine::Native).map_err(refused), Err(5));
}

#[test]
fn the_plan_of_a_patch_is_taken_apart_by_packages_and_nothing_is_lost() {
    let base = |name: &str| Parcel::empty("base").package(name, "").file("x", "old").file("/etc/both", "old");
    let mut world = World::new().with(&base("ACMEa")).with(&base("ACMEb"));
    let both = Parcel::empty("900-01")
        .package("ACMEa", "SUNW_PATCHID=900-01")
        .file("x", "new")
        .file("/etc/both", "new")
        .package("ACMEb", "SUNW_PATCHID=900-01")
        .file("x", "new")
        .file("/etc/both", "new")
        .install("postinstall", "exit 0");
    let scripted = planned(&mut world, &both).unwrap();
    let parts: Vec<_> = scripted.parts.iter().map(|part| scripted.intended(part, &now()).plan).collect();
    let all = |count: fn(&crate::plan::Plan) -> usize| parts.iter().map(count).sum::<usize>();
    assert_eq!(all(|plan| plan.changes.len()), scripted.plan.changes.len());
    assert_eq!(all(|plan| plan.contents.len()), scripted.plan.contents.len());
    assert_eq!(all(|plan| plan.undo.len()), 2);
    let records = all(|plan| plan.records.len()) + scripted.remainder().records.len();
    assert_eq!(records, scripted.plan.records.len());
    let shared = super::path("/etc/both");
    let with_line: Vec<bool> = parts.iter().map(|plan| plan.contents.contains_key(&shared)).collect();
    assert_eq!(with_line, [false, true], "a shared line comes with the last of its packages");
}

#[test]
fn an_edited_file_cannot_be_kept_where_scripts_install_it() {
    let own = patch("900-01", "").file("bin/httpd", "new").install("checkinstall", "PATCHLIST=");
    let mut world = world();
    world.write("/opt/web/bin/httpd", "mine");
    world.options.edits.general = Edited::Keep;
    let refusal = planned(&mut world, &own).unwrap_err();
    assert!(refusal.code() == 10 && refusal.why().contains("/opt/web/bin/httpd was edited"), "{refusal}");
    let deleting = patch("900-01", "").install("checkinstall", "PATCHLIST=").deletes("bin/httpd");
    let refusal = planned(&mut world, &deleting).unwrap_err();
    assert!(refusal.code() == 10 && refusal.why().contains("/opt/web/bin/httpd was edited"), "{refusal}");
    world.options.edits.general = Edited::Replace;
    assert!(planned(&mut world, &own).is_ok() && planned(&mut world, &deleting).is_ok());
}

/// Returns the need of a plan on the one file system, in bytes.
fn needed(scripted: &PatchPlan) -> u64 {
    scripted.plan.space[0].bytes
}

#[test]
fn the_snapshot_beside_an_archive_that_scripts_make_needs_room_too() {
    let large = "old".repeat(1 << 20);
    let base = Parcel::empty("base").package("ACMEweb", "").file("bin/httpd", &large);
    let with =
        |checkinstall| patch("900-01", "").file("bin/httpd", "new").install("checkinstall", checkinstall);
    for elsewhere in [None, Some("/keep".into())] {
        let mut world = World::new().with(&base);
        world.options.undo_dir = elsewhere;
        let by_program = needed(&planned(&mut world, &with("exit 0")).unwrap());
        let by_scripts = needed(&planned(&mut world, &with("echo PATCHLIST=900-01 >> $1")).unwrap());
        assert!(by_scripts > by_program + (3 << 20), "{by_scripts} {by_program}");
    }
}

#[test]
fn what_scripts_of_a_backout_may_touch_is_copied_twice_and_needs_the_room() {
    let mut world = world();
    let large = "new".repeat(1 << 20);
    world.patchadd(&patch("900-01", "").file("bin/httpd", &large).file("bin/more", &large));
    for stored in world.archives.values_mut() {
        let scripted = patch("900-01", "").install("checkinstall", "exit 0\n").image.packages.remove(0);
        let script = scripted.pkgmap.entries.into_iter().filter(PkgmapEntry::is_information);
        stored.image.pkgmap.entries.extend(script);
        stored.image.install.extend(scripted.install);
    }
    let [by_program, by_scripts] = [Engine::Auto, Engine::Script].map(|engine| {
        world.removal.scripts.engine = engine;
        world.plan_removal("900-01").unwrap().space[0].bytes
    });
    // Each file counts once for a rollback, and once to be restored after the scripts.
    assert!(by_scripts > by_program + 4 * (3 << 20), "{by_scripts} {by_program}");
}
