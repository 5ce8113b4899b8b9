//! One live connection with a peer whose daemon has said hello.

use std::sync::Arc;

use pilot_identity::NodeId;
use pilot_proto::{BootId, Service};
use pilot_transport::{Connection, Priority};
use pilot_transport::{Framed, FramedError};

use crate::duplicates::Facts;

/// A session: cheap to clone, closed when the peers part.
#[derive(Debug, Clone)]
pub struct Session {
    connection: Arc<Connection>,
    boot: BootId,
    dialled_here: bool,
}

/// A stream of a session, opened by the peer for one service.
#[derive(Debug)]
pub struct PeerStream {
    /// Whose stream it is: the key of the connection.
    pub peer: NodeId,
    /// What it is for.
    pub service: Service,
    /// Its two halves.
    pub framed: Framed,
}

impl Session {
    pub(crate) const fn new(connection: Arc<Connection>, boot: BootId, dialled_here: bool) -> Self {
        Self { connection, boot, dialled_here }
    }

    /// Whose key is at the other end.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.connection.peer()
    }

    /// The connection under it.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Opens a stream for `service`.
    ///
    /// Cancel safe: nothing is sent until the first message is.
    ///
    /// # Errors
    ///
    /// [`FramedError::Connection`] if the session is over.
    pub async fn open(&self, service: Service) -> Result<Framed, FramedError> {
        let priority = match service {
            Service::Control => Priority::Control,
            Service::Tasks | Service::Echo => Priority::Task,
            Service::Events | Service::Messages => Priority::Message,
            Service::Data => Priority::Bulk,
        };
        let (send, recv) = self.connection.open_bi(priority).await?;
        let mut framed = Framed { send, recv };
        framed.send.write_all(&service.number().to_be_bytes()).await?;
        Ok(framed)
    }

    pub(crate) const fn facts(&self) -> Facts {
        Facts { boot: self.boot, dialled_here: self.dialled_here }
    }

    pub(crate) const fn boot(&self) -> BootId {
        self.boot
    }

    pub(crate) const fn dialled_here(&self) -> bool {
        self.dialled_here
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connection, &other.connection)
    }
}
