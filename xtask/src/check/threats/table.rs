//! The table of docs/threats.md, as far as it can be compared with anything.
//!
//! A row is `| id | case | what must happen | tests |`. Its last column is one of: `yes`; `yes; later: PART`, when the
//! part will bring more; `later: PART`; `none: REASON`.

use std::collections::BTreeSet;

/// What will bring the rows that cannot be tested yet.
const PARTS: &[&str] = &[
    "factory and authority",
    "gateway",
    "hardware keys",
    "packages",
    "second format version",
];

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `TA01`.
    pub(super) id: String,
    /// What its last column says.
    pub(super) tests: Tests,
    /// The codes that its third column names.
    pub(super) codes: Vec<String>,
}

/// What the last column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tests {
    /// There are tests.
    Now,
    /// A part that is not there yet brings them.
    Later,
    /// There is nothing to test.
    None,
}

/// The rows of the page. What is wrong with them is added to `broken`.
pub(super) fn rows(page: &str, broken: &mut Vec<String>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in page.lines() {
        let Some(cells) = cells(line) else { continue };
        let Some(id) = cells.first().filter(|cell| is_id(cell)) else {
            continue;
        };
        let [_, case, outcome, tests] = cells.as_slice() else {
            broken.push(format!("{}: {id} does not have four columns", super::PAGE));
            continue;
        };
        if case.is_empty() || outcome.is_empty() {
            broken.push(format!("{}: {id} has an empty column", super::PAGE));
        }
        let Some(tests) = state(tests) else {
            broken.push(format!(
                "{}: the last column of {id} says {tests:?}, which is none of the forms that it may have",
                super::PAGE
            ));
            continue;
        };
        if rows.last().is_some_and(|last| last.id.as_str() >= *id) {
            broken.push(format!(
                "{}: {id} stands twice or out of order",
                super::PAGE
            ));
        }
        rows.push(Row {
            id: (*id).to_owned(),
            tests,
            codes: in_backticks(outcome),
        });
    }
    if rows.is_empty() {
        broken.push(format!("{} has no rows", super::PAGE));
    }
    rows
}

/// The codes of docs/codes.md: the second column of its table.
pub(super) fn codes(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(cells)
        .filter_map(|cells| in_backticks(cells.get(1)?).pop())
        .collect()
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn is_id(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [b'T', b'A'..=b'I', b'0'..=b'9', b'0'..=b'9']
    )
}

fn state(cell: &str) -> Option<Tests> {
    if cell == "yes" {
        return Some(Tests::Now);
    }
    if let Some(reason) = cell.strip_prefix("none: ") {
        return (!reason.is_empty()).then_some(Tests::None);
    }
    let (now, later) = match cell.strip_prefix("yes; ") {
        Some(later) => (Tests::Now, later),
        None => (Tests::Later, cell),
    };
    let part = later.strip_prefix("later: ")?;
    PARTS.contains(&part).then_some(now)
}

/// The words in backticks that could be codes: lower-case letters and hyphens.
fn in_backticks(text: &str) -> Vec<String> {
    let is_code = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(is_code)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Tests, codes, rows};

    fn states(page: &str) -> (Vec<(String, Tests)>, usize) {
        let mut broken = Vec::new();
        let rows = rows(page, &mut broken)
            .into_iter()
            .map(|row| (row.id, row.tests))
            .collect();
        (rows, broken.len())
    }

    #[test]
    fn the_last_column_says_what_there_is() {
        let (rows, broken) = states(
            "| id | case | what must happen | tests |\n|---|---|---|---|\n\
             | TA01 | a | b | yes |\n| TA02 | a | b | later: gateway |\n\
             | TA03 | a | b | yes; later: hardware keys |\n| TA04 | a | b | none: there is none |\n",
        );
        assert_eq!(broken, 0);
        let expected = [
            ("TA01", Tests::Now),
            ("TA02", Tests::Later),
            ("TA03", Tests::Now),
            ("TA04", Tests::None),
        ];
        assert_eq!(rows, expected.map(|(id, tests)| (id.to_owned(), tests)));
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said() {
        for page in [
            "",
            "| TA01 | a | b |\n",
            "| TA01 | a | b | yes | c |\n",
            "| TA01 | | b | yes |\n",
            "| TA01 | a | b | |\n",
            "| TA01 | a | b | soon |\n",
            "| TA01 | a | b | later: someday |\n",
            "| TA01 | a | b | none: |\n",
            "| TA01 | a | b | yes |\n| TA01 | a | b | yes |\n",
            "| TA02 | a | b | yes |\n| TA01 | a | b | yes |\n",
        ] {
            assert_ne!(states(page).1, 0, "{page}");
        }
    }

    #[test]
    fn codes_are_what_stands_in_backticks() {
        let mut broken = Vec::new();
        let page = "| TA01 | `not` | `digest-mismatch`, `--crl`, `limit-exceeded` | yes |\n";
        assert_eq!(
            rows(page, &mut broken)[0].codes,
            ["digest-mismatch", "limit-exceeded"]
        );
        let table = codes("| exit | code |\n| 110 | `signature-missing` | `a-b` |\n");
        assert_eq!(table.into_iter().collect::<Vec<_>>(), ["signature-missing"]);
    }
}
