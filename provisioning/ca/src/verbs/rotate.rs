//! `intermediate rotate`: a new authority in the place of another, which goes on for as long as what it issued.
//!
//! Both lead to the same root, so hosts take certificates of either without being told, as long as they get the lists of
//! both. From now on `issue` uses the new one.

use std::path::Path;

use anyhow::Context as _;
use countersign_backend_file::rand_core::TryCryptoRng;
use countersign_provisioning::{CaName, Issuer};
use countersign_trust_store::{Certificate, UnixTime};

use super::{Context, intermediate, last_end, successor};
use crate::arguments::Rotate;
use crate::directory::CaDirectory;
use crate::new_key::KeyPlan;

pub(crate) fn run(
    context: &Context<'_>,
    dir: &Path,
    arguments: &Rotate,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<()> {
    let directory = CaDirectory::open(dir)?;
    let old = directory.authority(&arguments.old)?;
    let all = directory.list()?;
    anyhow::ensure!(
        !old.record.is_root(),
        "a root is not rotated: make another with `countersign-ca init`, and build hosts with both until the old one's devices are gone"
    );
    let parent = match &old.record.issuer {
        Some(id) => directory.authority(id)?,
        None => anyhow::bail!(
            "{} was issued by {}: ask there for another with `countersign-ca intermediate request`",
            old.record.id,
            old.record
                .external_issuer
                .as_deref()
                .unwrap_or("another PKI")
        ),
    };
    if let Some(other) = successor(&all, &old.record.id, context.now.as_secs()) {
        anyhow::bail!(
            "{} was replaced by {} already: rotate that one",
            old.record.id,
            other.record.id
        );
    }
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => next_name(&old.record.common_name),
    };
    let id = match &arguments.authority.id {
        Some(id) => id.clone(),
        None => intermediate::id_from_name(&name),
    };
    directory.check_free(&id)?;
    let certificate = Certificate::parse(&old.certificate()?)
        .with_context(|| format!("the certificate of {} is damaged", old.record.id))?;
    let scope = certificate
        .scope()
        .with_context(|| format!("the scope of {} is damaged", old.record.id))?;

    let parent_key = parent.key(&context.passphrase)?;
    let plan = KeyPlan::new(&arguments.authority.key, &context.passphrase)?;
    let encrypted = plan.encrypted();
    let issuer = Issuer::new(&parent_key, &parent.certificate()?)?;
    let wanted = countersign_provisioning::Intermediate {
        name: CaName::new(
            &old.record.organization,
            &name,
            old.record.country.as_deref(),
        )?,
        validity: intermediate::period(context.now, arguments.authority.years, issuer.validity())?,
        path_length: old.record.path_length,
        scope,
    };
    let made = intermediate::make_intermediate(
        context,
        &directory,
        &intermediate::Place {
            parent: &parent,
            parent_key: &parent_key,
            id: &id,
            replaces: Some(&old.record.id),
        },
        &wanted,
        plan,
        rng,
    )?;
    let until = last_end(&old)?;
    context.console.note(&format!(
        "next: `countersign-ca crl`, and bring both lists to the hosts; {} goes on making them until {}, and its key is kept until then",
        old.record.id,
        UnixTime::from_secs(until),
    ));
    intermediate::report(context, &made, &issuer, encrypted, Some((&old, until)))
}

/// The name of who comes next: the number at its end raised by one, or 2.
fn next_name(name: &str) -> String {
    let digits = name.len().saturating_sub(
        name.trim_end_matches(|character: char| character.is_ascii_digit())
            .len(),
    );
    let (stem, number) = name.split_at(name.len().saturating_sub(digits));
    match number
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_add(1))
    {
        Some(next) => format!("{stem}{next}"),
        None => format!("{name} 2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_upwards() {
        assert_eq!(next_name("Acme Devices 1"), "Acme Devices 2");
        assert_eq!(next_name("Acme Devices 9"), "Acme Devices 10");
        assert_eq!(next_name("Devices"), "Devices 2");
        assert_eq!(next_name("G2"), "G3");
        assert_eq!(next_name("Plant 99999999999"), "Plant 99999999999 2");
    }
}
