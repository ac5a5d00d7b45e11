//! Reads every file of the folder granted as `/in` and writes it, in capitals, under the same name into the
//! folder granted as `/out`. Says on stdout what it did; fails when a folder is missing or read-only.

use std::io::Write;

use wasip2::cli::{stderr, stdout};
use wasip2::exports::cli::run::Guest;
use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};

/// Bytes read from a file at a time.
const CHUNK: u64 = 64 * 1024;

struct Transform;

wasip2::cli::command::export!(Transform);

impl Guest for Transform {
    fn run() -> Result<(), ()> {
        transform().map_err(|problem| {
            // Nothing is left to be done where the message cannot be written either.
            let _ = writeln!(stderr::get_stderr(), "transform: {problem}");
        })
    }
}

fn transform() -> Result<(), String> {
    let granted = preopens::get_directories();
    let folder = |wanted: &str| {
        granted
            .iter()
            .find_map(|(directory, name)| (name == wanted).then_some(directory))
            .ok_or_else(|| format!("no folder was granted as {wanted}"))
    };
    let (source, target) = (folder("/in")?, folder("/out")?);

    for name in files(source).map_err(|code| format!("/in cannot be listed: {code}"))? {
        let mut content =
            read(source, &name).map_err(|code| format!("/in/{name} cannot be read: {code}"))?;
        content.make_ascii_uppercase();
        write(target, &name, &content)
            .map_err(|code| format!("/out/{name} cannot be written: {code}"))?;
        writeln!(stdout::get_stdout(), "{name}: {} bytes", content.len())
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The names of the regular files of a folder, sorted, so that the order does not depend on the host.
fn files(folder: &Descriptor) -> Result<Vec<String>, ErrorCode> {
    let entries = folder.read_directory()?;
    let mut names = Vec::new();
    while let Some(entry) = entries.read_directory_entry()? {
        if entry.type_ == DescriptorType::RegularFile {
            names.push(entry.name);
        }
    }
    names.sort();
    Ok(names)
}

fn read(folder: &Descriptor, name: &str) -> Result<Vec<u8>, ErrorCode> {
    let file = folder.open_at(
        PathFlags::empty(),
        name,
        OpenFlags::empty(),
        DescriptorFlags::READ,
    )?;
    let mut content = Vec::new();
    loop {
        let (bytes, end) = file.read(CHUNK, content.len() as u64)?;
        content.extend_from_slice(&bytes);
        if end {
            return Ok(content);
        }
    }
}

fn write(folder: &Descriptor, name: &str, content: &[u8]) -> Result<(), ErrorCode> {
    let file = folder.open_at(
        PathFlags::empty(),
        name,
        OpenFlags::CREATE | OpenFlags::TRUNCATE,
        DescriptorFlags::WRITE,
    )?;
    let mut written = 0;
    while written < content.len() {
        written += file.write(&content[written..], written as u64)? as usize;
    }
    Ok(())
}
