//! Which tests are named for which rows: `ta01_no_signature_section` for TA01, `tc04_tc05_an_issuer_that_is_no_ca` for
//! two.
//!
//! A name counts where something runs under it: a function under `#[test]` (of tokio and proptest too) that is not
//! ignored, a function in the code of a documentation test, a whole string literal in a test's source, by which a
//! list of cases names its entries, or the `name` of a case declared in TOML. Comments, prose and parts of strings
//! count for nothing.

use std::path::Path;

use crate::check::rust::{Token, tokens};

/// One test for one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The row's id.
    pub(super) row: String,
    /// The source, from the repository's root.
    pub(super) path: String,
    /// The test's name.
    pub(super) name: String,
    /// How the name stands there.
    pub(super) kind: Kind,
}

/// How a name stands in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As a function's.
    Function,
    /// As that of an entry in a list of cases.
    Entry,
}

/// The tests of one source.
pub(super) fn of(path: &Path, text: &str) -> Vec<Named> {
    let mut functions = Vec::new();
    test_functions(text, &mut functions);
    documentation_tests(text, &mut functions);
    let functions = functions.into_iter().map(|name| (name, Kind::Function));
    let entries = entries(path, text).into_iter();
    for_rows(path, functions.chain(entries))
}

/// The names that begin with a row, once for each of their rows.
fn for_rows(path: &Path, names: impl Iterator<Item = (String, Kind)>) -> Vec<Named> {
    let path = path.display().to_string();
    names
        .flat_map(|(name, kind)| {
            let (path, rows) = (path.clone(), rows(&name));
            rows.into_iter().map(move |row| Named {
                row,
                path: path.clone(),
                name: name.clone(),
                kind,
            })
        })
        .collect()
}

/// The cases that a file in TOML declares.
pub(super) fn declared(path: &Path, text: &str) -> Vec<Named> {
    let name = |line: &str| {
        let name = line.strip_prefix("name = \"")?.strip_suffix('"')?;
        Some((name.to_owned(), Kind::Entry))
    };
    for_rows(path, text.lines().filter_map(name))
}

/// The string literals of a test's source. Elsewhere a string may be a name for any purpose.
fn entries(path: &Path, text: &str) -> Vec<(String, Kind)> {
    if !path.components().any(|part| part.as_os_str() == "tests") {
        return Vec::new();
    }
    let literal = |token| match token {
        Token::Literal(literal) => Some((literal.to_owned(), Kind::Entry)),
        _ => None,
    };
    tokens(text).into_iter().filter_map(literal).collect()
}

/// The rows that a name begins with, and those named between its words; none, if it does not begin with one.
fn rows(name: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words: Vec<&str> = name.split('_').collect();
    let begins = words.first().is_some_and(|word| is_row(word));
    if !begins || !name.chars().all(is_name) || words.iter().all(|word| is_row(word)) {
        return Vec::new();
    }
    words
        .into_iter()
        .filter(|word| is_row(word))
        .map(str::to_uppercase)
        .collect()
}

/// Whether this is the id of a row, in lower case.
fn is_row(word: &str) -> bool {
    matches!(
        word.as_bytes(),
        [b't', b'a'..=b'i', b'0'..=b'9', b'0'..=b'9']
    )
}

/// The functions under a test attribute.
fn test_functions(text: &str, names: &mut Vec<String>) {
    let code: Vec<Token<'_>> = tokens(text)
        .into_iter()
        .filter(|token| !matches!(token, Token::Comment(_)))
        .collect();
    let (mut is_test, mut is_ignored) = (false, false);
    let mut at = 0;
    while let Some(token) = code.get(at) {
        at += 1;
        match token {
            Token::Mark('#') if code.get(at) == Some(&Token::Mark('[')) => {
                let attribute = attribute(&code[at..]);
                at += attribute.length;
                is_test |= attribute.path == Some("test");
                is_ignored |= attribute.path == Some("ignore");
            }
            Token::Word("fn") => {
                if let (true, false, Some(Token::Word(name))) = (is_test, is_ignored, code.get(at))
                {
                    names.push((*name).to_owned());
                }
                (is_test, is_ignored) = (false, false);
            }
            Token::Mark('{' | '}' | ';') => (is_test, is_ignored) = (false, false),
            _ => {}
        }
    }
}

struct Attribute<'a> {
    /// The last word of its path: `test` of `#[tokio::test(flavor = "current_thread")]`.
    path: Option<&'a str>,
    /// How many pieces it takes, from `[` to `]`.
    length: usize,
}

fn attribute<'a>(code: &[Token<'a>]) -> Attribute<'a> {
    let mut depth = 0_usize;
    let mut path = None;
    let mut in_path = true;
    for (at, token) in code.iter().enumerate() {
        match token {
            Token::Mark('[' | '(') => {
                in_path &= depth == 0 && *token == Token::Mark('[');
                depth += 1;
            }
            Token::Mark(']' | ')') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Attribute {
                        path,
                        length: at + 1,
                    };
                }
            }
            Token::Mark(':') => {}
            Token::Word(word) if in_path => path = Some(word),
            _ => in_path = false,
        }
    }
    Attribute {
        path,
        length: code.len(),
    }
}

/// The functions in the code of documentation tests that are run, or must not compile.
fn documentation_tests(text: &str, names: &mut Vec<String>) {
    let mut code: Option<(bool, String)> = None;
    for token in tokens(text) {
        let Token::Comment(comment) = token else {
            code = None;
            continue;
        };
        let Some(line) = ["///", "//!"]
            .iter()
            .find_map(|slashes| comment.strip_prefix(slashes))
        else {
            code = None;
            continue;
        };
        let line = line.trim();
        code = match (line.strip_prefix("```"), code) {
            (Some(info), None) => Some((is_run(info), String::new())),
            (Some(_), Some((true, code))) => {
                defined(&code, names);
                None
            }
            (Some(_), Some((false, _))) => None,
            (None, Some((run, mut code))) => {
                code.push_str(line.strip_prefix("# ").unwrap_or(line));
                code.push('\n');
                Some((run, code))
            }
            (None, None) => None,
        };
    }
}

/// Whether rustdoc runs a block with these words, or demands that it does not compile.
fn is_run(info: &str) -> bool {
    info.split([',', ' ']).all(|word| {
        matches!(word, "" | "rust" | "should_panic" | "compile_fail")
            || word.starts_with("edition")
            || word
                .strip_prefix('E')
                .is_some_and(|number| number.parse::<u32>().is_ok())
    })
}

/// The functions that a piece of code defines.
fn defined(code: &str, names: &mut Vec<String>) {
    let tokens = tokens(code);
    names.extend(tokens.windows(2).filter_map(|pair| match pair {
        [Token::Word("fn"), Token::Word(name)] => Some((*name).to_owned()),
        _ => None,
    }));
}

#[cfg(test)]
mod tests {
    use super::{Kind, declared, of, rows};
    use std::path::Path;

    fn found(path: &str, text: &str) -> Vec<String> {
        of(Path::new(path), text)
            .into_iter()
            .map(|named| format!("{} {}", named.row, named.name))
            .collect()
    }

    #[test]
    fn names_begin_with_their_rows() {
        assert_eq!(rows("ta01_no_section"), ["TA01"]);
        assert_eq!(rows("tc04_tc05_no_ca"), ["TC04", "TC05"]);
        assert_eq!(rows("ta11_cut_and_ta24_left_over"), ["TA11", "TA24"]);
        for other in [
            "ta01",
            "ta01_ta02",
            "ta1_a",
            "ta001_a",
            "tj01_a",
            "table_01",
            "the_ta01_case",
            "TA01_a",
            "ta01_a.wasm",
            "ta01_{}",
        ] {
            assert_eq!(rows(other), Vec::<String>::new(), "{other}");
        }
    }

    #[test]
    fn functions_under_test_attributes_count() {
        let text = r#"
            #[test] fn ta01_a() {}
            #[tokio::test(flavor = "current_thread")] pub async fn ta02_b() {}
            proptest! { #![proptest_config(config())] #[test] fn ta03_c(x in any()) {} }
            #[test] #[should_panic(expected = "it")] fn ta04_d() {}
        "#;
        assert_eq!(
            found("src/a.rs", text),
            ["TA01 ta01_a", "TA02 ta02_b", "TA03 ta03_c", "TA04 ta04_d"]
        );
    }

    #[test]
    fn what_does_not_run_does_not_count() {
        let text = r#"
            // #[test] fn ta01_a() {}
            /// #[test] fn ta02_b() {}
            /* #[test] fn ta03_c() {} */
            fn ta04_d() {}
            #[test] #[ignore = "takes an hour"] fn ta05_e() {}
            #[ignore] #[test] fn ta06_f() {}
            #[cfg(test)] fn ta07_g() {}
            #[test] mod a { fn ta08_h() {} }
            const TEXT: &str = "ta09_i #[test] fn ta10_j() {}";
        "#;
        assert_eq!(found("src/a.rs", text), Vec::<String>::new());
        assert_eq!(found("tests/a.rs", text), Vec::<String>::new());
    }

    #[test]
    fn whole_literals_count_in_the_sources_of_tests() {
        let text = r#"const CASES: &[Case] = &[case("ta01_a", one), case("ta02_b.wasm", two)]; // "ta03_c""#;
        assert_eq!(found("tests/corpus/attacks.rs", text), ["TA01 ta01_a"]);
        let named = of(Path::new("tests/corpus/attacks.rs"), text);
        assert_eq!(named[0].kind, Kind::Entry);
        assert_eq!(found("src/attacks.rs", text), Vec::<String>::new());
    }

    #[test]
    fn declared_cases_count() {
        let text = "# name = \"ta01_a\"\n[[case]]\nname = \"ta02_b\"\nbecause = \"ta03_c\"\n";
        let named = declared(Path::new("tests/pki/times.toml"), text);
        assert_eq!(named.len(), 1, "{named:?}");
        assert_eq!(
            (named[0].row.as_str(), named[0].kind),
            ("TA02", Kind::Entry)
        );
    }

    #[test]
    fn functions_in_documentation_tests_count() {
        let text = "\
/// Says something.
///
/// ```compile_fail,E0061
/// # fn tb14_a() {
/// sign(key);
/// # }
/// ```
///
/// ```text
/// fn tb15_b() {}
/// ```
///
/// ```ignore
/// fn tb16_c() {}
/// ```
///
/// fn tb17_d() {}
fn f() {}

//! ```
//! fn tb18_e() {}
//! ```
";
        assert_eq!(found("src/a.rs", text), ["TB14 tb14_a", "TB18 tb18_e"]);
    }
}
