//! A source file with all its mutants in it.
//!
//! The body of each function becomes a choice between as many bodies as it has mutants, each changed in one place, and
//! the one that stands there. A function that is `const` is not so any more, since it asks which one is switched on;
//! where it must be, and where the type that a function returns is not named, its mutants are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use super::source::Mutant;

/// The variable that switches a mutant on by its number.
pub(super) const VARIABLE: &str = "COUNTERSIGN_MUTANT";

/// The variable that names a file in which the functions are noted that were called, each as its first mutant.
pub(super) const CALLED: &str = "COUNTERSIGN_CALLED";

/// What each changed package gets at the end of its `lib.rs`.
pub(super) const MODULE: &str = r#"
mod which_mutant {
    use std::{collections::BTreeSet, env, fs::File, io::Write, sync::{Mutex, OnceLock}};

    pub(crate) fn number(function: usize) -> usize {
        static NUMBER: OnceLock<Option<usize>> = OnceLock::new();
        let number = NUMBER.get_or_init(|| env::var("COUNTERSIGN_MUTANT").ok()?.parse().ok());
        number.unwrap_or_else(|| {
            note(function);
            usize::MAX
        })
    }

    fn note(function: usize) {
        static CALLED: OnceLock<Option<Mutex<(BTreeSet<usize>, File)>>> = OnceLock::new();
        let called = CALLED.get_or_init(|| {
            let path = env::var_os("COUNTERSIGN_CALLED")?;
            let file = File::options().append(true).create(true).open(path).ok()?;
            Some(Mutex::new((BTreeSet::new(), file)))
        });
        if let Some(mut called) = called.as_ref().and_then(|called| called.lock().ok()) {
            if called.0.insert(function) {
                let _ = writeln!(called.1, "{function}");
            }
        }
    }
}
"#;

/// A file that was rewritten.
pub(super) struct Rewritten {
    pub(super) text: String,
    /// Which lines of it hold the body of which mutant.
    bodies: Vec<(RangeInclusive<usize>, usize)>,
    /// Which lines hold which function with its mutants.
    functions: Vec<(RangeInclusive<usize>, Vec<usize>)>,
}

impl Rewritten {
    /// The mutants that are in it, each with what its function is noted as when it is called: its first mutant.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (usize, usize)> {
        self.functions.iter().flat_map(|(_, numbers)| {
            let first = numbers.iter().min().copied();
            numbers
                .iter()
                .copied()
                .zip(std::iter::repeat(first.unwrap_or_default()))
        })
    }

    /// Whose body, or which whole function's mutants, stand at a line, counted from 1.
    pub(super) fn at(&self, line: usize) -> Fault {
        let body = self.bodies.iter().find(|(lines, _)| lines.contains(&line));
        if let Some((_, number)) = body {
            return Fault::Body(*number);
        }
        let function = self
            .functions
            .iter()
            .find(|(lines, _)| lines.contains(&line));
        function.map_or(Fault::Elsewhere, |(_, numbers)| {
            Fault::Function(numbers.clone())
        })
    }
}

/// What a compiler's complaint is about.
pub(super) enum Fault {
    Body(usize),
    Function(Vec<usize>),
    Elsewhere,
}

/// Rewrites a file with these mutants of it, and with none of a function whose name is in `constant`.
pub(super) fn rewrite(source: &str, mutants: &[&Mutant], constant: &BTreeSet<String>) -> Rewritten {
    let mut file = Rewritten {
        text: String::with_capacity(source.len()),
        bodies: Vec::new(),
        functions: Vec::new(),
    };
    let mut done = 0;
    for (function, mutants) in functions(mutants, constant) {
        let Some(body) = body(source, &function) else {
            continue;
        };
        file.push(source, done..function.start);
        let first = file.line();
        let signature = source.get(function.start..body.start).unwrap_or_default();
        file.text
            .push_str(&signature.replacen("const fn ", "fn ", 1));
        let numbers: Vec<_> = mutants.iter().map(|mutant| mutant.number).collect();
        let noted = numbers.iter().min().copied().unwrap_or_default();
        file.text.push_str(
            &[
                "{ match crate::which_mutant::number(",
                &noted.to_string(),
                ") {\n",
            ]
            .concat(),
        );
        for mutant in &mutants {
            let line = file.line();
            file.text.push_str(&mutant.number.to_string());
            file.text.push_str(" => { ");
            file.push(source, body.start..mutant.span.start);
            file.text.push_str(&mutant.replacement);
            file.push(source, mutant.span.end..body.end);
            file.text.push_str(" }");
            file.bodies.push((line..=file.line(), mutant.number));
            file.text.push('\n');
        }
        file.text.push_str("_ => ");
        file.push(source, body.clone());
        file.text.push_str("\n} }");
        file.functions.push((first..=file.line(), numbers));
        done = body.end;
    }
    file.push(source, done..source.len());
    file
}

impl Rewritten {
    fn push(&mut self, source: &str, part: Range<usize>) {
        self.text.push_str(source.get(part).unwrap_or_default());
    }

    /// The line that is being written, counted from 1.
    fn line(&self) -> usize {
        self.text.matches('\n').count().saturating_add(1)
    }
}

/// The mutants by function, in the order of the file; those of a function within another belong to the outer one.
fn functions<'a>(
    mutants: &[&'a Mutant],
    constant: &BTreeSet<String>,
) -> Vec<(Range<usize>, Vec<&'a Mutant>)> {
    let mut found: BTreeMap<(usize, std::cmp::Reverse<usize>), Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        let Some(function) = &mutant.function else {
            continue;
        };
        if !function.opaque && !constant.contains(&function.name) {
            let place = (function.span.start, std::cmp::Reverse(function.span.end));
            found.entry(place).or_default().push(mutant);
        }
    }
    let mut outer: Vec<(Range<usize>, Vec<&Mutant>)> = Vec::new();
    for ((start, end), inner) in found {
        match outer.last_mut() {
            Some((around, mutants)) if start < around.end => mutants.extend(inner),
            _ => outer.push((start..end.0, inner)),
        }
    }
    outer
}

/// Where the body of a function stands, braces included: from the first brace after `fn` that is in no other brackets.
fn body(source: &str, function: &Range<usize>) -> Option<Range<usize>> {
    let text = source.get(function.clone())?;
    let mut depth = 0_usize;
    let mut named = false;
    let mut skip_to = 0;
    for (at, character) in text.char_indices() {
        if at < skip_to {
            continue;
        }
        let rest = text.get(at..)?;
        if rest.starts_with("//") {
            skip_to = at.checked_add(rest.find('\n')?)?;
            continue;
        }
        match character {
            '"' => skip_to = at.checked_add(rest.get(1..)?.find('"')?)?.checked_add(2)?,
            '(' | '[' => depth = depth.checked_add(1)?,
            ')' | ']' => depth = depth.checked_sub(1)?,
            '{' if depth == 0 && named => {
                return Some(function.start.checked_add(at)?..function.end);
            }
            _ if depth == 0 && rest.starts_with("fn ") => named = true,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::source::Function;
    use super::*;

    const SOURCE: &str = "/// Says {so}.\n#[doc(alias = \"{\")]\nconst fn less(a: [u8; { 2 }]) -> bool {\n    \
                          a[0] < a[1]\n}\n";

    fn mutant(number: usize, old: &str, new: &str) -> Mutant {
        let start = SOURCE.find(old).expect("it is there");
        Mutant {
            number,
            name: String::new(),
            file: String::new(),
            function: Some(Function {
                name: "less".to_owned(),
                opaque: false,
                span: 0..SOURCE.len() - 1,
            }),
            span: start..start + old.len(),
            replacement: new.to_owned(),
        }
    }

    #[test]
    fn a_function_gets_a_body_for_each_mutant_and_keeps_its_own() {
        let (first, second) = (mutant(3, "<", "=="), mutant(4, "<", ">"));
        let file = rewrite(SOURCE, &[&first, &second], &BTreeSet::new());
        assert_eq!(
            file.text,
            "/// Says {so}.\n#[doc(alias = \"{\")]\nfn less(a: [u8; { 2 }]) -> bool { match \
             crate::which_mutant::number(3) {\n3 => { {\n    a[0] == a[1]\n} }\n4 => { {\n    a[0] > a[1]\n} }\n_ => \
             {\n    a[0] < a[1]\n}\n} }\n"
        );
        assert!(matches!(file.at(5), Fault::Body(3)));
        assert!(matches!(file.at(8), Fault::Body(4)));
        assert!(matches!(file.at(11), Fault::Function(numbers) if numbers == [3, 4]));
        assert!(matches!(file.at(14), Fault::Elsewhere));
    }

    #[test]
    fn a_function_that_must_be_constant_is_left_as_it_is() {
        let constant = BTreeSet::from(["less".to_owned()]);
        let file = rewrite(SOURCE, &[&mutant(3, "<", "==")], &constant);
        assert_eq!(file.text, SOURCE);
    }
}
