//! Where the sessions of a long job go: each piece of work may need a new one.

use crate::session::{self, Limits};
use crate::trouble::Trouble;
use crate::{Access, Connection};

/// Where the sessions go, and what they are told.
#[derive(Clone)]
pub struct Route {
    /// The server.
    pub access: Access,
    /// The database that is read.
    pub database: String,
    /// Name of the sessions.
    pub application_name: String,
    /// How long they wait for locks, and whom they talk to.
    pub limits: Limits,
}

impl Route {
    /// A session with the settings that the text depends on.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn connect(&self) -> Result<Connection, Trouble> {
        let mut connection = self.access.connect(&self.database, &self.application_name).await.map_err(Trouble::Lost)?;
        session::prepare(&mut connection, self.limits).await.map_err(Trouble::Lost)?;
        Ok(connection)
    }
}
