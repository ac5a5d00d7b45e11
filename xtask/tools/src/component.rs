//! Makes a component of what a compiler wrote: a core module is encoded, through an adapter of WASI preview 1 where
//! it needs one; what is a component already is copied.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1,
    WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR,
};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The first eight bytes of a core module: magic and version 1.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// The first eight bytes of a component: magic, version 13, layer 1.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Reads the module or component at `input` and writes a component to `output`.
pub(crate) fn encode(input: &Path, output: &Path) -> Result<()> {
    let bytes = std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    let component = if bytes.starts_with(COMPONENT) {
        bytes
    } else if bytes.starts_with(CORE_MODULE) {
        encode_module(&bytes)
            .with_context(|| format!("{} cannot be made a component", input.display()))?
    } else {
        bail!(
            "{} is neither a core module nor a component",
            input.display()
        );
    };
    crate::replace(output, &component)
}

fn encode_module(module: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default().validate(true).module(module)?;
    // The adapter is itself a module of some size and with imports of its own: only where it is needed.
    if names_preview1(module) {
        let adapter = if is_command(module)? {
            COMMAND
        } else {
            REACTOR
        };
        encoder = encoder.adapter(PREVIEW1, adapter)?;
    }
    encoder.encode()
}

/// Whether the module imports WASI preview 1. The name as bytes is enough of an answer: a module that only
/// mentions it gets an adapter it does not use, which the encoder leaves out.
fn names_preview1(module: &[u8]) -> bool {
    module
        .windows(PREVIEW1.len())
        .any(|window| window == PREVIEW1.as_bytes())
}

/// Whether the module is a program that runs once, as `_start`; otherwise it exports what a WIT world says.
fn is_command(module: &[u8]) -> Result<bool> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(exports) = payload? {
            for export in exports {
                if export?.name == "_start" {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
