//! Starts and ends the processes that handlers run in; the only crate with unsafe.
