//! No step of a guest takes long, so that a deadline ends whatever it does.
//!
//! Compiled code looks whether its time is up where a function, a round of a loop or such an operation begins. A `memory.fill`,
//! `memory.copy`, `memory.init`, `table.copy` or `table.init` is a single step from there on, however much it covers ("Limitations
//! with malicious guests" in Wasmtime's documentation of `Config::epoch_interruption`). So each whose length may be more than a
//! piece becomes a call of a function that is added to its module and does the same, piece by piece ([`long`]). What traps does so
//! before anything is written, as the specification has it (WebAssembly 2.0, 4.4.6 and 4.4.7); it needs room for one frame more.
//!
//! What cannot be done in pieces has a bound: data that is put into memory when a module starts ([`start`]), and strings that one
//! component hands to another inside it ([`strings`]). Nothing else is changed.
//!
//! What is given here was verified and held against the proposals that a guest may use: addresses have 32 bits, and a module has
//! one memory at most. Function bodies were not validated. One that cannot be read is an error here; what is read and wrong stays
//! wrong, and the compiler says so.

mod long;
mod start;
mod strings;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use memchr::memchr_iter;
use wasm_encoder::{Encode as _, InstructionSink};
use wasmparser::{
    BinaryReader, BinaryReaderError, Data, DataKind, ElementItems, ElementKind, FunctionBody,
    Operator, Parser, Payload, TypeRef,
};

use long::{Long, TYPE};
use start::{LONGEST_DATA, Start};

/// The most elements of all segments of a module that are there when it starts: each instance has them apart from its tables.
const MOST_ELEMENTS: u32 = 1 << 16;

/// A page of a memory, in bytes (64 KiB).
const PAGE: u64 = 64 << 10;

/// How deep components may lie in each other.
const DEEPEST: usize = 64;

/// How long the header of a module or a component is.
const HEADER: usize = 8;

/// Sections of a component that hold code (Component Model, Binary.md).
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// Sections of a module (WebAssembly 2.0, 5.5).
const CUSTOM: u8 = 0;
const TYPES: u8 = 1;
const FUNCTIONS: u8 = 3;
const CODE: u8 = 10;

/// What stands before an operation in bulk, and the number of each behind it (5.4.6).
const PREFIX: u8 = 0xfc;
const MEMORY_INIT: u32 = 8;
const MEMORY_COPY: u32 = 10;
const MEMORY_FILL: u32 = 11;
const TABLE_INIT: u32 = 12;
const TABLE_COPY: u32 = 14;

/// Why a component cannot be brought into pieces.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PiecesError {
    #[error("{0}")]
    Unreadable(#[from] BinaryReaderError),
    #[error("components lie more than {DEEPEST} deep in each other")]
    TooDeep,
    #[error("a module has more parts than can be numbered")]
    TooMany,
    #[error(
        "a module has {0} bytes of data put into memory at once when it starts, and may have {LONGEST_DATA}; give it a memory of its own with the \
         data at a constant place, or have it copy them with memory.init"
    )]
    LongData(u64),
    #[error("a module has more than {MOST_ELEMENTS} elements in segments for table.init")]
    ManyElements,
    #[error("a part of it ends beyond it")]
    Beyond,
    #[error("it cannot be written anew: {0}")]
    Unwritable(String),
}

/// The component with its long operations in pieces, and its strings bounded: the same bytes, if it has neither.
///
/// # Errors
/// If it cannot be read, or does more at its start than it may.
pub(crate) fn in_pieces(component: &[u8]) -> Result<Cow<'_, [u8]>, PiecesError> {
    let changed = in_component(component, 0)?;
    let changed = changed.map_or(Cow::Borrowed(component), Cow::Owned);
    let bounded = strings::bounded(&changed)?;
    Ok(bounded.map_or(changed, Cow::Owned))
}

fn in_component(component: &[u8], depth: usize) -> Result<Option<Vec<u8>>, PiecesError> {
    if depth > DEEPEST {
        return Err(PiecesError::TooDeep);
    }
    let mut changed = None;
    for section in sections(component)? {
        let section = section?;
        let inner = match section.id {
            CORE_MODULE => in_module(section.data)?,
            COMPONENT => in_component(section.data, depth.saturating_add(1))?,
            _ => None,
        };
        // From the first change on everything is written anew.
        if inner.is_some() && changed.is_none() {
            let mut begun = Vec::with_capacity(component.len());
            begun.extend_from_slice(part(component, 0..section.begins)?);
            changed = Some(begun);
        }
        if let Some(changed) = &mut changed {
            put(
                changed,
                section.id,
                inner.as_deref().unwrap_or(section.data),
            );
        }
    }
    Ok(changed)
}

/// A section of a module or a component.
struct Section<'a> {
    /// Where it begins there, with its number and length.
    begins: usize,
    id: u8,
    data: &'a [u8],
}

fn sections(
    bytes: &[u8],
) -> Result<impl Iterator<Item = Result<Section<'_>, BinaryReaderError>>, BinaryReaderError> {
    let mut reader = BinaryReader::new(bytes, 0);
    reader.read_bytes(HEADER)?;
    Ok(std::iter::from_fn(move || {
        (!reader.eof()).then(|| {
            let begins = reader.original_position();
            let id = reader.read_u8()?;
            let length = reader.read_var_u32()?;
            let data = reader.read_bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
            Ok(Section { begins, id, data })
        })
    }))
}

fn put(to: &mut Vec<u8>, id: u8, data: &[u8]) {
    to.push(id);
    data.encode(to);
}

/// A module with its long operations in pieces; none, if it has none.
fn in_module(module: &[u8]) -> Result<Option<Vec<u8>>, PiecesError> {
    let read = Module::read(module)?;
    let mut added = Added::default();
    let mut bodies = Vec::new();
    for body in &read.bodies {
        bodies.push(read.in_body(body, &mut added)?);
    }
    let added = added.in_order;
    if added.is_empty() {
        return Ok(None);
    }
    let mut changed = Vec::with_capacity(module.len());
    changed.extend_from_slice(part(module, 0..HEADER)?);
    for section in sections(module)? {
        let section = section?;
        match section.id {
            TYPES => {
                let (count, types) = counted(section.data)?;
                let mut data = Vec::new();
                more(count, 1)?.encode(&mut data);
                data.extend_from_slice(types);
                data.extend_from_slice(&TYPE);
                put(&mut changed, section.id, &data);
            }
            FUNCTIONS => {
                let (count, functions) = counted(section.data)?;
                let mut data = Vec::new();
                more(count, added.len())?.encode(&mut data);
                data.extend_from_slice(functions);
                for _ in &added {
                    read.types.encode(&mut data);
                }
                put(&mut changed, section.id, &data);
            }
            CODE => {
                let (count, _) = counted(section.data)?;
                let mut data = Vec::new();
                more(count, added.len())?.encode(&mut data);
                bodies.iter().for_each(|body| body.encode(&mut data));
                added
                    .iter()
                    .for_each(|long: &Long| long.function().encode(&mut data));
                put(&mut changed, section.id, &data);
            }
            // Names of functions are told where one traps. What else there is may point to places in code, which have moved.
            CUSTOM if BinaryReader::new(section.data, 0).read_string()? != "name" => {}
            _ => put(&mut changed, section.id, section.data),
        }
    }
    Ok(Some(changed))
}

/// How many parts a section has, and the parts.
fn counted(section: &[u8]) -> Result<(u32, &[u8]), PiecesError> {
    let mut reader = BinaryReader::new(section, 0);
    let count = reader.read_var_u32()?;
    let parts = part(section, reader.original_position()..section.len())?;
    Ok((count, parts))
}

fn part(of: &[u8], range: Range<usize>) -> Result<&[u8], PiecesError> {
    of.get(range).ok_or(PiecesError::Beyond)
}

fn more(count: u32, by: usize) -> Result<u32, PiecesError> {
    let by = u32::try_from(by).map_err(|_| PiecesError::TooMany)?;
    count.checked_add(by).ok_or(PiecesError::TooMany)
}

/// What of a module decides how it is changed.
#[derive(Default)]
struct Module<'a> {
    types: u32,
    /// Those that are imported, and its own.
    functions: u32,
    /// How long each segment of data and of elements is, if it is there after the start.
    data: Vec<u32>,
    elements: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
}

impl<'a> Module<'a> {
    fn read(module: &'a [u8]) -> Result<Self, PiecesError> {
        let mut read = Self::default();
        let mut start = Start::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        read.types = more(read.types, group?.types().len())?;
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let is_function =
                            matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                        read.functions = more(read.functions, usize::from(is_function))?;
                    }
                }
                Payload::FunctionSection(own) => {
                    let functions = read.functions.checked_add(own.count());
                    read.functions = functions.ok_or(PiecesError::TooMany)?;
                }
                Payload::MemorySection(own) => {
                    for memory in own {
                        start.memory = Some(memory?.initial.saturating_mul(PAGE));
                    }
                }
                Payload::ElementSection(segments) => {
                    for segment in segments {
                        let segment = segment?;
                        let count = match segment.items {
                            ElementItems::Functions(items) => items.count(),
                            ElementItems::Expressions(_, items) => items.count(),
                        };
                        read.elements.push(match segment.kind {
                            ElementKind::Passive => count,
                            ElementKind::Active { .. } | ElementKind::Declared => 0,
                        });
                    }
                    let all = read
                        .elements
                        .iter()
                        .fold(0_u32, |all, of| all.saturating_add(*of));
                    if all > MOST_ELEMENTS {
                        return Err(PiecesError::ManyElements);
                    }
                }
                Payload::DataSection(segments) => {
                    for segment in segments {
                        let Data { kind, data, .. } = segment?;
                        let length = u32::try_from(data.len()).map_err(|_| PiecesError::Beyond)?;
                        read.data.push(match kind {
                            DataKind::Passive => length,
                            DataKind::Active { offset_expr, .. } => {
                                start.put(&offset_expr, length);
                                0
                            }
                        });
                    }
                    start.is_short()?;
                }
                Payload::CodeSectionEntry(body) => read.bodies.push(body),
                _ => {}
            }
        }
        Ok(read)
    }

    /// A body whose long operations are calls. What is called that is not in `added` yet is put there.
    fn in_body<'b>(
        &self,
        body: &FunctionBody<'b>,
        added: &mut Added,
    ) -> Result<Cow<'b, [u8]>, PiecesError> {
        let bytes = body.as_bytes();
        if !may_be_long(bytes) {
            return Ok(Cow::Borrowed(bytes));
        }
        let within = |position: usize| position.saturating_sub(body.range().start);
        let mut operators = body.get_operators_reader()?;
        let mut calls: Vec<(Range<usize>, usize)> = Vec::new();
        // What lies on top of the stack, if that is a constant.
        let mut top = None;
        while !operators.eof() {
            let begins = within(operators.original_position());
            let operator = operators.read()?;
            if let Some(long) = self.long(&operator)
                && top.is_none_or(|length| length > long.piece().cast_unsigned())
            {
                let operation = begins..within(operators.original_position());
                calls.push((operation, added.which(long)));
            }
            top = match operator {
                Operator::I32Const { value } => Some(value.cast_unsigned()),
                _ => None,
            };
        }
        if calls.is_empty() {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut changed = Vec::new();
        let mut from = 0;
        for (operation, which) in calls {
            changed.extend_from_slice(part(bytes, from..operation.start)?);
            InstructionSink::new(&mut changed).call(more(self.functions, which)?);
            from = operation.end;
        }
        changed.extend_from_slice(part(bytes, from..bytes.len())?);
        Ok(Cow::Owned(changed))
    }

    /// Which operation this is, if it may cover more than a piece.
    fn long(&self, operator: &Operator<'_>) -> Option<Long> {
        let length = |of: &[u32], segment: u32| {
            let length = usize::try_from(segment)
                .ok()
                .and_then(|segment| of.get(segment));
            length.copied()
        };
        let long = match *operator {
            Operator::MemoryCopy {
                dst_mem: 0,
                src_mem: 0,
            } => Long::MemoryCopy,
            Operator::MemoryFill { mem: 0 } => Long::MemoryFill,
            Operator::MemoryInit {
                data_index: segment,
                mem: 0,
            } => Long::MemoryInit {
                segment,
                length: length(&self.data, segment)?,
            },
            Operator::TableCopy {
                dst_table: to,
                src_table: from,
            } => Long::TableCopy { to, from },
            Operator::TableInit {
                elem_index: segment,
                table: to,
            } => Long::TableInit {
                to,
                segment,
                length: length(&self.elements, segment)?,
            },
            _ => return None,
        };
        match long {
            Long::MemoryInit { length, .. } | Long::TableInit { length, .. }
                if length <= long.piece().cast_unsigned() =>
            {
                None
            }
            _ => Some(long),
        }
    }
}

/// Whether a body's bytes could be those of such an operation. Most have none, and need not be read.
fn may_be_long(body: &[u8]) -> bool {
    memchr_iter(PREFIX, body).any(|at| {
        let behind = body.get(at.saturating_add(1)..).unwrap_or_default();
        // In as many bytes as somebody likes.
        matches!(
            BinaryReader::new(behind, 0).read_var_u32(),
            Ok(MEMORY_INIT | MEMORY_COPY | MEMORY_FILL | TABLE_INIT | TABLE_COPY)
        )
    })
}

/// The functions that are added to a module, each once.
#[derive(Default)]
struct Added {
    in_order: Vec<Long>,
    known: HashMap<Long, usize>,
}

impl Added {
    /// Which of them this one is.
    fn which(&mut self, long: Long) -> usize {
        let next = self.in_order.len();
        let which = *self.known.entry(long).or_insert(next);
        if which == next {
            self.in_order.push(long);
        }
        which
    }
}

#[cfg(test)]
mod tests;
