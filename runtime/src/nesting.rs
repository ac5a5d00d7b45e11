//! How deep types of components lie in each other.
//!
//! wasmparser reads a type within a type by calling itself, as often as somebody wrote one, and three bytes are enough to do so: a
//! small file would use up any stack, which ends the whole process. So they are walked here first, without that.

use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentAlias, ComponentExternName, ComponentImport,
    ComponentType, ComponentTypeRef, CoreType, Parser, Payload,
};

/// How deep types of components and of instances may lie in each other; wasmparser has the same bound for other types.
pub(crate) const DEEPEST: usize = 100;

/// Types of a component and of an instance (Component Model, Binary.md, `componenttype` and `instancetype`).
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;

/// Declarations in those (`componentdecl` and `instancedecl`).
const CORE_TYPE: u8 = 0;
const TYPE: u8 = 1;
const ALIAS: u8 = 2;
const IMPORT: u8 = 3;
const EXPORT: u8 = 4;

/// Whether no types of this component, or of one inside it, lie deeper in each other than they may.
///
/// # Errors
/// If they cannot be read.
pub(crate) fn is_bounded(component: &[u8]) -> Result<bool, BinaryReaderError> {
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::ComponentTypeSection(section) = payload?
            && let Some(types) = component.get(section.range())
            && !are_bounded(BinaryReader::new(types, section.range().start))?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The same for the types of one section.
fn are_bounded(mut reader: BinaryReader<'_>) -> Result<bool, BinaryReaderError> {
    // How many types, and how many declarations in each that was begun, are to come.
    let mut left = vec![reader.read_var_u32()?];
    while let Some(here) = left.last_mut() {
        let Some(fewer) = here.checked_sub(1) else {
            left.pop();
            continue;
        };
        *here = fewer;
        // A section has types alone.
        let declared = match left.len() {
            1 => TYPE,
            _ => reader.read_u8()?,
        };
        match declared {
            CORE_TYPE => {
                reader.read::<CoreType<'_>>()?;
            }
            TYPE => {
                let before = reader.clone();
                match reader.read_u8()? {
                    COMPONENT_TYPE | INSTANCE_TYPE if left.len() > DEEPEST => return Ok(false),
                    COMPONENT_TYPE | INSTANCE_TYPE => left.push(reader.read_var_u32()?),
                    _ => {
                        reader = before;
                        reader.read::<ComponentType<'_>>()?;
                    }
                }
            }
            ALIAS => {
                reader.read::<ComponentAlias<'_>>()?;
            }
            IMPORT => {
                reader.read::<ComponentImport<'_>>()?;
            }
            EXPORT => {
                reader.read::<ComponentExternName<'_>>()?;
                reader.read::<ComponentTypeRef>()?;
            }
            // Whoever reads it next says so, and gets no further.
            _ => return Ok(true),
        }
    }
    Ok(true)
}
