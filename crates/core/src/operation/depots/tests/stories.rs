//! The outcomes of downloads, server by server.

use std::path::Path;
use std::time::{Duration, Instant};

use super::faulty_server::{Asked, FaultyServer, Step, head, rest, whole};
use crate::operation::depots::fetch::take_object;
use crate::operation::depots::session::{FetchedBy, fetch_object};
use crate::operation::depots::{
    DepotAccess, DepotError, DepotLocation, FetchSession, fetch_address, open_depot,
};
use chrono::DateTime;
use patchadm_inputs::depot::DepotFile;
use patchadm_inputs::http::{Address, HttpError, HttpProblem, HttpSettings, Patience};
use patchadm_inputs::sign::{Demand, DemandWord, KeyRing, sha256, sha256_text};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Returns the address of a path of a server.
fn address(server: &FaultyServer, path: &str) -> Address {
    Address::parse(&server.url(path)).unwrap()
}

/// Returns times long enough that a busy machine is never taken for a silent server.
fn patient() -> Patience {
    let long = Duration::from_secs(60);
    Patience { connect: long, first_byte: long, slow: long, slowest: 1024, pauses: vec![MILLISECOND; 3] }
}

/// Returns times for servers that are slow on purpose.
fn impatient() -> Patience {
    Patience {
        connect: 500 * MILLISECOND,
        first_byte: 500 * MILLISECOND,
        slow: 1000 * MILLISECOND,
        ..patient()
    }
}

/// Returns a patient reader with a cache.
fn session<'a>(cache: &Path, interrupt: &'a (dyn Fn() -> Option<i32> + Sync)) -> FetchSession<'a> {
    session_with(patient(), cache, interrupt)
}

fn session_with<'a>(
    patience: Patience,
    cache: &Path,
    interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
) -> FetchSession<'a> {
    FetchSession::new(DepotAccess {
        cache: Some(cache.to_owned()),
        temporary: std::env::temp_dir(),
        cache_limit: 1 << 30,
        is_offline: false,
        http: HttpSettings { patience, ..HttpSettings::default() },
        wait: None,
        now: DateTime::UNIX_EPOCH,
        interrupt,
        progress: &|_| {},
    })
}

fn content() -> Vec<u8> {
    (0..300_000_u32).map(|number| (number.wrapping_mul(number) >> 7).to_le_bytes()[0]).collect()
}

fn object(bytes: &[u8]) -> DepotFile {
    DepotFile { path: "object".to_owned(), sha256: sha256_text(&sha256(bytes)), size: bytes.len() as u64 }
}

/// Fetches [`content`] from a server. Returns the outcome, and the requests to the server.
fn fetched(
    answer: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
) -> (Result<Vec<u8>, DepotError>, Vec<Asked>) {
    fetched_with(patient(), answer)
}

fn fetched_with(
    patience: Patience,
    answer: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
) -> (Result<Vec<u8>, DepotError>, Vec<Asked>) {
    let server = FaultyServer::begin(answer);
    let place = tempfile::tempdir().unwrap();
    let session = session_with(patience, &place.path().join("cache"), &|| None);
    let taken = take_object(&address(&server, "depot"), &object(&content()), "patch.zip", &session);
    let bytes = taken.map(|path| std::fs::read(path).unwrap());
    if let Ok(bytes) = &bytes {
        assert!(*bytes == content(), "never other bytes than wanted");
    }
    (bytes, server.asked())
}

fn problem(result: Result<Vec<u8>, DepotError>) -> HttpProblem {
    match result {
        Err(DepotError::Http(HttpError { problem, .. })) => problem,
        other => panic!("{:?}", other.map(|bytes| bytes.len())),
    }
}

#[test]
fn a_good_server_is_asked_once_and_told_not_to_compress() {
    let (taken, asked) = fetched(|_| whole("200 OK", &content()));
    taken.unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    assert_eq!(asked[0].path, "/depot/object");
}

#[test]
fn a_connection_that_closes_in_the_middle_is_taken_up_again_with_the_rest_only() {
    let (taken, asked) = fetched(|asked| {
        let content = content();
        match asked.from() {
            Some(from) if asked.before == 3 => rest(&content, from),
            from => {
                let from = from.unwrap_or_default();
                let mut steps = if from > 0 { rest(&content, from) } else { whole("200 OK", &content) };
                steps[1] = Step::Send(content[from..from + 50_000].to_vec());
                steps
            }
        }
    });
    taken.unwrap();
    let from: Vec<_> = asked.iter().map(Asked::from).collect();
    assert_eq!(from, [None, Some(50_000), Some(100_000), Some(150_000)]);
    assert!(asked[1..].iter().all(|asked| asked.header("if-range") == Some("\"one\"")));
}

#[test]
fn a_server_that_always_closes_too_early_is_given_up_and_what_came_is_kept() {
    let (taken, asked) = fetched(|_| {
        let content = content();
        let mut steps = whole("200 OK", &content);
        steps[1] = Step::Send(content[..1000].to_vec());
        steps
    });
    let problem = problem(taken);
    assert!(matches!(problem, HttpProblem::Broken(_) | HttpProblem::Cut { .. }), "{problem}");
    assert_eq!(asked.len(), 4);
}

#[test]
fn a_body_without_end_is_not_taken_beyond_the_size() {
    let (taken, asked) =
        fetched(|_| vec![Step::Send(head("200 OK", &[])), Step::Endlessly(vec![b'x'; 1 << 16])]);
    assert!(matches!(problem(taken), HttpProblem::Size { size: 300_000, .. }));
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_wrong_length_is_the_end_and_a_missing_one_is_none() {
    for length in ["299999", "300001", "18446744073709551615"] {
        let (taken, _) = fetched(move |_| {
            vec![Step::Send(head("200 OK", &[("Content-Length", length.to_owned())])), Step::Send(content())]
        });
        assert!(matches!(problem(taken), HttpProblem::Size { .. }), "{length}");
    }
    let (taken, _) = fetched(|_| vec![Step::Send(head("200 OK", &[])), Step::Send(content())]);
    taken.unwrap();
}

/// Cuts the first answer after 100,000 bytes; then follows what the test says.
fn resumed(
    answer: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
) -> (Result<Vec<u8>, DepotError>, Vec<Asked>) {
    fetched(move |asked| {
        if asked.before > 0 {
            return answer(asked);
        }
        let mut steps = whole("200 OK", &content());
        steps[1] = Step::Send(content()[..100_000].to_vec());
        steps
    })
}

#[test]
fn the_whole_file_for_a_range_is_taken_from_its_beginning() {
    let (taken, asked) = resumed(|_| whole("200 OK", &content()));
    taken.unwrap();
    assert_eq!(asked.len(), 2);
}

#[test]
fn another_range_is_not_taken_and_it_begins_anew() {
    for range in
        ["bytes 0-299999/300000", "bytes 100000-299998/300000", "bytes 100001-299999/300000", "rubbish"]
    {
        let (taken, asked) = resumed(move |asked| {
            if asked.from().is_none() {
                return whole("200 OK", &content());
            }
            let headers = [("Content-Range", range.to_owned()), ("ETag", "\"one\"".to_owned())];
            vec![Step::Send(head("206 Partial Content", &headers)), Step::Send(content()[100_000..].to_vec())]
        });
        taken.unwrap();
        assert_eq!(asked.iter().map(Asked::from).collect::<Vec<_>>(), [None, Some(100_000), None], "{range}");
    }
}

#[test]
fn the_rest_of_another_state_of_the_file_is_not_taken() {
    let (taken, asked) = resumed(|asked| match asked.from() {
        Some(_) => {
            let headers =
                [("Content-Range", "bytes 100000-299999/300000".to_owned()), ("ETag", "\"two\"".to_owned())];
            vec![Step::Send(head("206 Partial Content", &headers)), Step::Send(vec![0; 200_000])]
        }
        None => whole("200 OK", &content()),
    });
    taken.unwrap();
    assert_eq!(asked.len(), 3);
}

#[test]
fn a_mixture_of_two_states_of_a_file_is_fetched_once_more_from_its_beginning() {
    // The server claims that it is the same file, and it is not.
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let server = FaultyServer::begin(|asked| match (asked.before, asked.from()) {
        (0..4, _) => {
            let mut steps = whole("200 OK", &vec![0; 300_000]);
            steps[1] = Step::Send(vec![0; 1000]);
            steps
        }
        (_, Some(from)) => rest(&content(), from),
        (_, None) => whole("200 OK", &content()),
    });
    let from_server = address(&server, "object");
    fetch_object(&session(&cache, &|| None), &from_server, &object(&content())).unwrap_err();
    let by = fetch_object(&session(&cache, &|| None), &from_server, &object(&content())).unwrap();
    assert_eq!(by, FetchedBy::This);
    let from: Vec<_> = server.asked().iter().skip(4).map(Asked::from).collect();
    assert_eq!(from, [Some(1000), None]);
}

#[test]
fn wrong_bytes_are_given_to_nobody_and_not_kept() {
    let (taken, asked) = fetched(|_| whole("200 OK", &vec![7; 300_000]));
    assert!(matches!(taken, Err(DepotError::Digest(_))), "{:?}", taken.err());
    assert_eq!(asked.len(), 1);
}

#[test]
fn redirects_are_followed_five_times() {
    let redirected = |to: String| vec![Step::Send(head("302 Found", &[("Location", to)]))];
    let (taken, asked) = fetched(move |asked| match asked.before {
        5 => whole("200 OK", &content()),
        before => redirected(format!("/{before}")),
    });
    taken.unwrap();
    assert_eq!(asked.len(), 6);
    let (taken, asked) = fetched(move |_| redirected("/loop".to_owned()));
    assert!(matches!(problem(taken), HttpProblem::Redirects));
    assert_eq!(asked.len(), 6);
    let (taken, _) = fetched(move |_| redirected("gopher://h/".to_owned()));
    assert!(matches!(problem(taken), HttpProblem::BadRedirect(_)));
}

#[test]
fn what_is_compressed_unasked_is_refused() {
    let (taken, _) = fetched(|_| {
        let headers = [("Content-Encoding", "gzip".to_owned()), ("Content-Length", "300000".to_owned())];
        vec![Step::Send(head("200 OK", &headers)), Step::Send(content())]
    });
    assert!(matches!(problem(taken), HttpProblem::Compressed(_)));
}

#[test]
fn a_server_that_drips_or_is_silent_counts_as_broken() {
    let began = Instant::now();
    let (taken, _) = fetched_with(impatient(), |_| {
        let length = [("Content-Length", "300000".to_owned())];
        vec![Step::Send(head("200 OK", &length)), Step::Drip(content(), 50 * MILLISECOND)]
    });
    assert!(matches!(problem(taken), HttpProblem::Slow(1024)));
    let (taken, _) = fetched_with(impatient(), |_| vec![Step::Wait(Duration::from_secs(60))]);
    assert!(matches!(problem(taken), HttpProblem::Broken(_) | HttpProblem::Slow(_)));
    assert!(began.elapsed() < Duration::from_secs(60), "it was given up");
}

#[test]
fn who_wants_to_end_does_not_wait_for_a_server() {
    let server = FaultyServer::begin(|_| vec![Step::Wait(Duration::from_secs(60))]);
    let place = tempfile::tempdir().unwrap();
    let session = session(&place.path().join("cache"), &|| Some(2));
    let ended = fetch_address(&address(&server, "x.zip"), &session);
    assert_eq!(ended.unwrap_err().signal(), Some(2));
}

#[test]
fn a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let (taken, asked) = fetched(|asked| match asked.before {
        0 => whole("503 Busy", b""),
        1 => whole("429 Too Many", b""),
        _ => whole("200 OK", &content()),
    });
    taken.unwrap();
    assert_eq!(asked.len(), 3);
    for (status, count) in [("404 Not Found", 1), ("403 No", 1), ("500 Oh", 4)] {
        let (taken, asked) = fetched(move |_| whole(status, b"a page"));
        assert!(matches!(problem(taken), HttpProblem::NotThere(_) | HttpProblem::Status(_)), "{status}");
        assert_eq!(asked.len(), count, "{status}");
    }
}

#[test]
fn a_head_without_end_is_refused() {
    let (taken, asked) = fetched(|_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Step::Endlessly(b"X: y\r\n".repeat(1000))]
    });
    assert!(matches!(problem(taken), HttpProblem::Malformed(_)));
    assert_eq!(asked.len(), 1);
}

#[test]
fn chunks_that_are_none_and_trailers_without_end_are_refused_and_not_asked_for_again() {
    let chunked = || Step::Send(head("200 OK", &[("Transfer-Encoding", "chunked".to_owned())]));
    let (taken, asked) = fetched(move |_| vec![chunked(), Step::Send(b"5\r\nabcde\r\nrubbish\r\n".to_vec())]);
    assert!(matches!(problem(taken), HttpProblem::Malformed(_)));
    assert_eq!(asked.len(), 1);
    let (taken, asked) = fetched(move |_| {
        let start = Step::Send(b"5\r\nabcde\r\n0\r\n".to_vec());
        vec![chunked(), start, Step::Endlessly(b"X: y\r\n".repeat(1000))]
    });
    let problem = problem(taken);
    assert!(matches!(problem, HttpProblem::Malformed(_)), "{problem}");
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_page_in_the_place_of_an_object_or_an_index_is_neither() {
    let page = b"<html>not here</html>";
    let (taken, _) = fetched(move |_| whole("200 OK", page));
    assert!(matches!(problem(taken), HttpProblem::Size { .. }));
    let server = FaultyServer::begin(move |_| whole("200 OK", page));
    let place = tempfile::tempdir().unwrap();
    let opened = open_depot(
        &DepotLocation::Address(address(&server, "depot/")),
        &[],
        &session(&place.path().join("cache"), &|| None),
    );
    assert!(matches!(opened, Err(DepotError::Index { .. })), "{:?}", opened.err());
}

#[test]
fn an_index_that_was_refused_is_fetched_again_although_it_is_unchanged() {
    let index = patchadm_inputs::depot::DepotIndex::new("0f".repeat(16), DateTime::UNIX_EPOCH).write();
    let server = FaultyServer::begin(move |asked| match asked.header("if-none-match") {
        Some("\"one\"") => vec![Step::Send(head("304 Not Modified", &[]))],
        _ if asked.path.ends_with(".minisig") => whole("404 Not Found", b""),
        _ if asked.before == 0 => whole("200 OK", b"<html>not here</html>"),
        _ => whole("200 OK", &index),
    });
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let location = DepotLocation::Address(address(&server, "depot/"));
    let open = |demands: &[Demand]| open_depot(&location, demands, &session(&cache, &|| None));
    assert!(matches!(open(&[]), Err(DepotError::Index { .. })));
    open(&[]).unwrap();
    let before = server.asked().len();
    let require = [Demand { word: DemandWord::Require, keys: KeyRing::default() }];
    assert!(matches!(open(&require), Err(DepotError::MissingSignature(_))));
    assert_eq!(server.asked()[before].header("if-none-match"), None, "its signature may exist by now");
}

#[test]
fn an_index_that_did_not_change_is_not_sent_again_and_is_there_without_a_network() {
    let index = patchadm_inputs::depot::DepotIndex::new("0f".repeat(16), DateTime::UNIX_EPOCH).write();
    let server = FaultyServer::begin(move |asked| match asked.header("if-none-match") {
        Some("\"one\"") => vec![Step::Send(head("304 Not Modified", &[]))],
        _ if asked.path.ends_with(".minisig") => whole("404 Not Found", b""),
        _ => whole("200 OK", &index),
    });
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let location = DepotLocation::Address(address(&server, "depot/"));
    for _ in 0..2 {
        let depot = open_depot(&location, &[], &session(&cache, &|| None)).unwrap();
        assert_eq!(depot.index().version, 0);
    }
    assert_eq!(server.asked().len(), 3, "the index, its signature, and whether it changed");
    let mut offline = session(&cache, &|| None);
    offline.access.is_offline = true;
    open_depot(&location, &[], &offline).unwrap();
    let nowhere = DepotLocation::Address(address(&server, "other/"));
    assert!(matches!(open_depot(&nowhere, &[], &offline), Err(DepotError::Offline(_))));
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn an_address_that_is_no_patch_is_not_fetched_to_an_end_that_may_never_come() {
    let server = FaultyServer::begin(|_| {
        vec![Step::Send(head("200 OK", &[])), Step::Endlessly(b"<html>".repeat(100))]
    });
    let place = tempfile::tempdir().unwrap();
    let session = session(&place.path().join("cache"), &|| None);
    let path = fetch_address(&address(&server, "x.zip"), &session).unwrap();
    let error = patchadm_inputs::source::open_signed(&path, &[]).unwrap_err().to_string();
    assert!(error.contains("neither a package"), "{error}");
    assert!(std::fs::metadata(&path).unwrap().len() < 16 << 20);
}

#[test]
fn a_patch_from_an_address_fits_the_disk_and_the_limit_of_the_cache() {
    let fetched = |length: &[(&str, String)]| {
        let head = head("200 OK", length);
        let server = FaultyServer::begin(move |_| {
            let stream = b"# PaCkAgE DaTaStReAm\n".to_vec();
            vec![Step::Send(head.clone()), Step::Send(stream), Step::Endlessly(vec![0; 1 << 16])]
        });
        let place = tempfile::tempdir().unwrap();
        let mut session = session(&place.path().join("cache"), &|| None);
        session.access.cache_limit = 1 << 20;
        fetch_address(&address(&server, "x.pkg"), &session).unwrap_err()
    };
    let error = fetched(&[]);
    let is_size = matches!(&error, DepotError::Http(HttpError { problem: HttpProblem::Size { .. }, .. }));
    assert!(is_size, "{error}");
    let error = fetched(&[("Content-Length", (1_u64 << 60).to_string())]).to_string();
    assert!(error.ends_with("are needed, including the reserve"), "{error}");
}

#[test]
fn an_index_larger_than_any_is_not_taken() {
    let length = [("Content-Length", (300_u64 << 20).to_string())];
    let announced = vec![head("200 OK", &length), head("200 OK", &[])];
    for first in announced {
        let server = FaultyServer::begin(move |_| {
            vec![Step::Send(first.clone()), Step::Endlessly(vec![b' '; 1 << 20])]
        });
        let place = tempfile::tempdir().unwrap();
        let location = DepotLocation::Address(address(&server, "depot/"));
        let opened = open_depot(&location, &[], &session(&place.path().join("cache"), &|| None));
        let error = opened.unwrap_err().to_string();
        assert!(error.ends_with("the index is larger than 67108864 bytes"), "{error}");
    }
}
