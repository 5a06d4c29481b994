//! Damaged or hostile depots, and servers that misbehave. Every command refuses them with its exit code, reports the
//! cause, what stayed unchanged and the next step, and changes nothing, within bounds of memory.
//!
//! The tests beside the client cover faults within a single download, down to one byte a second: there, the client can
//! be less patient.

use std::fs;
use std::path::{Path, PathBuf};

use crate::delivery::{Patch, indexed_depot};
use crate::faulty_server::{Asked, FaultyServer, Step, head, rest, whole};
use crate::packages::Package;
use crate::reliability::figures;
use crate::scenario::{Run, Scenario, code_of};

/// The limit of a command's writable memory.
const MEMORY: &str = "ulimit -d 262144";

/// A root, and an indexed depot of two patches.
fn stage() -> (Scenario, PathBuf) {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
    stage.file("/etc/patchadm/policy", "signature=off\n");
    let noise: String = (0..3000_u32).map(|at| format!("{}\n", at.wrapping_mul(2_654_435_761))).collect();
    let web = Package::new("ACMEweb").file("bin/httpd", 0o755, &*noise);
    let depot = indexed_depot(&stage, &["100-01", "200-01"].map(|id| Patch::of(id, web.clone())));
    (stage, depot)
}

/// An index with one fault: its name, its text, and the expected message.
type BadIndex = (&'static str, String, &'static str);

fn bad_indexes(good: &str) -> Vec<BadIndex> {
    let first = "\"id\":\"100-01\"";
    let path = "\"path\":\"100-01.tar\"";
    let (_, digest) = good.split_once("\"sha256\":\"").unwrap();
    let digest = format!("\"sha256\":\"{}\"", &digest[..64]);
    assert!(good.contains(first) && good.contains(path) && good.contains(&digest));
    let long = |key: &str| {
        good.replacen(
            &format!("\"{key}\":[]"),
            &format!("\"{key}\":[{}\"1-01\"]", "\"1-01\",".repeat(100_000)),
            1,
        )
    };
    vec![
        ("cut", good[..good.len() / 2].to_owned(), "does not conform to patchadm-depot/1"),
        ("empty", String::new(), "does not conform to patchadm-depot/1"),
        ("a page", "<html><body>404</body></html>".to_owned(), "does not conform to patchadm-depot/1"),
        ("nested", "[".repeat(10_000) + &"]".repeat(10_000), "does not conform to patchadm-depot/1"),
        ("an id that leads out", good.replace(first, "\"id\":\"../x\""), "../x"),
        ("an id that is an option", good.replace(first, "\"id\":\"-R\""), "<-R>"),
        ("a path that leads out", good.replace(path, "\"path\":\"../100-01.tar\""), "nor a plain name"),
        ("a path with directories", good.replace(path, "\"path\":\"a/100-01.tar\""), "nor a plain name"),
        (
            "a digest that is none",
            good.replace(&digest, "\"sha256\":\"../../etc/passwd\""),
            "64 hexadecimal digits",
        ),
        (
            "a digest of other letters",
            good.replace(&digest, &format!("\"sha256\":\"{}\"", "Z".repeat(64))),
            "64 hexadecimal digits",
        ),
        ("a long list of requirements", long("requires"), "more than 10000 entries"),
        ("a long list of obsoletes", long("obsoletes"), "more than 10000 entries"),
        ("a long list of keywords", long("keywords"), "more than 10000 entries"),
        (
            "one id twice",
            good.replace("\"id\":\"200-01\"", "\"id\":\"100-1\""),
            "occurs twice with different content: ",
        ),
        ("another schema", good.replace("patchadm-depot/1", "patchadm-depot/9"), "patchadm-depot/9"),
    ]
}

/// The commands that read a depot, each with its statement that nothing was done.
const COMMANDS: [(&str, &str); 6] = [
    ("@CHECK@ @DEPOT@", "the depot was not checked"),
    ("add -R @ROOT@ --cache @CACHE@ -M @DEPOT@ 100-01", "nothing was changed"),
    ("plan -R @ROOT@ --cache @CACHE@ -M @DEPOT@", "nothing was changed"),
    ("update -R @ROOT@ --cache @CACHE@ -M @DEPOT@", "nothing was changed"),
    ("missing -R @ROOT@ --cache @CACHE@ -M @DEPOT@", "nothing was analyzed"),
    ("patchadd -R @ROOT@ --cache @CACHE@ -M @DEPOT@ 100-01", "Nothing was changed."),
];

fn run(stage: &Scenario, line: &str, depot: &str) -> Run {
    let cache = stage.beside("cache");
    let line = line
        .replace("@CHECK@", &crate::fetching::check_line(stage, ""))
        .replace("@DEPOT@", depot)
        .replace("@CACHE@", cache.to_str().unwrap());
    stage.limited(MEMORY, &line)
}

/// Asserts that a command refuses in two or three lines, or four for a classic command, none of them as long as the
/// input.
#[track_caller]
fn must_be_refused(run: &Run, code: i32, what_holds: &str, reason: &str, case: &str) {
    assert_eq!(run.code, code, "{case}: {run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    let most = if what_holds.starts_with('N') { 4 } else { 3 };
    assert!((2..=most).contains(&lines.len()), "{case}: {}", run.stderr);
    assert!(lines.iter().all(|line| line.len() < 600), "{case}: {}", run.stderr);
    assert!(run.stderr.contains(what_holds) && run.stderr.contains(reason), "{case}: {}", run.stderr);
}

#[test]
fn an_index_that_is_none_is_refused_by_every_command() {
    let (stage, depot) = stage();
    let good = fs::read_to_string(depot.join("index.json")).unwrap();
    let before = stage.everything();
    for (case, text, reason) in bad_indexes(&good) {
        assert_ne!(text, good, "{case}");
        fs::write(depot.join("index.json"), text).unwrap();
        for (line, what_holds) in COMMANDS {
            let case = format!("{case}: {line}");
            must_be_refused(
                &run(&stage, line, depot.to_str().unwrap()),
                code_of(line, 33, 1),
                what_holds,
                reason,
                &case,
            );
        }
    }
    fs::File::create(depot.join("index.json")).unwrap().set_len(300 << 20).unwrap();
    for (line, what_holds) in COMMANDS {
        let run = run(&stage, line, depot.to_str().unwrap());
        must_be_refused(
            &run,
            code_of(line, 33, 1),
            what_holds,
            "the index is larger than 67108864 bytes",
            line,
        );
    }
    crate::tree::assert_same(&stage.everything(), &before);
    let indexes = bad_indexes(&good).len() as u64 + 1;
    let commands = indexes * COMMANDS.len() as u64;
    figures("hostile-indexes", &[("indexes", indexes), ("commands", commands), ("changes", 0)]);
}

#[test]
fn an_id_that_comes_twice_is_named_with_both_files() {
    let (stage, depot) = stage();
    fs::write(depot.join("other.tar"), fs::read(depot.join("100-01.tar")).unwrap()).unwrap();
    let other = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "other\n"));
    fs::rename(other.pack(&stage.beside("made"), ".tar"), depot.join("other.tar")).unwrap();
    fs::remove_file(depot.join("index.json")).unwrap();
    let before = stage.everything();
    // A check needs an index, an analysis needs no patch, and an update takes what it can.
    let needs_it = |line: &str| !["@CHECK@", "missing", "update"].iter().any(|word| line.starts_with(word));
    for (line, what_holds) in COMMANDS.into_iter().filter(|(line, _)| needs_it(line)) {
        let run = run(&stage, line, depot.to_str().unwrap());
        if line.starts_with("patchadd") {
            assert_eq!(run.code, 10, "{run:?}");
            assert!(
                run.stderr.contains("Patch 100-01 is not applied: it occurs twice with different content: ")
            );
        } else {
            // The other patch of the depot is planned.
            let code = if line.starts_with("plan") { 5 } else { 3 };
            must_be_refused(&run, code, what_holds, "occurs twice with different content: ", line);
        }
        assert!(run.stderr.contains("100-01.tar") && run.stderr.contains("other.tar"), "{}", run.stderr);
    }
    crate::tree::assert_same(&stage.everything(), &before);
    let updated = run(&stage, "update -R @ROOT@ --cache @CACHE@ -M @DEPOT@", depot.to_str().unwrap());
    assert_eq!(updated.code, 5, "{updated:?}");
    assert!(updated.stdout.contains("200-01: applied"), "it needs neither of the two: {updated:?}");
    assert!(updated.stderr.contains("100-01 was not applied"), "{updated:?}");
}

#[test]
fn patches_that_obsolete_each_other_in_a_circle_end_no_command() {
    let (stage, depot) = stage();
    let good = fs::read_to_string(depot.join("index.json")).unwrap();
    let circle = good.replacen("\"obsoletes\":[]", "\"obsoletes\":[\"200-01\"]", 1).replacen(
        "\"obsoletes\":[]",
        "\"obsoletes\":[\"100-01\"]",
        1,
    );
    fs::write(depot.join("index.json"), circle).unwrap();
    let depot = depot.to_str().unwrap();
    for line in
        ["plan -R @ROOT@ -M @DEPOT@", "missing -R @ROOT@ -M @DEPOT@ all", "depot check -R @ROOT@ @DEPOT@"]
    {
        assert_eq!(run(&stage, line, depot).code, 0, "{line}");
    }
    let said = run(&stage, "plan -R @ROOT@ -M @DEPOT@ 100-01 200-01", depot).stdout;
    assert!(
        said.contains("100-01: would be applied") && said.contains("100-01 of this set contains it"),
        "{said}"
    );
}

/// A server of the files of a depot that answers requests for the patch `200-01` with `answer`.
fn serve(depot: &Path, answer: impl Fn(&Asked, &[u8]) -> Vec<Step> + Send + Sync + 'static) -> FaultyServer {
    let depot = depot.to_owned();
    FaultyServer::begin(move |asked| {
        let bytes = fs::read(depot.join(asked.path.trim_start_matches('/')));
        match bytes {
            Err(_) => whole("404 Not Found", b"<html>no</html>"),
            Ok(bytes) if asked.path.ends_with("200-01.tar") => answer(asked, &bytes),
            Ok(bytes) => whole("200 OK", &bytes),
        }
    })
}

/// The answer to a request for a patch with these bytes.
type Answer = fn(&Asked, &[u8]) -> Vec<Step>;

fn with_head(status: &str, headers: &[(&str, String)], body: &[u8]) -> Vec<Step> {
    vec![Step::Send(head(status, headers)), Step::Send(body.to_vec())]
}

fn cut(bytes: &[u8]) -> Vec<Step> {
    let mut steps = whole("200 OK", bytes);
    steps[1] = Step::Send(bytes[..bytes.len() / 2].to_vec());
    steps
}

/// Servers that send nothing usable: the name, the answer, the exit code and the message.
const BAD_SERVERS: [(&str, Answer, i32, &str); 12] = [
    ("it closes in the middle", |_, bytes| cut(bytes), 1, "200-01.tar: "),
    (
        "a body without end",
        |_, _| vec![Step::Send(head("200 OK", &[])), Step::Endlessly(vec![b'x'; 1 << 16])],
        1,
        "it has more",
    ),
    (
        "a length that is too large",
        |_, bytes| with_head("200 OK", &[("Content-Length", "99999999999999".to_owned())], bytes),
        1,
        "but should have",
    ),
    (
        "a length that is too small",
        |_, bytes| with_head("200 OK", &[("Content-Length", "10".to_owned())], bytes),
        1,
        "it has 10 bytes",
    ),
    (
        "a redirect that leads on and on",
        |_, _| with_head("302 Found", &[("Location", "/200-01.tar".to_owned())], b""),
        1,
        "redirected more than 5 times",
    ),
    (
        "a redirect to nothing",
        |_, _| with_head("302 Found", &[("Location", "gopher://h/".to_owned())], b""),
        1,
        "an invalid URL",
    ),
    (
        "compression that nobody asked for",
        |_, bytes| with_head("200 OK", &[("Content-Encoding", "gzip".to_owned())], bytes),
        1,
        "compressed as <gzip>",
    ),
    ("a page in place of the patch", |_, _| whole("200 OK", b"<html>404</html>"), 1, "it has 16 bytes"),
    (
        "other bytes since the index was made",
        |_, bytes| whole("200 OK", &vec![b'x'; bytes.len()]),
        3,
        "its digest differs",
    ),
    ("nothing there", |_, _| whole("404 Not Found", b""), 1, "status 404"),
    ("nobody may have it", |_, _| whole("403 Forbidden", b""), 1, "status 403"),
    ("no HTTP at all", |_, _| vec![Step::Send(b"220 ready\r\n".to_vec())], 1, "200-01.tar: "),
];

#[test]
fn what_a_server_sends_instead_of_a_patch_is_refused_and_nothing_is_changed() {
    std::thread::scope(|scope| {
        for (case, answer, code, reason) in BAD_SERVERS {
            scope.spawn(move || {
                let (stage, depot) = stage();
                let server = serve(&depot, answer);
                let before = stage.everything();
                let add = "add -R @ROOT@ --cache @CACHE@ -M @DEPOT@ 200-01";
                let said = run(&stage, add, &server.url(""));
                must_be_refused(&said, code, "nothing was changed", reason, case);
                assert_eq!(
                    run(&stage, "missing -R @ROOT@ --cache @CACHE@ -M @DEPOT@", &server.url("")).code,
                    0
                );
                crate::tree::assert_same(&stage.everything(), &before);
                let is_kept = stage.beside("cache/objects").exists()
                    && crate::packages::files(&stage.beside("cache/objects")).len() > 1;
                assert!(!is_kept, "{case}: what is not the patch is not kept as an object");
            });
        }
    });
    let answers = BAD_SERVERS.len() as u64;
    figures("hostile-servers", &[("answers", answers), ("refused", answers), ("changes", 0)]);
}

/// Servers that continue otherwise than they began, but do deliver the patch. The first answer is cut.
const ODD_SERVERS: [(&str, Answer, usize); 5] = [
    ("the rest", |asked, bytes| rest(bytes, asked.from().unwrap()), 2),
    ("all of it for a range", |_, bytes| whole("200 OK", bytes), 2),
    (
        "another range",
        |asked, bytes| match asked.from() {
            Some(_) => with_head(
                "206 Partial Content",
                &[("Content-Range", format!("bytes 0-9/{}", bytes.len()))],
                &bytes[..10],
            ),
            None => whole("200 OK", bytes),
        },
        3,
    ),
    (
        "the rest of another state",
        |asked, bytes| match asked.from() {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                with_head(
                    "206 Partial Content",
                    &[("Content-Range", range), ("ETag", "\"two\"".to_owned())],
                    &vec![0; bytes.len() - from],
                )
            }
            None => whole("200 OK", bytes),
        },
        3,
    ),
    (
        "busy for a moment",
        |asked, bytes| match asked.before {
            0..4 => whole("503 Busy", b""),
            _ => whole("200 OK", bytes),
        },
        3,
    ),
];

#[test]
fn a_patch_that_a_server_sends_in_pieces_is_the_patch_or_nothing() {
    std::thread::scope(|scope| {
        for (case, answer, least) in ODD_SERVERS {
            scope.spawn(move || {
                let (stage, depot) = stage();
                let begun = std::sync::atomic::AtomicBool::new(false);
                let server = serve(&depot, move |asked, bytes| {
                    if begun.swap(true, std::sync::atomic::Ordering::SeqCst) {
                        answer(asked, bytes)
                    } else {
                        cut(bytes)
                    }
                });
                let said = run(&stage, "add -R @ROOT@ --cache @CACHE@ -M @DEPOT@ 200-01", &server.url(""));
                assert_eq!(said.code, 0, "{case}: {said:?}");
                let asked = server.asked();
                let of_patch: Vec<&Asked> =
                    asked.iter().filter(|asked| asked.path.ends_with("200-01.tar")).collect();
                assert!(of_patch.len() >= least, "{case}: {of_patch:?}");
                assert_eq!(of_patch[1].header("if-range"), Some("\"one\""), "{case}");
                assert!(stage.text("/opt/ACMEweb/bin/httpd").len() > 10_000, "{case}");
            });
        }
    });
    let answers = ODD_SERVERS.len() as u64;
    figures("odd-servers", &[("answers", answers), ("patches whole", answers)]);
}

#[test]
fn a_server_whose_index_is_none_is_refused() {
    let (stage, depot) = stage();
    let good = fs::read_to_string(depot.join("index.json")).unwrap();
    let before = stage.everything();
    let cases: [(&str, String, i32, &str); 4] = [
        ("200 OK", "<html>404</html>".to_owned(), 1, "does not conform to patchadm-depot/1"),
        ("200 OK", good.replace("\"id\":\"100-01\"", "\"id\":\"../x\""), 1, "../x"),
        ("404 Not Found", String::new(), 1, "has no index.json"),
        ("200 OK", "x".repeat(65 << 20), 1, "the index is larger than"),
    ];
    let commands = (cases.len() * COMMANDS.len()) as u64;
    for (status, text, code, reason) in cases {
        let server = FaultyServer::begin(move |asked| match &*asked.path {
            "/index.json" => whole(status, text.as_bytes()),
            _ => whole("404 Not Found", b""),
        });
        for (line, what_holds) in COMMANDS {
            let run = run(&stage, line, &server.url(""));
            let classic = if status.starts_with("200") { 33 } else { 40 };
            must_be_refused(&run, code_of(line, classic, code), what_holds, reason, line);
        }
    }
    crate::tree::assert_same(&stage.everything(), &before);
    figures("hostile-index-servers", &[("commands", commands), ("changes", 0)]);
}
