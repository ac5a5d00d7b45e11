//! `device status`: until when a chain's certificate is good, and what comes next.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use countersign_enrolment::{Own, Phase, Standing};
use serde_json::json;

use crate::shared::authority;
use crate::shared::certificates;
use crate::shared::failure::Failure;
use crate::shared::output::Output;

/// Say until when a device's certificate is good, and what comes next
///
/// Looks at the chain only; no key and no network is needed. Whether the certificate was revoked, others say.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign device status tls.pem
  countersign device status tls.pem --json")]
pub(crate) struct Arguments {
    /// The device's chain, PEM
    #[arg(value_name = "CHAIN")]
    chain: PathBuf,
    /// Print as versioned JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let chain = certificates::read_chain(&arguments.chain)?;
    let Some(first) = chain.first() else {
        return Err(Failure::usage(anyhow!(
            "{} is empty",
            arguments.chain.display()
        )));
    };
    let own = Own::parse(first).map_err(|error| Failure::usage(error.into()))?;
    tell(&own, &arguments.chain, arguments.json, output)
}

/// Says it of this certificate, which is the first of the chain at `path`.
pub(super) fn tell(
    own: &Own,
    path: &Path,
    as_json: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let standing = Standing::of(own);
    let phase = standing.at(authority::now().as_secs());
    let next = match phase {
        Phase::Current => match standing.renew_from() {
            Some(from) => format!("renew it from {} on", authority::time(from)),
            None => "nothing; it has no end".to_owned(),
        },
        Phase::RenewalDue => "renew it now, by `countersign device renew`".to_owned(),
        Phase::Expired => {
            "renew it if the authority still takes it, by `countersign device renew`; else enrol the device anew, by `countersign device enroll`"
                .to_owned()
        }
        Phase::NotYet => "check this machine's clock".to_owned(),
        _ => "look at the dates".to_owned(),
    };
    if as_json {
        output.json(&json!({
            "version": 1,
            "chain": path.display().to_string(),
            "device": own.device(),
            "status": phase.as_str(),
            "not_before": authority::time(own.not_before()),
            "not_after": standing.end().map(authority::time),
            "renew_from": standing.renew_from().map(authority::time),
            "next": next,
        }));
    } else {
        output.field("device", own.device().unwrap_or("none that it names"));
        output.field("status", phase.as_str());
        output.field("valid from", &authority::time(own.not_before()));
        output.field(
            "valid until",
            &standing
                .end()
                .map_or_else(|| "for ever".to_owned(), authority::time),
        );
        output.field("next", &next);
    }
    Ok(())
}
