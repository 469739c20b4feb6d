//! The questions that parked syncs ask of the database: who is in which room, and where Synapse's writers are.
//!
//! They are not prepared, so that a database without what they need still answers logins; and they are asked only after
//! [`Database::may_read_rooms`] has found that they can be answered.

use std::collections::HashMap;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::connections::Asked;
use super::schema::{self, Columns};
use super::{Database, Unavailable};

/// The columns that are read, with their types.
const COLUMNS: Columns = &[
    ("current_state_events", "room_id", "text"),
    ("current_state_events", "type", "text"),
    ("current_state_events", "state_key", "text"),
    ("current_state_events", "membership", "text"),
    ("local_current_membership", "room_id", "text"),
    ("local_current_membership", "user_id", "text"),
    ("local_current_membership", "membership", "text"),
    ("device_lists_changes_in_room", "room_id", "text"),
    ("device_lists_changes_in_room", "stream_id", "int8"),
    ("instance_map", "instance_id", "int4"),
    ("instance_map", "instance_name", "text"),
    ("stream_positions", "stream_name", "text"),
    ("stream_positions", "instance_name", "text"),
    ("stream_positions", "stream_id", "int8"),
];

/// The first is what Synapse goes by (`get_rooms_for_user` in `storage/databases/main/roommember.py`); the second has
/// also what came from elsewhere without the room's state.
const ROOMS_OF: &str = "SELECT state_key, room_id FROM current_state_events \
    WHERE type = 'm.room.member' AND membership = 'join' AND state_key = ANY($1) \
    UNION SELECT user_id, room_id FROM local_current_membership WHERE membership = 'join' AND user_id = ANY($1)";
/// As Synapse itself finds the rooms to wake (`get_all_device_list_changes` in `storage/databases/main/devices.py`).
const ROOMS_OF_DEVICE_CHANGES: &str =
    "SELECT DISTINCT room_id FROM device_lists_changes_in_room WHERE stream_id > $1 AND stream_id <= $2";
const LOCAL_MEMBERS_OF: &str =
    "SELECT user_id FROM local_current_membership WHERE room_id = $1 AND membership = 'join'";
const INSTANCES: &str = "SELECT instance_id, instance_name FROM instance_map";
const STREAM_POSITIONS: &str = "SELECT stream_name, instance_name, stream_id FROM stream_positions";

impl Database {
    /// Whether the questions below can be answered.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] with what is missing, such as the permission to read a column.
    pub async fn may_read_rooms(&self) -> Result<(), Unavailable> {
        let looked = self.ask(|live: Asked| async move { schema::check(&live.client, COLUMNS).await }).await?;
        looked.map_err(Unavailable::Schema)
    }

    /// The rooms that these users are in, for those who are in any.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], at once if no connection stands.
    pub async fn rooms_of(&self, users: &[&str]) -> Result<HashMap<String, Vec<String>>, Unavailable> {
        let mut rooms: HashMap<String, Vec<String>> = HashMap::new();
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&users, Type::TEXT_ARRAY)];
        let pair = |row: &Row| Ok((row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?));
        for (user, room) in self.ask_rows(ROOMS_OF, &parameters, pair).await? {
            rooms.entry(user).or_default().push(room);
        }
        Ok(rooms)
    }

    /// The rooms that were told of changed devices behind one position of that stream, up to another.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], at once if no connection stands.
    pub async fn rooms_of_device_changes(&self, after: i64, upto: i64) -> Result<Vec<String>, Unavailable> {
        let range: [(&(dyn ToSql + Sync), Type); 2] = [(&after, Type::INT8), (&upto, Type::INT8)];
        self.ask_rows(ROOMS_OF_DEVICE_CHANGES, &range, |row| row.try_get(0)).await
    }

    /// Who of this server is in a room.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], at once if no connection stands.
    pub async fn local_members_of(&self, room: &str) -> Result<Vec<String>, Unavailable> {
        self.ask_rows(LOCAL_MEMBERS_OF, &[(&room, Type::TEXT)], |row| row.try_get(0)).await
    }

    /// The numbers that tokens have for processes.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], at once if no connection stands.
    pub async fn instances(&self) -> Result<Vec<(u32, String)>, Unavailable> {
        let rows = self.ask_rows(INSTANCES, &[], |row| Ok((row.try_get::<_, i32>(0)?, row.try_get(1)?))).await?;
        Ok(rows.into_iter().filter_map(|(id, name)| Some((u32::try_from(id).ok()?, name))).collect())
    }

    /// Where each writer of each stream is: stream, process, position.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], at once if no connection stands.
    pub async fn stream_positions(&self) -> Result<Vec<(String, String, i64)>, Unavailable> {
        self.ask_rows(STREAM_POSITIONS, &[], |row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).await
    }

    async fn ask_rows<T>(
        &self,
        query: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        read: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, Unavailable> {
        self.ask(|live: Asked| async move {
            let client: &Client = &live.client;
            client.query_typed(query, parameters).await?.iter().map(read).collect()
        })
        .await
    }
}
