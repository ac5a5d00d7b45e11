//! What a component asks for: one vocabulary for the request in a statement and for an operator's ceiling.
//!
//! The default is nothing. These are plain values; [`crate::Statement`] holds only those that pass
//! [`Grants::normalise`]. Intersecting them with a ceiling and enforcing them is left to the runtime.

use crate::FormatError;
use crate::cbor::{MapWriter, Reader, Writer};
use crate::limits::{MAX_LIST_ENTRIES, MAX_TEXT_BYTES};
use crate::text;

/// Authority over the world outside the guest. `Default` is none.
///
/// In `http_outgoing` and `sockets`, `None` does not link the interface; an empty list links it and denies every
/// call, which toolchains that import more than they use need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The command line.
    pub args: bool,
    /// Names of environment variables: `[A-Za-z_][A-Za-z0-9_]*`.
    pub env: Vec<String>,
    /// Standard streams.
    pub stdio: Stdio,
    /// Directories, each guest path once.
    pub directories: Vec<DirectoryGrant>,
    /// Hosts to reach over HTTP: `host` or `host:port`.
    pub http_outgoing: Option<Vec<String>>,
    /// Being called over HTTP.
    pub http_incoming: bool,
    /// Sockets: `tcp:HOST:PORT`, `udp:HOST:PORT`, `tcp-listen:ADDRESS:PORT`, `udp-listen:ADDRESS:PORT`.
    pub sockets: Option<Vec<String>>,
    /// The date. Monotonic time is not a grant.
    pub wall_clock: bool,
    /// Keys of the device, each name once.
    pub keys: Vec<KeyGrant>,
}

/// The standard streams; one that is not granted is empty or discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// A directory, read only unless `writable`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryGrant {
    /// The path that the guest sees: absolute and normalised.
    pub guest: String,
    /// Whether files may be created, changed and removed.
    pub writable: bool,
}

/// A key of the device, by a name that the operator maps to a key URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyGrant {
    /// The name, 1 to 64 characters of `A-Z a-z 0-9 . _ : + / -`.
    pub name: String,
    /// The contexts under which the guest may sign; none: it may not sign, only read the public key and chain.
    pub contexts: Vec<String>,
    /// Signatures a minute; `None`: what the operator allows.
    pub per_minute: Option<u32>,
}

/// The most that a component may use, in total over all its instances. `None`: what the operator allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestLimits {
    /// Linear memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Elements of tables.
    pub table_elements: Option<u64>,
    /// Wall-clock time of a run, in milliseconds.
    pub run_milliseconds: Option<u64>,
    /// Time on a processor, in milliseconds.
    pub cpu_milliseconds: Option<u64>,
    /// Resource handles held at once.
    pub handles: Option<u64>,
    /// Bytes in the arguments of one call to the host.
    pub hostcall_bytes: Option<u64>,
    /// Bytes written to logs and standard streams.
    pub log_bytes: Option<u64>,
}

impl Grants {
    /// Sorts every list and checks every text, so that equal grants have one encoding.
    ///
    /// # Errors
    /// [`FormatError::Text`] for a text that its field may not hold or an entry that appears twice,
    /// [`FormatError::LimitExceeded`] for a list of more than 64 entries or a text that is too long.
    pub fn normalise(&mut self) -> Result<(), FormatError> {
        self.env
            .iter()
            .try_for_each(|name| text::check_environment_name("environment variable", name))?;
        text::sort_unique("environment variables", &mut self.env)?;
        for directory in &self.directories {
            text::check_guest_path("directory", &directory.guest)?;
        }
        text::sort_unique("directories", &mut self.directories)?;
        unique("directories", &self.directories, |directory| {
            &directory.guest
        })?;
        if let Some(hosts) = &mut self.http_outgoing {
            hosts
                .iter()
                .try_for_each(|host| text::check_host("HTTP host", host))?;
            text::sort_unique("HTTP hosts", hosts)?;
        }
        if let Some(sockets) = &mut self.sockets {
            sockets
                .iter()
                .try_for_each(|socket| text::check_socket("socket", socket))?;
            text::sort_unique("sockets", sockets)?;
        }
        for key in &mut self.keys {
            text::check_label("key name", &key.name)?;
            key.contexts
                .iter()
                .try_for_each(|context| text::check_label("key context", context))?;
            text::sort_unique("key contexts", &mut key.contexts)?;
        }
        text::sort_unique("keys", &mut self.keys)?;
        unique("keys", &self.keys, |key| &key.name)
    }

    pub(crate) fn encode(&self) -> MapWriter {
        let mut map = MapWriter::default();
        map.optional(1, self.args.then_some(true), Writer::boolean);
        map.optional(2, filled(&self.env), write_texts);
        map.optional(3, filled(&self.stdio.numbers()), |writer, numbers| {
            writer.array(numbers.len());
            numbers.iter().for_each(|number| writer.unsigned(*number));
        });
        map.optional(4, filled(&self.directories), |writer, directories| {
            writer.array(directories.len());
            for directory in directories {
                writer.array(2);
                writer.text(&directory.guest);
                writer.boolean(directory.writable);
            }
        });
        map.optional(5, self.http_outgoing.as_deref(), write_texts);
        map.optional(6, self.http_incoming.then_some(true), Writer::boolean);
        map.optional(7, self.sockets.as_deref(), write_texts);
        map.optional(8, self.wall_clock.then_some(true), Writer::boolean);
        map.optional(9, filled(&self.keys), |writer, keys| {
            writer.array(keys.len());
            keys.iter().for_each(|key| key.encode().write_to(writer));
        });
        map
    }

    /// Reads what [`Self::encode`] writes; the caller normalises and compares the order by encoding again.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut grants = Self::default();
        let empty = reader.noncanonical("empty grants, which must be left out");
        let mut keys = reader.map("grants", 16)?;
        if keys.is_empty() {
            return Err(empty);
        }
        while let Some(key) = keys.next(reader)? {
            match key {
                1 => grants.args = read_true(reader)?,
                2 => grants.env = read_texts(reader, "environment variables", false)?,
                3 => grants.stdio = Stdio::decode(reader)?,
                4 => {
                    grants.directories =
                        reader.list("directories", MAX_LIST_ENTRIES, false, |reader| {
                            reader.tuple("a directory is a path and whether it is writable", 2)?;
                            Ok(DirectoryGrant {
                                guest: reader.text("directory", MAX_TEXT_BYTES)?.to_owned(),
                                writable: reader.boolean("directory")?,
                            })
                        })?;
                }
                5 => grants.http_outgoing = Some(read_texts(reader, "HTTP hosts", true)?),
                6 => grants.http_incoming = read_true(reader)?,
                7 => grants.sockets = Some(read_texts(reader, "sockets", true)?),
                8 => grants.wall_clock = read_true(reader)?,
                9 => {
                    grants.keys = reader.list("keys", MAX_LIST_ENTRIES, false, KeyGrant::decode)?
                }
                _ => return Err(reader.malformed("a grant that the format does not have")),
            }
        }
        Ok(grants)
    }
}

impl Stdio {
    /// The granted streams by their POSIX numbers.
    fn numbers(self) -> Vec<u64> {
        let granted = [self.stdin, self.stdout, self.stderr];
        (0..)
            .zip(granted)
            .filter_map(|(number, granted)| granted.then_some(number))
            .collect()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut stdio = Self::default();
        let unknown = reader.malformed("a standard stream is 0, 1 or 2");
        let order = reader.noncanonical("standard streams that repeat or are not sorted");
        let numbers = reader.list("standard streams", 3, false, |reader| {
            reader.unsigned("standard stream")
        })?;
        for number in &numbers {
            match number {
                0 => stdio.stdin = true,
                1 => stdio.stdout = true,
                2 => stdio.stderr = true,
                _ => return Err(unknown),
            }
        }
        if stdio.numbers() == numbers {
            Ok(stdio)
        } else {
            Err(order)
        }
    }
}

impl KeyGrant {
    fn encode(&self) -> MapWriter {
        let mut map = MapWriter::default();
        map.entry(1, |writer| writer.text(&self.name));
        map.optional(2, filled(&self.contexts), write_texts);
        map.optional(3, self.per_minute, |writer, rate| {
            writer.unsigned(rate.into())
        });
        map
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let missing = reader.malformed("a key grant has no name");
        let mut name = None;
        let mut contexts = Vec::new();
        let mut per_minute = None;
        let mut keys = reader.map("key grant", 8)?;
        while let Some(key) = keys.next(reader)? {
            match key {
                1 => name = Some(reader.text("key name", MAX_TEXT_BYTES)?.to_owned()),
                2 => contexts = read_texts(reader, "key contexts", false)?,
                3 => {
                    let large =
                        reader.malformed("signatures a minute are a number of at most 32 bits");
                    per_minute = Some(
                        u32::try_from(reader.unsigned("signatures a minute")?)
                            .map_err(|_| large)?,
                    );
                }
                _ => {
                    return Err(
                        reader.malformed("a part of a key grant that the format does not have")
                    );
                }
            }
        }
        Ok(Self {
            name: name.ok_or(missing)?,
            contexts,
            per_minute,
        })
    }
}

impl GuestLimits {
    pub(crate) fn encode(&self) -> MapWriter {
        let mut map = MapWriter::default();
        for (key, value) in (1..).zip([
            self.memory_bytes,
            self.table_elements,
            self.run_milliseconds,
            self.cpu_milliseconds,
            self.handles,
            self.hostcall_bytes,
            self.log_bytes,
        ]) {
            map.optional(key, value, Writer::unsigned);
        }
        map
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut limits = Self::default();
        let empty = reader.noncanonical("empty limits, which must be left out");
        let mut keys = reader.map("limits", 16)?;
        if keys.is_empty() {
            return Err(empty);
        }
        while let Some(key) = keys.next(reader)? {
            let slot = match key {
                1 => &mut limits.memory_bytes,
                2 => &mut limits.table_elements,
                3 => &mut limits.run_milliseconds,
                4 => &mut limits.cpu_milliseconds,
                5 => &mut limits.handles,
                6 => &mut limits.hostcall_bytes,
                7 => &mut limits.log_bytes,
                _ => return Err(reader.malformed("a limit that the format does not have")),
            };
            *slot = Some(reader.unsigned("limit")?);
        }
        Ok(limits)
    }
}

/// A list, if there is something in it.
pub(crate) fn filled<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

pub(crate) fn write_texts(writer: &mut Writer, texts: &[String]) {
    writer.array(texts.len());
    texts.iter().for_each(|text| writer.text(text));
}

pub(crate) fn read_texts(
    reader: &mut Reader<'_>,
    what: &'static str,
    may_be_empty: bool,
) -> Result<Vec<String>, FormatError> {
    reader.list(what, MAX_LIST_ENTRIES, may_be_empty, |reader| {
        reader.text(what, MAX_TEXT_BYTES).map(ToOwned::to_owned)
    })
}

/// A grant that is present is `true`; what is not granted is left out.
fn read_true(reader: &mut Reader<'_>) -> Result<bool, FormatError> {
    let denied = reader.noncanonical("a grant that says false, which must be left out");
    if reader.boolean("grant")? {
        Ok(true)
    } else {
        Err(denied)
    }
}

/// Refuses two sorted entries with one name.
fn unique<T>(
    what: &'static str,
    list: &[T],
    name: impl Fn(&T) -> &String,
) -> Result<(), FormatError> {
    match list
        .iter()
        .zip(list.iter().skip(1))
        .find(|(a, b)| name(a) == name(b))
    {
        Some((twice, _)) => Err(FormatError::text(what, name(twice), "it appears twice")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn refused(grants: Grants, field: &str) {
        match grants.clone().normalise() {
            Err(FormatError::Text { what, .. }) => assert_eq!(what, field),
            other => panic!("{other:?}: {grants:?}"),
        }
    }

    fn directory(guest: &str, writable: bool) -> DirectoryGrant {
        DirectoryGrant {
            guest: guest.to_owned(),
            writable,
        }
    }

    fn key(name: &str, contexts: &[&str]) -> KeyGrant {
        KeyGrant {
            name: name.to_owned(),
            contexts: strings(contexts),
            per_minute: None,
        }
    }

    #[test]
    fn the_default_is_nothing() {
        let grants = Grants::default();
        assert!(grants.encode().is_empty());
        assert!(
            !grants.args
                && grants.http_outgoing.is_none()
                && grants.sockets.is_none()
                && !grants.wall_clock
        );
        assert!(GuestLimits::default().encode().is_empty());
    }

    #[test]
    fn every_text_is_checked() {
        refused(
            Grants {
                env: strings(&["A=B"]),
                ..Grants::default()
            },
            "environment variable",
        );
        refused(
            Grants {
                directories: vec![directory("data", false)],
                ..Grants::default()
            },
            "directory",
        );
        refused(
            Grants {
                http_outgoing: Some(strings(&["*"])),
                ..Grants::default()
            },
            "HTTP host",
        );
        refused(
            Grants {
                sockets: Some(strings(&["*"])),
                ..Grants::default()
            },
            "socket",
        );
        refused(
            Grants {
                keys: vec![key("a b", &[])],
                ..Grants::default()
            },
            "key name",
        );
        refused(
            Grants {
                keys: vec![key("a", &["b c"])],
                ..Grants::default()
            },
            "key context",
        );
    }

    #[test]
    fn nothing_is_granted_twice() {
        refused(
            Grants {
                env: strings(&["A", "A"]),
                ..Grants::default()
            },
            "environment variables",
        );
        // Read-only and writable at once: which one counts must not be a question.
        let both = vec![directory("/data", false), directory("/data", true)];
        refused(
            Grants {
                directories: both,
                ..Grants::default()
            },
            "directories",
        );
        refused(
            Grants {
                keys: vec![key("a", &["b"]), key("a", &["c"])],
                ..Grants::default()
            },
            "keys",
        );
        refused(
            Grants {
                keys: vec![key("a", &["b", "b"])],
                ..Grants::default()
            },
            "key contexts",
        );
    }

    #[test]
    fn key_grants_are_read_strictly() {
        let read = |bytes: &[u8]| KeyGrant::decode(&mut Reader::new(bytes));
        assert_eq!(read(&[0xa1, 1, 0x61, b'a']).unwrap(), key("a", &[]));
        assert!(matches!(
            read(&[0xa1, 3, 1]),
            Err(FormatError::Malformed {
                what: "a key grant has no name",
                ..
            })
        ));
        assert!(read(&[0xa2, 1, 0x61, b'a', 3, 0x1a, 0xff, 0xff, 0xff, 0xff]).is_ok());
        assert!(read(&[0xa2, 1, 0x61, b'a', 3, 0x1b, 0, 0, 0, 1, 0, 0, 0, 0]).is_err());
        assert!(read(&[0xa2, 1, 0x61, b'a', 2, 0x80]).is_err());
        assert!(read(&[0xa2, 1, 0x61, b'a', 4, 1]).is_err());
    }
}
