//! The long forms: `soak chains COUNT` and `soak statements COUNT`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use countersign_differential::{chains, statements};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let started = Instant::now();
    let passed = match words.as_slice() {
        ["chains", count] => count.parse().ok().map(chains),
        ["statements", count] => count.parse().ok().map(statements),
        ["chain", number] => number.parse().ok().map(chain),
        _ => None,
    };
    let Some(passed) = passed else {
        eprintln!("soak chains COUNT | soak statements COUNT | soak chain NUMBER");
        return ExitCode::from(2);
    };
    println!("in {} s", started.elapsed().as_secs());
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Judges so many chains, on two threads.
fn chains(count: u64) -> bool {
    let middle = count / 2;
    let report = std::thread::scope(|scope| {
        let upper = scope.spawn(|| chains::run(middle, count));
        let mut report = chains::run(0, middle);
        report.add(upper.join().expect("the other half ends"));
        report
    });
    println!("{report}");
    report.differences.is_empty()
}

/// Reads so many statements, and a quarter as many envelopes.
fn statements(count: u64) -> bool {
    let read = statements::run_statements(0, count);
    println!("{count} statements\n{read}");
    let envelopes = count / 4;
    let opened = statements::run_envelopes(0, envelopes);
    println!("{envelopes} envelopes\n{opened}");
    read.differences.is_empty() && opened.differences.is_empty()
}

/// Shows one chain, as files' contents in hexadecimal, and the verdicts.
fn chain(number: u64) -> bool {
    let chain = chains::Source::default().chain(number);
    println!("changes: {}", chain.changes.join(", "));
    let verdicts =
        countersign_differential::judges::Bench::default().judge(&chain.sealed, chain.now);
    println!("at {}: {verdicts:#?}", chain.now);
    let hex = |octets: &[u8]| {
        octets
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect::<String>()
    };
    println!("root {}", hex(&chain.sealed.root));
    for certificate in &chain.sealed.chain {
        println!("certificate {}", hex(certificate));
    }
    for crl in &chain.sealed.crls {
        println!("list {}", hex(crl));
    }
    true
}
