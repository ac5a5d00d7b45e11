//! EST's operations over HTTP (RFC 7030 §4, with RFC 8951's corrections of how its bodies are encoded).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use countersign_keys::Secret;
use countersign_tls::TlsIdentity;
use pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, header};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, TcpConnector};
use zeroize::Zeroizing;

use crate::connector::TlsConnector;
use crate::{EnrolError, Roots, Server, certs_only, retry_after};

/// So much of an answer is read: sixteen large certificates in base64 are less than half of it.
pub const MAX_ANSWER_BYTES: u64 = 128 << 10;

/// So much of a refusal's text is shown.
const MAX_SAID: usize = 300;

/// One operation, from looking up the name to the last byte: an authority whose key is in slow hardware takes seconds.
const WHOLE: Duration = Duration::from_secs(60);
const CONNECTING: Duration = Duration::from_secs(10);

/// How the device shows who it is.
pub enum Credential {
    /// By nothing, for an authority that asks its operator.
    Nothing,
    /// By the certificate that it has, and its key (RFC 7030 §3.3.2).
    Device(TlsIdentity),
    /// By a name and a password (RFC 7617; RFC 7030 §3.2.3), which is how EST servers take a token that works once.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// By a token (RFC 6750).
    Token(Secret),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Device(_) => "Device(..)",
            Self::Password { .. } => "Password(..)",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// What the server answered to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Certificates, DER, in any order and from anybody.
    Issued(Vec<Vec<u8>>),
    /// It has not decided yet (RFC 7030 §4.2.3).
    Later {
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
}

/// One who asks one server.
pub struct Client {
    agent: Agent,
    server: Server,
    /// The header `Authorization`.
    authorization: Option<Zeroizing<String>>,
    now: fn() -> Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.server)
    }
}

impl Client {
    /// A client of `server`, whose own certificate must lead to one of `roots`. `now` tells the time since 1970, at which
    /// certificates are judged and from which dates count by which the server wants to be asked again.
    ///
    /// # Errors
    /// [`EnrolError::Unusable`] if a root cannot be used, or the credential has characters that HTTP has not.
    pub fn new(
        server: Server,
        roots: &Roots,
        credential: Credential,
        now: fn() -> Duration,
    ) -> Result<Self, EnrolError> {
        let unusable = |what, why: String| EnrolError::Unusable { what, why };
        let mut store = RootCertStore::empty();
        for root in roots.iter() {
            store
                .add(CertificateDer::from(root))
                .map_err(|error| unusable("a root for the connection", error.to_string()))?;
        }
        let config =
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| unusable("TLS", error.to_string()))?
                .with_root_certificates(store);
        let (config, authorization) = match credential {
            Credential::Nothing => (config.with_no_client_auth(), None),
            Credential::Device(identity) => {
                (config.with_client_cert_resolver(Arc::new(identity)), None)
            }
            Credential::Password { user, password } => {
                (config.with_no_client_auth(), Some(basic(&user, &password)?))
            }
            Credential::Token(token) => (config.with_no_client_auth(), Some(bearer(&token)?)),
        };
        let http = Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            // RFC 7030 §3.2.1: nobody is here to ask whether another server will do.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(WHOLE))
            .timeout_connect(Some(CONNECTING))
            .max_response_header_size(16 << 10)
            .max_idle_connections(0)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = ().chain(TcpConnector::default()).chain(TlsConnector(Arc::new(config)));
        Ok(Self {
            agent: Agent::with_parts(http, connector, DefaultResolver::default()),
            server,
            authorization,
            now,
        })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The present, since 1970.
    pub(crate) fn now(&self) -> Duration {
        (self.now)()
    }

    /// The certificates of the server's authorities (RFC 7030 §4.1). They are what it says, and no reason to trust any of them. Nobody
    /// needs to show who he is for them, so a token or a password is not sent.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub fn ca_certificates(&self) -> Result<Vec<Vec<u8>>, EnrolError> {
        match self.exchange("cacerts", None)? {
            Answer::Issued(certificates) => Ok(certificates),
            Answer::Later { .. } => Err(self.not_est("status 202 for /cacerts".to_owned())),
        }
    }

    /// Asks for a first certificate (RFC 7030 §4.2.1); `request` is PKCS#10 in DER.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub fn enroll(&self, request: &[u8]) -> Result<Answer, EnrolError> {
        self.exchange("simpleenroll", Some(request))
    }

    /// Asks for the certificate after the one that the device shows (RFC 7030 §4.2.2).
    ///
    /// # Errors
    /// [`EnrolError`].
    pub fn reenroll(&self, request: &[u8]) -> Result<Answer, EnrolError> {
        self.exchange("simplereenroll", Some(request))
    }

    fn exchange(&self, operation: &str, request: Option<&[u8]>) -> Result<Answer, EnrolError> {
        let address = self.server.operation(operation);
        let sent = match request {
            None => self.agent.get(&address).call(),
            Some(request) => self
                .authorized(self.agent.post(&address))
                // RFC 7030 §4.2.1; RFC 8951 §3.2 says that the second is not needed, and old servers want it.
                .header(header::CONTENT_TYPE, "application/pkcs10")
                .header("content-transfer-encoding", "base64")
                .send(Base64::encode_string(request).as_bytes()),
        };
        let mut response = sent.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec();
        let after = retry_after(response.headers(), self.now());
        match status {
            StatusCode::OK => {
                let body = body.map_err(|error| match error {
                    ureq::Error::BodyExceedsLimit(_) => {
                        self.not_est(format!("an answer of more than {MAX_ANSWER_BYTES} bytes"))
                    }
                    error => self.failed(&error),
                })?;
                self.is_certs_only(response.headers())?;
                Ok(Answer::Issued(certs_only::parse(&decode(&body)?)?))
            }
            StatusCode::ACCEPTED => Ok(Answer::Later { after }),
            status => Err(self.refused(status, after, &body.unwrap_or_default())),
        }
    }

    fn authorized<Any>(&self, request: ureq::RequestBuilder<Any>) -> ureq::RequestBuilder<Any> {
        match &self.authorization {
            Some(value) => request.header(header::AUTHORIZATION, value.as_str()),
            None => request,
        }
    }

    /// RFC 7030 §4.1.3, §4.2.3: certificates come as `application/pkcs7-mime`.
    fn is_certs_only(&self, headers: &HeaderMap) -> Result<(), EnrolError> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or("nothing that says what it is");
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/pkcs7-mime") {
            return Ok(());
        }
        Err(self.not_est(format!("with {}", printable(kind.as_bytes()))))
    }

    fn refused(&self, status: StatusCode, after: Option<Duration>, body: &[u8]) -> EnrolError {
        let said = printable(body);
        let number = status.as_u16();
        match number {
            401 | 407 => EnrolError::Unauthorized {
                status: number,
                said,
            },
            // RFC 9110 §15.5.9: after 408 the same request may be made again.
            408 | 429 | 500..=599 => EnrolError::Busy {
                status: number,
                after,
                said,
            },
            400..=499 if number != 404 && number != 405 => EnrolError::Refused {
                status: number,
                said,
            },
            _ => self.not_est(format!("HTTP status {number}")),
        }
    }

    fn not_est(&self, what: String) -> EnrolError {
        EnrolError::NotEst {
            server: self.server.to_string(),
            what,
        }
    }

    /// What went wrong below HTTP.
    fn failed(&self, error: &ureq::Error) -> EnrolError {
        let server = self.server.to_string();
        let tls = match error {
            ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
            _ => None,
        };
        match (tls, error) {
            (Some(rustls::Error::AlertReceived(alert)), _) => EnrolError::Untrusted {
                server,
                why: format!(
                    "the server ended it ({alert:?}); it may want another certificate of the device"
                ),
            },
            (Some(error), _) => EnrolError::Untrusted {
                server,
                why: error.to_string(),
            },
            (None, ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..)) => {
                self.not_est(error.to_string())
            }
            _ => EnrolError::Unreachable {
                server,
                why: error.to_string(),
            },
        }
    }
}

/// RFC 7617: no colon in the name, no control character anywhere.
fn basic(user: &str, password: &Secret) -> Result<Zeroizing<String>, EnrolError> {
    let is_control = |byte: &u8| byte.is_ascii_control();
    if user.contains(':') || user.bytes().any(|byte| is_control(&byte)) {
        return Err(EnrolError::Unusable {
            what: "the user's name",
            why: "it has a colon or a control character, which HTTP does not carry".to_owned(),
        });
    }
    if password.is_empty() || password.expose().iter().any(is_control) {
        return Err(EnrolError::Unusable {
            what: "the password",
            why: "it is empty or has a control character; give it as the authority printed it"
                .to_owned(),
        });
    }
    let mut pair = Zeroizing::new(format!("{user}:").into_bytes());
    pair.extend_from_slice(password.expose());
    let encoded = Zeroizing::new(Base64::encode_string(&pair));
    Ok(Zeroizing::new(format!("Basic {}", encoded.as_str())))
}

/// RFC 6750 §2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn bearer(token: &Secret) -> Result<Zeroizing<String>, EnrolError> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let text = std::str::from_utf8(token.expose()).ok();
    match text.filter(|text| !text.is_empty() && text.as_bytes().iter().all(is_allowed)) {
        Some(text) => Ok(Zeroizing::new(format!("Bearer {text}"))),
        None => Err(EnrolError::Unusable {
            what: "the token",
            why: "it is empty or has characters that tokens have not; give it as the authority printed it"
                .to_owned(),
        }),
    }
}

/// RFC 8951 §3.1: base64, with or without line ends.
fn decode(body: &[u8]) -> Result<Vec<u8>, certs_only::CertsOnlyInvalid> {
    let packed: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !b" \t\r\n".contains(byte))
        .collect();
    let text = std::str::from_utf8(&packed).map_err(|_| certs_only::CertsOnlyInvalid::Base64)?;
    Base64::decode_vec(text).map_err(|_| certs_only::CertsOnlyInvalid::Base64)
}

fn retry_after(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    retry_after::parse(headers.get(header::RETRY_AFTER)?.to_str().ok()?, now)
}

/// The beginning of a stranger's text, in characters that do nothing to a terminal.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_SAID)
        .collect()
}
