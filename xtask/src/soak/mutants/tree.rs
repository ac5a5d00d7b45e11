//! A copy of the repository in which mutants are built.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::process::{capture, cargo, root, shown, target};

use super::source::Mutant;
use super::switch::{self, Fault, Rewritten};

/// How often what does not compile is taken out before there must be a fault of ours.
const ROUNDS: usize = 20;

/// The copy, with a build folder of its own: cargo takes two copies of one package for the same.
pub(super) struct Tree {
    root: PathBuf,
    build: PathBuf,
    /// What cargo builds of the tests.
    tests: &'static [&'static str],
}

/// A built test, and the folder of the package whose test it is.
pub(super) struct Test {
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
}

/// What became of the mutants when they were built together.
pub(super) struct Built {
    pub(super) tests: Vec<Test>,
    /// The numbers of those that are in the programs, each with what its function is noted as when it is called.
    pub(super) together: BTreeMap<usize, usize>,
    /// Of those with which nothing compiles.
    pub(super) broken: BTreeSet<usize>,
}

impl Tree {
    /// Copies what git tracks, or would. Files that are the same as before are not touched.
    pub(super) fn make(tests: &'static [&'static str]) -> Result<Self> {
        let folder = target().join("soak/mutants");
        let tree = Self {
            root: folder.join("tree"),
            build: folder.join("build"),
            tests,
        };
        let mut list = Command::new("git");
        list.current_dir(root());
        list.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let files = capture(&mut list)?;
        for file in files.split_terminator('\0') {
            let from = root().join(file);
            // What was deleted is still listed until that is committed.
            if from.is_file() {
                write(&tree.root.join(file), &fs::read(from)?)?;
            }
        }
        Ok(tree)
    }

    /// Builds the tests with as many mutants as compile.
    pub(super) fn build_together(&self, mutants: &[Mutant]) -> Result<Built> {
        let every: BTreeSet<_> = mutants.iter().map(|mutant| mutant.file.as_str()).collect();
        // What was found not to compile is not tried again while nothing changes.
        let known = self.build.join("apart.json");
        let sources = digest(mutants, &every)?;
        let mut apart = Apart::read(&known, &sources).unwrap_or_default();
        for _ in 0..ROUNDS {
            let chosen: Vec<_> = mutants
                .iter()
                .filter(|mutant| !apart.broken.contains(&mutant.number))
                .filter(|mutant| !apart.alone.contains(&mutant.number))
                .collect();
            let files = self.switch(&chosen, &apart.constant, &every)?;
            let messages = match self.cargo()? {
                Ok(tests) => {
                    fs::write(&known, apart.written(&sources).to_string())?;
                    return Ok(Built {
                        tests,
                        together: files.values().flat_map(Rewritten::numbers).collect(),
                        broken: apart.broken,
                    });
                }
                Err(messages) => messages,
            };
            let before = apart.len();
            for message in &messages {
                match message.fault(&files) {
                    Fault::Body(number) => drop(apart.broken.insert(number)),
                    Fault::Function(numbers) => apart.alone.extend(numbers),
                    Fault::Elsewhere => apart.constant.extend(message.not_constant()),
                }
            }
            ensure!(
                apart.len() > before,
                "the mutants do not compile together, for a reason that is not understood:\n{}",
                messages
                    .iter()
                    .map(|message| message.0.to_string())
                    .collect::<String>()
            );
        }
        bail!("the mutants do not compile together after {ROUNDS} rounds")
    }

    /// Where tests note which functions they call.
    pub(super) fn called(&self) -> PathBuf {
        self.build.join("called.txt")
    }

    /// Makes the files that have mutants what they are in the repository.
    pub(super) fn restore(&self, mutants: &[Mutant]) -> Result<()> {
        let files: BTreeSet<_> = mutants.iter().map(|mutant| mutant.file.clone()).collect();
        for file in files.iter().flat_map(|file| [file.clone(), library(file)]) {
            write(&self.root.join(&file), &fs::read(root().join(&file))?)?;
        }
        Ok(())
    }

    /// Builds the tests with one mutant, as cargo-mutants does it; nothing if that does not compile.
    pub(super) fn build_alone(&self, mutant: &Mutant) -> Result<Option<Vec<Test>>> {
        let mut source = fs::read_to_string(root().join(&mutant.file))?;
        source.replace_range(mutant.span.clone(), &mutant.replacement);
        write(&self.root.join(&mutant.file), source.as_bytes())?;
        let built = self.cargo()?;
        write(
            &self.root.join(&mutant.file),
            &fs::read(root().join(&mutant.file))?,
        )?;
        Ok(built.ok())
    }

    /// Writes these files with those mutants that are chosen.
    fn switch(
        &self,
        mutants: &[&Mutant],
        constant: &BTreeSet<String>,
        every: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, Rewritten>> {
        let mut by_file: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
        for mutant in mutants {
            by_file.entry(&mutant.file).or_default().push(mutant);
        }
        let libraries: BTreeSet<_> = every.iter().map(|file| library(file)).collect();
        for file in every
            .iter()
            .copied()
            .chain(libraries.iter().map(String::as_str))
        {
            by_file.entry(file).or_default();
        }
        let mut files = BTreeMap::new();
        for (file, mutants) in by_file {
            let source = fs::read_to_string(root().join(file))?;
            let mut rewritten = switch::rewrite(&source, &mutants, constant);
            if libraries.contains(file) {
                rewritten.text.push_str(switch::MODULE);
            }
            write(&self.root.join(file), rewritten.text.as_bytes())?;
            files.insert(file.to_owned(), rewritten);
        }
        Ok(files)
    }

    /// Builds the tests, or says what the compiler complains of.
    fn cargo(&self) -> Result<Result<Vec<Test>, Vec<Message>>> {
        let mut command = cargo();
        command.current_dir(&self.root);
        command.env("CARGO_TARGET_DIR", &self.build);
        command.args(["test", "--locked", "--no-run", "--message-format", "json"]);
        let output = command
            .args(self.tests)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {}", shown(&command)))?;
        let text = String::from_utf8(output.stdout).context("cargo's output is not UTF-8")?;
        let messages = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<Vec<Value>, _>>()?;
        if output.status.success() {
            return Ok(Ok(messages.iter().filter_map(Test::read).collect()));
        }
        let is_error = |message: &Value| {
            message.pointer("/message/level").and_then(Value::as_str) == Some("error")
        };
        Ok(Err(messages
            .into_iter()
            .filter(is_error)
            .map(Message)
            .collect()))
    }
}

/// What is not built together with the others.
#[derive(Default)]
struct Apart {
    /// Mutants with which nothing compiles.
    broken: BTreeSet<usize>,
    /// Mutants of functions that do not compile as a choice of bodies.
    alone: BTreeSet<usize>,
    /// Functions that must be `const`.
    constant: BTreeSet<String>,
}

impl Apart {
    fn len(&self) -> usize {
        [self.broken.len(), self.alone.len(), self.constant.len()]
            .iter()
            .sum()
    }

    fn written(&self, sources: &str) -> Value {
        json!({
            "sources": sources,
            "broken": self.broken,
            "alone": self.alone,
            "constant": self.constant,
        })
    }

    /// Reads what was written for these sources.
    fn read(path: &Path, sources: &str) -> Option<Self> {
        let known: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
        let list = |name: &str| known.get(name)?.as_array();
        let numbers = |name: &str| {
            let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
            list(name)?
                .iter()
                .map(number)
                .collect::<Option<BTreeSet<_>>>()
        };
        let constant = list("constant")?
            .iter()
            .map(|name| Some(name.as_str()?.to_owned()));
        (known.get("sources")?.as_str()? == sources).then_some(Self {
            broken: numbers("broken")?,
            alone: numbers("alone")?,
            constant: constant.collect::<Option<_>>()?,
        })
    }
}

/// A number that changes when the mutants or the files around them do.
fn digest(mutants: &[Mutant], files: &BTreeSet<&str>) -> Result<String> {
    let mut digest = DefaultHasher::new();
    for mutant in mutants {
        mutant.name.hash(&mut digest);
    }
    for file in files {
        fs::read(root().join(file))?.hash(&mut digest);
    }
    Ok(digest.finish().to_string())
}

/// One message of the compiler, as cargo hands it on.
struct Message(Value);

impl Message {
    fn fault(&self, files: &BTreeMap<String, Rewritten>) -> Fault {
        let spans = self.0.pointer("/message/spans").and_then(Value::as_array);
        let primary = spans
            .into_iter()
            .flatten()
            .find(|span| span.get("is_primary").and_then(Value::as_bool) == Some(true));
        let place = || {
            let span = primary?;
            let file = files.get(span.get("file_name")?.as_str()?)?;
            let line = usize::try_from(span.get("line_start")?.as_u64()?).ok()?;
            Some(file.at(line))
        };
        place().unwrap_or(Fault::Elsewhere)
    }

    /// The name of the function that must be constant, if that is the complaint.
    fn not_constant(&self) -> Option<String> {
        let code = self.0.pointer("/message/code/code").and_then(Value::as_str);
        let text = self.0.pointer("/message/message")?.as_str()?;
        let path = text.split('`').nth(1)?;
        (code == Some("E0015")).then(|| path.rsplit("::").next().unwrap_or(path).to_owned())
    }
}

impl Test {
    fn read(message: &Value) -> Option<Self> {
        let is_test = message.pointer("/profile/test").and_then(Value::as_bool) == Some(true);
        let manifest = Path::new(message.get("manifest_path")?.as_str()?);
        let program = message.get("executable")?.as_str()?;
        is_test.then_some(Self {
            program: program.into(),
            folder: manifest.parent()?.to_owned(),
        })
    }
}

/// The root of the package in which a file lies.
fn library(file: &str) -> String {
    let package = file.split_once("/src/").map_or("", |(package, _)| package);
    format!("{package}/src/lib.rs")
}

/// Writes a file unless it is already so: cargo builds again what is younger than its last build.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|have| have == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
