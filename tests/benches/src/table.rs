//! Figures as tables in Markdown, and whether they are within their bounds.

use std::process::ExitCode;
use std::time::Duration;

/// What a figure must not exceed.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Nothing is promised.
    None,
    /// At most this many times the counterpart.
    Ratio(f64),
}

/// The tables of a bench.
#[derive(Debug, Default)]
pub struct Report {
    over: Vec<String>,
}

impl Report {
    /// Prints a table, with a sentence above it.
    pub fn print(&mut self, about: &str, table: Table) {
        println!("\n{about}\n\n| {} |", table.columns.join(" | "));
        println!("|{}", "---|".repeat(table.columns.len()));
        for row in &table.rows {
            println!("| {} |", row.join(" | "));
        }
        self.over.extend(table.over);
    }

    /// Holds a figure against its bound, outside a table.
    pub fn check(&mut self, what: &str, value: f64, at_most: f64) {
        if value > at_most {
            self.over.push(format!(
                "{what}: {value:.3}, and at most {at_most} is promised"
            ));
        }
    }

    /// Says which figures are over their bounds.
    #[must_use]
    pub fn finish(self) -> ExitCode {
        for line in &self.over {
            eprintln!("OVER ITS BOUND  {line}");
        }
        if self.over.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Rows of figures.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    over: Vec<String>,
}

impl Table {
    /// An empty table with these headings.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
            over: Vec::new(),
        }
    }

    /// A row of cells as they are.
    pub fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    /// A row with two times and their ratio, and what more there is.
    pub fn ratio(
        &mut self,
        what: &str,
        (ours, theirs): (Duration, Duration),
        bound: Bound,
        more: &[String],
    ) {
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        let promised = match bound {
            Bound::None => String::from("none"),
            Bound::Ratio(at_most) => {
                if ratio > at_most {
                    self.over.push(format!(
                        "{what}: {ratio:.3} times, and at most {at_most} is promised"
                    ));
                }
                format!("{at_most}")
            }
        };
        let mut cells = vec![
            what.to_owned(),
            micros(ours),
            micros(theirs),
            format!("{ratio:.3}"),
            promised,
        ];
        cells.extend_from_slice(more);
        self.rows.push(cells);
    }
}

/// A time in µs or ms, for people.
#[must_use]
pub fn micros(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 10_000.0 {
        format!("{micros:.1} µs")
    } else {
        format!("{:.1} ms", micros / 1e3)
    }
}

/// Bytes in MiB, for people.
#[must_use]
pub fn mib(bytes: usize) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
