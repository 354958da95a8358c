//! The egress gate against real connections on this machine: what it speaks, what it refuses, and that nothing
//! outlives its call.

mod egress_gate {
    pub(crate) mod limits;
    pub(crate) mod protocol;
    pub(crate) mod rules;
    pub(crate) mod support;
}
