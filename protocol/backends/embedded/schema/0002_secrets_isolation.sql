-- Secrets, and the isolation of attempts.

-- Sealed with a master key that is not in this file (protocol::seal).
CREATE TABLE secrets (
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    sealed     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- What kept the handler of an attempt apart. Attempts before this layout had a process of their own, no more.
ALTER TABLE attempts ADD COLUMN isolation TEXT NOT NULL DEFAULT 'none';
