//! `device renew`: the certificate after the present one, for the same key or a new one.

use std::path::PathBuf;

use anyhow::anyhow;
use countersign_enrolment::{
    Ask, Expected, Occasion, Own, Phase, Received, Standing, keep, obtain,
};
use countersign_keys::KeyUri;
use countersign_signer::request::{self, RequestFields};

use super::enroll::request_failure;
use crate::shared::authority::{self, AuthorityArguments, IdentityArguments, Patient};
use crate::shared::certificates;
use crate::shared::failure::Failure;
use crate::shared::files::{self, Existing};
use crate::shared::output::Output;
use crate::shared::secrets::SecretArguments;
use crate::verbs::key::ExistingKey;

/// Get the certificate that follows the present one (EST, RFC 7030)
///
/// Without --new-key, the same key gets a later certificate, which takes the place of the old one; the old one stays beside it, with
/// .previous after its name. With --new-key, which must exist already (`countersign key rotate`), the new key gets a
/// certificate of the same device and purpose in a file of its own, and nothing changes for the old one.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign device renew tpm:tls --chain tls.pem --server https://ca.example:8443 --roots root.pem
  countersign device renew tpm:tls --chain tls.pem --server https://ca.example --roots root.pem --only-if-due --wait 600
  countersign device renew tpm:tls --chain tls.pem --new-key tpm:tls-2 --output tls-2.pem --server https://ca.example --roots root.pem")]
pub(crate) struct Arguments {
    #[command(flatten)]
    key: ExistingKey,
    /// The key's present chain, PEM
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    #[command(flatten)]
    authority: AuthorityArguments,
    #[command(flatten)]
    identity: IdentityArguments,
    /// Ask for a certificate for this key, which exists already, instead
    #[arg(long, value_name = "KEY", requires = "output")]
    new_key: Option<KeyUri>,
    /// File whose only line is the new key's passphrase, or its token's PIN
    #[arg(
        long,
        visible_alias = "new-pin-file",
        value_name = "FILE",
        requires = "new_key"
    )]
    new_passphrase_file: Option<PathBuf>,
    /// Where to write the new chain, PEM (default: in the place of the present one)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do nothing, successfully, until it is time
    #[arg(long)]
    only_if_due: bool,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let present = certificates::read_chain(&arguments.chain)?;
    let usage = |error| Failure::usage(anyhow::Error::new(error));
    let Some(first) = present.first() else {
        return Err(Failure::usage(anyhow!(
            "{} is empty",
            arguments.chain.display()
        )));
    };
    let old = Own::parse(first).map_err(usage)?;
    let phase = Standing::of(&old).at(authority::now().as_secs());
    if arguments.only_if_due && phase == Phase::Current {
        return super::status::tell(&old, &arguments.chain, arguments.json, output);
    }
    let Some(device) = old.identity() else {
        return Err(Failure::usage(anyhow!(
            "{} names no device, or two; get the device's first certificate by `countersign device enroll`",
            arguments.chain.display()
        )));
    };
    let path = arguments.output.as_ref().unwrap_or(&arguments.chain);
    if path == &arguments.chain {
        if arguments.new_key.is_some() {
            return Err(Failure::usage(anyhow!(
                "the new key's chain needs a file of its own: what still uses the old key must find the old chain"
            )));
        }
    } else {
        files::check_output(path, Existing::Refuse)?;
    }
    let roots = arguments.authority.roots()?;
    let fields = RequestFields {
        subject: old.subject().map_err(usage)?,
        identity: Some(device.clone()),
        dns_names: old.dns_names().to_vec(),
        ..RequestFields::default()
    };
    let key = match &arguments.new_key {
        None => arguments.key.open()?,
        Some(uri) => {
            let secrets = match &arguments.new_passphrase_file {
                Some(file) => SecretArguments::of_file(file.clone()),
                None => SecretArguments::default(),
            };
            secrets.stores().open(uri)?
        }
    };
    let credential = match arguments.identity.open()? {
        Some(credential) => credential,
        None => authority::by_certificate(arguments.key.open()?, &present)?,
    };
    let client = arguments.authority.client(credential)?;
    let request = request::certification_request(&key, &fields)
        .map_err(|error| request_failure(error, "cannot make the request"))?;
    let expected = Expected {
        key: key.public_key(),
        device: &device,
        roots: &roots,
        replaces: Some(&old),
    };
    let ask = Ask {
        client: &client,
        occasion: Occasion::Renewal,
        request: &request,
        expected: &expected,
        received: &Received::beside(path),
    };
    let issued = obtain(&ask, arguments.authority.patience(), &mut Patient);
    match issued.and_then(|chain| Ok((keep(path, &chain)?, chain))) {
        Ok((kept, chain)) => {
            authority::report(
                &chain,
                path,
                kept.previous.as_deref(),
                arguments.json,
                output,
            );
            Ok(())
        }
        Err(error) => {
            if arguments.json {
                authority::report_failure(&error, output);
            }
            Err(authority::failure(error))
        }
    }
}
