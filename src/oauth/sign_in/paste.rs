//! A code that a person has copied.

use oauth2::{AuthorizationCode, CsrfToken};
use tokio::sync::mpsc;
use url::form_urlencoded;

use super::visit::{CallbackQuery, is_same};
use crate::oauth::client::OAuthClient;
use crate::oauth::error::OAuthError;
use crate::oauth::redact::Secrets;
use crate::oauth::refusal::refused;
use crate::secret::SecretString;

/// Takes the code that a person pastes.
pub(super) struct Paste {
    state: SecretString,
    /// Has room for one.
    codes: mpsc::Sender<AuthorizationCode>,
}

impl Paste {
    pub(super) fn new(state: &CsrfToken) -> (Self, mpsc::Receiver<AuthorizationCode>) {
        let (codes, receiver) = mpsc::channel(1);
        (Self { state: state.secret().as_str().into(), codes }, receiver)
    }

    pub(super) fn take(&self, client: &OAuthClient, text: &str) -> Result<(), OAuthError> {
        // Terminals break long lines.
        let text: String = text.split_whitespace().collect();
        let (pasted, form) = read(&text);
        match &pasted.state {
            Some(state) if is_same(state, self.state.expose()) => {}
            Some(_) => return Err(OAuthError::WrongState),
            // A page that shows a code to copy may show it without the state.
            None if form == Form::Code => {}
            None if pasted.code.is_none() && pasted.error.is_none() => return Err(OAuthError::NoCode),
            // Every vendor's response has the state of its request (RFC 6749, sections 4.1.2 and 4.1.2.1).
            None => return Err(OAuthError::NoState),
        }
        if let Some(code) = &pasted.error {
            let secrets = Secrets::new([self.state.expose()]);
            return Err(refused(client, &secrets, code, pasted.error_description.as_deref()));
        }
        let code = pasted.code.filter(|code| !code.is_empty()).ok_or(OAuthError::NoCode)?;
        self.codes.try_send(AuthorizationCode::new(code)).map_err(|_| OAuthError::Ended)
    }
}

/// The form of the copied text.
#[derive(PartialEq, Eq)]
enum Form {
    /// The code that a page shows.
    Code,
    /// The address at which the browser ended.
    Address,
}

/// Reads `code`, `code#state`, or an address, whole or from its query on.
fn read(text: &str) -> (CallbackQuery, Form) {
    let query = text.split_once('?').map(|(_, query)| query);
    let query = query.or_else(|| (text.contains("code=") || text.contains("error=")).then_some(text));
    if let Some(query) = query {
        let query = query.split_once('#').map_or(query, |(query, _)| query);
        return (CallbackQuery::read(form_urlencoded::parse(query.as_bytes())), Form::Address);
    }
    if text.contains("://") {
        // An address without a query.
        return (CallbackQuery::default(), Form::Address);
    }
    let (code, state) = match text.split_once('#') {
        Some((code, state)) => (code, Some(state.to_owned())),
        None => (text, None),
    };
    (CallbackQuery { code: Some(code.to_owned()), state, ..CallbackQuery::default() }, Form::Code)
}
