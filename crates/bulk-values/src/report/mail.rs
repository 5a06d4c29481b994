//! The report of a run as mail (RFC 5322), with ASCII headers.
//!
//! Lines end with a newline alone, as `sendmail -t` reads mail, and have at most 998 bytes.

use std::fmt::Write as _;

use super::RunReport;
use crate::journal::BuildState;

/// Bytes (RFC 5322).
const LONGEST_LINE: usize = 998;
/// Maximum length of a quoted-printable line (RFC 2045) and an encoded word (RFC 2047).
const LONGEST_ENCODED: usize = 75;
const USUAL_LINE: usize = 78;

const BEGIN: &str = "=?UTF-8?Q?";

#[derive(Clone, Copy, Debug)]
pub struct MailInput<'a> {
    pub to: &'a [String],
    pub from: &'a str,
    pub prefix: &'a str,
}

/// `text` is the body.
pub fn report_mail(report: &RunReport, text: &str, input: &MailInput<'_>) -> String {
    let mut mail = String::with_capacity(text.len() + 1024);
    put_addresses(&mut mail, "From", &[input.from.to_owned()]);
    put_addresses(&mut mail, "To", input.to);
    put_subject(&mut mail, &subject(report, input.prefix));
    if let Some(date) = mail_date(&report.ended) {
        put_header(&mut mail, "Date", &date);
    }
    put_header(&mut mail, "MIME-Version", "1.0");
    put_header(&mut mail, "Auto-Submitted", "auto-generated");
    put_header(&mut mail, "Content-Type", "text/plain; charset=UTF-8");
    let is_plain = text.is_ascii() && text.lines().all(|line| line.len() <= LONGEST_LINE);
    if is_plain {
        put_header(&mut mail, "Content-Transfer-Encoding", "7bit");
        mail.push('\n');
        mail.push_str(text);
    } else {
        put_header(&mut mail, "Content-Transfer-Encoding", "quoted-printable");
        mail.push('\n');
        put_quoted_printable(&mut mail, text);
    }
    mail
}

/// Counts successful, failed, and indirectly failed packages.
pub fn subject(report: &RunReport, prefix: &str) -> String {
    let count = |states: &[BuildState]| states.iter().map(|state| report.count(*state)).sum::<u64>();
    let ok = count(&[BuildState::Done, BuildState::UpToDate]);
    let failed = count(&[BuildState::Failed]);
    let waiting =
        count(&[BuildState::IndirectFailed, BuildState::Deferred, BuildState::Open, BuildState::Running]);
    format!("{prefix}: {ok} ok, {failed} failed, {waiting} waiting")
}

fn put_header(mail: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(mail, "{name}: {value}");
}

/// Writes a folded header of addresses. Only visible ASCII stays, because the rest could start another header.
fn put_addresses(mail: &mut String, name: &str, addresses: &[String]) {
    let plain =
        addresses.iter().map(|address| address.chars().filter(char::is_ascii_graphic).collect::<String>());
    let plain: Vec<String> =
        plain.filter(|address| !address.is_empty() && address.len() < LONGEST_LINE / 2).collect();
    let Some((first, others)) = plain.split_first() else { return };
    let mut line = format!("{name}: {first}");
    for address in others {
        line.push(',');
        if line.len() + address.len() + 2 > USUAL_LINE {
            mail.push_str(&line);
            mail.push('\n');
            line.clear();
        }
        line.push(' ');
        line.push_str(address);
    }
    mail.push_str(&line);
    mail.push('\n');
}

/// Writes short visible ASCII as it is, otherwise encoded words (RFC 2047).
fn put_subject(mail: &mut String, subject: &str) {
    let is_plain = subject.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    // Text that looks like an encoded word would be decoded.
    if is_plain && subject.len() <= LONGEST_ENCODED - "Subject: ".len() && !subject.contains("=?") {
        put_header(mail, "Subject", subject);
        return;
    }
    let mut word = BEGIN.to_owned();
    let mut begin = "Subject: ";
    for letter in subject.chars() {
        let encoded = encoded_letter(letter);
        if word.len() + encoded.len() + 2 + "Subject: ".len() > LONGEST_ENCODED {
            let _ = writeln!(mail, "{begin}{word}?=");
            begin = " ";
            BEGIN.clone_into(&mut word);
        }
        word.push_str(&encoded);
    }
    let _ = writeln!(mail, "{begin}{word}?=");
}

/// Encodes a character in Q encoding; words are only split between characters.
fn encoded_letter(letter: char) -> String {
    if letter == ' ' {
        return "_".to_owned();
    }
    if letter.is_ascii_alphanumeric() || matches!(letter, ',' | '.' | ':' | '-' | '/' | '+') {
        return letter.to_string();
    }
    let mut bytes = [0; 4];
    let bytes = letter.encode_utf8(&mut bytes).bytes();
    bytes.fold(String::new(), |encoded, byte| encoded + &format!("={byte:02X}"))
}

/// Writes lines of at most 76 characters, with trailing blanks encoded.
fn put_quoted_printable(mail: &mut String, text: &str) {
    for line in text.lines() {
        let mut length = 0;
        for (index, byte) in line.bytes().enumerate() {
            let is_last = index + 1 == line.len();
            let is_plain = byte.is_ascii_graphic() && byte != b'=' || byte == b' ' && !is_last;
            let width = if is_plain { 1 } else { 3 };
            if length + width > LONGEST_ENCODED {
                mail.push_str("=\n");
                length = 0;
            }
            length += width;
            if is_plain {
                mail.push(char::from(byte));
            } else {
                let _ = write!(mail, "={byte:02X}");
            }
        }
        mail.push('\n');
    }
}

/// Converts UTC from RFC 3339 to RFC 5322; `None` if invalid.
fn mail_date(time: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month: usize = month.parse().ok()?;
    let month = MONTHS.get(month.checked_sub(1)?)?;
    let clock = clock.split('.').next()?;
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_clock = clock.len() == 8 && clock.split(':').all(|part| part.len() == 2 && are_digits(part));
    let is_date = year.len() == 4 && day.len() == 2 && are_digits(year) && are_digits(day);
    (is_clock && is_date && parts.next().is_none()).then(|| format!("{day} {month} {year} {clock} +0000"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject_header(subject: &str) -> String {
        let mut mail = String::new();
        put_subject(&mut mail, subject);
        mail
    }

    fn quoted(text: &str) -> String {
        let mut mail = String::new();
        put_quoted_printable(&mut mail, text);
        mail
    }

    fn decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, others @ ..] = rest {
            if *first == b'=' && others[0] != b'\n' {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&others[..2]).unwrap(), 16).unwrap());
                rest = &others[2..];
            } else {
                let skipped = usize::from(*first == b'=');
                if skipped == 0 {
                    bytes.push(*first);
                }
                rest = &others[skipped..];
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_subject_is_plain_if_it_can_be_and_cannot_begin_another_header() {
        assert_eq!(subject_header("bulk: 1 ok"), "Subject: bulk: 1 ok\n");
        let header = subject_header("B\u{fc}ro\r\nBcc: x@y");
        assert_eq!(header, "Subject: =?UTF-8?Q?B=C3=BCro=0D=0ABcc:_x=40y?=\n");
        assert_eq!(subject_header("=?UTF-8?Q?a?="), "Subject: =?UTF-8?Q?=3D=3FUTF-8=3FQ=3Fa=3F=3D?=\n");
    }

    #[test]
    fn many_addresses_are_folded_and_hold_no_other_header() {
        let mut mail = String::new();
        let addresses: Vec<String> = (0..6).map(|number| format!("someone{number}@example.org")).collect();
        put_addresses(&mut mail, "To", &addresses);
        let lines: Vec<&str> = mail.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() <= 78) && lines[1].starts_with(" someone"), "{mail}");
        mail.clear();
        put_addresses(&mut mail, "To", &["a@x\nBcc: b@y".to_owned(), "\u{e9}".to_owned()]);
        assert_eq!(mail, "To: a@xBcc:b@y\n");
    }

    #[test]
    fn a_date_is_written_as_mail_has_it() {
        assert_eq!(mail_date("2026-11-26T08:05:09Z").unwrap(), "26 Nov 2026 08:05:09 +0000");
        assert_eq!(mail_date("2026-01-02T08:05:09.123Z").unwrap(), "02 Jan 2026 08:05:09 +0000");
        for wrong in
            ["", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-11-26T08:05:09+01:00", "2026-11-26TxZ"]
        {
            assert_eq!(mail_date(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn quoted_text_comes_back_and_is_short_ascii(lines in prop::collection::vec("[^\n\r]{0,120}", 0..4)) {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
            let quoted = quoted(&text);
            prop_assert!(quoted.is_ascii());
            prop_assert!(quoted.lines().all(|line| line.len() <= 76 && !line.ends_with(' ')));
            prop_assert_eq!(decoded(&quoted), text);
        }

        #[test]
        fn an_encoded_subject_comes_back(subject in "\\PC{0,60}\u{e4}") {
            let header = subject_header(&subject);
            prop_assert!(header.lines().all(|line| line.len() <= 76 && line.is_ascii()));
            let words = header.strip_prefix("Subject: ").unwrap().lines().map(|line| {
                let word = line.trim_start().strip_prefix("=?UTF-8?Q?").unwrap();
                decoded(&word.strip_suffix("?=").unwrap().replace('_', " "))
            });
            prop_assert_eq!(words.collect::<Vec<_>>().concat(), subject);
        }
    }
}
