//! What a process does to a folder, from what strace writes of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::disk::{Content, Disk, Done};

/// The calls that change files or flush them, and those by which the gateway answers.
pub(super) const CALLS: &str = "openat,write,pwrite64,writev,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,\
     unlink,unlinkat,mkdir,mkdirat,rmdir,sendto,sendmsg,copy_file_range,sendfile,fallocate";

/// What was done below the folder `root`, which was as `before` says. `answer` is part of what is sent when it is done.
pub(super) fn read(text: &str, root: &Path, before: &Disk, answer: &str) -> Vec<Done> {
    let mut reader = Reader {
        root,
        disk: before.clone(),
        done: Vec::new(),
        answer,
    };
    // What was begun by a thread and not finished when another did something.
    let mut begun: HashMap<&str, String> = HashMap::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(first) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, first.to_owned());
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let Some((_, rest)) = rest.split_once(" resumed>") else {
                continue;
            };
            if let Some(first) = begun.remove(thread) {
                reader.call(&format!("{first}{rest}"));
            }
        } else {
            reader.call(call);
        }
    }
    reader.done
}

struct Reader<'a> {
    root: &'a Path,
    disk: Disk,
    done: Vec<Done>,
    answer: &'a str,
}

impl Reader<'_> {
    /// A whole call: `name(arguments) = result`.
    fn call(&mut self, text: &str) -> Option<()> {
        let (call, result) = text.rsplit_once(" = ")?;
        let (name, arguments) = call.split_once('(')?;
        let result: String = result.chars().take_while(char::is_ascii_digit).collect();
        // What failed changed nothing.
        let result: usize = result.parse().ok()?;
        let arguments = split(arguments.trim_end().strip_suffix(')')?);
        let argument = |at: usize| arguments.get(at).copied().unwrap_or_default();
        match name {
            "openat" => {
                let path = self.path_at(argument(0), argument(1))?;
                let flags = argument(2);
                if flags.contains("O_CREAT") && self.disk.find(&path).is_none() {
                    self.made(Content::File(Vec::new()), &path)?;
                } else if flags.contains("O_TRUNC") {
                    let file = self.disk.find(&path)?;
                    self.note(Done::Cut { file, length: 0 });
                }
            }
            "write" | "sendto" if self.answers(argument(0), argument(1)) => {
                self.note(Done::Answered);
            }
            "write" | "pwrite64" => {
                let file = self.disk.find(&self.path_of(argument(0))?)?;
                let mut bytes = text_of(argument(1))?;
                bytes.truncate(result);
                assert_eq!(bytes.len(), result, "strace wrote not all of it");
                let at = match name {
                    "pwrite64" => argument(3).parse().expect("a place"),
                    _ => self.disk.length(file),
                };
                self.note(Done::Written { file, at, bytes });
            }
            "ftruncate" => {
                let file = self.disk.find(&self.path_of(argument(0))?)?;
                let length = argument(1).parse().expect("a length");
                self.note(Done::Cut { file, length });
            }
            "fsync" | "fdatasync" => {
                let node = self.disk.find(&self.path_of(argument(0))?)?;
                self.note(Done::Flushed { node });
            }
            "rename" | "link" => {
                let here = "AT_FDCWD";
                self.named(
                    name,
                    self.path_at(here, argument(0))?,
                    self.path_at(here, argument(1))?,
                )?;
            }
            "renameat" | "renameat2" | "linkat" => {
                let from = self.path_at(argument(0), argument(1))?;
                let to = self.path_at(argument(2), argument(3))?;
                self.named(name, from, to)?;
            }
            "unlink" | "rmdir" => self.unnamed(&self.path_at("AT_FDCWD", argument(0))?)?,
            "unlinkat" => self.unnamed(&self.path_at(argument(0), argument(1))?)?,
            "mkdir" => {
                let path = self.path_at("AT_FDCWD", argument(0))?;
                self.made(Content::Folder(Default::default()), &path)?;
            }
            "mkdirat" => {
                let path = self.path_at(argument(0), argument(1))?;
                self.made(Content::Folder(Default::default()), &path)?;
            }
            // Nothing of the gateway's writes files so; if it does one day, this must learn it.
            other => assert!(
                self.path_of(argument(0)).is_none() && self.path_of(argument(2)).is_none(),
                "{other}: {text}"
            ),
        }
        Some(())
    }

    /// Whether it is an answer that is sent, and no file that is written.
    fn answers(&self, to: &str, what: &str) -> bool {
        let part = self.answer.as_bytes();
        let sent = text_of(what).unwrap_or_default();
        self.path_of(to).is_none() && sent.windows(part.len()).any(|window| window == part)
    }

    fn note(&mut self, done: Done) {
        self.disk.redo(&done);
        self.done.push(done);
    }

    fn made(&mut self, content: Content, path: &Path) -> Option<()> {
        let node = self.disk.next();
        let folder = self.disk.find(path.parent()?)?;
        let name = path.file_name()?.to_str()?.to_owned();
        self.note(Done::Made { content });
        self.note(Done::Named {
            node,
            folder,
            name,
            from: None,
        });
        Some(())
    }

    fn named(&mut self, call: &str, from: PathBuf, to: PathBuf) -> Option<()> {
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let node = self.disk.find(&from)?;
        let source = (self.disk.find(from.parent()?)?, name(&from)?);
        self.note(Done::Named {
            node,
            folder: self.disk.find(to.parent()?)?,
            name: name(&to)?,
            from: (!call.starts_with("link")).then_some(source),
        });
        Some(())
    }

    fn unnamed(&mut self, path: &Path) -> Option<()> {
        self.disk.find(path)?;
        let folder = self.disk.find(path.parent()?)?;
        let name = path.file_name()?.to_str()?.to_owned();
        self.note(Done::Unnamed { folder, name });
        Some(())
    }

    /// The path below the root of an open file.
    fn path_of(&self, argument: &str) -> Option<PathBuf> {
        Some(opened(argument)?.strip_prefix(self.root).ok()?.to_owned())
    }

    /// The path below the root of a name in a folder.
    fn path_at(&self, folder: &str, name: &str) -> Option<PathBuf> {
        let name = path(text_of(name)?)?;
        let whole = match opened(folder) {
            Some(folder) if name.is_relative() => folder.join(name),
            _ => name,
        };
        Some(whole.strip_prefix(self.root).ok()?.to_owned())
    }
}

/// Where an open file lies: `5<\x2f\x74>`.
fn opened(argument: &str) -> Option<PathBuf> {
    let (_, text) = argument.split_once('<')?;
    path(bytes(text.strip_suffix('>')?)?)
}

fn path(bytes: Vec<u8>) -> Option<PathBuf> {
    Some(PathBuf::from(String::from_utf8(bytes).ok()?))
}

/// Arguments, at the commas that are in no text, path or structure.
fn split(arguments: &str) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut deep) = (Vec::new(), 0, false, 0_u32);
    for (at, character) in arguments.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '<' | '{' | '[' if !quoted => deep += 1,
            '>' | '}' | ']' if !quoted => deep = deep.saturating_sub(1),
            ',' if !quoted && deep == 0 => {
                parts.push(arguments[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(arguments[from..].trim());
    parts
}

/// The bytes of `"\x2f\x74"`.
fn text_of(argument: &str) -> Option<Vec<u8>> {
    bytes(argument.strip_prefix('"')?.strip_suffix('"')?)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    text.split("\\x")
        .skip(1)
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect()
}
