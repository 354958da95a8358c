//! A dispatcher over the embedded backend, asked over real HTTP. Workers are played by the tests, through
//! the same ports that a real one uses.

mod background;
mod catalog;
mod events;
mod http;
mod inbox;
mod intake;
mod keys;
mod support;
