//! docs/embedding.md shows what the examples contain, and the examples are run.

/// Everything that the page may quote.
const EXAMPLES: &[&str] = &[
    include_str!("../../examples/command.rs"),
    include_str!("../../examples/embedding.rs"),
    include_str!("../../examples/plugins/editor.rs"),
    include_str!("../../examples/server/main.rs"),
];

const PAGE: &str = include_str!("../../../docs/embedding.md");

#[test]
fn every_piece_of_rust_on_the_page_stands_in_an_example() {
    let pieces = pieces(PAGE);
    assert!(pieces.len() >= 10, "the page shows {} pieces", pieces.len());
    for piece in pieces {
        let shown = lines(piece);
        let found = EXAMPLES.iter().any(|example| {
            let example = lines(example);
            example.windows(shown.len()).any(|part| part == shown)
        });
        assert!(found, "no example contains this, line by line:\n{piece}");
    }
}

/// What stands between "```rust" and "```".
fn pieces(page: &str) -> Vec<&str> {
    page.split("\n```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n```\n").next())
        .collect()
}

/// The lines without what only places them.
fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect()
}
