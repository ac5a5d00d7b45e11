//! `revoke`: marks a serial; the next list publishes it.

use std::path::Path;

use countersign_trust_store::UnixTime;
use serde::Serialize;

use super::Context;
use crate::arguments::Revoke;
use crate::authority::Authority;
use crate::directory::CaDirectory;
use crate::records::{self, VERSION};

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    serial: String,
    issuer: &'a str,
    reason: String,
    revoked_at: u64,
    already_revoked: bool,
}

pub(crate) fn run(context: &Context<'_>, dir: &Path, arguments: &Revoke) -> anyhow::Result<()> {
    let directory = CaDirectory::open(dir)?;
    let (authority, issued) = find(&directory, arguments)?;
    let record = records::Revoked {
        version: VERSION,
        serial: arguments.serial.to_string(),
        at: context.now.as_secs(),
        reason: arguments.reason.to_string(),
    };
    let new = authority.record_revoked(&record)?;
    let record = authority.revoked(&arguments.serial)?.unwrap_or(record);

    if issued.is_some_and(|issued| issued.no_rev_avail) {
        context.console.warn(
            "this certificate says that its revocation is never published (noRevAvail): \
             a host that has not seen the new list goes on accepting it",
        );
    }
    let text = if new {
        format!(
            "revoked {} of {} ({})\n",
            arguments.serial, authority.record.id, record.reason
        )
    } else {
        format!(
            "{} of {} was revoked already, at {} ({}); nothing was changed\n",
            arguments.serial,
            authority.record.id,
            UnixTime::from_secs(record.at),
            record.reason,
        )
    };
    context.console.note("next: `countersign-ca crl`, and bring the list to the hosts; until then nothing has changed for them");
    context.console.result(
        &text,
        &Report {
            version: 1,
            serial: arguments.serial.to_string(),
            issuer: &authority.record.id,
            reason: record.reason.clone(),
            revoked_at: record.at,
            already_revoked: !new,
        },
    )
}

/// Who issued the serial.
fn find(
    directory: &CaDirectory,
    arguments: &Revoke,
) -> anyhow::Result<(Authority, Option<records::Issued>)> {
    if let Some(id) = &arguments.issuer {
        let authority = directory.authority(id)?;
        let issued = authority.issued(&arguments.serial)?;
        anyhow::ensure!(
            issued.is_some() || arguments.unrecorded,
            "{id} has no record of serial {}: check it with `countersign-ca show --issued`; \
             to revoke it all the same, add --unrecorded",
            arguments.serial
        );
        return Ok((authority, issued));
    }
    for authority in directory.list()? {
        if authority.record.is_root() && authority.record.serial == arguments.serial.to_string() {
            anyhow::bail!(
                "that is the root: a root is not revoked but taken out of the hosts, by building them with another"
            );
        }
        if let Some(issued) = authority.issued(&arguments.serial)? {
            return Ok((authority, Some(issued)));
        }
    }
    anyhow::bail!(
        "no authority here has issued serial {}: `countersign-ca show --issued` lists what was issued",
        arguments.serial
    )
}
