//! Whether the database is one that dendron may read: the version of its schema, and the columns that are used.
//!
//! Synapse writes two numbers (`storage/schema/__init__.py`): `version`, what it has made of the schema, and
//! `compat_version`, the oldest code that can work with that. Deltas are added under a number that is out already, so
//! the columns are looked at, too. A newer schema is refused even where old code could work with it: a column that
//! forbids a login may have been added.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// The oldest schema that is read: what `compat_version` is with Synapse 1.163.
pub const OLDEST_VERSION: i32 = 84;
/// The newest schema that is known: Synapse 1.163.
pub const NEWEST_VERSION: i32 = 94;

/// Columns: table, name, type. Those of a table stand together.
pub(super) type Columns = &'static [(&'static str, &'static str, &'static str)];

/// The columns that logins read, with their types.
const COLUMNS: Columns = &[
    ("users", "name", "text"),
    ("users", "password_hash", "text"),
    ("users", "deactivated", "int2"),
    ("users", "locked", "bool"),
    ("users", "approved", "bool"),
    ("user_threepids", "user_id", "text"),
    ("user_threepids", "medium", "text"),
    ("user_threepids", "address", "text"),
    ("schema_version", "version", "int4"),
    ("schema_compat_version", "compat_version", "int4"),
];

/// The columns of a table, what they hold, and whether this role may read them.
const FIND_COLUMNS: &str = "SELECT attribute.attname::text, type.typname::text, \
    pg_catalog.has_column_privilege(attribute.attrelid, attribute.attnum, 'SELECT') \
    FROM pg_catalog.pg_attribute AS attribute \
    JOIN pg_catalog.pg_type AS type ON type.oid = attribute.atttypid \
    WHERE attribute.attrelid = pg_catalog.to_regclass($1) AND attribute.attnum > 0 AND NOT attribute.attisdropped";

const IS_STANDBY: &str = "SELECT pg_catalog.pg_is_in_recovery()";
const VERSIONS: &str =
    "SELECT (SELECT version FROM schema_version), (SELECT compat_version FROM schema_compat_version)";

/// Why the database may not be read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SchemaError {
    /// It is a standby, which may know less than the primary.
    #[error("the database is a standby")]
    Standby,
    /// A column is not there.
    #[error("the column {0} does not exist")]
    Missing(String),
    /// A column holds something else.
    #[error("the column {column} has the type {found}")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// The role may not read a column.
    #[error("the role may not read the column {0}")]
    NotAllowed(String),
    /// Synapse has not finished making the schema.
    #[error("the schema has no version yet")]
    Unmade,
    /// The schema is older or newer than those that are known.
    #[error("the schema's version is {version}, but only {OLDEST_VERSION} to {NEWEST_VERSION} are known")]
    Version {
        /// The version.
        version: i32,
    },
}

/// A column as the database describes it.
struct Column {
    name: String,
    kind: String,
    is_allowed: bool,
}

/// Looks at the database; returns its schema's version.
pub(super) async fn probe(client: &Client) -> Result<Result<i32, SchemaError>, tokio_postgres::Error> {
    let is_standby: bool = client.query_typed_one(IS_STANDBY, &[]).await?.try_get(0)?;
    if is_standby {
        return Ok(Err(SchemaError::Standby));
    }
    if let Err(error) = check(client, COLUMNS).await? {
        return Ok(Err(error));
    }
    let row = client.query_typed_one(VERSIONS, &[]).await?;
    Ok(check_versions(row.try_get(0)?, row.try_get(1)?))
}

/// Whether these columns are there and may be read.
pub(super) async fn check(client: &Client, wanted: Columns) -> Result<Result<(), SchemaError>, tokio_postgres::Error> {
    let mut tables: Vec<&str> = wanted.iter().map(|(table, ..)| *table).collect();
    tables.dedup();
    for table in tables {
        let rows = client.query_typed(FIND_COLUMNS, &[(&table, Type::TEXT)]).await?;
        let mut columns = Vec::new();
        for row in rows {
            columns.push(Column { name: row.try_get(0)?, kind: row.try_get(1)?, is_allowed: row.try_get(2)? });
        }
        if let Err(error) = check_columns(wanted, table, &columns) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn check_columns(wanted: Columns, table: &str, columns: &[Column]) -> Result<(), SchemaError> {
    for (_, name, kind) in wanted.iter().filter(|(known, ..)| *known == table) {
        let column = format!("{table}.{name}");
        match columns.iter().find(|column| column.name == *name) {
            None => return Err(SchemaError::Missing(column)),
            Some(found) if found.kind != *kind => {
                return Err(SchemaError::Type { column, found: found.kind.clone() });
            }
            Some(found) if !found.is_allowed => return Err(SchemaError::NotAllowed(column)),
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_versions(version: Option<i32>, compat_version: Option<i32>) -> Result<i32, SchemaError> {
    let (version, compat_version) = version.zip(compat_version).ok_or(SchemaError::Unmade)?;
    match version {
        OLDEST_VERSION..=NEWEST_VERSION if compat_version <= NEWEST_VERSION => Ok(version),
        _ => Err(SchemaError::Version { version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_versions_are_read() {
        let table = [
            (Some(94), Some(84), Ok(94)),
            (Some(84), Some(80), Ok(84)),
            (Some(95), Some(84), Err(SchemaError::Version { version: 95 })),
            (Some(83), Some(83), Err(SchemaError::Version { version: 83 })),
            (Some(94), Some(95), Err(SchemaError::Version { version: 94 })),
            (Some(94), None, Err(SchemaError::Unmade)),
            (None, None, Err(SchemaError::Unmade)),
        ];
        for (version, compat_version, expected) in table {
            assert_eq!(check_versions(version, compat_version), expected);
        }
    }

    #[test]
    fn a_column_has_to_be_there_and_readable() {
        let good = || -> Vec<Column> {
            let column = |name: &str| Column { name: name.to_owned(), kind: "text".to_owned(), is_allowed: true };
            ["user_id", "medium", "address", "added_at"].map(column).into()
        };
        assert_eq!(check_columns(COLUMNS, "user_threepids", &good()), Ok(()));
        let column = || "user_threepids.medium".to_owned();
        let mut columns = good();
        columns[1].is_allowed = false;
        assert_eq!(check_columns(COLUMNS, "user_threepids", &columns), Err(SchemaError::NotAllowed(column())));
        columns[1].kind = "bytea".to_owned();
        let expected = SchemaError::Type { column: column(), found: "bytea".to_owned() };
        assert_eq!(check_columns(COLUMNS, "user_threepids", &columns), Err(expected));
        columns.remove(1);
        assert_eq!(check_columns(COLUMNS, "user_threepids", &columns), Err(SchemaError::Missing(column())));
        assert_eq!(check_columns(COLUMNS, "users", &[]), Err(SchemaError::Missing("users.name".to_owned())));
    }
}
