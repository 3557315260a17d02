//! What the core makes of a backend elsewhere: one that is slow, fails, hangs, goes away and comes back.

mod ingress;
