//! Every rule of the ports as one named test, run on every backend and every wrapper.
//!
//! A rule is an ordinary async function whose name is the sentence it proves. Each port has one list of
//! rules ([`queue`], [`store`], [`registry`]); [`queue_rules!`], [`store_rules!`] and [`registry_rules!`]
//! turn it into tests over a [`Place`] where a backend runs. README.md has the rules in words.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this crate is made of tests: a panic is how a rule says that it is broken"
)]

mod fixture;
pub mod queue;
pub mod registry;
pub mod sample;
pub mod store;
pub mod wait;

pub use fixture::{Fixture, Folder, Place, Port, Ports, run, server, unique};

/// How many rules there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Rules of the queue.
    pub queue: usize,
    /// Rules of the store.
    pub store: usize,
    /// Rules of the registry.
    pub registry: usize,
}

/// The number of rules per port.
pub const fn count() -> Count {
    Count { queue: queue::RULES.len(), store: store::RULES.len(), registry: registry::RULES.len() }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "queue {}, store {}, registry {}", self.queue, self.store, self.registry)
    }
}

/// One `#[tokio::test]` per rule of the queue. The argument makes a [`Place`]: `queue_rules!(Folder::new)`.
#[macro_export]
macro_rules! queue_rules {
    ($place:expr) => {
        $crate::__every_queue_rule! { __tests ($place) }
    };
}

/// One `#[tokio::test]` per rule of the store. The argument makes a [`Place`].
#[macro_export]
macro_rules! store_rules {
    ($place:expr) => {
        $crate::__every_store_rule! { __tests ($place) }
    };
}

/// One `#[tokio::test]` per rule of the registry. The argument makes a [`Place`].
#[macro_export]
macro_rules! registry_rules {
    ($place:expr) => {
        $crate::__every_registry_rule! { __tests ($place) }
    };
}

/// What the lists of rules become in a backend's tests.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    (($place:expr) $port:ident $($topic:ident { $($rule:ident)+ })+) => {
        mod $port {
            use super::*;
            $(mod $topic {
                use super::*;
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $rule() {
                        $crate::run($place(), $crate::$port::$rule).await;
                    }
                )+
            })+
        }
    };
}

/// What the lists of rules become here: the rules themselves, and their names. A rule that is in no list is
/// dead code, and the compiler says so.
#[doc(hidden)]
#[macro_export]
macro_rules! __listed {
    (() $port:ident $($topic:ident { $($rule:ident)+ })+) => {
        $(pub use $topic::{$($rule),+};)+

        /// The names of all rules.
        pub const RULES: &[&str] = &[$($(stringify!($rule)),+),+];
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_number_of_rules_is_told() {
        let count = super::count();
        println!("rules: {count}, {} in all", count.queue + count.store + count.registry);
        assert!(count.queue > 0 && count.store > 0 && count.registry > 0);
    }
}
