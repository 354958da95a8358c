//! Bounds the memory of a call: all of its processes together. Each process by itself is bounded by the kernel
//! (`RLIMIT_DATA`, set by the runner). The group is bounded by the kernel too where there are control groups; where
//! there are none, we look.

use std::sync::Arc;
use std::time::Duration;

use sandbox::{Group, memory_below};
use tokio::task::spawn_blocking;

use super::master::TMP_BYTES;
use super::slot::Bounds;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(100);
const MIB: u64 = 1024 * 1024;
/// What an interpreter with its libraries has anyway: a smaller `memory_mb` is taken as this. The floor of a process by
/// itself is another one, a little above what it has when it starts (`MEMORY_FLOOR` in sortie_runner/child.py).
const FLOOR_MB: u64 = 64;
/// What a control group counts beyond the memory of the call: the template, and files in the private directories.
const BESIDE: u64 = 32 * MIB + 2 * TMP_BYTES;

/// The watch over one call.
pub(super) struct Watch {
    bounds: Arc<Bounds>,
    limit: u64,
    killed_before: u64,
}

impl Watch {
    /// Bounds the next call of a slot to `memory_mb`.
    pub(super) fn begin(bounds: Arc<Bounds>, memory_mb: u32) -> Self {
        let limit = u64::from(memory_mb).max(FLOOR_MB) * MIB;
        if let Some(Err(error)) = bounds.group.as_ref().map(|group| group.limit_memory(limit + BESIDE)) {
            tracing::error!(%error, "the memory of a slot can't be bounded by its control group");
        }
        let killed_before = kills(&bounds);
        Self { bounds, limit, killed_before }
    }

    /// True if the kernel has killed a process of the call for want of memory.
    pub(super) fn has_killed(&self) -> bool {
        kills(&self.bounds) > self.killed_before
    }

    /// Returns when the call has more than it may, or the kernel has killed a process of it.
    pub(super) async fn outgrown(&self) {
        let Some(root) = self.bounds.root else { return std::future::pending().await };
        loop {
            tokio::time::sleep(PERIOD).await;
            let limit = self.limit;
            // Handlers can make it slow.
            let used = spawn_blocking(move || memory_below(root, limit)).await;
            if self.has_killed() || used.is_ok_and(|used| used > limit) {
                return;
            }
        }
    }
}

fn kills(bounds: &Bounds) -> u64 {
    bounds.group.as_ref().map(Group::kills).unwrap_or_default()
}
