//! Builds that exceed a limit: each ends with its cause, nothing of it is left, and its neighbour is built as usual.

use std::process::Command;

use super::{BulkBuild, BulkRun, everybody, for_everybody, mark};

for_everybody! {
    a_build_over_a_limit_ends_with_its_cause_and_nothing_of_it_is_left,
    open_files_count_that_are_in_no_table_of_a_living_first_thread,
    locks_and_sockets_without_number_are_the_failure_of_their_package,
    a_mapped_file_whose_path_is_too_long_to_be_read_is_the_failure_of_its_package,
}

/// First commands of each build: they leave processes that ignore signals, in sessions of their own.
const DAEMONS: &str = "trap '' TERM HUP INT\n\
    setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000; sleep 1000' &\n";

/// A recipe: its name, its limits, its script, its cause, and how the reason begins and ends.
type Over = (&'static str, &'static str, &'static str, &'static str, (&'static str, &'static str));

const OVER: [Over; 13] = [
    ("time", "time=1", "while sleep 0.1; do echo on; done", "time", ("1 s", ", limit 1")),
    ("silence", "silence=1", "sleep 1000", "silence", ("no output for 1 s", ", limit 1")),
    ("cpu", "cpu=1", "while :; do :; done", "cpu", ("a process that used ", ", limit 1")),
    ("cpu-of-child", "cpu=1", "sh -c 'while :; do :; done'", "cpu", ("a process that used ", ", limit 1")),
    ("memory", "memory=64M", "head -c 200M /dev/zero | tail; sleep 1000", "memory", ("", ", limit 67108864")),
    (
        "processes",
        "processes=20",
        "for n in $(seq 40); do sleep 1000 & done; sleep 1000",
        "processes",
        ("", ", limit 20"),
    ),
    (
        "disk",
        "disk=10M",
        "for n in $(seq 20); do head -c 1M /dev/urandom > $n; done; sleep 1000",
        "disk",
        ("", " bytes on the disk, limit 10485760"),
    ),
    (
        "disk-of-out",
        "disk=10M",
        "for n in $(seq 20); do head -c 1M /dev/urandom > $OUT/$n; done; sleep 1000",
        "disk",
        ("", " bytes on the disk, limit 10485760"),
    ),
    (
        "disk-by-one-file",
        "disk=10M",
        "head -c 20M /dev/urandom > file",
        "disk",
        ("", " bytes on the disk, limit 10485760"),
    ),
    (
        "disk-without-names",
        "disk=4M",
        "exec 3> a 4> b 5> c; rm a b c; for n in 3 4 5; do head -c 3M /dev/zero >&$n; done; sleep 1000",
        "disk",
        ("", " bytes on the disk, limit 4194304"),
    ),
    (
        "disk-behind-a-long-path",
        "disk=10M",
        "name=$(printf '%0250d' 0); for n in $(seq 20); do mkdir $name; cd -P $name; done 2> /dev/null\n\
         for n in 1 2 3 4 5 6 7 8 9; do head -c 3M /dev/urandom > $n; done; sleep 1000",
        "disk",
        ("", " bytes on the disk, limit 10485760"),
    ),
    (
        "memory-without-names",
        "memory=64M",
        "exec 3> /dev/shm/a; rm /dev/shm/a; head -c 40M /dev/zero >&3; head -c 40M /dev/zero | tail | sleep 1000",
        "memory",
        ("", ", limit 67108864"),
    ),
    ("output", "output=100K", "yes", "output", ("", " bytes of output, limit 102400")),
];

fn a_build_over_a_limit_ends_with_its_cause_and_nothing_of_it_is_left(is_ordinary: bool) {
    let mark = mark();
    let settings = format!("slot=local 8\ncheck=none\nenv=MARK={mark}\n");
    let Some(build) = BulkBuild::of_recipes("a_build_over_a_limit…", is_ordinary, &settings) else {
        return;
    };
    for (name, limits, script, ..) in OVER {
        build.recipe(name, &format!("LIMITS={limits}\n"), &format!("{DAEMONS}{script}\n"));
    }
    build.recipe("neighbour", "", "for n in 1 2 3 4; do sleep 1; done; mkdir $DESTDIR/opt\n");
    build.recipe("user", "ALL_DEPENDS=neighbour-[0-9]*\n", "mkdir $DESTDIR/opt\n");
    let run = build.run("").ends(5);
    build.assert_nothing_left(&mark);
    for (name, _, _, cause, (begin, end)) in OVER {
        let package = format!("{name}-1.0");
        let failed = run.package(&package);
        let told = (failed["state"].as_str().unwrap(), failed["cause"].as_str());
        assert_eq!(told, ("failed", Some(cause)), "{}: {package}", build.who());
        let detail = run.detail(&package);
        assert!(detail.starts_with(begin) && detail.ends_with(end), "{package}: {detail}");
    }
    assert_eq!(run.in_state("done"), ["neighbour", "user"]);
    is_remembered_until_a_limit_is_wider(&build, &run);
}

/// Asserts that a failure by a limit is tried again only if that limit is wider now.
fn is_remembered_until_a_limit_is_wider(build: &BulkBuild, before: &BulkRun) {
    build.set("limit=silence time=3 silence=2\n");
    let after = build.run("").ends(5);
    assert_eq!(build.started(2), ["silence-1.0"]);
    assert_eq!(after.in_state("failed"), before.in_state("failed"));
    assert!(after.detail("silence-1.0").starts_with("no output for 2 s"), "{}", after.detail("silence-1.0"));
}

#[test]
fn a_directory_that_nobody_can_look_into_is_a_failure_of_its_package() {
    for is_ordinary in everybody() {
        let settings = "slot=local 2\ncheck=none\ndisk=4M\n";
        let Some(build) = BulkBuild::of_recipes("a_directory_that_nobody…", is_ordinary, settings) else {
            continue;
        };
        let fills = "mkdir d; for n in 1 2 3; do head -c 3M /dev/zero > d/$n; done; chmod 300 d";
        build.recipe("ends", "", &format!("{fills}; mkdir $DESTDIR/opt\n"));
        build.recipe("stays", "", &format!("{fills}; sleep 1000\n"));
        build.recipe(
            "good",
            "",
            "mkdir $DESTDIR/opt; mkdir -m 700 d; mkdir d/e; chmod 300 d/e; chmod 700 d/e\n",
        );
        let run = build.run("").ends(5);
        assert_eq!(run.in_state("done"), ["good"], "{}", build.who());
        for package in ["ends-1.0", "stays-1.0"] {
            assert_eq!(run.package(package)["cause"], "disk", "{package}: {}", run.detail(package));
        }
    }
}

#[test]
fn what_is_reserved_and_not_used_is_no_memory() {
    let settings = "slot=local 1\ncheck=none\nmemory=64M\n";
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_sample("what_is_reserved…", is_ordinary, settings) else {
            continue;
        };
        let reserves = "#include <sys/mman.h>\n#include <unistd.h>\nint main(void) {\n\
            void *at = mmap(0, 100UL << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);\n\
        sleep(1);\nreturn at == MAP_FAILED;\n}\n";
        build.write("tools/fails/src/fails.c", reserves);
        build.change("tools/fails/make-package", ("mkdir -p", "./fails\nmkdir -p"));
        build.run("fails").ends(0);
    }
}

#[test]
fn segments_that_nobody_has_attached_are_memory_of_the_build() {
    let test = "segments_that_nobody…";
    if !crate::has("perl", test) {
        return;
    }
    for is_ordinary in everybody() {
        let settings = "slot=local 2\ncheck=none\nmemory=64M\n";
        let Some(build) = BulkBuild::of_recipes(test, is_ordinary, settings) else { continue };
        let segments = |count: u32| {
            format!(
                "perl -e 'for (1..{count}) {{ $id = shmget(0, 16 << 20, 01600); defined $id or die $!;\n\
                 shmwrite($id, \"x\" x (16 << 20), 0, 16 << 20) or die $! }}'\n"
            )
        };
        build.recipe("many", "", &format!("{}sleep 1000\n", segments(10)));
        build.recipe("few", "", &format!("{}sleep 3; mkdir $DESTDIR/opt\n", segments(2)));
        let run = build.run("").ends(5);
        assert_eq!(run.in_state("done"), ["few"], "{}: {}", build.who(), run.said);
        assert_eq!(run.package("many-1.0")["cause"], "memory", "{}", build.who());
    }
}

/// Creates unlinked files, and sends one of them into a socket with `sendmsg`.
const SENDS: &str = r#"
    socketpair(my $in, my $out, 1, 1, 0) or die $!;
    sub filled {
        open(my $file, "+>", "x") or die $!;
        unlink "x";
        print $file "x" x $_[0];
        $file->flush;
        return $file;
    }
    sub sent {
        my ($descriptors, $text) = (pack("Q i i i x4", 20, 1, 1, fileno $_[0]), "x");
        my $vector = pack("P Q", $text, 1);
        my $message = pack("x16 P Q P Q x8", $vector, 1, $descriptors, 24);
        syscall(SENDMSG, fileno $in, $message, 0) == 1 or die $!;
        close $_[0];
    }
"#;

/// Numbers of `sendmsg` and of `exit`, which ends one thread.
const SENDMSG_AND_EXIT: [&str; 2] = if cfg!(target_arch = "x86_64") { ["46", "60"] } else { ["211", "93"] };

fn open_files_count_that_are_in_no_table_of_a_living_first_thread(is_ordinary: bool) {
    let test = "open_files_count_that_are_in_no_table…";
    if !Command::new("perl").args(["-Mthreads", "-e1"]).output().is_ok_and(|output| output.status.success()) {
        crate::missing("perl", test);
        return;
    }
    let [sendmsg, exit] = SENDMSG_AND_EXIT;
    let own = SENDS.replace("SENDMSG", sendmsg);
    let perl = |script: &str| format!("perl -Mthreads -MIO::Handle -e '{own}{script}'\n");
    let settings = "slot=local 4\ncheck=none\ndisk=4M\n";
    let Some(build) = BulkBuild::of_recipes(test, is_ordinary, settings) else { return };
    let fills = "my $file = filled(3 << 20); sleep 6; sent($file);";
    build.recipe("sent", "", &perl(&format!("{fills} my $other = filled(3 << 20); sleep 1000;")));
    build.recipe("kept", "", &perl("sent(filled(1)); sleep 1000;"));
    let ends = format!("threads->create(sub {{ sleep 1000 }}); syscall({exit});");
    build.recipe(
        "ended-thread",
        "",
        &perl(&format!("my ($one, $other) = (filled(3 << 20), filled(3 << 20)); {ends}")),
    );
    let good = perl("sent(filled(3 << 20)); sleep 3;");
    build.recipe("good", "", &format!("mkdir $DESTDIR/opt; {good}"));
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["good"], "{}: {}", build.who(), run.said);
    for (package, end) in [
        ("sent-1.0", " bytes on the disk, limit 4194304"),
        ("kept-1.0", "open files in a socket, where they cannot be counted, limit 4194304"),
        ("ended-thread-1.0", " bytes on the disk, limit 4194304"),
    ] {
        assert_eq!(run.package(package)["cause"], "disk", "{package}: {}", run.detail(package));
        assert!(run.detail(package).ends_with(end), "{package}: {}", run.detail(package));
    }
}

/// Locks bytes of this many files, a thousand of each.
fn locks(files: u32) -> String {
    format!(
        "perl -e 'use Fcntl; for my $n (1..{files}) {{ open($f[$n], \"+>\", \"locked$n\") or die $!;\n\
         for my $i (1..1000) {{ fcntl($f[$n], F_SETLK, pack(\"s s x4 q q i x4\", F_WRLCK, 0, 2 * $i, 1, 0)) \
         or die $! }} }} sleep 3'\n"
    )
}

/// Opens this many sockets in each of eight processes.
fn sockets(of_each: u32) -> String {
    format!(
        "perl -e 'fork; fork; fork; for (1..{of_each}) {{ socket(my $s, 1, 1, 0) or die $!; push @s, $s }} sleep 3'\n"
    )
}

/// Installs this many seccomp filters that allow everything.
fn filters(number: u32) -> String {
    format!(
        "perl -e '$f = pack(\"S C C L\", 6, 0, 0, 0x7fff0000); $p = pack(\"S x6 P\", 1, $f);\n\
         for (1..{number}) {{ syscall(157, 22, 2, $p) == 0 or die $! }} sleep 3'\n"
    )
}

fn locks_and_sockets_without_number_are_the_failure_of_their_package(is_ordinary: bool) {
    let test = "locks_and_sockets_without_number…";
    if !crate::has("perl", test) {
        return;
    }
    let settings = "slot=local 4\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes(test, is_ordinary, settings) else { return };
    build.recipe("many-locks", "", &format!("{}sleep 1000\n", locks(12)));
    build.recipe("few-locks", "", &format!("{}mkdir $DESTDIR/opt\n", locks(5)));
    build.recipe("many-sockets", "", &format!("{}sleep 1000\n", sockets(600)));
    build.recipe("few-sockets", "", &format!("{}mkdir $DESTDIR/opt\n", sockets(20)));
    let mut done = vec!["few-locks", "few-sockets"];
    let mut failed =
        vec![("many-locks-1.0", " file locks, limit 10000"), ("many-sockets-1.0", " sockets, limit 4096")];
    if cfg!(target_arch = "x86_64") {
        build.recipe("many-filters", "", &format!("{}sleep 1000\n", filters(1100)));
        build.recipe("few-filters", "", &format!("{}mkdir $DESTDIR/opt\n", filters(900)));
        done.insert(0, "few-filters");
        failed.push(("many-filters-1.0", " filters, limit 1024"));
    }
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), done, "{}: {}", build.who(), run.said);
    for (package, end) in failed {
        assert_eq!(run.package(package)["cause"], "memory", "{package}: {}", run.detail(package));
        assert!(run.detail(package).ends_with(end), "{package}: {}", run.detail(package));
    }
}

/// Maps a file below this many directories, each with a name of 250 bytes.
fn mapping_below(directories: u32) -> String {
    format!(
        "perl -e 'for (1..{directories}) {{ my $name = \"d\" x 250; mkdir $name or die $!; chdir $name or die $! }}\n\
         open(my $f, \"+>\", \"x\") or die $!; truncate($f, 4096);\n\
         syscall(9, 0, 4096, 1, 1, fileno($f), 0) > 0 or die $!; sleep 5'\n"
    )
}

fn a_mapped_file_whose_path_is_too_long_to_be_read_is_the_failure_of_its_package(is_ordinary: bool) {
    let test = "a_mapped_file_whose_path_is_too_long…";
    if !cfg!(target_arch = "x86_64") {
        crate::skipped(&format!("{test}: the numbers of the calls are those of x86-64"));
        return;
    }
    if !crate::has("perl", test) {
        return;
    }
    let settings = "slot=local 2\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes(test, is_ordinary, settings) else { return };
    build.recipe("deep", "", &format!("{}sleep 1000\n", mapping_below(400)));
    build.recipe("flat", "", &format!("{}mkdir $DESTDIR/opt\n", mapping_below(4)));
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["flat"], "{}: {}", build.who(), run.said);
    assert_eq!(run.package("deep-1.0")["cause"], "disk", "{}", run.detail("deep-1.0"));
    let detail = run.detail("deep-1.0");
    assert!(detail.starts_with("open and mapped files that cannot be counted"), "{detail}");
}
