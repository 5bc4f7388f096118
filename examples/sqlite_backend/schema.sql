-- A pool is named by its JSON, such as {"provider":"example","namespace":"default"}.
CREATE TABLE IF NOT EXISTS records (
    id         TEXT PRIMARY KEY,
    pool       TEXT NOT NULL,
    label      TEXT NOT NULL,
    kind       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    attributes TEXT NOT NULL,
    secret     TEXT NOT NULL,
    -- The refresh that has begun, and the one that has failed.
    notes      TEXT NOT NULL DEFAULT '{}',
    UNIQUE (pool, label)
) STRICT;
CREATE TABLE IF NOT EXISTS pools (
    pool      TEXT PRIMARY KEY,
    standings TEXT NOT NULL,
    -- Random, so that a database that was restored from a backup never comes to a revision that another pool knows.
    revision  BLOB NOT NULL
) STRICT;
-- The last changes of each pool, with the revision before each.
CREATE TABLE IF NOT EXISTS steps (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    pool   TEXT NOT NULL,
    before BLOB NOT NULL,
    step   TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS steps_of_pool ON steps (pool, before, number);
-- The last batch of outcomes of each origin.
CREATE TABLE IF NOT EXISTS batches (
    pool   TEXT NOT NULL,
    origin TEXT NOT NULL,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (pool, origin)
) STRICT;
