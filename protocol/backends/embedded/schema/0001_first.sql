-- The first layout of sortie.db.
--
-- Instants are milliseconds since 1970 in UTC. Words (states, reasons, outcomes, kinds, priorities) and
-- JSON are written as in the API, so that the file can be read with any SQLite shell.

-- Queue: messages that wait or are held. Who holds one is known in memory only: when the process ends,
-- all of them are free again.
CREATE TABLE messages (
    id           INTEGER PRIMARY KEY,  -- grows: first in, first out
    lane         TEXT    NOT NULL,
    priority     TEXT    NOT NULL,
    published_at INTEGER NOT NULL,
    body         BLOB    NOT NULL      -- the envelope (protocol::wire)
);
-- All that is read when the file is opened, without touching the bodies.
CREATE INDEX messages_waiting ON messages (lane, priority, id, published_at);

-- Messages that nobody can do anything with, kept for people; the oldest go first.
CREATE TABLE dead_messages (
    id           INTEGER PRIMARY KEY,
    lane         TEXT    NOT NULL,
    priority     TEXT    NOT NULL,
    published_at INTEGER NOT NULL,
    died_at      INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    body         BLOB    NOT NULL
);

-- Store: the part of a job that changes.
CREATE TABLE jobs (
    row              INTEGER PRIMARY KEY,  -- what the other tables call the job
    id               TEXT    NOT NULL UNIQUE,
    tenant           TEXT    NOT NULL,
    action           TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    reason           TEXT,
    deadline         INTEGER NOT NULL,
    replies          INTEGER NOT NULL,            -- 1 if the spec has a reply address
    attempt          INTEGER NOT NULL DEFAULT 0,  -- number of the newest attempt: the fence
    ordinal          INTEGER NOT NULL DEFAULT 0,  -- events that the newest attempt has handed in
    lease_until      INTEGER,                     -- while running
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    next_run_at      INTEGER,                     -- while scheduled
    outbox_at        INTEGER,                     -- while it must be published: since when, or last taken
    reply_at         INTEGER,                     -- while its answer must be sent: 0, or when last taken
    finished_at      INTEGER,
    dead_letter      INTEGER NOT NULL DEFAULT 0,
    last_seq         INTEGER NOT NULL,
    result           TEXT,
    error            TEXT
);
-- Lists, newest first.
CREATE INDEX jobs_of_tenant ON jobs (tenant, id);
CREATE INDEX jobs_of_action ON jobs (tenant, action, id);
CREATE INDEX jobs_of_state ON jobs (tenant, state, id);
CREATE INDEX jobs_dead ON jobs (tenant, id) WHERE dead_letter = 1;
-- What the sweepers look for. Partial, so that a finished job costs nothing here.
CREATE INDEX jobs_by_deadline ON jobs (deadline) WHERE finished_at IS NULL;
CREATE INDEX jobs_by_lease ON jobs (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX jobs_by_start ON jobs (next_run_at) WHERE next_run_at IS NOT NULL;
CREATE INDEX jobs_by_mark ON jobs (outbox_at) WHERE outbox_at IS NOT NULL;
CREATE INDEX jobs_by_reply ON jobs (reply_at) WHERE reply_at IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- The part of a job that never changes, apart from it: a change of state must not copy the input.
CREATE TABLE specs (
    job  INTEGER PRIMARY KEY,
    spec TEXT NOT NULL
);

-- In the order of a list, so that a page of one label is read without sorting.
CREATE TABLE labels (
    tenant TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    job    TEXT NOT NULL,  -- the job's id
    PRIMARY KEY (tenant, name, value, job)
) WITHOUT ROWID;
CREATE INDEX labels_of_job ON labels (job);

CREATE TABLE attempts (
    job        INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    worker     TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    outcome    TEXT,
    error      TEXT,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

CREATE TABLE events (
    job     INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    data    TEXT    NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;

-- Which request an idempotency key belongs to, until it is forgotten.
CREATE TABLE idempotency (
    tenant      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    job         TEXT    NOT NULL,  -- the job's id
    expires_at  INTEGER NOT NULL,
    UNIQUE (tenant, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

-- Registry. A deleted action keeps its row: version numbers are never given twice.
CREATE TABLE actions (
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    deleted    INTEGER NOT NULL DEFAULT 0,
    enabled    INTEGER NOT NULL,
    latest     INTEGER NOT NULL,  -- number of the newest version, or the last one given before the deletion
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- Versions of actions that aren't deleted.
CREATE TABLE versions (
    tenant       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    number       INTEGER NOT NULL,
    content_hash TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant, name, number)
) WITHOUT ROWID;

-- What versions and drafts are. Contents of deleted actions stay: accepted jobs still run.
CREATE TABLE contents (
    tenant      TEXT NOT NULL,
    hash        TEXT NOT NULL,
    draft_until INTEGER,  -- drafts only: may be removed after this
    content     TEXT NOT NULL,
    UNIQUE (tenant, hash)
);
CREATE INDEX contents_drafts ON contents (draft_until) WHERE draft_until IS NOT NULL;

CREATE TABLE keys (
    id     TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    hash   TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL  -- the key as JSON, without the secret
) WITHOUT ROWID;
CREATE INDEX keys_of_tenant ON keys (tenant, id);

-- One row that `ping` writes: a full or read-only disk shows before a job finds out.
CREATE TABLE pulse (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at  INTEGER NOT NULL
);
INSERT INTO pulse VALUES (1, 0);
