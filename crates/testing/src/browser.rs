//! Pages in a browser. Tests of them are skipped where Chromium is not installed.

use std::path::Path;
use std::process::Command;

use crate::scenario::Scenario;
use crate::tools::missing;

/// Names under which the browser is installed.
const BROWSERS: [&str; 2] = ["chromium", "chromium-browser"];

/// Returns the browser of this machine; says that the test is skipped where there is none.
pub fn browser(test: &str) -> Option<&'static str> {
    let found = BROWSERS.iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        missing("chromium", test);
    }
    found.copied()
}

/// Returns the document of a page after its scripts have run, and the messages on the console of the browser.
pub fn shown(browser: &str, stage: &Scenario, page: &Path, options: &[&str]) -> (String, String) {
    let home = stage.beside("browser");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--v=0",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", home.display()))
        .args(options)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let said = text(output.stderr);
    let console: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    (text(output.stdout), console.join("\n"))
}
