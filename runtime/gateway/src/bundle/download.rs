//! A file over HTTP or HTTPS, into a file: taken up again where it was cut, bounded in size, time and slowness.
//!
//! What comes is believed by nobody for having come. TLS keeps others from seeing and exchanging it, and a bundle's signature
//! says what it is. So a server is one to be limited: it may cut, repeat, trickle, never end, or go on with other bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use countersign_hosting::{Read, read};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE,
};
use reqwest::{Client, Response, StatusCode, redirect};

use crate::config::Download;

/// Most tries in a row that bring nothing, or too little.
const FRUITLESS: u32 = 3;

/// The wait between two tries.
const BETWEEN: Duration = Duration::from_secs(1);

/// Most redirections.
const REDIRECTIONS: usize = 5;

/// The longest entity tag that is remembered, in bytes.
const MAX_TAG: usize = 256;

/// The largest file of roots, in bytes.
const MAX_ROOTS: u64 = 1 << 20;

/// Who asks servers, and within which bounds.
pub(super) struct Downloader {
    pub(super) client: Client,
    bounds: Download,
    /// The most bytes of a file.
    most: u64,
    /// When all must have come.
    until: Instant,
}

/// Why a try ended before the file did.
enum Cut {
    /// Another try may bring more.
    Again(anyhow::Error),
    /// None would.
    ForGood(anyhow::Error),
}

impl Downloader {
    /// One that takes files of at most `most` bytes.
    ///
    /// # Errors
    /// If the roots cannot be used.
    pub(super) fn new(bounds: &Download, most: u64) -> anyhow::Result<Self> {
        let mut builder = Client::builder()
            .connect_timeout(bounds.stalled_after)
            .read_timeout(bounds.stalled_after)
            .redirect(redirect::Policy::limited(REDIRECTIONS))
            .no_proxy()
            // An address may hold a secret, which is no other host's business.
            .referer(false)
            .user_agent("countersign-gateway");
        let roots = match &bounds.roots {
            None => Vec::new(),
            Some(path) => {
                let unusable = || format!("the servers' roots in {}", path.display());
                match read(path, MAX_ROOTS)? {
                    Read::Whole(bytes) => {
                        reqwest::Certificate::from_pem_bundle(&bytes).with_context(unusable)?
                    }
                    Read::TooLarge { size } => bail!("{} has {size} bytes", path.display()),
                }
            }
        };
        // These alone, and never the system's.
        builder = builder.tls_certs_only(roots);
        Ok(Self {
            client: builder.build().context("nothing can be downloaded")?,
            bounds: bounds.clone(),
            most,
            until: Instant::now() + bounds.within,
        })
    }

    /// Has the file at `url` in `partial`, whatever part of it was there before.
    ///
    /// # Errors
    /// If it did not come whole within the bounds. What came is left for the next time, unless it is of no use.
    pub(super) async fn fetch(
        &self,
        url: &str,
        headers: &HeaderMap,
        partial: &Partial,
    ) -> anyhow::Result<()> {
        let mut fruitless = 0;
        loop {
            let before = partial.size();
            let cut = match self.try_once(url, headers, partial).await {
                Ok(()) => return Ok(()),
                Err(Cut::ForGood(error)) => {
                    partial.discard();
                    return Err(error);
                }
                Err(Cut::Again(error)) => error,
            };
            // One byte a second is no fruit: a server must not keep us for as long as it likes.
            let came = partial.size().saturating_sub(before);
            let worth = self
                .bounds
                .slowest
                .saturating_mul(self.bounds.stalled_after.as_secs().max(1));
            fruitless = if came >= worth { 0 } else { fruitless + 1 };
            if fruitless >= FRUITLESS {
                return Err(
                    cut.context(format!("{FRUITLESS} tries brought nothing, or too little"))
                );
            }
            if Instant::now() + BETWEEN >= self.until {
                return Err(cut.context("it did not come in time"));
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    async fn try_once(&self, url: &str, headers: &HeaderMap, partial: &Partial) -> Result<(), Cut> {
        let again = |error: reqwest::Error| Cut::Again(error.into());
        let here = |error: std::io::Error| Cut::ForGood(error.into());
        let have = partial.size();
        let tag = partial.tag().filter(|_| have > 0);
        let mut request = self
            .client
            .get(url)
            .headers(headers.clone())
            .header(ACCEPT_ENCODING, "identity");
        if let Some(tag) = &tag {
            // RFC 9110 §13.1.5: a part of the same file, or the whole of another.
            request = request
                .header(RANGE, format!("bytes={have}-"))
                .header(IF_RANGE, tag);
        }
        let response = request.send().await.map_err(again)?;
        let resumed = match response.status() {
            StatusCode::OK => false,
            StatusCode::PARTIAL_CONTENT if tag.is_some() => {
                if !continues(&response, have) || strong_tag(&response) != tag {
                    partial.discard();
                    return Err(Cut::Again(anyhow!(
                        "the server went on with another file than it began with"
                    )));
                }
                true
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.discard();
                return Err(Cut::Again(anyhow!(
                    "the server has another file than it had"
                )));
            }
            status if status.is_server_error() => {
                return Err(Cut::Again(anyhow!("the server answers {status}")));
            }
            status => return Err(Cut::ForGood(anyhow!("the server answers {status}"))),
        };
        let mut size = if resumed { have } else { 0 };
        if let Some(more) = response.content_length() {
            self.within(size.saturating_add(more))?;
        }
        let mut file = if resumed {
            partial.continued().map_err(here)?
        } else {
            partial.begun(strong_tag(&response)).map_err(here)?
        };
        self.pump(response, &mut file, &mut size).await?;
        file.flush().map_err(here)
    }

    /// Writes what comes, for as long as it comes fast enough.
    async fn pump(
        &self,
        mut response: Response,
        file: &mut File,
        size: &mut u64,
    ) -> Result<(), Cut> {
        let mut window = (Instant::now(), *size);
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            let chunk = tokio::time::timeout(left, response.chunk())
                .await
                .map_err(|_| Cut::Again(anyhow!("it did not come in time")))?;
            let Some(chunk) = chunk.map_err(|error| Cut::Again(error.into()))? else {
                return Ok(());
            };
            *size = size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            self.within(*size)?;
            file.write_all(&chunk)
                .map_err(|error| Cut::ForGood(error.into()))?;
            let (since, from) = window;
            let took = since.elapsed();
            if took >= self.bounds.stalled_after {
                let came = size.saturating_sub(from);
                if came < self.bounds.slowest.saturating_mul(took.as_secs().max(1)) {
                    return Err(Cut::Again(anyhow!(
                        "{came} bytes came in {} s, and {} a second are expected",
                        took.as_secs(),
                        self.bounds.slowest
                    )));
                }
                window = (Instant::now(), *size);
            }
        }
    }

    fn within(&self, size: u64) -> Result<(), Cut> {
        if size <= self.most {
            return Ok(());
        }
        Err(Cut::ForGood(anyhow!(
            "it has more than {} bytes, the most that is taken here",
            self.most
        )))
    }

    /// A small document, whole: at most `most` bytes.
    ///
    /// # Errors
    /// If it does not come, or is longer.
    pub(super) async fn small(
        &self,
        mut response: Response,
        most: usize,
    ) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let all = async {
            while let Some(chunk) = response.chunk().await? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > most {
                    bail!("the server's answer has more than {most} bytes");
                }
            }
            Ok(())
        };
        tokio::time::timeout(self.bounds.stalled_after, all)
            .await
            .context("the server's answer did not come in time")??;
        Ok(bytes)
    }
}

/// RFC 9110 §14.4: whether a part begins where ours ends.
fn continues(response: &Response, have: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE);
    let range = range.and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

/// RFC 9110 §8.8.1: a tag that two different files of a name never share; weak ones may.
fn strong_tag(response: &Response) -> Option<String> {
    let tag = response.headers().get(ETAG)?.to_str().ok()?;
    (tag.starts_with('"') && tag.len() <= MAX_TAG).then(|| tag.to_owned())
}

/// The header by which a registry knows who asks.
pub(super) fn bearer(token: &str) -> anyhow::Result<HeaderMap> {
    let mut value = reqwest::header::HeaderValue::try_from(format!("Bearer {token}"))
        .context("the registry gives a token that cannot be sent")?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// What has come of a file, and the server's name for it.
pub(super) struct Partial {
    content: PathBuf,
    tag: PathBuf,
}

impl Partial {
    /// At this path; what is beside it by the same name and `.tag` is its own.
    pub(super) fn at(path: &Path) -> Self {
        Self {
            content: path.to_owned(),
            tag: path.with_extension("tag"),
        }
    }

    /// Removes what is left of other downloads in the same folder.
    pub(super) fn alone(&self) {
        let folder = self.content.parent().map(fs::read_dir);
        for entry in folder.into_iter().flatten().flatten().flatten() {
            let path = entry.path();
            let kind = path.extension().and_then(|kind| kind.to_str());
            if matches!(kind, Some("part" | "tag")) && path.file_stem() != self.content.file_stem()
            {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn size(&self) -> u64 {
        fs::metadata(&self.content).map_or(0, |metadata| metadata.len())
    }

    fn tag(&self) -> Option<String> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.tag)
            .ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut tag = String::new();
        let most = u64::try_from(MAX_TAG).ok()?.saturating_add(1);
        file.take(most).read_to_string(&mut tag).ok()?;
        (tag.len() <= MAX_TAG).then_some(tag)
    }

    /// From the first byte on.
    fn begun(&self, tag: Option<String>) -> std::io::Result<File> {
        self.discard();
        let file = File::create_new(&self.content)?;
        if let Some(tag) = tag {
            // Without it, a next try begins at the first byte.
            let _ = File::create_new(&self.tag).and_then(|mut file| file.write_all(tag.as_bytes()));
        }
        Ok(file)
    }

    fn continued(&self) -> std::io::Result<File> {
        let file = OpenOptions::new()
            .append(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.content)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(std::io::Error::other("it has another name, too"));
        }
        Ok(file)
    }

    /// Removes it.
    pub(super) fn discard(&self) {
        for path in [&self.content, &self.tag] {
            let _ = fs::remove_file(path);
        }
    }

    /// Gives what came its name.
    pub(super) fn finish(self, path: &Path) -> std::io::Result<()> {
        fs::rename(&self.content, path)?;
        let _ = fs::remove_file(&self.tag);
        Ok(())
    }
}
