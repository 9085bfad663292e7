//! What the tasks of producers and consumers wait for: the way to each broker, and questions that any answers.

use tokio::time::Instant;

use crate::cluster::Backoff;
use crate::connection::{CallError, Connection};

/// The way to one broker.
#[derive(Debug, Default)]
pub(crate) struct Link {
    connection: Option<Connection>,
    is_opening: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
}

/// What becomes of a wish for a connection.
pub(crate) enum Opening<F> {
    /// It is opened by this, which [`Link::opened`] is to be told.
    Starts(F),
    /// The last attempt failed; it is time for the next then.
    Later(Instant),
    /// An attempt is under way.
    Goes,
    /// Nobody knows where the broker is.
    Unknown,
}

impl Link {
    /// The connection, if there is one.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref().filter(|connection| !connection.is_lost())
    }

    /// Opens one, to `address`.
    pub(crate) fn open(
        &mut self,
        address: Option<&String>,
        now: Instant,
    ) -> Opening<impl Future<Output = Result<Connection, CallError>> + use<>> {
        if self.is_opening {
            return Opening::Goes;
        }
        if let Some(at) = self.not_before.filter(|at| now < *at) {
            return Opening::Later(at);
        }
        let Some(address) = address.cloned() else { return Opening::Unknown };
        self.is_opening = true;
        Opening::Starts(async move { Connection::open(&address).await })
    }

    pub(crate) fn opened(&mut self, opened: Result<Connection, CallError>) {
        self.is_opening = false;
        if let Ok(connection) = opened {
            self.connection = Some(connection);
            self.not_before = None;
            self.backoff = Backoff::default();
        } else {
            self.connection = None;
            self.not_before = Some(Instant::now() + self.backoff.next());
        }
    }
}

/// Something that is asked of any broker, once at a time.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) is_wanted: bool,
    is_asked: bool,
    backoff: Backoff,
    not_before: Option<Instant>,
}

/// Whether to ask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Now,
    Later(Instant),
    No,
}

impl Question {
    /// Whether it is to be asked; where that is now, it is taken for asked.
    pub(crate) fn ask(&mut self, now: Instant) -> Ask {
        if self.is_asked || !self.is_wanted {
            return Ask::No;
        }
        if let Some(at) = self.not_before.filter(|at| now < *at) {
            return Ask::Later(at);
        }
        self.is_asked = true;
        self.is_wanted = false;
        Ask::Now
    }

    pub(crate) fn answered(&mut self) {
        self.is_asked = false;
        self.backoff = Backoff::default();
        self.not_before = None;
    }

    /// It is asked again after a pause.
    pub(crate) fn failed(&mut self) {
        self.is_asked = false;
        self.again();
    }

    /// The answer was no help: it is asked again after a pause.
    pub(crate) fn again(&mut self) {
        self.is_wanted = true;
        self.not_before = Some(Instant::now() + self.backoff.next());
    }
}
