//! Which component a request is for: by its host, then by the longest beginning of its path.

use std::sync::{Arc, PoisonError, RwLock};

use hyper::Uri;
use hyper::header::{HOST, HeaderMap};

use super::serving::Serving;

/// The components behind one address.
#[derive(Default)]
pub(super) struct Routes(RwLock<Vec<Arc<Serving>>>);

impl Routes {
    /// Puts a component in its place; of the one that had it, no request begins any more.
    pub(super) fn put(&self, serving: &Arc<Serving>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|other| other.name() == serving.name()) {
            Some(other) => *other = Arc::clone(serving),
            None => all.push(Arc::clone(serving)),
        }
    }

    /// Takes a component out, unless another has its place by now.
    pub(super) fn remove(&self, serving: &Arc<Serving>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !Arc::ptr_eq(other, serving));
    }

    /// Whether this component is the only one.
    pub(super) fn is_alone(&self, serving: &Arc<Serving>) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().all(|other| Arc::ptr_eq(other, serving))
    }

    pub(super) fn find(&self, uri: &Uri, headers: &HeaderMap) -> Option<Arc<Serving>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let host = host(uri, headers);
        all.iter()
            .filter_map(|serving| {
                let http = serving.http();
                Some((fit(&http.hosts, &http.path, host, uri.path())?, serving))
            })
            .max_by_key(|(fit, _)| *fit)
            .map(|(_, serving)| Arc::clone(serving))
    }
}

/// How well a request fits: none where it does not.
fn fit(hosts: &[String], path: &str, host: &str, asked: &str) -> Option<(bool, usize)> {
    let named = hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    if !named && !hosts.is_empty() {
        return None;
    }
    let rest = asked.strip_prefix(path)?;
    // "/a" is not how "/ab" begins.
    let whole = path.ends_with('/') || rest.is_empty() || rest.starts_with('/');
    whole.then_some((named, path.len()))
}

/// The host that is asked for, without its port.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    if let Some(host) = uri.host() {
        return host;
    }
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    let named = named.unwrap_or_default();
    match named.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_whole_segments_and_a_named_host_goes_first() {
        let hosts = ["plant.example".to_owned()];
        assert_eq!(fit(&[], "/", "any", "/a"), Some((false, 1)));
        assert_eq!(fit(&[], "/a", "any", "/a"), Some((false, 2)));
        assert_eq!(fit(&[], "/a", "any", "/a/b"), Some((false, 2)));
        assert_eq!(fit(&[], "/a/", "any", "/a/b"), Some((false, 3)));
        assert_eq!(fit(&[], "/a", "any", "/ab"), None);
        assert_eq!(fit(&[], "/a", "any", "/A"), None);
        assert_eq!(fit(&hosts, "/", "Plant.Example", "/"), Some((true, 1)));
        assert_eq!(fit(&hosts, "/", "other.example", "/"), None);
        assert!(fit(&hosts, "/", "plant.example", "/a/b") > fit(&[], "/a/b", "x", "/a/b"));
    }

    #[test]
    fn a_host_is_one_without_its_port() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, text.parse().expect("a value"));
            host(&Uri::from_static("/"), &headers).to_owned()
        };
        assert_eq!(of("plant.example:8080"), "plant.example");
        assert_eq!(of("plant.example"), "plant.example");
        assert_eq!(of("[::1]:8080"), "[::1]");
        assert_eq!(of("[::1]"), "[::1]");
        let uri = Uri::from_static("http://plant.example:81/");
        assert_eq!(host(&uri, &HeaderMap::new()), "plant.example");
    }
}
