//! A link that a person opens, while the server is polled.

use super::flow::{Begun, Prompt, flow};
use crate::oauth::client::OAuthClient;
use crate::oauth::cursor;
use crate::oauth::error::OAuthError;
use crate::oauth::progress::Events;

pub(super) fn begin(client: &OAuthClient, events: Events) -> Result<Begun, OAuthError> {
    let ticket = cursor::Ticket::new();
    let page = ticket.on(client.url("authorize_url", client.config().authorize_url.as_ref())?);
    let client = client.clone();
    let running = async move {
        let response = cursor::poll(&client, ticket, events).await?;
        Ok(response.signed_in(client.dialect(), client.now()))
    };
    Ok((Prompt::Browser { url: page.into(), elsewhere: None }, flow(running), None))
}
