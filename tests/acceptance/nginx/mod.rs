//! The configuration of docs/behind-nginx.md in a real nginx, in front of real processes.

mod events;
mod websocket;
