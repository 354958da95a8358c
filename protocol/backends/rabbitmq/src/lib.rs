//! The queue and the inbox over AMQP 0.9.1 (RabbitMQ 3.10 to 4.x).
//!
//! One connection publishes ([`publish`]), another consumes ([`consume`]): a server short of memory stops
//! publishers, and must not stop acks with them. Each is built, watched and built again by one supervisor
//! ([`connection`]); nothing of the client library recovers by itself. What is declared on the server
//! stands in [`topology`]. `README.md` draws it and names the rights that the user needs.

mod connection;
mod consume;
mod delivery;
mod error;
mod gather;
mod inbox;
mod ledger;
mod options;
mod publish;
mod queue;
mod share;
mod topology;
mod unreadable;

use std::sync::Arc;
use std::time::Duration;

use protocol::ports::{Inbox, Queue};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use options::{Options, OptionsError, Queues};

use connection::Server;
use consume::Subscriptions;
use delivery::DeadLetters;
use publish::Publisher;
use topology::Topology;

/// How long [`RabbitMq::close`] waits for what is under way, and then for the farewell.
const CLOSE: Duration = Duration::from_secs(5);

/// The backend. Works until the last of it, its ports and their consumers is dropped.
pub struct RabbitMq {
    core: Arc<Core>,
}

/// What the ports share.
struct Core {
    topology: Topology,
    publisher: Publisher,
    subscriptions: Subscriptions,
    dead_letters: DeadLetters,
    /// Dead letters on their way.
    burials: TaskTracker,
    /// The supervisors.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Makes the backend without waiting for the server: it connects in the background and works on again by
/// itself after the server was away. Fails only where the options are wrong. Needs a tokio runtime.
pub fn connect(options: Options) -> Result<RabbitMq, OptionsError> {
    let (uri, topology) = options.check()?;
    let server = Arc::new(Server::new(uri));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let publisher = publish::start(server.clone(), topology.clone(), &tasks, stop.clone());
    let subscriptions = Subscriptions::new(server, topology.clone(), tasks.clone(), stop.clone());
    let burials = TaskTracker::new();
    let dead_letters = DeadLetters::new(publisher.clone(), topology.clone(), burials.clone());
    let core = Core { topology, publisher, subscriptions, dead_letters, burials, tasks, stop };
    Ok(RabbitMq { core: Arc::new(core) })
}

impl RabbitMq {
    /// The port `Queue`.
    pub fn queue(&self) -> Arc<dyn Queue> {
        Arc::new(queue::JobQueue::new(self.core.clone()))
    }

    /// The port `Inbox`. Requests are taken from the first call of `next` on.
    pub fn inbox(&self) -> Arc<dyn Inbox> {
        Arc::new(inbox::RequestInbox::new(self.core.clone()))
    }

    /// Sends the acks and dead letters that are on their way and closes both connections. What is still
    /// out goes back to the queue. The ports answer nothing but errors afterwards.
    pub async fn close(self) {
        let core = &self.core;
        core.burials.close();
        // Each has a limit of its own.
        core.burials.wait().await;
        core.stop.cancel();
        // A server that doesn't answer must not hold up the end of the process.
        core.tasks.close();
        let _ = timeout(CLOSE, core.tasks.wait()).await;
    }
}
