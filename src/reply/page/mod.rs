//! The third form of an answer: a page for a browser, one file that requests nothing else.
//!
//! Its policy allows its own style and script by their digests and nothing else: no request, no image, no form. All its
//! information is there without the script. Texts of strangers are always shown as text.

mod content;
mod graph;
mod layout;
mod palette;
mod references;
mod section;
mod visible_text;

pub(crate) use content::{Page, PagePatch, PageSection, PatchState};

use base64ct::{Base64, Encoding as _};
use maud::{DOCTYPE, PreEscaped, html};

use palette::{DARK, LIGHT};
use patchadm_inputs::sign::sha256;
use section::{SectionView, facts};
use visible_text::visible;

/// The style, apart from the colours.
const STYLE: &str = include_str!("page.css");

/// The script, which sorts and filters tables.
const SCRIPT: &str = include_str!("page.js");

/// Formats a page as one HTML document.
pub(crate) fn html_of(page: &Page) -> String {
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
                title { (visible(&page.title)) }
                style { (PreEscaped(&style)) }
            }
            body {
                a.skip href="#main" { "To the patches" }
                header {
                    h1 { (visible(&page.title)) }
                    (facts(&page.facts))
                }
                main id="main" {
                    @for (number, section) in page.sections.iter().enumerate() {
                        (SectionView::new(number, section).markup())
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

/// Returns the permissions of the page: to show its own style and run its own script.
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
    fn texts_of_strangers_are_text_wherever_they_stand() {
        let hostile = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\0";
        let patch = PagePatch {
            base: hostile.to_owned(),
            synopsis: hostile.to_owned(),
            installed: Some(hostile.to_owned()),
            packages: vec![hostile.to_owned()],
            requires: vec![format!("{hostile}-01")],
            date: Some(hostile.to_owned()),
            ..PagePatch::default()
        };
        let section = PageSection {
            heading: hostile.to_owned(),
            facts: vec![("Root".to_owned(), hostile.to_owned())],
            patches: vec![patch],
            notes: vec![hostile.to_owned()],
        };
        let page = html_of(&Page { title: hostile.to_owned(), sections: vec![section], ..Page::default() });
        assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
        assert!(!page.contains("<img") && !page.contains('\0') && !page.contains('\u{202e}'));
        assert!(page.contains(r"\u{202e}\u{0}"));
    }

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
