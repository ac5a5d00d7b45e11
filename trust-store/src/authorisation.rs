//! Authenticated is not authorised: what a signer may sign, for whom, and how many must.

use std::collections::BTreeSet;

use countersign_format::{Audience, Scope, Statement};

use crate::{Link, Policy, Rejection, SignerRule, VerifiedChain, VerifiedSigner, fault::Fault};

/// The component's name and audience lie within every scope of the signer's chain; there is at least one.
pub(crate) fn check_scope(
    signer: &VerifiedSigner,
    statement: &Statement,
) -> Result<String, Rejection> {
    check_chain_scope(signer.index(), signer.chain(), statement)
}

/// The same for a chain by itself, that of signer `index`.
pub(crate) fn check_chain_scope(
    index: usize,
    chain: &VerifiedChain,
    statement: &Statement,
) -> Result<String, Rejection> {
    let Some(innermost) = chain.scopes().last() else {
        return Err(Rejection::ScopeMissing {
            signer: index,
            subject: chain.leaf().subject(),
        });
    };
    let admits = |scope: &Scope| scope.admits(statement.name(), statement.audience());
    match chain.scopes().iter().find(|scope| !admits(scope)) {
        None => Ok(format!(
            "{} lies within {}",
            statement.name(),
            describe_scope(innermost)
        )),
        Some(scope) => Err(Rejection::SignerNotAuthorised {
            signer: index,
            subject: chain.leaf().subject(),
            scope: describe_scope(scope),
            component: match statement.audience().is_empty() {
                true => format!("{} for any device", statement.name()),
                false => format!(
                    "{} for {}",
                    statement.name(),
                    describe_audience(statement.audience())
                ),
            },
        }),
    }
}

/// An empty audience is for everyone; one that names devices or types is for a machine that can prove to be one.
pub(crate) fn check_audience(audience: &Audience, policy: &Policy) -> Result<String, Rejection> {
    if audience.is_empty() {
        return Ok("it is meant for any device".to_owned());
    }
    let refused = |own: String| Rejection::Audience {
        wanted: describe_audience(audience),
        own,
    };
    let (identity, device_type) = policy
        .device()
        .ok_or_else(|| refused("not told who it is, so it cannot prove to be one".to_owned()))?;
    if audience.admits(Some(identity.as_str()), device_type) {
        return Ok(format!(
            "it is meant for {}, and this is {identity}",
            describe_audience(audience)
        ));
    }
    Err(refused(match device_type {
        Some(device_type) => format!("{identity} of the type {device_type}"),
        None => identity.to_string(),
    }))
}

/// Every rule of the operator about this name is met; who is named by none of them does not count. Gives those who count.
pub(crate) fn check_rules<'a>(
    signers: &'a [VerifiedSigner],
    statement: &Statement,
    policy: &Policy,
) -> Result<Vec<&'a VerifiedSigner>, Rejection> {
    if policy.rules().is_empty() {
        return Ok(signers.iter().collect());
    }
    let name = statement.name();
    let refused = |wanted: String| Rejection::SignerNotNamed {
        component: name.clone(),
        wanted,
        signers: describe_signers(signers),
    };
    let rules = policy.rules().iter().filter(|rule| rule.is_about(name));
    let rules: Vec<&SignerRule> = rules.collect();
    if rules.is_empty() {
        return Err(refused(
            "nobody, because no rule of the operator is about it".to_owned(),
        ));
    }
    for rule in &rules {
        let named = signers.iter().filter(|signer| rule.names(signer.chain()));
        let named: Vec<_> = named.collect();
        if count(&named, rule.needed())? < usize::from(rule.needed()) {
            return Err(refused(rule.to_string()));
        }
    }
    let by_any = |signer: &&VerifiedSigner| rules.iter().any(|rule| rule.names(signer.chain()));
    Ok(signers.iter().filter(by_any).collect())
}

/// Enough signers count; where more than one is required, each is a device of its own.
pub(crate) fn check_threshold(
    signers: &[&VerifiedSigner],
    policy: &Policy,
    uncounted: &[String],
) -> Result<String, Rejection> {
    let needed = policy.min_signers();
    let counted = count(signers, needed)?;
    if counted < usize::from(needed) {
        return Err(Rejection::SignersTooFew {
            needed,
            counted,
            uncounted: uncounted.to_vec(),
        });
    }
    Ok(format!("{counted} counted, {needed} required"))
}

/// How many of the signers count where so many are needed.
fn count(signers: &[&VerifiedSigner], needed: u8) -> Result<usize, Rejection> {
    if needed == 1 {
        Ok(signers.len())
    } else {
        different_devices(signers)
    }
}

pub(crate) fn different_devices(signers: &[&VerifiedSigner]) -> Result<usize, Rejection> {
    let mut devices = BTreeSet::new();
    for signer in signers {
        let leaf = signer.chain().leaf();
        let device = signer
            .chain()
            .device()
            .ok_or_else(|| Rejection::Certificate {
                signer: signer.index(),
                depth: 0,
                subject: leaf.subject(),
                fault: Fault::Identity {
                    reason: "it names no device, and several devices must sign",
                },
            })?;
        devices.insert(device);
    }
    Ok(devices.len())
}

/// Who signed, with what an operator can name them by.
fn describe_signers(signers: &[VerifiedSigner]) -> String {
    let describe = |signer: &VerifiedSigner| {
        let chain = signer.chain();
        let who = chain.device().map_or_else(
            || format!("{}, no device,", chain.leaf().subject()),
            |device| device.identity().to_string(),
        );
        let of_type = chain
            .device_type()
            .map(|device_type| format!(" of the type {device_type}"));
        let issuers = chain.links().iter().map(Link::issuer_spki_sha256);
        let issuers: Vec<_> = issuers.map(|issuer| issuer.to_string()).collect();
        format!(
            "{who}{} certified under {}",
            of_type.unwrap_or_default(),
            issuers.join(" under ")
        )
    };
    signers
        .iter()
        .map(describe)
        .collect::<Vec<_>>()
        .join(" and ")
}

fn describe_scope(scope: &Scope) -> String {
    let names: Vec<_> = scope.components().iter().map(ToString::to_string).collect();
    match scope.audience().is_empty() {
        true => names.join(", "),
        false => format!(
            "{} for {}",
            names.join(", "),
            describe_audience(scope.audience())
        ),
    }
}

fn describe_audience(audience: &Audience) -> String {
    let mut parts = Vec::new();
    if !audience.devices.is_empty() {
        parts.push(format!("the devices {}", audience.devices.join(", ")));
    }
    if !audience.types.is_empty() {
        parts.push(format!("the types {}", audience.types.join(", ")));
    }
    parts.join(" of ")
}
