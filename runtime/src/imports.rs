//! What a component wants from its host, read before anything is compiled.
//!
//! Decides which imports exist, of which kind they are, and whether an interface brings functions or only types.
//! Whether an import is allowed is decided in `grants`. Function bodies are not validated here: the compiler does that.

use std::collections::HashSet;
use std::fmt;

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ResourceId};
use wasmparser::types::TypesRef;
use wasmparser::{Parser, Payload, ValidPayload, Validator, WasmFeatures};

use crate::engine::ALLOWED_FEATURES;
use crate::nesting::{self, Unfit};

/// Most imports that a component may have at its top level. The largest WASI world has about 40.
pub(crate) const MAX_IMPORTS: usize = 256;

/// How deep interfaces may nest in an import. WIT allows one level; the binary format does not say.
const MAX_DEPTH: usize = 8;

/// One import of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// As the component spells it, e.g. `wasi:cli/stdout@0.2.6`.
    pub(crate) name: String,
    pub(crate) kind: ImportKind,
}

/// What is imported under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportKind {
    /// A whole component.
    Component,
    /// A function on its own.
    Function,
    /// An interface with at least one function or resource of its own.
    Interface,
    /// A core module: code that nobody has signed.
    Module,
    /// A type, or an interface that holds only types. It gives a guest nothing to call.
    Types,
    /// A value.
    Value,
}

impl fmt::Display for ImportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::Function => "function",
            Self::Interface => "interface",
            Self::Module => "core module",
            Self::Types => "types",
            Self::Value => "value",
        })
    }
}

/// Why the imports of a component could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Invalid(wasmparser::BinaryReaderError),
    #[error("{0}")]
    Feature(wasmparser::BinaryReaderError),
    #[error("it has more than {MAX_IMPORTS} imports")]
    TooMany,
    #[error("{0}")]
    Unfit(Unfit),
}

/// Reads the imports of the outermost component in `component`.
pub(crate) fn read(component: &[u8]) -> Result<Vec<Import>, ReadError> {
    if let Some(unfit) = nesting::unfit(component).map_err(ReadError::Invalid)? {
        return Err(ReadError::Unfit(unfit));
    }
    let names = walk(component, ALLOWED_FEATURES).map_err(|error| match error {
        // The same bytes under every proposal known to the parser: if they pass, the component is sound but uses
        // something that is turned off here.
        ReadError::Invalid(refusal) if walk(component, WasmFeatures::all()).is_ok() => {
            ReadError::Feature(refusal)
        }
        other => other,
    })?;
    Ok(names)
}

fn walk(component: &[u8], features: WasmFeatures) -> Result<Vec<Import>, ReadError> {
    let mut validator = Validator::new_with_features(features);
    let mut names: Vec<String> = Vec::new();
    let mut depth = 0_usize;
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(ReadError::Invalid)?;
        if let (Payload::ComponentImportSection(section), 1) = (&payload, depth) {
            for import in section.clone() {
                names.push(import.map_err(ReadError::Invalid)?.name.name.to_owned());
                if names.len() > MAX_IMPORTS {
                    return Err(ReadError::TooMany);
                }
            }
        }
        match payload {
            Payload::Version { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let ValidPayload::End(types) = validator.payload(&payload).map_err(ReadError::Invalid)?
            && depth == 0
        {
            imports = classify(&names, types.as_ref());
        }
    }
    Ok(imports)
}

fn classify(names: &[String], types: TypesRef<'_>) -> Vec<Import> {
    let mut known = HashSet::new();
    names
        .iter()
        .filter_map(|name| {
            let item = types.component_item_for_import(name)?;
            let kind = kind_of(&item.ty, types, &mut known, 0);
            Some(Import {
                name: name.clone(),
                kind,
            })
        })
        .collect()
}

/// `known` holds the resources that earlier imports brought in: naming one again gives nothing new.
fn kind_of(
    ty: &ComponentEntityType,
    types: TypesRef<'_>,
    known: &mut HashSet<ResourceId>,
    depth: usize,
) -> ImportKind {
    match ty {
        ComponentEntityType::Module(_) => ImportKind::Module,
        ComponentEntityType::Func(_) => ImportKind::Function,
        ComponentEntityType::Value(_) => ImportKind::Value,
        ComponentEntityType::Component(_) => ImportKind::Component,
        ComponentEntityType::Type { created, .. } => match created {
            ComponentAnyTypeId::Resource(resource) if known.insert(resource.resource()) => {
                ImportKind::Interface
            }
            _ => ImportKind::Types,
        },
        ComponentEntityType::Instance(_) if depth >= MAX_DEPTH => ImportKind::Module,
        ComponentEntityType::Instance(id) => {
            let mut kind = ImportKind::Types;
            for item in types[*id].exports.values() {
                match kind_of(&item.ty, types, known, depth.saturating_add(1)) {
                    // The worst member decides.
                    bad @ (ImportKind::Module | ImportKind::Component | ImportKind::Value) => {
                        return bad;
                    }
                    ImportKind::Types => {}
                    ImportKind::Function | ImportKind::Interface => kind = ImportKind::Interface,
                }
            }
            kind
        }
    }
}
