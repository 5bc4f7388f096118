CREATE TABLE IF NOT EXISTS pools (
    provider  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    -- The pool's document, as JSON.
    document  TEXT NOT NULL,
    PRIMARY KEY (provider, namespace)
) STRICT;
-- The ids of all pools: a document does not know those of the others.
CREATE TABLE IF NOT EXISTS credentials (id TEXT PRIMARY KEY) STRICT;
