//! `[[signer]]`: which devices must sign what, as the operator wants it.

use countersign_format::{DeviceIdentity, Digest, NamePattern};
use countersign_trust_store::SignerRule;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::text::Wrong;

/// Most rules, and most names in one of them.
const MAX_RULES: usize = 256;
const MAX_NAMES: usize = 256;

/// Who must sign components of some names. A signer counts that is one of the devices, of one of the types, and certified under
/// one of the issuers; what is not given is not asked. With any rule, a component that none is about is refused. What a
/// signer's certificates do not let it sign stays refused, whatever is written here.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::config) struct SignerPart {
    /// The components: names, or "namespace:*".
    #[schemars(with = "Vec<String>")]
    components: Spanned<Vec<Spanned<String>>>,
    /// Devices, by their identities.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    devices: Vec<Spanned<String>>,
    /// Types of devices, as their certificates state them.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    types: Vec<Spanned<String>>,
    /// Authorities, roots or intermediates: the SHA-256 of their SubjectPublicKeyInfo, in hexadecimal.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    issuers: Vec<Spanned<String>>,
    /// How many different of these devices must sign.
    #[serde(default = "one")]
    #[schemars(with = "u8", range(min = 1, max = 4))]
    at_least: Spanned<u8>,
}

fn one() -> Spanned<u8> {
    Spanned::new(0..0, 1)
}

/// The rules, in the order of the file.
pub(in crate::config) fn rules(parts: Vec<SignerPart>) -> Result<Vec<SignerRule>, Wrong> {
    if parts.len() > MAX_RULES {
        return Err(Wrong {
            place: None,
            message: format!("it has more than {MAX_RULES} [[signer]]"),
        });
    }
    parts.into_iter().map(rule).collect()
}

fn rule(part: SignerPart) -> Result<SignerRule, Wrong> {
    let components = each(part.components.get_ref(), |text| {
        NamePattern::parse(text).map_err(|error| error.to_string())
    })?;
    if components.is_empty() {
        let message = "components: name those that the rule is about".to_owned();
        return Err(Wrong::at(part.components.span(), message));
    }
    let devices = each(&part.devices, |text| match DeviceIdentity::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    })?;
    let types = each(&part.types, |text| Ok(text.to_owned()))?;
    let issuers = each(&part.issuers, |text| {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Digest::from_bytes(bytes)),
            Err(_) => Err(format!(
                "{text:?} is no SHA-256: write 64 hexadecimal digits"
            )),
        }
    })?;
    SignerRule::new(components)
        .devices(devices)
        .types(types)
        .issuers(issuers)
        .at_least(*part.at_least.get_ref())
        .map_err(|error| Wrong::at(part.at_least.span(), format!("at-least: {error}")))
}

fn each<T>(
    texts: &[Spanned<String>],
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Wrong> {
    if let Some(text) = texts.get(MAX_NAMES) {
        let message = format!("at most {MAX_NAMES} names");
        return Err(Wrong::at(text.span(), message));
    }
    texts
        .iter()
        .map(|text| read(text.get_ref()).map_err(|why| Wrong::at(text.span(), why)))
        .collect()
}
