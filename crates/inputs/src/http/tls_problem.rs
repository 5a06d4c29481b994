//! The faults of a secure connection, in the words of people: an unknown authority is another matter than a wrong name or an
//! old certificate, and only the first one is helped by naming its certificates.

use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

use super::error::HttpProblem;

/// Returns the problem of a connection that was not made.
pub(super) fn tls_problem(error: &Error) -> HttpProblem {
    let words = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => return HttpProblem::UnknownIssuer,
        Error::InvalidCertificate(fault) => of_certificate(fault),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server speaks an old protocol only, and TLS 1.2 or 1.3 is needed".to_owned()
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
        return "the certificate of the server is that of an authority".to_owned();
    }
    format!("the certificate of the server is not accepted: {}", words(&text))
}

/// Returns the name of a fault as words: `UnsupportedCertVersion` as "unsupported cert version".
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
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_fault_is_told_as_what_it_is() {
        let said = |fault| tls_problem(&Error::InvalidCertificate(fault)).to_string();
        let other = |name: &str| CertificateError::Other(OtherError(Arc::new(std::io::Error::other(name))));
        for (fault, words) in [
            (
                CertificateError::UnknownIssuer,
                "no authority that is believed issued the certificate of the server",
            ),
            (CertificateError::Expired, "the certificate of the server has expired"),
            (
                CertificateError::NotValidYet,
                "the certificate of the server is not valid yet, by the clock of this machine",
            ),
            (CertificateError::NotValidForName, "the certificate of the server is for another name"),
            (other("CaUsedAsEndEntity"), "the certificate of the server is that of an authority"),
            (
                other("UnsupportedCertVersion"),
                "the certificate of the server is not accepted: unsupported cert version",
            ),
        ] {
            assert_eq!(said(fault), words);
        }
        let old = Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13);
        assert!(tls_problem(&old).to_string().contains("an old protocol only"));
    }
}
