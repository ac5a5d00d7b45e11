//! Commands of WASI 0.2: components that export `wasi:cli/run`.

use wasmtime::Store;

use crate::context::{GuestContext, HasGuestContext};
use crate::error::RunError;
use crate::guest::ReadyGuest;

/// The interface of a command, in its oldest version: Wasmtime matches every 0.2.
const RUN_INTERFACE: &str = "wasi:cli/run@0.2.0";

impl<T: HasGuestContext> ReadyGuest<T> {
    /// Starts the component in `store` and runs it as a command; start and run share one deadline.
    ///
    /// Returns the guest's own exit status: 0 for success, 1 for failure, or what it exited with.
    ///
    /// # Errors
    /// As [`start`](Self::start), and whatever ended the guest instead of an exit.
    pub async fn run_command_in(self, store: Store<T>) -> Result<u8, RunError> {
        let mut budget = self.budget();
        let ended = match self.start_within(store, &mut budget).await {
            Ok(mut guest) => {
                let run = guest.export::<(), (Result<(), ()>,)>(Some(RUN_INTERFACE), "run")?;
                guest
                    .call_within(&mut budget, move |mut store, _| {
                        Box::pin(async move {
                            let outputs = store.data_mut().guest_context().outputs.clone();
                            let ended = run.call_async(store, ()).await;
                            // However it ended: what it wrote is out before it counts as ended.
                            outputs.drain().await;
                            ended
                        })
                    })
                    .await
            }
            Err(ended) => Err(ended),
        };
        match ended {
            Ok((Ok(()),)) => Ok(0),
            Ok((Err(()),)) => Ok(1),
            // A status that does not fit into a byte is still a failure.
            Err(RunError::Exited { status }) => Ok(u8::try_from(status).unwrap_or(1)),
            Err(ended) => Err(ended),
        }
    }
}

impl ReadyGuest<GuestContext> {
    /// Runs the component as a command in a store of its own, for a host that adds no interfaces.
    ///
    /// # Errors
    /// As [`run_command_in`](Self::run_command_in).
    pub async fn run_command(self) -> Result<u8, RunError> {
        let context = self
            .context()
            .map_err(|error| RunError::Context(Box::new(error)))?;
        let store = Store::new(self.engine(), context);
        self.run_command_in(store).await
    }
}
