//! A backend of one's own: [`Star`], whose nodes are connected to a small [`Hub`] over TCP.
//!
//! The hub keeps the logs in memory and passes messages on; a node knows nothing of the others. What a node asks and what it is told
//! are frames of JSON behind their lengths, and messages within them are the core's own
//! [`Envelope`](fanfare_core::backend::envelope::Envelope)s.
#![forbid(unsafe_code)]

mod backend;
mod hub;
mod link;
mod wire;

pub use backend::Star;
pub use hub::Hub;
