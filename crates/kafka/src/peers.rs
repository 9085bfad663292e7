//! What the tasks of producers and consumers share: what they know of the cluster, the way to each broker, and
//! questions that any of them answers.

use std::collections::HashMap;

use protocol::Request;
use protocol::cluster::MetadataResponse;
use tokio::time::Instant;

use crate::cluster::{Backoff, Cluster, NodeId, Place, ask_any};
use crate::connection::{CallError, Connection};

/// The brokers of a cluster, as a task deals with them.
pub(crate) struct Peers {
    pub(crate) cluster: Cluster,
    pub(crate) metadata: Question,
    links: HashMap<NodeId, Link>,
    /// For questions that any broker answers.
    any: Option<Connection>,
}

/// What a task hears of them.
pub(crate) enum PeerEvent {
    Connected(NodeId, Result<Connection, CallError>),
    Metadata(Result<(Connection, MetadataResponse), CallError>),
}

impl Peers {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, metadata: Question::default(), links: HashMap::new(), any: None }
    }

    /// Who leads a partition. Where nobody is known to, it is asked for.
    pub(crate) fn leader(&mut self, place: &Place) -> Option<NodeId> {
        let leader = self.cluster.leader(&place.0, place.1);
        self.metadata.is_wanted |= leader.is_none();
        leader
    }

    /// The way to a leader.
    pub(crate) fn way(
        &mut self,
        node: NodeId,
        now: Instant,
    ) -> Way<'_, impl Future<Output = PeerEvent> + Send + use<>> {
        let link = self.links.entry(node).or_default();
        if link.is_open() {
            return Way::Open(link.connection.as_ref().expect("an open link has one"));
        }
        if link.is_opening {
            return Way::Opens;
        }
        if let Some(at) = link.not_before.filter(|at| now < *at) {
            return Way::Later(at);
        }
        let Some(address) = self.cluster.address(node).cloned() else {
            self.metadata.is_wanted = true;
            return Way::Opens;
        };
        link.is_opening = true;
        Way::ToOpen(async move { PeerEvent::Connected(node, Connection::open(&address).await) })
    }

    /// Asks any broker.
    pub(crate) fn ask<R: Request + Send + 'static>(
        &mut self,
        question: R,
    ) -> impl Future<Output = Result<(Connection, R::Response), CallError>> + use<R> {
        ask_any(self.any.take(), self.cluster.candidates(), question)
    }

    /// Keeps the connection over which there was an answer, for the next question.
    pub(crate) fn answered_over(&mut self, connection: Connection) {
        self.any = Some(connection);
    }

    /// Takes note of an event. True where something was learnt, of which [`Self::metadata`] is to be told whether it
    /// was enough.
    pub(crate) fn happened(&mut self, event: PeerEvent) -> bool {
        match event {
            PeerEvent::Connected(node, opened) => {
                if let Err(error) = &opened {
                    tracing::debug!(node, "{error}");
                    // Somebody else may lead by now.
                    self.metadata.is_wanted = true;
                }
                self.links.entry(node).or_default().opened(opened);
                false
            }
            PeerEvent::Metadata(Ok((connection, metadata))) => {
                self.answered_over(connection);
                self.cluster.learn(metadata);
                true
            }
            PeerEvent::Metadata(Err(error)) => {
                tracing::debug!("{error}");
                self.metadata.answered(false, Instant::now());
                false
            }
        }
    }
}

/// How far it is to a broker.
pub(crate) enum Way<'p, F> {
    Open(&'p Connection),
    /// This opens it, and gives what [`Peers::happened`] is to be told.
    ToOpen(F),
    /// It is being opened.
    Opens,
    /// The last attempt failed; it is time for the next then.
    Later(Instant),
}

/// The way to one broker.
#[derive(Debug, Default)]
struct Link {
    connection: Option<Connection>,
    is_opening: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Link {
    fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.is_lost())
    }

    fn opened(&mut self, opened: Result<Connection, CallError>) {
        self.is_opening = false;
        self.not_before = None;
        match opened {
            Ok(_) => self.backoff = Backoff::default(),
            Err(_) => self.not_before = Some(Instant::now() + self.backoff.next()),
        }
        self.connection = opened.ok();
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

    /// There is an answer, or none. Unless it was enough, it is asked again, each time after a longer pause.
    pub(crate) fn answered(&mut self, is_enough: bool, now: Instant) {
        self.is_asked = false;
        if is_enough {
            self.backoff = Backoff::default();
            self.not_before = None;
        } else {
            self.is_wanted = true;
            self.not_before = Some(now + self.backoff.next());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_question_without_a_useful_answer_is_asked_ever_less_often() {
        let mut question = Question { is_wanted: true, ..Question::default() };
        let mut pauses = Vec::new();
        let mut now = Instant::now();
        for _ in 0..5 {
            assert_eq!(question.ask(now), Ask::Now);
            assert_eq!(question.ask(now), Ask::No, "one at a time");
            question.answered(false, now);
            let Ask::Later(at) = question.ask(now) else { panic!("it is not put off") };
            pauses.push(at - now);
            now = at;
        }
        assert!(pauses[0] < Duration::from_millis(60) && pauses[4] > Duration::from_millis(300));
        assert_eq!(question.ask(now), Ask::Now);
        question.answered(true, now);
        assert_eq!(question.ask(now), Ask::No);
    }
}
