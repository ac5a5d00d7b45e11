//! docs/threats.md: every row of its table that can be tested is tested by name, every name has its row, and the index
//! at its end is what the sources say.

mod names;
mod table;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::sources;
use crate::process::root;
use names::{Kind, Named};
use table::{Row, Tests};

const PAGE: &str = "docs/threats.md";
const CODES: &str = "docs/codes.md";

/// What the index says in place of the names of a list's entries.
const ENTRIES: &str = "(entries of a list)";

/// What stands above the generated part; everything below it is generated.
const INDEX: &str = "\n## Index\n";

/// Compares the page with the sources; with `bless`, writes its index anew first.
pub(super) fn page(broken: &mut Vec<String>, bless: bool) -> Result<()> {
    let path = root().join(PAGE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let codes = std::fs::read_to_string(root().join(CODES))
        .with_context(|| format!("cannot read {CODES}"))?;
    let mut named: Vec<Named> = Vec::new();
    for (path, text) in sources::files("rs")? {
        named.extend(names::of(&path, &text));
    }
    for (path, text) in sources::files("toml")? {
        named.extend(names::declared(&path, &text));
    }
    let (before, written) = match text.find(INDEX) {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    let generated = index(&named);
    if bless && written != generated {
        std::fs::write(&path, format!("{before}{generated}"))
            .with_context(|| format!("cannot write {PAGE}"))?;
        println!("{PAGE}: its index was written anew");
    } else if written != generated {
        broken.push(format!(
            "the index of {PAGE} is not what the sources say: run `cargo xtask check --bless`"
        ));
    }
    let rows = table::rows(before, broken);
    compare(&rows, &named, broken);
    known_codes(&rows, &table::codes(&codes), broken);
    Ok(())
}

/// Rows without their tests, and tests without their row.
fn compare(rows: &[Row], named: &[Named], broken: &mut Vec<String>) {
    let tested: BTreeSet<&str> = named.iter().map(|named| named.row.as_str()).collect();
    for row in rows {
        let has = tested.contains(row.id.as_str());
        match row.tests {
            Tests::Now if !has => broken.push(format!("{PAGE}: no test is named for {}", row.id)),
            Tests::Later | Tests::None if has => broken.push(format!(
                "{PAGE}: {} has tests, though its row says that it has none yet",
                row.id
            )),
            _ => {}
        }
    }
    for named in named {
        if !rows.iter().any(|row| row.id == named.row) {
            broken.push(format!(
                "{}: {} names {}, which {PAGE} does not have",
                named.path, named.name, named.row
            ));
        }
    }
}

/// Codes that no table of codes has.
fn known_codes(rows: &[Row], known: &BTreeSet<String>, broken: &mut Vec<String>) {
    for row in rows {
        for code in row.codes.iter().filter(|code| !known.contains(*code)) {
            broken.push(format!("{PAGE}: {} names {code}, which is no code", row.id));
        }
    }
}

/// The generated part of the page.
fn index(named: &[Named]) -> String {
    let lines: BTreeSet<String> = named
        .iter()
        .map(|named| {
            // Lists of cases are long, and grow.
            let name = match named.kind {
                Kind::Function => &named.name,
                Kind::Entry => ENTRIES,
            };
            format!("{} {} {name}", named.row, named.path)
        })
        .collect();
    let mut index = format!(
        "{INDEX}\nMade by `cargo xtask check --bless` from the names of the tests: row, source, name.\n\n```text\n"
    );
    for line in lines {
        let _infallible = writeln!(index, "{line}");
    }
    index.push_str("```\n");
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, tests: Tests) -> Row {
        Row {
            id: id.to_owned(),
            tests,
            codes: Vec::new(),
        }
    }

    fn named(row: &str) -> Named {
        Named {
            row: row.to_owned(),
            path: "a/b.rs".to_owned(),
            name: format!("{}_it_holds", row.to_lowercase()),
            kind: Kind::Function,
        }
    }

    fn complaints(rows: &[Row], named: &[Named]) -> Vec<String> {
        let mut broken = Vec::new();
        compare(rows, named, &mut broken);
        broken
    }

    #[test]
    fn rows_with_their_tests_are_in_order() {
        let rows = [
            row("TA01", Tests::Now),
            row("TA02", Tests::Later),
            row("TA03", Tests::None),
        ];
        assert_eq!(complaints(&rows, &[named("TA01")]), Vec::<String>::new());
    }

    #[test]
    fn a_row_that_must_have_a_test_has_one() {
        let broken = complaints(&[row("TA01", Tests::Now)], &[]);
        assert_eq!(broken, ["docs/threats.md: no test is named for TA01"]);
    }

    #[test]
    fn a_test_has_its_row() {
        let broken = complaints(&[], &[named("TA99")]);
        assert_eq!(
            broken,
            ["a/b.rs: ta99_it_holds names TA99, which docs/threats.md does not have"]
        );
    }

    #[test]
    fn a_row_does_not_say_later_when_there_are_tests() {
        for tests in [Tests::Later, Tests::None] {
            let broken = complaints(&[row("TF01", tests)], &[named("TF01")]);
            assert_eq!(broken.len(), 1, "{broken:?}");
            assert!(broken[0].contains("TF01 has tests"), "{broken:?}");
        }
    }

    #[test]
    fn a_code_is_one_of_the_table() {
        let mut bad = row("TA01", Tests::Now);
        bad.codes = vec!["malformed".to_owned(), "mal-formed".to_owned()];
        let mut broken = Vec::new();
        known_codes(
            &[bad],
            &BTreeSet::from(["malformed".to_owned()]),
            &mut broken,
        );
        assert_eq!(
            broken,
            ["docs/threats.md: TA01 names mal-formed, which is no code"]
        );
    }

    #[test]
    fn the_index_is_sorted_and_says_nothing_twice() {
        let mut entry = named("TA01");
        entry.kind = Kind::Entry;
        let text = index(&[named("TB01"), entry, named("TA01"), named("TB01")]);
        assert!(text.starts_with(INDEX));
        assert!(
            text.ends_with(
                "```text\nTA01 a/b.rs (entries of a list)\nTA01 a/b.rs ta01_it_holds\nTB01 a/b.rs tb01_it_holds\n```\n"
            ),
            "{text}"
        );
    }
}
