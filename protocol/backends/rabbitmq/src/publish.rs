//! The publishing connection: jobs, answers and dead letters go out here, and queues are counted.
//!
//! One task owns the channel, puts messages on it one behind the other and collects the server's confirms
//! as they come: many are in flight at once, none waits for another. It must be one task, because the
//! client library numbers a message and sends it in two steps; from two tasks, confirms could be swapped.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel};
use protocol::ports::PortError;
use protocol::wire;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Link, Server, Session, State, answer, supervise};
use crate::error::Trouble;
use crate::share::{self, Mean, Posting};
use crate::topology::Topology;

/// How long an operation waits for a session while there is none.
const SESSION_WAIT: Duration = Duration::from_secs(1);
/// Messages on the channel that are not confirmed yet: what the server needs to write in large batches, and
/// a bound on memory.
const IN_FLIGHT: usize = 4_096;
/// Messages handed over and not yet on the channel.
const HANDED_OVER: usize = 1_024;
/// While confirms are under way, what comes is gathered for so long: a server writes many messages at the cost of one.
/// The first goes at once.
const GATHER: Duration = Duration::from_millis(1);
/// How long a deleted queue stays away before it is declared again. Where it is back too soon, the server
/// moves its consumers over by itself instead of cancelling them, and they never get a message again (seen
/// with quorum queues on 3.10). Cancelled consumers know that they must begin anew.
const MOURNING: Duration = Duration::from_millis(500);
/// How many messages of a queue are looked back on to tell how many jobs wait in it.
const SHARE_MESSAGES: u16 = 64;
/// How often an idle session looks whether it is still alive.
const CHECK: Duration = Duration::from_millis(500);

/// Something to be done on the publishing connection.
pub(crate) enum Work {
    /// Sends a job, in a message of its own or with others, and waits for its confirm.
    Post(Box<Posting>),
    /// Sends a message and waits for its confirm.
    Publish(Box<Message>),
    /// Declares some of our queues and sums the jobs that wait in them: an estimate where they share messages.
    Count(Vec<ShortString>),
}

/// A message and where it goes.
pub(crate) struct Message {
    /// The queue; through the default exchange, which routes by queue name.
    pub(crate) queue: ShortString,
    /// True for our own queues: declared before, and it is an error if the message doesn't get there.
    pub(crate) ours: bool,
    /// Tells messages apart when the server returns one.
    pub(crate) id: ShortString,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
}

/// The others' end of the publishing connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publisher {
    state: watch::Receiver<State<mpsc::Sender<Command>>>,
}

/// Starts to connect.
pub(crate) fn start(
    server: Arc<Server>,
    topology: Topology,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Publisher {
    let (sender, state) = watch::channel(State::Away(None));
    tasks.spawn(supervise(server, Publishing { topology }, sender, stop));
    Publisher { state }
}

impl Publisher {
    /// Has `work` done, at the latest after `limit`. After an error it may be done or not. Returns the count
    /// where something was counted.
    pub(crate) async fn ask(
        &self,
        operation: &'static str,
        work: Work,
        limit: Duration,
    ) -> Result<u64, PortError> {
        let until = Instant::now() + limit;
        let session = self.session().await.map_err(|trouble| trouble.port(operation))?;
        let asked = async {
            let (answer, answered) = oneshot::channel();
            session.send(Command { work, answer }).await.map_err(|_| Trouble::Away)?;
            answered.await.unwrap_or(Err(Trouble::Away))
        };
        let answered = timeout_at(until, asked).await.unwrap_or(Err(Trouble::NoAnswer(operation)));
        answered.map_err(|trouble| trouble.port(operation))
    }

    async fn session(&self) -> Result<mpsc::Sender<Command>, Trouble> {
        let mut state = self.state.clone();
        let ready = timeout(SESSION_WAIT, state.wait_for(|state| matches!(state, State::Ready(_)))).await;
        if let Ok(Ok(ready)) = ready
            && let State::Ready(session) = &*ready
        {
            return Ok(session.clone());
        }
        match &*self.state.borrow() {
            State::Away(Some(trouble)) => Err(trouble.clone()),
            _ => Err(Trouble::Away),
        }
    }
}

/// Work on its way to the session, and where the answer goes.
pub(crate) struct Command {
    work: Work,
    answer: oneshot::Sender<Result<u64, Trouble>>,
}

struct Publishing {
    topology: Topology,
}

impl Session for Publishing {
    type Handle = mpsc::Sender<Command>;
    const NAME: &'static str = "sortie publish";

    async fn run(
        &mut self,
        link: &Link,
        state: &watch::Sender<State<Self::Handle>>,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let desk = Desk::open(link, &self.topology).await?;
        let ended = desk.serve(state, stop).await;
        link.finish(&desk.channel).await;
        ended
    }
}

/// A message or a question, and who waits for what becomes of it.
struct Load {
    cargo: Cargo,
    answers: Vec<oneshot::Sender<Result<u64, Trouble>>>,
}

enum Cargo {
    Message(Box<Message>),
    Count(Vec<ShortString>),
}

/// Puts the work that has come into loads.
fn loads(commands: Vec<Command>) -> Vec<Load> {
    let (mut loads, mut postings) = (Vec::new(), Vec::new());
    // Where the answer has nowhere to go, who asked has stopped waiting.
    for Command { work, answer } in commands.into_iter().filter(|command| !command.answer.is_closed()) {
        let cargo = match work {
            Work::Post(posting) => {
                postings.push((*posting, answer));
                continue;
            }
            Work::Publish(message) => Cargo::Message(message),
            Work::Count(queues) => Cargo::Count(queues),
        };
        loads.push(Load { cargo, answers: vec![answer] });
    }
    for message in share::pack(postings) {
        let (postings, answers): (Vec<_>, _) = message.into_iter().unzip();
        loads.extend(
            together(&postings).map(|message| Load { cargo: Cargo::Message(Box::new(message)), answers }),
        );
    }
    loads
}

/// The message of some jobs of one queue.
fn together(jobs: &[Posting]) -> Option<Message> {
    let first = jobs.first()?;
    let sheets: Vec<_> = jobs.iter().map(|job| &job.sheet).collect();
    let lifetime = jobs.iter().map(|job| job.lifetime).max()?;
    let properties = BasicProperties::default()
        // Persistent.
        .with_delivery_mode(2)
        .with_content_type(wire::MEDIA_TYPE.into())
        .with_expiration(lifetime.as_millis().to_string().into());
    let body = wire::envelope(&sheets);
    Some(Message { queue: first.queue.clone(), ours: true, id: first.id.clone(), body, properties })
}

/// What one session works with.
struct Desk<'a> {
    link: &'a Link,
    topology: &'a Topology,
    channel: Channel,
    queues: RwLock<HashMap<ShortString, Standing>>,
    /// How many jobs a message of a queue has, where they share.
    shares: std::sync::Mutex<HashMap<ShortString, Mean>>,
    declaring: Mutex<()>,
}

/// What this session knows of a queue.
#[derive(Clone, Copy)]
enum Standing {
    Declared,
    /// A message came back because the queue is gone.
    Lost(Instant),
}

/// A load whose work is done, well or not.
struct Landed {
    id: Option<ShortString>,
    result: Result<Done, Trouble>,
    answers: Vec<oneshot::Sender<Result<u64, Trouble>>>,
}

enum Done {
    Counted(u64),
    Confirmed { taken: bool, returned: Option<Returned> },
}

/// A message that no queue took: not always the one whose confirm it came with.
struct Returned {
    queue: ShortString,
    id: Option<ShortString>,
}

impl<'a> Desk<'a> {
    async fn open(link: &'a Link, topology: &'a Topology) -> Result<Self, Trouble> {
        let channel = link.channel().await?;
        answer("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let (queues, shares, declaring) = (RwLock::default(), std::sync::Mutex::default(), Mutex::default());
        let desk = Self { link, topology, channel, queues, shares, declaring };
        // Where the server puts what it gives up must be there before any queue that names it.
        desk.ensure(&topology.dead()).await?;
        Ok(desk)
    }

    /// Does what it is asked to, until `stop` or the first error.
    async fn serve(
        &self,
        state: &watch::Sender<State<mpsc::Sender<Command>>>,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let (sender, mut commands) = mpsc::channel(HANDED_OVER);
        state.send_replace(State::Ready(sender));
        let mut flights = FuturesUnordered::new();
        let mut returned = HashSet::new();
        let mut check = tokio::time::interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gathered = Instant::now();
        loop {
            let gathering = !flights.is_empty() && Instant::now() < gathered;
            tokio::select! {
                () = tokio::time::sleep_until(gathered), if gathering => {}
                command = commands.recv(), if !gathering && flights.len() < IN_FLIGHT => {
                    gathered = Instant::now() + GATHER;
                    // All that is there goes out in one go.
                    let mut came: Vec<_> = command.into_iter().collect();
                    while flights.len() + came.len() < IN_FLIGHT && let Ok(command) = commands.try_recv() {
                        came.push(command);
                    }
                    flights.extend(loads(came).into_iter().map(|load| self.fly(load)));
                }
                Some(first) = flights.next(), if !flights.is_empty() => {
                    let mut landed = vec![first];
                    // The server tells that it returned a message before it confirms it, but the library
                    // hands the return to whichever confirm comes next. All confirms that are there are
                    // taken together, so that none is believed before its return has been seen.
                    while let Some(Some(next)) = flights.next().now_or_never() {
                        landed.push(next);
                    }
                    self.settle(landed, &mut returned);
                    self.link.check(&self.channel)?;
                }
                _ = check.tick() => self.link.check(&self.channel)?,
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn fly(&self, load: Load) -> Landed {
        let Load { cargo, answers } = load;
        let mut id = None;
        let result = match cargo {
            // The server reads nothing on this connection, and asks to be left alone.
            _ if self.link.blocked() => Err(Trouble::Blocked),
            Cargo::Count(queues) => self.count(&queues).await.map(Done::Counted),
            Cargo::Message(message) => {
                id = Some(message.id.clone());
                if message.ours {
                    let mut shares = self.shares();
                    let mean = shares.entry(message.queue.clone());
                    mean.or_insert_with(|| Mean::over(SHARE_MESSAGES)).add(answers.len());
                }
                self.publish(*message).await
            }
        };
        Landed { id, result, answers }
    }

    /// The jobs that wait in some queues.
    async fn count(&self, queues: &[ShortString]) -> Result<u64, Trouble> {
        let waiting = self.declare(queues).await?;
        let shares = self.shares();
        let jobs = |queue, messages| shares.get(queue).map_or(messages, |mean| mean.jobs(messages));
        Ok(queues.iter().zip(waiting).map(|(queue, messages)| jobs(queue, messages)).sum())
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<ShortString, Mean>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(&self, message: Message) -> Result<Done, Trouble> {
        if message.ours {
            self.ensure(&message.queue).await?;
        }
        let options = BasicPublishOptions { mandatory: message.ours, ..BasicPublishOptions::default() };
        let properties = message.properties.with_message_id(message.id);
        let sent = self.channel.basic_publish("".into(), message.queue, options, &message.body, properties);
        let confirmation = sent.await?.await?;
        let taken = !confirmation.is_nack();
        let returned = confirmation.take_message().map(|message| Returned {
            queue: message.delivery.routing_key.clone(),
            id: message.delivery.properties.message_id().clone(),
        });
        Ok(Done::Confirmed { taken, returned })
    }

    /// Declares a queue once in a session, and again after it was deleted.
    async fn ensure(&self, queue: &ShortString) -> Result<(), Trouble> {
        match self.standing(queue) {
            Some(Standing::Declared) => return Ok(()),
            Some(Standing::Lost(since)) => tokio::time::sleep_until(since + MOURNING).await,
            None => {}
        }
        // A thousand jobs for a new lane make one declaration.
        let _turn = self.declaring.lock().await;
        if !matches!(self.standing(queue), Some(Standing::Declared)) {
            self.declare(std::slice::from_ref(queue)).await?;
            self.stands(queue, Standing::Declared);
        }
        Ok(())
    }

    fn standing(&self, queue: &ShortString) -> Option<Standing> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).get(queue).copied()
    }

    fn stands(&self, queue: &ShortString, standing: Standing) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).insert(queue.clone(), standing);
    }

    /// Declares queues on a channel of its own: the server closes the channel of a declaration that it
    /// refuses, and the others' messages must not go with it.
    /// Returns how many messages wait in each.
    async fn declare(&self, queues: &[ShortString]) -> Result<Vec<u64>, Trouble> {
        let channel = self.link.channel().await?;
        let mut waiting = Vec::with_capacity(queues.len());
        for queue in queues {
            waiting.push(answer("queue.declare", self.topology.declare(&channel, queue)).await?);
        }
        answer("channel.close", channel.close(200, "OK".into())).await?;
        Ok(waiting)
    }

    fn settle(&self, landed: Vec<Landed>, returned: &mut HashSet<ShortString>) {
        for flight in &landed {
            if let Ok(Done::Confirmed { returned: Some(message), .. }) = &flight.result {
                self.stands(&message.queue, Standing::Lost(Instant::now()));
                returned.extend(message.id.clone());
            }
        }
        for flight in landed {
            let result = match flight.result {
                Ok(Done::Counted(count)) => Ok(count),
                Ok(Done::Confirmed { .. }) if flight.id.is_some_and(|id| returned.remove(&id)) => {
                    Err(Trouble::Returned)
                }
                Ok(Done::Confirmed { taken: false, .. }) => Err(Trouble::Refused),
                Ok(Done::Confirmed { .. }) => Ok(0),
                Err(trouble) => Err(trouble),
            };
            for answer in flight.answers {
                // Who asked may have stopped waiting.
                let _ = answer.send(result.clone());
            }
        }
    }
}
