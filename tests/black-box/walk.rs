//! Pages of the documentation, walked through: their shell commands, as they stand there, in one folder.

use std::process::Command;

use crate::cli::bench::{Bench, Ran, program};
use crate::programs::{fill, fill_host};

/// The lines of every block of shell commands on a page.
pub(crate) fn commands(page: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => lines.push(line),
            _ => {}
        }
    }
    lines
}

/// A folder with a component, and the built programs to be found by their names.
pub(crate) struct Walk {
    pub(crate) bench: Bench,
    path: String,
}

impl Walk {
    pub(crate) fn new() -> Self {
        let bench = Bench::new();
        bench.write("hello.wasm", crate::components::guest("hello"));
        let programs = program("countersign-ca");
        let path = format!(
            "{}:{}",
            programs.parent().expect("a folder").display(),
            std::env::var("PATH").expect("a path")
        );
        Self { bench, path }
    }

    /// Runs these commands, each of which must succeed, in one shell. `environment` is added to what they find.
    ///
    /// A line that fills the host is left to the code behind `cargo xtask roots`, because a test is not to build anything:
    /// another shell goes on behind it in the same folder.
    #[track_caller]
    pub(crate) fn run(&self, lines: &[&str], environment: &[(&str, &str)]) -> Ran {
        let fills = |line: &&str| line.starts_with("cargo xtask roots ");
        if let Some(place) = lines.iter().position(fills) {
            self.run(&lines[..place], environment);
            self.fill(lines[place]);
            return self.run(&lines[place + 1..], environment);
        }
        // Whatever happens, no server is left behind.
        let script = format!(
            "trap 'kill ${{server:-}} ${{emulator:-}} 2> /dev/null || :' EXIT\n{}",
            lines.join("\n")
        );
        let mut command = Command::new("sh");
        command
            .args(["-e", "-u", "-x", "-c", &script])
            .env("PATH", &self.path)
            .envs(environment.iter().copied());
        if self.bench.exists("softhsm2.conf") {
            command.env("SOFTHSM2_CONF", self.bench.path("softhsm2.conf"));
        }
        self.bench.run(command, b"").succeeded()
    }

    /// What `cargo xtask roots PROGRAM FILE` does.
    fn fill(&self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["cargo", "xtask", "roots", program, file] = words[..] else {
            panic!("{line}");
        };
        let roots = countersign_roots_file::parse(&self.bench.path(file)).expect("a root file");
        let path = self.bench.path(program);
        if program.ends_with("countersign-gateway") {
            fill(
                &crate::programs::program("countersign-gateway"),
                &path,
                &roots,
            );
        } else {
            fill_host(&path, &roots);
        }
    }
}
