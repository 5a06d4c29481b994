//! Malicious recipes: nothing in a build is root of the machine, reads files that it may not, or takes the place of
//! another package.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::sha256_text;

use super::{BulkBuild, BulkRun, can_have_subordinate_ids, everybody};
use crate::everyman::NOBODY;
use crate::scenario::is_root;

/// Tries actions that only root of the machine can do, and prints those that succeed. It writes back the current
/// kernel settings.
const TRIES: &str = "\
for setting in kernel/core_pattern vm/swappiness kernel/ns_last_pid; do
    { cat /proc/sys/$setting > /tmp/was; cat /tmp/was > /proc/sys/$setting; } 2> /dev/null && echo \"WENT WELL: $setting\"
done
mknod /tmp/disk b 7 0 2> /dev/null && echo 'WENT WELL: mknod'
for place in /usr /tree /proc /dev/null; do
    mount -o remount,rw,bind $place 2> /dev/null && echo \"WENT WELL: remount $place\"
    umount $place 2> /dev/null && echo \"WENT WELL: umount $place\"
done
mount -t tmpfs none /mnt 2> /dev/null && echo 'WENT WELL: mount'
unshare -Ur true 2> /dev/null && echo 'WENT WELL: unshare -U'
unshare -Urm mount -t tmpfs none /tmp 2> /dev/null && echo 'WENT WELL: mount in a user namespace'
hostname other 2> /dev/null && echo 'WENT WELL: hostname'
ls /proc/1/fd > /dev/null 2>&1 && echo 'WENT WELL: /proc/1/fd'
while read inside outside count; do [ $outside = 0 ] && echo \"WENT WELL: $inside is root\"; done < /proc/self/uid_map
";

#[test]
fn no_script_of_a_package_and_no_build_has_a_right_of_the_machine_s_root() {
    for (is_ordinary, build_as) in [(false, "user"), (false, "root"), (true, "user")] {
        if !is_ordinary && !is_root() {
            continue;
        }
        let settings = format!("slot=local 2\nbuild_as={build_as}\n");
        let Some(build) = BulkBuild::of_recipes("no_script…", is_ordinary, &settings) else { continue };
        let script = format!(
            "mkdir $DESTDIR/opt\ncat > $OUT/postinstall <<'End'\n{TRIES}touch /tree/written /usr/written 2> /dev/null && echo \
             'WENT WELL: touch'\necho it was tried\nexit 0\nEnd\nset +e\n{TRIES}echo it was tried\n"
        );
        build.recipe("tries", "", &script);
        build.recipe("needs", "ALL_DEPENDS=tries-[0-9]*\n", "mkdir $DESTDIR/opt\n");
        build.run("").ends(0);
        for package in ["tries-1.0", "needs-1.0"] {
            let log = build.log(package);
            assert!(log.contains("it was tried") && !log.contains("WENT WELL"), "{}: {log}", build.who());
        }
    }
}

/// Asks for sockets of several families, for a pair, for a ring that could make sockets or keep files
/// (`io_uring_setup`, `io_uring_enter`, `io_uring_register`), for open files of a thread's own (`close_range`), and
/// for memory that is charged to nobody (`landlock_create_ruleset` and the next calls, `memfd_secret`).
const SOCKETS: &str = r#"perl -e '
    for my $f (1, 2, 16, 17, 38, 40) {
        print "family $f: ", socket(my $s, $f, $f == 16 || $f == 17 ? 2 : $f == 38 ? 5 : 1, 0) ? "there" : $!+0, "\n";
    }
    print "pair: ", socketpair(my $a, my $b, 1, 1, 0) ? "there" : $!+0, "\n";
    print "filter: ", setsockopt($a, 1, 26, pack("S x6 Q", 1, 0)) ? "there" : $!+0, "\n";
    for my $c (425 .. 427) {
        my $r = syscall($c, 1, 0, 0, 0, 0, 0);
        print "ring $c: ", $r < 0 ? $!+0 : "there", "\n";
    }
    my $r = syscall(436, 100, 200, 2);
    print "files: ", $r < 0 ? $!+0 : "there", "\n";
    for my $c (444 .. 447) {
        my $r = syscall($c, 0, 0, 1);
        print "memory $c: ", $r < 0 ? $!+0 : "there", "\n";
    }
'
"#;

#[test]
fn no_build_has_a_socket_that_no_namespace_holds() {
    let test = "no_build_has_a_socket…";
    if !crate::has("perl", test) {
        return;
    }
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes(test, is_ordinary, "slot=local 1\n") else { continue };
        let script =
            format!("mkdir $DESTDIR/opt\n{SOCKETS}cat > $OUT/postinstall <<'End'\n{SOCKETS}exit 0\nEnd\n");
        build.recipe("asks", "", &script);
        build.run("").ends(0);
        let log = build.log("asks-1.0");
        // EAFNOSUPPORT for packet sockets, kernel ciphers, and the host of a virtual machine; EPERM for a socket
        // filter; ENOSYS for the others.
        for line in [
            "family 1: there",
            "family 2: there",
            "family 16: there",
            "family 17: 97",
            "family 38: 97",
            "family 40: 97",
            "pair: there",
            "filter: 1",
            "ring 425: 38",
            "ring 426: 38",
            "ring 427: 38",
            "files: 38",
            "memory 444: 38",
            "memory 445: 38",
            "memory 446: 38",
            "memory 447: 38",
        ] {
            assert_eq!(log.lines().filter(|seen| *seen == line).count(), 2, "{}: {line}: {log}", build.who());
        }
    }
}

/// Sets limits of the first process, of itself by number, and of itself, and asks for asynchronous requests, for a
/// filter with a listener, a map of BPF, and a table of futexes.
fn limits_of_processes() -> String {
    let numbers = if cfg!(target_arch = "x86_64") {
        [("PRLIMIT", "302"), ("IO_SETUP", "206"), ("SECCOMP", "317"), ("BPF", "321"), ("PRCTL", "157")]
    } else {
        [("PRLIMIT", "261"), ("IO_SETUP", "0"), ("SECCOMP", "277"), ("BPF", "280"), ("PRCTL", "167")]
    };
    let script = r#"perl -e '
    my ($most, $none) = (pack("QQ", 60, 60), pack("Q", 0));
    for my $p (1, $$ + 0, 0) {
        my $r = syscall(PRLIMIT, $p, 0, $most, 0);
        print "limit of ", $p > 1 ? "own" : $p, ": ", $r < 0 ? $!+0 : "set", "\n";
    }
    my $r = syscall(IO_SETUP, 1, $none);
    print "requests: ", $r < 0 ? $!+0 : "there", "\n";
    $r = syscall(SECCOMP, 1, 8, 0);
    print "listener: ", $r < 0 ? $!+0 : "there", "\n";
    $r = syscall(BPF, 0, 0, 0);
    print "map: ", $r < 0 ? $!+0 : "there", "\n";
    $r = syscall(PRCTL, 78, 1, 16, 0, 0);
    print "futexes: ", $r < 0 ? $!+0 : "there", "\n";
'
ulimit -c 0 && echo ulimit: set
"#;
    numbers.iter().fold(script.to_owned(), |script, (name, number)| script.replace(name, number))
}

#[test]
fn no_build_and_no_script_limits_the_process_that_holds_its_sandbox_together() {
    let test = "no_build_and_no_script_limits…";
    if !crate::has("perl", test) {
        return;
    }
    for (is_ordinary, build_as) in [(false, "user"), (false, "root"), (true, "user")] {
        if !is_ordinary && !is_root() {
            continue;
        }
        let settings = format!("slot=local 1\nbuild_as={build_as}\n");
        let Some(build) = BulkBuild::of_recipes(test, is_ordinary, &settings) else { continue };
        let limits = limits_of_processes();
        let script =
            format!("mkdir $DESTDIR/opt\n{limits}cat > $OUT/postinstall <<'End'\n{limits}exit 0\nEnd\n");
        build.recipe("limits", "", &script);
        build.run("").ends(0);
        let log = build.log("limits-1.0");
        // EPERM and ENOSYS.
        let refused = ["requests: 38", "listener: 38", "map: 38", "futexes: 1"];
        let lines = ["limit of 1: 1", "limit of own: 1", "limit of 0: set", "ulimit: set"];
        for line in lines.into_iter().chain(refused) {
            let count = log.lines().filter(|seen| *seen == line).count();
            assert_eq!(count, 2, "{}, {build_as}: {line}: {log}", build.who());
        }
    }
}

/// Outputs that refer to files of others: name, script, and expected message.
const STOLEN: [(&str, &str, &str); 10] = [
    (
        "absolute",
        "echo 'f none opt/x=/etc/passwd 0644 root root'",
        "line 1: /etc/passwd: a source is a path below /out/root",
    ),
    (
        "up",
        "echo 'f none opt/x=../../etc/passwd 0644 root root'",
        "line 1: ../../etc/passwd: a source is a path below",
    ),
    (
        "variable",
        "echo '!up=/etc'; echo 'f none opt/x=$up/passwd 0644 root root'",
        "line 2: $up/passwd: a source is a path",
    ),
    (
        "copyright",
        "echo 'i copyright=/etc/passwd'",
        "line 1: copyright=/etc/passwd: information files belong in /out",
    ),
    (
        "link",
        "ln -s /etc/passwd $DESTDIR/opt/l; echo 'f none opt/l 0644 root root'",
        "line 1: opt/l: a symbolic link",
    ),
    (
        "source",
        "ln -s /etc/passwd $DESTDIR/opt/l; echo 'f none opt/x=opt/l 0644 root root'",
        "line 1: opt/l: a symbolic link",
    ),
    (
        "behind",
        "ln -s /etc $DESTDIR/opt/d; echo 'f none opt/d/passwd 0644 root root'",
        "line 1: opt/d/passwd: a symbolic link",
    ),
    ("include", "echo '!include /etc/passwd'", "line 1: other prototypes and directories have no meaning"),
    (
        "search",
        "echo '!search /etc'; echo 'f none passwd 0644 root root'",
        "line 1: other prototypes and directories",
    ),
    (
        "beside",
        "ln -s /etc/passwd $OUT/copyright; echo 'd none opt 0755 root root'",
        "/out/copyright is not a file",
    ),
];

#[test]
fn nothing_but_what_a_build_has_written_gets_into_its_package() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes("nothing_but…", is_ordinary, "slot=local 2\n") else {
            continue;
        };
        for (name, script, _) in STOLEN {
            build.recipe(name, "", &format!("mkdir $DESTDIR/opt\n{{ {script}; }} > $OUT/prototype\n"));
        }
        build.recipe("good", "", "mkdir $DESTDIR/opt; echo good > $DESTDIR/opt/good\n");
        let package = "rmdir $OUT/root; mkdir $OUT/p; mkdir -p $OUT/p/reloc/opt; ln -s /etc/passwd $OUT/p/reloc/opt/x\n\
                       printf 'PKG=p\\nNAME=p\\nARCH=all\\nVERSION=1\\nCATEGORY=a\\nBASEDIR=/\\n' > $OUT/p/pkginfo\n\
                       printf ': 1 1\\n1 f none opt/x 0644 root root 1 1 1\\n' > $OUT/p/pkgmap\n";
        build.recipe("directory", "", package);
        let run = build.run("").ends(5);
        assert_eq!(run.in_state("done"), ["good"], "{}", build.who());
        let directory = ("directory", "", "reloc/opt/x is a symbolic link");
        for (name, _, says) in STOLEN.into_iter().chain([directory]) {
            let package = format!("{name}-1.0");
            assert_eq!(run.package(&package)["cause"], "result", "{package}");
            assert!(run.detail(&package).contains(says), "{package}: {}", run.detail(&package));
        }
    }
}

#[test]
fn what_is_packed_counts_with_its_size_whether_it_has_blocks_or_not() {
    for is_ordinary in everybody() {
        let settings = "slot=local 2\ncheck=none\ndisk=4M\n";
        let Some(build) = BulkBuild::of_recipes("what_is_packed…", is_ordinary, settings) else { continue };
        let entries = "printf 'f none opt/%s=opt/x 0644 root root\\n' a b";
        build.recipe(
            "twice",
            "",
            &format!("mkdir $DESTDIR/opt; truncate -s 3M $DESTDIR/opt/x; {entries} > $OUT/prototype\n"),
        );
        build.recipe(
            "sparse",
            "",
            "mkdir $DESTDIR/opt; for n in 1 2 3 4 5; do truncate -s 3M $DESTDIR/opt/$n; done\n",
        );
        build.recipe("files", "", "rmdir $OUT/root; truncate -s 3M $OUT/a $OUT/b\n");
        build.recipe("good", "", "mkdir $DESTDIR/opt; truncate -s 3M $DESTDIR/opt/x\n");
        let run = build.run("").ends(5);
        assert_eq!(run.in_state("done"), ["good"], "{}", build.who());
        for (package, bytes) in
            [("twice-1.0", 6_291_456), ("sparse-1.0", 15_728_640), ("files-1.0", 6_291_456)]
        {
            assert_eq!(run.package(package)["cause"], "disk", "{package}: {}", run.detail(package));
            let says = format!("{bytes} bytes to be packed, over the limit of 4194304");
            assert_eq!(run.detail(package), says, "{package}");
        }
    }
}

#[test]
fn shared_memory_is_no_disk_without_a_limit() {
    for is_ordinary in everybody() {
        let settings = "slot=local 2\ncheck=none\nlimit=small memory=64M\n";
        let Some(build) = BulkBuild::of_recipes("shared_memory…", is_ordinary, settings) else { continue };
        for name in ["small", "usual"] {
            build.recipe(name, "", "mkdir $DESTDIR/opt; echo \"size $(stat -f -c '%b * %S' /dev/shm)\"\n");
        }
        build.run("").ends(0);
        let pages = |size: u64| format!("size {} * 4096\n", size / 4096);
        assert_eq!(build.log("small-1.0"), pages(64 << 20), "{}", build.who());
        assert_eq!(build.log("usual-1.0"), pages(1 << 30), "{}", build.who());
    }
}

#[test]
fn a_set_id_program_in_a_layer_is_nobody_s_and_nobody_reaches_it() {
    if !is_root() {
        crate::skipped("a_set_id_program…: only root has ids to give");
        return;
    }
    let Some(build) = BulkBuild::of_recipes("a_set_id_program…", false, "slot=local 2\n") else { return };
    let entry = "echo 'f none opt/x 4755 root root' > $OUT/prototype";
    build.recipe("set-id", "", &format!("mkdir $DESTDIR/opt; cp /bin/true $DESTDIR/opt/x; {entry}\n"));
    build.recipe("needs", "ALL_DEPENDS=set-id-[0-9]*\n", "mkdir $DESTDIR/opt; test -u /opt/x\n");
    build.run("").ends(0);
    let installed = build.work().join("build/installed");
    let programs = find(&installed, "x");
    let [program] = &programs[..] else { panic!("{programs:?}") };
    let seen = fs::metadata(program).unwrap();
    assert_eq!(seen.mode() & 0o7777, 0o4755);
    let conf = fs::read_to_string(build.work().join("bulk.conf")).unwrap();
    let range = conf.lines().find_map(|line| line.strip_prefix("ids=")).unwrap();
    let start: u32 = range.split_once(':').unwrap().0.parse().unwrap();
    assert_eq!((seen.uid(), seen.gid()), (start, start));
    assert_eq!(fs::metadata(installed).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn nobody_else_enters_a_directory_of_a_build_or_runs_a_set_id_program_of_its_base() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes("nobody_else_enters…", is_ordinary, "slot=local 2\n")
        else {
            continue;
        };
        let build_dir = build.work().join("build");
        // Earlier versions left a layer accessible to everybody.
        let layer = build_dir.join("copy-0123456789abcdef");
        fs::create_dir(&layer).unwrap();
        let owner = fs::metadata(&build_dir).unwrap();
        chown(&layer, Some(owner.uid()), Some(owner.gid())).unwrap();
        build.recipe("good", "", "mkdir $DESTDIR/opt; echo > $DESTDIR/opt/x\n");
        build.recipe("needs", "ALL_DEPENDS=good-[0-9]*\n", "mkdir $DESTDIR/opt; cat /opt/x\n");
        build.recipe("bad", "", "exit 1\n");
        let must_be_closed = || {
            let entries = fs::read_dir(&build_dir).unwrap().map(|entry| entry.unwrap().path());
            let open: Vec<PathBuf> = entries
                .filter(|path| {
                    let seen = fs::symlink_metadata(path).unwrap();
                    seen.is_dir() && seen.mode() & 0o077 != 0
                })
                .collect();
            assert!(open.is_empty(), "{}: {open:?}", build.who());
        };
        build.run("").ends(5);
        must_be_closed();
        let system = build.scenario.beside("system");
        super::directory_base::make_system(&system);
        fs::copy(system.join("bin/ls"), system.join("bin/set-id")).unwrap();
        fs::set_permissions(system.join("bin/set-id"), fs::Permissions::from_mode(0o4755)).unwrap();
        // Without `base_id`, the content identifies the base.
        let conf = build.work().join("bulk.conf");
        let text = fs::read_to_string(&conf).unwrap().replace("\nbase_id=echo base\n", "\n");
        fs::write(&conf, format!("{text}base={}\n", system.display())).unwrap();
        build.run("").ends(5);
        must_be_closed();
        assert_eq!(
            find(&build_dir.join("bases"), "set-id").len(),
            usize::from(!is_ordinary),
            "{}",
            build.who()
        );
    }
}

/// The files of this name below a directory.
fn find(below: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![below.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if entry.file_name() == name {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_source_of_the_machine_is_a_file_of_a_directory_that_is_named_for_it() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes("a_source…", is_ordinary, "slot=local 2\ncheck=none\n")
        else {
            continue;
        };
        let fields = |url: &str| format!("DISTFILES=x:{}:1000000\nDISTURL={url}\n", "0".repeat(64));
        let script = "mkdir $DESTDIR/opt\n";
        let above = build.scenario.beside("");
        fs::write(above.join("unnamed"), "").unwrap();
        let secret = build.write_elsewhere("secret", "s");
        let there = secret.trim_end_matches("secret");
        let path = |name: &str| build.scenario.beside("theirs").join(name);
        let made = Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        std::os::unix::fs::symlink("../unnamed", path("out")).unwrap();
        for name in ["pipe", "zero", "out", "secret"] {
            build.recipe(name, &fields(&format!("{there}{name}")), script);
        }
        build.recipe("elsewhere", &fields(&format!("file:{}", above.join("unnamed").display())), script);
        build.recipe("dots", &fields(&format!("{there}../unnamed")), script);
        build.recipe("device", &fields("file:/dev/zero"), script);
        if is_root() {
            // Owned by root and readable for root alone.
            chown(path("secret"), Some(0), Some(0)).unwrap();
            fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let run = build.run("").ends(5);
        assert!(run.in_state("done").is_empty());
        let unnamed = "it is below no `file_source` of bulk.conf";
        let link = "it is a symbolic link, or reached through one";
        for (name, says) in [
            ("pipe", "it is not a regular file"),
            ("zero", link),
            ("out", link),
            ("elsewhere", unnamed),
            ("dots", unnamed),
            ("device", unnamed),
        ] {
            let detail = run.detail(&format!("{name}-1.0"));
            assert!(detail.contains(says), "{}: {name}: {detail}", build.who());
        }
        if !is_ordinary {
            let detail = run.detail("secret-1.0");
            assert!(detail.contains("Permission denied"), "{detail}");
        }
    }
}

/// A source that a test server delivers.
const SOURCE: &str = "the source\n";

/// Serves the source, or an endless response, and records the kernel's view of each client process. The thread ends
/// with the test.
fn serve_source() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = seen.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Only root can inspect the descriptors of an unprivileged process.
            let who = if is_root() { process_behind(&stream) } else { String::new() };
            noted.lock().unwrap().push(who);
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let asked: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let is_endless = asked.first().is_some_and(|line| line.contains("/endless"));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(SOURCE.as_bytes());
            while is_endless && stream.write_all(&[0; 4096]).is_ok() {}
        }
    });
    (port, seen)
}

/// The ids, groups, capabilities, session and descriptors of the process at the other end of a local connection.
fn process_behind(stream: &TcpStream) -> String {
    let port = stream.peer_addr().unwrap().port();
    let connections = fs::read_to_string("/proc/net/tcp").unwrap();
    let theirs = connections.lines().find(|line| {
        line.split_ascii_whitespace().nth(1).is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
    });
    let socket = theirs.unwrap().split_ascii_whitespace().nth(9).unwrap();
    let socket = PathBuf::from(format!("socket:[{socket}]"));
    let targets = |process: &Path| -> Vec<PathBuf> {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let holds_it = |process: &PathBuf| targets(process).contains(&socket);
    let process = processes.filter(|path| path.join("fd").exists()).find(holds_it).unwrap();
    let status = fs::read_to_string(process.join("status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    };
    let stat = fs::read_to_string(process.join("stat")).unwrap();
    let stat: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let leads = process.ends_with(stat[3]);
    let is_plain = |target: &PathBuf| {
        let target = target.to_str().unwrap();
        target.starts_with("pipe:") || target.starts_with("socket:")
    };
    let others: Vec<PathBuf> = targets(&process).into_iter().filter(|target| !is_plain(target)).collect();
    format!(
        "uid {}, gid {}, groups [{}], capabilities {} {}, no new privileges {}, leads its session {leads}, terminal {}, \
         opened {others:?}",
        of("Uid"),
        of("Gid"),
        of("Groups"),
        of("CapPrm"),
        of("CapEff"),
        of("NoNewPrivs"),
        stat[4],
    )
}

#[test]
fn whoever_asks_a_server_for_a_source_has_the_ids_of_the_build_user_and_no_right() {
    for is_ordinary in everybody() {
        if is_ordinary && is_root() {
            // An ordinary user fetches under their own id.
            continue;
        }
        let settings = "slot=local 2\ncheck=none\nlocal_source=127.0.0.1\n";
        let Some(build) = BulkBuild::of_recipes("whoever_asks…", is_ordinary, settings) else { continue };
        let (port, seen) = serve_source();
        let mut digest = Sha256::new();
        digest.update(SOURCE.as_bytes());
        let sum = sha256_text(&digest.finalize());
        for name in ["whole", "endless"] {
            let fields =
                format!("DISTFILES={name}:{sum}:{}\nDISTURL=http://127.0.0.1:{port}/{name}\n", SOURCE.len());
            build.recipe(name, &fields, "mkdir $DESTDIR/opt; cp $DISTDIR/* $DESTDIR/opt\n");
        }
        // The same server, at an address that the operator has not named.
        let fields = format!("DISTFILES=local:{sum}:{}\nDISTURL=http://127.1:{port}/local\n", SOURCE.len());
        build.recipe("local", &fields, "mkdir $DESTDIR/opt\n");
        // A descriptor that the caller left open is not inherited.
        let running = build.running("");
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec 7< /etc/passwd; exec \"$@\"", "sh"]).arg(running.get_program());
        shell.args(running.get_args()).env_clear().stdin(std::process::Stdio::null());
        for (name, value) in running.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let run = BulkRun::of(&shell.output().unwrap()).ends(5);
        assert_eq!(run.in_state("done"), ["whole"], "{}", build.who());
        assert!(
            run.detail("endless-1.0").contains("it has more than 11 bytes"),
            "{}",
            run.detail("endless-1.0")
        );
        assert!(
            run.detail("local-1.0")
                .contains("127.1 has a local address, and is not a `local_source` of bulk.conf"),
            "{}",
            run.detail("local-1.0")
        );
        assert_eq!(fs::read_dir(build.work().join("distfiles")).unwrap().count(), 1);
        assert_eq!(seen.lock().unwrap().len(), 2, "the server was not asked by that name");
        if is_root() {
            let id = Command::new("id").args(["-u", "nobody"]).output().unwrap();
            let nobody = String::from_utf8(id.stdout).unwrap();
            let four = [nobody.trim_end(); 4].join(" ");
            let none = "0000000000000000";
            let expected = format!(
                "uid {four}, gid {four}, groups [], capabilities {none} {none}, no new privileges 1, leads its session true, \
                 terminal 0, opened []"
            );
            assert_eq!(*seen.lock().unwrap(), [expected.clone(), expected]);
        }
    }
}

#[test]
fn what_others_can_change_is_not_believed_and_named_with_its_owner() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes("what_others…", is_ordinary, "slot=local 1\n") else {
            continue;
        };
        build.recipe("good", "", "mkdir $DESTDIR/opt\n");
        let work = build.work();
        let places = [work.join("bulk.conf"), work.join("build"), build.scenario.beside("driver/build")];
        for place in &places {
            let mode = fs::metadata(place).unwrap().permissions();
            fs::set_permissions(place, fs::Permissions::from_mode(mode.mode() | 0o002)).unwrap();
            let refused = build.action("run @WORK@");
            assert_eq!(refused.code, 3, "{refused:#?}");
            let shown = place.display().to_string().replace(&work.display().to_string(), "@WORK@");
            assert!(refused.stderr.contains(&format!("{shown} belongs to ")), "{shown}: {refused:#?}");
            assert!(refused.stderr.contains("and others may write to it (mode 0"), "{refused:#?}");
            fs::set_permissions(place, mode).unwrap();
        }
        if !is_ordinary && is_root() {
            for place in &places {
                chown(place, Some(NOBODY), None).unwrap();
                let refused = build.action("run @WORK@");
                assert_eq!(refused.code, 3, "{refused:#?}");
                let says = format!("belongs to {NOBODY}, who is neither you nor root");
                assert!(refused.stderr.contains(&says), "{}: {refused:#?}", place.display());
                chown(place, Some(0), None).unwrap();
            }
        }
        build.run("").ends(0);
    }
}

#[test]
fn what_lies_where_others_can_put_something_else_is_not_believed() {
    if !is_root() {
        crate::skipped("what_lies_where_others…: only root gives directories away");
        return;
    }
    let Some(build) = BulkBuild::of_recipes("what_lies_where…", false, "slot=local 1\n") else { return };
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    build.run("").ends(0);
    let (work, driver) = (build.work(), build.scenario.beside("driver"));
    fs::write(driver.join("helper"), "").unwrap();
    let own = ["build/tasks", "runs", "sets", "scan", "id"].map(|name| work.join(name));
    let elsewhere = [work.parent().unwrap().to_owned(), driver.join("helper")];
    for place in own.iter().chain(&elsewhere) {
        let owner = fs::metadata(place).unwrap().uid();
        chown(place, Some(NOBODY), None).unwrap();
        let refused = build.action("run @WORK@");
        assert_eq!(refused.code, 3, "{}: {refused:#?}", place.display());
        assert!(refused.stderr.contains("files that others can change are not trusted"), "{refused:#?}");
        chown(place, Some(owner), None).unwrap();
    }
    // For a driver behind a link, the target of the link counts.
    let theirs = build.scenario.beside("of-nobody");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::symlink(&driver, theirs.join("driver")).unwrap();
    chown(&theirs, Some(NOBODY), None).unwrap();
    let conf = fs::read_to_string(work.join("bulk.conf")).unwrap();
    let line = |at: &Path| format!("driver={}\n", at.display());
    fs::write(work.join("bulk.conf"), conf.replace(&line(&driver), &line(&theirs.join("driver")))).unwrap();
    let refused = build.action("run @WORK@");
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("of-nobody belongs to uid"), "{refused:#?}");
    fs::write(work.join("bulk.conf"), &conf).unwrap();
    // A missing directory for tasks is not created in a place where others could replace it.
    build.set(&format!("build_dir={}\n", theirs.join("build").display()));
    for line in ["run @WORK@", "run @WORK@ --dry-run", "scan @WORK@"] {
        let refused = build.action(line);
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert!(refused.stderr.contains("of-nobody belongs to uid"), "{refused:#?}");
        assert!(!theirs.join("build").exists());
    }
    let made = build.scenario.beside("made");
    fs::write(work.join("bulk.conf"), format!("{conf}build_dir={}\n", made.display())).unwrap();
    build.run("").ends(0);
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o7777, 0o755);
    fs::write(work.join("bulk.conf"), conf).unwrap();

    let list = build.scenario.beside("list");
    fs::write(&list, "good\n").unwrap();
    fs::set_permissions(&list, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = build.action(&format!("run @WORK@ --list {}", list.display()));
    assert!(refused.code == 1 && refused.stderr.contains("others may write to it"), "{refused:#?}");
    fs::set_permissions(&list, fs::Permissions::from_mode(0o644)).unwrap();
    let run = build.action(&format!("run @WORK@ --list {}", list.display()));
    assert_eq!(run.code, 0, "{run:#?}");
    fs::rename(&list, theirs.join("list")).unwrap();
    let refused = build.action(&format!("run @WORK@ --list {}", theirs.join("list").display()));
    assert!(refused.code == 1 && refused.stderr.contains("could replace the file"), "{refused:#?}");
}

#[test]
fn a_recipe_that_claims_the_pkgname_of_another_one_gets_nothing_of_it() {
    for is_ordinary in everybody() {
        let settings = "slot=local 1\ncheck=none\n";
        let Some(build) = BulkBuild::of_recipes("a_recipe_that_claims…", is_ordinary, settings) else {
            continue;
        };
        let makes = |what: &str| format!("mkdir $DESTDIR/opt; echo {what} > $DESTDIR/opt/victim\n");
        build.recipe("victim", "", &makes("good"));
        let user = "echo built against $(cat /opt/victim); mkdir $DESTDIR/opt\n";
        build.recipe("user", "ALL_DEPENDS=victim-[0-9]*:../victim\n", user);
        build.recipe("other", "ALL_DEPENDS=victim-[0-9]*\n", user);
        build.run("").ends(0);
        build.write("aevil/record", "PKGNAME=victim-1.0\n");
        build.write("aevil/build", makes("EVIL"));
        let run = build.run("");
        let states = run.states();
        assert!(states.contains(&"victim-1.0 up-to-date".to_owned()), "{states:?} {}", run.said);
        let told = run.report.to_string();
        assert!(told.contains("of aevil has the name of a package of victim, which keeps it"), "{told}");
        for package in ["user-1.0", "other-1.0"] {
            assert!(build.log(package).contains("built against good"), "{}", run.said);
        }
        let manifest = fs::read_to_string(build.work().join("sets/current/MANIFEST")).unwrap();
        assert!(!manifest.contains(" aevil "), "{manifest}");
        // Once the owner is gone, the name is free.
        fs::remove_dir_all(build.tree().join("victim")).unwrap();
        let run = build.run("");
        assert!(run.states().contains(&"victim-1.0 done".to_owned()), "{:?}", run.states());
    }
}

#[test]
fn a_recipe_that_takes_the_name_of_another_one_keeps_nobody_out_of_the_set() {
    for is_ordinary in everybody() {
        let settings = "slot=local 1\ncheck=none\n";
        let Some(build) = BulkBuild::of_recipes("a_recipe_that_takes…", is_ordinary, settings) else {
            continue;
        };
        let victim = "mkdir $DESTDIR/opt; echo PKG=victim > $OUT/pkginfo\n";
        build.recipe("victim", "", victim);
        build.recipe("user", "ALL_DEPENDS=zevil-[0-9]*\n", "mkdir $DESTDIR/opt\n");
        build.recipe("zevil", "", &format!("{victim}echo evil > $DESTDIR/opt/evil\n"));
        let left_out = |run: &BulkRun| {
            let left = run.report["set"]["left_out"].as_array().cloned().unwrap_or_default();
            let told = |left: &serde_json::Value| {
                format!("{} {} {} {}", left["package"], left["name"], left["holder"], left["breaks"])
                    .replace('"', "")
            };
            left.iter().map(told).collect::<Vec<_>>()
        };
        let run = build.run("").ends(5);
        assert_eq!(left_out(&run), ["zevil-1.0 victim victim-1.0 1"], "{}", run.said);
        assert_eq!(run.report["set"]["packages"], 2);
        // A location that sorts before it does not help: the name has an owner.
        build.recipe("aevil", "", &format!("{victim}echo evil > $DESTDIR/opt/evil\n"));
        let run = build.run("").ends(5);
        assert_eq!(left_out(&run), ["aevil-1.0 victim victim-1.0 0", "zevil-1.0 victim victim-1.0 1"]);
    }
}

#[test]
fn root_needs_a_range_of_ids_and_says_which_directory_it_cannot_use() {
    if !is_root() {
        crate::skipped("root_needs…: only root has ids to give");
        return;
    }
    let Some(build) = BulkBuild::of_recipes("root_needs…", false, "slot=local 1\n") else { return };
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    let conf = build.work().join("bulk.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("ids=")).collect();
    fs::write(&conf, without.join("\n") + "\n").unwrap();
    let refused = build.action("run @WORK@");
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.stderr.contains("bulk.conf sets none: set ids="), "{refused:#?}");
    fs::write(&conf, &text).unwrap();
    let closed = build.scenario.beside("closed");
    fs::create_dir(&closed).unwrap();
    build.set(&format!("mount=rw:{}:/shared\n", closed.display()));
    let refused = build.action("run @WORK@");
    assert_eq!(refused.code, 1, "{refused:#?}");
    let says = format!("the directory {}: the user of builds", closed.display());
    assert!(refused.stderr.contains(&says), "{refused:#?}");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o777)).unwrap();
    build.run("").ends(0);
    fs::set_permissions(build.tree(), fs::Permissions::from_mode(0o700)).unwrap();
    let refused = build.action("run @WORK@");
    assert!(refused.stderr.contains("theirs/tree: the user of builds"), "{refused:#?}");
}

/// Prints what a sandbox is: its mounts, ids, capabilities, limits and devices.
const LISTING: &str = "{
    echo \"user: $(id -un), group: $(id -gn), groups: $(id -Gn)\"
    while read inside outside count; do
        [ $outside = 0 ] && outside='root of the machine'
        [ $inside = \"$outside\" ] && inside='the own' && outside='itself'
        [ \"$outside\" -gt 0 ] 2> /dev/null && outside='somebody else'
        echo \"ids: $count from $inside, as $outside\"
    done < /proc/self/uid_map
    sed -n 's/^Cap\\(Eff\\|Prm\\|Bnd\\|Amb\\):[^0-9a-f]*/capabilities \\1: /p; s/^NoNewPrivs:[^0-9]*/no new privileges: /p' /proc/self/status
    sed -n 's/^Max \\(processes\\|locked memory\\|msgqueue size\\) *\\([0-9]*\\) .*/most: \\1 \\2/p' /proc/self/limits
    sed -n 's/^[^/]* [^ ]* \\(\\/dev\\(\\/pts\\|\\/shm\\)*\\) .*,\\(max\\|nr_inodes\\)=\\([^,]*\\).*/most: \\1 \\3 \\4/p' /proc/self/mountinfo
    for setting in kernel/sem kernel/msgmni user/max_inotify_instances user/max_inotify_watches \\
        net/ipv4/tcp_rmem net/ipv4/tcp_wmem net/ipv4/tcp_max_tw_buckets; do
        echo most: $setting $(cat /proc/sys/$setting)
    done
    echo \"ends first without memory: $(cat /proc/self/oom_score_adj)\"
    stat -c 'owner: %n %U %a' / /dev /etc /out /proc /tmp /tree /usr /work
    while read -r id parent device root point options rest; do
        echo \"mount: $point $options\"
    done < /proc/self/mountinfo | sed 's/,relatime//' | sort
    for file in /dev/* /dev/pts/* /dev/shm/*; do
        [ ! -h $file ] && { [ -b $file ] || [ -c $file ]; } || continue
        stat -c 'device: %n %t:%T %a' $file
    done
} | sed 's/^/| /'
";

#[test]
fn a_sandbox_is_exactly_what_is_written_down() {
    if !is_root() {
        crate::skipped(
            "a_sandbox…: an ordinary user who is not made by root has groups that nobody wrote down",
        );
        return;
    }
    for (name, is_ordinary, build_as) in
        [("root", false, "user"), ("root-as-root", false, "root"), ("ordinary", true, "user")]
    {
        let settings = format!("slot=local 1\nhost=/usr /bin /lib /lib64 /sbin\nbuild_as={build_as}\n");
        let Some(build) = BulkBuild::of_recipes("a_sandbox…", is_ordinary, &settings) else { continue };
        let script =
            format!("mkdir $DESTDIR/opt\n{LISTING}cat > $OUT/postinstall <<'End'\n{LISTING}exit 0\nEnd\n");
        build.recipe("lists", "", &script);
        build.run("").ends(0);
        let log = build.log("lists-1.0");
        let listed: String =
            log.lines().filter_map(|line| line.strip_prefix("| ")).map(|line| format!("{line}\n")).collect();
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/bulk/sandbox").join(format!("{name}.txt"));
        assert_eq!(listed, fs::read_to_string(file).unwrap_or_default(), "{name}");
    }
}

/// Prints the owner of the user namespace (`NS_GET_OWNER_UID`), to whom the kernel charges its resources.
const OWNER: &str = r#"perl -e '
    open my $f, "<", "/proc/self/ns/user" or die;
    my $uid = pack "L", 0;
    ioctl $f, 0xb704, $uid or die $!;
    print "owner: ", unpack("L", $uid), "\n";
'
"#;

#[test]
fn the_kernel_counts_what_a_build_has_for_neither_root_nor_another_build() {
    let test = "the_kernel_counts…";
    if !is_root() {
        crate::skipped("the_kernel_counts…: only root has ids to give");
        return;
    }
    if !crate::has("perl", test) {
        return;
    }
    let Some(build) = BulkBuild::of_recipes(test, false, "slot=local 1\n") else { return };
    for name in ["one", "other"] {
        build.recipe(name, "", &format!("mkdir $DESTDIR/opt\n{OWNER}"));
    }
    build.run("").ends(0);
    let owners = ["one-1.0", "other-1.0"].map(|package| {
        let log = build.log(package);
        let owner = log.lines().find_map(|line| line.strip_prefix("owner: "));
        owner.and_then(|owner| owner.parse::<u32>().ok()).unwrap_or_else(|| panic!("{log}"))
    });
    assert!(!owners.contains(&65_534), "root has no id inside: {owners:?}");
    assert_ne!(owners[0], owners[1]);
}

#[test]
fn an_ordinary_user_with_subordinate_ids_builds_with_many_and_everything_goes_again() {
    let test = "an_ordinary_user_with_subordinate_ids…";
    if !can_have_subordinate_ids(test) {
        return;
    }
    let settings = "slot=local 1\nbuild_as=root\n";
    let Some(mut build) = BulkBuild::of_recipes(test, true, settings) else { return };
    let script = "mkdir $DESTDIR/opt; id -u; echo > $DESTDIR/opt/x; mkdir -m 700 other; echo > other/file\n\
                  chown -R 7:7 other; chown 8 $DESTDIR/opt/x; touch /opt-of-root\n";
    build.recipe("many", "", script);
    build.recipe(
        "needs",
        "ALL_DEPENDS=many-[0-9]*\n",
        "mkdir $DESTDIR/opt; test -e /opt/x; echo it is there\n",
    );
    let refused = build.action("run @WORK@");
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.stderr.contains("`build_as=root` needs subordinate ids of 54321"), "{refused:#?}");
    build.set_subordinate_ids_aside();
    let with_ids = |line: &str| build.command(line).output().unwrap();
    let work = build.work().display().to_string();
    let run = BulkRun::of(&with_ids(&format!("run {work} --json"))).ends(0);
    assert_eq!(run.in_state("done"), ["many", "needs"]);
    assert!(build.log("many-1.0").starts_with("0\n"), "{}", build.log("many-1.0"));
    assert!(build.log("needs-1.0").contains("it is there"));
    build.assert_nothing_left("none");
    let layers = find(&build.work().join("build/installed"), "x");
    let [file] = &layers[..] else { panic!("{layers:?}") };
    assert_eq!(fs::metadata(file).unwrap().uid(), NOBODY, "root of the sandbox is whoever builds");
    let entered = with_ids(&format!("enter {work} many -- /bin/sh -c id"));
    let said = String::from_utf8_lossy(&entered.stdout).into_owned();
    assert!(said.starts_with("uid=0(root) gid=0(root)"), "{entered:?}");
    build.set("installed_limit=1\n");
    let pruned = with_ids(&format!("prune {work}"));
    assert!(pruned.status.success(), "{pruned:?}");
    assert_eq!(
        fs::read_dir(build.work().join("build/installed"))
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count(),
        0
    );
}
