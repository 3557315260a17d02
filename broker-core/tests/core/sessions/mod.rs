//! Sessions: who is let in, what is refused and how, what hooks see, what is counted.

mod aside;
mod asked;
mod asked_bounds;
mod asked_nodes;
mod calls;
mod connect;
mod counts;
mod hooks;
mod limits;
mod namespaces;
mod policy;
mod publishing;
mod resume;
mod rights;
mod tokens;
mod typed;
mod visitors;
