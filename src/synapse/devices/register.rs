//! The call itself.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::{Answer, AskError, Question};
use super::{Devices, Listener, Unready, transaction};
use crate::secret::Secret;

/// How often a call is tried at most. It has one name, so that the main process does it once.
const TRIES: u32 = 3;
/// How long is waited between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRequest<'login> {
    /// The user, as the database writes it.
    pub user_id: &'login str,
    /// The device; `None` makes a new one.
    pub device_id: Option<&'login str>,
    /// The name of a new device.
    pub initial_display_name: Option<&'login str>,
    /// Whether a refresh token is made. It may be asked for only where `refreshable_access_token_lifetime` is set.
    pub should_issue_refresh_token: bool,
}

/// A device with its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub device_id: String,
    /// Its access token.
    pub access_token: Secret,
    /// Its refresh token.
    pub refresh_token: Option<Secret>,
    /// When the access token ends, in milliseconds since 1970.
    pub valid_until_ms: Option<u64>,
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The main process was not reached, or does not offer the call: nothing was done, and the login can be forwarded.
    #[error("the main process was not asked: {0}")]
    NotReached(String),
    /// Synapse refuses the login. A worker passes such an answer on as it is.
    #[error("the main process refused with status {status}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The body, in JSON.
        body: Bytes,
    },
    /// There was no answer, also when asked again: the device may or may not be there. A worker then answers 502
    /// `Failed to talk to main process`.
    #[error("the main process did not answer: {0}")]
    Lost(AskError),
    /// The answer is not one that dendron understands: the device may or may not be there.
    #[error("the main process's answer with status {status} is not understood")]
    Unusable {
        /// The status.
        status: StatusCode,
    },
}

/// The call's body. Synapse insists on every key.
#[derive(Serialize)]
struct Body<'login> {
    device_id: Option<&'login str>,
    initial_display_name: Option<&'login str>,
    is_guest: bool,
    is_appservice_ghost: bool,
    should_issue_refresh_token: bool,
    auth_provider_id: Option<&'login str>,
    auth_provider_session_id: Option<&'login str>,
}

/// The answer's body. What else is in it, such as `_INT_STREAM_POS`, is for workers.
#[derive(Deserialize)]
struct Registered {
    device_id: String,
    access_token: Secret,
    #[serde(deserialize_with = "Option::deserialize")]
    refresh_token: Option<Secret>,
    #[serde(deserialize_with = "Option::deserialize")]
    valid_until_ms: Option<u64>,
}

impl Devices {
    /// Registers a device. A try that gets no answer is repeated under the same name, for which the main process gives
    /// the same answer.
    ///
    /// # Errors
    ///
    /// [`RegisterError`], which says whether anything can have been done.
    pub async fn register(&self, request: &DeviceRequest<'_>) -> Result<Device, RegisterError> {
        if let Listener::Unready(reason) = &**self.listener.load() {
            return Err(RegisterError::NotReached(reason.to_string()));
        }
        let question = self.question(request).ok_or_else(|| RegisterError::NotReached("no such call".to_owned()))?;
        let answer = self.ask(&question).await?;
        let device = device(&answer);
        if let Err(RegisterError::NotReached(_) | RegisterError::Unusable { .. }) = device {
            self.failed.send_replace(());
        }
        device
    }

    fn question(&self, request: &DeviceRequest<'_>) -> Option<Question> {
        let body = Body {
            device_id: request.device_id,
            initial_display_name: request.initial_display_name,
            is_guest: false,
            is_appservice_ghost: false,
            should_issue_refresh_token: request.should_issue_refresh_token,
            auth_provider_id: None,
            auth_provider_session_id: None,
        };
        let path = Self::path(request.user_id, &transaction()?);
        Some(Question::post(path, Self::headers(self.secret.as_ref())?, serde_json::to_vec(&body).ok()?))
    }

    async fn ask(&self, question: &Question) -> Result<Answer, RegisterError> {
        let mut lost = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let outcome = match self.target.peer().await {
                Some(peer) => self.client.ask(&peer, question, self.patience).await,
                None => Err(AskError::Unresolved),
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) if error.nothing_was_sent() && lost.is_none() => {
                    self.set(Listener::Unready(Unready::Unreachable(error.to_string())));
                    self.failed.send_replace(());
                    return Err(RegisterError::NotReached(error.to_string()));
                }
                Err(error) => lost = Some(error),
            }
        }
        self.failed.send_replace(());
        Err(RegisterError::Lost(lost.unwrap_or(AskError::Silent)))
    }
}

/// What an answer means.
fn device(answer: &Answer) -> Result<Device, RegisterError> {
    let status = answer.status;
    match status {
        StatusCode::OK => {
            let body: Registered =
                serde_json::from_slice(&answer.body).map_err(|_| RegisterError::Unusable { status })?;
            Ok(Device {
                device_id: body.device_id,
                access_token: body.access_token,
                refresh_token: body.refresh_token,
                valid_until_ms: body.valid_until_ms,
            })
        }
        _ if status.is_client_error() => match answer.matrix_error() {
            // The route is gone: the listener was configured otherwise, or Synapse is another one now.
            Some(error) if error.errcode == "M_UNRECOGNIZED" => {
                Err(RegisterError::NotReached("it knows no such call".to_owned()))
            }
            Some(_) => Err(RegisterError::Refused { status, body: answer.body.clone() }),
            None => Err(RegisterError::Unusable { status }),
        },
        // A wrong secret is answered with 500, too, and so is a failure half way.
        _ => Err(RegisterError::Unusable { status }),
    }
}
