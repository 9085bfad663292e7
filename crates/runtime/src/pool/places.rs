//! The places of a pool's instances, and the calls that wait for one. No waiting and no starting happens here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use autoscale::ServiceTimes;
use tokio::sync::{Notify, oneshot, watch};

use super::{InstanceStatus, NEWEST, Phase, PoolStatus};
use crate::driver::Instance;

/// An instance with room for a call, and its place.
pub(super) type Room = (u64, Arc<dyn Instance>);

#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) wanted: u32,
    pub(super) closed: bool,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) counts: Counts,
    by_id: BTreeMap<u64, Place>,
    newest_id: u64,
    newest_number: u64,
}

#[derive(Debug)]
struct Place {
    phase: Phase,
    number: u64,
    /// Of the instance that is there, and of those before it whose calls have not ended.
    in_flight: u32,
    instance: Option<Arc<dyn Instance>>,
    retire: watch::Sender<bool>,
    suspected: Arc<Notify>,
}

/// A call that waits for room.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: u64,
    bytes: usize,
    pub(super) tell: oneshot::Sender<Room>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) arrived: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) broken_instances: u64,
    pub(super) last_failure: Option<String>,
    served: ServiceTimes,
    call_seconds: Option<f64>,
    start_seconds: Option<f64>,
}

impl Counts {
    /// Takes note of an answered call.
    pub(super) fn took(&mut self, took: Duration) {
        self.served.add(took);
        average(&mut self.call_seconds, took);
    }
}

fn average(known: &mut Option<f64>, newest: Duration) {
    let newest = newest.as_secs_f64();
    *known = Some(known.map_or(newest, |known| known + NEWEST * (newest - known)));
}

impl Places {
    /// Has this many places that are not given up; returns those that are new, with what gives each up.
    pub(super) fn scale(&mut self, wanted: u32) -> Vec<(u64, watch::Receiver<bool>)> {
        self.wanted = wanted;
        let kept = |place: &Place| !*place.retire.borrow();
        let have = self.by_id.values().filter(|place| kept(place)).count();
        let wanted = wanted as usize;
        // The youngest go first: those that have lived long are known to work.
        let leaving = self.by_id.values_mut().rev().filter(|place| kept(place));
        for place in leaving.take(have.saturating_sub(wanted)) {
            place.retire.send_replace(true);
            if matches!(place.phase, Phase::Ready | Phase::Suspect) {
                place.phase = Phase::Draining;
            }
        }
        (have..wanted)
            .map(|_| {
                let (retire, retired) = watch::channel(false);
                self.newest_id += 1;
                let place = Place {
                    phase: Phase::Starting,
                    number: 0,
                    in_flight: 0,
                    instance: None,
                    retire,
                    suspected: Arc::default(),
                };
                self.by_id.insert(self.newest_id, place);
                (self.newest_id, retired)
            })
            .collect()
    }

    /// Room for a call, which is taken: in the instance that has the fewest.
    pub(super) fn free(&mut self, concurrency: u32) -> Option<Room> {
        let ready = self.by_id.iter_mut().filter(|(_, place)| place.phase == Phase::Ready);
        let (id, place) = ready.min_by_key(|(_, place)| place.in_flight)?;
        if concurrency <= place.in_flight {
            return None;
        }
        let instance = Arc::clone(place.instance.as_ref()?);
        place.in_flight += 1;
        Some((*id, instance))
    }

    /// A call has left its place.
    pub(super) fn left(&mut self, id: u64) {
        if let Some(place) = self.by_id.get_mut(&id) {
            place.in_flight = place.in_flight.saturating_sub(1);
        }
    }

    pub(super) fn wait(&mut self, bytes: usize) -> (u64, oneshot::Receiver<Room>) {
        self.newest_id += 1;
        let (tell, told) = oneshot::channel();
        self.waiting.push_back(Waiting { id: self.newest_id, bytes, tell });
        (self.newest_id, told)
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.bytes).sum()
    }

    /// An instance is on its way: its number, and what says that it is suspected.
    pub(super) fn starts(&mut self, id: u64) -> Option<(u64, Arc<Notify>)> {
        let place = self.by_id.get_mut(&id)?;
        self.newest_number += 1;
        (place.number, place.phase) = (self.newest_number, Phase::Starting);
        Some((place.number, Arc::clone(&place.suspected)))
    }

    pub(super) fn started(&mut self, id: u64, instance: Arc<dyn Instance>, took: Duration) {
        average(&mut self.counts.start_seconds, took);
        if let Some(place) = self.by_id.get_mut(&id) {
            let is_retired = *place.retire.borrow();
            place.phase = if is_retired { Phase::Draining } else { Phase::Ready };
            place.instance = Some(instance);
        }
    }

    /// A call broke off under this instance.
    pub(super) fn suspect(&mut self, id: u64, instance: &Arc<dyn Instance>) {
        if let Some(place) = self.by_id.get_mut(&id)
            && place.phase == Phase::Ready
            && place.instance.as_ref().is_some_and(|is| Arc::ptr_eq(is, instance))
        {
            place.phase = Phase::Suspect;
            place.suspected.notify_one();
        }
    }

    /// A suspected instance is healthy.
    pub(super) fn cleared(&mut self, id: u64) {
        if let Some(place) = self.by_id.get_mut(&id)
            && place.phase == Phase::Suspect
        {
            place.phase = Phase::Ready;
        }
    }

    /// The instance there has failed.
    pub(super) fn broke(&mut self, id: u64, reason: String) {
        self.counts.broken_instances += 1;
        self.counts.last_failure = Some(reason);
        if let Some(place) = self.by_id.get_mut(&id) {
            (place.phase, place.instance) = (Phase::BackingOff, None);
        }
    }

    /// Calls that the place has.
    pub(super) fn in_flight(&self, id: u64) -> u32 {
        self.by_id.get(&id).map_or(0, |place| place.in_flight)
    }

    pub(super) fn gone(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn ready(&self) -> u32 {
        self.by_id.values().filter(|place| place.phase == Phase::Ready).count() as u32
    }

    pub(super) fn status(&self) -> PoolStatus {
        let instances = self.by_id.values().map(|place| InstanceStatus {
            number: place.number,
            phase: place.phase,
            in_flight: place.in_flight,
            pid: place.instance.as_ref().and_then(|instance| instance.pid()),
            usage: place.instance.as_ref().and_then(|instance| instance.usage()),
        });
        PoolStatus { instances: instances.collect(), ..self.load() }
    }

    /// The status without the instances, each of which may have to be asked of the system.
    pub(super) fn load(&self) -> PoolStatus {
        let counts = &self.counts;
        PoolStatus {
            wanted: self.wanted,
            ready: self.ready(),
            in_flight: self.by_id.values().map(|place| u64::from(place.in_flight)).sum(),
            waiting: self.waiting.len() as u64,
            arrived: counts.arrived,
            answered: counts.answered,
            failed: counts.failed,
            broken_instances: counts.broken_instances,
            last_failure: counts.last_failure.clone(),
            served: counts.served,
            call_seconds: counts.call_seconds,
            start_seconds: counts.start_seconds,
            instances: Vec::new(),
        }
    }
}
