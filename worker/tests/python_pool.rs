//! Python handlers on a real interpreter: every way a call can end, and that the next call is unharmed by it.

mod python_pool {
    pub(crate) mod code;
    pub(crate) mod ends;
    pub(crate) mod events;
    pub(crate) mod leftovers;
    pub(crate) mod loaded;
    pub(crate) mod processes;
    pub(crate) mod setup;
    pub(crate) mod speed;
    pub(crate) mod support;
    pub(crate) mod warm;
}
