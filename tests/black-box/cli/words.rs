//! Help, completions, codes, dispatch: what the program says about itself, and whom it hands over to.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::bench::{Bench, program};

#[test]
fn every_verb_has_help_with_examples() {
    let bench = Bench::new();
    for verb in [
        "key generate",
        "key show",
        "key csr",
        "key list",
        "key rotate",
        "key delete",
        "device configure",
        "device detect",
        "device lock",
        "sign",
        "sign-code",
        "verify",
        "inspect",
        "bundle create",
        "bundle inspect",
        "bundle verify",
        "attest quote",
        "attest key",
        "attest verify",
        "attach",
        "detach",
        "strip",
        "codes",
        "completions",
    ] {
        let help = bench.line(&format!("{verb} --help")).succeeded();
        assert!(
            help.stdout.contains("Examples:") && help.stdout.contains("countersign "),
            "{verb}: {help:#?}"
        );
    }
    bench.line("").failed(2, &["Usage"]);
    bench
        .line("sign --no-such-option")
        .failed(2, &["--no-such-option"]);
}

#[test]
fn th18_there_is_no_way_to_switch_verification_off() {
    let bench = Bench::new();
    for line in ["--help", "verify --help", "run --help"] {
        let help = bench.line(line).succeeded().stdout.to_lowercase();
        for word in [
            "--insecure",
            "--no-verify",
            "--allow",
            "--skip",
            "--ignore",
            "--trust",
            "--force",
        ] {
            assert!(!help.contains(word), "{line}: {word}");
        }
    }
}

#[test]
fn th18_no_program_has_a_word_of_such_a_way_or_anything_of_the_tests() {
    let has = |program: &[u8], word: &str| memchr::memmem::find(program, word.as_bytes()).is_some();
    let ways = ["disable", "no", "skip", "without"];
    let switches = ways
        .iter()
        .flat_map(|way| ["signature-check", "verif"].map(|what| format!("{way}-{what}")));
    let words = ["allow-unsigned", "allow-unverified", "trust-all"];
    let switches: Vec<_> = switches.chain(words.map(str::to_owned)).collect();
    for (name, option) in [
        ("countersign", "passphrase-file"),
        ("countersign-authority", "passphrase-file"),
        ("countersign-ca", "passphrase-file"),
        ("countersign-gateway", "receipt"),
        ("countersign-run", "wall-clock"),
    ] {
        // Its messages, the names of its options, and of its functions: it is not stripped.
        let mut program = fs::read(program(name)).expect("it is built");
        program.make_ascii_lowercase();
        for known in ["signature-missing", "countersign_trust_store", option] {
            assert!(has(&program, known), "{name}: {known}");
        }
        for word in &switches {
            let as_variable = word.replace('-', "_");
            assert!(!has(&program, word), "{name}: {word}");
            assert!(!has(&program, &as_variable), "{name}: {as_variable}");
        }
        for of_tests in ["atecc608_emulator", "countersign_testing"] {
            assert!(!has(&program, of_tests), "{name}: {of_tests}");
        }
    }
}

#[test]
fn completions_know_verbs_and_options() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = bench
            .line(&format!("completions {shell}"))
            .succeeded()
            .stdout;
        assert!(
            script.contains("security-version") && script.contains("detach"),
            "{shell}"
        );
    }
    bench.line("completions cobol").failed(2, &["cobol"]);
}

#[test]
fn the_codes_come_from_one_table_in_three_forms() {
    let bench = Bench::new();
    let json = bench.line("codes --json").succeeded().json();
    let codes = json["codes"].as_array().expect("a list");
    let text = bench.line("codes").succeeded().stdout;
    let page = bench.line("codes --markdown").succeeded().stdout;
    for code in codes {
        let word = code["code"].as_str().expect("a word");
        assert!(
            text.contains(word) && page.contains(&format!("| `{word}` |")),
            "{word}"
        );
        assert!(
            (110..=119).contains(&code["exit_status"].as_u64().expect("a number")),
            "{code}"
        );
    }
    assert!(
        codes
            .iter()
            .any(|code| code["code"] == "signature-missing" && code["exit_status"] == 110),
        "{json}"
    );
    let one = bench.line("codes crl-stale --json").succeeded().json();
    assert_eq!(one["codes"][0]["exit_status"], 115);
    bench
        .line("codes no-such-code")
        .failed(2, &["no-such-code"]);
}

/// The page in the documentation is this program's own output; written anew by `BLESS=1`.
#[test]
fn the_documentation_lists_the_same_codes() {
    let bench = Bench::new();
    let page = bench.line("codes --markdown").succeeded().stdout;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/codes.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).expect("the documentation can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/codes.md is not what `countersign codes --markdown` prints; run the test with BLESS=1"
    );
}

#[test]
fn other_verbs_are_programs_beside_this_one_and_never_found_through_path() {
    let bench = Bench::new();
    let folder = bench.path("installed");
    let elsewhere = bench.path("elsewhere");
    fs::create_dir(&folder).expect("ours");
    fs::create_dir(&elsewhere).expect("ours");
    let own = folder.join("countersign");
    // Written by other processes: a file that this one holds open for writing, if only in a thread that forks at
    // that moment, cannot be executed.
    let install = |path: &Path, content: &[u8]| {
        let mut command = Command::new("install");
        command.args(["-m", "755", "/dev/stdin"]).arg(path);
        bench.run(command, content).succeeded();
    };
    install(&own, &fs::read(program("countersign")).expect("built"));
    let script = |path: &Path, text: &str| install(path, text.as_bytes());
    script(
        &elsewhere.join("countersign-hello"),
        "#!/bin/sh\necho from path\n",
    );
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&own);
        let path = format!(
            "{}:{}",
            elsewhere.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        command.args(arguments).env("PATH", path);
        bench.run(command, b"typed")
    };

    // Only in PATH: not found, and the message says where it was looked for.
    run(&["hello"]).failed(2, &["hello", "installed"]);

    script(
        &folder.join("countersign-hello"),
        "#!/bin/sh\necho \"beside $*\"\ncat\nexit 42\n",
    );
    let ran = run(&["hello", "--flag", "two words"]);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (42, "beside --flag two words\ntyped"),
        "{ran:#?}"
    );

    // A known one that is missing is named with what to install; a slip gets a hint; a path gets nowhere.
    run(&["run", "app.wasm"]).failed(2, &["countersign-run", "install"]);
    run(&["verfy"]).failed(2, &["did you mean `verify`"]);
    run(&["../elsewhere/x"]).failed(2, &["not a verb"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("\"$0\" completions bash 2>err | head -c 10; test ! -s err")
        .arg(program("countersign"));
    assert_eq!(bench.run(command, b"").succeeded().stdout.len(), 10);
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let bench = Bench::new();
    let on_a_terminal = |no_color: &str| {
        let mut command = Command::new("script");
        command.arg("-qec").arg(format!(
            "{} codes crl-stale",
            program("countersign").display()
        ));
        command.arg("/dev/null").env("NO_COLOR", no_color);
        bench.run(command, b"").succeeded().stdout
    };
    assert!(on_a_terminal("").contains("\u{1b}[1mcrl-stale"));
    assert!(!on_a_terminal("1").contains('\u{1b}'));
    let piped = bench.line("codes crl-stale").succeeded().stdout;
    assert!(piped.starts_with("crl-stale"), "{piped}");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let bench = Bench::new();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("\"$0\" codes > /dev/full")
        .arg(program("countersign"));
    bench.run(command, b"").failed(2, &["standard output"]);
}
