//! What a verb prints: data to standard output, messages to standard error.
//!
//! Text that came out of a file (names in certificates and statements) is escaped before it reaches a terminal, so
//! that no signer can move the cursor, recolour a verdict or reverse the reading direction of a line.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use crate::shared::failure::Failure;

/// Standard output of one verb, held back until the verb has ended.
pub(crate) struct Output {
    text: String,
    colour: bool,
}

/// The colours in use; each has one meaning.
#[derive(Clone, Copy)]
pub(crate) enum Paint {
    Bad,
    Dim,
    Good,
    Strong,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self {
            text: String::new(),
            colour: colour_wanted(io::stdout().is_terminal()),
        }
    }

    /// Adds a line of text, escaped.
    pub(crate) fn line(&mut self, text: &str) {
        self.text.push_str(&printable(text));
        self.text.push('\n');
    }

    /// Adds a line that begins with a coloured word.
    pub(crate) fn painted(&mut self, paint: Paint, word: &str, rest: &str) {
        self.text.push_str(&painted(self.colour, paint, word));
        self.text.push_str(&printable(rest));
        self.text.push('\n');
    }

    /// Adds `label: value`, labels in one column; without a label, one more value of the line above.
    pub(crate) fn field(&mut self, label: &str, value: &str) {
        let label = if label.is_empty() {
            String::new()
        } else {
            format!("{label}:")
        };
        let value = printable(value);
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "  {label:<20}{value}");
    }

    /// Adds text as it is: made by this program, or meant for a file (PEM, a shell script).
    pub(crate) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds a JSON document.
    pub(crate) fn json(&mut self, value: &serde_json::Value) {
        // The alternate form is indented; JSON escapes control characters itself.
        let _ = writeln!(self.text, "{value:#}");
    }

    /// Writes everything. A reader that went away (`| head`) is no failure of ours.
    pub(crate) fn flush(self) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout
            .write_all(self.text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::usage(
                anyhow::Error::new(error).context("cannot write to standard output"),
            )),
            _ => Ok(()),
        }
    }
}

/// Says something on standard error. If nobody listens there, there is nobody left to tell.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// Says something on standard error that begins with a coloured word.
pub(crate) fn say_painted(paint: Paint, word: &str, rest: &str) {
    let word = painted(colour_wanted(io::stderr().is_terminal()), paint, word);
    let _ = writeln!(io::stderr(), "{word}{}", printable(rest));
}

/// Colour only for a terminal, and never where `NO_COLOR` is set and not empty (no-color.org).
fn colour_wanted(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn painted(colour: bool, paint: Paint, word: &str) -> String {
    let word = printable(word);
    if !colour {
        return word;
    }
    let sequence = match paint {
        Paint::Bad => "1;31",
        Paint::Dim => "2",
        Paint::Good => "32",
        Paint::Strong => "1",
    };
    format!("\u{1b}[{sequence}m{word}\u{1b}[0m")
}

/// `text` with control characters and direction overrides written as escapes; line ends stay.
fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}'
        );
        if (character.is_control() && character != '\n') || turns {
            result.extend(character.escape_unicode());
        } else {
            result.push(character);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn terminal_sequences_and_direction_overrides_are_escaped() {
        assert_eq!(
            printable("a\u{1b}[32mok\r\u{202e}b\nc\u{9b}"),
            "a\\u{1b}[32mok\\u{d}\\u{202e}b\nc\\u{9b}"
        );
    }
}
