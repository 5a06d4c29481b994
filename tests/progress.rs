//! Progress of a command on a terminal: bars for downloads and checks, none without a terminal. Ctrl-C during a
//! download, an indexing or a wait reports what was not changed and what is kept.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use patchadm_rootfs::{Lock, Root};
use rustix::process::{Pid, Signal, kill_process};

use crate::delivery::{Patch, indexed_depot};
use crate::faulty_server::{FaultyServer, Step, whole};
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::terminal::{at_narrow_terminal, without_sequences};
use crate::workshop::eventually;

/// A root, and an indexed depot of two patches.
fn stage() -> (Scenario, PathBuf) {
    let mut stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
    stage.set("TERM", "xterm");
    stage.file("/etc/patchadm/policy", "signature=off\n");
    let patch = |id| Patch::of(id, Package::new("ACMEweb").file(&format!("bin/{id}"), 0o755, id));
    let depot = indexed_depot(&stage, &["100-01", "200-01"].map(patch));
    (stage, depot)
}

/// A depot server that pauses in the middle of each patch.
fn slow_server(depot: PathBuf, pause: Duration) -> FaultyServer {
    FaultyServer::begin(move |asked| {
        let Ok(bytes) = fs::read(depot.join(asked.path.trim_start_matches('/'))) else {
            return whole("404 Not Found", b"");
        };
        let mut steps = whole("200 OK", &bytes);
        if asked.path.contains("00-01.tar") {
            let (first, last) = bytes.split_at(bytes.len() / 2);
            // Fetched in parallel, they end one after the other.
            let pause = if asked.path.contains("200-01") { pause * 2 } else { pause };
            let drip = Step::Drip(last[..4].to_vec(), Duration::from_millis(5));
            steps[1] = Step::Send(first.to_vec());
            steps.extend([Step::Wait(pause), drip, Step::Send(last[4..].to_vec())]);
        }
        steps
    })
}

/// The option that names a cache. `depot check` takes it from a policy only.
fn cache_option(stage: &Scenario, verb: &str, cache: &Path) -> String {
    if verb != "depot check" {
        return format!("--cache {}", cache.display());
    }
    let policy = stage.beside("cache.policy");
    fs::write(&policy, format!("signature=off\ncache={}\n", cache.display())).unwrap();
    format!("--policy {}", policy.display())
}

#[test]
fn a_bar_has_phase_bytes_and_patches_while_patches_are_fetched_and_applied() {
    assert_bars("add", "-M", "fetching");
}

#[test]
fn a_bar_has_phase_bytes_and_patches_while_a_depot_is_checked() {
    assert_bars("depot check", "", "checking");
}

/// Fetches two patches by a command, whose depot follows `before_depot`.
fn assert_bars(verb: &str, before_depot: &str, phase: &str) {
    let (stage, depot) = stage();
    let server = slow_server(depot, Duration::from_millis(800));
    let line = |options: &str, cache: &str| {
        let cache = cache_option(&stage, verb, &stage.beside(cache));
        let agreed = if verb == "add" { "-y" } else { "" };
        format!("{verb} {options} {agreed} -R @ROOT@ {cache} {before_depot} {}", server.url(""))
    };
    let Some((code, text)) = at_narrow_terminal("bars", &stage, &line("", "bar"), 100) else { return };
    assert_eq!(code, 0, "{text}");
    for wanted in [&*format!("{phase} 1/2 "), &format!("{phase} 2/2 "), "200-01.tar", " KiB"] {
        assert!(text.contains(wanted), "{verb}: {wanted}: {text:?}");
    }
    stage.run("remove -R @ROOT@ 100-01 200-01");
    let (code, text) = at_narrow_terminal("bars", &stage, &line("-q", "quiet"), 100).unwrap();
    assert_eq!((code, text.as_str()), (0, ""), "quiet is without a bar");
    stage.run("remove -R @ROOT@ 100-01 200-01");
    let run = stage.run(&line("", "pipe"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "without a terminal there are only lines");
    assert!(verb != "add" || run.stdout.lines().count() == 3, "a line a patch, and a total: {}", run.stdout);
}

#[test]
fn a_command_has_one_bar_that_only_moves_forward() {
    let (stage, depot) = stage();
    let server = slow_server(depot, Duration::from_millis(800));
    let cache = cache_option(&stage, "add", &stage.beside("cache"));
    let line = format!("add -y -R @ROOT@ {cache} -M {}", server.url(""));
    let Some((code, text)) = at_narrow_terminal("one bar", &stage, &line, 60) else { return };
    assert_eq!(code, 0, "{text}");
    let text = without_sequences(&text);
    let percent = regex::Regex::new("([0-9]+)% [a-z]").unwrap();
    let shown: Vec<u64> = percent.captures_iter(&text).map(|part| part[1].parse().unwrap()).collect();
    assert!(shown.first() < shown.last() && shown.is_sorted(), "{shown:?}: {text:?}");
}

#[test]
fn patches_of_a_depot_that_is_far_away_are_fetched_at_once() {
    let (stage, depot) = stage();
    let asked_for = AtomicUsize::new(0);
    let server = FaultyServer::begin(move |asked| {
        let Ok(bytes) = fs::read(depot.join(asked.path.trim_start_matches('/'))) else {
            return whole("404 Not Found", b"");
        };
        if asked.path.contains("00-01.tar") {
            asked_for.fetch_add(1, Ordering::SeqCst);
            eventually("both patches are requested", || asked_for.load(Ordering::SeqCst) == 2);
        }
        whole("200 OK", &bytes)
    });
    let cache = cache_option(&stage, "add", &stage.beside("cache"));
    stage.run(&format!("add -y -R @ROOT@ {cache} -M {}", server.url(""))).ok();
}

/// The size of a file that no test reads to its end.
const LARGE: u64 = 64 << 30;

/// Makes a large sparse file, which takes no space.
fn large_file(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().set_len(LARGE).unwrap();
}

/// Ends the process that reads a file, a while after it was opened, when a bar has been drawn.
fn end_reader_of(path: PathBuf) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let reads_it = |id: &u32| has_open(*id, &|open| open == path);
        let mut reader = None;
        eventually("the file is read", || {
            let names = fs::read_dir("/proc").unwrap().flatten();
            let mut others = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            reader = others.find(|id| *id != std::process::id() && reads_it(id));
            reader.is_some()
        });
        let reader = Pid::from_raw(i32::try_from(reader.unwrap()).unwrap()).unwrap();
        thread::sleep(Duration::from_millis(1500));
        kill_process(reader, Signal::KILL).unwrap();
    })
}

#[test]
fn work_that_takes_long_says_how_much_of_it_is_done() {
    let web = Package::new("ACMEweb").file("a", 0o644, "a\n").file("bin/httpd", 0o755, "old\n");
    let mut stage = Scenario::with(&[web]);
    stage.set("TERM", "xterm");
    let read = ["root/opt/ACMEweb/bin/httpd", "old/data", "release/web/reloc/data", "patches/large.tar"]
        .map(|path| stage.beside(path));
    read.iter().for_each(|path| large_file(path));
    fs::create_dir(stage.beside("release/app")).unwrap();
    let data = format!("1 f none data 0644 root root {LARGE} 0 0\n");
    for (package, objects) in [("app", ""), ("web", &*data)] {
        let directory = stage.beside(&format!("release/{package}"));
        let pkginfo = format!("PKG=ACME{package}\nARCH=all\nVERSION=1\nNAME={package}\nCATEGORY=system\n");
        fs::write(directory.join("pkginfo"), pkginfo).unwrap();
        fs::write(directory.join("pkgmap"), format!(": 1 1\n{objects}")).unwrap();
    }
    fs::create_dir_all(stage.beside("new")).unwrap();
    fs::create_dir_all(stage.beside("stable")).unwrap();
    let lines = [
        ("check --contents -R @ROOT@", r"checking \[[^\]]*\] 4/5 objects"),
        (
            "build --from old --to new --pkg ACMEweb --id 900-01 -o patch --dry-run",
            r"building \[[^\]]*\] [\d.]+ \w+/64.00 GiB",
        ),
        (
            "delta --release release --stable stable --work work --dry-run",
            r"comparing \[[^\]]*\] 1/2 packages",
        ),
        ("publish --unsigned patches depot", r"publishing \[[^\]]*\] \d+s"),
    ];
    if Command::new("script").arg("--version").output().is_err() {
        return crate::missing("script", "bars");
    }
    let shown = |line: &str, path: &Path| {
        let ending = end_reader_of(path.to_owned());
        let (_, text) = at_narrow_terminal("bars", &stage, line, 100).unwrap();
        ending.join().unwrap();
        without_sequences(&text)
    };
    for ((line, wanted), path) in lines.into_iter().zip(&read) {
        let text = shown(line, path);
        assert!(regex::Regex::new(wanted).unwrap().is_match(&text), "{line}: {text:?}");
    }
    let text = shown("check --contents -q -R @ROOT@", &read[0]);
    assert!(!text.contains("checking"), "quiet is without a bar: {text:?}");
}

/// Starts a command, waits until `is_begun`, interrupts it, and returns its code and its standard error.
fn interrupted(stage: &Scenario, line: &str, is_begun: &dyn Fn(u32) -> bool) -> (Option<i32>, String) {
    let (ended, said) = signalled(stage, line, Signal::INT, is_begun);
    (ended.code(), said)
}

fn signalled(
    stage: &Scenario,
    line: &str,
    signal: Signal,
    is_begun: &dyn Fn(u32) -> bool,
) -> (ExitStatus, String) {
    let mut command = stage.command(line);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let id = running.id();
    eventually("the command is at work", || is_begun(id));
    thread::sleep(Duration::from_millis(200));
    kill_process(Pid::from_child(&running), signal).unwrap();
    let mut said = String::new();
    running.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (running.wait().unwrap(), said)
}

/// True if a process has a file open for which `is_it` is true.
fn has_open(id: u32, is_it: &dyn Fn(&Path) -> bool) -> bool {
    let open = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| is_it(&path))
}

#[test]
fn a_download_that_is_interrupted_changed_nothing_and_is_kept() {
    let (stage, depot) = stage();
    let server = slow_server(depot.clone(), Duration::from_secs(60));
    let cache = stage.beside("cache");
    let before = stage.everything();
    let is_begun = |id| has_open(id, &|path| path.starts_with(cache.join("partial")));
    let options = format!("-R @ROOT@ --cache {}", cache.display());
    let of_check = format!("-R @ROOT@ {}", cache_option(&stage, "depot check", &cache));
    for (line, what_holds) in [
        (format!("add {options} -M {} 200-01", server.url("")), "nothing was changed"),
        (format!("update {options} -M {} 200-01", server.url("")), "nothing was changed"),
        (format!("depot check {of_check} {}", server.url("")), "the depot was not checked"),
        (format!("patchadd {options} -M {} 200-01", server.url("")), "Nothing was changed."),
    ] {
        let (code, said) = interrupted(&stage, &line, &is_begun);
        assert_eq!(code, Some(130), "{line}: {said}");
        for wanted in [what_holds, ".tar: interrupted", "downloads are kept"] {
            assert!(said.contains(wanted), "{line}: {wanted}: {said}");
        }
        crate::tree::assert_same(&stage.everything(), &before);
    }
    // The next fetch continues the kept parts.
    let quick = slow_server(depot, Duration::ZERO);
    let asked_before = server.asked().len();
    assert!(asked_before > 4);
    let partial = fs::read_dir(cache.join("partial")).unwrap();
    let kept = partial.map(|entry| entry.unwrap().metadata().unwrap().len()).max().unwrap();
    assert!(kept > 0);
    stage.run(&format!("add {options} -M {} 200-01", quick.url(""))).ok();
    assert!(stage.at("/opt/ACMEweb/bin/200-01").exists());
}

#[test]
fn indexing_that_is_interrupted_keeps_the_index_that_was_there() {
    let (stage, depot) = stage();
    let before = fs::read(depot.join("index.json")).unwrap();
    fs::File::create(depot.join("large.tar")).unwrap().set_len(1 << 40).unwrap();
    let reads_large = |id| has_open(id, &|path| path.ends_with("large.tar"));
    for (line, what_holds) in [
        ("depot index delivered", "the index is unchanged"),
        ("depot index --xref delivered", "the index is unchanged"),
    ] {
        let (code, said) = interrupted(&stage, line, &reads_large);
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains(what_holds) && said.contains(": interrupted"), "{said}");
        assert_eq!(fs::read(depot.join("index.json")).unwrap(), before);
    }
    fs::remove_file(depot.join("index.json")).unwrap();
    let tree = stage.everything();
    let (code, said) = interrupted(&stage, "add -R @ROOT@ -M delivered 100-01", &reads_large);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    crate::tree::assert_same(&stage.everything(), &tree);
}

#[test]
fn a_signal_ends_a_command_that_digests_a_file_of_many_terabytes_at_once() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    for (id, text) in [("100-01", "two\n"), ("200-01", "three\n")] {
        Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, text)).directory(&stage);
    }
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let httpd = stage.at("/opt/ACMEweb/bin/httpd");
    fs::File::options().write(true).open(&httpd).unwrap().set_len(1 << 42).unwrap();
    let reads_it = |id| has_open(id, &|path| path.ends_with("bin/httpd"));
    for line in [
        "show -R @ROOT@ /opt/ACMEweb/bin/httpd",
        "check -R @ROOT@ --contents",
        "pkgchk -R @ROOT@",
        "plan -R @ROOT@ delivered/200-01",
        "remove -R @ROOT@ --dry-run 100-01",
    ] {
        let (ended, said) = signalled(&stage, line, Signal::TERM, &reads_it);
        // A query has nothing to say about it.
        assert!(ended.code() == Some(143) || ended.signal() == Some(15), "{line}: {ended}: {said}");
    }
}

#[test]
fn waiting_for_the_lock_that_is_interrupted_changed_nothing() {
    let (stage, _) = stage();
    stage.file("/etc/patchadm/policy", "wait=60\n");
    let root = Root::open(&stage.root()).unwrap();
    let lock = Lock::take(&root, "pkgadd", |_| false).unwrap();
    let before = stage.everything();
    for (line, what_holds) in [
        ("add -R @ROOT@ -M delivered 100-01", "nothing was changed"),
        ("patchadd -R @ROOT@ -M delivered 100-01", "Nothing was changed."),
    ] {
        let mut command = stage.command(line);
        let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(running.stderr.take().unwrap());
        let mut said = String::new();
        stderr.read_line(&mut said).unwrap();
        assert!(said.contains("waiting for "), "{line}: {said}");
        kill_process(Pid::from_child(&running), Signal::INT).unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(130), "{line}: {said}");
        assert!(said.contains(what_holds), "{line}: {said}");
    }
    crate::tree::assert_same(&stage.everything(), &before);
    drop(lock);
}
