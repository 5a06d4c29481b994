//! Roots of containers: everything in them belongs to uid 0, but root in the container wrote it. The superuser changes
//! none of them by any path, unless told to.

use std::fs;
use std::process::Command;

use crate::delivery::Patch;
use crate::everyman::NOBODY;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::{Run, Scenario};
use crate::tree::{Tree, assert_same};

/// The directories of container engines.
const ENGINES: [&str; 6] = [
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/machines",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/run/containers",
];

/// Gives each engine a copy of the root, and the host a policy. Hides the directories of this machine.
const COPIES: &str = "mount -t tmpfs -o mode=755 tmpfs /var/lib
    mount -t tmpfs -o mode=755 tmpfs /run
    for engine in /var/lib/docker /var/lib/containers /var/lib/machines /var/lib/lxc /var/lib/lxd /run/containers
    do mkdir -p $engine && cp -a $ROOT $engine/a; done
    mkdir -p $BESIDE/etc/patchadm && cp /etc/passwd /etc/group $BESIDE/etc
    : > $BESIDE/etc/patchadm/policy
    mount --bind $BESIDE/etc /etc";

/// A root with a package, a patch for it, and a package whose script records that it ran.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    let script = format!("echo ran >> {}\nexit 0\n", stage.beside("ran").display());
    let scripted = Package::new("ACMEs").file("f", 0o644, "x\n").information("postinstall", &script);
    scripted.write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), "action=nocheck\nbasedir=default\n").unwrap();
    stage
}

fn mounted(test: &str, script: &str) -> Option<Mounted> {
    Mounted::new(test, stage(), &format!("{COPIES}\n{script}"))
}

/// Plans the patch for the root at this path.
fn plan(root: &Mounted, path: &str) -> Run {
    root.run(&format!("plan -R {path} delivered/100-01"))
}

#[track_caller]
fn is_refused(root: &Mounted, path: &str, because: &str) {
    let said = plan(root, path).fails(3);
    assert!(said.contains(&format!("The root {path} is not trusted: it is {because}")), "{path}: {said}");
    assert!(said.contains("nothing was changed"), "{path}: {said}");
    assert!(said.contains("--trust-root") && said.contains("trusted_roots"), "{path}: {said}");
}

#[track_caller]
fn is_planned(root: &Mounted, path: &str) {
    let run = plan(root, path);
    assert_eq!(run.code, 0, "{path}: {}", run.stderr);
}

#[test]
fn no_script_of_a_root_of_containers_runs_as_the_superuser_without_being_trusted() {
    let Some(root) = mounted("roots below the directories of engines", "true") else { return };
    let ran = root.stage().beside("ran");
    for engine in ENGINES {
        let path = format!("{engine}/a");
        is_refused(&root, &path, &format!("in {engine}, among the roots of containers."));
        root.run(&format!("list -R {path}")).ok();
        let words = format!("-n -a {} -d spool", root.stage().beside("admin").display());
        let said = root.run(&format!("pkgadd {words} -R {path} ACMEs")).fails(1);
        assert!(said.contains("among the roots of containers") && !ran.exists(), "{said}");
        for line in [
            "patchadd -R @C@ delivered/100-01",
            "patchrm -R @C@ 100-01",
            "recover -R @C@",
            "stage -R @C@ refresh a",
        ] {
            root.run(&line.replace("@C@", &path)).fails(3);
        }
        // The option that the refusal names works.
        let run = root.run(&format!("pkgadd --trust-root {words} -R {path} ACMEs"));
        assert_eq!((run.code, fs::read_to_string(&ran).unwrap().as_str()), (0, "ran\n"), "{}", run.stderr);
        fs::remove_file(&ran).unwrap();
        let said = root.run(&format!("plan --as-owner -R {path} delivered/100-01")).fails(3);
        assert!(said.contains("--as-owner"), "there is no other owner: {said}");
    }
    let document = root.run("plan --json -R /var/lib/lxc/a delivered/100-01");
    assert!(
        document.stdout.contains("\"cause\": \"untrusted-root\"")
            || document.stdout.contains("\"cause\":\"untrusted-root\"")
    );
}

/// Every command that changes a root, and its exit code for a root of a container.
const CHANGES: [(&str, i32); 22] = [
    ("patchadd -R @C@ delivered/100-01", 3),
    ("patchrm -R @C@ 100-01", 3),
    ("pkgadd -n -R @C@ -d spool ACMEs", 1),
    ("pkgrm -n -R @C@ ACMEweb", 1),
    ("pkgchk -f -R @C@", 1),
    ("installf -R @C@ ACMEweb /opt/d d 0755 root root", 1),
    ("removef -R @C@ ACMEweb /opt/d", 1),
    ("add -R @C@ delivered/100-01", 3),
    ("remove -R @C@ 100-01", 3),
    ("undo -R @C@ 1", 3),
    ("update -R @C@ -M delivered", 3),
    ("undo-data drop -R @C@ 100-01", 3),
    ("recover -R @C@", 3),
    ("adopt -R @C@ --pkg ACMEown --pkg-version 1 --dir /opt", 3),
    ("libs prune -R @C@", 3),
    ("key -R @C@ trust spool/key.pub", 3),
    ("key -R @C@ revoke 7802F643AC6161C8", 3),
    ("stage -R @C@ new --path /opt other", 3),
    ("stage -R @C@ refresh other", 3),
    ("stage -R @C@ refresh --dry-run other", 3),
    ("stage -R @C@ drop other", 3),
    ("stage promote -R @C@ other", 3),
];

#[test]
fn no_command_that_changes_a_root_takes_anything_from_that_of_a_container() {
    let Some(root) = mounted("commands and a root of a container", "true") else { return };
    let container = root.outside("/var/lib/machines/a".as_ref());
    let before = Tree::of(&container, &[]);
    for (line, code) in CHANGES {
        let said = root.run(&line.replace("@C@", "/var/lib/machines/a")).fails(code);
        assert!(
            said.contains("it is in /var/lib/machines, among the roots of containers."),
            "{line}: {said}"
        );
        assert_same(&Tree::of(&container, &[]), &before);
    }
}

#[test]
fn records_that_are_mounted_from_a_container_are_those_of_a_container() {
    let script = "mkdir -p $BESIDE/zone $BESIDE/home $BESIDE/mem
        cp -a $ROOT/. $BESIDE/zone && mount --bind /var/lib/lxc/a/var $BESIDE/zone/var
        cp -a $ROOT/. $BESIDE/home && cp -a $ROOT/var $BESIDE/mem/var && mount --bind $BESIDE/mem/var $BESIDE/home/var
        cp -a $ROOT/. $BESIDE/deep && mount --bind /var/lib/lxc/a/var/sadm/pkg $BESIDE/deep/var/sadm/pkg";
    let Some(root) = mounted("records that are mounted from a container", script) else { return };
    let beside = |name: &str| root.stage().beside(name).display().to_string();
    for (zone, record) in [("zone", "zone/var"), ("deep", "deep/var/sadm/pkg")] {
        let (zone, record) = (beside(zone), beside(record));
        let said = plan(&root, &zone).fails(3);
        let reason = format!(
            "The root {zone} is not trusted: {record} is in /var/lib/lxc (by what is mounted on {record}), \
             among the roots of containers."
        );
        assert!(said.contains(&reason), "{said}");
        assert!(said.contains("--trust-root") && said.contains("trusted_roots"), "{said}");
        assert_eq!(root.run(&format!("plan --trust-root -R {zone} delivered/100-01")).code, 0);
    }
    // A separate file system belongs to no container.
    is_planned(&root, &beside("home"));
}

#[test]
fn a_root_of_containers_is_one_by_whatever_name_it_is_reached() {
    let script = "mkdir -p $BESIDE/data $BESIDE/bound $BESIDE/inner $BESIDE/image
        mv /var/lib/docker $BESIDE/data/docker && ln -s $BESIDE/data/docker /var/lib/docker
        ln -s /var/lib/machines/a $BESIDE/link
        mount --bind /var/lib/lxc/a $BESIDE/bound
        mkdir $BESIDE/bound/zone && cp -a $ROOT/var $BESIDE/bound/zone/var
        mkdir /var/lib/machines/image && mount -t tmpfs -o mode=755 tmpfs /var/lib/machines/image
        cp -a $ROOT /var/lib/machines/image/a && mount --bind /var/lib/machines/image $BESIDE/image
        mkdir /var/lib/machines/bound && mount --bind $ROOT /var/lib/machines/bound";
    let Some(root) = mounted("roots of containers under other names", script) else { return };
    let beside = |name: &str| root.stage().beside(name).display().to_string();
    let by = |mount: &str| format!(" (by what is mounted on {})", beside(mount));
    for (path, engine, way) in [
        (beside("data/docker/a"), "/var/lib/docker", format!(" (which leads to {})", beside("data/docker"))),
        ("/var/lib/docker/a".to_owned(), "/var/lib/docker", String::new()),
        (beside("link"), "/var/lib/machines", " (as /var/lib/machines/a)".to_owned()),
        (beside("bound"), "/var/lib/lxc", by("bound")),
        (beside("bound/zone"), "/var/lib/lxc", by("bound")),
        (beside("image/a"), "/var/lib/machines", by("image")),
        ("/var/lib/machines/bound".to_owned(), "/var/lib/machines", String::new()),
    ] {
        is_refused(&root, &path, &format!("in {engine}{way}, among the roots of containers."));
    }
    let said = plan(&root, "/var/lib/../lib/machines/a/").fails(3);
    let expected = "The root /var/lib/machines/a is not trusted: it is in /var/lib/machines, among";
    assert!(said.contains(expected), "{said}");
    let other = root.run("add -R /var/lib/lxc/a -R /var/lib/lxd/a delivered/100-01");
    assert_eq!(other.code, 3, "{}", other.stderr);
    assert_eq!(other.stderr.matches("among the roots of containers").count(), 2, "{}", other.stderr);
}

#[test]
fn a_root_on_or_within_an_overlayfs_is_one_of_containers() {
    let script = "mkdir -p $BESIDE/mem $BESIDE/merged $BESIDE/again
        mount -t tmpfs -o mode=755 tmpfs $BESIDE/mem && mkdir $BESIDE/mem/u $BESIDE/mem/w
        mount -t overlay -o lowerdir=$ROOT,upperdir=$BESIDE/mem/u,workdir=$BESIDE/mem/w overlay $BESIDE/merged
        mkdir -p $BESIDE/merged/srv/zone $BESIDE/merged/data && cp -a $ROOT/var $BESIDE/merged/srv/zone/var
        mount --bind $BESIDE/merged $BESIDE/again
        mount -t tmpfs -o mode=755 tmpfs $BESIDE/merged/data && cp -a $ROOT $BESIDE/merged/data/zone";
    let Some(root) = mounted("roots on an overlayfs", script) else { return };
    let beside = |name: &str| root.stage().beside(name).display().to_string();
    let merged = beside("merged");
    for (path, mount) in [
        (merged.clone(), merged.clone()),
        (beside("merged/srv/zone"), merged.clone()),
        (beside("merged/data/zone"), merged),
        (beside("again"), beside("again")),
    ] {
        is_refused(&root, &path, &format!("on the overlayfs at {mount}, as roots of containers are."));
    }
    is_planned(&root, "@ROOT@");
    let upper = root.stage().at("/opt/ACMEweb/bin/httpd");
    root.run(&format!("patchadd --trust-root -R {} delivered/100-01", beside("merged"))).ok();
    assert_eq!(fs::read(upper).unwrap(), b"one\n");
}

#[test]
fn a_root_that_contains_containers_is_none_of_them() {
    let script = "mkdir -p $ROOT/var/lib/docker/a $BESIDE/host
        mount -t overlay -o lowerdir=$ROOT/etc:$ROOT/opt overlay $ROOT/var/lib/docker/a
        mount --bind / $BESIDE/host
        mkdir /var/lib/machines/all && mount --bind / /var/lib/machines/all";
    let Some(root) = mounted("a root that contains containers", script) else { return };
    is_planned(&root, "@ROOT@");
    let same = format!("{}{}", root.stage().beside("host").display(), root.stage().root().display());
    // The bind mount of `/` shows the root only if the root is on the same file system.
    if root.outside(same.as_ref()).join("var/sadm").exists() {
        is_planned(&root, &same);
    }
    for above in ["/var/lib", "/var", "/run"] {
        let run = plan(&root, above);
        assert!(!run.stderr.contains("containers"), "{above}: {}", run.stderr);
    }
}

#[test]
fn the_policy_of_the_host_may_trust_roots_of_containers_and_an_owner_is_told_as_ever() {
    let Some(root) = mounted("the policy and roots of containers", "true") else { return };
    let policy = |text: &str| fs::write(root.stage().beside("etc/patchadm/policy"), text).unwrap();
    policy("trusted_roots=/var/lib/machines/*\n");
    is_planned(&root, "/var/lib/machines/a");
    is_refused(&root, "/var/lib/lxc/a", "in /var/lib/lxc, among the roots of containers.");
    policy("trusted_roots=/var/lib/machines/*\nuntrusted_roots=/var/lib/machines\n");
    let said = plan(&root, "/var/lib/machines/a").fails(3);
    assert!(said.contains("untrusted_roots of the policy of this host names it"), "{said}");
    policy("");
    // As in the storage of an unprivileged container.
    let given = Command::new("chown")
        .args(["-R", &format!("{NOBODY}:{NOBODY}")])
        .arg(root.outside("/var/lib/containers/a".as_ref()))
        .status();
    assert!(given.unwrap().success());
    let said = plan(&root, "/var/lib/containers/a").fails(3);
    assert!(said.contains(&format!("belongs to uid {NOBODY}")), "{said}");
}

/// A container in which the program runs: `/` is an overlayfs.
const CONTAINER: &str = r"set -e
    mkdir -p $BESIDE/mem && mount -t tmpfs -o mode=755 tmpfs $BESIDE/mem
    cd $BESIDE/mem && mkdir u w root
    mount -t overlay -o lowerdir=/,upperdir=u,workdir=w overlay root
    mount -t proc proc root/proc
    mkdir -p root/srv/inner root/srv/u root/srv/w root/srv/bound root/srv/data
    cp -a $ROOT root/srv/zone && cp -a $BESIDE/delivered root/srv/delivered && cp $PROGRAM root/srv/patchadm
    mount -t tmpfs -o mode=755 tmpfs root/srv/data && cp -a $ROOT root/srv/data/zone
    mount --bind root/srv/zone root/srv/bound
    mkdir iu iw && mount -t overlay -o lowerdir=$ROOT,upperdir=$BESIDE/mem/iu,workdir=$BESIDE/mem/iw overlay root/srv/inner
    for path in /srv/zone /srv/bound /srv/data/zone /srv/inner /; do
        code=0
        chroot root /srv/patchadm plan -R $path /srv/delivered/100-01 >out 2>&1 || code=$?
        trusted=yes
        ! grep -q 'is not trusted' out || trusted=no
        echo $path $code $trusted
    done";

#[test]
fn the_overlayfs_of_the_running_system_is_home() {
    let Some(root) = mounted("a container of our own", "true") else { return };
    let program = root.command("--version");
    let mut shell = Command::new("nsenter");
    let into: Vec<_> = program.get_args().take(1).map(ToOwned::to_owned).collect();
    let output = shell
        .args(into)
        .args(["sh", "-c", CONTAINER])
        .env("BESIDE", root.stage().beside(""))
        .env("ROOT", root.stage().root())
        .env("PROGRAM", env!("CARGO_BIN_EXE_patchadm"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() && said.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        crate::skipped(&format!("the_overlayfs_of_the_running_system_is_home: {why}"));
        return;
    }
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..4],
        ["/srv/zone 0 yes", "/srv/bound 0 yes", "/srv/data/zone 0 yes", "/srv/inner 3 no"]
    );
    assert!(lines[4].starts_with("/ ") && lines[4].ends_with(" yes"), "{said}");
}
