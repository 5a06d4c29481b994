//! Depots on web servers: nginx over http and https, killed clients, and clients that fetch the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::delivery::{Patch, indexed_depot};
use crate::nginx::{Certificate, Nginx};
use crate::packages::Package;
use crate::publish::{deliver_signed, publish, secret_key, stage};
use crate::scenario::Scenario;

/// An indexed directory of patches, one of which has `large` bytes that do not compress.
fn depot(stage: &Scenario, large: usize) -> PathBuf {
    let mut noise = 1_u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + noise.to_le_bytes()[3] % 26
    })
    .take(large)
    .collect();
    let text = String::from_utf8(bytes).unwrap();
    let patch = |(id, text)| Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, text));
    indexed_depot(stage, &[("100-01", "one\n"), ("200-01", &*text)].map(patch))
}

/// An upper bound of the size of the small patch.
const SMALL: u64 = 20_000;

/// Checks a depot under a policy that names the cache and has these `settings`.
fn check_under(stage: &Scenario, settings: &str, options: &str, depot: &str) -> crate::scenario::Run {
    stage.run(&format!("{} {options} {depot}", check_line(stage, settings)))
}

fn check(stage: &Scenario, options: &str, depot: &str) -> crate::scenario::Run {
    check_under(stage, "", options, depot)
}

/// Returns the command that checks a depot with a cache beside the root.
pub(crate) fn check_line(stage: &Scenario, settings: &str) -> String {
    let policy = stage.beside("fetching.policy");
    fs::write(&policy, format!("cache={}\n{settings}", stage.beside("cache").display())).unwrap();
    format!("depot check -R @ROOT@ --policy {}", policy.display())
}

#[test]
fn a_depot_is_read_over_http_and_what_is_known_is_not_fetched_again() {
    let stage = Scenario::new();
    let files = depot(&stage, 100_000);
    let test = "a_depot_is_read_over_http…";
    let Some(server) = Nginx::serving(test, (&files, &stage.beside("server")), "", None) else { return };
    let said = check(&stage, "", &server.address("")).ok();
    assert!(said.contains("version 1, 2 objects: everything matches the index"), "{said}");
    assert_eq!(server.log().len(), 4, "{:?}", server.log());
    check(&stage, "", &server.address("")).ok();
    let log = server.log();
    assert_eq!(log.len(), 5, "{log:?}");
    assert!(log[4].starts_with("GET /index.json 304"), "{log:?}");
    check(&stage, "--offline", &server.address("")).ok();
    assert_eq!(server.log().len(), 5);
    let left: Vec<_> = fs::read_dir(stage.beside("cache/spool")).unwrap().collect();
    assert!(left.is_empty(), "the spool of a command goes with it");
}

#[test]
fn a_patch_is_applied_from_its_address() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
    stage.file("/etc/patchadm/policy", "signature=off\n");
    let files = depot(&stage, 1000);
    let test = "a_patch_is_applied_from_its_address";
    let Some(server) = Nginx::serving(test, (&files, &stage.beside("server")), "", None) else { return };
    let cache = stage.beside("cache").display().to_string();
    for (address, code) in [("nothing.tar", 40), ("index.json", 33)] {
        let before = stage.everything();
        let said =
            stage.run(&format!("patchadd -R @ROOT@ --cache {cache} {}", server.address(address))).fails(code);
        assert!(said.contains(address), "{said}");
        assert_eq!(stage.everything(), before);
    }
    stage.run(&format!("add -R @ROOT@ --offline --cache {cache} {}", server.address("100-01.tar"))).fails(1);
    stage.run(&format!("patchadd -R @ROOT@ --cache {cache} {}", server.address("100-01.tar"))).ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
    let other = format!("file://{}", files.join("200-01.tar").display());
    stage.run(&format!("add -R @ROOT@ {other}")).ok();
}

#[test]
fn an_object_that_was_damaged_in_the_cache_is_fetched_again() {
    let stage = Scenario::new();
    let files = depot(&stage, 1000);
    let test = "an_object_that_was_damaged…";
    let Some(server) = Nginx::serving(test, (&files, &stage.beside("server")), "", None) else { return };
    check(&stage, "", &server.address("")).ok();
    for name in crate::packages::files(&stage.beside("cache/objects")) {
        let object = stage.beside("cache/objects").join(name);
        let mut bytes = fs::read(&object).unwrap();
        bytes[100] ^= 1;
        fs::write(&object, bytes).unwrap();
    }
    check(&stage, "--offline", &server.address("")).fails(1);
    check(&stage, "", &server.address("")).ok();
}

#[test]
fn https_wants_a_certificate_of_an_authority_that_is_believed() {
    let mut stage = Scenario::new();
    let files = depot(&stage, 1000);
    let test = "https_wants_a_certificate…";
    let Some(certificate) = Certificate::made(test, &stage.beside("certificates")) else { return };
    let place = stage.beside("server");
    let Some(server) = Nginx::serving(test, (&files, &place), "", Some(&certificate)) else { return };
    let ca = certificate.of_authority.display().to_string();
    let said = check(&stage, "", &server.address("")).fails(1);
    assert!(said.contains("specify the CA certificates with `--ca`"), "{said}");
    check_under(&stage, &format!("ca={ca}\n"), "", &server.address("")).ok();
    let said = check_under(&stage, "ca=/etc/hostname\n", "", &server.address("")).fails(1);
    assert!(said.contains("there is no certificate in it"), "{said}");
    stage.set("SSL_CERT_FILE", &ca);
    check(&stage, "", &server.address("")).ok();
}

#[test]
fn an_environment_names_proxies() {
    let mut stage = Scenario::new();
    let files = depot(&stage, 1000);
    let test = "an_environment_names_proxies";
    let Some(server) = Nginx::serving(test, (&files, &stage.beside("server")), "", None) else { return };
    // Nothing listens on port 1.
    stage.set("all_proxy", "127.0.0.1:1");
    check(&stage, "", &server.address("")).fails(1);
    stage.set("no_proxy", "127.0.0.1");
    check(&stage, "", &server.address("")).ok();
}

#[test]
fn a_policy_names_a_proxy_and_a_cache() {
    let stage = Scenario::new();
    let files = depot(&stage, 1000);
    let test = "a_policy_names_a_proxy_and_a_cache";
    let Some(server) = Nginx::serving(test, (&files, &stage.beside("server")), "", None) else { return };
    check_under(&stage, "proxy=127.0.0.1:1\n", "", &server.address("")).fails(1);
    let policy = stage.beside("policy");
    let own = stage.beside("own");
    fs::write(&policy, format!("cache={}\n", own.display())).unwrap();
    let line = format!("depot check -R @ROOT@ --policy {} {}", policy.display(), server.address(""));
    stage.run(&line).ok();
    assert!(own.join("objects").is_dir());
}

#[test]
fn a_signed_depot_is_read_with_its_signatures() {
    let stage = stage();
    deliver_signed(&stage, "300-01", "one\n");
    let (work, files) = (stage.beside("work"), stage.beside("published"));
    publish(&stage, &format!("--key {} {} {}", secret_key(), work.display(), files.display())).ok();
    stage.run(&format!("key -R @ROOT@ trust {}", secret_key().replace(".sec", ".pub"))).ok();
    let test = "a_signed_depot_is_read…";
    let Some(server) = Nginx::serving(test, (&files, &stage.beside("server")), "", None) else { return };
    let said = check(&stage, "--signature require", &server.address("")).ok();
    assert!(said.contains("the index is signed by key"), "{said}");
    let mut copies = fs::read_dir(files.join("index")).unwrap().map(|entry| entry.unwrap().path());
    let signature = copies.find(|path| path.extension().is_some_and(|end| end == "minisig"));
    fs::remove_file(signature.unwrap()).unwrap();
    fs::remove_dir_all(stage.beside("cache")).unwrap();
    let said = check(&stage, "--signature require", &server.address("")).fails(1);
    assert!(said.contains("may be updating right now"), "{said}");
}

/// The size of the partial download of the large patch, once it is larger than the small one.
fn partial_size(cache: &Path) -> Option<u64> {
    let entries = fs::read_dir(cache.join("partial")).ok()?;
    let sizes = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let is_note = entry.file_name().to_string_lossy().ends_with(".json");
        (!is_note).then_some(entry.metadata().ok()?.len())
    });
    sizes.max().filter(|size| *size > SMALL)
}

#[test]
fn a_client_that_is_killed_at_any_of_50_moments_goes_on_with_the_rest_only() {
    let stage = Scenario::new();
    let files = depot(&stage, 24 << 20);
    let test = "a_client_that_is_killed…";
    let place = stage.beside("server");
    let Some(server) = Nginx::serving(test, (&files, &place), "limit_rate 16m;", None) else { return };
    let cache = stage.beside("cache");
    let line = format!("{} {}", check_line(&stage, ""), server.address(""));
    let (mut expected, mut kills) = (Vec::new(), 0);
    while kills < 50 {
        let before = partial_size(&cache).unwrap_or(0);
        let mut client = stage.command(&line).spawn().unwrap();
        // Waits until it has begun to receive, and a moment more that differs from kill to kill.
        for _ in 0..400 {
            let has_ended = client.try_wait().unwrap().is_some();
            if has_ended || partial_size(&cache).is_some_and(|size| size > before) {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(kills % 7));
        client.kill().unwrap();
        let status = client.wait().unwrap();
        kills += 1;
        match partial_size(&cache).filter(|_| !status.success()) {
            Some(size) if size > 0 => expected.push(format!("[bytes={size}-]")),
            _ => {
                fs::remove_dir_all(&cache).unwrap();
            }
        }
    }
    stage.run(&line).ok();
    let log = server.log();
    let asked: Vec<&String> = log.iter().filter(|line| line.contains("200-01.tar")).collect();
    assert!(!expected.is_empty(), "{log:?}");
    for range in &expected[..expected.len() - 1] {
        assert!(asked.iter().any(|line| line.contains(range)), "{range} was not asked for: {asked:?}");
    }
    assert!(
        asked.iter().filter(|line| line.contains("[bytes=")).all(|line| line.contains(" 206 ")),
        "{asked:?}"
    );
}

#[test]
fn two_clients_that_want_the_same_make_one_download() {
    let stage = Scenario::new();
    let files = depot(&stage, 4 << 20);
    let test = "two_clients_that_want…";
    let place = stage.beside("server");
    let Some(server) = Nginx::serving(test, (&files, &place), "limit_rate 4m;", None) else { return };
    let line = format!("{} {}", check_line(&stage, ""), server.address(""));
    let mut clients: Vec<_> = (0..2).map(|_| stage.command(&line).spawn().unwrap()).collect();
    assert!(clients.iter_mut().all(|client| client.wait().unwrap().success()));
    let log = server.log();
    let fetched: Vec<_> = log.iter().filter(|line| line.contains("200-01.tar")).collect();
    assert_eq!(fetched.len(), 1, "{log:?}");
}

#[test]
fn several_roots_take_a_patch_that_was_fetched_once() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
    stage.file("/etc/patchadm/policy", "signature=off\n");
    let files = depot(&stage, 1 << 20);
    let test = "several_roots_take_a_patch…";
    let Some(server) = Nginx::serving(test, (&files, &stage.beside("server")), "", None) else { return };
    let roots: Vec<PathBuf> = (0..4).map(|number| stage.beside(&format!("root{number}"))).collect();
    for root in &roots {
        let copied = Command::new("cp").arg("-a").arg(stage.root()).arg(root).status().unwrap();
        assert!(copied.success());
    }
    let list: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    fs::write(stage.beside("roots"), list.join("\n")).unwrap();
    let options =
        format!("--roots roots --cache {} -M {}", stage.beside("cache").display(), server.address(""));
    let fetched =
        |of: &str| server.log().iter().filter(|line| line.contains(of) && line.contains(" 200 ")).count();
    let said = stage.run(&format!("missing {options}")).ok();
    assert_eq!(said.matches("2 are missing").count(), 4, "{said}");
    assert_eq!((fetched("index.json"), fetched(".tar")), (1, 0));
    stage.run(&format!("add {options} 200-01")).ok();
    assert_eq!((fetched("index.json"), fetched("200-01.tar"), fetched("100-01.tar")), (1, 1, 0));
    stage.run(&format!("update {options}")).ok();
    assert_eq!((fetched("index.json"), fetched("200-01.tar"), fetched("100-01.tar")), (1, 1, 1));
    for root in roots {
        assert_eq!(fs::read(root.join("opt/ACMEweb/bin/httpd")).unwrap(), b"one\n");
    }
}

#[test]
fn no_redirect_leads_from_https_to_http() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
    stage.file("/etc/patchadm/policy", "signature=off\n");
    let files = depot(&stage, 1000);
    let test = "no_redirect_leads…";
    let Some(certificate) = Certificate::made(test, &stage.beside("certificates")) else { return };
    let away = "location /away { return 302 http://127.0.0.1:1/100-01.tar; }";
    let place = stage.beside("server");
    let Some(server) = Nginx::serving(test, (&files, &place), away, Some(&certificate)) else { return };
    let before = stage.everything();
    let options =
        format!("--cache {} --ca {}", stage.beside("cache").display(), certificate.of_authority.display());
    let said = stage.run(&format!("add -R @ROOT@ {options} {}", server.address("away"))).fails(1);
    assert!(said.contains("it is redirected from https to <http://127.0.0.1:1/100-01.tar>"), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
    assert_eq!(stage.everything(), before);
    stage.run(&format!("add -R @ROOT@ {options} {}", server.address("100-01.tar"))).ok();
}
