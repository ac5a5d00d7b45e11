//! The socket over which a running gateway is asked: one question in one line of JSON, one answer in another.
//!
//! Decides who may ask (this user and root, by what the kernel says of the peer), how long a question may be, and how long one
//! may take to put it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::journal;
use crate::view::View;

/// The longest question, in bytes.
const MAX_QUESTION: u64 = 4 << 10;

/// The longest answer that is read, in bytes: a thousand services of 4 KiB, and more.
const MAX_ANSWER: u64 = 16 << 20;

/// How long a question may take to arrive, and an answer to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a gateway may take to answer: a reload compiles.
const ANSWER: Duration = Duration::from_secs(600);

/// Most connections at once.
const CONNECTIONS: usize = 16;

/// Most of them that wait for new lines, and how long each waits before it is told that there are none.
const FOLLOWERS: usize = 4;
const FOLLOWED: Duration = Duration::from_secs(20);

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Question {
    /// What every service is doing.
    Status,
    /// What is trusted and remembered.
    Trust,
    /// The lines behind a number.
    Logs {
        /// Of this service alone.
        service: Option<String>,
        /// The number of the last line that is known already.
        after: u64,
        /// Whether to wait until there is one.
        wait: bool,
    },
    /// To read the configuration again.
    Reload {
        /// Whether to answer before it is known what becomes of each component.
        #[serde(default)]
        detach: bool,
    },
    /// To apply a bundle.
    Apply {
        /// The name of the file in the folder of what has come.
        file: String,
    },
    /// For a receipt.
    Receipt {
        /// For whoever waits for it, in hexadecimal digits.
        nonce: Option<String>,
    },
    /// To go back to the version of a service before the one that runs.
    Rollback {
        /// Which.
        service: String,
    },
}

/// What changes something, and is done by the gateway itself, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// To read the configuration again.
    Reload {
        /// Whether the answer is what became of each component.
        wait: bool,
    },
    /// To apply the bundle of this name in the folder of what has come.
    Apply(String),
    /// To go back to the version of a service before the one that runs.
    RollBack {
        /// Which.
        service: String,
    },
}

type Asked = (Order, oneshot::Sender<Value>);

/// What every connection needs.
#[derive(Clone)]
struct Desk {
    view: Arc<View>,
    orders: mpsc::Sender<Asked>,
    followers: Arc<Semaphore>,
}

/// The socket of a running gateway; its file goes when this is dropped.
pub(crate) struct Control {
    path: PathBuf,
    asked: mpsc::Receiver<Asked>,
}

impl Control {
    /// Listens at `path`. A socket that a killed gateway left there is replaced; the state's lock has shown that it is dead.
    ///
    /// # Errors
    /// If something else is there, or the socket cannot be made.
    pub(crate) fn open(path: &Path, view: Arc<View>) -> anyhow::Result<Self> {
        let failed = || format!("the socket {} cannot be made", path.display());
        match std::fs::symlink_metadata(path) {
            // One that answers belongs to a gateway on another state's folder.
            Ok(metadata) if metadata.file_type().is_socket() && Blocking::connect(path).is_ok() => {
                bail!(
                    "another gateway listens at {}; give this one a [gateway] control of its own",
                    path.display()
                )
            }
            Ok(metadata) if metadata.file_type().is_socket() => {
                std::fs::remove_file(path).with_context(failed)?;
            }
            Ok(_) => bail!("{} is there already, and is no socket", path.display()),
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).with_context(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .with_context(failed)?;
        let ours = std::fs::metadata("/proc/self").with_context(failed)?.uid();
        let (orders, asked) = mpsc::channel(1);
        let desk = Desk {
            view,
            orders,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
        };
        tokio::spawn(listen(listener, ours, desk));
        Ok(Self {
            path: path.to_owned(),
            asked,
        })
    }

    /// The next order, and where its answer goes.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            // The listener has ended, which it does not.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn listen(listener: UnixListener, ours: u32, desk: Desk) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: the next try is not at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let may_ask = stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0);
        if !may_ask {
            continue;
        }
        let desk = desk.clone();
        tokio::spawn(async move {
            // What goes wrong with one who asks is theirs.
            let _ = desk.converse(stream).await;
            drop(place);
        });
    }
}

impl Desk {
    async fn converse(&self, stream: UnixStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut line = Vec::new();
        let mut reader = tokio::io::BufReader::new(reader.take(MAX_QUESTION));
        let arrived = timeout(PATIENCE, reader.read_until(b'\n', &mut line)).await;
        let question = match arrived {
            Ok(Ok(_)) if line.ends_with(b"\n") => serde_json::from_slice::<Question>(&line).ok(),
            _ => None,
        };
        let answer = match question {
            Some(question) => {
                let is_waiting = matches!(question, Question::Logs { wait: true, .. });
                let mut rest = [0];
                tokio::select! {
                    answer = self.answer(question) => answer,
                    // Who asked has gone, or says more than one question.
                    _ = reader.read(&mut rest), if is_waiting => return Ok(()),
                }
            }
            None => serde_json::json!({
                "error": format!("ask one question in one line of JSON, of at most {MAX_QUESTION} bytes")
            }),
        };
        let mut text = answer.to_string();
        text.push('\n');
        let _ = timeout(PATIENCE, writer.write_all(text.as_bytes())).await;
        Ok(())
    }

    async fn answer(&self, question: Question) -> Value {
        let answer = match question {
            Question::Status => serde_json::to_value(self.view.overview()),
            Question::Trust => serde_json::to_value(self.view.trust()),
            Question::Logs {
                service,
                after,
                wait,
            } => {
                let service = service.as_deref();
                let told = match self.followers.try_acquire() {
                    Ok(_place) if wait => {
                        timeout(FOLLOWED, journal::wait(service, after)).await.ok()
                    }
                    _ => None,
                };
                serde_json::to_value(told.unwrap_or_else(|| journal::tell(service, after)))
            }
            Question::Receipt { nonce } => return self.view.receipt(nonce.as_deref()).await,
            Question::Reload { detach } => {
                return self.order(Order::Reload { wait: !detach }).await;
            }
            Question::Apply { file } => return self.order(Order::Apply(file)).await,
            Question::Rollback { service } => {
                return self.order(Order::RollBack { service }).await;
            }
        };
        answer.unwrap_or_default()
    }

    async fn order(&self, order: Order) -> Value {
        let (sender, answer) = oneshot::channel();
        match self.orders.send((order, sender)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }
}

/// Asks the gateway that listens at `path`.
///
/// # Errors
/// If none does, or it does not answer, or answers that it could not do it.
pub(crate) fn ask(path: &Path, question: &Question) -> anyhow::Result<Value> {
    let mut stream = Blocking::connect(path).with_context(|| {
        format!(
            "no gateway answers at {}; is it running, and are you its user or root?",
            path.display()
        )
    })?;
    let failed = || format!("the gateway at {} does not answer", path.display());
    stream
        .set_write_timeout(Some(PATIENCE))
        .with_context(failed)?;
    stream.set_read_timeout(Some(ANSWER)).with_context(failed)?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).with_context(failed)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_ANSWER))
        .read_line(&mut answer)
        .with_context(failed)?;
    let answer: Value = serde_json::from_str(&answer).with_context(failed)?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        bail!("{error}");
    }
    if answer.is_null() {
        bail!("the gateway is stopping");
    }
    Ok(answer)
}
