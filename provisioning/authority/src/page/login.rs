//! Who may see the page: whoever knows the password, for twelve hours.
//!
//! The cookie says until when, sealed with a key of this process; it goes to this host over TLS alone, no script reads
//! it, and no other site's request carries it. Nothing here changes anything, so that a forged request gains nothing.

use std::sync::Arc;

use anyhow::Context as _;
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use axum::Form;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Redirect, Response};
use countersign_trust_store::UnixTime;
use maud::html;
use ring::hmac;
use serde::Deserialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::views;
use crate::http::App;
use crate::problem::Code;

/// How long a visit lasts, in seconds.
const VISIT_SECONDS: u64 = 12 * 60 * 60;

/// The cookie. The prefix binds it to this host and to TLS (RFC 6265bis §4.1.3.2).
const COOKIE_NAME: &str = "__Host-countersign";

/// The longest password.
const MAX_PASSWORD: usize = 1024;

/// The password's hash, and the seal of the cookies.
pub struct Login {
    hash: String,
    key: hmac::Key,
    /// A hash takes 19 MiB and some hundredths of a second: one at a time.
    turn: Semaphore,
}

/// The hash of a password, for the configuration.
///
/// # Errors
/// When it is shorter than 8 characters.
pub fn hash_password(password: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        (8..=MAX_PASSWORD).contains(&password.len()),
        "the password has fewer than 8 or more than {MAX_PASSWORD} characters: choose another"
    );
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    let salt = SaltString::encode_b64(&random)
        .map_err(|error| anyhow::anyhow!("the password could not be hashed: {error}"))?;
    Ok(Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| anyhow::anyhow!("the password could not be hashed: {error}"))?
        .to_string())
}

impl Login {
    /// With the hash from the configuration.
    ///
    /// # Errors
    /// When it is none, or the system has no randomness.
    pub fn new(hash: &str) -> anyhow::Result<Self> {
        PasswordHash::new(hash)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .context(
                "page.password is not a hash: make one with `countersign-authority password`",
            )?;
        let mut key = Zeroizing::new([0_u8; 32]);
        getrandom::fill(key.as_mut())
            .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
        Ok(Self {
            hash: hash.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            turn: Semaphore::new(1),
        })
    }

    fn accepts(&self, password: &str) -> bool {
        PasswordHash::new(&self.hash).is_ok_and(|hash| {
            Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .is_ok()
        })
    }

    /// The cookie of a visit that begins now.
    fn cookie(&self, now: UnixTime) -> String {
        let until = now.as_secs().saturating_add(VISIT_SECONDS);
        let seal = hmac::sign(&self.key, &until.to_be_bytes());
        format!("{until}.{}", hex::encode(seal.as_ref()))
    }

    fn is_open(&self, cookie: &str, now: UnixTime) -> bool {
        let Some((until, seal)) = cookie.split_once('.') else {
            return false;
        };
        let (Ok(until), Ok(seal)) = (until.parse::<u64>(), hex::decode(seal)) else {
            return false;
        };
        hmac::verify(&self.key, &until.to_be_bytes(), &seal).is_ok() && now.as_secs() < until
    }
}

/// Somebody who is logged in.
pub(super) struct Visitor;

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Redirect> {
        let cookies = parts.headers.get_all(COOKIE).iter();
        let open = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE_NAME)
            .any(|(_, value)| {
                app.login
                    .as_ref()
                    .is_some_and(|login| login.is_open(value, (app.clock)()))
            });
        if open {
            Ok(Self)
        } else {
            Err(Redirect::to("/page/login"))
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Entry {
    password: String,
}

/// The form.
pub(super) async fn form() -> Response {
    shown(StatusCode::OK, false)
}

/// Compares the password.
pub(super) async fn enter(State(app): State<Arc<App>>, Form(entry): Form<Entry>) -> Response {
    let Some(login) = &app.login else {
        return Redirect::to("/page/login").into_response();
    };
    let Ok(_turn) = login.turn.acquire().await else {
        return shown(StatusCode::SERVICE_UNAVAILABLE, false);
    };
    let asked = Arc::clone(&app);
    let password = Zeroizing::new(entry.password);
    let accepted = tokio::task::spawn_blocking(move || {
        password.len() <= MAX_PASSWORD
            && asked
                .login
                .as_ref()
                .is_some_and(|login| login.accepts(&password))
    })
    .await
    .unwrap_or(false);
    if !accepted {
        tracing::warn!("a wrong password was given for the page");
        return shown(StatusCode::UNAUTHORIZED, true);
    }
    with_cookie(&login.cookie((app.clock)()), VISIT_SECONDS, "/page")
}

/// Ends the visit.
pub(super) async fn leave() -> Response {
    with_cookie("", 0, "/page/login")
}

fn with_cookie(value: &str, seconds: u64, to: &str) -> Response {
    let cookie = format!(
        "{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict"
    );
    ([(SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

fn shown(status: StatusCode, wrong: bool) -> Response {
    let page = views::frame(
        "Log in",
        false,
        &html! {
            @if wrong { p role="alert" { strong { "That is not the password." } } }
            form class="login" method="post" action="/page/login" {
                label { "Password" input type="password" name="password" autocomplete="current-password" autofocus required; }
                p { button { "Log in" } }
            }
        },
    );
    let mut answer = (status, views::answer(page)).into_response();
    if wrong {
        // The form says so, and no problem's form takes its place.
        answer.extensions_mut().insert(Code::Unauthenticated);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_needs_the_password_and_ends() {
        let hash = hash_password("correct horse").expect("hashed");
        let login = Login::new(&hash).expect("a hash");
        assert!(login.accepts("correct horse"));
        assert!(!login.accepts("correct hors") && !login.accepts(""));
        let now = UnixTime::from_secs(1_000);
        let cookie = login.cookie(now);
        assert!(login.is_open(&cookie, now));
        assert!(!login.is_open(&cookie, UnixTime::from_secs(1_000 + VISIT_SECONDS)));
        let (_, seal) = cookie.split_once('.').expect("two parts");
        assert!(!login.is_open(&format!("99999999999.{seal}"), now));
        assert!(
            !Login::new(&hash).expect("a hash").is_open(&cookie, now),
            "another process"
        );
        assert!(Login::new("plain text").is_err() && hash_password("short").is_err());
    }
}
