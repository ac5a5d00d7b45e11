//! Files that are meant for others than this host, which cannot prove to be anybody.

use countersign_format::Audience;
use countersign_trust_store::Code;

use crate::attack::{Attack, attack};

pub(super) fn attacks() -> Vec<Attack> {
    [
        ("a_device", &["pump-07"][..], &[][..]),
        ("several_devices", &["pump-07", "pump-08"], &[]),
        ("a_type", &[], &["pump"]),
        ("a_device_and_a_type", &["pump-07"], &["pump"]),
        ("the_signer_itself", &[crate::good::DEVICE], &[]),
    ]
    .into_iter()
    .map(|(word, devices, types)| {
        attack(
            format!("ta34_meant_for_{word}"),
            "The statement names for whom it is, and this host cannot prove to be one of them.",
            Code::Audience,
            move |good| {
                let device = good.device();
                let mut fields = good.fields(&device);
                let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
                fields.audience = Audience {
                    devices: texts(devices),
                    types: texts(types),
                };
                good.sign_fields(&device, fields)
            },
        )
    })
    .collect()
}
