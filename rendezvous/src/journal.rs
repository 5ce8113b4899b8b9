//! The registry on disk: schema, one write for each kind of record, and the way back.
//!
//! Lists are stored as text, so that an operator can read the file with
//! `sqlite3`: neither tags nor socket addresses can hold a comma.

mod polo;

use std::fmt::Display;
use std::str::FromStr;

use pilot_identity::{NodeId, SignedGrant, Timestamp};
use pilot_proto::{Endpoints, Tags};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use crate::registry::{Node, Record, Registry};

/// The steps of the schema; see [`pilot_store::Settings::migrations`].
///
/// A released node keeps its row, without a key, so that its number is not
/// given again.
pub const SCHEMA: &[&str] = &[
    "
    CREATE TABLE network (number INTEGER NOT NULL) STRICT;
    CREATE TABLE node (
        number INTEGER PRIMARY KEY,
        key BLOB UNIQUE,
        name TEXT UNIQUE,
        tags TEXT NOT NULL,
        public INTEGER NOT NULL,
        endpoints TEXT NOT NULL,
        last_seen INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE trust_grant (
        issuer BLOB NOT NULL,
        receiver BLOB NOT NULL,
        signed BLOB NOT NULL,
        waiting INTEGER NOT NULL,
        PRIMARY KEY (issuer, receiver)
    ) STRICT, WITHOUT ROWID;
",
    polo::SCHEMA,
    polo::SUCCESSES,
];

const PUT_NODE: &str = "
    INSERT INTO node (number, key, name, tags, public, endpoints, last_seen)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (number) DO UPDATE SET
        name = ?3, tags = ?4, public = ?5, endpoints = ?6, last_seen = ?7";

const SEE_NODE: &str = "UPDATE node SET last_seen = ?2 WHERE number = ?1";

const RELEASE_NODE: &str = "
    UPDATE node SET key = NULL, name = NULL, tags = '', public = 0, endpoints = ''
    WHERE number = ?1";

/// Of the released rows only the highest is needed: numbers go on from there.
const FORGET_RELEASED: &str = "
    DELETE FROM node WHERE key IS NULL AND number < (SELECT max(number) FROM node)";

const PUT_GRANT: &str = "
    INSERT INTO trust_grant (issuer, receiver, signed, waiting) VALUES (?1, ?2, ?3, 1)
    ON CONFLICT (issuer, receiver) DO UPDATE SET signed = ?3, waiting = 1";

const DELIVER_GRANT: &str =
    "UPDATE trust_grant SET waiting = 0 WHERE issuer = ?1 AND receiver = ?2";

/// Writes one record.
///
/// # Errors
///
/// What SQLite says.
pub fn write(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    let run = |sql, parameters: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(sql)?.execute(parameters).map(drop)
    };
    match record {
        Record::Node { id, node } => run(
            PUT_NODE,
            &[
                &node.number,
                id.as_bytes(),
                &node.name.as_ref().map(|name| name.as_str()),
                &joined(node.tags.iter()),
                &node.public,
                &joined(node.endpoints.as_slice()),
                &millis(node.last_seen),
            ],
        ),
        Record::Seen { number, at } => run(SEE_NODE, &[number, &millis(*at)]),
        Record::Released { number } => {
            run(RELEASE_NODE, &[number])?;
            run(FORGET_RELEASED, &[])
        }
        Record::Grant(signed) => {
            let grant = signed.assume_verified();
            let bytes = postcard::to_allocvec(signed)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            run(PUT_GRANT, &[grant.from.as_bytes(), grant.to.as_bytes(), &bytes])
        }
        Record::Delivered { from, to } => run(DELIVER_GRANT, &[from.as_bytes(), to.as_bytes()]),
        Record::Polo(entry) => polo::write(transaction, entry),
    }
}

/// The network that this file belongs to, if it was ever used.
///
/// # Errors
///
/// What SQLite says.
pub fn network(connection: &Connection) -> rusqlite::Result<Option<u16>> {
    connection.query_row("SELECT number FROM network", [], |row| row.get(0)).optional()
}

/// Notes the network that this file belongs to.
///
/// # Errors
///
/// What SQLite says.
pub fn claim(transaction: &Transaction<'_>, network: u16) -> rusqlite::Result<()> {
    transaction.execute("INSERT INTO network (number) VALUES (?1)", [network]).map(drop)
}

/// Reads everything back into `registry`, which is empty.
///
/// # Errors
///
/// What SQLite says, or a conversion failure where a row is not what
/// [`write()`] writes.
pub fn load(connection: &Connection, registry: &mut Registry) -> rusqlite::Result<()> {
    let mut nodes = connection
        .prepare_cached("SELECT number, key, name, tags, public, endpoints, last_seen FROM node")?;
    let mut rows = nodes.query([])?;
    while let Some(row) = rows.next()? {
        match row.get::<_, Option<[u8; 32]>>(1)? {
            Some(key) => {
                let id = NodeId::from_bytes(key).map_err(|error| broken(1, error))?;
                registry.restore_node(id, node(row)?);
            }
            None => registry.restore_released(row.get(0)?),
        }
    }
    let mut grants = connection.prepare_cached("SELECT signed, waiting FROM trust_grant")?;
    let mut rows = grants.query([])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob()?;
        let grant: SignedGrant = postcard::from_bytes(bytes).map_err(|error| broken(0, error))?;
        registry.restore_grant(grant, row.get(1)?);
    }
    polo::load(connection, registry)
}

fn node(row: &Row<'_>) -> rusqlite::Result<Node> {
    let name: Option<String> = row.get(2)?;
    let last_seen: i64 = row.get(6)?;
    Ok(Node {
        number: row.get(0)?,
        name: name.map(|name| name.parse().map_err(|error| broken(2, error))).transpose()?,
        tags: Tags::new(split(row, 3)?).map_err(|error| broken(3, error))?,
        public: row.get(4)?,
        endpoints: Endpoints::new(split(row, 5)?),
        last_seen: Timestamp::from_millis(u64::try_from(last_seen).unwrap_or_default()),
    })
}

fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(",")
}

fn split<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    let items = text.split(',').filter(|item| !item.is_empty());
    items.map(|item| item.parse().map_err(|error| broken(column, error))).collect()
}

fn broken(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
}

/// SQLite's integers end in the year 292 million.
fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;
    use zeroize::Zeroizing;

    use super::*;

    fn put(transaction: &Transaction<'_>, number: u32) {
        let seed = Zeroizing::new([u8::try_from(number).unwrap(); 32]);
        let node = Node {
            number,
            name: None,
            tags: Tags::default(),
            public: false,
            endpoints: Endpoints::default(),
            last_seen: Timestamp::from_millis(1),
        };
        let record = Record::Node { id: NodeKey::from_seed(&seed).id(), node };
        write(transaction, &record).unwrap();
    }

    #[test]
    fn who_registers_and_releases_again_and_again_leaves_one_row() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA[0]).unwrap();
        let transaction = connection.transaction().unwrap();
        put(&transaction, 1);
        for number in 2..=50 {
            put(&transaction, number);
            write(&transaction, &Record::Released { number }).unwrap();
        }
        let numbers = |transaction: &Transaction<'_>| -> Vec<u32> {
            let mut rows = transaction.prepare("SELECT number FROM node ORDER BY number").unwrap();
            let numbers = rows.query_map([], |row| row.get(0)).unwrap();
            numbers.collect::<rusqlite::Result<_>>().unwrap()
        };

        assert_eq!(numbers(&transaction), [1, 50], "the highest number is never given again");
        put(&transaction, 51);
        write(&transaction, &Record::Released { number: 1 }).unwrap();
        assert_eq!(numbers(&transaction), [51]);
    }
}
