//! The http handler against real servers on this machine: what is sent, what answers mean, which addresses are never
//! called, and what is told of those that are.

mod http_handler {
    pub(crate) mod answers;
    pub(crate) mod egress;
    pub(crate) mod requests;
    pub(crate) mod support;
}
