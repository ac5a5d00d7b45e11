//! `countersign-authority`: makes an authority's folder, and serves.
//!
//! This file reads the command line and says how it went; the library does the work.
#![forbid(unsafe_code)]

mod arguments;

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use countersign_authority::config::Config;
use countersign_authority::telemetry::Telemetry;
use countersign_authority::tokens::{self, Scope, TokenFolder};
use countersign_authority::{
    audit, carry, catch_up, page, privacy, provision, revoke, serve, setup,
};
use countersign_trust_store::UnixTime;
use zeroize::Zeroizing;

use crate::arguments::{Arguments, Verb};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("countersign-authority: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    // Every verb but one handles keys, tokens or passwords.
    let is_for_anybody = matches!(
        verb,
        Verb::Audit {
            verb: arguments::Audit::Verify { .. }
        }
    );
    if !is_for_anybody {
        serve::leave_no_memory()?;
    }
    match verb {
        Verb::Audit { verb } => return verify(verb),
        Verb::Revoke(list) => return revoke_listed(list),
        Verb::Provision(one) => return runtime()?.block_on(provision::one(one)),
        Verb::ProvisionBatch(list) => return runtime()?.block_on(provision::list(list)),
        Verb::Init(init) => runtime()?.block_on(setup::init(&setup::Init {
            dir: init.dir,
            source: match (init.ca, init.issuer, init.chain, init.key) {
                (Some(folder), Some(name), _, _) => setup::Source::Ca { folder, name },
                (_, _, Some(chain), Some(key)) => setup::Source::Files {
                    chain,
                    key,
                    crls: init.crls,
                },
                _ => anyhow::bail!(
                    "say which authority issues: --ca and --issuer, or --chain and --key"
                ),
            },
            passphrase_file: init.passphrase_file,
            hosts: init.hosts,
            listen: init.listen,
            database: init.database,
        })),
        Verb::Serve {
            config,
            clock_is_right,
        } => {
            let telemetry = Telemetry::start(&Config::read(&config)?)?;
            let outcome = runtime()?.block_on(serve::serve(&config, clock_is_right));
            telemetry.stop();
            outcome
        }
        Verb::Token(token) => make_token(token),
        Verb::Untoken(untoken) => take_back(&untoken),
        Verb::Tables { config, device } => {
            runtime()?.block_on(privacy::print_tables(&config, &device))
        }
        Verb::Approve(approve) => runtime()?.block_on(setup::approve(&setup::Approve {
            config: approve.config,
            order: approve.order,
            quota: approve.quota,
            manufacturer: approve.manufacturer,
            family: approve.family,
            device_type: approve.device_type,
            devices: approve.devices,
        })),
        Verb::Export { config, file } => {
            let count = runtime()?.block_on(carry::export(&config, &file))?;
            println!("{count} records in {}", file.display());
            Ok(())
        }
        Verb::Import { config, file } => {
            let imported = runtime()?.block_on(carry::import(&config, &file))?;
            println!(
                "{} records taken over, {} were here already",
                imported.added, imported.skipped
            );
            if imported.revoked > 0 {
                println!("{} certificates revoked by it", imported.revoked);
            }
            Ok(())
        }
        Verb::Password => {
            let mut text = Zeroizing::new(String::new());
            std::io::stdin()
                .take(4096)
                .read_to_string(&mut text)
                .context("the password could not be read from standard input")?;
            println!(
                "{}",
                page::hash_password(text.trim_end_matches(['\r', '\n']))?
            );
            Ok(())
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Says the verdict: for programs on standard output, else what is wrong on standard error.
fn verify(verb: arguments::Audit) -> anyhow::Result<ExitCode> {
    let (folder, key, registry, since, json) = match verb {
        arguments::Audit::CatchUp {
            config,
            log_is_lost,
        } => {
            runtime()?.block_on(catch_up::go_on(&catch_up::Word {
                config,
                log_is_lost,
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        arguments::Audit::Verify {
            folder,
            key,
            registry,
            since,
            json,
        } => (folder, key, registry, since, json),
    };
    let verdict = runtime()?.block_on(audit::verify(&audit::Question {
        folder,
        key,
        registry,
        since,
    }))?;
    match verdict {
        Ok(sound) => {
            if json {
                println!("{}", sound.json());
            } else {
                println!("{sound}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            if json {
                println!("{}", reason.json());
            }
            eprintln!("countersign-authority: {reason}");
            Ok(ExitCode::from(reason.exit()))
        }
    }
}

/// Says how many were revoked, and which are not on record.
fn revoke_listed(list: arguments::Revoke) -> anyhow::Result<ExitCode> {
    let unrecorded_too = list.unrecorded;
    let outcome = runtime()?.block_on(revoke::listed(&revoke::Word {
        config: list.config,
        file: list.file,
        reason: list.reason,
        unrecorded: list.unrecorded,
    }))?;
    println!("{} revoked", outcome.revoked);
    if let Some(doubt) = &outcome.doubt {
        eprintln!(
            "countersign-authority: warning: the time that is on record for this is in doubt: {doubt}"
        );
    }
    for serial in &outcome.elsewhere {
        eprintln!("{serial} was issued by another authority");
    }
    if !outcome.elsewhere.is_empty() {
        eprintln!(
            "countersign-authority: {} are revoked here and on no list of this authority: revoke them where they were issued, or \
             hosts go on accepting them",
            outcome.elsewhere.len()
        );
    }
    for serial in &outcome.unrecorded {
        eprintln!("{serial} is not on record here");
    }
    if unrecorded_too || outcome.unrecorded.is_empty() {
        return Ok(match outcome.elsewhere.as_slice() {
            [] => ExitCode::SUCCESS,
            _ => ExitCode::from(1),
        });
    }
    eprintln!(
        "countersign-authority: {} were not revoked: look at the list; if this authority issued them, revoke them with --unrecorded",
        outcome.unrecorded.len()
    );
    Ok(ExitCode::from(1))
}

fn make_token(token: arguments::Token) -> anyhow::Result<()> {
    let config = Config::read(&token.config)?;
    let actions = token
        .actions
        .iter()
        .map(|action| {
            serde_json::from_value(serde_json::Value::from(action.as_str())).with_context(|| {
                format!("{action:?} is nothing that a token may do; there are enrol, read, approve and revoke")
            })
        })
        .collect::<anyhow::Result<_>>()?;
    let scope = Scope {
        actions,
        devices: token.devices,
        profiles: token.profiles.into_iter().collect(),
        order: token.order,
    }
    .check()?;
    let expires = serve::now()
        .as_secs()
        .saturating_add(token.expires.as_secs());
    let made = tokens::generate()?;
    TokenFolder::open(&config.tokens)?.add(&made.hash, scope, UnixTime::from_secs(expires))?;
    println!("{}", *made.text);
    Ok(())
}

/// Takes tokens back, and says how many.
fn take_back(untoken: &arguments::Untoken) -> anyhow::Result<()> {
    let tokens = TokenFolder::open(&Config::read(&untoken.config)?.tokens)?;
    let mut removed = 0_usize;
    for beginning in &untoken.tokens {
        let beginning = match tokens::hash(beginning) {
            Some(hash) => hex::encode(hash.0),
            None => beginning.clone(),
        };
        tokens.remove(&beginning)?;
        removed = removed.saturating_add(1);
    }
    if untoken.expired {
        removed = removed.saturating_add(tokens.remove_expired(serve::now())?);
    }
    println!("{removed} taken back");
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not start")
}
