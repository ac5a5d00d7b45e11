//! `countersign-gateway`: many verified components under supervision.
//!
//! Decides which services there are, when each is started, exchanged and stopped, and what is remembered of them. Whether a
//! component is trusted is decided in `countersign-trust-store`, what a guest may do in `countersign-runtime`.

#![forbid(unsafe_code)]

mod admission;
mod args;
mod bundle;
mod check;
mod clock;
mod code;
mod config;
mod confine;
mod control;
mod doctor;
mod enrol;
mod failures;
mod finding;
mod gateway;
mod http;
mod identity;
mod journal;
mod kept;
mod keys;
mod lack;
mod lists;
mod logs;
mod manager;
mod messages;
mod metrics;
mod opening;
mod overview;
mod own;
mod page;
mod precompile;
mod receipt;
mod records;
mod refusals;
mod say;
mod schedule;
mod serve;
mod service;
mod state;
mod traces;
mod view;

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};

use args::{Audit, Cli, Verb};
use config::Config;
use control::Question;
use finding::Weight;
use gateway::{Gateway, NotStarted};
use say::{complain, warn};
use state::Made;

/// Threads for what waits for a disk, a name or hardware: as many as Tokio has by itself.
const BLOCKING: usize = 512;

/// How long such a thread waits for the next work: for ever. One that is there can be had when the machine gives no new ones,
/// and without any a reload would end the gateway.
const KEPT: Duration = Duration::MAX;

/// Usage or configuration.
const MISUSED: u8 = 2;

fn main() {
    let status = match carry_out(Cli::parse().verb) {
        Ok(status) => status,
        Err(NotStarted::Refused(code, why)) => {
            complain("", &format!("{code}: {why}; next: {}", code.next_step()));
            code.exit_status()
        }
        Err(NotStarted::Misused(error)) => {
            complain("", &format!("{error:#}"));
            MISUSED
        }
    };
    say::finish();
    std::process::exit(i32::from(status));
}

fn carry_out(verb: Verb) -> Result<u8, NotStarted> {
    match verb {
        Verb::Init { state, counter } => {
            let made = match (state::create(&state, counter.as_ref())?, counter) {
                (Made::New, None) => "was made",
                (Made::New, Some(_)) => {
                    "was made, bound to the counter, which [gateway] counter must name"
                }
                (Made::Bound, _) => {
                    "is bound to the counter now, which [gateway] counter must name"
                }
            };
            overview::out(&format!(
                "{} {made}. Keep it with this machine: a gateway whose memory is lost forgets which versions must not come back.",
                state.display()
            ));
        }
        Verb::Check { config, json } => return check::check(&config.path, json),
        Verb::Run { config } => {
            countersign_runtime::keep_little_of_what_is_freed();
            let path = config.path;
            let config = bundle::configured(&path)?;
            let doubts = own::demand(&path, &config)?;
            // Before there is another thread, and before anything of a stranger's is read.
            let confinement = confine::confine(&config)?;
            let walls = confinement.findings("this program");
            let doubtful = walls
                .into_iter()
                .filter(|finding| finding.weight != Weight::Ok);
            for doubt in doubts.into_iter().chain(doubtful) {
                let next = doubt.next.unwrap_or_default();
                warn("", &format!("{}: {}; next: {next}", doubt.what, doubt.said));
            }
            let collector = config.traces.clone();
            let gateway = Gateway::new(&path, config, confinement)?;
            let tokio = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                // What hands messages over keeps a thread; no number of them takes the others'.
                .max_blocking_threads(BLOCKING + config::MAX_SERVICES)
                .thread_keep_alive(KEPT)
                .build()
                .context("the threads for the components cannot be started")?;
            // After the walls: whoever sends them is a thread.
            let traces = traces::Traces::begin(collector.as_deref())?;
            // The first, as long as there are some.
            drop(tokio.spawn_blocking(|| {}));
            tokio.block_on(gateway.run())?;
            traces.end();
            tokio.shutdown_background();
        }
        Verb::Status { config, json } => {
            let answer = control::ask(&Config::load(&config.path)?.control, &Question::Status)?;
            overview::print(&answer, json);
        }
        Verb::Logs {
            config,
            service,
            follow,
            json,
        } => logs::logs(&Config::load(&config.path)?, service, follow, json)?,
        Verb::Audit(Audit::Verify {
            config,
            since,
            json,
        }) => {
            let config = Config::load(&config.path)?;
            return Ok(records::prove(&config, since.as_deref(), json)?);
        }
        Verb::Audit(Audit::Show { config, from }) => {
            records::show(&Config::load(&config.path)?, from)?;
        }
        Verb::Trust { config, json } => {
            let answer = control::ask(&Config::load(&config.path)?.control, &Question::Trust)?;
            overview::print_trust(&answer, json);
        }
        Verb::Enroll {
            config,
            first,
            json,
        } => enrol::enroll(&Config::load(&config.path)?, &first, json)?,
        Verb::Renew { config, next, json } => {
            enrol::renew(&Config::load(&config.path)?, &next, json)?;
        }
        Verb::Doctor { config, json } => return Ok(doctor::doctor(&config.path, json)),
        Verb::Verify { config, file, json } => return check::verify(&config.path, &file, json),
        Verb::Reload {
            config,
            detach,
            json,
        } => {
            let question = Question::Reload { detach };
            let answer = control::ask(&Config::load(&config.path)?.control, &question)?;
            return Ok(overview::print_reload(&answer, json));
        }
        Verb::Precompile {
            component,
            target,
            list,
            output,
        } => precompile::precompile(&component, target.into(), &list, &output)?,
        Verb::CompileForParent => return Ok(code::compile()),
        Verb::Apply {
            config,
            source,
            receipt,
            nonce,
            json,
        } => {
            let receipt = receipt.map(|path| (path, nonce));
            return bundle::apply(&config.path, &source, receipt, json);
        }
        Verb::Receipt {
            config,
            into,
            nonce,
            json,
        } => return receipt::receipt(&config.path, &into, nonce, json),
        Verb::Rollback {
            config,
            service,
            json,
        } => {
            let question = Question::Rollback { service };
            let answer = control::ask(&Config::load(&config.path)?.control, &question)?;
            return Ok(overview::print_rollback(&answer, json));
        }
        Verb::Schema => overview::out(&config::schema()),
        Verb::Man { into } => clap_mangen::generate_to(Cli::command(), &into)
            .with_context(|| format!("{} does not take the pages", into.display()))?,
        Verb::Completions { shell } => clap_complete::generate(
            shell,
            &mut Cli::command(),
            "countersign-gateway",
            &mut io::stdout(),
        ),
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
