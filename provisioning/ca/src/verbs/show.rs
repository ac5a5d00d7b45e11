//! `show`: what there is, for people and for programs. Reads only.

use std::fmt::Write as _;
use std::path::Path;

use countersign_trust_store::UnixTime;
use serde::Serialize;

use super::{Context, days_until};
use crate::arguments::Show;
use crate::authority::Authority;
use crate::directory::CaDirectory;
use crate::records;

/// Authorities that end sooner than this are pointed out.
const EXPIRY_NOTICE_DAYS: u64 = 30;

#[derive(Serialize)]
struct Report {
    version: u32,
    authorities: Vec<AuthorityReport>,
    /// Requests to other PKIs whose chains are not in yet.
    waiting: Vec<String>,
}

#[derive(Serialize)]
struct AuthorityReport {
    #[serde(flatten)]
    record: records::Authority,
    certificate: String,
    issued: usize,
    revoked: usize,
    crl_number: u64,
    /// Until then its lists are needed; what it issued has ended then, or it has itself.
    needed_until: u64,
    /// Who took its place.
    replaced_by: Option<String>,
}

#[derive(Serialize)]
struct CertificatesReport {
    version: u32,
    certificates: Vec<CertificateReport>,
}

#[derive(Serialize)]
struct CertificateReport {
    #[serde(flatten)]
    record: records::Issued,
    revoked: Option<records::Revoked>,
}

pub(crate) fn run(context: &Context<'_>, dir: &Path, arguments: &Show) -> anyhow::Result<()> {
    let directory = CaDirectory::open(dir)?;
    let authorities = directory.list()?;
    if arguments.issued {
        return list_issued(context, &authorities);
    }
    match &arguments.serial {
        Some(serial) => {
            for authority in &authorities {
                if let Some(record) = authority.issued(serial)? {
                    return show_certificate(context, authority, record);
                }
            }
            anyhow::bail!("no authority here has issued serial {serial}")
        }
        None => list_authorities(context, &authorities, directory.waiting()?),
    }
}

fn list_authorities(
    context: &Context<'_>,
    authorities: &[Authority],
    waiting: Vec<String>,
) -> anyhow::Result<()> {
    let mut text = String::new();
    let mut reports = Vec::new();
    for authority in authorities {
        let record = &authority.record;
        let report = AuthorityReport {
            record: record.clone(),
            certificate: authority.certificate_path().display().to_string(),
            issued: authority.issued_serials()?.len(),
            revoked: authority.revocations()?.len(),
            crl_number: authority.crl_number()?,
            needed_until: super::last_end(authority)?,
            replaced_by: super::successor(authorities, &record.id, context.now.as_secs())
                .map(|other| other.record.id.clone()),
        };
        writeln!(
            text,
            "{}{}",
            record.id,
            if record.development {
                "  (development)"
            } else {
                ""
            }
        )?;
        writeln!(
            text,
            "  name        {}, {}",
            record.common_name, record.organization
        )?;
        writeln!(
            text,
            "  issued by   {}",
            record
                .issuer
                .as_deref()
                .or(record.external_issuer.as_deref())
                .unwrap_or("itself")
        )?;
        writeln!(text, "  serial      {}", record.serial)?;
        writeln!(text, "  key         sha256:{}", record.spki_sha256)?;
        writeln!(
            text,
            "  valid       {} to {}",
            UnixTime::from_secs(record.not_before),
            UnixTime::from_secs(record.not_after)
        )?;
        writeln!(
            text,
            "  certificates {}, revoked {}, CRL number {}",
            report.issued, report.revoked, report.crl_number
        )?;
        if let Some(other) = &report.replaced_by {
            writeln!(
                text,
                "  replaced by {other}; makes revocation lists until {}",
                UnixTime::from_secs(report.needed_until)
            )?;
        }
        let left = days_until(context.now, record.not_after);
        if left < EXPIRY_NOTICE_DAYS {
            context
                .console
                .warn(&format!("{} ends in {left} days", record.id));
        }
        reports.push(report);
    }
    for id in &waiting {
        writeln!(text, "{id}\n  requested, and its chain is not in yet")?;
    }
    context.console.result(
        &text,
        &Report {
            version: 1,
            authorities: reports,
            waiting,
        },
    )
}

fn list_issued(context: &Context<'_>, authorities: &[Authority]) -> anyhow::Result<()> {
    let mut text = String::new();
    let mut certificates = Vec::new();
    for authority in authorities {
        for serial in authority.issued_serials()? {
            let Some(record) = authority.issued(&serial)? else {
                continue;
            };
            let revoked = authority.revoked(&serial)?;
            writeln!(
                text,
                "{serial}  {:<16}  {:<24}  {}  {}{}",
                record.profile,
                record.device_id.as_deref().unwrap_or("-"),
                authority.record.id,
                UnixTime::from_secs(record.not_after),
                revoked.as_ref().map_or(String::new(), |revoked| format!(
                    "  revoked ({})",
                    revoked.reason
                )),
            )?;
            certificates.push(CertificateReport { record, revoked });
        }
    }
    context.console.result(
        &text,
        &CertificatesReport {
            version: 1,
            certificates,
        },
    )
}

fn show_certificate(
    context: &Context<'_>,
    authority: &Authority,
    record: records::Issued,
) -> anyhow::Result<()> {
    let revoked = authority.revoked(&record.serial.parse()?)?;
    let mut text = String::new();
    writeln!(text, "serial       {}", record.serial)?;
    writeln!(text, "profile      {}", record.profile)?;
    writeln!(
        text,
        "device       {}",
        record.device_id.as_deref().unwrap_or("-")
    )?;
    writeln!(
        text,
        "issued by    {} at {}",
        record.issuer,
        UnixTime::from_secs(record.issued_at)
    )?;
    writeln!(text, "key          sha256:{}", record.spki_sha256)?;
    writeln!(
        text,
        "valid        {} to {}",
        UnixTime::from_secs(record.not_before),
        UnixTime::from_secs(record.not_after)
    )?;
    match &revoked {
        Some(revoked) => writeln!(
            text,
            "revoked      {} ({})",
            UnixTime::from_secs(revoked.at),
            revoked.reason
        )?,
        None if record.no_rev_avail => writeln!(
            text,
            "revoked      no, and its revocation is never published (noRevAvail)"
        )?,
        None => writeln!(text, "revoked      no")?,
    }
    match record.certificate.as_str() {
        "" => writeln!(
            text,
            "certificate  none: the program ended while it was signed, and it was never handed out; revoke its serial all the same"
        )?,
        pem => text.push_str(pem),
    }
    context.console.result(
        &text,
        &CertificatesReport {
            version: 1,
            certificates: vec![CertificateReport { record, revoked }],
        },
    )
}
