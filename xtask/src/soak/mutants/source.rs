//! The mutants of a package, as cargo-mutants lists them: which part of which file is replaced by what.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{capture, root};

/// One change of one file.
pub(super) struct Mutant {
    /// Its place in the list, which switches it on.
    pub(super) number: usize,
    /// What cargo-mutants calls it.
    pub(super) name: String,
    /// The file, from the repository's root.
    pub(super) file: String,
    /// The function around it, if there is one.
    pub(super) function: Option<Function>,
    /// The octets that are replaced.
    pub(super) span: Range<usize>,
    pub(super) replacement: String,
}

/// The function in which a mutant lies.
pub(super) struct Function {
    /// Its name without those of modules and types.
    pub(super) name: String,
    /// Whether callers do not know the type that it returns.
    pub(super) opaque: bool,
    /// Where it stands, its body included.
    pub(super) span: Range<usize>,
}

/// Lists the mutants of a package, or of some of its files.
pub(super) fn list(program: &Path, package: &str, files: &[&str]) -> Result<Vec<Mutant>> {
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .args(["mutants", "--list", "--json"]);
    command.args(["--package", package]);
    for file in files {
        command.args(["--file", file]);
    }
    let listed: Vec<Value> = serde_json::from_str(&capture(&mut command)?)?;
    let mut sources = BTreeMap::new();
    let read = |(number, value): (usize, &Value)| {
        one(number, value, &mut sources).with_context(|| format!("not understood: {value}"))
    };
    listed.iter().enumerate().map(read).collect()
}

fn one(number: usize, value: &Value, sources: &mut BTreeMap<String, String>) -> Result<Mutant> {
    let file = text(value, "file")?;
    let source = match sources.entry(file.clone()) {
        std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
        std::collections::btree_map::Entry::Vacant(new) => {
            new.insert(std::fs::read_to_string(root().join(&file))?)
        }
    };
    let function = match value.get("function") {
        None | Some(Value::Null) => None,
        Some(function) => {
            let path = text(function, "function_name")?;
            Some(Function {
                name: path.rsplit("::").next().unwrap_or(&path).to_owned(),
                opaque: text(function, "return_type")?.contains("impl "),
                span: range(function, source)?,
            })
        }
    };
    Ok(Mutant {
        number,
        name: text(value, "name")?,
        span: range(value, source)?,
        replacement: text(value, "replacement")?,
        function,
        file,
    })
}

fn text(value: &Value, name: &str) -> Result<String> {
    let text = value.get(name).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no text {name}"))?.to_owned())
}

/// The octets of a span that is given by lines and columns.
fn range(value: &Value, source: &str) -> Result<Range<usize>> {
    let at = |end: &str| {
        let number = |name: &str| {
            let number = value.pointer(&format!("/span/{end}/{name}"))?.as_u64()?;
            usize::try_from(number).ok()?.checked_sub(1)
        };
        offset(source, number("line")?, number("column")?)
    };
    let (start, end) = at("start").zip(at("end")).context("no span in the file")?;
    Ok(start..end)
}

/// The octet at which a column of a line begins, both counted from 0, the columns in characters.
fn offset(source: &str, line: usize, column: usize) -> Option<usize> {
    let before: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let within: usize = source
        .get(before..)?
        .chars()
        .take(column)
        .map(char::len_utf8)
        .sum();
    before.checked_add(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_counts_lines_in_octets_and_columns_in_characters() {
        let source = "eins\n§ zwei\n";
        assert_eq!(offset(source, 0, 0), Some(0));
        assert_eq!(offset(source, 1, 0), Some(5));
        assert_eq!(offset(source, 1, 2), Some(8));
    }
}
