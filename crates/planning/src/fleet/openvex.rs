//! The fixes of a root as OpenVEX 0.2.0. A vulnerability of packages (by URL) is fixed by a patch, present again
//! because the patch was lost, or unknown. The document is about one root: the same package on another root need not
//! have the patch.

use serde::Serialize;

use super::inventory::HostInventory;
use super::known_fixes::{
    DocumentMaker, DocumentTooLarge, FixStatus, KnownFix, StatementRoom, known_fixes, moment, text_of, urn_of,
};

const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";

const ACTION: &str = "Apply a patch for the installed version, or install a version that has the fix.";

const ACCEPTED: &str = "The loss was accepted on this root, and nothing is planned. To get the fix again, apply a patch \
                        for the installed version, or install a version that has the fix.";

const ROLE: &str = "Document Creator";

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

#[derive(Debug, Serialize)]
struct VexStatement {
    vulnerability: VexVulnerability,
    timestamp: String,
    /// Always one: some readers expect no more.
    products: [VexProduct; 1],
    status: &'static str,
    status_notes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_statement: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct VexVulnerability {
    name: String,
}

#[derive(Debug, Serialize)]
struct VexProduct {
    #[serde(rename = "@id")]
    id: String,
    identifiers: VexIdentifiers,
}

#[derive(Debug, Serialize)]
struct VexIdentifiers {
    purl: String,
}

impl VexDocument {
    /// Returns `None` if no patch states its fixes: a document needs statements.
    pub fn of(inventory: &HostInventory, maker: &DocumentMaker) -> Result<Option<Self>, DocumentTooLarge> {
        let known_at = moment(inventory.at.as_ref().unwrap_or(&maker.now));
        let known = known_fixes(inventory, &mut StatementRoom::default())?.into_iter();
        let statements: Vec<VexStatement> = known.map(|fix| VexStatement::of(fix, &known_at)).collect();
        if statements.is_empty() {
            return Ok(None);
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
        document.id = urn_of(&document);
        Ok(Some(document))
    }

    pub fn text(&self) -> String {
        text_of(self)
    }
}

impl FixStatus {
    fn word(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Lost | Self::Accepted => "affected",
            Self::Unknown => "under_investigation",
        }
    }

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
