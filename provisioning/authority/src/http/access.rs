//! Who asks, and whether they may: a client certificate, or a token.
//!
//! What is not there and what the asker may not see are looked up and answered alike, so that neither the answer nor its
//! time says whether a device exists.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64ct::{Base64, Encoding as _};
use countersign_format::DeviceIdentity;
use countersign_provisioning::Profile;
use zeroize::Zeroizing;

use crate::clients::Client;
use crate::http::App;
use crate::http::server::Peer;
use crate::problem::{Code, Problem};
use crate::tokens::{self, Action, Scope, TokenHash};

/// The longest Authorization header that is read.
const MAX_HEADER: usize = 512;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    client: Option<Arc<Client>>,
    token: Option<(TokenHash, Scope)>,
    /// What the configuration lets this client do.
    operator: Option<Scope>,
    /// The order of the devices that the issuer of this factory identity may name.
    factory_order: Option<String>,
}

impl FromRequestParts<Arc<App>> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let client = parts
            .extensions
            .get::<Peer>()
            .and_then(|peer| peer.client.clone());
        // Lists are published now and then; the registry knows at once.
        if let Some(client) = &client
            && (client.has_expired((app.clock)()) || !app.desk.stands(client).await?)
        {
            return Err(Problem::new(Code::Unauthenticated));
        }
        let token = match parts.headers.get(AUTHORIZATION) {
            None => None,
            Some(value) => {
                let hash = value
                    .to_str()
                    .ok()
                    .and_then(presented)
                    .ok_or_else(|| Problem::new(Code::Unauthenticated))?;
                let scope = app
                    .desk
                    .token(&hash)
                    .await?
                    .ok_or_else(|| Problem::new(Code::Unauthenticated))?;
                Some((hash, scope))
            }
        };
        if client.is_none() && token.is_none() {
            return Err(Problem::new(Code::Unauthenticated));
        }
        let operator = client.as_ref().and_then(|client| {
            let found = app
                .operators
                .iter()
                .find(|operator| operator.device == client.device.as_str())?;
            (!client.factory).then(|| found.scope.clone())
        });
        let factory_order = client
            .as_ref()
            .and_then(|client| app.desk.factory_order(client));
        Ok(Self {
            client,
            token,
            operator,
            factory_order,
        })
    }
}

/// The token in an Authorization header: as it is (RFC 6750), or as the password of HTTP Basic, which EST clients speak.
fn presented(header: &str) -> Option<TokenHash> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return tokens::hash(rest.trim());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let bytes = Zeroizing::new(Base64::decode_vec(rest.trim()).ok()?);
        let (_, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
        return tokens::hash(password);
    }
    None
}

/// What lets somebody have a certificate.
#[derive(Clone, Debug)]
pub struct EnrolRight {
    /// The token that is used up by it.
    pub token: Option<TokenHash>,
    /// The order that the device must belong to.
    pub order: Option<String>,
    /// Whose right it is, for the audit log.
    pub by: String,
}

impl Asker {
    /// The device whose certificate was shown.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        self.client.as_deref()
    }

    /// What was given to the asker, and to whom that was, for the audit log.
    fn given(&self) -> impl Iterator<Item = (&Scope, String)> {
        let token = self
            .token
            .iter()
            .map(|(hash, scope)| (scope, of_token(hash)));
        let operator = self.client.iter().zip(self.operator.as_ref());
        token.chain(operator.map(|(client, scope)| (scope, of_client(client))))
    }

    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.given().map(|(scope, _)| scope)
    }

    /// The profile, where the asker's scopes leave no choice.
    #[must_use]
    pub fn only_profile(&self) -> Option<Profile> {
        self.scopes().find_map(Scope::only_profile)
    }

    /// The right to have a certificate of this profile for this device.
    ///
    /// # Errors
    /// [`Code::Forbidden`], whether or not there is such a device.
    pub fn enrol(&self, device: &DeviceIdentity, profile: Profile) -> Result<EnrolRight, Problem> {
        let fits =
            |scope: &Scope| scope.allows(Action::Enrol, device) && scope.allows_profile(profile);
        if let Some((hash, scope)) = &self.token
            && fits(scope)
        {
            return Ok(EnrolRight {
                token: Some(*hash),
                order: scope.order.clone(),
                by: of_token(hash),
            });
        }
        if let (Some(client), Some(scope)) = (&self.client, &self.operator)
            && fits(scope)
        {
            return Ok(EnrolRight {
                token: None,
                order: scope.order.clone(),
                by: of_client(client),
            });
        }
        // The first exchange: a factory identity has a certificate issued to the same device, with which it speaks TLS. What
        // signs anything is given out by somebody.
        if let Some(client) = &self.client
            && client.factory
            && client.device == *device
            && profile == Profile::Tls
        {
            return Ok(EnrolRight {
                token: None,
                order: self.factory_order.clone(),
                by: of_client(client),
            });
        }
        Err(Problem::new(Code::Forbidden))
    }

    /// Whose scope reaches a device of this order.
    fn reaches(
        &self,
        action: Action,
        device: &DeviceIdentity,
        order: Option<&str>,
    ) -> Option<String> {
        self.given()
            .find(|(scope, _)| {
                scope.allows(action, device)
                    && (scope.order.is_none() || scope.order.as_deref() == order)
            })
            .map(|(_, whose)| whose)
    }

    /// Demands the right to read about one device of this order.
    ///
    /// # Errors
    /// [`Code::NotFound`]: what may not be seen is not there.
    pub fn may_read(&self, device: &DeviceIdentity, order: Option<&str>) -> Result<(), Problem> {
        let itself = self
            .client
            .as_ref()
            .is_some_and(|client| client.device == *device);
        if itself || self.reaches(Action::Read, device, order).is_some() {
            return Ok(());
        }
        Err(Problem::new(Code::NotFound))
    }

    /// Demands the right to this action on every device.
    ///
    /// # Errors
    /// [`Code::Forbidden`].
    pub fn may_everywhere(&self, action: Action) -> Result<(), Problem> {
        if self.scopes().any(|scope| scope.allows_everywhere(action)) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden))
    }

    /// Demands the right to approve this device on this order; whose it is, for the audit log.
    ///
    /// # Errors
    /// [`Code::Forbidden`], whether or not there is such a device.
    pub fn may_approve(
        &self,
        device: &DeviceIdentity,
        order: Option<&str>,
    ) -> Result<String, Problem> {
        self.reaches(Action::Approve, device, order)
            .ok_or_else(|| Problem::new(Code::Forbidden))
    }

    /// Demands the right to revoke certificates of this device of this order; whose it is, for the audit log.
    ///
    /// # Errors
    /// [`Code::NotFound`], as for a certificate that is not there.
    pub fn may_revoke(
        &self,
        device: &DeviceIdentity,
        order: Option<&str>,
    ) -> Result<String, Problem> {
        self.reaches(Action::Revoke, device, order)
            .ok_or_else(|| Problem::new(Code::NotFound))
    }
}

/// A token in the audit log.
fn of_token(hash: &TokenHash) -> String {
    format!("token {}", hash.short())
}

/// A certificate's holder in the audit log.
pub(super) fn of_client(client: &Client) -> String {
    format!("client {}", client.device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tg01_tokens_come_as_bearer_or_as_basic_passwords_and_in_no_other_form() {
        let token = tokens::generate().expect("randomness");
        let basic = Base64::encode_string(format!("estuser:{}", *token.text).as_bytes());
        for good in [
            format!("Bearer {}", *token.text),
            format!("bearer {}", *token.text),
            format!("Basic {basic}"),
        ] {
            assert_eq!(presented(&good), Some(token.hash), "{good}");
        }
        for bad in [
            token.text.to_string(),
            format!("Digest {}", *token.text),
            "Bearer ".to_owned(),
            "Basic %%%".to_owned(),
            format!("Basic {}", Base64::encode_string(b"no colon")),
            format!("Bearer {}{}", *token.text, "A".repeat(600)),
        ] {
            assert_eq!(presented(&bad), None, "{bad}");
        }
    }
}
