//! Strings that one component hands to another inside the same file have a bound.
//!
//! Wasmtime checks and copies such a string in one step, however long it is; lists are copied in a loop. Before, it asks the component
//! that is to have it for room: with the function that its canonical options name as `realloc` (Canonical ABI, `store_string`), and
//! for no less than a byte for each unit of the string. So wherever a function of a component takes strings, its `realloc` is put
//! behind a guard, which traps if it is asked for more than there may be.
//!
//! That are functions of components inside another. One that is inside none has only the host to talk to.

mod renumber;

use std::collections::HashMap;

use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, Module, NameMap, NameSection, TypeSection, ValType,
};
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentFuncTypeId,
    ComponentValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{
    CanonicalFunction, CanonicalOption, Encoding, Parser, Payload, PrimitiveValType, Validator,
};

use super::{COMPONENT, PiecesError, put};
use crate::engine::ALLOWED_FEATURES;
use renumber::Levels;

/// The most room for one string, in bytes: where all are UTF-8, which is checked and copied (1 MiB), and where another encoding occurs,
/// so that they may be encoded anew (512 KiB).
const LONGEST_COPIED: i32 = 1 << 20;
const LONGEST_ENCODED: i32 = 512 << 10;

/// How strings are aligned at most, in bytes (Canonical ABI, `store_string`). Room for a list of what is larger is asked for with more.
const ALIGNMENT: i32 = 2;

/// What a trap says of where it happened.
const NAME: &str = "too much room for a string, or for a list of bytes beside strings, in a component inside another";

/// The component with a bound for its strings; none, if it needs none.
///
/// # Errors
/// If it cannot be read.
pub(super) fn bounded(component: &[u8]) -> Result<Option<Vec<u8>>, PiecesError> {
    let Some(longest) = longest(component)? else {
        return Ok(None);
    };
    let guard = guard(longest);
    let mut strings = Strings::default();
    let mut validator = Validator::new_with_features(ALLOWED_FEATURES);
    let mut levels = Levels::default();
    let mut is_module = false;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        validator.payload(&payload)?;
        match payload {
            Payload::Version { encoding, .. } => match encoding {
                Encoding::Module => is_module = true,
                Encoding::Component => levels.begin(),
            },
            Payload::End(_) if is_module => is_module = false,
            Payload::End(_) => {
                if let Some(whole) = levels.end()? {
                    return Ok(levels.has_guards().then_some(whole));
                }
            }
            _ if is_module => {}
            Payload::ComponentCanonicalSection(section) => {
                let types = validator.types(0).ok_or(PiecesError::Beyond)?;
                for function in section {
                    let function = function?;
                    let is_guarded = levels.is_inside() && strings.are_taken_by(&function, types);
                    levels.function(&function, is_guarded.then_some(&guard))?;
                }
            }
            payload => levels.section(component, payload)?,
        }
    }
    Err(PiecesError::Beyond)
}

/// The most room that a string may have; none, if no component inside another has functions.
fn longest(component: &[u8]) -> Result<Option<i32>, PiecesError> {
    let (mut depth, mut longest) = (0_usize, None);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentCanonicalSection(section) if depth > 1 => {
                for function in section {
                    let (CanonicalFunction::Lift { options, .. }
                    | CanonicalFunction::Lower { options, .. }) = function?
                    else {
                        continue;
                    };
                    let is_encoded = options.iter().any(|option| {
                        matches!(
                            option,
                            CanonicalOption::UTF16 | CanonicalOption::CompactUTF16
                        )
                    });
                    if is_encoded {
                        return Ok(Some(LONGEST_ENCODED));
                    }
                    longest = Some(LONGEST_COPIED);
                }
            }
            _ => {}
        }
    }
    Ok(longest)
}

/// Which types have strings in them, as far as they were looked at: each once, since many functions may have the same.
#[derive(Default)]
struct Strings {
    types: HashMap<ComponentDefinedTypeId, bool>,
    parameters: HashMap<ComponentFuncTypeId, bool>,
}

impl Strings {
    /// Whether room is asked for strings where this function is called: for its parameters where it is defined, for its result where
    /// it is imported.
    fn are_taken_by(&mut self, function: &CanonicalFunction, types: TypesRef<'_>) -> bool {
        match function {
            CanonicalFunction::Lift { type_index, .. } => {
                let ComponentAnyTypeId::Func(id) = types.component_any_type_at(*type_index) else {
                    return true;
                };
                if let Some(known) = self.parameters.get(&id) {
                    return *known;
                }
                let has = types[id]
                    .params
                    .iter()
                    .any(|(_, ty)| self.are_in(ty, types));
                self.parameters.insert(id, has);
                has
            }
            CanonicalFunction::Lower { func_index, .. } => {
                let ty = &types[types.component_function_at(*func_index)];
                ty.result.iter().any(|ty| self.are_in(ty, types))
            }
            _ => false,
        }
    }

    /// Whether a value of this type has strings in it. Types are at most 100 deep (`MAX_WASM_COMPONENT_TYPE_DEPTH` in wasmparser).
    fn are_in(&mut self, ty: &ComponentValType, types: TypesRef<'_>) -> bool {
        let id = match ty {
            ComponentValType::Primitive(ty) => return *ty == PrimitiveValType::String,
            ComponentValType::Type(id) => *id,
        };
        if let Some(known) = self.types.get(&id) {
            return *known;
        }
        let mut has = |ty: &ComponentValType| self.are_in(ty, types);
        let has = match &types[id] {
            ComponentDefinedType::Primitive(ty) => *ty == PrimitiveValType::String,
            ComponentDefinedType::Record(record) => record.fields.values().any(has),
            ComponentDefinedType::Variant(variant) => variant
                .cases
                .values()
                .filter_map(|case| case.ty.as_ref())
                .any(has),
            ComponentDefinedType::List { element, .. }
            | ComponentDefinedType::FixedLengthList { element, .. } => has(element),
            ComponentDefinedType::Map { key, value, .. } => has(key) || has(value),
            ComponentDefinedType::Tuple(tuple) => tuple.types.iter().any(has),
            ComponentDefinedType::Option { ty, .. } => has(ty),
            ComponentDefinedType::Result { ok, err, .. } => ok.iter().chain(err).any(has),
            ComponentDefinedType::Flags(_)
            | ComponentDefinedType::Enum(_)
            | ComponentDefinedType::Own(_)
            | ComponentDefinedType::Borrow(_) => false,
            // Not of WASI 0.2.
            ComponentDefinedType::Future { .. } | ComponentDefinedType::Stream { .. } => true,
        };
        self.types.insert(id, has);
        has
    }
}

/// A module that has a `realloc` (Canonical ABI, `canonopt`), and gives the same with a bound. All of its names are empty.
fn guard(longest: i32) -> Vec<u8> {
    const ALIGN: u32 = 2;
    const NEW_SIZE: u32 = 3;
    let (mut types, mut imports, mut functions) = (
        TypeSection::new(),
        ImportSection::new(),
        FunctionSection::new(),
    );
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    imports.import("", "", EntityType::Function(0));
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("", ExportKind::Func, 1);
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.local_get(NEW_SIZE).i32_const(longest).i32_gt_u();
    code.local_get(ALIGN).i32_const(ALIGNMENT).i32_le_u();
    code.i32_and().if_(BlockType::Empty).unreachable().end();
    (0..=NEW_SIZE).for_each(|parameter| {
        code.local_get(parameter);
    });
    code.call(0).end();
    let mut body = CodeSection::new();
    body.function(&function);
    let (mut names, mut own) = (NameSection::new(), NameMap::new());
    own.append(1, NAME);
    names.functions(&own);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&exports).section(&body).section(&names);
    module.finish()
}
