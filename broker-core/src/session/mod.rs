//! One client's connection: its commands in order, its identity, its replies.

mod aside;
mod authorize;
mod budgets;
mod calling;
pub(crate) mod clock;
mod close;
mod command;
mod connecting;
mod error;
mod hand_over;
mod handshake;
mod id;
mod pending;
mod presence;
mod publishing;
mod refresh;
mod reply;
pub(crate) mod seat;
pub(crate) mod secret;
mod serve;
#[cfg(all(test, not(loom)))]
mod sizes;
mod subscriptions;
mod visitor;

pub use aside::Aside;
pub use close::{CloseKind, CloseReason};
pub use command::{
    AnswerCommand, CallCommand, Command, ConnectCommand, HistoryCommand, HistoryFrom, PresenceCommand,
    PublishCommand, Start, SubscribeCommand,
};
pub use error::{CommandError, ErrorCode, Refusal};
pub(crate) use hand_over::{BEQUEATH_WITHIN, Heirs};
pub use handshake::Handshake;
pub use id::{ClientId, InvalidClientId, RequestId};
pub use reply::{Connected, HistoryPage, Published, Reply, Subscribed};
pub use serve::Session;
pub use visitor::{Visitor, Visitors};
