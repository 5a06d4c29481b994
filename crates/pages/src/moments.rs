//! Moments in texts of a page, which is read in any time zone.

use maud::{Markup, html};
use patchadm_cli::surroundings::{TextPiece, Zone, moments_in};
use patchadm_svr4::package::control::visible;

/// Returns an untrusted text. Recorded moments (RFC 3339) are shown to the minute, and kept to the second for programs,
/// in coordinated universal time.
pub(super) fn words(text: &str) -> Markup {
    html! {
        @for piece in moments_in(text) {
            @match piece {
                TextPiece::Words(words) => (visible(words)),
                TextPiece::Moment(moment) => {
                    time datetime=(moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()) {
                        (Zone::Utc.minute(moment)) " UTC"
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_universal_time_and_kept_to_the_second() {
        let text = words("on trial until 2026-11-27T06:52:39+05:30, <b>").into_string();
        let time = "<time datetime=\"2026-11-27T01:22:39Z\">2026-11-27 01:22 UTC</time>";
        assert_eq!(text, format!("on trial until {time}, &lt;b&gt;"));
        assert_eq!(words("").into_string(), "");
        assert_eq!(words("Nov 27 2026 \u{1b}").into_string(), r"Nov 27 2026 \u{1b}");
    }
}
