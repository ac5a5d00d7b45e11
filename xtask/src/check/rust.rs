//! Rust sources cut into the pieces that the rules look at: words, literals, comments and marks.
//!
//! No more than that: what the compiler accepts is cut rightly, and nothing is judged.

/// One piece of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, an identifier or a number.
    Word(&'a str),
    /// What stands between the quotation marks of a string, escapes as they are written.
    Literal(&'a str),
    /// A comment with its slashes.
    Comment(&'a str),
    /// Any other character that is no white space.
    Mark(char),
}

/// The pieces of `text`, in order.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            tokens.push(Token::Comment(&rest[..end]));
            end
        } else if rest.starts_with("/*") {
            let end = block_comment(rest);
            tokens.push(Token::Comment(&rest[..end]));
            end
        } else if let Some((open, close)) = string(rest) {
            tokens.push(Token::Literal(&rest[open..close.min(rest.len())]));
            // The quotation mark, and as many hashes as a raw string has.
            (close + hashes(rest) + 1).min(rest.len())
        } else if c == '\'' {
            character(rest)
        } else if c.is_alphanumeric() || c == '_' {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..end]));
            end
        } else {
            if !c.is_whitespace() {
                tokens.push(Token::Mark(c));
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the block comment at the start of `text`; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at.min(text.len())
}

/// Where the content of the string literal at the start of `text` begins and ends, if there is one.
fn string(text: &str) -> Option<(usize, usize)> {
    let prefix = prefix(text);
    let hashes = hashes(text);
    let open = prefix + hashes;
    let content = text.get(open..)?.strip_prefix('"')?;
    let open = open + 1;
    let length = if text[..prefix].contains('r') {
        content.find(&format!("\"{}", "#".repeat(hashes)))
    } else {
        let mut escaped = false;
        content.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })
    };
    Some((open, open + length.unwrap_or(content.len())))
}

/// The length of the letters before a string's first hash or quotation mark.
fn prefix(text: &str) -> usize {
    ["br", "cr", "r", "b", "c"]
        .into_iter()
        .find(|prefix| {
            text.strip_prefix(prefix)
                .is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
        })
        .map_or(0, str::len)
}

/// How many hashes stand before a raw string's quotation mark.
fn hashes(text: &str) -> usize {
    let prefix = prefix(text);
    if !text[..prefix].contains('r') {
        return 0;
    }
    let rest = &text[prefix..];
    rest.len() - rest.trim_start_matches('#').len()
}

/// The length of the character literal at the start of `text`, or of the mark of a lifetime.
fn character(text: &str) -> usize {
    let mut rest = text.char_indices().skip(1);
    match (rest.next(), rest.next()) {
        (Some((_, '\\')), Some((escaped, c))) => {
            let after = escaped + c.len_utf8();
            text[after..]
                .find('\'')
                .map_or(text.len(), |end| after + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Token, tokens};

    fn words(text: &str) -> Vec<&str> {
        tokens(text)
            .into_iter()
            .filter_map(|token| match token {
                Token::Word(word) => Some(word),
                _ => None,
            })
            .collect()
    }

    fn literals(text: &str) -> Vec<&str> {
        tokens(text)
            .into_iter()
            .filter_map(|token| match token {
                Token::Literal(literal) => Some(literal),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn comments_and_strings_are_no_words() {
        assert_eq!(
            words("let a = \"one\"; // two\n/// three\n/* four /* five */ six */ fn f() {}"),
            ["let", "a", "fn", "f"]
        );
        assert_eq!(
            words("let a = \"two\nlines\"; let b = r#\" \"three\" \"#;"),
            ["let", "a", "let", "b"]
        );
    }

    #[test]
    fn words_after_a_string_are_words() {
        assert_eq!(words("f(\"a \\\" // b\"); g()"), ["f", "g"]);
        assert_eq!(words("f(\"a \\\\\"); g()"), ["f", "g"]);
        assert_eq!(words("f(r#\" \" \"#); g()"), ["f", "g"]);
        assert_eq!(words("f(r\"\\\"); g()"), ["f", "g"]);
        assert_eq!(words("f(b\"\\\"\"); g()"), ["f", "g"]);
    }

    #[test]
    fn characters_begin_no_string_and_lifetimes_no_character() {
        assert_eq!(
            words("f('\"'); g('\\''); h('\\u{22}', 'x')"),
            ["f", "g", "h"]
        );
        assert_eq!(
            words("fn f<'a>(b: &'a str) {}"),
            ["fn", "f", "a", "b", "a", "str"]
        );
        assert_eq!(words("f('ä'); g('/'); h"), ["f", "g", "h"]);
    }

    #[test]
    fn literals_are_given_without_their_marks() {
        assert_eq!(
            literals("f(\"one\", b\"two\", r#\"th\"ree\"#, br\"four\", \"\"); // \"five\""),
            ["one", "two", "th\"ree", "four", ""]
        );
    }

    #[test]
    fn comments_keep_their_slashes() {
        assert_eq!(
            tokens("/// a\nx /* b */"),
            [
                Token::Comment("/// a"),
                Token::Word("x"),
                Token::Comment("/* b */")
            ]
        );
    }
}
