//! What failed tests said, read from the output of their programs, so that a long run can end with it.

use std::collections::VecDeque;

/// Lines that are kept of what a test said: the first, where it says what was wrong, and the last, where others do.
const FIRST: usize = 20;
const LAST: usize = 20;

/// The tests that failed, and the end of what each said.
#[derive(Debug, Default)]
pub(super) struct Failures {
    tests: Vec<Failure>,
    /// Whether the lines that come are about failures.
    is_among: bool,
}

#[derive(Debug)]
struct Failure {
    name: String,
    first: Vec<String>,
    last: VecDeque<String>,
}

impl Failures {
    /// Takes a line of a test program's output.
    pub(super) fn add(&mut self, line: &str) {
        if line == "failures:" {
            // Once before what they said, and once before their names.
            self.is_among = !self.is_among;
        } else if line.starts_with("test result: ") {
            self.is_among = false;
        } else if self.is_among {
            if let Some(name) = heading(line) {
                self.tests.push(Failure {
                    name: name.to_owned(),
                    first: Vec::new(),
                    last: VecDeque::new(),
                });
            } else if let Some(test) = self.tests.last_mut() {
                test.add(line);
            }
        }
    }

    /// Prints them, each under its name.
    pub(super) fn print(&self) {
        for test in &self.tests {
            println!("\nFAILED  {}", test.name);
            for line in test.said() {
                println!("    {line}");
            }
        }
    }
}

impl Failure {
    fn add(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        if self.first.len() < FIRST {
            self.first.push(line.to_owned());
            return;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    fn said(&self) -> impl Iterator<Item = &String> {
        self.first.iter().chain(&self.last)
    }
}

/// The name in the line that stands above what a test said: of Rust's own harness, or of libtest-mimic.
fn heading(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test one ... ok
test two ... FAILED
test three ... FAILED

failures:

---- two stdout ----

thread 'two' panicked at two.rs:1:1:
an answer

---- three ----
no reset

failures:
    three
    two

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 1 test
test four ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn what_each_failed_test_said_is_kept_under_its_name() {
        let mut failures = Failures::default();
        OUTPUT.lines().for_each(|line| failures.add(line));
        let kept: Vec<_> = failures
            .tests
            .iter()
            .map(|test| {
                let says = |what| test.said().any(|line: &String| line.contains(what));
                (test.name.as_str(), says("an answer"), says("no reset"))
            })
            .collect();
        assert_eq!(kept, [("two", true, false), ("three", false, true)]);
    }

    #[test]
    fn of_one_that_said_much_both_ends_are_kept() {
        let mut failures = Failures::default();
        failures.add("failures:");
        failures.add("---- long stdout ----");
        (0..1_000).for_each(|number| failures.add(&number.to_string()));
        let said: Vec<_> = failures.tests[0].said().collect();
        assert_eq!(said.len(), FIRST + LAST);
        assert_eq!((said[0].as_str(), said[FIRST].as_str()), ("0", "980"));
    }
}
