//! `SECURITY.md` names the test that shows each promise: those tests exist.

use std::fs;
use std::path::Path;

/// The text of all Rust files below a directory.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_security_names_exists() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(checkout.join("SECURITY.md")).unwrap();
    let mut code = String::new();
    ["src", "crates", "programs", "tests"]
        .iter()
        .for_each(|directory| sources(&checkout.join(directory), &mut code));
    // Names of tests are sentences; commands, files and options are not.
    let is_test = |word: &&str| word.matches('_').count() >= 3 && !word.contains([' ', '/', '=']);
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() > 25, "{named:?}");
    for name in named {
        // A long story is a function with arguments that several tests call, or a macro makes the tests.
        let forms = [format!("fn {name}("), format!("in_parts!({name},"), format!("in_parts!(\n    {name},")];
        assert!(forms.iter().any(|form| code.contains(form)), "there is no test {name}");
    }
}
