//! Journeys through the real binary, each in both modes: embedded, and over RabbitMQ and Redis.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and figures are printed"
)]

#[path = "../support/mod.rs"]
mod support;

mod amqp;
mod crash;
mod deadlines;
mod handlers;
mod requests;
mod secrets;
mod streaming;

use support::{Dir, Servers, Sortie};

/// Makes two tests of each journey, one in each mode. A journey takes a running installation.
macro_rules! journeys {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&crate::Installation::embedded().await).await;
            })+
        }
        mod distributed {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&crate::Installation::distributed().await).await;
            })+
        }
    };
}
pub(crate) use journeys;

/// A running installation: one process, or a dispatcher and a worker over RabbitMQ and Redis.
pub(crate) struct Installation {
    client: support::Client,
    /// Dispatcher first. Dropped before the folder.
    _processes: Vec<Sortie>,
    servers: Option<Servers>,
    dir: Dir,
}

/// What local targets of handlers need to be reachable, and two slots.
const SETTINGS: &[&str] = &["--egress-allow", "127.0.0.1/32", "--slots", "2"];

impl Installation {
    async fn embedded() -> Self {
        let dir = Dir::new();
        let sortie = Sortie::embedded(&dir, SETTINGS).await;
        Self { client: sortie.client.clone(), _processes: vec![sortie], servers: None, dir }
    }

    async fn distributed() -> Self {
        let (dir, servers) = (Dir::new(), Servers::of_the_run());
        let dispatcher = Sortie::distributed("dispatcher", &dir, &servers, &[]).await;
        let worker = Sortie::distributed("worker", &dir, &servers, SETTINGS).await;
        Self {
            client: dispatcher.client.clone(),
            _processes: vec![dispatcher, worker],
            servers: Some(servers),
            dir,
        }
    }
}
