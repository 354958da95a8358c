//! News from other processes: a subscription each for "this job changed" and for "someone asked to cancel
//! this job", made on the first watch. Their connections are their own, and are made anew for ever.
//!
//! A message about a job carries the job's id, with ` end` behind it if the job is over, and behind that, if it ran to
//! its end, the key of its version and how many microseconds it took. Further lines are what the record of a job that is over
//! has (`record::TOLD`), mostly all that its waiters want to know. What was missed while a subscription was away
//! doesn't matter: once it is back, everybody is woken and reads again.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use protocol::hub::{Hub, News, Watch};
use protocol::id::JobId;
use protocol::pace::{PaceKey, Paces};
use redis::{Client, RedisResult};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::keys::Keys;

/// The longest that connecting and subscribing may take, and the answer to a ping.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest part of a record that is kept for those who wait, in bytes: more than scripts tell.
const RECORD: usize = 4 * 1024;

/// How long a subscription may be silent before we ask whether it is still there.
const QUIET: Duration = Duration::from_secs(5);

/// The pause after the first failure to subscribe, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Who waits for news in this process. Its tasks end when it is dropped.
pub(crate) struct Wakeups {
    client: Client,
    runtime: Handle,
    changes: Channel,
    cancels: Channel,
    paces: Paces,
}

struct Channel {
    name: String,
    hub: Hub,
    listener: OnceLock<AbortOnDropHandle<()>>,
}

impl Wakeups {
    /// Must be called inside a Tokio runtime.
    pub(crate) fn new(client: Client, keys: &Keys) -> Self {
        let channel = |name| Channel { name, hub: Hub::default(), listener: OnceLock::new() };
        Self {
            client,
            runtime: Handle::current(),
            changes: channel(keys.wake()),
            cancels: channel(keys.cancel()),
            paces: Paces::default(),
        }
    }

    /// What subscriptions are made of.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// A watch that wakes when the job changes.
    pub(crate) fn watch(&self, job: JobId) -> Watch {
        self.on(&self.changes, job)
    }

    /// How long calls of a version take.
    pub(crate) fn pace(&self, version: PaceKey) -> Option<Duration> {
        self.hear(&self.changes);
        self.paces.of(version)
    }

    /// A watch that wakes when someone asks to cancel the job.
    pub(crate) fn watch_cancel(&self, job: JobId) -> Watch {
        self.on(&self.cancels, job)
    }

    /// What was told of the end of a job that is watched here.
    pub(crate) fn told(&self, job: JobId) -> Option<Arc<str>> {
        self.changes.hub.told(job)
    }

    fn on(&self, channel: &Channel, job: JobId) -> Watch {
        // Before the subscription: its first act is to wake everybody.
        let watch = channel.hub.watch(job);
        self.hear(channel);
        watch
    }

    fn hear(&self, channel: &Channel) {
        channel.listener.get_or_init(|| {
            let (hub, paces) = (channel.hub.clone(), self.paces.clone());
            let hear = move |heard: Heard<'_>| match heard {
                Heard::Subscribed => hub.wake_all(),
                // Anyone with rights on the channel may write there.
                Heard::Message(payload) => {
                    if let Some(Told { job, news, pace, record }) = read(payload) {
                        if let Some((version, took)) = pace {
                            paces.note(version, took);
                        }
                        match record {
                            Some(record) => hub.wake_for_end(job, record),
                            None => hub.wake(job, news),
                        }
                    }
                }
                Heard::Lost => {}
            };
            let listening = listen(self.client.clone(), channel.name.clone(), hear);
            AbortOnDropHandle::new(self.runtime.spawn(listening))
        });
    }
}

/// What a subscription tells.
pub(crate) enum Heard<'a> {
    /// It is there: from now on everything is heard, and before it something may have been missed.
    Subscribed,
    /// Somebody published this.
    Message(&'a [u8]),
    /// It is gone.
    Lost,
}

/// Subscribes to a channel for ever.
pub(crate) async fn listen(client: Client, channel: String, hear: impl Fn(Heard<'_>)) {
    let (first, longest) = PAUSES;
    let mut pause = first;
    loop {
        let mut subscribed = false;
        let ended = session(&client, &channel, &hear, &mut subscribed).await;
        hear(Heard::Lost);
        if subscribed {
            pause = first;
            warn!(channel, "the subscription for wake-ups was lost and is made anew: {ended}");
        } else {
            debug!(channel, "the subscription for wake-ups can't be made yet: {ended}");
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(longest);
    }
}

/// Makes one subscription and hands on its messages. Returns why it ended.
async fn session(client: &Client, channel: &str, hear: &impl Fn(Heard<'_>), subscribed: &mut bool) -> String {
    let subscribing = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        RedisResult::Ok(subscription.split())
    };
    let (mut asking, mut messages) = match timeout(PATIENCE, subscribing).await {
        Ok(Ok(subscription)) => subscription,
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return "no answer in time".into(),
    };
    *subscribed = true;
    hear(Heard::Subscribed);
    loop {
        match timeout(QUIET, messages.next()).await {
            Ok(Some(message)) => hear(Heard::Message(message.get_payload_bytes())),
            Ok(None) => return "the connection ended".into(),
            Err(_) => match timeout(PATIENCE, asking.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "the server fell silent".into(),
            },
        }
    }
}

/// What the message of an end says behind `end`.
pub(crate) fn pace(version: PaceKey, took: Duration) -> String {
    format!(" {version} {}", took.as_micros())
}

/// What a message says.
struct Told<'a> {
    job: JobId,
    news: News,
    pace: Option<(PaceKey, Duration)>,
    record: Option<&'a str>,
}

fn read(payload: &[u8]) -> Option<Told<'_>> {
    let text = std::str::from_utf8(payload).ok()?;
    let (line, record) = text.split_once('\n').map_or((text, None), |(line, record)| (line, Some(record)));
    let mut words = line.split(' ');
    let job = words.next()?.parse().ok()?;
    let news = if words.next() == Some("end") { News::End } else { News::Change };
    let pace = words.next().zip(words.next()).and_then(|(version, micros)| {
        Some((version.parse().ok()?, Duration::from_micros(micros.parse().ok()?)))
    });
    let record = record.filter(|record| news == News::End && record.len() <= RECORD);
    Some(Told { job, news, pace, record })
}

/// Between half of `pause` and all of it, so that clients of a server that comes back don't come all at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1_000;
    pause.mul_f64(0.5 + 0.5 * f64::from(u32::try_from(random).unwrap_or(0)) / 1_000.0)
}
