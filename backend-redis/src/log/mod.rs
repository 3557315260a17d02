//! Logged topics: a stream and what is known of it, changed by one script at a time.

mod append;
mod read;
mod scripts;
mod trial;

pub(crate) use append::{REOPENED_EVERY, append, open, parse_accepted, parse_position};
pub(crate) use read::{After, latest, parse_latest, parse_page, read};
pub(crate) use scripts::Scripts;
pub(crate) use trial::{parse_trial, trial};
