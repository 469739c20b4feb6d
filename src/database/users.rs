//! The two questions that a login asks of the database.

use tokio_postgres::{Client, Row, Statement};

use super::connections::Asked;
use super::{Database, Unavailable};
use crate::secret::Secret;

/// A user's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's id, as it was registered.
    pub id: String,
    /// The hash of the password; `None` for a user who has none.
    pub password_hash: Option<Secret>,
    /// Whether the account is deactivated.
    pub deactivated: bool,
    /// Whether the account is locked.
    pub locked: bool,
    /// Whether an administrator has approved the account, where that is asked for.
    pub approved: bool,
}

/// What Synapse takes for a missing value is its `get_user_by_id` (`storage/databases/main/registration.py`).
const SELECT_USER: &str = "SELECT name, password_hash, COALESCE(deactivated, 0) <> 0, COALESCE(locked, FALSE), \
    COALESCE(approved, TRUE) FROM users WHERE ";
const BY_NAME: &str = "name = $1";
/// Whether there is more than one is all that matters.
const BY_LOWER_NAME: &str = "lower(name) = lower($1) LIMIT 2";
const SELECT_OWNER: &str = "SELECT user_id FROM user_threepids WHERE medium = $1 AND address = $2";

/// The questions, as a connection has prepared them.
#[derive(Debug)]
pub(super) struct Statements {
    by_name: Statement,
    by_lower_name: Statement,
    owner: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Statements {
            by_name: client.prepare(&format!("{SELECT_USER}{BY_NAME}")).await?,
            by_lower_name: client.prepare(&format!("{SELECT_USER}{BY_LOWER_NAME}")).await?,
            owner: client.prepare(SELECT_OWNER).await?,
        })
    }
}

impl Database {
    /// The user of this id, whose case need not be right.
    ///
    /// Synapse looks for all users whose ids are the same in lower case, and takes the only one, or the exact one among
    /// several (`handlers/auth.py`, `_find_user_id_and_pwd_hash`). There is no index for that, so the exact one is looked
    /// for first: if there is one, it is Synapse's answer in both cases.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], at once if no connection stands.
    pub async fn user(&self, user_id: &str) -> Result<Option<User>, Unavailable> {
        let by_name = |live: Asked| async move {
            live.client.query_opt(&live.statements.by_name, &[&user_id]).await?.as_ref().map(user).transpose()
        };
        if let Some(found) = self.ask(by_name).await? {
            return Ok(Some(found));
        }
        self.ask_slowly(|live: Asked| async move {
            let rows = live.client.query(&live.statements.by_lower_name, &[&user_id]).await?;
            match rows.as_slice() {
                [row] => user(row).map(Some),
                _ => Ok(None),
            }
        })
        .await
    }

    /// The user who has this address, which must be in Synapse's canonical form.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], at once if no connection stands.
    pub async fn threepid_owner(&self, medium: &str, address: &str) -> Result<Option<String>, Unavailable> {
        self.ask(|live: Asked| async move {
            let row = live.client.query_opt(&live.statements.owner, &[&medium, &address]).await?;
            row.map(|row| row.try_get(0)).transpose()
        })
        .await
    }
}

fn user(row: &Row) -> Result<User, tokio_postgres::Error> {
    let password_hash: Option<String> = row.try_get(1)?;
    Ok(User {
        id: row.try_get(0)?,
        // An empty hash fits no password either.
        password_hash: password_hash.filter(|hash| !hash.is_empty()).map(Secret::new),
        deactivated: row.try_get(2)?,
        locked: row.try_get(3)?,
        approved: row.try_get(4)?,
    })
}
