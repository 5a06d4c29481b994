//! What the patches of a root fix, as a document that vulnerability scanners read: OpenVEX 0.2.0.
//!
//! A statement says of packages, by their URLs, that a vulnerability is fixed, with the patch and its digest as the reason;
//! that it is there again, because the patch was lost; or that this is not known. The document is about one root: a package
//! of the same version on another root need not have the patch.

use serde::Serialize;

use super::inventory::Inventory;
use super::known_fixes::{DocumentMaker, moment, uuid_of};
use super::known_fixes::{FixStatus, KnownFix, known_fixes};
use patchadm_svr4::package::control::visible_json;

/// The context of the version.
const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";

/// What whoever runs the machine should do where a fix is lost.
const ACTION: &str =
    "Apply a patch for the version that is installed, or install a version that has the fix.";

/// The same where the loss was accepted.
const ACCEPTED: &str = "The loss was accepted on this root, and nothing is planned. A patch for the version that is installed, \
                        or a version that has the fix, brings it again.";

/// What the author is to the document.
const ROLE: &str = "Document Creator";

/// An OpenVEX document.
#[derive(Debug, Serialize)]
pub struct VexDocument {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "@id")]
    id: String,
    author: String,
    role: &'static str,
    timestamp: String,
    version: u32,
    tooling: String,
    statements: Vec<VexStatement>,
}

/// A statement about a vulnerability in the packages of one URL.
#[derive(Debug, Serialize)]
struct VexStatement {
    vulnerability: VexVulnerability,
    timestamp: String,
    /// One, for there are readers that expect no more.
    products: [VexProduct; 1],
    status: &'static str,
    status_notes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_statement: Option<&'static str>,
}

/// A vulnerability.
#[derive(Debug, Serialize)]
struct VexVulnerability {
    name: String,
}

/// A package.
#[derive(Debug, Serialize)]
struct VexProduct {
    #[serde(rename = "@id")]
    id: String,
    identifiers: VexIdentifiers,
}

/// The identifiers of a package.
#[derive(Debug, Serialize)]
struct VexIdentifiers {
    purl: String,
}

impl VexDocument {
    /// Makes the document about a root; `None` where no patch says what it fixes, because a document without statements is
    /// none.
    pub fn of(inventory: &Inventory, maker: &DocumentMaker) -> Option<Self> {
        let known_at = moment(inventory.at.as_ref().unwrap_or(&maker.now));
        let known = known_fixes(inventory).into_iter();
        let statements: Vec<VexStatement> = known.map(|fix| VexStatement::of(fix, &known_at)).collect();
        if statements.is_empty() {
            return None;
        }
        let mut document = Self {
            context: CONTEXT,
            id: inventory.host(),
            author: maker.author.clone(),
            role: ROLE,
            timestamp: moment(&maker.now),
            version: 1,
            tooling: format!("patchadm {}", maker.version),
            statements,
        };
        // Strings and numbers: serialising these cannot fail.
        let content = serde_json::to_vec(&document).unwrap_or_default();
        document.id = format!("urn:uuid:{}", uuid_of(&content));
        Some(document)
    }

    /// Returns the text, with a newline at the end.
    pub fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        visible_json(&text).into_owned() + "\n"
    }
}

impl FixStatus {
    /// Returns the label of OpenVEX.
    fn word(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Lost | Self::Accepted => "affected",
            Self::Unknown => "under_investigation",
        }
    }

    /// Returns what should be done, which a statement about an affected package must say.
    fn action(self) -> Option<&'static str> {
        match self {
            Self::Lost => Some(ACTION),
            Self::Accepted => Some(ACCEPTED),
            Self::Fixed | Self::Unknown => None,
        }
    }
}

impl VexStatement {
    fn of(KnownFix { fix, url, status, reasons, .. }: KnownFix<'_>, known_at: &str) -> Self {
        Self {
            vulnerability: VexVulnerability { name: fix.to_owned() },
            timestamp: known_at.to_owned(),
            products: [VexProduct::of(url)],
            status: status.word(),
            status_notes: reasons.join("; "),
            action_statement: status.action(),
        }
    }
}

impl VexProduct {
    fn of(url: &str) -> Self {
        Self { id: url.to_owned(), identifiers: VexIdentifiers { purl: url.to_owned() } }
    }
}
