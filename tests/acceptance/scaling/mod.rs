//! Several processes on one Redis or NATS, behind nginx: which of them serves a client is nobody's concern, nor that one is gone.

mod cluster;
mod nodes;
mod page;
mod person;
mod server;
