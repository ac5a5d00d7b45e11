//! `device lock`: a key, or what rules it, made unchangeable for ever.

use countersign_keys::LockConsent;
use serde_json::json;

use crate::shared::confirm;
use crate::shared::failure::Failure;
use crate::shared::output::{Output, say};
use crate::verbs::key::ExistingKey;

/// Lock a key for ever: THIS CANNOT BE UNDONE
///
/// Prints what will be lost, and asks for the serial number of the device, which must be the one that the device tells: so
/// that no other device is locked than the one in mind. `countersign device detect` shows serial numbers.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign device lock 'atecc608:/dev/i2c-1?address=0x60&slot=0'
  countersign device lock 'atecc608:/dev/i2c-1?address=0x60&slot=0' --serial 0123a1b2c3d4e5f6ee")]
pub(crate) struct Arguments {
    #[command(flatten)]
    key: ExistingKey,
    /// The device's serial number, which stands for \"yes, this one\" (default: ask at the terminal)
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let uri = &arguments.key.uri;
    let store = arguments.key.store()?;
    let nobody = LockConsent::for_device_with_serial("");
    if !store.capabilities().lock {
        // Says why not; no device has this serial number.
        store.lock(uri, &nobody)?;
    }
    let key = store.show(uri)?;
    say(&format!(
        "device: {}\nkey:    {uri} ({})",
        store.describe()?,
        key.public.spki_sha256()
    ));
    if key.locked {
        say("It is locked already: nothing more will be lost.");
    } else {
        say(
            "What will be lost for ever, and no reset or maker can bring back:\n\
             - the place of this key can never be given a new key: not after theft of its secrets, nor when the certificate \
             ends\n\
             - the key can never be removed, nor what rules it be changed\n\
             What stays: the key signs as before.",
        );
    }
    let serial = match &arguments.serial {
        Some(serial) => serial.clone(),
        None => confirm::typed(
            "Type the device's serial number to lock it for ever: ",
            "give the device's serial number by --serial if that is meant",
        )?,
    };
    store.lock(uri, &LockConsent::for_device_with_serial(&serial))?;
    if arguments.json {
        output.json(&json!({ "version": 1, "locked": uri.to_string(), "serial": serial }));
    } else {
        output.line(&format!("Locked {uri} for ever"));
    }
    Ok(())
}
