//! The dispatcher's settings, with their defaults.

use std::sync::Arc;
use std::time::Duration;

use protocol::id::TenantId;
use protocol::limits;
use protocol::seal::MasterKeys;
use protocol::secret::Secret;

/// What can be set. All dispatchers of an installation should have the same.
#[derive(Debug, Clone)]
pub struct Options {
    /// The operator's key, kept outside the registry. Without one, only registered keys work.
    pub admin_key: Option<Secret>,
    /// The tenant that the admin key acts for.
    pub admin_tenant: TenantId,
    /// What secrets are sealed with. Without, none can be set.
    pub master_keys: Option<Arc<MasterKeys>>,
    /// The longest deadline of a job, counted from its start time.
    pub deadline_ceiling: Duration,
    /// The longest wait of one long poll; who asks for more waits this long.
    pub wait_ceiling: Duration,
    /// How often an idle event stream shows that it is alive.
    pub keep_alive: Duration,
    /// Requests of the inbox that are worked on at the same time.
    pub inbox_ceiling: usize,
    /// How long lapsed leases are left alone at the start, and after the store was away or this process slept: their
    /// holders could not renew them either. Long enough for each of them to do so once.
    pub mercy: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            admin_key: None,
            admin_tenant: TenantId::standard(),
            master_keys: None,
            deadline_ceiling: limits::DEADLINE_CEILING,
            wait_ceiling: limits::WAIT_CEILING,
            keep_alive: Duration::from_secs(15),
            inbox_ceiling: 64,
            mercy: Duration::from_millis(500),
        }
    }
}
