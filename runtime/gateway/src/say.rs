//! What the gateway says on standard error, for a journal or a terminal: one line each, with whom it is about.

use std::io::{self, Write as _};

use countersign_hosting::printable;

/// Says something about a service, or about the gateway itself where `whom` is empty. The text may be a stranger's.
pub(crate) fn say(whom: &str, text: &str) {
    let text = printable(text);
    let line = if whom.is_empty() {
        format!("countersign-gateway: {text}\n")
    } else {
        format!("countersign-gateway: {whom}: {text}\n")
    };
    // Where nobody reads any more, components go on all the same.
    let _ = io::stderr().write_all(line.as_bytes());
}
