//! The frame of every page: its style, its script, and a policy that allows only these.

use base64ct::{Base64, Encoding as _};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::palette::{DARK, LIGHT};
use super::section::facts;
use patchadm_inputs::sign::sha256;
use patchadm_svr4::package::control::visible;

/// Without the colours.
const STYLE: &str = include_str!("page.css");

/// Sorts and filters tables.
const SCRIPT: &str = include_str!("page.js");

/// Above the main part of a page.
pub(super) struct PageHeader<'a> {
    pub(super) title: &'a str,
    /// Names and values.
    pub(super) facts: &'a [(String, String)],
    /// Text of the link to the main part, for screen readers.
    pub(super) skip: &'a str,
}

pub(super) fn document(head: &PageHeader<'_>, main: &Markup) -> String {
    let style = style();
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy(&style));
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (visible(head.title)) }
                style { (PreEscaped(&style)) }
            }
            body {
                a.skip href="#main" { (head.skip) }
                header {
                    h1 { (visible(head.title)) }
                    (facts(head.facts))
                }
                main id="main" { (main) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

fn policy(style: &str) -> String {
    let digest = |text: &str| Base64::encode_string(&sha256(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        digest(style),
        digest(SCRIPT)
    )
}

fn style() -> String {
    format!(
        ":root{{color-scheme:light dark;{}}}@media (prefers-color-scheme:dark){{:root{{{}}}}}\n{STYLE}",
        LIGHT.variables(),
        DARK.variables()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_and_the_style_hold_nothing_that_ends_them() {
        assert!(
            !SCRIPT.contains("</")
                && !STYLE.contains("</")
                && !STYLE.contains("url(")
                && !STYLE.contains("@import")
        );
        assert!(!SCRIPT.contains("fetch") && !SCRIPT.contains("innerHTML") && !SCRIPT.contains("http"));
    }
}
