//! Searches another process's memory for a private key, in every form in which software keeps one.
//!
//! That nothing is found says something only beside a process in which something is: a test shows both.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Tells the process that is searched how it signs.
const ROLE: &str = "COUNTERSIGN_SEARCHED";

/// What it prints when it has signed.
const SIGNED: &str = "signed 20 times";

/// A process of this program that signs, and then waits until it is dropped.
#[derive(Debug)]
pub struct Searched(Child);

impl Searched {
    /// Starts the test of this name in a process of its own, in which [`role`] gives this role, and waits until it calls
    /// [`wait`].
    ///
    /// # Panics
    /// If it ends before.
    #[must_use]
    pub fn start(test: &str, role: &str, environment: &[(&str, &OsStr)]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, role)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = child.stdout.take().expect("a pipe");
        let ready = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains(SIGNED));
        let child = Self(child);
        assert!(ready, "it did not sign");
        child
    }

    /// Where the number lies in its memory, as [`hits`] says.
    #[must_use]
    pub fn hits(&self, scalar: &[u8; 32]) -> Vec<String> {
        hits(self.0.id(), scalar)
    }
}

impl Drop for Searched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The role that [`Searched::start`] gave this process; none in a run of all tests.
#[must_use]
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Says that all is signed, and waits to be searched.
pub fn wait() {
    println!("{SIGNED}");
    let _ = std::io::stdin().read(&mut [0]);
}

/// Where in a process's memory the number of a private key lies, in which form.
///
/// # Panics
/// If the process is gone, is not this one's child, or hardly anything of it can be read.
#[must_use]
pub fn hits(process: u32, scalar: &[u8; 32]) -> Vec<String> {
    let little: Vec<u8> = scalar.iter().rev().copied().collect();
    // Limbs of eight bytes, each little-endian, the most significant first.
    let limbs: Vec<u8> = scalar
        .chunks(8)
        .flat_map(|limb| limb.iter().rev().copied())
        .collect();
    let hex = hex::encode(scalar);
    let mut forms = vec![
        ("hexadecimal", hex.clone().into_bytes()),
        ("capital hexadecimal", hex.to_uppercase().into_bytes()),
    ];
    for (name, bytes) in [
        ("big-endian", scalar.to_vec()),
        ("little-endian", little),
        ("limbs", limbs),
    ] {
        // A half is enough.
        forms.push((name, bytes[..16].to_vec()));
        forms.push((name, bytes[16..].to_vec()));
    }
    let mut hits = Vec::new();
    let mut searched = 0usize;
    for (region, memory) in memory_of(process) {
        searched = searched.saturating_add(memory.len());
        for (name, form) in &forms {
            if memory.windows(form.len()).any(|window| window == form) {
                hits.push(format!("{name} in {region}"));
            }
        }
    }
    assert!(searched > 1_000_000, "only {searched} bytes could be read");
    hits
}

/// What can be read of a process's memory.
fn memory_of(process: u32) -> impl Iterator<Item = (String, Vec<u8>)> {
    let folder = Path::new("/proc").join(process.to_string());
    let maps = fs::read_to_string(folder.join("maps")).expect("the map of a child");
    let mut memory = File::open(folder.join("mem")).expect("the memory of a child");
    let regions: Vec<String> = maps.lines().map(str::to_owned).collect();
    regions.into_iter().filter_map(move |region| {
        let (range, rest) = region.split_once(' ')?;
        // Code, and what is mapped from files without being written, is no place for a key.
        if !rest.starts_with("rw") {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(start)).ok()?;
        // Pages that were never touched cannot be read beyond a point.
        let _ = memory
            .by_ref()
            .take(end.saturating_sub(start))
            .read_to_end(&mut bytes);
        Some((region, bytes))
    })
}
