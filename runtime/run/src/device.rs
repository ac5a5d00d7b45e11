//! The device whose keys the operator lends: what the options say of each key, in the words of `countersign_hosting::lending`,
//! and what a component may do with it at most.
//!
//! A key that cannot be opened, or that is not the one in its certificate, ends the run before the component starts.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use countersign_hosting::AuditLog;
use countersign_hosting::lending::{self, KeySource, NotLent, SecretSource};
use countersign_keys::KeyUri;
use countersign_runtime::Ceiling;
use countersign_runtime::host::{DeviceBuilder, KeyCeiling};

use crate::args::{Named, Run};

/// The ceiling with the device whose keys `run` names, if it names any.
pub(crate) fn lend(
    run: &Run,
    log: &Arc<AuditLog>,
    mut ceiling: Ceiling,
) -> Result<Ceiling, NotLent> {
    check_names(run)?;
    let begun = |builder: Option<DeviceBuilder>, name: &str, chain: &[Vec<u8>]| match builder {
        Some(builder) => Ok(builder),
        // Its first certificate says which device it is.
        None => lending::device(name, chain, log),
    };
    let mut builder = None;
    for Named { name, value: uri } in &run.device_keys {
        let source = source(run, name, uri)?;
        let chain = source.certificates()?;
        let lent = source.lent(chain.clone())?;
        builder = Some(begun(builder.take(), name, &chain)?.key(name, lent)?);
        ceiling = ceiling.key(name, bounds(run, name));
    }
    if let Some(Named { name, value: uri }) = &run.device_attestation {
        let source = source(run, name, uri)?;
        let chain = source.certificates()?;
        let building = begun(builder.take(), name, &chain)?;
        let (registers, how) = (&run.device_registers, "--device-pcr 0,2,7");
        let lent = source.attestation(chain, registers, "countersign-run", how)?;
        builder = Some(building.attestation(name, lent)?);
        ceiling = ceiling.key(name, bounds(run, name));
    }
    match builder {
        Some(builder) => {
            let device = builder
                .build()
                .context("the thread for the device's keys cannot be started")?;
            Ok(ceiling.device(device))
        }
        None => Ok(ceiling),
    }
}

/// What the options say of the key `name`.
fn source(run: &Run, name: &str, uri: &KeyUri) -> anyhow::Result<KeySource> {
    let chain = run.device_chains.iter().find(|chain| chain.name == name);
    let secret = run.device_secrets.iter().find(|secret| secret.name == name);
    Ok(KeySource {
        name: name.to_owned(),
        uri: uri.clone(),
        chain: chain
            .map(|chain| chain.value.clone())
            .with_context(|| format!("the key {name} has no certificates"))?,
        secret: match secret {
            Some(secret) => SecretSource::File(secret.value.clone()),
            None => SecretSource::Unnamed {
                how: format!("--device-secret {name}=FILE"),
            },
        },
    })
}

/// Every option names a key that is lent, and each key is named once and has its certificates.
fn check_names(run: &Run) -> anyhow::Result<()> {
    let once = [
        ("--device-key or --device-attestation", lent_names(run)),
        ("--device-chain", names(&run.device_chains)),
        ("--device-rate", names(&run.device_rates)),
        ("--device-secret", names(&run.device_secrets)),
    ];
    for (option, names) in &once {
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(**name)) {
            bail!(
                "{option} names {name} twice; give each key a name of its own, and say each thing of it once"
            );
        }
    }
    let lent: BTreeSet<&str> = lent_names(run).into_iter().collect();
    let any_number = ("--device-context", names(&run.device_contexts));
    for (option, names) in once.iter().chain([&any_number]) {
        if let Some(name) = names.iter().find(|name| !lent.contains(**name)) {
            bail!(
                "{option} names {name}, but no --device-key {name}=KEY-URI lends a key of this name"
            );
        }
    }
    let certified = names(&run.device_chains);
    match run
        .device_keys
        .iter()
        .chain(&run.device_attestation)
        .find(|key| !certified.contains(&key.name.as_str()))
    {
        Some(Named { name, value }) => bail!(
            "the key {name} ({value}) has no certificates; name the file that your authority gave you: \
             --device-chain {name}=FILE"
        ),
        None => Ok(()),
    }
}

/// Under which names anything is lent.
fn lent_names(run: &Run) -> Vec<&str> {
    let lent = run.device_keys.iter().chain(&run.device_attestation);
    lent.map(|key| key.name.as_str()).collect()
}

fn names<T>(options: &[Named<T>]) -> Vec<&str> {
    options.iter().map(|option| option.name.as_str()).collect()
}

fn bounds(run: &Run, name: &str) -> KeyCeiling {
    let mut bounds = KeyCeiling::default();
    if let Some(rate) = run.device_rates.iter().find(|rate| rate.name == name) {
        bounds = bounds.per_minute(rate.value);
    }
    let contexts: Vec<_> = run
        .device_contexts
        .iter()
        .filter(|context| context.name == name)
        .map(|context| context.value.clone())
        .collect();
    if contexts.is_empty() {
        bounds
    } else {
        bounds.contexts(contexts)
    }
}
