//! `revoke`: marks a serial; the next list publishes it. Where its key is lost, every other certificate over that key is marked
//! with it, whichever authority here issued it: who has the key would go on with a renewal.

use std::fmt::Write as _;
use std::path::Path;

use countersign_trust_store::UnixTime;
use serde::Serialize;

use super::Context;
use crate::arguments::Revoke;
use crate::authority::Authority;
use crate::directory::CaDirectory;
use crate::records;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    serial: String,
    issuer: &'a str,
    reason: String,
    revoked_at: u64,
    already_revoked: bool,
    with_it: Vec<Other>,
}

/// Another certificate over the key that is lost.
#[derive(Serialize)]
struct Other {
    serial: String,
    issuer: String,
    /// It says that its revocation is never published (RFC 9608).
    no_rev_avail: bool,
}

pub(crate) fn run(context: &Context<'_>, dir: &Path, arguments: &Revoke) -> anyhow::Result<()> {
    let directory = CaDirectory::open(dir)?;
    let (authority, issued) = find(&directory, arguments)?;
    let (serial, reason) = (&arguments.serial, arguments.reason);
    let (record, new) = authority.record_revoked(serial, reason, context.now)?;
    // This one first: from then on the key is certified no more, and the same command again goes on where this one was stopped.
    let with_it = match &issued {
        Some(issued) if reason.loses_the_key() => {
            others(context, &directory, &issued.spki_sha256, arguments)?
        }
        _ => Vec::new(),
    };

    if issued.is_some_and(|issued| issued.no_rev_avail) {
        context.console.warn(&never_published(&serial.to_string()));
    }
    for other in with_it.iter().filter(|other| other.no_rev_avail) {
        context.console.warn(&never_published(&other.serial));
    }
    let id = &authority.record.id;
    let mut text = if new {
        format!("revoked {serial} of {id} ({})\n", record.reason)
    } else {
        format!(
            "{serial} of {id} was revoked already, at {} ({}); nothing was changed for it\n",
            UnixTime::from_secs(record.at),
            record.reason,
        )
    };
    for other in &with_it {
        writeln!(
            text,
            "revoked {} of {} with it, which is over the same key",
            other.serial, other.issuer
        )?;
    }
    context.console.note("next: `countersign-ca crl`, and bring the list to the hosts; until then nothing has changed for them");
    context.console.result(
        &text,
        &Report {
            version: 1,
            serial: serial.to_string(),
            issuer: id,
            reason: record.reason.clone(),
            revoked_at: record.at,
            already_revoked: !new,
            with_it,
        },
    )
}

fn never_published(serial: &str) -> String {
    format!(
        "{serial} says that its revocation is never published (noRevAvail): a host that has not seen the new list goes on \
         accepting it"
    )
}

/// Revokes whatever else was issued over a key that is lost.
fn others(
    context: &Context<'_>,
    directory: &CaDirectory,
    spki_sha256: &str,
    arguments: &Revoke,
) -> anyhow::Result<Vec<Other>> {
    let mut revoked = Vec::new();
    for authority in directory.list()? {
        for serial in authority.issued_over(spki_sha256)? {
            let (_, is_new) = authority.record_revoked(&serial, arguments.reason, context.now)?;
            if is_new {
                let issued = authority.issued(&serial)?;
                revoked.push(Other {
                    serial: serial.to_string(),
                    issuer: authority.record.id.clone(),
                    no_rev_avail: issued.is_some_and(|issued| issued.no_rev_avail),
                });
            }
        }
    }
    Ok(revoked)
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
