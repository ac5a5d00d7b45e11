//! Host names: who may carry them, and how they are written.

use crate::{Error, Profile};

/// Host names as RFC 1123 §2.1 and RFC 9525 §6.3 have them, without wildcards.
pub(crate) fn check(profile: Profile, names: &[String]) -> Result<(), Error> {
    let refused = |name: &String, reason| Error::NameInvalid {
        field: "host name",
        value: name.clone(),
        reason,
    };
    if let Some(name) = names.first().filter(|_| !profile.rules().dns_names) {
        return Err(refused(name, "only tls certificates carry host names"));
    }
    for name in names {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(refused(
                name,
                "a host name has labels of lower-case letters, digits and hyphens, without wildcards",
            ));
        }
    }
    Ok(())
}
