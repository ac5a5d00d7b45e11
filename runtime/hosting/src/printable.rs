//! Strangers' text on a terminal.

/// The text with everything escaped that a terminal would obey or that cannot be seen.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\'' | '"' | '\\') {
            out.push(c);
        } else {
            out.extend(c.escape_debug());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn te28_what_a_terminal_would_obey_is_escaped() {
        assert_eq!(
            printable("a\u{1b}[2J\nb\u{202e}c\u{9b}"),
            "a\\u{1b}[2J\\nb\\u{202e}c\\u{9b}"
        );
        assert_eq!(
            printable("C:\\ \"quoted\" 'it' Zürich"),
            "C:\\ \"quoted\" 'it' Zürich"
        );
    }
}
