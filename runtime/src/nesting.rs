//! How deep components and types of components lie in each other, written out or by reference.
//!
//! wasmparser reads a type within a type by calling itself, as often as somebody wrote one, and three bytes are enough to do so: a
//! small file would use up any stack, which ends the whole process. It also counts how deep a type is in seven bits, and panics
//! where that is not enough; only types of values are refused before. So both are counted here first, without recursion.
//!
//! It panics too where a component takes, or has to give, two instances of one type with types of its own, or a type twice that is a
//! function's, an instance's or a component's: it cannot tell those apart. Nobody's compiler makes such a component.
//!
//! What is counted is never less than what wasmparser counts. Numbers that do not exist end the count: wasmparser, which reads
//! in the same order, gets no further either.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use wasmparser::{
    BinaryReader, BinaryReaderError, CanonicalFunction, ComponentAlias, ComponentDefinedType,
    ComponentExport, ComponentExternName, ComponentExternalKind, ComponentImport,
    ComponentInstance, ComponentOuterAliasKind, ComponentStartFunction, ComponentType,
    ComponentTypeRef, ComponentValType, CoreType, Encoding, FromReader, Parser, Payload,
    SectionLimited, TypeBounds,
};

/// How deep components, and types, may lie in each other; wasmparser has the same bound for types of values.
pub(crate) const DEEPEST: u8 = 100;

/// Most of one kind in one component; wasmparser has this bound for types, and lower ones for others.
const MOST: usize = 1_000_000;

/// Types of a component and of an instance (Component Model, Binary.md, `componenttype` and `instancetype`).
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;

/// Declarations in those (`componentdecl` and `instancedecl`).
const CORE_TYPE: u8 = 0;
const TYPE: u8 = 1;
const ALIAS: u8 = 2;
const IMPORT: u8 = 3;
const EXPORT: u8 = 4;

/// The depth of what has nothing inside.
const FLAT: u8 = 1;

/// What wasmparser cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("its components or types lie more than {DEEPEST} deep in each other")]
    TooDeep,
    #[error(
        "a component in it takes or gives two instances of one type that has types of its own, or the type of a function, an instance or a component: give each instance a type, and no such types"
    )]
    SameTypes,
}

/// Why wasmparser would not survive this component; nothing if it does.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn unfit(component: &[u8]) -> Result<Option<Unfit>, BinaryReaderError> {
    match walk(component) {
        Ok(()) | Err(Stop::Unsound) => Ok(None),
        Err(Stop::Unfit(unfit)) => Ok(Some(unfit)),
        Err(Stop::Unreadable(error)) => Err(error),
    }
}

/// Why a walk ended before its component did.
#[derive(Debug)]
enum Stop {
    Unfit(Unfit),
    /// Something is named that does not exist, or there is too much. Whoever reads it next says so, and gets no further.
    Unsound,
    Unreadable(BinaryReaderError),
}

impl From<BinaryReaderError> for Stop {
    fn from(error: BinaryReaderError) -> Self {
        Self::Unreadable(error)
    }
}

fn walk(component: &[u8]) -> Result<(), Stop> {
    let mut scopes = Scopes::default();
    // Which of those begun and not ended are modules; those have no types of this kind.
    let mut encodings = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { encoding, .. } => {
                if encodings.len() >= usize::from(DEEPEST) {
                    return Err(Stop::Unfit(Unfit::TooDeep));
                }
                encodings.push(encoding);
                if encoding == Encoding::Component {
                    scopes.open.push(Scope::default());
                }
            }
            Payload::End(_) => {
                let ended = encodings.pop();
                if ended == Some(Encoding::Component) {
                    scopes.end(ComponentExternalKind::Component)?;
                }
            }
            Payload::ComponentTypeSection(section) => {
                let types = component.get(section.range()).ok_or(Stop::Unsound)?;
                scopes.types(BinaryReader::new(types, section.range().start))?;
            }
            Payload::ComponentImportSection(section) => {
                each(section, |import: ComponentImport<'_>| {
                    scopes.declare(import.ty, None)
                })?;
            }
            Payload::ComponentAliasSection(section) => {
                each(section, |alias| scopes.alias(&alias))?;
            }
            Payload::ComponentInstanceSection(section) => {
                each(section, |instance| scopes.innermost()?.instance(&instance))?;
            }
            Payload::ComponentCanonicalSection(section) => each(section, |function| {
                if let CanonicalFunction::Lift { type_index, .. } = function {
                    let here = scopes.innermost()?;
                    let lifted = here.of(ComponentExternalKind::Type, type_index)?;
                    here.add(ComponentExternalKind::Func, lifted)?;
                }
                Ok(())
            })?,
            Payload::ComponentStartSection { start, .. } => scopes.innermost()?.start(&start)?,
            Payload::ComponentExportSection(section) => {
                each(section, |export| scopes.export(&export))?;
            }
            _ => {}
        }
    }
    // Only where a component is expected it is said what one has to give.
    match scopes.gives_same_types && scopes.expects_components {
        true => Err(Stop::Unfit(Unfit::SameTypes)),
        false => Ok(()),
    }
}

/// Does something with each entry of a section.
fn each<'a, T: FromReader<'a>>(
    section: SectionLimited<'a, T>,
    mut with: impl FnMut(T) -> Result<(), Stop>,
) -> Result<(), Stop> {
    section.into_iter().try_for_each(|entry| with(entry?))
}

/// How deep something that has a number is.
#[derive(Clone)]
struct Item<'a> {
    depth: u8,
    /// Whether it is the type of a function, an instance or a component.
    is_shared: bool,
    /// What it exports, if it is an instance, a component or the type of one.
    exports: Option<Rc<Exports<'a>>>,
}

#[derive(Default)]
struct Exports<'a> {
    named: HashMap<&'a str, Item<'a>>,
    /// Whether a type is among them, or inside one of them.
    has_types: bool,
    instances: Vec<Rc<Self>>,
}

impl<'a> Exports<'a> {
    fn insert(&mut self, name: &'a str, kind: ComponentExternalKind, item: Item<'a>) {
        match (kind, &item.exports) {
            (ComponentExternalKind::Type, _) => self.has_types = true,
            (ComponentExternalKind::Instance, Some(exports)) => {
                self.has_types |= exports.has_types;
                self.instances.push(Rc::clone(exports));
            }
            _ => {}
        }
        self.named.insert(name, item);
    }
}

/// Whether the same type of an instance is among these, or inside them, more than once, and has types.
fn has_same_types(instances: &[Rc<Exports<'_>>]) -> bool {
    let mut seen = HashSet::new();
    let mut left: Vec<_> = instances.iter().collect();
    while let Some(one) = left.pop() {
        if one.has_types {
            if !seen.insert(Rc::as_ptr(one)) {
                return true;
            }
            left.extend(&one.instances);
        }
    }
    false
}

impl Item<'_> {
    const fn of(depth: u8) -> Self {
        Self {
            depth,
            is_shared: false,
            exports: None,
        }
    }
}

/// What a component, or a type of one or of an instance, has so far, by its number.
#[derive(Default)]
struct Scope<'a> {
    types: Vec<Item<'a>>,
    functions: Vec<Item<'a>>,
    values: Vec<Item<'a>>,
    instances: Vec<Item<'a>>,
    components: Vec<Item<'a>>,
    exports: Exports<'a>,
    /// Of the instances that it imports.
    imports: Vec<Rc<Exports<'a>>>,
    /// How deep what it imports and exports makes it.
    depth: u8,
}

impl<'a> Scope<'a> {
    fn of(&self, kind: ComponentExternalKind, index: u32) -> Result<Item<'a>, Stop> {
        let items = match kind {
            ComponentExternalKind::Module => return Ok(Item::of(FLAT)),
            ComponentExternalKind::Type => &self.types,
            ComponentExternalKind::Func => &self.functions,
            ComponentExternalKind::Value => &self.values,
            ComponentExternalKind::Instance => &self.instances,
            ComponentExternalKind::Component => &self.components,
        };
        let index = usize::try_from(index).map_err(|_| Stop::Unsound)?;
        items.get(index).cloned().ok_or(Stop::Unsound)
    }

    fn of_reference(&self, ty: ComponentTypeRef) -> Result<Item<'a>, Stop> {
        match ty {
            ComponentTypeRef::Module(_)
            | ComponentTypeRef::Type(TypeBounds::SubResource)
            | ComponentTypeRef::Value(ComponentValType::Primitive(_)) => Ok(Item::of(FLAT)),
            ComponentTypeRef::Value(ComponentValType::Type(index))
            | ComponentTypeRef::Func(index)
            | ComponentTypeRef::Type(TypeBounds::Eq(index))
            | ComponentTypeRef::Instance(index)
            | ComponentTypeRef::Component(index) => self.of(ComponentExternalKind::Type, index),
        }
    }

    fn add(&mut self, kind: ComponentExternalKind, item: Item<'a>) -> Result<(), Stop> {
        let items = match kind {
            ComponentExternalKind::Module => return Ok(()),
            ComponentExternalKind::Type => &mut self.types,
            ComponentExternalKind::Func => &mut self.functions,
            ComponentExternalKind::Value => &mut self.values,
            ComponentExternalKind::Instance => &mut self.instances,
            ComponentExternalKind::Component => &mut self.components,
        };
        if items.len() >= MOST {
            return Err(Stop::Unsound);
        }
        items.push(item);
        Ok(())
    }

    /// It imports this, or exports it under a name.
    fn contain(
        &mut self,
        kind: ComponentExternalKind,
        item: Item<'a>,
        exported: Option<&'a str>,
    ) -> Result<(), Stop> {
        self.depth = self.depth.max(around(item.depth)?);
        match (exported, kind) {
            (Some(name), _) => self.exports.insert(name, kind, item),
            (None, ComponentExternalKind::Instance) => self.imports.extend(item.exports),
            (None, _) => {}
        }
        Ok(())
    }

    /// Something of this type is imported, or in a type exported under a name.
    fn declare(&mut self, ty: ComponentTypeRef, exported: Option<&'a str>) -> Result<(), Stop> {
        let item = self.of_reference(ty)?;
        self.add(ty.kind(), item.clone())?;
        match (ty, exported) {
            // A resource is another each time.
            (ComponentTypeRef::Type(TypeBounds::SubResource), Some(name)) => {
                self.depth = self.depth.max(around(item.depth)?);
                self.exports.named.insert(name, item);
                Ok(())
            }
            _ => self.contain(ty.kind(), item, exported),
        }
    }

    fn instance(&mut self, instance: &ComponentInstance<'a>) -> Result<(), Stop> {
        let made = match instance {
            // It has the exports of its component.
            ComponentInstance::Instantiate {
                component_index, ..
            } => self.of(ComponentExternalKind::Component, *component_index)?,
            ComponentInstance::FromExports(exports) => {
                let mut depth = FLAT;
                let mut named = Exports::default();
                for export in exports {
                    let item = self.of(export.kind, export.index)?;
                    depth = depth.max(around(item.depth)?);
                    named.insert(export.name.name, export.kind, item);
                }
                Item {
                    depth,
                    is_shared: false,
                    exports: Some(Rc::new(named)),
                }
            }
        };
        self.add(ComponentExternalKind::Instance, made)
    }

    /// What a start function gives is no deeper than the function.
    fn start(&mut self, start: &ComponentStartFunction) -> Result<(), Stop> {
        let function = self.of(ComponentExternalKind::Func, start.func_index)?;
        match start.results {
            0 => Ok(()),
            1 => self.add(ComponentExternalKind::Value, Item::of(function.depth)),
            // A function gives one.
            _ => Err(Stop::Unsound),
        }
    }

    /// How deep a type is that is neither a component's nor an instance's.
    fn of_type(&self, ty: &ComponentType<'_>) -> Result<Item<'a>, Stop> {
        let mut deepest = None;
        let mut holds = |ty: &ComponentValType| {
            deepest = deepest.max(Some(self.of_reference(ComponentTypeRef::Value(*ty))?.depth));
            Ok::<_, Stop>(())
        };
        match ty {
            ComponentType::Defined(defined) => match defined {
                ComponentDefinedType::Record(fields) => {
                    fields.iter().try_for_each(|(_, ty)| holds(ty))?;
                }
                ComponentDefinedType::Variant(cases) => {
                    let mut held = cases.iter().filter_map(|case| case.ty.as_ref());
                    held.try_for_each(holds)?;
                }
                ComponentDefinedType::Tuple(types) => types.iter().try_for_each(holds)?,
                ComponentDefinedType::Map(key, value) => {
                    [key, value].into_iter().try_for_each(holds)?;
                }
                ComponentDefinedType::List(ty)
                | ComponentDefinedType::FixedLengthList(ty, _)
                | ComponentDefinedType::Option(ty) => holds(ty)?,
                ComponentDefinedType::Result { ok, err } => {
                    ok.iter().chain(err).try_for_each(holds)?;
                }
                ComponentDefinedType::Future(ty) | ComponentDefinedType::Stream(ty) => {
                    ty.iter().try_for_each(holds)?;
                }
                ComponentDefinedType::Primitive(_)
                | ComponentDefinedType::Flags(_)
                | ComponentDefinedType::Enum(_)
                | ComponentDefinedType::Own(_)
                | ComponentDefinedType::Borrow(_) => {}
            },
            ComponentType::Func(function) => {
                let parameters = function.params.iter().map(|(_, ty)| ty);
                parameters.chain(&function.result).try_for_each(holds)?;
            }
            ComponentType::Resource { .. } => {}
            // Those are walked, not read.
            ComponentType::Component(_) | ComponentType::Instance(_) => return Err(Stop::Unsound),
        }
        Ok(Item {
            is_shared: matches!(ty, ComponentType::Func(_)),
            ..Item::of(deepest.map_or(Ok(FLAT), around)?)
        })
    }
}

/// How deep something is that holds what is so deep.
fn around(depth: u8) -> Result<u8, Stop> {
    match depth.checked_add(1) {
        Some(depth) if depth <= DEEPEST => Ok(depth),
        _ => Err(Stop::Unfit(Unfit::TooDeep)),
    }
}

/// The components and types that were begun and have not ended, outermost first.
#[derive(Default)]
struct Scopes<'a> {
    open: Vec<Scope<'a>>,
    /// Whether one that ended exports two instances of one type.
    gives_same_types: bool,
    /// Whether the type of a component is said anywhere.
    expects_components: bool,
}

impl<'a> Scopes<'a> {
    fn innermost(&mut self) -> Result<&mut Scope<'a>, Stop> {
        self.open.last_mut().ok_or(Stop::Unsound)
    }

    /// The innermost has ended. Around it, it is the next of this kind.
    fn end(&mut self, kind: ComponentExternalKind) -> Result<(), Stop> {
        let ended = self.open.pop().ok_or(Stop::Unsound)?;
        let is_inside = !self.open.is_empty();
        // The outermost is given its imports by nobody in there.
        if is_inside && has_same_types(&ended.imports) {
            return Err(Stop::Unfit(Unfit::SameTypes));
        }
        self.gives_same_types |=
            kind == ComponentExternalKind::Type && has_same_types(&ended.exports.instances);
        let item = Item {
            depth: ended.depth.max(FLAT),
            is_shared: kind == ComponentExternalKind::Type,
            exports: Some(Rc::new(ended.exports)),
        };
        match self.open.last_mut() {
            Some(around) => around.add(kind, item),
            None => Ok(()),
        }
    }

    /// Something of this type is imported, or in a type exported under a name.
    fn declare(&mut self, ty: ComponentTypeRef, exported: Option<&'a str>) -> Result<(), Stop> {
        self.expects_components |= matches!(ty, ComponentTypeRef::Component(_));
        let is_inside = self.open.len() > 1;
        let here = self.innermost()?;
        if let ComponentTypeRef::Type(TypeBounds::Eq(_)) = ty
            && is_inside
            && here.of_reference(ty)?.is_shared
        {
            return Err(Stop::Unfit(Unfit::SameTypes));
        }
        here.declare(ty, exported)
    }

    fn export(&mut self, export: &ComponentExport<'a>) -> Result<(), Stop> {
        self.expects_components |= matches!(export.ty, Some(ComponentTypeRef::Component(_)));
        let here = self.innermost()?;
        let mut exported = here.of(export.kind, export.index)?;
        if let Some(ty) = export.ty {
            let ascribed = here.of_reference(ty)?;
            exported = Item {
                depth: exported.depth.max(ascribed.depth),
                is_shared: ascribed.is_shared,
                exports: ascribed.exports,
            };
        }
        here.add(export.kind, exported.clone())?;
        here.contain(export.kind, exported, Some(export.name.name))
    }

    fn alias(&mut self, alias: &ComponentAlias<'a>) -> Result<(), Stop> {
        match *alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => {
                let here = self.innermost()?;
                let instance = here.of(ComponentExternalKind::Instance, instance_index)?;
                let exported = instance
                    .exports
                    .and_then(|has| has.named.get(name).cloned());
                here.add(kind, exported.ok_or(Stop::Unsound)?)
            }
            ComponentAlias::Outer { kind, count, index } => {
                let kind = match kind {
                    ComponentOuterAliasKind::Type => ComponentExternalKind::Type,
                    ComponentOuterAliasKind::Component => ComponentExternalKind::Component,
                    ComponentOuterAliasKind::CoreModule | ComponentOuterAliasKind::CoreType => {
                        return Ok(());
                    }
                };
                let outward = usize::try_from(count).ok();
                let from = outward.and_then(|count| self.open.iter().rev().nth(count));
                let item = from.ok_or(Stop::Unsound)?.of(kind, index)?;
                self.innermost()?.add(kind, item)
            }
            ComponentAlias::CoreInstanceExport { .. } => Ok(()),
        }
    }

    /// The types of one section.
    fn types(&mut self, mut reader: BinaryReader<'a>) -> Result<(), Stop> {
        // How many types, and how many declarations in each that was begun, are to come, and of what kind that is.
        let mut left = vec![reader.read_var_u32()?];
        while let Some(here) = left.last_mut() {
            let Some(fewer) = here.checked_sub(1) else {
                left.pop();
                if !left.is_empty() {
                    self.end(ComponentExternalKind::Type)?;
                }
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
                        COMPONENT_TYPE | INSTANCE_TYPE if left.len() > usize::from(DEEPEST) => {
                            return Err(Stop::Unfit(Unfit::TooDeep));
                        }
                        COMPONENT_TYPE | INSTANCE_TYPE => {
                            left.push(reader.read_var_u32()?);
                            self.open.push(Scope::default());
                        }
                        _ => {
                            reader = before;
                            let ty = reader.read::<ComponentType<'_>>()?;
                            let here = self.innermost()?;
                            let item = here.of_type(&ty)?;
                            here.add(ComponentExternalKind::Type, item)?;
                        }
                    }
                }
                ALIAS => {
                    let alias = reader.read::<ComponentAlias<'_>>()?;
                    self.alias(&alias)?;
                }
                IMPORT => {
                    let import = reader.read::<ComponentImport<'_>>()?;
                    self.declare(import.ty, None)?;
                }
                EXPORT => {
                    let name = reader.read::<ComponentExternName<'_>>()?;
                    let ty = reader.read::<ComponentTypeRef>()?;
                    self.declare(ty, Some(name.name))?;
                }
                _ => return Err(Stop::Unsound),
            }
        }
        Ok(())
    }
}
