//! The schema of `node.db`, a step a version. Steps are never changed once released.

/// Run in order by the store; their number is the version of the file.
pub(crate) const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What was granted to and by a peer. Rows are never deleted: the serials in
-- them refuse replays for ever.
CREATE TABLE trust (
    peer   BLOB PRIMARY KEY,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Where peers were last known to be.
CREATE TABLE cards (
    peer BLOB PRIMARY KEY,
    card BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Tasks that this node gave to others.
CREATE TABLE submitted (
    id              BLOB PRIMARY KEY,
    settled         INTEGER NOT NULL,
    state           TEXT NOT NULL,
    idempotency_key TEXT,
    record          BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX submitted_live ON submitted (id) WHERE settled = 0;
CREATE UNIQUE INDEX submitted_key ON submitted (idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- Tasks that others gave to this node.
CREATE TABLE received (
    id      BLOB PRIMARY KEY,
    settled INTEGER NOT NULL,
    state   TEXT NOT NULL,
    record  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX received_live ON received (id) WHERE settled = 0;

-- Contents of tasks and results, apart from the records so that those stay
-- small. side: 0 submitted, 1 received; kind: 0 task, 1 result.
CREATE TABLE bodies (
    key  INTEGER PRIMARY KEY,
    id   BLOB NOT NULL,
    side INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (id, side, kind)
) STRICT;
",
    "
-- Transfers of files, both those that this node sends (direction 0) and those
-- that it receives (1). Their manifests and pieces are files in the home folder.
CREATE TABLE transfers (
    id        BLOB PRIMARY KEY,
    direction INTEGER NOT NULL,
    settled   INTEGER NOT NULL,
    record    BLOB NOT NULL,
    peer      BLOB NOT NULL,
    -- Bytes that it takes in the inbox, or will.
    held      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX transfers_live ON transfers (id) WHERE settled = 0;
CREATE INDEX transfers_held ON transfers (peer, held) WHERE held > 0;
",
    "
-- Transfers of files for tasks and results that no record of a task answers
-- for: not yet, or no more. What is left here at a start is cancelled.
CREATE TABLE strays (
    transfer BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
",
    "
-- The last values of topics for which they are kept.
CREATE TABLE event_values (
    topic  TEXT PRIMARY KEY,
    epoch  INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Named subscriptions, and how far each came in each stream of each node.
CREATE TABLE event_cursors (
    name    TEXT PRIMARY KEY,
    filters TEXT NOT NULL,
    -- Of whom; of everybody, if there is none.
    node    BLOB
) STRICT, WITHOUT ROWID;
CREATE TABLE event_places (
    name   TEXT NOT NULL,
    node   BLOB NOT NULL,
    stream INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (name, node, stream)
) STRICT, WITHOUT ROWID;

-- What peers will fetch of this node's events when they return.
CREATE TABLE event_interests (
    peer    BLOB PRIMARY KEY,
    filters TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Whose events this node hands on, and to whom.
CREATE TABLE event_relays (
    publisher BLOB NOT NULL,
    receiver  BLOB NOT NULL,
    filter    TEXT NOT NULL,
    PRIMARY KEY (publisher, receiver, filter)
) STRICT, WITHOUT ROWID;
",
];
