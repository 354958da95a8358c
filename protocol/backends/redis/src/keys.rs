//! Every key and channel that we use, in one place. README.md has the table.
//!
//! What stands in braces decides the slot of a cluster: a job, its events and the indexes of its shard share
//! one, so that one script can change them together; likewise all actions of a tenant, and all API keys.

use std::fmt;

use protocol::id::{ActionName, ContentHash, JobId, Lane, TenantId};
use redis::{Cmd, RedisWrite};
use sha2::{Digest, Sha256};

/// Groups that jobs are spread over. Changing it loses every job that is stored.
pub(crate) const SHARDS: u8 = 16;

/// What the index of ends adds to the end of a retention, in milliseconds: more than any deadline. So one entry, which
/// moves, is all that a job has there.
pub(crate) const KEPT: i64 = 1_000_000_000_000_000;

/// The sorted sets of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Index {
    /// Jobs to be published, by the time of their mark.
    Outbox,
    /// Scheduled jobs, by their next start.
    Due,
    /// `tenant:job` of all jobs, by their deadline; of those that are over, by [`KEPT`] and the end of their retention.
    Ends,
    /// Running jobs, by the end of their lease.
    Leases,
    /// Finished jobs whose answer is to be sent, by when that was last taken on (0: never).
    Replies,
    /// `tenant:job` of all jobs, by name: ids sort by time.
    Jobs,
    /// `tenant:job` of dead letters, by name.
    Dead,
}

impl Index {
    const fn name(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Due => "due",
            Self::Ends => "ends",
            Self::Leases => "leases",
            Self::Replies => "replies",
            Self::Jobs => "jobs",
            Self::Dead => "dead",
        }
    }
}

/// A key that a job script may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobKey {
    /// The record of the job: a hash.
    Job,
    /// The events of the job: a list.
    Events,
    /// An index of the job's shard.
    Index(Index),
}

impl JobKey {
    /// All of them, by the names that they have in scripts.
    pub(crate) const ALL: [(&str, Self); 9] = [
        ("JOB", Self::Job),
        ("EVENTS", Self::Events),
        ("OUTBOX", Self::Index(Index::Outbox)),
        ("DUE", Self::Index(Index::Due)),
        ("ENDS", Self::Index(Index::Ends)),
        ("LEASES", Self::Index(Index::Leases)),
        ("REPLIES", Self::Index(Index::Replies)),
        ("JOBS", Self::Index(Index::Jobs)),
        ("DEAD", Self::Index(Index::Dead)),
    ];
}

/// Makes keys. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The record of a job: a hash.
    pub(crate) fn job(&self, job: JobId) -> String {
        self.of_job(job, JobKey::Job).to_string()
    }

    /// The events of a job: a list.
    pub(crate) fn events(&self, job: JobId) -> String {
        self.of_job(job, JobKey::Events).to_string()
    }

    /// An index of a shard: a sorted set.
    pub(crate) fn index(&self, shard: u8, index: Index) -> String {
        format!("{}:{{{shard:02}}}:{}", self.prefix, index.name())
    }

    /// Adds a key of a job script to the script's call.
    pub(crate) fn add(&self, call: &mut Cmd, job: JobId, key: JobKey) {
        call.write_arg_fmt(self.of_job(job, key));
    }

    /// A key that a job script may name, to be written where it is needed.
    fn of_job(&self, job: JobId, key: JobKey) -> impl fmt::Display {
        let (prefix, shard) = (&self.prefix, job.shard(SHARDS));
        fmt::from_fn(move |f| match key {
            JobKey::Job => write!(f, "{prefix}:{{{shard:02}}}:job:{job}"),
            JobKey::Events => write!(f, "{prefix}:{{{shard:02}}}:events:{job}"),
            JobKey::Index(index) => write!(f, "{prefix}:{{{shard:02}}}:{}", index.name()),
        })
    }

    /// Which job an idempotency key stands for. The key is hashed: its owner may write anything into it.
    pub(crate) fn idempotency(&self, tenant: &TenantId, key: &str) -> String {
        let hash: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:idem:{tenant}:{hash}", self.prefix)
    }

    /// The channel that wakes who watches a job.
    pub(crate) fn wake(&self) -> String {
        format!("{}:wake", self.prefix)
    }

    /// The channel that tells workers to look whether they must stop.
    pub(crate) fn cancel(&self) -> String {
        format!("{}:cancel", self.prefix)
    }

    /// The channel that tells that an action or an API key has changed.
    pub(crate) fn changed(&self) -> String {
        format!("{}:changed", self.prefix)
    }

    /// The workers of a lane that have nothing to do: a set of their names.
    pub(crate) fn idle(&self, lane: &Lane) -> String {
        format!("{}:idle:{lane}", self.prefix)
    }

    /// What stands before a worker's name in the channel of what is offered to it.
    pub(crate) fn offers(&self) -> String {
        format!("{}:offer:", self.prefix)
    }

    /// What `ping` writes.
    pub(crate) fn ping(&self) -> String {
        format!("{}:ping", self.prefix)
    }

    /// An action: a hash that outlives its deletion, so that no version number is given twice.
    pub(crate) fn action(&self, tenant: &TenantId, name: &ActionName) -> String {
        format!("{}:{{t:{tenant}}}:action:{name}", self.prefix)
    }

    /// The versions of an action: a hash by number.
    pub(crate) fn versions(&self, tenant: &TenantId, name: &ActionName) -> String {
        format!("{}:{{t:{tenant}}}:versions:{name}", self.prefix)
    }

    /// The names of a tenant's actions: a sorted set by name.
    pub(crate) fn names(&self, tenant: &TenantId) -> String {
        format!("{}:{{t:{tenant}}}:names", self.prefix)
    }

    /// The content of a version or draft: JSON.
    pub(crate) fn content(&self, tenant: &TenantId, hash: &ContentHash) -> String {
        format!("{}:{{t:{tenant}}}:content:{hash}", self.prefix)
    }

    /// The sealed secrets of a tenant: a hash by name.
    pub(crate) fn secrets(&self, tenant: &TenantId) -> String {
        format!("{}:{{t:{tenant}}}:secrets", self.prefix)
    }

    /// An API key by the hash of its secret: a hash.
    pub(crate) fn key(&self, hash: &str) -> String {
        format!("{}:{{keys}}:key:{hash}", self.prefix)
    }

    /// The hash of every API key's secret, by the key's id: a hash.
    pub(crate) fn key_ids(&self) -> String {
        format!("{}:{{keys}}:ids", self.prefix)
    }

    /// The ids of a tenant's API keys: a sorted set by id.
    pub(crate) fn keys_of(&self, tenant: &TenantId) -> String {
        format!("{}:{{keys}}:of:{tenant}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_job_share_one_slot() {
        let job = JobId::generate();
        let tag = format!("{{{:02}}}", job.shard(SHARDS));
        let (keys, mut call) = (Keys::new("sortie"), Cmd::new());
        for (_, key) in JobKey::ALL {
            keys.add(&mut call, job, key);
        }
        let keys = call.args_iter().map(|arg| match arg {
            redis::Arg::Simple(key) => std::str::from_utf8(key).unwrap(),
            _ => panic!("a key is a text"),
        });
        let keys: std::collections::BTreeSet<_> = keys.collect();
        assert_eq!(keys.len(), 9);
        assert!(keys.iter().all(|key| key.starts_with(&format!("sortie:{tag}:"))), "{keys:?}");
    }

    #[test]
    fn an_idempotency_key_cannot_name_another_key() {
        let key = Keys::new("s").idempotency(&TenantId::standard(), "{07}:x\n");
        assert_eq!(key.len(), "s:idem:default:".len() + 64);
    }
}
