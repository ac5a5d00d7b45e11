//! What is wanted of a service, one after the other.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::Command;

/// What was said and not heard yet.
pub(super) struct Commands {
    received: mpsc::UnboundedReceiver<Command>,
    /// What came while only a stop was waited for.
    early: VecDeque<Command>,
}

impl Commands {
    pub(super) fn of(received: mpsc::UnboundedReceiver<Command>) -> Self {
        let early = VecDeque::new();
        Self { received, early }
    }

    /// The next; none when nobody can say any more, which means that it is to stop. What was not returned is not lost.
    pub(super) async fn recv(&mut self) -> Option<Command> {
        match self.early.pop_front() {
            Some(command) => Some(command),
            None => self.received.recv().await,
        }
    }

    /// Waits until it is to stop. Whatever else is wanted meanwhile is heard afterwards.
    pub(super) async fn stop(&mut self) {
        while let Some(command @ Command::Exchange(_)) = self.received.recv().await {
            self.early.push_back(command);
        }
    }
}
