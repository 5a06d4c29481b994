//! The frame of every page: its style, its script, and a policy that allows only these.

use base64ct::{Base64, Encoding as _};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use patchadm_inputs::sign::sha256;
use patchadm_svr4::package::control::visible;

use super::section::facts;

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

/// Red, green, blue.
type Colour = [u8; 3];

/// Every text has a contrast of at least 4.5:1 to its background.
struct Palette {
    /// Background of everything.
    ground: Colour,
    /// Background of rows, boxes and table heads.
    raised: Colour,
    text: Colour,
    /// Less important text.
    quiet: Colour,
    /// Lines between and around.
    line: Colour,
    link: Colour,
    missing: Colour,
    /// Security patches, and withdrawn ones.
    warning: Colour,
    /// A state as it should be.
    fine: Colour,
}

const LIGHT: Palette = Palette {
    ground: [0xff, 0xff, 0xff],
    raised: [0xf2, 0xf4, 0xf7],
    text: [0x1b, 0x1f, 0x24],
    quiet: [0x52, 0x5a, 0x66],
    line: [0xc6, 0xcc, 0xd4],
    link: [0x0b, 0x57, 0xa6],
    missing: [0x8a, 0x4b, 0x00],
    warning: [0xa8, 0x1c, 0x1c],
    fine: [0x1c, 0x69, 0x2f],
};

const DARK: Palette = Palette {
    ground: [0x14, 0x17, 0x1b],
    raised: [0x20, 0x25, 0x2b],
    text: [0xe6, 0xe9, 0xed],
    quiet: [0xa8, 0xb1, 0xbc],
    line: [0x46, 0x4f, 0x5a],
    link: [0x8a, 0xbf, 0xff],
    missing: [0xf0, 0xb4, 0x5a],
    warning: [0xff, 0x95, 0x8c],
    fine: [0x7f, 0xd1, 0x93],
};

impl Palette {
    /// As variables of a style sheet.
    fn variables(&self) -> String {
        let named = [
            ("ground", self.ground),
            ("raised", self.raised),
            ("text", self.text),
            ("quiet", self.quiet),
            ("line", self.line),
            ("link", self.link),
            ("missing", self.missing),
            ("warning", self.warning),
            ("fine", self.fine),
        ];
        let variables = named.map(|(name, [r, g, b])| format!("--{name}:#{r:02x}{g:02x}{b:02x};"));
        variables.concat()
    }
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

    /// Relative luminance by the Web Content Accessibility Guidelines.
    fn luminance(colour: Colour) -> f64 {
        let part = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let [r, g, b] = colour.map(part);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(one: Colour, other: Colour) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn every_text_can_be_read_on_what_it_stands_on() {
        assert!((contrast([0, 0, 0], [255, 255, 255]) - 21.0).abs() < 0.01);
        for palette in [LIGHT, DARK] {
            for ground in [palette.ground, palette.raised] {
                for text in [
                    palette.text,
                    palette.quiet,
                    palette.link,
                    palette.missing,
                    palette.warning,
                    palette.fine,
                ] {
                    let found = contrast(text, ground);
                    assert!(found >= 4.5, "{text:?} on {ground:?}: {found:.2}");
                }
            }
        }
    }
}
