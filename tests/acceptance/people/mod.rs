//! What people know from elsewhere, over real sockets: broadcasts and private messages, calls, who is there, sessions, and what an app does to
//! its clients. Each test is a sentence; where it says nothing else it holds on every backend, on two nodes where nodes can share it.

mod harness;

mod calls;
mod everyone;
mod images;
mod namespaces;
mod presence;
mod private;

mod admission;
mod disconnecting;
mod flooding;
mod killed;
mod members;
mod moved;
mod offline;
mod resent;
mod stalled;
mod tokens;
