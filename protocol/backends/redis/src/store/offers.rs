//! Offers: a worker with nothing to do hears of a job when it is recorded, and need not wait until the queue has it on the disk.
//!
//! A worker writes its name into a set for each of its lanes; who records a job takes one out and publishes the job to that
//! worker. Nothing depends on it: what is lost is brought by the queue. What is told is believed no more than a message of the
//! queue, and less in one thing: `claim_offered` starts only what is recorded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use protocol::id::{Lane, WorkerId};
use protocol::job::JobSpec;
use protocol::ports::{Offers, PortError};
use redis::Script;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{RedisStore, record};
use crate::connection::{Connection, evaluate};
use crate::fields::json;
use crate::keys::Keys;
use crate::news::{Heard, listen};

/// Where nobody had time for an offer, none is made for so long: who has much to do needs no hints.
const REST: Duration = Duration::from_millis(5);
/// An offer that was not taken for so long is old: the queue has brought the job.
const FRESH: Duration = Duration::from_millis(20);
/// The longest text of a job that is offered: what is larger takes its time anyway.
const BYTES: usize = 64 * 1024;
/// Offers that are kept for a worker that isn't waiting.
const KEPT: usize = 8;
/// The pause after the server could not be told that the worker has nothing to do.
const PAUSE: Duration = Duration::from_secs(1);
/// The workers of a lane are forgotten when none of them has had nothing to do for so long, in seconds.
const FORGOTTEN: u32 = 3_600;

/// Makes offers.
pub(super) struct Offering {
    script: Script,
    rests_since: Mutex<Option<Instant>>,
}

impl Offering {
    pub(super) fn new() -> Self {
        Self { script: Script::new(include_str!("../../scripts/offer.lua")), rests_since: Mutex::default() }
    }
}

impl RedisStore {
    pub(super) async fn offer_job(&self, job: &JobSpec) -> Result<bool, PortError> {
        let rests = || self.offering.rests_since.lock().unwrap_or_else(PoisonError::into_inner);
        if rests().is_some_and(|since| since.elapsed() < REST) {
            return Ok(false);
        }
        let text = json(job);
        if text.len() > BYTES {
            return Ok(false);
        }
        let script = &self.offering.script;
        let mut call = evaluate(script, 1);
        call.arg(self.keys.idle(&job.lane)).arg(text).arg(self.keys.offers());
        let told: u32 = self.connection.script("store.offer", script, &call).await?;
        *rests() = (told == 0).then(Instant::now);
        Ok(told > 0)
    }

    pub(super) fn offers_to(&self, worker: &WorkerId, lanes: &[Lane]) -> RedisOffers {
        let (tell, told) = mpsc::channel(KEPT);
        let served = lanes.to_vec();
        // Anyone with rights on the channel may write there.
        let job = move |payload: &[u8]| {
            let text = std::str::from_utf8(payload).ok().filter(|text| text.len() <= BYTES)?;
            let job = record::spec(text).ok().filter(|job| served.contains(&job.lane))?;
            Some(Told::Job(Box::new(job), Instant::now()))
        };
        let hear = move |heard: Heard<'_>| {
            let told = match heard {
                Heard::Subscribed => Told::Again,
                Heard::Message(payload) => job(payload).unwrap_or(Told::Again),
                Heard::Lost => return,
            };
            // One that finds no room is lost.
            let _ = tell.try_send(told);
        };
        let channel = format!("{}{worker}", self.keys.offers());
        let listening = tokio::spawn(listen(self.news.client(), channel, hear));
        RedisOffers {
            connection: self.connection.clone(),
            keys: self.keys.clone(),
            worker: worker.clone(),
            lanes: lanes.to_vec(),
            told,
            counts: false,
            _listening: AbortOnDropHandle::new(listening),
        }
    }
}

enum Told {
    /// The subscription is there, or an offer can't be taken: somebody took the worker out meanwhile.
    Again,
    Job(Box<JobSpec>, Instant),
}

/// What is offered to a worker.
pub(super) struct RedisOffers {
    connection: Arc<Connection>,
    keys: Keys,
    worker: WorkerId,
    lanes: Vec<Lane>,
    told: mpsc::Receiver<Told>,
    /// Whether the worker counts as one with nothing to do.
    counts: bool,
    _listening: AbortOnDropHandle<()>,
}

impl RedisOffers {
    async fn count(&mut self) {
        let mut commands = redis::pipe();
        for lane in &self.lanes {
            let idle = self.keys.idle(lane);
            commands.cmd("SADD").arg(&idle).arg(self.worker.as_str());
            commands.cmd("EXPIRE").arg(idle).arg(FORGOTTEN);
        }
        self.counts = self.connection.run_all("store.offers", &commands).await.is_ok();
        if !self.counts {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[async_trait]
impl Offers for RedisOffers {
    async fn next(&mut self) -> JobSpec {
        loop {
            if !self.counts {
                self.count().await;
            }
            match self.told.recv().await {
                Some(Told::Job(job, since)) => {
                    self.counts = false;
                    if since.elapsed() < FRESH {
                        return *job;
                    }
                }
                Some(Told::Again) => self.counts = false,
                // Its sender lives as long as this.
                None => std::future::pending().await,
            }
        }
    }
}
