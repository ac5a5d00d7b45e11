//! Fills the first folder that it is lent, in each of the ways that its arguments name, until that is refused; says how far it came
//! and why no further, and removes what it made. `across` moves and links a file into the second folder; `torrent` writes
//! more at once than a stream permits, and so is the last that it does.

use std::io::Write;

use wasip2::cli::{environment, stdout};
use wasip2::exports::cli::run::Guest;
use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags, filesystem_error_code,
};
use wasip2::io::streams::{OutputStream, StreamError};

/// What is written at once: as much as a stream takes while it is waited for, in bytes (4 KiB).
const PIECE: u64 = 4 << 10;

/// The name of the one file.
const FILE: &str = "hoard";

struct Hoard;

wasip2::cli::command::export!(Hoard);

impl Guest for Hoard {
    fn run() -> Result<(), ()> {
        let mut out = stdout::get_stdout();
        let folders: Vec<Descriptor> = preopens::get_directories()
            .into_iter()
            .map(|(folder, _)| folder)
            .collect();
        let [folder, others @ ..] = folders.as_slice() else {
            return Err(());
        };
        // The first argument is the program's own name.
        for way in environment::get_arguments().into_iter().skip(1) {
            let (came, why) = match way.as_str() {
                "across" => across(folder, others.first().ok_or(())?),
                "folders" => names(|name| folder.create_directory_at(name)),
                "links" => names(|name| folder.symlink_at("nowhere", name)),
                "files" => names(|name| open(folder, name).map(drop)),
                "hard" => hard(folder),
                "size" => one(folder, |file, end| file.set_size(end + PIECE)),
                "renamed" => renamed(folder),
                "scattered" => scattered(folder),
                "streams" => streams(folder),
                "torrent" => through(folder, |file| file.write_via_stream(0), torrent),
                "unnamed" => unnamed(folder),
                "write" => one(folder, |file, end| file.write(&piece(), end).map(drop)),
                "stream" => through(folder, |file| file.write_via_stream(0), blocking),
                "append" => through(folder, Descriptor::append_via_stream, blocking),
                "waiting" => through(folder, |file| file.write_via_stream(0), waiting),
                "zeroes" => through(folder, Descriptor::append_via_stream, zeroes),
                _ => return Err(()),
            };
            writeln!(out, "{way}: {came}, {}", why.name()).map_err(|_| ())?;
            clear(folder, &way);
        }
        Write::flush(&mut out).map_err(|_| ())
    }
}

fn piece() -> Vec<u8> {
    vec![b'h'; usize::try_from(PIECE).unwrap_or_default()]
}

fn open(folder: &Descriptor, name: &str) -> Result<Descriptor, ErrorCode> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    folder.open_at(PathFlags::empty(), name, OpenFlags::CREATE, flags)
}

/// Makes one name after the other: how many.
fn names(make: impl Fn(&str) -> Result<(), ErrorCode>) -> (u64, ErrorCode) {
    let mut made = 0;
    loop {
        match make(&made.to_string()) {
            Ok(()) => made += 1,
            Err(error) => return (made, error),
        }
    }
}

/// Has one file grow piece by piece: to how many bytes.
fn one(
    folder: &Descriptor,
    grow: impl Fn(&Descriptor, u64) -> Result<(), ErrorCode>,
) -> (u64, ErrorCode) {
    match open(folder, FILE) {
        Ok(file) => grown(&file, grow),
        Err(error) => (0, error),
    }
}

fn grown(
    file: &Descriptor,
    grow: impl Fn(&Descriptor, u64) -> Result<(), ErrorCode>,
) -> (u64, ErrorCode) {
    let mut end = 0;
    loop {
        match grow(file, end) {
            Ok(()) => end += PIECE,
            Err(error) => return (end, error),
        }
    }
}

/// The same through a stream.
fn through(
    folder: &Descriptor,
    stream: impl Fn(&Descriptor) -> Result<OutputStream, ErrorCode>,
    write: impl Fn(&OutputStream) -> Result<(), StreamError>,
) -> (u64, ErrorCode) {
    let file = match open(folder, FILE) {
        Ok(file) => file,
        Err(error) => return (0, error),
    };
    let stream = match stream(&file) {
        Ok(stream) => stream,
        Err(error) => return (0, error),
    };
    let mut end = 0;
    loop {
        match write(&stream) {
            Ok(()) => end += PIECE,
            Err(StreamError::LastOperationFailed(error)) => {
                let why = filesystem_error_code(&error).unwrap_or(ErrorCode::Io);
                return (end, why);
            }
            Err(StreamError::Closed) => return (end, ErrorCode::Pipe),
        }
    }
}

fn blocking(stream: &OutputStream) -> Result<(), StreamError> {
    stream.blocking_write_and_flush(&piece())
}

fn zeroes(stream: &OutputStream) -> Result<(), StreamError> {
    stream.blocking_write_zeroes_and_flush(PIECE)
}

fn waiting(stream: &OutputStream) -> Result<(), StreamError> {
    while stream.check_write()? < PIECE {
        stream.subscribe().block();
    }
    stream.write(&piece())?;
    stream.flush()
}

/// A file that fills what two folders leave, and why another does not get from one of them into the other then.
fn scattered(folder: &Descriptor) -> (u64, ErrorCode) {
    const FOLDERS: [&str; 2] = ["a", "b"];
    const HERE: &str = "a/here";
    let made = || {
        for name in FOLDERS {
            folder.create_directory_at(name)?;
        }
        open(folder, HERE)
    };
    let outcome = match made() {
        Ok(_) => {
            let (came, _) = one(folder, |file, end| file.write(&piece(), end).map(drop));
            match folder.rename_at(HERE, folder, "b/there") {
                Ok(()) => (0, ErrorCode::Exist),
                Err(error) => (came, error),
            }
        }
        Err(error) => (0, error),
    };
    let _ = folder.unlink_file_at(HERE);
    for name in FOLDERS {
        let _ = folder.remove_directory_at(name);
    }
    outcome
}

/// Streams to one file: how many.
fn streams(folder: &Descriptor) -> (u64, ErrorCode) {
    let file = match open(folder, FILE) {
        Ok(file) => file,
        Err(error) => return (0, error),
    };
    let mut streams = Vec::new();
    loop {
        match file.write_via_stream(0) {
            Ok(stream) => streams.push(stream),
            Err(error) => return (u64::try_from(streams.len()).unwrap_or(u64::MAX), error),
        }
    }
}

/// More at once than any stream permits.
fn torrent(stream: &OutputStream) -> Result<(), StreamError> {
    let permitted = usize::try_from(stream.check_write()?).unwrap_or_default();
    stream.write(&vec![b'h'; permitted + 1])
}

/// One file that fills the folder, is moved to and fro there, and is opened and written once more: how many bytes it holds.
fn renamed(folder: &Descriptor) -> (u64, ErrorCode) {
    let write = |file: &Descriptor, end| file.write(&piece(), end).map(drop);
    let (came, _) = one(folder, write);
    let moved = || {
        for _ in 0..1_000 {
            folder.rename_at(FILE, folder, "0")?;
            folder.rename_at("0", folder, FILE)?;
        }
        // With Wasmtime, whoever may make a file may write to it.
        let made = OpenFlags::CREATE;
        let file = folder.open_at(PathFlags::empty(), FILE, made, DescriptorFlags::READ)?;
        write(&file, 0)?;
        Ok(file)
    };
    match moved() {
        Ok(file) => match write(&file, came) {
            Ok(()) => (came + PIECE, ErrorCode::Exist),
            Err(error) => (came, error),
        },
        Err(error) => (0, error),
    }
}

/// Files without a name: how many bytes the first holds, and why there is no second.
fn unnamed(folder: &Descriptor) -> (u64, ErrorCode) {
    let hidden = || {
        let file = open(folder, FILE)?;
        folder.unlink_file_at(FILE)?;
        Ok(file)
    };
    let first = match hidden() {
        Ok(file) => file,
        Err(error) => return (0, error),
    };
    let (came, _) = grown(&first, |file, end| file.write(&piece(), end).map(drop));
    match hidden() {
        // It is there by name, until it is not.
        Ok(second) => {
            let (more, why) = grown(&second, |file, end| file.write(&piece(), end).map(drop));
            (came + more, why)
        }
        Err(error) => (came, error),
    }
}

/// More names for one file: how many.
fn hard(folder: &Descriptor) -> (u64, ErrorCode) {
    if let Err(error) = open(folder, FILE) {
        return (0, error);
    }
    names(|name| folder.link_at(PathFlags::empty(), FILE, folder, name))
}

/// How many of the two ways into another folder are open.
fn across(folder: &Descriptor, other: &Descriptor) -> (u64, ErrorCode) {
    if let Err(error) = open(folder, FILE) {
        return (0, error);
    }
    let linked = folder.link_at(PathFlags::empty(), FILE, other, "linked");
    let moved = folder.rename_at(FILE, other, "moved");
    let done = u64::from(linked.is_ok()) + u64::from(moved.is_ok());
    (
        done,
        moved.err().or(linked.err()).unwrap_or(ErrorCode::Exist),
    )
}

/// Removes what a way has made.
fn clear(folder: &Descriptor, way: &str) {
    let _ = folder.unlink_file_at(FILE);
    for number in 0_u64.. {
        let name = number.to_string();
        let removed = match way {
            "folders" => folder.remove_directory_at(&name),
            _ => folder.unlink_file_at(&name),
        };
        if removed.is_err() {
            break;
        }
    }
}
