//! The certificates of trusted authorities: those of the system, or those that the caller names instead.

use std::io;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, PemItem, parse_pem};

use super::error::HttpProblem;
use super::settings::HttpSettings;
use crate::input_file::{read_own, read_small};

/// Where systems keep all certificates in one file; the first that is there counts.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/certs/ca-certificates.crt",
];

/// The largest file of certificates that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// The most files that are read of a directory.
const MOST_FILES: usize = 10_000;

/// Reads all certificates that count.
pub(super) fn believed(settings: &HttpSettings) -> Result<Vec<Certificate<'static>>, HttpProblem> {
    let mut found = Vec::new();
    match &settings.certificate_file {
        Some(file) => found.extend(of_file(file)?),
        None if settings.certificate_directories.is_empty() => {
            if let Some(bundle) = BUNDLES.iter().map(Path::new).find(|path| path.is_file()) {
                found.extend(of_file(bundle)?);
            }
        }
        None => {}
    }
    for directory in &settings.certificate_directories {
        found.extend(of_directory(directory)?);
    }
    if let Some(file) = &settings.authorities {
        let own = certificates(&read_own(file, LARGEST).map_err(|error| fault(file, &error))?);
        if own.is_empty() {
            let reason = "there is no certificate in it".to_owned();
            return Err(HttpProblem::Certificates { path: file.display().to_string(), reason });
        }
        found.extend(own);
    }
    Ok(found)
}

fn of_file(path: &Path) -> Result<Vec<Certificate<'static>>, HttpProblem> {
    Ok(certificates(&read_small(path, LARGEST).map_err(|error| fault(path, &error))?))
}

fn certificates(text: &[u8]) -> Vec<Certificate<'static>> {
    // Entries that are not certificates, or are damaged, are ignored; the others of the file still count.
    parse_pem(text).filter_map(certificate).collect()
}

fn fault(path: &Path, error: &io::Error) -> HttpProblem {
    HttpProblem::Certificates { path: path.display().to_string(), reason: error.to_string() }
}

fn certificate(item: Result<PemItem<'static>, ureq::Error>) -> Option<Certificate<'static>> {
    match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    }
}

fn of_directory(directory: &Path) -> Result<Vec<Certificate<'static>>, HttpProblem> {
    let fault = |error: io::Error| fault(directory, &error);
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fault)?.take(MOST_FILES) {
        let path = entry.map_err(fault)?.path();
        files.extend(path.is_file().then_some(path));
    }
    files.sort();
    // A file that cannot be read does not stop the others of the directory.
    Ok(files.iter().filter_map(|file| of_file(file).ok()).flatten().collect())
}
