//! Installing and removing packages.

use super::apply::{acme_web, actions};
use super::parcel::DELIVERED;
use super::world::{now, regular};
use super::*;
use crate::plan::package::install::{InstallOptions, install, placement};
use crate::plan::package::remove::{IntendedRemoval, RemoveOptions, remove};
use crate::plan::refusal::Refusal;
use crate::plan::scripts::SystemScripts;
use crate::plan::{Plan, RecordChange};
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_rootfs::Timestamp;
use patchadm_svr4::format::admin::{Admin, BasedirAnswer, CheckAnswer, ConflictAnswer, InstanceAnswer};
use patchadm_svr4::package::Params;

fn installed(world: &World, parcel: &Parcel, admin: Admin) -> Result<Plan, Refusal> {
    let environment = Params::from_iter([("LANG", "C"), ("PATH", "/bin"), ("OAMBASE", "/usr/sadm/sysadm")]);
    let options = InstallOptions { admin, environment, ..InstallOptions::default() };
    install(&parcel.image, 0, &world.inventory, &options, &now()).map(|intended| intended.plan)
}

fn code(world: &World, parcel: &Parcel, admin: Admin) -> u8 {
    installed(world, parcel, admin).unwrap_err().code()
}

fn removed(world: &World, name: &str, admin: &Admin) -> Result<IntendedRemoval, Refusal> {
    let system = SystemScripts::default();
    let scripts = ScriptPolicy::default();
    let options = RemoveOptions { admin, conversation: false, system: &system, scripts };
    remove(&package(name), &world.inventory, &options, &now())
}

fn base() -> Parcel {
    Parcel::empty("base").package("ACMEweb", "").directory("bin").file("bin/httpd", "old httpd")
}

#[test]
fn a_new_package_is_one_tree_of_records_and_its_objects() {
    let plan = installed(&World::new(), &base().install("copyright", "(c)"), Admin::delivered()).unwrap();
    assert_eq!(actions(&plan), ["add /opt/web", "add /opt/web/bin", "add /opt/web/bin/httpd"]);
    let [RecordChange::AddTree { path, files }] = plan.records.as_slice() else { panic!() };
    assert_eq!(path.to_string(), "/var/sadm/pkg/ACMEweb");
    let names: Vec<_> = files.iter().map(|file| String::from_utf8_lossy(&file.name).into_owned()).collect();
    assert_eq!(
        names,
        [
            "pkginfo",
            "install/copyright",
            "save/pspool/ACMEweb/pkginfo",
            "save/pspool/ACMEweb/pkgmap",
            "save/pspool/ACMEweb/install/copyright",
            "install"
        ]
    );
    let times: Vec<_> = files.iter().map(|file| file.mtime).collect();
    let delivered = Some(Timestamp::whole(DELIVERED));
    assert_eq!(times, [None, delivered, None, None, delivered, None], "information files keep theirs");
    let crate::plan::TreeContent::Bytes(pkginfo) = &files[0].content else { panic!() };
    assert_eq!(
        String::from_utf8_lossy(pkginfo),
        "CLASSES=none\nBASEDIR=/opt/web\nLANG=C\nPATH=/bin\nOAMBASE=/usr/sadm/sysadm\nPKG=ACMEweb\nNAME=A package\n\
         ARCH=i386\nVERSION=1.0\nCATEGORY=application\nPKGINST=ACMEweb\nPKGSAV=/var/sadm/pkg/ACMEweb/save\n\
         INSTDATE=Nov 20 2026 07:37\n"
    );
    let trailer = String::from_utf8(plan.trailer.write()).unwrap();
    assert_eq!(trailer, "# Last modified by pkgadd for ACMEweb package\n# Fri Nov 20 07:37:39 2026\n");
}

#[test]
fn where_a_package_goes_is_known_before_its_paths_are_surveyed() {
    let admin = Admin { basedir: BasedirAnswer::Path(b"/srv/web".to_vec()), ..Admin::delivered() };
    let options = InstallOptions { admin, ..InstallOptions::default() };
    let (instance, params) =
        placement(&base().image, 0, &patchadm_inputs::inventory::Inventory::default(), &options, &now())
            .unwrap();
    assert_eq!((instance, params.text("BASEDIR").as_ref()), (package("ACMEweb"), "/srv/web"));
}

#[test]
fn the_same_version_again_updates_the_instance_and_keeps_what_was_edited() {
    let mut world = acme_web();
    world.write("/opt/web/bin/httpd", "mine");
    let plan = installed(&world, &base(), Admin::delivered()).unwrap();
    assert_eq!(plan.packages, [package("ACMEweb")]);
    assert_eq!(actions(&plan), ["replace /opt/web/bin/httpd", "add /opt/web/bin/httpd.edited-ACMEweb"]);
    let is_kept =
        |record: &RecordChange| matches!(record, RecordChange::Write { .. } | RecordChange::Ledger(_));
    assert!(plan.records.iter().all(is_kept));
}

#[test]
fn a_base_package_over_a_patched_one_is_refused() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("900-01", "").file("bin/httpd", "new")), 0);
    let refusal = installed(&world, &base(), Admin::delivered()).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.why().as_str()),
        (4, "patches are applied to package ACMEweb: 900-01")
    );
}

#[test]
fn another_version_is_another_instance_up_to_the_most_allowed() {
    let world = acme_web();
    let newer = base().says("VERSION", "2.0").says("BASEDIR", "/opt/web2");
    assert_eq!(code(&world, &newer, Admin::delivered()), 4, "MAXINST is 1 unless it is said");
    let several = newer.says("MAXINST", "5");
    assert_eq!(installed(&world, &several, Admin::delivered()).unwrap().packages, [package("ACMEweb.2")]);
    let admin = |instance| Admin { instance, conflict: ConflictAnswer::NoCheck, ..Admin::delivered() };
    assert_eq!(
        installed(&world, &several, admin(InstanceAnswer::Overwrite)).unwrap().packages,
        [package("ACMEweb")]
    );
    assert_eq!(code(&world, &several, admin(InstanceAnswer::Quit)), 4);
    assert_eq!(code(&world, &several, admin(InstanceAnswer::Ask)), 5);
}

#[test]
fn the_admin_file_says_where_a_package_goes() {
    let admin = |basedir| Admin { basedir, ..Admin::delivered() };
    let elsewhere = admin(BasedirAnswer::Path(b"/srv/$PKGINST".to_vec()));
    let plan = installed(&World::new(), &base(), elsewhere.clone()).unwrap();
    assert!(actions(&plan).contains(&"add /srv/ACMEweb/bin/httpd".to_owned()));
    assert_eq!(code(&World::new(), &base(), admin(BasedirAnswer::Ask)), 5);
    assert_eq!(code(&acme_web(), &base(), elsewhere), 4, "an installed BASEDIR wins");
}

#[test]
fn dependencies_are_checked_as_the_admin_file_wants() {
    let needy = base().install("depend", "P ACMEcore The core\n\t(i386)1.0\nI ACMEold Old things\n");
    let world = World::new();
    let refusal = installed(&world, &needy, Admin::delivered()).unwrap_err();
    assert_eq!(refusal.code(), 5);
    assert_eq!(refusal.why(), "it needs package ACMEcore (i386) 1.0, which is not completely installed");
    assert_eq!(code(&world, &needy, Admin { idepend: CheckAnswer::Quit, ..Admin::delivered() }), 4);
    let core = Parcel::empty("base").package("ACMEcore", "");
    let world = world.with(&core);
    assert!(installed(&world, &needy, Admin::delivered()).is_ok());
    let world = world.with(&Parcel::empty("base").package("ACMEold", ""));
    assert!(
        installed(&world, &needy, Admin::delivered())
            .unwrap_err()
            .why()
            .contains("incompatible with package ACMEold")
    );
}

#[test]
fn conflicts_and_set_id_programs_are_settled_by_the_admin_file() {
    let world = acme_web();
    let other = Parcel::empty("other").package("ACMEshr", "BASEDIR=/opt/web").file("bin/httpd", "shared");
    let admin = |conflict| Admin { conflict, ..Admin::delivered() };
    assert_eq!(code(&world, &other, admin(ConflictAnswer::Ask)), 5);
    assert_eq!(code(&world, &other, admin(ConflictAnswer::Quit)), 4);
    assert!(actions(&installed(&world, &other, admin(ConflictAnswer::NoChange)).unwrap()).is_empty());
    let set_id = Parcel::empty("x").package("ACMEsu", "").object("su", "f 4755 root bin", Some("su"), None);
    let admin = |setuid| Admin { setuid, ..Admin::delivered() };
    assert_eq!(code(&world, &set_id, admin(ConflictAnswer::Ask)), 5);
    assert_eq!(code(&world, &set_id, admin(ConflictAnswer::Quit)), 4);
    let plan = installed(&world, &set_id, admin(ConflictAnswer::NoChange)).unwrap();
    let line = plan.contents[&path("/opt/su/su")].as_ref().unwrap();
    assert_eq!(line.object.attributes.mode.unwrap().bits(), 0o755);
}

#[test]
fn all_objects_in_use_are_named_at_once() {
    let world = acme_web();
    let other = Parcel::empty("other")
        .package("ACMEshr", "BASEDIR=/opt/web")
        .object("bin", "d 0700 root sys", None, None)
        .file("bin/httpd", "shared");
    let admin = Admin { conflict: ConflictAnswer::Quit, ..Admin::delivered() };
    let refusal = installed(&world, &other, admin).unwrap_err();
    assert_eq!(
        refusal.classic(),
        "The following files are already installed on the system and are being\nused by another package:\n  \
         /opt/web/bin <attribute change only>\n  /opt/web/bin/httpd"
    );
    assert_eq!(
        refusal.why(),
        "/opt/web/bin, /opt/web/bin/httpd are already installed and are being used by another package"
    );
    assert_eq!(refusal.reason.question(), None, "nobody is asked where the admin file has decided");
}

#[test]
fn scripts_are_refused_where_the_policy_does_not_allow_them() {
    let options = |scripts| InstallOptions { scripts, ..InstallOptions::default() };
    let plan = |parcel: &Parcel, scripts| {
        install(&parcel.image, 0, &World::new().inventory, &options(scripts), &now())
    };
    let own = base().install("preinstall", "exit 0");
    for policy in [ScriptPolicy::Known, ScriptPolicy::None] {
        let refusal = plan(&own, policy).unwrap_err();
        assert_eq!(refusal.code(), 1);
        assert_eq!(
            refusal.why(),
            "package ACMEweb has the script preinstall, which the policy of this root does not allow"
        );
    }
    assert!(plan(&base(), ScriptPolicy::None).is_ok());
    let asked = plan(&own, ScriptPolicy::Run).unwrap_err();
    assert_eq!(asked.code(), 5, "the delivered admin file asks: {}", asked.why());
}

#[test]
fn a_patch_goes_over_a_patched_package_and_its_scripts_keep_the_lists() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("900-01", "BASEDIR=/opt/web").file("bin/httpd", "new")), 0);
    let again = base().says("Patch_label", "900-02");
    let response = Params::from_iter([
        ("PATCHLIST", "900-01 900-02"),
        ("PATCH_INFO_900-02", "Installed: today"),
        ("UPDATE", "yes"),
        ("OLDLIST", "900-01"),
        ("CLASSES", "none extra"),
    ]);
    let options = InstallOptions { response, ..InstallOptions::default() };
    let params = install(&again.image, 0, &world.inventory, &options, &now()).unwrap().params;
    assert_eq!(params.text("PATCHLIST"), "900-01 900-02");
    assert_eq!(params.text("PATCH_INFO_900-02"), "Installed: today");
    assert_eq!(params.text("CLASSES"), "none extra");
    assert_eq!((params.text("UPDATE"), params.get("OLDLIST")), ("yes".into(), None));
    let names: Vec<&str> = params.iter().map(|(name, _)| name).collect();
    let place = |name: &str| names.iter().position(|other| *other == name);
    assert!(place("INSTDATE") < place("PATCHLIST"), "it keeps its place: {names:?}");
}

#[test]
fn class_none_comes_first_wherever_the_package_names_it() {
    let package = base().says("CLASSES", "zz none aa");
    let options = InstallOptions::default();
    let inventory = patchadm_inputs::inventory::Inventory::default();
    let (_, params) = placement(&package.image, 0, &inventory, &options, &now()).unwrap();
    assert_eq!(params.text("CLASSES"), "none zz aa");
}

#[test]
fn a_response_places_a_new_package_and_moves_no_installed_one() {
    let options = || {
        let response = Params::from_iter([("BASEDIR", "/srv/web")]);
        InstallOptions { response, ..InstallOptions::default() }
    };
    let plan = |world: &World| install(&base().image, 0, &world.inventory, &options(), &now());
    let intended = plan(&World::new()).unwrap();
    assert!(actions(&intended.plan).contains(&"add /srv/web/bin/httpd".to_owned()));
    let refusal = plan(&acme_web()).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.why().as_str()),
        (99, "it is installed in /opt/web, but the response file requires /srv/web")
    );
}

#[test]
fn a_small_file_system_stops_unless_space_is_not_checked() {
    let mut world = World::new();
    world.inventory.file_systems[0].free = 10;
    let space = |space| Admin { space, ..Admin::delivered() };
    assert_eq!(code(&world, &base(), space(CheckAnswer::Ask)), 5);
    assert_eq!(code(&world, &base(), space(CheckAnswer::Quit)), 4);
    assert!(installed(&world, &base(), space(CheckAnswer::NoCheck)).is_ok());
    world.inventory.file_systems[0].free = 4 << 20;
    assert!(installed(&world, &base(), space(CheckAnswer::Quit)).is_ok());
    let greedy = base().install("space", "# more\n/opt 10000 5\n");
    assert_eq!(
        code(&world, &greedy, space(CheckAnswer::Quit)),
        4,
        "the package asks for 5,120,000 bytes more"
    );
}

#[test]
fn a_space_file_that_cannot_be_read_is_refused_and_a_line_of_depend_passed_over() {
    let world = World::new();
    let odd = base().install("space", "# more\n/opt plenty\n");
    let refusal = installed(&world, &odd, Admin::delivered()).unwrap_err();
    assert!(
        refusal.why().contains("the file space of package ACMEweb: line 2: it must have"),
        "{}",
        refusal.why()
    );
    let odd = base().install("depend", "p ACMEcore The core\n");
    let plan = installed(&world, &odd, Admin::delivered()).unwrap();
    assert_eq!(
        plan.notes,
        ["package ACMEweb: depend, line 1: unknown type `p`: it must be P, I or R; it is skipped"]
    );
}

#[test]
fn a_removal_takes_what_nobody_else_owns() {
    let other =
        Parcel::empty("base").package("ACMEshr", "BASEDIR=/opt/web").directory("bin").file("bin/shared", "s");
    let mut world = acme_web().with(&other);
    world.put("/opt/web/lib/mine", regular(b"mine"), 0o644);
    let plan = removed(&world, "ACMEweb", &Admin::delivered()).unwrap().plan;
    world.carry_out(&plan, &Parcel::empty("none"));
    let left: Vec<String> = world
        .inventory
        .live
        .keys()
        .map(ToString::to_string)
        .filter(|at| at.starts_with("/opt/web"))
        .collect();
    assert_eq!(
        left,
        ["/opt/web", "/opt/web/bin", "/opt/web/bin/shared", "/opt/web/lib", "/opt/web/lib/mine"]
    );
    assert!(world.line("/opt/web/bin").unwrap().ends_with(" ACMEshr"));
    assert_eq!(world.line("/opt/web/lib"), None);
    assert!(!world.inventory.packages.contains_key(&package("ACMEweb")));
    let plan = removed(&world, "ACMEshr", &Admin::delivered()).unwrap().plan;
    world.carry_out(&plan, &Parcel::empty("none"));
    assert!(world.inventory.lines.is_empty());
}

#[test]
fn patches_go_with_their_package_and_are_named() {
    let mut world = acme_web();
    world.patchadd(&patch("900-01", "").file("bin/httpd", "new"));
    let removal = removed(&world, "ACMEweb", &Admin::delivered()).unwrap();
    assert_eq!(removal.warnings, ["patches are applied to package ACMEweb and are removed with it: 900-01"]);
    world.carry_out(&removal.plan, &Parcel::empty("none"));
    assert!(!world.inventory.live.contains_key(&path("/var/sadm/patch/900-01")));
}

#[test]
fn a_package_that_is_needed_or_not_there_is_not_removed() {
    let needy = Parcel::empty("base").package("ACMEgui", "").install("depend", "P ACMEweb Web\n");
    let world = acme_web().with(&needy);
    let refusal = removed(&world, "ACMEweb", &Admin::delivered()).unwrap_err();
    assert_eq!((refusal.code(), refusal.why().as_str()), (5, "package ACMEgui needs it"));
    let unchecked = Admin { rdepend: CheckAnswer::NoCheck, ..Admin::delivered() };
    assert!(removed(&world, "ACMEweb", &unchecked).is_ok());
    assert_eq!(removed(&world, "ACMEnone", &unchecked).unwrap_err().code(), 1);
}
