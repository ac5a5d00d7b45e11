//! A bundle from an OCI registry (OCI Distribution Specification 1.1): an artefact whose manifest names one blob, the bundle.
//!
//! Decides which blob that is. Its digest in the manifest keeps a registry's mistakes from being noticed late; what it is, its
//! signature says. A reference with a digest takes that artefact and no other.

use anyhow::{Context as _, anyhow, bail};
use countersign_format::Digest;
use oci_client::Reference;
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::download::{Downloader, bearer};
use super::logins::{Login, Logins};

/// The media type of a bundle, and of the artefact that it is.
pub(super) const MEDIA_TYPE: &str = "application/vnd.countersign.bundle";

/// The largest manifest (the specification advises registries to take 4 MiB; one of a bundle has 500 bytes).
const MAX_MANIFEST: usize = 256 << 10;

/// The largest answer with a token.
const MAX_TOKEN: usize = 64 << 10;

/// Where a bundle is to be had.
pub(super) struct Blob {
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) digest: Digest,
}

/// Asks the registry for the blob of an artefact, `HOST[:PORT]/NAME:TAG` or `HOST[:PORT]/NAME@sha256:…`.
///
/// # Errors
/// If the registry does not have it, or it is no bundle.
pub(super) async fn find(
    downloader: &Downloader,
    scheme: &str,
    reference: &str,
    logins: &Logins,
) -> anyhow::Result<Blob> {
    let reference: Reference = reference
        .parse()
        .with_context(|| format!("{reference:?} is no reference of an artefact"))?;
    let base = format!(
        "{scheme}://{}/v2/{}",
        reference.resolve_registry(),
        reference.repository()
    );
    let which = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest,
        (None, Some(tag)) => tag,
        (None, None) => bail!("the reference needs a tag or a digest"),
    };
    let url = format!("{base}/manifests/{which}");
    let ask = async |headers: HeaderMap| {
        let request = downloader.client.get(&url).headers(headers);
        request.header(ACCEPT, OCI_IMAGE_MEDIA_TYPE).send().await
    };
    let mut headers = HeaderMap::new();
    let mut response = ask(headers.clone()).await?;
    if response.status() == StatusCode::UNAUTHORIZED {
        // Another host, to which it led, is told no password.
        let asked: Url = url.parse().context("the registry's address")?;
        let itself = response.url().origin() == asked.origin();
        let login = logins.of(reference.resolve_registry()).filter(|_| itself);
        headers = authorised(downloader, scheme, &response, login).await?;
        response = ask(headers.clone()).await?;
    }
    let status = response.status();
    if status != StatusCode::OK {
        bail!("the registry answers {status} to {url}");
    }
    let bytes = downloader.small(response, MAX_MANIFEST).await?;
    if let Some(pinned) = reference.digest() {
        let found = format!("sha256:{}", Digest::of(&bytes));
        if pinned != found {
            bail!("the registry gave the manifest {found}, and {pinned} was asked for");
        }
    }
    let manifest: OciImageManifest =
        serde_json::from_slice(&bytes).context("the registry's manifest cannot be read")?;
    let [layer] = &manifest.layers[..] else {
        bail!(
            "the artefact has {} blobs; a bundle has one, of the type {MEDIA_TYPE}",
            manifest.layers.len()
        );
    };
    if layer.media_type != MEDIA_TYPE {
        bail!(
            "the artefact's blob has the type {:?}; a bundle has {MEDIA_TYPE}",
            layer.media_type
        );
    }
    let digest = layer
        .digest
        .strip_prefix("sha256:")
        .and_then(|digest| digest.parse::<Digest>().ok())
        .context("the artefact's blob is named by another digest than SHA-256")?;
    Ok(Blob {
        url: format!("{base}/blobs/sha256:{digest}"),
        headers,
        digest,
    })
}

/// By what the registry knows who asks: a name and a password, or a token from where it says.
async fn authorised(
    downloader: &Downloader,
    scheme: &str,
    refused: &Response,
    login: Option<&Login>,
) -> anyhow::Result<HeaderMap> {
    if login.is_some() && scheme != "https" {
        bail!("a password is sent over TLS alone; write oci:// instead of oci+http://");
    }
    let challenges = refused.headers().get_all(WWW_AUTHENTICATE);
    let challenges: Vec<&str> = challenges
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    if let Some(parameters) = challenges
        .iter()
        .find_map(|challenge| challenge.strip_prefix("Bearer "))
    {
        return bearer(&token(downloader, scheme, parameters, login).await?);
    }
    let login = login.context(
        "the registry wants a name and a password; name a file with them, [bundles.download] registries",
    )?;
    // Made as it would be sent, and sent to nobody.
    let request = login.sign(downloader.client.get(refused.url().clone()));
    let mut made = request.build().context("the password cannot be sent")?;
    let value = made.headers_mut().remove(AUTHORIZATION);
    let value = value.context("the password cannot be sent")?;
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// A token, for this name or for nobody, from where the registry says (Docker Registry token authentication).
async fn token(
    downloader: &Downloader,
    scheme: &str,
    parameters: &str,
    login: Option<&Login>,
) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let of = |name: &str| {
        let begin = format!("{name}=\"");
        let (_, rest) = parameters.split_once(&begin)?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let realm = of("realm").context("the registry does not say where tokens are to be had")?;
    let mut url: Url = realm.parse().context("where tokens are to be had")?;
    if url.scheme() != "https" && url.scheme() != scheme {
        return Err(anyhow!(
            "the registry gives tokens over {}, and was asked over {scheme}",
            url.scheme()
        ));
    }
    for name in ["service", "scope"] {
        if let Some(value) = of(name) {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let mut request = downloader.client.get(url);
    if let Some(login) = login {
        request = login.sign(request);
    }
    let response = request.send().await?;
    if !response.status().is_success() {
        bail!("the registry gives no token: {}", response.status());
    }
    let answer: Answer = serde_json::from_slice(&downloader.small(response, MAX_TOKEN).await?)
        .context("the registry's token cannot be read")?;
    answer
        .token
        .or(answer.access_token)
        .context("the registry's answer holds no token")
}
