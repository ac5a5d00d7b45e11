//! A disk of which calls can be made to fail while programs use it: what `disk.c` beside this does, as tests say it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kind of calls, as the library knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Makes = 1,
    Writes = 2,
    Flushes = 4,
    Names = 8,
    Reads = 16,
    Removes = 32,
}

/// What a call that fails says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Full,
    Broken,
}

impl Fault {
    /// Its number, and its words (errno(3)).
    pub(super) const fn errno(self) -> (u32, &'static str) {
        match self {
            Self::Full => (28, "No space left on device"),
            Self::Broken => (5, "Input/output error"),
        }
    }
}

/// The disk below a folder, of which calls can be made to fail while programs use it.
pub(super) struct Disk {
    library: PathBuf,
    folder: PathBuf,
    /// What fails: numbers (`struct order`).
    order: PathBuf,
    file: fs::File,
}

impl Disk {
    /// The disk below `folder`; what it needs itself lies in `place`.
    pub(super) fn new(folder: PathBuf, place: &Path) -> Self {
        let library = place.join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("black-box/gateway/faults/disk.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status();
        assert!(compiled.expect("a C compiler").success());
        let order = place.join("order");
        fs::write(&order, [0xff; 28]).expect("our own folder");
        let file = fs::File::options().read(true).write(true).open(&order);
        Self {
            library,
            folder,
            order,
            file: file.expect("our own folder"),
        }
    }

    /// Has a program find its files there.
    pub(super) fn under<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAULTS_FOLDER", &self.folder)
            .env("FAULTS_ORDER", &self.order)
    }

    /// Counts calls of these kinds from now on, and has those fail that the range says, where the first is 1.
    pub(super) fn order(&self, kinds: &[Kind], fault: Fault, those: std::ops::Range<u32>) {
        let kinds = kinds.iter().map(|kind| *kind as u32).sum();
        self.put(&[
            kinds,
            fault.errno().0,
            those.start,
            those.end,
            u32::MAX,
            0,
            0,
        ]);
    }

    /// Takes so many bytes more, and what is given back.
    pub(super) fn fill(&self, bytes: u32) {
        self.put(&[0, 0, 0, 0, bytes, 0, 0]);
    }

    fn put(&self, numbers: &[u32; 7]) {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_ne_bytes())
            .collect();
        self.file.write_all_at(&bytes, 0).expect("our own file");
    }

    /// Has nothing fail any more: how many calls were counted, and how many of them failed.
    pub(super) fn mend(&self) -> (u32, u32) {
        let mut numbers = [0; 12];
        self.file
            .read_exact_at(&mut numbers, 16)
            .expect("our own file");
        self.put(&[0, 0, 0, 0, u32::MAX, 0, 0]);
        let number = |at: usize| {
            let bytes = numbers[at..at + 4].try_into().expect("four");
            u32::from_ne_bytes(bytes)
        };
        (number(4), number(8))
    }
}
