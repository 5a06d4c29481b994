//! Conditions for running scripts in a root. Scripts use host paths: a link that leads elsewhere on the host (`var ->
//! /etc`) would let `rm -r` leave the root, so such a root is refused, as are scripts with missing absolute commands.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::operation::session::RootAndPolicy;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::package::remove::RemovalPortion;
use patchadm_planning::plan::refusal::Reason;
use patchadm_planning::plan::script_schedule::ScriptSchedule;
use patchadm_planning::plan::script_schedule::steps::{ClassStep, PackageStep};
use patchadm_planning::plan::scripts::Deliverer;
use patchadm_rootfs::{FileType, Root, RootError, look_along};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

const ABSOLUTE: [&str; 10] = [
    "/usr/bin/pkgproto",
    "/usr/bin/pkgparam",
    "/usr/bin/pkgmk",
    "/usr/bin/pkgtrans",
    "/usr/bin/pkginfo",
    "/usr/sbin/removef",
    "/usr/sbin/installf",
    "/usr/sbin/pkgadd",
    "/usr/sbin/pkgrm",
    "/usr/sadm/bin/",
];

/// For installation scripts.
pub(crate) fn needs_absolute_tools(package: &PackageImage) -> bool {
    let scripts = package.install.iter().filter(|(name, _)| runs_at_installation(name));
    name_missing_tools(scripts.map(|(_, text)| text.as_slice()))
}

/// For removal scripts.
pub(crate) fn needs_absolute_tools_to_go(installed: &Installed) -> bool {
    let scripts = installed.records.iter().filter(|(name, _)| runs_at_removal(name));
    name_missing_tools(scripts.map(|(_, record)| record.bytes.as_slice()))
}

fn name_missing_tools<'t>(mut scripts: impl Iterator<Item = &'t [u8]>) -> bool {
    let missing = ABSOLUTE.iter().filter(|path| !Path::new(path).exists());
    let missing: Vec<&[u8]> = missing.map(|path| path.as_bytes()).collect();
    let names = |text: &[u8]| missing.iter().any(|path| text.windows(path.len()).any(|part| part == *path));
    scripts.any(names)
}

fn runs_at_installation(name: &str) -> bool {
    matches!(name, "request" | "checkinstall" | "preinstall" | "postinstall") || name.starts_with("i.")
}

fn runs_at_removal(record: &[u8]) -> bool {
    matches!(record, b"install/preremove" | b"install/postremove") || record.starts_with(b"install/r.")
}

/// Refuses a root if the host resolves a place of scripts differently.
pub(crate) fn check_places(
    ground: &RootAndPolicy,
    instance: &PkgInst,
    base: Option<&ObjectPath>,
) -> Result<(), Reason> {
    let known = [places::save(instance), places::package_scripts(instance)];
    let known = known.into_iter().chain(ObjectPath::new(b"/var/tmp"));
    known.chain(base.cloned()).try_for_each(|place| check_place(ground, &place))
}

/// Refuses a root that another user could move away or exchange: scripts, and what they change, are found by its path.
/// A trusted root is its owner's matter; an unprivileged caller is asked nothing about roots.
pub(crate) fn check_above(root: &Root) -> Result<(), Reason> {
    if !root.is_privileged() || root.is_system() || root.is_trusted() {
        return Ok(());
    }
    let shown = root.prefix().display();
    let (strange, found) = look_along(root.prefix()).map_err(unsafe_because)?;
    if let Some(strange) = strange {
        return Err(unsafe_because(format!(
            "{strange}: others could put another root in place of {shown}; make the superuser the only owner and writer of that directory, or trust the owner with --trust-root"
        )));
    }
    let opened = root.dir(&ObjectPath::root()).and_then(|top| top.itself()).map_err(unsafe_because)?;
    if (found.inode, found.file_system) != (opened.inode, opened.file_system) {
        return Err(unsafe_because(format!("{shown} was replaced by another directory")));
    }
    Ok(())
}

/// Refuses a directory that the host resolves differently.
pub(crate) fn check_place(ground: &RootAndPolicy, place: &ObjectPath) -> Result<(), Reason> {
    let why = match is_same(&ground.root, &ground.host, place) {
        Ok(true) => return Ok(()),
        Ok(false) => format!("{} leads out of the root", ground.root.show(place)),
        Err(error) => error.to_string(),
    };
    Err(unsafe_because(why))
}

pub(crate) fn check_classes(ground: &RootAndPolicy, course: &ScriptSchedule) -> Result<(), Reason> {
    course.steps.iter().try_for_each(|step| match step {
        PackageStep::InstallClass(ClassStep { class, deliverer, files }) => {
            check_class(ground, &format!("i.{class}"), *deliverer, files.iter().map(|file| &file.path))
        }
        PackageStep::RemoveClass(RemovalPortion { class, deliverer, objects }) => {
            let deliverer = deliverer.unwrap_or(Deliverer::Package);
            check_class(ground, &format!("r.{class}"), deliverer, objects.iter().map(|object| &object.path))
        }
        _ => Ok(()),
    })
}

/// Refuses a class action script that is no file, or gets paths that the host resolves differently.
fn check_class<'p>(
    ground: &RootAndPolicy,
    name: &str,
    deliverer: Deliverer,
    paths: impl Iterator<Item = &'p ObjectPath>,
) -> Result<(), Reason> {
    let delivered = places::class_scripts();
    match deliverer {
        Deliverer::Root => {
            check_place(ground, &delivered)?;
            check_class_script(&ground.root, &delivered, name)?;
            check_owners(&ground.root, &delivered, name)?;
        }
        Deliverer::Host => {
            check_class_script(&ground.host, &delivered, name)?;
            check_owners(&ground.host, &delivered, name)?;
        }
        Deliverer::Package | Deliverer::Standard => {}
    }
    let directories: BTreeSet<ObjectPath> = paths.filter_map(ObjectPath::parent).collect();
    directories.iter().try_for_each(|directory| check_place(ground, directory))
}

/// Refuses a pipe, which would never end, and a symbolic link, which leads out of any root but the running system's.
fn check_class_script(root: &Root, place: &ObjectPath, name: &str) -> Result<(), Reason> {
    let look = || root.dir(&root.resolver().locate_dir(place)?)?.look(name.as_bytes());
    let shown = format!("{}/{name}", root.show(place));
    let is_file = match look().map_err(unsafe_because)?.map(|seen| seen.file_type) {
        Some(FileType::Regular) => true,
        Some(FileType::Symlink) if root.is_system() => Path::new(&shown).is_file(),
        _ => false,
    };
    if is_file { Ok(()) } else { Err(unsafe_because(format!("{shown} is not a regular file"))) }
}

/// Refuses a script that another user could have written. Skips unprivileged callers: the script gets no more rights
/// than its writer could have.
pub(crate) fn check_owners(root: &Root, place: &ObjectPath, name: &str) -> Result<(), Reason> {
    if !root.is_privileged() {
        return Ok(());
    }
    let path = place.join(name.as_bytes()).map_err(unsafe_because)?;
    match root.strange_on_the_way(&path).map_err(unsafe_because)? {
        None => Ok(()),
        Some(strange) => {
            Err(unsafe_because(format!("{} would run as root, and {strange}", root.show(&path))))
        }
    }
}

fn unsafe_because(why: impl Display) -> Reason {
    Reason::ScriptsUnsafe(format!("scripts cannot be run: {why}"))
}

/// True if a directory is the same outside the root's confinement.
fn is_same(root: &Root, host: &Root, place: &ObjectPath) -> Result<bool, RootError> {
    if root.is_system() {
        return Ok(true);
    }
    let inside = root.resolver().locate_dir(place)?;
    let Ok(prefix) = ObjectPath::new(root.prefix().as_os_str().as_bytes()) else { return Ok(false) };
    let resolver = host.resolver();
    let (Ok(expected), Ok(outside)) =
        (resolver.locate_dir(&prefix)?.join(inside.relative()), prefix.join(place.relative()))
    else {
        return Ok(false);
    };
    Ok(resolver.locate_dir(&outside)? == expected)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use patchadm_inputs::database::undo_data::OutsideRules;
    use patchadm_inputs::policy::Policy;
    use patchadm_svr4::package::Params;

    fn refused(prepare: impl Fn(&Path)) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("opt/web")).unwrap();
        prepare(&top);
        let root = Root::open(&top).unwrap();
        let host = root.elsewhere(Path::new("/")).unwrap();
        let ground = RootAndPolicy::new(root, host, Policy::default(), OutsideRules::default());
        let base = ObjectPath::new(b"/opt/web").unwrap();
        let instance = PkgInst::new("ACMEweb").unwrap();
        match check_places(&ground, &instance, Some(&base)) {
            Ok(()) => None,
            Err(Reason::ScriptsUnsafe(why)) => Some(why.replace(&*top.to_string_lossy(), "@ROOT@")),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_class_action_script_gets_no_paths_that_lead_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("opt/web")).unwrap();
        symlink("/etc", top.join("opt/web/out")).unwrap();
        symlink("inside", top.join("opt/web/in")).unwrap();
        let root = Root::open(&top).unwrap();
        let host = root.elsewhere(Path::new("/")).unwrap();
        let ground = RootAndPolicy::new(root, host, Policy::default(), OutsideRules::default());
        let check = |path: &str| {
            let path = ObjectPath::new(path.as_bytes()).unwrap();
            check_class(&ground, "i.mine", Deliverer::Package, [&path].into_iter())
        };
        assert_eq!(check("/opt/web/new/file"), Ok(()));
        assert_eq!(check("/opt/web/in/file"), Ok(()));
        let Err(Reason::ScriptsUnsafe(why)) = check("/opt/web/out/passwd") else { panic!("it leads out") };
        assert!(why.ends_with("/opt/web/out leads out of the root"), "{why}");
    }

    #[test]
    fn scripts_of_the_superuser_need_a_root_that_nobody_else_can_move() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().canonicalize().unwrap();
        let top = above.join("root");
        std::fs::create_dir(&top).unwrap();
        let mode = |bits| std::fs::set_permissions(&above, std::fs::Permissions::from_mode(bits)).unwrap();
        let root = Root::open(&top).unwrap();
        for bits in [0o755, 0o1777] {
            mode(bits);
            assert_eq!(check_above(&root), Ok(()), "{bits:o}");
        }
        mode(0o757);
        if !root.is_privileged() {
            assert_eq!(check_above(&root), Ok(()));
            return;
        }
        let Err(Reason::ScriptsUnsafe(why)) = check_above(&root) else { panic!("others may write there") };
        let words =
            format!("scripts cannot be run: {} is writable by users other than its owner", above.display());
        assert!(why.starts_with(&words), "{why}");
        assert_eq!(check_above(&root.clone().trusted()), Ok(()));
        mode(0o755);
        std::os::unix::fs::chown(&above, Some(54_321), None).unwrap();
        let Err(Reason::ScriptsUnsafe(why)) = check_above(&root) else { panic!("it is another user's") };
        assert!(why.contains(&format!("{} belongs to uid 54321", above.display())), "{why}");
        std::os::unix::fs::chown(&above, Some(0), None).unwrap();
        std::fs::rename(&top, above.join("moved")).unwrap();
        std::fs::create_dir(&top).unwrap();
        let Err(Reason::ScriptsUnsafe(why)) = check_above(&root) else { panic!("it is another one") };
        assert!(why.ends_with("was replaced by another directory"), "{why}");
    }

    #[test]
    fn a_class_action_script_is_a_regular_file() {
        let dir = tempfile::tempdir().unwrap();
        let scripts = dir.path().join("usr/sadm/install/scripts");
        std::fs::create_dir_all(scripts.join("i.directory")).unwrap();
        std::fs::write(scripts.join("i.file"), "exit 0\n").unwrap();
        symlink("i.file", scripts.join("i.link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let place = places::class_scripts();
        assert!(check_class_script(&root, &place, "i.file").is_ok());
        for name in ["i.directory", "i.link", "i.missing"] {
            let error = check_class_script(&root, &place, name).unwrap_err();
            let Reason::ScriptsUnsafe(why) = error else { panic!("{name}") };
            assert!(why.ends_with(&format!("{name} is not a regular file")), "{why}");
        }
    }

    #[test]
    fn a_root_whose_links_stay_inside_is_fit_for_scripts() {
        assert_eq!(refused(|_| {}), None);
        assert_eq!(refused(|top| symlink("opt", top.join("usr")).unwrap()), None);
        let moved = |top: &Path| {
            std::fs::create_dir_all(top.join("export/tmp")).unwrap();
            std::fs::create_dir_all(top.join("var")).unwrap();
            symlink("../export/tmp", top.join("var/tmp")).unwrap();
        };
        assert_eq!(refused(moved), None);
    }

    #[test]
    fn a_root_with_a_link_that_the_host_follows_elsewhere_is_refused() {
        let words = |place: &str| Some(format!("scripts cannot be run: @ROOT@{place} leads out of the root"));
        assert_eq!(
            refused(|top| symlink("/etc", top.join("var")).unwrap()),
            words("/var/sadm/pkg/ACMEweb/save")
        );
        let tmp = |top: &Path| {
            std::fs::create_dir_all(top.join("var/sadm")).unwrap();
            symlink("/tmp", top.join("var/tmp")).unwrap();
        };
        assert_eq!(refused(tmp), words("/var/tmp"));
        let base = |top: &Path| {
            std::fs::remove_dir(top.join("opt/web")).unwrap();
            symlink("../../../../../../../etc", top.join("opt/web")).unwrap();
        };
        assert_eq!(refused(base), words("/opt/web"));
    }

    #[test]
    fn only_scripts_that_are_run_count_and_only_commands_that_are_not_there() {
        let map = patchadm_svr4::format::pkgmap::Pkgmap {
            parts: 1,
            max_blocks: 1,
            compressed_blocks: None,
            entries: Vec::new(),
        };
        let mut package = PackageImage::without_source(Params::from_iter([("PKG", "ACMEweb")]), map);
        let text = b"PKGPROTO=/usr/sadm/bin/nothing-of-that-name\n".to_vec();
        package.install.insert("patch_checkinstall".to_owned(), text.clone());
        assert!(!needs_absolute_tools(&package));
        package
            .install
            .insert("postinstall".to_owned(), b"PATH=/usr/sadm/bin:$PATH /usr/bin/sed x\n".to_vec());
        assert!(!needs_absolute_tools(&package));
        package.install.insert("preinstall".to_owned(), text);
        assert_eq!(needs_absolute_tools(&package), !Path::new("/usr/sadm/bin/").exists());
    }
}
