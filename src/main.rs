//! Sortie: one binary for dispatcher, worker and command line.
fn main() {}
