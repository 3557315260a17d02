//! The replies and errors that objects stand for.

use std::{sync::Arc, time::Duration};

use fanfare_core::session::{CommandError, Connected, ErrorCode, HistoryPage, Published, Reply, Subscribed};

use crate::{
    object::{Object, OneOrMany},
    presence::{counts, page},
};

impl Object<'_> {
    pub(crate) fn reply(&self) -> Reply {
        if let Some(client) = self.client {
            let ping = Duration::from_millis(self.ping_ms.unwrap());
            let mut connected = Connected::new(client.parse().unwrap(), ping);
            connected.user = self.user.map(Into::into);
            connected.expires = self.expires_ms.map(Duration::from_millis);
            connected.session = self.session.map(Into::into);
            connected.resumed = self.resumed.unwrap_or_default();
            if let Some(OneOrMany::Many(entries)) = &self.subscribed {
                connected.subscribed = entries.iter().map(Object::outcome).collect();
            }
            return Reply::Connected(Box::new(connected));
        }
        if self.expires_ms.is_some() {
            return Reply::Refreshed { expires: self.expires_ms.map(Duration::from_millis) };
        }
        if let Some(messages) = &self.messages {
            let messages = messages.iter().map(|message| Arc::new(message.message(false))).collect();
            return Reply::History(HistoryPage::new(messages, self.more.unwrap()));
        }
        if let Some(members) = &self.members {
            return Reply::Presence(page(members, counts(self.clients, self.users), self.next));
        }
        match self.duplicate {
            Some(duplicate) => {
                Reply::Published(Published::new(self.pos.map(|pos| pos.parse().unwrap()), duplicate))
            }
            None => Reply::Subscribed(self.subscribed()),
        }
    }

    fn outcome(&self) -> (String, Result<Subscribed, CommandError>) {
        let outcome = self.error.as_ref().map_or_else(|| Ok(self.subscribed()), |error| Err(error.error()));
        (self.topic.as_deref().unwrap().to_owned(), outcome)
    }

    pub(crate) fn subscribed(&self) -> Subscribed {
        Subscribed::new(self.recovered, self.pos.map(|pos| pos.parse().unwrap()))
    }

    pub(crate) fn error_code(&self) -> ErrorCode {
        let name = self.code.as_ref().and_then(|code| code.as_str()).unwrap();
        *CODES.iter().find(|code| code.as_str() == name).unwrap_or_else(|| panic!("no code {name}"))
    }

    pub(crate) fn error(&self) -> CommandError {
        let code = self.error_code();
        let mut error = CommandError::new(code, self.message.as_deref().unwrap().to_owned());
        assert_eq!(Some(error.retry), self.retry, "{code}: whether a retry can help");
        error.field = self.field.map(|field| &*field.to_owned().leak());
        (error.limit, error.value) = (self.limit, self.value);
        error.retry_after = self.retry_ms.map(Duration::from_millis);
        error
    }
}

const CODES: [ErrorCode; 18] = [
    ErrorCode::BadRequest,
    ErrorCode::UnknownMethod,
    ErrorCode::Unauthenticated,
    ErrorCode::TokenExpired,
    ErrorCode::Forbidden,
    ErrorCode::InvalidTopic,
    ErrorCode::InvalidPayload,
    ErrorCode::NotSubscribed,
    ErrorCode::TooLarge,
    ErrorCode::LimitExceeded,
    ErrorCode::RateLimited,
    ErrorCode::Timeout,
    ErrorCode::NoSuchMethod,
    ErrorCode::BackendUnavailable,
    ErrorCode::Internal,
    ErrorCode::Draining,
    ErrorCode::Revoked,
    ErrorCode::Kicked,
];
