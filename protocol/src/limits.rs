//! Every limit that a user can feel, with its name and default. Past a limit there is a clear error or a
//! marked cut, never silence.

use std::time::Duration;

/// A job's input, in bytes of JSON.
pub const INPUT_BYTES: usize = 256 * 1024;
/// A request's body over HTTP or AMQP, in bytes: the largest input and what surrounds it.
pub const BODY_BYTES: usize = INPUT_BYTES + 64 * 1024;
/// Jobs in one batch.
pub const BATCH: usize = 1_000;
/// The body of a batch, in bytes.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Results in the answer to a batch, in bytes together; those that find no room are left out, and marked.
pub const BATCH_RESULT_BYTES: usize = 16 * 1024 * 1024;
/// An action's content (source, schemas), in bytes of JSON.
pub const CONTENT_BYTES: usize = 1024 * 1024;
/// A job's result, in bytes of JSON.
pub const RESULT_BYTES: usize = 1024 * 1024;
/// One chunk of a stream, in bytes of JSON.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// What an attempt may log, in bytes; what comes after is cut and marked.
pub const LOG_BYTES: usize = 64 * 1024;
/// Chunk, log and progress events of one attempt.
pub const EVENTS: u64 = 10_000;
/// Events that one attempt tells in a second; a second's worth may come at once, and a faster handler waits.
pub const EVENTS_PER_SECOND: u32 = 5_000;
/// A stored error's message, in bytes.
pub const ERROR_BYTES: usize = 8 * 1024;

/// Bytes of a secret's value. Shorter ones can't be cut out of logs: they would be found everywhere.
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 8..=16 * 1024;
/// Secrets that one version may name.
pub const SECRETS: usize = 16;
/// Secrets of a tenant.
pub const TENANT_SECRETS: usize = 1_000;

/// Timeout of an attempt where the version says nothing.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest timeout of an attempt. Below the broker's default delivery acknowledgement timeout (30 min).
pub const TIMEOUT_CEILING: Duration = Duration::from_secs(15 * 60);
/// Deadline of a job where neither request nor version says anything.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Longest deadline of a job, counted from its start time.
pub const DEADLINE_CEILING: Duration = Duration::from_secs(24 * 60 * 60);
/// How far ahead `run_at` may lie.
pub const RUN_AT_CEILING: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a finished job can be read, and an idempotency key is remembered.
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait of one long poll.
pub const WAIT_CEILING: Duration = Duration::from_secs(60);

/// Labels of a job, and the bytes of each name and value.
pub const LABELS: usize = 16;
/// Bytes of a label's name.
pub const LABEL_NAME_BYTES: usize = 64;
/// Bytes of a label's value.
pub const LABEL_VALUE_BYTES: usize = 256;
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Attempts that ended without an answer after which a job is given up.
pub const CRASHES: u32 = 2;
/// Jobs in one page of a list.
pub const PAGE: usize = 200;

/// Entries of an action's egress allow-list.
pub const EGRESS_HOSTS: usize = 64;
/// Connections that a call may have open at the same time.
pub const EGRESS_CONNECTIONS: usize = 64;
/// Connections that a call may open in all.
pub const EGRESS_CONNECTIONS_PER_CALL: u32 = 2_000;
/// Bytes that a call may send and receive through the egress gate, together.
pub const EGRESS_BYTES: u64 = 1024 * 1024 * 1024;
/// How long resolving a host and connecting to it may take.
pub const EGRESS_CONNECT: Duration = Duration::from_secs(10);
/// The head of a request or an answer at the egress gate, in bytes.
pub const EGRESS_HEAD_BYTES: usize = 32 * 1024;
/// How long the head of a request may take to arrive at the egress gate.
pub const EGRESS_HEAD: Duration = Duration::from_secs(5);
