//! What any dispatcher does for all jobs, several times a second: publish what wasn't, start what is due, end
//! what is lost or late, answer, tidy up.
//!
//! A sweep asks every shard for the head of one index and the server for its time, in one round trip; where
//! nothing is ripe that is all. Each ripe job is then taken by a script of its own, so no two dispatchers
//! take the same.

use std::time::Duration;

use futures_util::future::try_join_all;
use protocol::id::JobId;
use protocol::job::{Job, JobSpec};
use protocol::ports::PortError;
use redis::Pipeline;

use super::scripts::JobScript;
use super::{RedisStore, millis, record};
use crate::error::Unreadable;
use crate::fields::{Fields, read, rows};
use crate::keys::{Index, KEPT, SHARDS};

/// How often a sweep looks again where others were faster. An end to it: some entries stay, a job for instance
/// that is due and past its deadline until that is swept.
const ROUNDS: usize = 16;

/// Which entries of which index, for which operation.
#[derive(Clone, Copy)]
struct Sweep {
    operation: &'static str,
    index: Index,
    /// What comes before an entry's time: only entries from here on are meant.
    base: i64,
    /// How long ago an entry's time must be.
    age: Duration,
    limit: usize,
}

impl Sweep {
    const fn of(operation: &'static str, index: Index, age: Duration, limit: usize) -> Self {
        Self { operation, index, base: 0, age, limit }
    }
}

/// An entry of an index.
struct Entry {
    shard: u8,
    member: String,
    job: JobId,
}

impl RedisStore {
    pub(super) async fn sweep_outbox(&self, age: Duration, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        let sweep = Sweep::of("store.outbox", Index::Outbox, age, limit);
        self.take(sweep, &self.scripts.outbox, |_| vec![millis(age)]).await
    }

    pub(super) async fn sweep_due(&self, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        let sweep = Sweep::of("store.due", Index::Due, Duration::ZERO, limit);
        self.take(sweep, &self.scripts.due, |_| Vec::new()).await
    }

    pub(super) async fn sweep_leases(&self, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        let sweep = Sweep::of("store.reap", Index::Leases, Duration::ZERO, limit);
        self.take(sweep, &self.scripts.reap, |spec| vec![record::expired(spec)]).await
    }

    pub(super) async fn sweep_deadlines(&self, limit: usize) -> Result<usize, PortError> {
        let sweep = Sweep::of("store.expire", Index::Ends, Duration::ZERO, limit);
        let taken = self.take(sweep, &self.scripts.expire, |spec| {
            vec![record::expired(spec), format!("{}:{}", spec.tenant, spec.id)]
        });
        let taken = taken.await?;
        Ok(taken.len())
    }

    pub(super) async fn sweep_replies(&self, age: Duration, limit: usize) -> Result<Vec<Job>, PortError> {
        let sweep = Sweep::of("store.replies", Index::Replies, age, limit);
        let age = &millis(age);
        self.fill(sweep, |entry| async move {
            let answer = self.calls.run(sweep.operation, &self.scripts.reply, entry.job, &[age]).await?;
            if answer.word() != "taken" {
                return Ok(None);
            }
            match record::job(&Fields::of_answer(answer.words)) {
                Ok(job) => Ok(Some(job)),
                Err(error) => self.put_aside(sweep, entry.shard, &entry.member, &error).await.map(|()| None),
            }
        })
        .await
    }

    pub(super) async fn sweep_finished(&self, limit: usize) -> Result<usize, PortError> {
        let sweep = Sweep { base: KEPT, ..Sweep::of("store.remove_old", Index::Ends, Duration::ZERO, limit) };
        let removed = self.fill(sweep, |entry| async move {
            let answer =
                self.calls.run(sweep.operation, &self.scripts.remove, entry.job, &[&entry.member]).await?;
            Ok((answer.word() == "taken").then_some(()))
        });
        Ok(removed.await?.len())
    }

    /// Takes a job whose answer was sent from those to be answered.
    pub(super) async fn forget_reply(&self, job: JobId) -> Result<(), PortError> {
        let mut remove = redis::cmd("ZREM");
        remove.arg(self.keys.index(job.shard(SHARDS), Index::Replies)).arg(job.to_string());
        self.connection.run("store.replied", &remove).await
    }

    /// Runs the script on ripe jobs, and gives the jobs that it took.
    async fn take(
        &self,
        sweep: Sweep,
        script: &JobScript,
        arguments: impl Fn(&JobSpec) -> Vec<String>,
    ) -> Result<Vec<JobSpec>, PortError> {
        let arguments = &arguments;
        self.fill(sweep, |entry| async move {
            let Some(spec) = self.spec(sweep, &entry).await? else { return Ok(None) };
            let arguments = arguments(&spec);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let answer = self.calls.run(sweep.operation, script, spec.id, &arguments).await?;
            Ok((answer.word() == "taken").then_some(spec))
        })
        .await
    }

    /// Takes ripe entries, many at once, until there are `limit` or no more: others sweep too, and may take
    /// what we have just seen.
    async fn fill<T, F>(&self, sweep: Sweep, take: impl Fn(Entry) -> F) -> Result<Vec<T>, PortError>
    where
        F: Future<Output = Result<Option<T>, PortError>>,
    {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            let rest = Sweep { limit: sweep.limit - taken.len(), ..sweep };
            let entries = self.ripe(rest).await?;
            let last = entries.len() < rest.limit;
            taken.extend(try_join_all(entries.into_iter().map(&take)).await?.into_iter().flatten());
            if last || taken.len() == sweep.limit {
                break;
            }
        }
        Ok(taken)
    }

    /// The spec of an entry's job; `None` where the record is gone or can't be read.
    async fn spec(&self, sweep: Sweep, entry: &Entry) -> Result<Option<JobSpec>, PortError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys.job(entry.job)).arg("spec");
        let text: Option<String> = self.connection.run(sweep.operation, &get).await?;
        let error = match record::spec(text.as_deref().unwrap_or_default()) {
            Ok(spec) if spec.id == entry.job => return Ok(Some(spec)),
            Ok(_) => Unreadable::at("the job's own id"),
            Err(error) => error,
        };
        self.put_aside(sweep, entry.shard, &entry.member, &error).await?;
        Ok(None)
    }

    /// The entries whose time has come by the server's clock, oldest first.
    async fn ripe(&self, sweep: Sweep) -> Result<Vec<Entry>, PortError> {
        if sweep.limit == 0 {
            return Ok(Vec::new());
        }
        let mut heads = redis::pipe();
        heads.cmd("TIME");
        for shard in 0..SHARDS {
            heads.cmd("ZRANGE").arg(self.keys.index(shard, sweep.index)).arg(sweep.base).arg("+inf");
            heads.arg("BYSCORE").arg("LIMIT").arg(0).arg(1).arg("WITHSCORES");
        }
        let mut answers = self.connection.run_all(sweep.operation, &heads).await?.into_iter();
        let (seconds, micros): (i64, i64) = read(sweep.operation, answers.next())?;
        let age = i64::try_from(sweep.age.as_millis()).unwrap_or(i64::MAX);
        let latest = sweep.base.saturating_add((seconds * 1_000 + micros / 1_000).saturating_sub(age));

        let (mut shards, mut commands) = (Vec::new(), Pipeline::new());
        for (shard, head) in (0..SHARDS).zip(answers) {
            let head: Vec<(String, f64)> = read(sweep.operation, Some(head))?;
            // Instants in milliseconds fit a double exactly.
            #[expect(clippy::cast_precision_loss, reason = "instants have 41 bits, and the base 50")]
            if head.first().is_some_and(|(_, score)| *score <= latest as f64) {
                shards.push(shard);
                commands.cmd("ZRANGE").arg(self.keys.index(shard, sweep.index)).arg(sweep.base).arg(latest);
                commands.arg("BYSCORE").arg("LIMIT").arg(0).arg(rows(sweep.limit)).arg("WITHSCORES");
            }
        }
        let mut ripe = Vec::new();
        for (shard, answer) in
            shards.into_iter().zip(self.connection.run_all(sweep.operation, &commands).await?)
        {
            let members: Vec<(String, f64)> = read(sweep.operation, Some(answer))?;
            ripe.extend(members.into_iter().map(|(member, score)| (score, shard, member)));
        }
        ripe.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        ripe.truncate(sweep.limit);
        self.entries(sweep, ripe).await
    }

    /// The entries that name a job of their shard.
    async fn entries(&self, sweep: Sweep, ripe: Vec<(f64, u8, String)>) -> Result<Vec<Entry>, PortError> {
        let mut entries = Vec::with_capacity(ripe.len());
        for (_, shard, member) in ripe {
            // A job's id, or `tenant:job`.
            match member.rsplit(':').next().and_then(|job| job.parse::<JobId>().ok()) {
                Some(job) if job.shard(SHARDS) == shard => entries.push(Entry { shard, member, job }),
                _ => self.put_aside(sweep, shard, &member, &Unreadable::at("an index's entry")).await?,
            }
        }
        Ok(entries)
    }

    /// Takes out of the index what can't be read, so that it doesn't stand in the way of every later sweep.
    async fn put_aside(
        &self,
        sweep: Sweep,
        shard: u8,
        member: &str,
        error: &Unreadable,
    ) -> Result<(), PortError> {
        tracing::error!(entry = member, operation = sweep.operation, %error, "put aside");
        let mut remove = redis::cmd("ZREM");
        remove.arg(self.keys.index(shard, sweep.index)).arg(member);
        self.connection.run(sweep.operation, &remove).await
    }
}
