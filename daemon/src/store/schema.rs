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
    "
-- How far the messages between this node and a peer are. sent: the number that
-- was last given to one for it; renewals: how often that count began anew; epoch
-- and upto: the peer's epoch, and the highest number of it that is here. Rows are
-- never deleted.
CREATE TABLE message_peers (
    peer     BLOB PRIMARY KEY,
    sent     INTEGER NOT NULL DEFAULT 0,
    renewals INTEGER NOT NULL DEFAULT 0,
    epoch    INTEGER NOT NULL DEFAULT 0,
    upto     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Messages of this node. The text goes when they are delivered or expired; the
-- times are those of the states. waiting: neither delivered nor expired; ended:
-- which one it was to come to its end, counted over all of them.
CREATE TABLE messages_sent (
    key       INTEGER PRIMARY KEY,
    id        BLOB NOT NULL UNIQUE,
    peer      BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    waiting   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    digest    BLOB NOT NULL,
    preview   TEXT NOT NULL,
    text      TEXT,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    sent      INTEGER,
    delivered INTEGER,
    read      INTEGER,
    acked     INTEGER,
    expired   INTEGER,
    ended     INTEGER
) STRICT;
CREATE INDEX messages_waiting ON messages_sent (key) WHERE waiting = 1;
CREATE INDEX messages_ended ON messages_sent (ended) WHERE waiting = 0;

-- Messages to this node, in their order; those that are acknowledged are history.
CREATE TABLE messages_received (
    ord      INTEGER PRIMARY KEY,
    id       BLOB NOT NULL,
    peer     BLOB NOT NULL,
    bytes    INTEGER NOT NULL,
    text     TEXT NOT NULL,
    written  INTEGER NOT NULL,
    received INTEGER NOT NULL,
    read     INTEGER,
    acked    INTEGER
) STRICT;
CREATE INDEX messages_received_id ON messages_received (id);
CREATE INDEX messages_open ON messages_received (ord) WHERE acked IS NULL;
CREATE INDEX messages_done ON messages_received (acked, ord) WHERE acked IS NOT NULL;

-- What senders are still to be told of their messages.
CREATE TABLE message_receipts (
    peer  BLOB NOT NULL,
    id    BLOB NOT NULL,
    read  INTEGER NOT NULL,
    acked INTEGER,
    PRIMARY KEY (peer, id)
) STRICT, WITHOUT ROWID;
",
    "
-- Tasks are also looked for by their state, their group, and whether they
-- failed for good.
ALTER TABLE submitted ADD COLUMN in_group TEXT;
ALTER TABLE submitted ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;
CREATE INDEX submitted_state ON submitted (state, id);
CREATE INDEX submitted_group ON submitted (in_group, id) WHERE in_group IS NOT NULL;
CREATE INDEX submitted_dead ON submitted (id) WHERE dead = 1;
CREATE INDEX received_state ON received (state, id);
",
    "
-- Receipts to be put to the rendezvous, in the order in which they came. role: 0
-- worker, 1 submitter; kind: 64 bits, here as a signed number; not_before: when
-- the rendezvous, which had no room, is asked again.
CREATE TABLE receipts_owed (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL,
    attempt    INTEGER NOT NULL,
    role       INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    receipt    BLOB NOT NULL,
    not_before INTEGER NOT NULL DEFAULT 0,
    UNIQUE (id, attempt, role)
) STRICT;
CREATE INDEX receipts_due ON receipts_owed (not_before, seq);
",
    "
-- What the commands of tasks wrote that this node gave to others: pieces, each
-- with how many bytes its attempt had written before. And how much all of them are.
CREATE TABLE task_logs (
    key     INTEGER PRIMARY KEY,
    id      BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    start   INTEGER NOT NULL,
    bytes   BLOB NOT NULL,
    UNIQUE (id, attempt, start)
) STRICT;
CREATE TABLE task_logs_size (
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO task_logs_size (bytes) VALUES (0);
",
];
