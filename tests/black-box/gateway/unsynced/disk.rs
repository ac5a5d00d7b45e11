//! What a disk may hold after the power went: of everything that was done to a folder until then, whatever was flushed, and
//! any part of the rest.
//!
//! Decides nothing of a particular file system. Bytes of a file last once the file was flushed, names in a folder once the
//! folder was (fsync(2)); what was not may be there, be missing, or, of bytes, be there in part. A change of one name to
//! another is whole or not at all.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::kills::Dice;

/// A file or folder, by its place in a [`Disk`].
pub(super) type Node = usize;

/// The folder that all others are in.
pub(super) const ROOT: Node = 0;

/// What a file or folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Content {
    File(Vec<u8>),
    Folder(BTreeMap<String, Node>),
}

/// Something that was done, in the order in which it was.
#[derive(Clone, Debug)]
pub(super) enum Done {
    /// A file or folder that is nowhere yet.
    Made { content: Content },
    /// A name given to a file or folder, in place of what had it, and taken from where it was.
    Named {
        node: Node,
        folder: Node,
        name: String,
        from: Option<(Node, String)>,
    },
    /// A name taken away.
    Unnamed { folder: Node, name: String },
    /// Bytes written to a file.
    Written {
        file: Node,
        at: usize,
        bytes: Vec<u8>,
    },
    /// A file cut.
    Cut { file: Node, length: usize },
    /// A file's bytes, or a folder's names, flushed.
    Flushed { node: Node },
    /// Somebody was told that it is done.
    Answered,
}

impl Done {
    /// In words, for whoever looks for what was lost.
    fn shown(&self, at: usize, left: Left) -> String {
        let what = match self {
            Self::Named { node, name, .. } => format!("name {name} of {node}"),
            Self::Unnamed { name, .. } => format!("removal of {name}"),
            Self::Written { file, at, bytes } => format!("{} at {at} of {file}", bytes.len()),
            Self::Cut { file, length } => format!("cut of {file} to {length}"),
            other => format!("{other:?}"),
        };
        let part = if left == Left::Part { "part of " } else { "" };
        format!("{at}: {part}{what}")
    }
}

/// What is left of something that was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    All,
    Nothing,
    /// Of bytes every second sector; of a name nothing.
    Part,
}

/// Sectors, of which each is written whole or not at all.
const SECTOR: usize = 512;

/// Files of at most so many bytes are the same only if all their bytes are: two versions may differ in a few.
const SMALL: usize = 65_536;

/// A folder as it is at some moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Disk(Vec<Content>);

impl Disk {
    /// The folder at `path`, all of it flushed.
    pub(super) fn read(path: &Path) -> Self {
        let mut disk = Self(vec![Content::Folder(BTreeMap::new())]);
        disk.fill(ROOT, path);
        disk
    }

    fn fill(&mut self, folder: Node, path: &Path) {
        for entry in fs::read_dir(path).expect("ours").flatten() {
            let kind = entry.file_type().expect("ours");
            let content = match (kind.is_dir(), kind.is_file()) {
                (true, _) => Content::Folder(BTreeMap::new()),
                (_, true) => Content::File(fs::read(entry.path()).expect("ours")),
                // A socket does not outlive who listens there.
                _ => continue,
            };
            let name = entry.file_name().into_string().expect("ours");
            let node = self.0.len();
            self.0.push(content);
            self.names(folder).insert(name, node);
            if kind.is_dir() {
                self.fill(node, &entry.path());
            }
        }
    }

    /// What lies at a path, of names below the root.
    pub(super) fn find(&self, path: &Path) -> Option<Node> {
        path.iter().try_fold(ROOT, |folder, name| {
            let Content::Folder(names) = &self.0[folder] else {
                return None;
            };
            names.get(name.to_str()?).copied()
        })
    }

    pub(super) fn length(&self, file: Node) -> usize {
        match &self.0[file] {
            Content::File(bytes) => bytes.len(),
            Content::Folder(_) => 0,
        }
    }

    pub(super) fn next(&self) -> Node {
        self.0.len()
    }

    fn names(&mut self, folder: Node) -> &mut BTreeMap<String, Node> {
        match &mut self.0[folder] {
            Content::Folder(names) => names,
            Content::File(_) => panic!("a file has no names in it"),
        }
    }

    /// Does something once more.
    pub(super) fn redo(&mut self, done: &Done) {
        self.redo_in_part(done, Left::All);
    }

    fn redo_in_part(&mut self, done: &Done, left: Left) {
        match done {
            Done::Made { content } => self.0.push(content.clone()),
            _ if left == Left::Nothing => {}
            Done::Written { file, at, bytes } => {
                if let Content::File(content) = &mut self.0[*file] {
                    let end = at + bytes.len();
                    content.resize(content.len().max(end), 0);
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if left == Left::All || number % 2 == 0 {
                            let from = at + number * SECTOR;
                            content[from..from + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
            _ if left == Left::Part => {}
            Done::Named {
                node,
                folder,
                name,
                from,
            } => {
                if let Some((folder, name)) = from {
                    self.names(*folder).remove(name);
                }
                self.names(*folder).insert(name.clone(), *node);
            }
            Done::Unnamed { folder, name } => {
                self.names(*folder).remove(name);
            }
            Done::Cut { file, length } => {
                if let Content::File(content) = &mut self.0[*file] {
                    content.resize(*length, 0);
                }
            }
            Done::Flushed { .. } | Done::Answered => {}
        }
    }

    /// Puts it all into the folder at `path`, which is made anew.
    pub(super) fn write(&self, path: &Path) {
        let _ = fs::remove_dir_all(path);
        if path.exists() {
            panic!("{} is in the way", path.display());
        }
        self.put(ROOT, path);
    }

    fn put(&self, node: Node, path: &Path) {
        let mode = match &self.0[node] {
            Content::File(bytes) => {
                fs::write(path, bytes).expect("ours");
                0o600
            }
            Content::Folder(names) => {
                fs::create_dir(path).expect("ours");
                for (name, node) in names {
                    self.put(*node, &path.join(name));
                }
                0o700
            }
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }

    /// The same for the same names and bytes.
    fn digest(&self) -> u64 {
        fn look(disk: &Disk, node: Node, hasher: &mut DefaultHasher) {
            match &disk.0[node] {
                Content::File(bytes) if bytes.len() <= SMALL => bytes.hash(hasher),
                // Compiled code, of which the versions here have the same. Bytes are lost by sectors.
                Content::File(bytes) => {
                    bytes.len().hash(hasher);
                    for sector in bytes.chunks(SECTOR) {
                        let some = sector.len().min(SECTOR / 16);
                        sector[..some].hash(hasher);
                    }
                }
                Content::Folder(names) => {
                    for (name, node) in names {
                        name.hash(hasher);
                        look(disk, *node, hasher);
                    }
                    names.len().hash(hasher);
                }
            }
        }
        let mut hasher = DefaultHasher::new();
        look(self, ROOT, &mut hasher);
        hasher.finish()
    }
}

/// What a disk holds after the power went at some moment.
pub(super) struct Image {
    pub(super) disk: Disk,
    /// Whether somebody had been told by then that it is done.
    pub(super) answered: bool,
    /// What was lost, for whoever looks for the reason.
    pub(super) lost: String,
}

/// Everything that a disk may hold that was as `before` says, if the power goes at any moment of what was done: each once.
/// Of `random` moments' leftovers so many are drawn besides those that are chosen.
pub(super) fn images(before: &Disk, done: &[Done], random: u32, dice: &mut Dice) -> Vec<Image> {
    let mut images = Vec::new();
    let mut seen = BTreeMap::new();
    for cut in 0..=done.len() {
        let past = &done[..cut];
        let answered = past.iter().any(|done| matches!(done, Done::Answered));
        let loose: Vec<usize> = (0..cut).filter(|at| is_loose(past, *at)).collect();
        let is_name = |at: usize| matches!(past[at], Done::Named { .. } | Done::Unnamed { .. });
        let mut choices: Vec<Box<dyn FnMut(usize) -> Left + '_>> = vec![
            Box::new(|_| Left::All),
            Box::new(|_| Left::Nothing),
            Box::new(|_| Left::Part),
            // The order in which journals write: names first, bytes never.
            Box::new(move |at| either(is_name(at))),
            Box::new(move |at| either(!is_name(at))),
        ];
        for one in loose.iter().copied() {
            choices.push(Box::new(move |at| either(at != one)));
            choices.push(Box::new(move |at| either(at == one)));
        }
        for _ in 0..random {
            let mut dice = Dice(dice.next());
            choices.push(Box::new(move |_| {
                [Left::All, Left::Nothing, Left::Part]
                    [usize::try_from(dice.below(3)).expect("small")]
            }));
        }
        for mut choice in choices {
            let mut disk = before.clone();
            let mut lost = Vec::new();
            for (at, what) in past.iter().enumerate() {
                let left = match loose.binary_search(&at) {
                    Ok(_) => choice(at),
                    Err(_) => Left::All,
                };
                if left != Left::All {
                    lost.push(what.shown(at, left));
                }
                disk.redo_in_part(what, left);
            }
            // Where it is the same to look at, that it was answered demands more.
            let known = seen.insert(disk.digest(), answered);
            if known.is_none() || (known == Some(false) && answered) {
                let lost = lost.join(", ");
                let lost = format!("after {cut} of {}, without {lost}", done.len());
                images.push(Image {
                    disk,
                    answered,
                    lost,
                });
            }
        }
    }
    images
}

fn either(all: bool) -> Left {
    if all { Left::All } else { Left::Nothing }
}

/// Whether what was done at this place was not flushed afterwards.
fn is_loose(done: &[Done], at: usize) -> bool {
    let in_what = match &done[at] {
        Done::Named { folder, .. } | Done::Unnamed { folder, .. } => *folder,
        Done::Written { file, .. } | Done::Cut { file, .. } => *file,
        Done::Made { .. } | Done::Flushed { .. } | Done::Answered => return false,
    };
    let flushed = |later: &Done| matches!(later, Done::Flushed { node } if *node == in_what);
    !done[at..].iter().any(flushed)
}

#[test]
fn th01_a_name_without_its_bytes_is_among_what_a_cut_leaves_and_what_was_flushed_stays() {
    let before = Disk(vec![Content::Folder(BTreeMap::new())]);
    let made = Done::Made {
        content: Content::File(Vec::new()),
    };
    let named = |name: &str, from: Option<&str>| Done::Named {
        node: 1,
        folder: ROOT,
        name: name.to_owned(),
        from: from.map(|name| (ROOT, name.to_owned())),
    };
    let written = Done::Written {
        file: 1,
        at: 0,
        bytes: vec![7; 2 * SECTOR],
    };
    let flushed = |node| Done::Flushed { node };
    let left = |done: &[Done]| -> Vec<Option<Vec<u8>>> {
        let of = |image: &Image| match image.disk.find(Path::new("memory")) {
            Some(node) => match &image.disk.0[node] {
                Content::File(bytes) => Some(bytes.clone()),
                Content::Folder(_) => None,
            },
            None => None,
        };
        let images = images(&before, done, 0, &mut Dice(1));
        // At the end of it all.
        images
            .iter()
            .filter(|image| {
                image.lost.starts_with(&format!("after {} ", done.len())) || image.answered
            })
            .map(of)
            .collect()
    };
    let careless = left(&[
        made.clone(),
        named(".unfinished", None),
        written.clone(),
        named("memory", Some(".unfinished")),
        Done::Answered,
    ]);
    let torn = [vec![7; SECTOR], vec![0; SECTOR]].concat();
    for expected in [None, Some(Vec::new()), Some(vec![7; 2 * SECTOR])] {
        assert!(careless.contains(&expected), "{careless:?}");
    }
    let careful = left(&[
        made,
        named(".unfinished", None),
        written,
        flushed(1),
        named("memory", Some(".unfinished")),
        flushed(ROOT),
        Done::Answered,
    ]);
    assert_eq!(careful, [Some(vec![7; 2 * SECTOR])]);
    assert!(!careful.contains(&Some(torn)));
}
