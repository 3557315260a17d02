//! What the README and the guides show: their commands are typed into a shell and say what the page says; their programs and
//! files are those that the tests use.

mod relay;
mod shell;
mod transcript;

mod pages;
mod unit;
