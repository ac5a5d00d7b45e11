//! A guest that exits with a status of its choice, put together here, because no toolchain's standard library does that.

use wasm_encoder::{
    CodeSection, ComponentBuilder, ComponentExportKind, ComponentTypeRef, ComponentValType,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, InstanceType,
    Module, ModuleArg, PrimitiveValType, TypeSection, ValType,
};

/// The component: its `wasi:cli/run` calls `exit-with-code` with this status.
pub(super) fn component(status: u8) -> Vec<u8> {
    let mut component = ComponentBuilder::default();
    let mut interface = InstanceType::new();
    interface
        .ty()
        .function()
        .params([("status-code", PrimitiveValType::U8)])
        .result(None);
    interface.export("exit-with-code", ComponentTypeRef::Func(0));
    let interface = component.type_instance(None, &interface);
    let wasi = component.import(
        "wasi:cli/exit@0.2.12",
        ComponentTypeRef::Instance(interface),
    );
    let exit = component.alias_export(wasi, "exit-with-code", ComponentExportKind::Func);
    let exit = component.lower_func(None, exit, []);
    let imports = component.core_instantiate_exports(None, [("exit", ExportKind::Func, exit)]);
    let module = component.core_module(None, &module(status));
    let instance = component.core_instantiate(None, module, [("h", ModuleArg::Instance(imports))]);
    let run = component.core_alias_export(None, instance, "run", ExportKind::Func);
    let ty = run_type(&mut component);
    let run = component.lift_func(None, run, ty, []);

    // An instance is exported as that of a component inside, which hands its import on.
    let mut inner = ComponentBuilder::default();
    let ty = run_type(&mut inner);
    let handed = inner.import("run", ComponentTypeRef::Func(ty));
    inner.export("run", ComponentExportKind::Func, handed, None);
    let inner = component.component(None, inner);
    let command = component.instantiate(None, inner, [("run", ComponentExportKind::Func, run)]);
    component.export(
        "wasi:cli/run@0.2.6",
        ComponentExportKind::Instance,
        command,
        None,
    );
    component.finish()
}

/// `func() -> result`.
fn run_type(component: &mut ComponentBuilder) -> u32 {
    let (result, encoder) = component.type_defined(None);
    encoder.result(None, None);
    let (ty, mut encoder) = component.type_function(None);
    encoder
        .params([] as [(&str, ComponentValType); 0])
        .result(Some(ComponentValType::Type(result)));
    ty
}

fn module(status: u8) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    types.ty().function([], [ValType::I32]);
    let mut imports = ImportSection::new();
    imports.import("h", "exit", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(1);
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 1);
    let mut run = Function::new([]);
    run.instructions()
        .i32_const(status.into())
        .call(0)
        .unreachable()
        .end();
    let mut code = CodeSection::new();
    code.function(&run);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&exports)
        .section(&code);
    module
}
