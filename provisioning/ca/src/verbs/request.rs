//! `intermediate request`: an authority that another PKI is to issue: its key, and the request to send there.

use std::path::Path;

use anyhow::Context as _;
use countersign_backend_file::rand_core::TryCryptoRng;
use countersign_provisioning::{CaName, authority_request};
use serde::Serialize;

use super::{Context, intermediate, scope};
use crate::arguments::Request;
use crate::directory::CaDirectory;
use crate::new_key::KeyPlan;
use crate::output::{self, REQUEST};
use crate::records::{self, VERSION};

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    id: &'a str,
    encrypted: Option<bool>,
    request_pem: String,
}

pub(crate) fn run(
    context: &Context<'_>,
    dir: &Path,
    arguments: &Request,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<()> {
    output::check_writable(&arguments.output)?;
    let id = match &arguments.id {
        Some(id) => id.clone(),
        None => intermediate::id_from_name(&arguments.name),
    };
    let name = CaName::new(
        &arguments.org,
        &arguments.name,
        arguments.country.as_deref(),
    )?;
    let scope = scope(&arguments.scope)?;
    let plan = KeyPlan::new(&arguments.key, &context.passphrase)?;
    let (encrypted, unencrypted) = (plan.encrypted(), plan.is_unencrypted());
    let directory = CaDirectory::open_or_create(dir, context.now)?;
    directory.check_free(&id).with_context(|| {
        format!(
            "the name {:?} does not give the authority a folder of its own",
            arguments.name
        )
    })?;
    let new = plan.make(rng)?;
    let request = directory.add_request(&id, &new, |key| {
        let spki = key.public_key().spki_sha256().to_string();
        directory.reserve_authority_key(&spki)?;
        let request = authority_request(key, &name, arguments.path_length, scope.as_ref())?;
        let record = records::Request {
            version: VERSION,
            id: id.clone(),
            organization: name.organization().to_owned(),
            country: name.country().map(str::to_owned),
            common_name: name.common_name().to_owned(),
            spki_sha256: spki,
            key: None,
            made: context.now.as_secs(),
        };
        Ok((record, request))
    })?;
    if unencrypted {
        context
            .console
            .warn("the key is not encrypted: whoever reads this folder is the authority");
    }
    context
        .console
        .deliver(&arguments.output, REQUEST, std::slice::from_ref(&request))
        .with_context(|| {
            format!(
                "the request is kept in {}",
                dir.join("requests").join(&id).display()
            )
        })?;
    context.console.note(&format!(
        "next: send it to the other PKI, and bring the chain in with `countersign-ca intermediate import-chain {id} FILE`"
    ));
    context.console.result(
        "",
        &Report {
            version: 1,
            id: &id,
            encrypted,
            request_pem: output::pem(REQUEST, std::slice::from_ref(&request))?,
        },
    )
}
