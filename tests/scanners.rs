//! `report --format openvex` and `--format cyclonedx`: documents that tell scanners and auditors that a package is
//! patched.
//!
//! Every document is validated against the schema that its makers publish. If the reference libraries of Python are
//! installed (`cyclonedx-python-lib`, `lib4vex`), they also read the documents and match findings against them.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use crate::adopt_refresh::{ONE, TWO, Version, adopted, delivered, dpkg_installs};
use crate::cases::installed;
use crate::delivery::Patch;
use crate::packages::Package;
use crate::patch_documents::document;
use crate::scenario::Scenario;
use crate::schema::official::faults_of_published;

fn web(content: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, content)
}

/// The document in a format, validated against its published schema.
#[track_caller]
fn scanned(stage: &Scenario, format: &str, options: &str) -> Value {
    let text = stage.run(&format!("report -R @ROOT@ --format {format} {options}")).ok();
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let schema = if format == "openvex" { "openvex-0.2.0.schema.json" } else { "bom-1.6.schema.json" };
    let faults = faults_of_published(schema, &document);
    assert!(faults.is_empty(), "{}\n{text}", faults.join("\n"));
    document
}

/// `ID URL STATUS` of each statement.
fn statements(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |one: &Value| {
        let product = &one["products"][0];
        assert_eq!(product["@id"], product["identifiers"]["purl"]);
        format!("{} {} {}", text(&one["vulnerability"]["name"]), text(&product["@id"]), text(&one["status"]))
    };
    document["statements"].as_array().unwrap().iter().map(line).collect()
}

/// Runs the script with the reference libraries; `None` if they are not installed.
fn reference(test: &str, arguments: &[&str]) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scanners/reference.py");
    printed(test, Command::new(python()).arg(script).args(arguments))
}

/// The Python that has the libraries: `PATCHADM_TEST_PYTHON`, or `python3`.
fn python() -> OsString {
    std::env::var_os("PATCHADM_TEST_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Runs a script of Python and returns its output; `None` if Python, or a library of the script, is not installed.
fn printed(test: &str, script: &mut Command) -> Option<String> {
    let Ok(run) = script.output() else {
        crate::missing("python3", test);
        return None;
    };
    let printed = String::from_utf8_lossy(&run.stdout).into_owned();
    if run.status.code() == Some(77) {
        crate::skipped(&format!("{test}: {}", printed.trim_end()));
        return None;
    }
    assert!(run.status.success(), "{printed}{}", String::from_utf8_lossy(&run.stderr));
    Some(printed)
}

#[test]
fn a_fix_is_fixed_with_the_patch_its_digest_and_its_date_as_the_reason() {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &Patch::of("100-01", web("two\n").param("PATCH_FIXES", "CVE-2026-1234 ACME-17"))).ok();
    let vex = scanned(&stage, "openvex", "");
    let url = "pkg:generic/ACMEweb@1.0?arch=i386";
    assert_eq!(statements(&vex), [format!("ACME-17 {url} fixed"), format!("CVE-2026-1234 {url} fixed")]);
    let patch = &document(&stage, "list -R @ROOT@")["patches"][0];
    let notes = vex["statements"][0]["status_notes"].as_str().unwrap();
    let start = format!("fixed by patch 100-01 (sha256 {}), applied 20", patch["sha256"].as_str().unwrap());
    assert!(notes.starts_with(&start), "{notes}");
    assert_eq!((&vex["@context"], &vex["version"]), (&json!("https://openvex.dev/ns/v0.2.0"), &json!(1)));
    assert_eq!(scanned(&stage, "openvex", ""), vex, "the same root at the same moment is the same document");
    let other = scanned(&stage, "openvex", "--author security@acme.example");
    assert_eq!(other["author"], "security@acme.example");
    assert_ne!(other["@id"], vex["@id"]);
}

#[test]
fn a_lost_fix_is_affected_and_says_what_to_do() {
    let stage = adopted();
    let package = delivered("1.0-1")
        .param("PATCH_FIXED_IN", "dpkg web >= 1.0-3")
        .param("PATCH_FIXES", "CVE-2026-1234")
        .file("usr/lib/libweb.so", 0o644, "lib fixed\n");
    stage.patchadd("", &Patch::of("100-01", package)).ok();
    let told = |version: &str, status: &str| {
        [format!("CVE-2026-1234 pkg:deb/debian/web@{version}?arch=amd64 {status}")]
    };
    assert_eq!(statements(&scanned(&stage, "openvex", "")), told("1.0-1", "fixed"));
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    for when in ["before a refresh", "after it"] {
        let vex = scanned(&stage, "openvex", "");
        assert_eq!(statements(&vex), told("1.0-2", "affected"), "{when}");
        let one = &vex["statements"][0];
        assert_eq!(one["status_notes"], "the fix of patch 100-01 was lost to web 1.0-2 (dpkg)", "{when}");
        assert!(
            one["action_statement"].as_str().unwrap().starts_with("Apply a patch for the installed version"),
            "{when}"
        );
        let materials = scanned(&stage, "cyclonedx", "");
        assert_eq!(materials["vulnerabilities"][0]["analysis"]["state"], "exploitable", "{when}");
        assert_eq!(materials["components"][0]["pedigree"], Value::Null, "{when}");
        stage.run("adopt --refresh -R @ROOT@").ok();
    }
    stage.run("adopt --refresh --accept 100-01 -R @ROOT@").ok();
    let vex = scanned(&stage, "openvex", "");
    assert_eq!(statements(&vex), told("1.0-2", "affected"), "what was accepted is as open as before");
    let one = &vex["statements"][0];
    let expected = "the fix of patch 100-01 was lost to web 1.0-2 (dpkg), which was accepted";
    assert_eq!(one["status_notes"], expected);
    assert!(one["action_statement"].as_str().unwrap().starts_with("The loss was accepted on this root"));
    let analysis = &scanned(&stage, "cyclonedx", "")["vulnerabilities"][0]["analysis"];
    assert_eq!(*analysis, json!({"state": "exploitable", "response": ["will_not_fix"], "detail": expected}));
    let three = Version { version: "1.0-3", ..TWO };
    dpkg_installs(&stage, Some(&TWO), &three, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    stage.run("report -R @ROOT@ --format openvex").fails(3);
}

#[test]
fn reference_libraries_read_the_documents_and_close_the_findings_that_a_patch_fixed() {
    let stage = Scenario::with(&[web("one\n"), Package::new("ACMEshop").directory("empty")]);
    stage.patchadd("", &Patch::of("100-01", web("two\n").param("PATCH_FIXES", "CVE-2026-1234 ACME-17"))).ok();
    for (format, name) in [("openvex", "vex.json"), ("cyclonedx", "bom.json")] {
        fs::write(stage.beside(name), scanned(&stage, format, "").to_string()).unwrap();
    }
    let url = |package: &str| format!("pkg:generic/{package}@1.0?arch=i386");
    let fixed = [format!("{} ACME-17", url("ACMEweb")), format!("{} CVE-2026-1234", url("ACMEweb"))];
    let open = [format!("{} CVE-2026-1234", url("ACMEshop")), format!("{} CVE-2026-9999", url("ACMEweb"))];
    fs::write(stage.beside("findings"), [&fixed[..], &open].concat().join("\n") + "\n").unwrap();
    let test = "reference_libraries_read_the_documents_and_close_the_findings_that_a_patch_fixed";
    let matched = ["openvex", &path(&stage, "vex.json"), &path(&stage, "findings")];
    let Some(told) = reference(test, &matched) else { return };
    assert_eq!(told.lines().collect::<Vec<_>>(), open);
    let resolved = reference(test, &["cyclonedx", &path(&stage, "bom.json")]).unwrap();
    assert_eq!(resolved.lines().collect::<Vec<_>>(), fixed);
}

#[test]
fn a_later_patch_that_has_the_fix_outweighs_one_that_was_lost() {
    let stage = adopted();
    let patch = |id: &str, version: &str, text: &str| {
        let package = delivered(version).param("PATCH_FIXES", "CVE-2026-1234");
        Patch::of(id, package.file("usr/lib/libweb.so", 0o644, text))
    };
    stage.patchadd("", &patch("100-01", "1.0-1", "fixed one\n")).ok();
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    stage.patchadd("", &patch("200-01", "1.0-2", "fixed two\n")).ok();
    let vex = scanned(&stage, "openvex", "");
    assert_eq!(statements(&vex), ["CVE-2026-1234 pkg:deb/debian/web@1.0-2?arch=amd64 fixed"]);
    assert!(vex["statements"][0]["status_notes"].as_str().unwrap().contains("patch 200-01"));
}

#[test]
fn of_two_instances_with_one_url_both_must_have_the_fix() {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &Patch::of("100-01", web("two\n").param("PATCH_FIXES", "CVE-2026-1234"))).ok();
    let pkginfo = stage.text("/var/sadm/pkg/ACMEweb/pkginfo");
    let unpatched = pkginfo.lines().filter(|line| !line.starts_with("PATCH"));
    stage.package("ACMEweb.2", &unpatched.map(|line| format!("{line}\n")).collect::<String>());
    let vex = scanned(&stage, "openvex", "");
    assert_eq!(
        statements(&vex),
        ["CVE-2026-1234 pkg:generic/ACMEweb@1.0?arch=i386 under_investigation"],
        "{vex}"
    );
    let notes = vex["statements"][0]["status_notes"].as_str().unwrap();
    assert!(notes.contains("another installed package has the same URL"), "{notes}");
}

#[test]
fn a_bill_of_materials_has_every_package_and_the_patches_that_are_in_force_in_it() {
    let stage = Scenario::with(&[web("one\n"), Package::new("ACMEshop").directory("empty")]);
    let patch = Patch::of("100-01", web("two\n").param("PATCH_FIXES", "CVE-2026-1234 ACME-17"));
    stage.patchadd("", &patch).ok();
    stage.patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("x", 0o644, "x\n"))).ok();
    let materials = scanned(&stage, "cyclonedx", "");
    let components = materials["components"].as_array().unwrap();
    let names: Vec<&str> = components.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["ACMEshop", "ACMEweb"]);
    let web = &components[1];
    assert_eq!(web["purl"], "pkg:generic/ACMEweb@1.0?arch=i386");
    let sha256 = document(&stage, "list -R @ROOT@")["patches"][0]["sha256"].as_str().unwrap().to_owned();
    let patches = &web["pedigree"]["patches"];
    assert_eq!(patches[0]["diff"]["url"], format!("nih:sha-256;{sha256}"));
    assert_eq!(
        patches[0]["resolves"],
        json!([
            {
                "type": "security",
                "id": "CVE-2026-1234",
                "source": {"name": "CVE", "url": "https://www.cve.org/CVERecord?id=CVE-2026-1234"},
            },
            {"type": "defect", "id": "ACME-17"},
        ])
    );
    assert_eq!(patches[1], json!({"type": "backport"}), "it says neither what it fixes nor has a digest");
    assert_eq!(web["externalReferences"][0]["hashes"], json!([{"alg": "SHA-256", "content": sha256}]));
    let named = |name: &str| {
        let mut properties = web["properties"].as_array().unwrap().iter();
        properties.any(|one| one["name"] == format!("patchadm:patch:{name}"))
    };
    assert!(named("100-01:state") && named("200-01:applied"), "{web}");
    assert_eq!(materials["vulnerabilities"][1]["analysis"]["state"], "resolved");
    assert_eq!(components[0]["pedigree"], Value::Null);
    assert_eq!(scanned(&stage, "cyclonedx", ""), materials);
}

#[test]
fn a_root_without_patches_has_a_bill_of_materials_and_nothing_to_say_of_fixes() {
    let stage = Scenario::with(&[web("one\n")]);
    assert_eq!(scanned(&stage, "cyclonedx", "")["components"].as_array().unwrap().len(), 1);
    let refused = stage.run("report -R @ROOT@ --format openvex -o vex.json").fails(3);
    assert!(refused.contains("lists its fixes"), "{refused}");
    assert!(!stage.beside("vex.json").exists());
}

#[test]
fn a_document_is_about_one_root_and_is_made_of_an_inventory_as_of_the_root_itself() {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &Patch::of("100-01", web("two\n").param("PATCH_FIXES", "CVE-2026-1234"))).ok();
    let inventory = stage.run("list --json -R @ROOT@").ok();
    fs::write(stage.beside("one.json"), &inventory).unwrap();
    let own = scanned(&stage, "openvex", "");
    assert_eq!(statements(&scanned(&stage, "openvex", "one.json")), statements(&own));
    stage.run("report -R @ROOT@ --format openvex -o vex.json").ok();
    let written: Value =
        serde_json::from_str(&fs::read_to_string(stage.beside("vex.json")).unwrap()).unwrap();
    assert_eq!(written["@id"], own["@id"], "the name follows from all that is in it");
    let mut other: Value = serde_json::from_str(&inventory).unwrap();
    other["machine"] = "other".into();
    fs::write(stage.beside("two.json"), other.to_string()).unwrap();
    for format in ["openvex", "cyclonedx"] {
        let refused = stage.run(&format!("report --format {format} one.json two.json")).fails(2);
        assert!(refused.contains("describes one root, but there are 2 hosts"), "{refused}");
    }
    other["packages"] = Value::Null;
    fs::write(stage.beside("two.json"), other.to_string()).unwrap();
    assert!(stage.run("report --format cyclonedx two.json").fails(3).contains("lists no packages"));
    stage.run("report --format openvex two.json").fails(3);
    fs::write(stage.beside("part.json"), stage.run("list --json --fixes X -R @ROOT@").ok()).unwrap();
    let refused = stage.run("report part.json").fails(5);
    assert!(refused.contains("it lists only some of the patches"), "{refused}");
    let refused = stage.run("report -R @ROOT@ --format openvex --author=").fails(2);
    assert!(refused.contains("--author"), "{refused}");
}

#[test]
fn what_an_inventory_of_a_stranger_says_stays_in_its_place() {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &Patch::of("100-01", web("two\n").param("PATCH_FIXES", "CVE-2026-1234"))).ok();
    let inventory = stage.run("list --json -R @ROOT@").ok();
    let evil = "</script><b>\u{202e}\u{1b}]0;x\u{7}\"},{\"";
    let mut lied: Value = serde_json::from_str(&inventory).unwrap();
    lied["machine"] = evil.into();
    lied["packages"][0]["name"] = evil.into();
    lied["patches"][0]["fixes"] = json!([evil, "CVE-2026-1234", "a b"]);
    lied["patches"][0]["sha256"] = evil.into();
    lied["patches"][0]["signature"] = json!({"state": evil, "key": evil, "name": evil});
    fs::write(stage.beside("lied.json"), lied.to_string()).unwrap();
    let vex = scanned(&stage, "openvex", "lied.json");
    assert_eq!(statements(&vex), ["CVE-2026-1234 pkg:generic/ACMEweb@1.0?arch=i386 fixed"]);
    let materials = scanned(&stage, "cyclonedx", "lied.json");
    assert_eq!(materials["components"][0]["description"], evil);
    assert_eq!(materials["components"][0]["pedigree"]["patches"][0]["resolves"].as_array().unwrap().len(), 1);
    lied["packages"][0]["purl"] = "pkg:generic/x y\n".into();
    fs::write(stage.beside("lied.json"), lied.to_string()).unwrap();
    stage.run("report --format openvex lied.json").fails(3);
    assert_eq!(scanned(&stage, "cyclonedx", "lied.json")["components"][0]["purl"], Value::Null);
}

/// The ids that the changelog of a release names above the entry of the release before it.
fn fixed_since(changelog: &Path, before: &str) -> Vec<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(changelog).unwrap()).read_to_string(&mut text).unwrap();
    let new = text.split(&format!("openssl ({before}")).next().unwrap();
    let ids = Regex::new(r"CVE-\d{4}-\d{4,}").unwrap();
    let mut found: Vec<String> = ids.find_iter(new).map(|id| id.as_str().to_owned()).collect();
    found.sort();
    found.dedup();
    found
}

/// A root with the packages of the real OpenSSL, registered as dpkg packages, and a patch beside it that declares its
/// fixes. Also returns these fixes, taken from the changelog.
fn real_openssl(test: &str) -> Option<(Scenario, Vec<String>)> {
    let (stage, case) = installed(test, "openssl")?;
    let mut status = String::new();
    for name in ["openssl", "libssl3"] {
        let pkginfo = format!("/var/sadm/pkg/DEB{name}/pkginfo");
        let adopted = format!("PATCHADM_ADOPTED=dpkg {name}:amd64\nNATIVE_VERSION={VERSION}\n");
        fs::write(stage.at(&pkginfo), stage.text(&pkginfo) + &adopted).unwrap();
        status += &format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {VERSION}\n\n"
        );
        stage.file(&format!("/var/lib/dpkg/info/{name}.list"), "");
    }
    stage.file("/var/lib/dpkg/status", status);
    stage.file("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    let delivered = case.join("300001-01");
    let changelog = delivered.join("DEBopenssl/reloc/usr/share/doc/openssl/changelog.Debian.gz");
    let fixes = fixed_since(&changelog, "3.0.17");
    assert!(fixes.len() > 10 && fixes.contains(&"CVE-2026-9076".to_owned()), "{fixes:?}");
    let patch = stage.beside("300001-01");
    assert!(Command::new("cp").arg("-a").arg(&delivered).arg(&patch).status().unwrap().success());
    fs::write(patch.join("patchinfo"), format!("PATCH_FIXES=\"{}\"\n", fixes.join(" "))).unwrap();
    Some((stage, fixes))
}

/// The version that the packages of the real OpenSSL have.
const VERSION: &str = "3.0.17-1~deb12u2";

fn path(stage: &Scenario, name: &str) -> String {
    stage.beside(name).to_str().unwrap().to_owned()
}

#[test]
fn a_patched_real_openssl_counts_as_fixed_with_the_document_and_as_open_without() {
    let test = "a_patched_real_openssl_counts_as_fixed_with_the_document_and_as_open_without";
    let Some((stage, fixes)) = real_openssl(test) else { return };
    let url = |name: &str| format!("pkg:deb/debian/{name}@{VERSION}?arch=amd64&distro=debian-12");
    let findings = ["libssl3", "openssl"].iter().flat_map(|name| {
        let url = url(name);
        fixes.iter().map(move |id| format!("{url} {id}"))
    });
    let findings: Vec<String> = findings.collect();
    stage.run("report -R @ROOT@ --format openvex").fails(3);
    stage.run("add -R @ROOT@ 300001-01").ok();
    let vex = scanned(&stage, "openvex", "");
    let mut closed: Vec<String> = statements(&vex)
        .iter()
        .map(|line| {
            let [id, url, status]: [&str; 3] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(status, "fixed");
            format!("{url} {id}")
        })
        .collect();
    closed.sort();
    assert_eq!(closed, findings, "every finding is answered by a statement");

    fs::write(stage.beside("vex.json"), vex.to_string()).unwrap();
    fs::write(stage.beside("bom.json"), scanned(&stage, "cyclonedx", "").to_string()).unwrap();
    let unknown = format!("{} CVE-2099-0001", url("openssl"));
    fs::write(stage.beside("findings"), findings.join("\n") + "\n" + &unknown + "\n").unwrap();
    let matched = ["openvex", &path(&stage, "vex.json"), &path(&stage, "findings")];
    let Some(open) = reference(test, &matched) else { return };
    assert_eq!(open, format!("{unknown}\n"), "what no patch says stays open");
    let resolved = reference(test, &["cyclonedx", &path(&stage, "bom.json")]).unwrap();
    assert_eq!(resolved.lines().collect::<Vec<_>>(), findings);

    stage.run("remove -R @ROOT@ 300001-01").ok();
    stage.run("report -R @ROOT@ --format openvex").fails(3);
}

/// The output of CVE Binary Tool for the bill of materials beside a root; `None` if it is not installed.
fn scan(test: &str, stage: &Scenario, findings: &str, documents: &[&str]) -> Option<String> {
    let home = stage.beside("home");
    fs::create_dir_all(&home).unwrap();
    fs::write(stage.beside("known"), findings).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scanners/scan.py");
    let mut scanner = Command::new(python());
    scanner.arg(script).arg(home).args(documents.iter().map(|name| stage.beside(name)));
    printed(test, scanner.stdin(fs::File::open(stage.beside("known")).unwrap()))
}

#[test]
fn a_scanner_tells_a_patched_real_openssl_as_mitigated_with_the_document_and_as_new_without() {
    let test = "a_scanner_tells_a_patched_real_openssl_as_mitigated_with_the_document_and_as_new_without";
    let Some((stage, fixes)) = real_openssl(test) else { return };
    stage.run("add -R @ROOT@ 300001-01").ok();
    stage.run("report -R @ROOT@ --format cyclonedx -o bom.json").ok();
    stage.run("report -R @ROOT@ --format openvex -o vex.json").ok();
    let known = fixes.iter().map(|id| format!("debian openssl 3.0.20 {id}\n")).collect::<String>();
    let known = known + "debian openssl 3.0.20 CVE-2099-0001\n";
    let told = |remark: &str, of_unknown: &str| {
        let mut lines: Vec<String> = fixes.iter().map(|id| format!("openssl {id} {remark}")).collect();
        lines.push(format!("openssl CVE-2099-0001 {of_unknown}"));
        lines.sort();
        lines
    };
    let sorted = |printed: &str| {
        let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let Some(without) = scan(test, &stage, &known, &["bom.json"]) else { return };
    assert_eq!(sorted(&without), told("NewFound", "NewFound"));
    let with = scan(test, &stage, &known, &["bom.json", "vex.json"]).unwrap();
    assert_eq!(sorted(&with), told("Mitigated", "NewFound"));
}
