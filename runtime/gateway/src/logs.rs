//! `logs`: the last lines about each service, and those that come.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use crate::config::Config;
use crate::control::{self, Question};
use crate::overview;

/// The least time between two questions while following: a gateway that cannot wait answers at once.
const BETWEEN: Duration = Duration::from_millis(250);

/// Prints the lines of one service or of all, oldest first; where `follow` is set, until the gateway or the reader has gone.
///
/// # Errors
/// If no gateway answers, or there is no service of that name.
pub(crate) fn logs(
    config: &Config,
    service: Option<String>,
    follow: bool,
    json: bool,
) -> anyhow::Result<()> {
    if let Some(name) = &service
        && !config.services.iter().any(|service| service.name == *name)
    {
        anyhow::bail!("no service is called {name:?}; `countersign-gateway status` lists them");
    }
    let mut after = 0;
    let mut wait = false;
    loop {
        let asked = Instant::now();
        let question = Question::Logs {
            service: service.clone(),
            after,
            wait,
        };
        let answer = control::ask(&config.control, &question)?;
        let lines = answer.get("lines").and_then(Value::as_array);
        let lines = lines.context("the gateway answered something else than lines")?;
        for line in lines {
            if print(line, json).is_err() {
                return Ok(());
            }
            if let Some(number) = line.get("number").and_then(Value::as_u64) {
                after = after.max(number);
            }
        }
        let is_more = answer.get("more").and_then(Value::as_bool) == Some(true);
        if is_more && !lines.is_empty() {
            continue;
        }
        if !follow {
            return Ok(());
        }
        wait = true;
        if lines.is_empty() {
            std::thread::sleep(BETWEEN.saturating_sub(asked.elapsed()));
        }
    }
}

/// Prints a line; an error if nobody reads any more. What it says was escaped when it was said.
fn print(line: &Value, json: bool) -> std::io::Result<()> {
    if json {
        return overview::write(&line.to_string());
    }
    let of = |key| line.get(key).and_then(Value::as_str).unwrap_or_default();
    let whom = match of("service") {
        "" => "countersign-gateway",
        service => service,
    };
    overview::write(&format!("{} {whom}: {}", of("at"), of("text")))
}
