//! Trusted certificates of the system or the caller, and messages about failed TLS connections.

use std::io;
use std::path::{Path, PathBuf};

use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};
use ureq::tls::{Certificate, PemItem, parse_pem};

use super::{HttpProblem, HttpSettings};
use crate::input_file::{read_own, read_small};

/// The first existing bundle counts.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/certs/ca-certificates.crt",
];

const LARGEST: u64 = 16 << 20;
const MOST_FILES: usize = 10_000;

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
    // Damaged entries and other contents are ignored.
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
    // An unreadable file does not affect the others of the directory.
    Ok(files.iter().filter_map(|file| of_file(file).ok()).flatten().collect())
}

// Naming certificates helps only with an unknown authority, not with a wrong name or an old certificate.

pub(super) fn tls_problem(error: &Error) -> HttpProblem {
    let words = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => return HttpProblem::UnknownIssuer,
        Error::InvalidCertificate(fault) => of_certificate(fault),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server supports only old protocols; TLS 1.2 or 1.3 is required".to_owned()
        }
        error => error.to_string(),
    };
    HttpProblem::Untrusted(words)
}

fn of_certificate(fault: &CertificateError) -> String {
    let words = match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate of the server has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate of the server is not valid yet, by the clock of this machine"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate of the server is for another name"
        }
        CertificateError::Revoked => "the certificate of the server is revoked",
        CertificateError::BadEncoding => "the certificate of the server is damaged",
        CertificateError::BadSignature => "the certificate of the server has a wrong signature",
        CertificateError::Other(other) => return of_other(other),
        fault => return format!("the certificate of the server is not accepted: {fault}"),
    };
    words.to_owned()
}

fn of_other(other: &OtherError) -> String {
    let text = other.to_string();
    if text == "CaUsedAsEndEntity" {
        return "the certificate of the server is a CA certificate".to_owned();
    }
    format!("the certificate of the server is not accepted: {}", words(&text))
}

/// Splits a name into words: `UnsupportedCertVersion` becomes "unsupported cert version".
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() && !words.ends_with(' ') {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    #[test]
    fn each_fault_is_told_as_what_it_is() {
        let said = |fault| tls_problem(&Error::InvalidCertificate(fault)).to_string();
        let other = |name: &str| CertificateError::Other(OtherError(Arc::new(io::Error::other(name))));
        for (fault, words) in [
            (CertificateError::UnknownIssuer, "no trusted authority issued the certificate of the server"),
            (CertificateError::Expired, "the certificate of the server has expired"),
            (
                CertificateError::NotValidYet,
                "the certificate of the server is not valid yet, by the clock of this machine",
            ),
            (CertificateError::NotValidForName, "the certificate of the server is for another name"),
            (other("CaUsedAsEndEntity"), "the certificate of the server is a CA certificate"),
            (
                other("UnsupportedCertVersion"),
                "the certificate of the server is not accepted: unsupported cert version",
            ),
        ] {
            assert_eq!(said(fault), words);
        }
        let old = Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13);
        assert!(tls_problem(&old).to_string().contains("only old protocols"));
    }
}
