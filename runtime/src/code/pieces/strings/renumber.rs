//! A component written anew with guards in it: what stands behind a guard has another number then.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Display;

use wasm_encoder::reencode::{self, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentExportSection,
    ComponentInstanceSection, ComponentSection, ComponentTypeSection, ExportKind, InstanceSection,
    ModuleArg,
};
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentType, ComponentTypeRef, ComponentTypeSectionReader,
    ExternalKind, Payload,
};

use super::{COMPONENT, PiecesError, put};
use crate::code::pieces::{CORE_MODULE, more, part};

/// The components that are being written, each inside the one before it.
#[derive(Default)]
pub(super) struct Levels {
    open: Vec<Level>,
    has_guards: bool,
}

/// A component as far as it is written. Numbers are those that its parts had before.
struct Level {
    written: Vec<u8>,
    /// Functions that are not written yet.
    pending: CanonicalFunctionSection,
    /// How many core functions, core instances and core modules there are so far.
    functions: u32,
    instances: u32,
    modules: u32,
    /// Before which core module the guards' own one stands.
    guard: Option<u32>,
    /// The number that the guard of a function has now.
    guards: HashMap<u32, u32>,
    /// Where they stand, in order.
    places: Vec<Place>,
}

/// Before which core function and core instance a guard stands.
struct Place {
    function: u32,
    instance: u32,
}

/// How many parts a section adds to those that have numbers.
#[derive(Default)]
struct Parts {
    functions: usize,
    instances: usize,
    modules: usize,
}

impl Parts {
    /// Of a section of anything but functions.
    fn of(payload: &Payload<'_>) -> Result<Self, PiecesError> {
        let mut parts = Self::default();
        match payload {
            Payload::ModuleSection { .. } => parts.modules = 1,
            Payload::InstanceSection(section) => {
                parts.instances =
                    usize::try_from(section.count()).map_err(|_| PiecesError::TooMany)?;
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    match alias? {
                        ComponentAlias::CoreInstanceExport {
                            kind: ExternalKind::Func | ExternalKind::FuncExact,
                            ..
                        } => parts.functions = parts.functions.saturating_add(1),
                        ComponentAlias::InstanceExport {
                            kind: ComponentExternalKind::Module,
                            ..
                        }
                        | ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::CoreModule,
                            ..
                        } => parts.modules = parts.modules.saturating_add(1),
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    if matches!(import?.ty, ComponentTypeRef::Module(_)) {
                        parts.modules = parts.modules.saturating_add(1);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    if export?.kind == ComponentExternalKind::Module {
                        parts.modules = parts.modules.saturating_add(1);
                    }
                }
            }
            _ => {}
        }
        Ok(parts)
    }
}

impl Levels {
    pub(super) fn begin(&mut self) {
        self.open.push(Level {
            written: Component::HEADER.to_vec(),
            pending: CanonicalFunctionSection::new(),
            functions: 0,
            instances: 0,
            modules: 0,
            guard: None,
            guards: HashMap::new(),
            places: Vec::new(),
        });
    }

    /// Ends a component. That is the whole, if it was inside no other.
    pub(super) fn end(&mut self) -> Result<Option<Vec<u8>>, PiecesError> {
        let mut ended = self.open.pop().ok_or(PiecesError::Beyond)?;
        ended.write_functions();
        match self.open.last_mut() {
            None => Ok(Some(ended.written)),
            Some(outer) => {
                put(&mut outer.written, COMPONENT, &ended.written);
                Ok(None)
            }
        }
    }

    /// Whether what is being written is inside another component.
    pub(super) const fn is_inside(&self) -> bool {
        self.open.len() > 1
    }

    /// Writes a function, with its `realloc` behind this guard, if one is given.
    pub(super) fn function(
        &mut self,
        function: &CanonicalFunction,
        guard: Option<&Vec<u8>>,
    ) -> Result<(), PiecesError> {
        let realloc = match function {
            CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
                options.iter().find_map(|option| match option {
                    CanonicalOption::Realloc(function) => Some(*function),
                    _ => None,
                })
            }
            _ => None,
        };
        let behind = match realloc.zip(guard) {
            Some((realloc, guard)) => Some(self.level()?.guarded(realloc, guard)?),
            None => None,
        };
        self.has_guards |= behind.is_some();
        let mut pending = std::mem::take(&mut self.level()?.pending);
        Renumbered {
            levels: &self.open,
            behind,
        }
        .parse_component_canonical(&mut pending, function.clone())
        .map_err(unwritable)?;
        let level = self.level()?;
        level.pending = pending;
        if !matches!(function, CanonicalFunction::Lift { .. }) {
            level.functions = more(level.functions, 1)?;
        }
        Ok(())
    }

    /// Writes a section of anything else.
    pub(super) fn section(
        &mut self,
        whole: &[u8],
        payload: Payload<'_>,
    ) -> Result<(), PiecesError> {
        let Some((id, range)) = payload.as_section() else {
            return Ok(());
        };
        let mut to = Renumbered {
            levels: &self.open,
            behind: None,
        };
        let anew = to.section(&payload).map_err(unwritable)?;
        let parts = Parts::of(&payload)?;
        let level = self.level()?;
        level.write_functions();
        match (payload, anew) {
            // It is written when it ends.
            (Payload::ComponentSection { .. }, _) => {}
            // Names are for numbers that are other ones now, and nothing else is asked of these.
            (Payload::CustomSection(_), _) => {}
            (_, Some(anew)) => level.written.extend(anew),
            (_, None) => put(&mut level.written, id, part(whole, range)?),
        }
        level.functions = more(level.functions, parts.functions)?;
        level.instances = more(level.instances, parts.instances)?;
        level.modules = more(level.modules, parts.modules)?;
        Ok(())
    }

    /// Whether there is a guard in any of them.
    pub(super) const fn has_guards(&self) -> bool {
        self.has_guards
    }

    fn level(&mut self) -> Result<&mut Level, PiecesError> {
        self.open.last_mut().ok_or(PiecesError::Beyond)
    }
}

impl Level {
    /// The number of the guard of this function, which is made if there is none.
    fn guarded(&mut self, realloc: u32, guard: &[u8]) -> Result<u32, PiecesError> {
        if let Some(known) = self.guards.get(&realloc) {
            return Ok(*known);
        }
        self.write_functions();
        if self.guard.is_none() {
            self.guard = Some(self.modules);
            put(&mut self.written, CORE_MODULE, guard);
        }
        let module = self.guard.unwrap_or_default();
        let number = self.function(self.functions);
        let taken = self.instance(self.instances);
        let mut instances = InstanceSection::new();
        instances.export_items([("", ExportKind::Func, self.function(realloc))]);
        instances.instantiate(module, [("", ModuleArg::Instance(taken))]);
        instances.append_to_component(&mut self.written);
        let mut aliases = ComponentAliasSection::new();
        aliases.alias(Alias::CoreInstanceExport {
            instance: more(taken, 1)?,
            kind: ExportKind::Func,
            name: "",
        });
        aliases.append_to_component(&mut self.written);
        self.places.push(Place {
            function: self.functions,
            instance: self.instances,
        });
        self.guards.insert(realloc, number);
        Ok(number)
    }

    fn write_functions(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            pending.append_to_component(&mut self.written);
        }
    }

    /// The number that a core function has now: one more for each guard before it.
    fn function(&self, before: u32) -> u32 {
        let guards = self.places.partition_point(|it| it.function <= before);
        later(before, guards)
    }

    /// The number that a core instance has now: two more for each guard before it, itself and what it imports.
    fn instance(&self, before: u32) -> u32 {
        let guards = self.places.partition_point(|it| it.instance <= before);
        later(before, guards.saturating_mul(2))
    }

    /// The number that a core module has now.
    fn module(&self, before: u32) -> u32 {
        later(
            before,
            usize::from(self.guard.is_some_and(|at| at <= before)),
        )
    }
}

/// There are fewer parts than numbers: each has bytes of its own.
fn later(number: u32, by: usize) -> u32 {
    number.saturating_add(u32::try_from(by).unwrap_or(u32::MAX))
}

/// Gives what is in the last of these components the numbers that it has now.
struct Renumbered<'a> {
    levels: &'a [Level],
    /// The `realloc` that a function gets in place of its own.
    behind: Option<u32>,
}

impl Renumbered<'_> {
    fn in_last(&self, count: u32, number: u32, of: fn(&Level, u32) -> u32) -> u32 {
        let back = usize::try_from(count).unwrap_or(usize::MAX);
        let level = self.levels.iter().rev().nth(back);
        level.map_or(number, |level| of(level, number))
    }

    /// A section with other numbers in it; none, if it has none of these.
    fn section(&mut self, payload: &Payload<'_>) -> Result<Option<Vec<u8>>, reencode::Error> {
        let written = match payload {
            Payload::InstanceSection(section) => anew(InstanceSection::new(), |anew| {
                self.parse_instance_section(anew, section.clone())
            }),
            Payload::ComponentAliasSection(section) => anew(ComponentAliasSection::new(), |anew| {
                self.parse_component_alias_section(anew, section.clone())
            }),
            Payload::ComponentInstanceSection(section) => {
                anew(ComponentInstanceSection::new(), |anew| {
                    self.parse_component_instance_section(anew, section.clone())
                })
            }
            Payload::ComponentExportSection(section) => {
                anew(ComponentExportSection::new(), |anew| {
                    self.parse_component_export_section(anew, section.clone())
                })
            }
            Payload::ComponentTypeSection(section) if has_destructor(section.clone())? => {
                anew(ComponentTypeSection::new(), |anew| {
                    self.parse_component_type_section(anew, section.clone())
                })
            }
            _ => return Ok(None),
        };
        written.map(Some)
    }
}

/// A section that is filled so, as it is written.
fn anew<S: ComponentSection>(
    mut section: S,
    fill: impl FnOnce(&mut S) -> Result<(), reencode::Error>,
) -> Result<Vec<u8>, reencode::Error> {
    fill(&mut section)?;
    let mut written = Vec::new();
    section.append_to_component(&mut written);
    Ok(written)
}

impl Reencode for Renumbered<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(self.in_last(0, function, Level::function))
    }
}

impl ReencodeComponent for Renumbered<'_> {
    fn instance_index(&mut self, instance: u32) -> u32 {
        self.in_last(0, instance, Level::instance)
    }

    fn module_index(&mut self, module: u32) -> u32 {
        self.in_last(0, module, Level::module)
    }

    fn outer_module_index(&mut self, count: u32, module: u32) -> u32 {
        self.in_last(count, module, Level::module)
    }

    fn canonical_option(
        &mut self,
        option: CanonicalOption,
    ) -> Result<wasm_encoder::CanonicalOption, reencode::Error> {
        match (option, self.behind) {
            (CanonicalOption::Realloc(_), Some(guard)) => {
                Ok(wasm_encoder::CanonicalOption::Realloc(guard))
            }
            _ => component_utils::canonical_option(self, option),
        }
    }
}

/// Whether a resource of these types has a destructor, which is a core function.
fn has_destructor(types: ComponentTypeSectionReader<'_>) -> Result<bool, BinaryReaderError> {
    for ty in types {
        if let ComponentType::Resource { dtor: Some(_), .. } = ty? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unwritable(error: impl Display) -> PiecesError {
    PiecesError::Unwritable(error.to_string())
}
