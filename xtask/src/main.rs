//! The project's own commands. Each installs what it needs where it may (Debian packages, as root) and
//! otherwise prints the one line to run; `test` and CI are the same command.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod demo;
mod guests;
mod kryoptic;
mod llvm;
mod package;
mod process;
mod programs;
mod released;
mod roots;
mod setup;
mod soak;
mod test;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo [--key KIND]   sign and run two components under a host of your own, and see five refused; KIND is file (the
                      default), tpm (swtpm) or atecc608 (emulated): then a guest signs with the device's key too
  test                everything: formatting, rules, build, guests, tests, examples, demo, lints, documents
  guests [NAME …]     build the guests of guest-examples/, or some of them, into target/guests/
  kryoptic            build the second PKCS#11 module of the tests into target/tools/
  check [--bless]     compare packages and sources with their rules, and docs/threats.md with the tests;
                      --bless writes its index anew
  release [FEATURES …]
                      build countersign-run as it ought to be released, faster by what it showed while it practised (twenty
                      minutes), with these features, such as tpm
  roots BINARY FILE   fill the roots of FILE (PEM, or roots.toml) into a finished host program
  package ROOTS [BINARY]
                      make a Debian package of the gateway with the roots of ROOTS, from a release build or BINARY
  bench [NAME …]      the figures of docs/performance.md; `bench help` names them
  soak [NAME …]       the long runs, one or all: minutes to hours; `soak help` lists them

Each command installs what it needs when run as root on Debian; otherwise it prints the line to run.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["guests"] => guests::build(),
        ["guests", names @ ..] => guests::build_named(names),
        ["demo"] => demo::play(demo::Kind::File, programs::Selection::Programs),
        ["demo", "--key", kind] => match demo::Kind::named(kind) {
            Some(demo::Kind::File) => demo::play(demo::Kind::File, programs::Selection::Programs),
            Some(kind) => demo::play(kind, programs::Selection::WithChips),
            None => {
                eprintln!("{HELP}");
                return ExitCode::from(2);
            }
        },
        ["test"] => test::all(),
        ["kryoptic"] => {
            setup::ensure(&[setup::Need::Pkcs11Tokens]).and_then(|()| kryoptic::build())
        }
        ["check"] => check::all(match std::env::var_os("BLESS") {
            Some(_) => check::Index::Written,
            None => check::Index::Compared,
        }),
        ["check", "--bless"] => check::all(check::Index::Written),
        ["release", features @ ..] => released::host(features),
        ["roots", binary, file] => roots::fill(binary.as_ref(), file.as_ref()),
        ["package", roots] => package::make(roots.as_ref(), None, package::FIRST).map(drop),
        ["package", roots, binary] => {
            package::make(roots.as_ref(), Some(binary.as_ref()), package::FIRST).map(drop)
        }
        ["bench", "help"] => {
            println!("{}", bench::help());
            Ok(())
        }
        ["bench", names @ ..] => bench::play(names),
        ["soak", "help"] => {
            print!("{}", soak::help());
            Ok(())
        }
        ["soak", arguments @ ..] => soak::play(arguments),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
