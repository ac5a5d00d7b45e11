//! The chip maker's own library on the emulated bus: unchanged, in Python, through the shim.
//!
//! What it says is not ours: it shows that the model is the chip that its maker means, as far as that library goes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{Emulator, shim, socket};

/// One call's answer. Status 0 is success.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The library's status.
    pub status: i64,
    /// What the call gives: hexadecimal bytes, a number, or nothing.
    pub value: Value,
}

impl Answer {
    /// The bytes that the call gave.
    ///
    /// # Panics
    /// If it failed or gave no bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        assert_eq!(self.status, 0, "the maker's library reports {self:?}");
        let digits = self.value.as_str().expect("bytes");
        hex::decode(digits).expect("hexadecimal digits")
    }

    /// The number that the call gave.
    ///
    /// # Panics
    /// If it failed or gave no number.
    #[must_use]
    pub fn number(&self) -> i64 {
        assert_eq!(self.status, 0, "the maker's library reports {self:?}");
        self.value.as_i64().expect("a number")
    }
}

/// The maker's library with an emulated chip behind its `/dev/i2c-1`.
#[derive(Debug)]
pub struct Vendor {
    folder: tempfile::TempDir,
    shim: PathBuf,
}

impl Vendor {
    /// Puts the chip on a bus that other processes can reach. Its clock must be the machine's.
    ///
    /// # Errors
    /// If the shim cannot be compiled, or the socket cannot be made.
    pub fn of(emulator: &Emulator) -> Result<Self> {
        ensure!(
            !emulator.clock().is_stepped(),
            "another process does not move a virtual clock"
        );
        let folder = tempfile::tempdir().context("a folder for the bus")?;
        let shim = shim::build(folder.path())?;
        let vendor = Self { folder, shim };
        socket::serve(emulator, &vendor.socket())?;
        Ok(vendor)
    }

    /// Makes these calls in one process of the library: lists as `tests/python/atecc608_vendor.py` describes them.
    ///
    /// # Errors
    /// If Python or the package `cryptoauthlib` is missing, or the library does not find the chip.
    pub fn calls(&self, address: u8, calls: &Value) -> Result<Vec<Answer>> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/atecc608_vendor.py");
        let mut python = Command::new("python3")
            .arg(program)
            .arg(format!("{address:#04x}"))
            .env("LD_PRELOAD", &self.shim)
            .env(shim::SOCKET_VARIABLE, self.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start python3")?;
        let mut input = python.stdin.take().context("python3 has no stdin")?;
        // One that has ended already is told by its status.
        let _ = input.write_all(&serde_json::to_vec(calls)?);
        drop(input);
        let output = python.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "the maker's library failed; if it is missing, install the packages of tests/python/requirements.txt, as `cargo xtask test` does: {}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        let answers: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        Ok(answers
            .into_iter()
            .map(|answer| Answer {
                status: answer["status"].as_i64().unwrap_or(-1),
                value: answer["value"].clone(),
            })
            .collect())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("bus")
    }
}
