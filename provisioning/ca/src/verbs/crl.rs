//! `crl`: the revocation list of every authority, or of one.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::{Context, make_crl};
use crate::arguments::Crl;
use crate::directory::CaDirectory;
use crate::output::{self, CRL};

#[derive(Serialize)]
struct Report {
    version: u32,
    lists: Vec<List>,
}

#[derive(Serialize)]
struct List {
    issuer: String,
    number: u64,
    this_update: u64,
    next_update: u64,
    revoked: usize,
    pem: String,
}

pub(crate) fn run(context: &Context<'_>, dir: &Path, arguments: &Crl) -> anyhow::Result<()> {
    output::check_writable(&arguments.output)?;
    let directory = CaDirectory::open(dir)?;
    let authorities = match &arguments.issuer {
        Some(id) => vec![directory.authority(id)?],
        None => directory.list()?,
    };
    anyhow::ensure!(
        !arguments.output.der || authorities.len() == 1,
        "--der writes one list: name its authority with --issuer"
    );
    // Every key is opened before the first number is taken: a wrong passphrase leaves all lists as they were.
    let keys = authorities
        .iter()
        .map(|authority| authority.key(&context.passphrase))
        .collect::<anyhow::Result<Vec<_>>>()?;

    let mut lists = Vec::new();
    let mut objects = Vec::new();
    let mut summary = String::new();
    for (authority, key) in authorities.iter().zip(&keys) {
        let made = make_crl(context, authority, key, arguments.days)?;
        writeln!(
            summary,
            "{}: number {}, {} revoked, next due {}",
            authority.record.id,
            made.number,
            made.revoked,
            made.validity.not_after()
        )?;
        lists.push(List {
            issuer: authority.record.id.clone(),
            number: made.number,
            this_update: made.validity.not_before().as_secs(),
            next_update: made.validity.not_after().as_secs(),
            revoked: made.revoked,
            pem: output::pem(CRL, std::slice::from_ref(&made.crl))?,
        });
        objects.push(made.crl);
    }
    context.console.deliver(&arguments.output, CRL, &objects)?;
    context.console.note(summary.trim_end());
    context.console.result("", &Report { version: 1, lists })
}
