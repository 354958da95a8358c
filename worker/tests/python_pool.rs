//! Python handlers on a real interpreter: every way a call can end, and that the next call is unharmed by it.

mod python_pool {
    pub mod ends;
    pub mod events;
    pub mod leftovers;
    pub mod setup;
    pub mod speed;
    pub mod support;
    pub mod warm;
}
