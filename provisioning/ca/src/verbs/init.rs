//! `init`: the directory and its root.

use std::path::Path;

use countersign_backend_file::rand_core::TryCryptoRng;
use countersign_provisioning::{CaName, Issuer, Root};
use serde::Serialize;

use super::{Context, authority_record, validity, years_in_days};
use crate::arguments::Init;
use crate::authority::Authority;
use crate::directory::{CaDirectory, ROOT};
use crate::new_key::KeyPlan;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    id: &'a str,
    serial: &'a str,
    spki_sha256: &'a str,
    not_after: u64,
    certificate: String,
    encrypted: Option<bool>,
    key: Option<&'a str>,
}

pub(crate) fn run(
    context: &Context<'_>,
    dir: &Path,
    arguments: &Init,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<()> {
    let name = CaName::new(
        &arguments.org,
        &arguments.name,
        arguments.country.as_deref(),
    )?;
    let plan = KeyPlan::new(&arguments.key, &context.passphrase)?;
    let (encrypted, unencrypted) = (plan.encrypted(), plan.is_unencrypted());
    let directory = CaDirectory::create(dir, context.now)?;
    let root = Root {
        name,
        validity: validity(context.now, years_in_days(arguments.years), None)?,
        path_length: arguments.path_length,
        development: false,
    };
    let authority = make_root(&directory, &root, plan, rng)?;
    if unencrypted {
        context
            .console
            .warn("the root's key is not encrypted: whoever reads this folder is the authority");
    }
    let record = &authority.record;
    let certificate = authority.certificate_path().display().to_string();
    context
        .console
        .note("next: `countersign-ca intermediate --name NAME`; then keep the root's key offline");
    context.console.result(
        &format!(
            "root         {}, {}\nserial       {}\nkey          sha256:{}\nvalid until  {}\ncertificate  {certificate}\n",
            record.common_name,
            record.organization,
            record.serial,
            record.spki_sha256,
            root.validity.not_after(),
        ),
        &Report {
            version: 1,
            id: &record.id,
            serial: &record.serial,
            spki_sha256: &record.spki_sha256,
            not_after: record.not_after,
            certificate: certificate.clone(),
            encrypted,
            key: record.key.as_deref(),
        },
    )
}

/// Makes the root's key and certificate and puts both in place.
pub(super) fn make_root(
    directory: &CaDirectory,
    root: &Root,
    plan: KeyPlan,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<Authority> {
    let new = plan.make(rng)?;
    directory.add(ROOT, &new, |key| {
        directory.reserve_key(&key.public_key().spki_sha256().to_string(), "root", None)?;
        let issued = Issuer::root(key, root, rng)?;
        let record = authority_record(
            ROOT,
            None,
            &root.name,
            key,
            &issued,
            root.path_length,
            root.development,
        );
        Ok((record, issued.certificate))
    })
}
