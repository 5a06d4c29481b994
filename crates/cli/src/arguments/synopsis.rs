/// The width of the label before the first line, in columns.
const LABEL: usize = "usage: ".len();

const INDENT: usize = 4;

/// Folds a synopsis into lines of at most `width` columns, the label included. Brackets stay together.
pub fn folded_synopsis(usage: &str, width: usize) -> String {
    let mut lines = Vec::new();
    for form in forms(usage) {
        let mut line = String::new();
        for piece in pieces(&form) {
            if !line.is_empty() && LABEL + line.len() + 1 + piece.len() > width {
                lines.push(std::mem::replace(&mut line, " ".repeat(INDENT)));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(piece);
        }
        lines.push(line);
    }
    lines.join(&format!("\n{}", " ".repeat(LABEL)))
}

/// Returns the ways to call the command; a line that begins with a blank continues the one before.
fn forms(usage: &str) -> Vec<String> {
    let mut forms: Vec<String> = Vec::new();
    for line in usage.lines() {
        match forms.last_mut().filter(|_| line.starts_with(' ')) {
            Some(form) => {
                form.push(' ');
                form.push_str(line.trim_start());
            }
            None => forms.push(line.to_owned()),
        }
    }
    forms
}

/// Returns the words of a form; a part in brackets is one word.
fn pieces(form: &str) -> Vec<&str> {
    let (mut pieces, mut depth, mut begin) = (Vec::new(), 0usize, 0);
    for (at, letter) in form.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => {
                pieces.push(&form[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&form[begin..]);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synopsis_is_folded_between_its_brackets() {
        let usage = "pkgadd [-n] [-a admin]\n    [-d device] [pkginst...]\npkgadd -s spool";
        assert_eq!(
            folded_synopsis(usage, 100),
            "pkgadd [-n] [-a admin] [-d device] [pkginst...]\n       pkgadd -s spool"
        );
        assert_eq!(
            folded_synopsis(usage, 32),
            "pkgadd [-n] [-a admin]\n           [-d device]\n           [pkginst...]\n       pkgadd -s spool"
        );
    }
}
