//! The socket over which a running gateway is asked: one question in one line of JSON, one answer in another.
//!
//! Decides who may ask (this user and root, by what the kernel says of the peer), how long a question may be, and how long one
//! may take to put it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// The longest question, in bytes.
const MAX_QUESTION: u64 = 4 << 10;

/// The longest answer that is read, in bytes: a thousand services of 4 KiB, and more.
const MAX_ANSWER: u64 = 16 << 20;

/// How long a question may take to arrive, and an answer to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a gateway may take to answer: a reload compiles.
const ANSWER: Duration = Duration::from_secs(600);

/// Most connections at once.
const CONNECTIONS: usize = 8;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Question {
    /// What every service is doing.
    Status,
    /// To read the configuration again.
    Reload,
}

type Asked = (Question, oneshot::Sender<Value>);

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
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("the socket {} cannot be made", path.display());
        match std::fs::symlink_metadata(path) {
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
        let (questions, asked) = mpsc::channel(1);
        tokio::spawn(listen(listener, ours, questions));
        Ok(Self {
            path: path.to_owned(),
            asked,
        })
    }

    /// The next question, and where its answer goes.
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

async fn listen(listener: UnixListener, ours: u32, questions: mpsc::Sender<Asked>) {
    let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else {
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
        let questions = questions.clone();
        tokio::spawn(async move {
            // What goes wrong with one who asks is theirs.
            let _ = converse(stream, &questions).await;
            drop(place);
        });
    }
}

async fn converse(stream: UnixStream, questions: &mpsc::Sender<Asked>) -> std::io::Result<()> {
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
            let (sender, answer) = oneshot::channel();
            match questions.send((question, sender)).await {
                Ok(()) => answer.await.unwrap_or_default(),
                Err(_) => Value::Null,
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

/// Asks the gateway that listens at `path`.
///
/// # Errors
/// If none does, or it does not answer, or answers that it could not do it.
pub(crate) fn ask(path: &Path, question: Question) -> anyhow::Result<Value> {
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
    let mut line = serde_json::to_string(&question)?;
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
