//! The operator's ceiling: the options, the terminal's standard streams and the arguments, in the runtime's terms.

use anyhow::Context as _;
use countersign_format::Statement;
use countersign_runtime::{Access, Ceiling, Input, Limits, Output};

use crate::args::Run;
use crate::outputs::Taken;

/// What the operator allows a component with this statement.
///
/// Options are allowed as they were given, so that the runtime can say which of them the statement does not ask for.
/// The standard streams and an empty list of sockets cost the operator nothing, and are allowed where they are asked
/// for: nobody has to hear at every run that a component does not read its standard input. An output that records take
/// is not passed on.
pub(crate) fn ceiling(run: &Run, taken: Taken, statement: &Statement) -> anyhow::Result<Ceiling> {
    let asked = statement.grants();
    let mut ceiling = Ceiling::new().limits(limits(run));
    if asked.stdio.stdin {
        ceiling = ceiling.stdin(Input::Inherit);
    }
    if asked.stdio.stdout {
        ceiling = ceiling.stdout(unless(taken.stdout, Output::Stdout));
    }
    if asked.stdio.stderr {
        ceiling = ceiling.stderr(unless(taken.stderr, Output::Stderr));
    }
    if asked.args || !run.arguments.is_empty() {
        // By custom the first argument is the program's name; the host's path is no business of the guest.
        let name = run
            .file
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        ceiling = ceiling.args(std::iter::once(name).chain(run.arguments.iter().cloned()));
    }
    for (name, value) in &run.variables {
        ceiling = ceiling.env(name, value);
    }
    for directory in &run.directories {
        let access = if directory.writable {
            Access::ReadWrite
        } else {
            Access::Read
        };
        ceiling = ceiling
            .directory(&directory.host, &directory.guest, access)
            .context("--dir")?;
        if let Some(most) = directory.most {
            ceiling = ceiling
                .directory_quota(&directory.guest, most)
                .context("--dir")?;
        }
    }
    if asked.sockets.is_some() || !run.sockets.is_empty() {
        ceiling = ceiling.sockets(run.sockets.iter().cloned());
    }
    if run.wall_clock {
        ceiling = ceiling.wall_clock();
    }
    Ok(ceiling)
}

fn unless(taken: bool, output: Output) -> Output {
    if taken { Output::Discard } else { output }
}

/// What the component asks for beyond the operator's limits, a line for each.
pub(crate) fn lowered(run: &Run, statement: &Statement) -> Vec<String> {
    let (asked, allowed) = (statement.limits(), limits(run));
    let mut lines = Vec::new();
    let run_milliseconds = u64::try_from(allowed.run.as_millis()).unwrap_or(u64::MAX);
    if let Some(asked) = asked
        .run_milliseconds
        .filter(|asked| *asked > run_milliseconds)
    {
        lines.push(format!("the component asks for {asked} ms and gets {run_milliseconds}; allow more with --timeout"));
    }
    if let Some(asked) = asked
        .memory_bytes
        .filter(|asked| *asked > allowed.memory_bytes)
    {
        let allowed = allowed.memory_bytes;
        lines.push(format!("the component asks for {asked} bytes of memory and gets {allowed}; allow more with --memory"));
    }
    lines
}

fn limits(run: &Run) -> Limits {
    let mut limits = Limits::default();
    if let Some(timeout) = run.timeout {
        limits.run = timeout;
        limits.cpu = timeout;
    }
    if let Some(memory) = run.memory {
        limits.memory_bytes = memory;
    }
    limits
}
