//! `device enroll`: the first certificate of a key, from an authority.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use countersign_enrolment::{Ask, Credential, Expected, Occasion, Received, keep, obtain};
use countersign_format::DeviceIdentity;
use countersign_signer::request::{self, RequestFields, Subject};

use crate::shared::authority::{self, AuthorityArguments, IdentityArguments, Patient};
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::Output;
use crate::verbs::key::ExistingKey;

/// Get a key's first certificate from an authority (EST, RFC 7030)
///
/// The key makes the request itself. Who asks is shown by a token that works once, by a name and password, or by the
/// certificate from the factory. What comes back is written only if it is for this key and this device and leads to one of the
/// roots.
#[derive(clap::Args)]
#[command(
    group = clap::ArgGroup::new("who").args(["token_file", "user", "identity"]),
    after_help = "\
Examples:
  countersign device enroll tpm:tls --device-id gw-17 --server https://ca.example:8443 --roots root.pem --token-file token --output tls.pem
  countersign device enroll tpm:tls --device-id gw-17 --server https://ca.example --roots root.pem --identity tpm:factory --identity-chain factory.pem --output tls.pem
  countersign device enroll tls.key --device-id gw-17 --server https://ca.example --roots root.pem --user gw-17 --password-file password --wait 3600 --output tls.pem"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    key: ExistingKey,
    #[command(flatten)]
    authority: AuthorityArguments,
    #[command(flatten)]
    identity: IdentityArguments,
    /// Device id: 1 to 64 letters, digits and . _ : -
    #[arg(long, value_name = "ID")]
    device_id: String,
    /// Common name (CN)
    #[arg(long, value_name = "TEXT")]
    common_name: Option<String>,
    /// Organisation (O)
    #[arg(long, value_name = "TEXT")]
    org: Option<String>,
    /// Host name for a TLS certificate; may be repeated
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// File whose only line is a token from the authority
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name that goes with --password-file
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File whose only line is a password from the authority, or a token that it takes as one
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Where to write the chain, PEM
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Replace an existing chain; it stays beside the new one, with .previous after its name
    #[arg(long)]
    force: bool,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let device = DeviceIdentity::parse(&arguments.device_id)
        .context("the device id")
        .map_err(Failure::usage)?;
    files::check_output(&arguments.output, files::forced(arguments.force))?;
    let roots = arguments.authority.roots()?;
    let client = arguments.authority.client(credential(arguments)?)?;
    let key = arguments.key.open()?;
    let fields = RequestFields {
        subject: Subject {
            common_name: arguments.common_name.clone(),
            organization: arguments.org.clone(),
            ..Subject::default()
        },
        identity: Some(device.clone()),
        dns_names: arguments.dns_names.clone(),
        ..RequestFields::default()
    };
    let request = request::certification_request(&key, &fields)
        .map_err(|error| request_failure(error, "cannot make the request"))?;
    let expected = Expected {
        key: key.public_key(),
        device: &device,
        roots: &roots,
        replaces: None,
    };
    let ask = Ask {
        client: &client,
        occasion: Occasion::First,
        request: &request,
        expected: &expected,
        received: &Received::beside(&arguments.output),
    };
    let issued = obtain(&ask, arguments.authority.patience(), &mut Patient);
    let kept = issued.and_then(|chain| Ok((keep(&arguments.output, &chain)?, chain)));
    match kept {
        Ok((kept, chain)) => {
            let previous = kept.previous.as_deref();
            authority::report(&chain, &arguments.output, previous, arguments.json, output);
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

/// How the device shows who it is.
fn credential(arguments: &Arguments) -> Result<Credential, Failure> {
    if let Some(file) = &arguments.token_file {
        return Ok(Credential::Token(authority::secret(file)?));
    }
    if let (Some(user), Some(file)) = (&arguments.user, &arguments.password_file) {
        return Ok(Credential::Password {
            user: user.clone(),
            password: authority::secret(file)?,
        });
    }
    Ok(arguments.identity.open()?.unwrap_or(Credential::Nothing))
}

/// Why there is no request: the key's fault, or the caller's.
pub(super) fn request_failure(error: request::RequestError, what: &'static str) -> Failure {
    match error {
        request::RequestError::Key(error) => Failure::key(error),
        error => Failure::usage(anyhow!(error).context(what)),
    }
}
