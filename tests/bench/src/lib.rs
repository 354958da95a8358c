//! What the benchmarks share: jobs, processes as the kernel accounts for them, and figures made of many measurements.

pub mod process;
pub mod stats;

use std::time::Duration;

use protocol::id::{ActionName, ContentHash, JobId, Lane, TenantId};
use protocol::job::{JobSpec, Priority};
use protocol::time::Timestamp;
use serde_json::Value;

/// An ordinary job of an action's first version, with an hour to its deadline.
pub fn job(action: &str, content_hash: ContentHash, input: Value) -> anyhow::Result<JobSpec> {
    let now = Timestamp::now();
    Ok(JobSpec {
        id: JobId::generate(),
        tenant: TenantId::standard(),
        action: ActionName::new(action)?,
        version: Some(1),
        content_hash,
        input: input.into(),
        lane: Lane::standard(),
        priority: Priority::Normal,
        created_at: now,
        run_at: None,
        deadline: now.plus(Duration::from_secs(3_600)),
        timeout_ms: 5_000,
        retry: Default::default(),
        labels: Default::default(),
        traceparent: None,
        reply: None,
        key: None,
    })
}
