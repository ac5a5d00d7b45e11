//! The interfaces of `wit/device.wit` as Rust.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "countersign:device/signer",
    imports: {
        "countersign:device/signing.[method]key.sign": async | trappable,
        "countersign:device/signing.[static]message.finish": async | trappable,
        default: trappable,
    },
    with: {
        "countersign:device/signing.key": crate::host::session::OpenKey,
        "countersign:device/signing.message": crate::host::session::OpenMessage,
    },
});
