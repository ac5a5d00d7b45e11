//! What the operator reads on stderr: in words, or as lines of JSON.
//!
//! Everything printed here may hold a stranger's text, so nothing is printed that a terminal would obey.

use std::path::Path;

use countersign_hosting::{AuditLog, printable};
use countersign_roots::system_time;
use countersign_runtime::audit::{self, Record};
use countersign_trust_store::Code;

/// Writes to stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporter<'a> {
    pub(crate) json: bool,
    pub(crate) file: &'a Path,
    pub(crate) log: &'a AuditLog,
}

impl Reporter<'_> {
    /// Something that the operator should know and that stops nothing.
    pub(crate) fn note(&self, message: &str) {
        self.say("note", message);
    }

    /// Something that the operator must not overlook.
    pub(crate) fn warning(&self, message: &str) {
        self.say("warning", message);
    }

    /// The component does not run.
    pub(crate) fn refused(&self, code: Code, reason: &str) {
        self.ended("refused", code, reason, &[]);
    }

    /// The guest ran and was stopped. `trace` holds function names, innermost first.
    pub(crate) fn stopped(&self, code: Code, reason: &str, trace: &[String]) {
        self.ended("stopped", code, reason, trace);
    }

    /// In JSON, the record of what just happened, unless the audit log has put it on stderr already.
    pub(crate) fn verdict(&self, record: &Record) {
        if self.json && !self.log.is_stderr() {
            eprint!("{}", record.line(system_time()));
        }
    }

    fn ended(&self, what: &str, code: Code, reason: &str, trace: &[String]) {
        if self.json {
            if let Some(record) = self.log.last() {
                self.verdict(&record);
            }
            return;
        }
        eprintln!(
            "countersign-run: {} was {what}: {code}",
            printable(&self.file.display().to_string())
        );
        eprintln!("  why:  {}", printable(reason));
        for function in trace {
            eprintln!("        in {}", printable(function));
        }
        eprintln!("  next: {}", code.next_step());
    }

    fn say(&self, kind: &str, message: &str) {
        if self.json {
            let version = audit::RECORD_VERSION;
            let line = serde_json::json!({ "version": version, "event": kind, "message": printable(message) });
            eprintln!("{line}");
        } else {
            eprintln!("countersign-run: {kind}: {}", printable(message));
        }
    }
}
