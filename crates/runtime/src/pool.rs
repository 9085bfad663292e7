//! A pool: the instances of one function, and the calls to it.
//!
//! Each instance has a place, and each place a task that keeps it: starts an instance, watches over it, replaces one
//! that ended or is not healthy (at once after a long life, later and later in a crash loop), and has it finish its
//! calls when the place is given up.
//!
//! A call goes to the instance that has the fewest. Where none has room, or none is there, it waits, up to
//! [`MAX_WAITING`] calls and [`MAX_WAITING_BYTES`], and no longer than the function's time for a call. A call whose
//! instance broke off goes to another, [`MAX_ATTEMPTS`] times in all: a function may see a call more than once.

mod keeper;
mod places;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use autoscale::ServiceTimes;
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::driver::{Broken, Driver, Instance, Request, Response, Usage};
use crate::logs::Logs;
use crate::spec::Spec;
use places::{Places, Room, Waiting};

/// Calls that wait for an instance, at most.
pub const MAX_WAITING: usize = 1024;
/// Bytes of their bodies, at most.
pub const MAX_WAITING_BYTES: usize = 64 << 20;
/// A call whose instance broke off this many times may be what breaks them.
pub const MAX_ATTEMPTS: u32 = 4;
/// How long a refused caller should wait: an instance starts meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What is known of the reason when the code of a function in this process panicked; the rest is on standard error.
const PANICKED: &str = "it panicked";
/// How much of the newest call or start goes into what is expected of the next.
const NEWEST: f64 = 0.1;

/// The instances of one function. They are given up when it is dropped, and waited for by [`Pool::close`].
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spec: Arc<Spec>,
    driver: Arc<dyn Driver>,
    logs: Logs,
    places: Mutex<Places>,
    changed: watch::Sender<()>,
    /// Where places are kept: a call may come from another runtime, which ends earlier.
    home: Handle,
}

/// Why a call was not answered by the function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// More calls wait than may.
    #[error("function `{name}`: {waiting} calls wait for an instance, which is as many as may")]
    Overloaded {
        /// The function.
        name: String,
        /// Calls that wait.
        waiting: usize,
        /// How long the caller should wait.
        retry_after: Duration,
    },
    /// No instance had room for it in time.
    #[error("function `{name}`: no instance took the call within {} s{reason}", waited.as_secs_f64())]
    NoInstance {
        /// The function.
        name: String,
        /// How long it waited.
        waited: Duration,
        /// What is known of why, with a colon before it.
        reason: String,
    },
    /// The function did not answer in time.
    #[error("function `{name}`: no answer within {} s", timeout.as_secs_f64())]
    Late {
        /// The function.
        name: String,
        /// How long it had.
        timeout: Duration,
    },
    /// Instances broke off under the call.
    #[error(
        "function `{name}`: {MAX_ATTEMPTS} instances broke off under the call, the last one: {reason}"
    )]
    Broken {
        /// The function.
        name: String,
        /// How the last one did.
        reason: String,
    },
    /// The function is being removed.
    #[error("function `{name}` is being removed")]
    Closed {
        /// The function.
        name: String,
    },
}

/// What a pool tells of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolStatus {
    /// Instances that there are to be.
    pub wanted: u32,
    /// Instances that take calls.
    pub ready: u32,
    /// Calls that instances have.
    pub in_flight: u64,
    /// Calls that wait for an instance.
    pub waiting: u64,
    /// Calls that have come.
    pub arrived: u64,
    /// Calls that were answered by the function, whatever it answered.
    pub answered: u64,
    /// Calls that were not.
    pub failed: u64,
    /// Instances that ended by themselves, or were not healthy, or did not start.
    pub broken_instances: u64,
    /// Why the last of them.
    pub last_failure: Option<String>,
    /// What instances spent on calls that they answered.
    pub served: ServiceTimes,
    /// How long a call takes, in seconds, newer ones counting more; not known at first.
    pub call_seconds: Option<f64>,
    /// How long an instance takes to start, in seconds, newer ones counting more; not known at first.
    pub start_seconds: Option<f64>,
    /// The instances.
    pub instances: Vec<InstanceStatus>,
}

/// What is known of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceStatus {
    /// Tells it from the function's others.
    pub number: u64,
    /// What it is doing.
    pub phase: Phase,
    /// Calls that it has.
    pub in_flight: u32,
    /// Its process, if it is one of its own.
    pub pid: Option<u32>,
    /// What it takes, if it is one.
    pub usage: Option<Usage>,
}

/// What an instance, or its place, is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does not take calls yet.
    Starting,
    /// It takes calls.
    Ready,
    /// A call broke off under it: it takes none until it has said that it is healthy.
    Suspect,
    /// It finishes its calls and takes no more.
    Draining,
    /// There is none: the last one failed, and the next waits.
    BackingOff,
}

impl Pool {
    /// A pool whose first instances start: as many as its function always has.
    pub fn new(spec: Arc<Spec>, driver: Arc<dyn Driver>, logs: Logs) -> Self {
        let this = Self {
            shared: Arc::new(Shared {
                spec,
                driver,
                logs,
                places: Mutex::default(),
                changed: watch::Sender::new(()),
                home: Handle::current(),
            }),
        };
        this.scale_to(this.shared.spec.scaling.min);
        this
    }

    /// Has the function carry out a call.
    pub async fn call(&self, request: Request) -> Result<Response, CallError> {
        self.shared.places().counts.arrived += 1;
        let called = self.attempt(request).await;
        let mut places = self.shared.places();
        match &called {
            Ok(_) => places.counts.answered += 1,
            Err(_) => places.counts.failed += 1,
        }
        called
    }

    async fn attempt(&self, request: Request) -> Result<Response, CallError> {
        let spec = &self.shared.spec;
        let deadline = Instant::now() + spec.timeout;
        let mut reason = String::new();
        for _ in 0..MAX_ATTEMPTS {
            let permit = self.permit(request.body().len(), deadline).await?;
            let started = Instant::now();
            // A function in this process that panics breaks off like one that ends.
            let call = AssertUnwindSafe(permit.instance.call(request.clone())).catch_unwind();
            let called = timeout_at(deadline, call).await;
            match called.map(|called| called.unwrap_or_else(|_| Err(Broken(PANICKED.into())))) {
                Ok(Ok(response)) => {
                    self.shared.places().counts.took(started.elapsed());
                    return Ok(response);
                }
                Ok(Err(Broken(broken))) => {
                    permit.suspect();
                    reason = broken;
                }
                Err(_) => {
                    return Err(CallError::Late { name: spec.name.clone(), timeout: spec.timeout });
                }
            }
        }
        Err(CallError::Broken { name: spec.name.clone(), reason })
    }

    /// Waits for an instance that has room.
    async fn permit(&self, bytes: usize, deadline: Instant) -> Result<Permit, CallError> {
        let shared = &self.shared;
        let name = || shared.spec.name.clone();
        let started = Instant::now();
        let (id, told) = {
            let mut places = shared.places();
            if places.closed {
                return Err(CallError::Closed { name: name() });
            }
            if let Some((place, instance)) = places.free(shared.spec.concurrency) {
                return Ok(Permit { shared: Arc::clone(shared), place, instance });
            }
            let waiting = places.waiting.len();
            if MAX_WAITING <= waiting || MAX_WAITING_BYTES < places.waiting_bytes() + bytes {
                return Err(CallError::Overloaded {
                    name: name(),
                    waiting,
                    retry_after: RETRY_AFTER,
                });
            }
            if places.wanted == 0 {
                shared.scale(&mut places, 1);
            }
            places.wait(bytes)
        };
        let mut waiting = StillWaiting { shared, id, told };
        match timeout_at(deadline, &mut waiting.told).await {
            Ok(Ok((place, instance))) => Ok(Permit { shared: Arc::clone(shared), place, instance }),
            Ok(Err(_)) => Err(CallError::Closed { name: name() }),
            Err(_) => {
                let reason = shared.places().counts.last_failure.clone();
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                Err(CallError::NoInstance { name: name(), waited: started.elapsed(), reason })
            }
        }
    }

    /// From now on this many instances, within the function's bounds; none where it may go to zero. Those that are too
    /// many finish their calls.
    pub fn scale_to(&self, instances: u32) -> u32 {
        let scaling = &self.shared.spec.scaling;
        let min = if scaling.zero_after.is_some() { 0 } else { scaling.min };
        let mut places = self.shared.places();
        // Those that wait would wait for ever.
        let min = if places.waiting.is_empty() { min } else { min.max(1) };
        let wanted = instances.clamp(min, scaling.max);
        if !places.closed {
            self.shared.scale(&mut places, wanted);
        }
        wanted
    }

    /// Waits until so many instances take calls.
    ///
    /// # Errors
    ///
    /// Why they do not, after so many `failures`, or at the deadline.
    pub async fn ready(
        &self,
        instances: u32,
        failures: u64,
        within: Duration,
    ) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let mut changed = self.shared.changed.subscribe();
        loop {
            {
                let places = self.shared.places();
                if instances <= places.ready() {
                    return Ok(());
                }
                if failures <= places.counts.broken_instances {
                    let reason = places.counts.last_failure.clone();
                    return Err(reason.unwrap_or_else(|| "no instance starts".to_owned()));
                }
            }
            match timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(format!("no instance is ready within {} s", within.as_secs())),
            }
        }
    }

    /// Keeps a failure that concerns the function and none of these instances, for those who look.
    pub fn note_failure(&self, reason: String) {
        self.shared.places().counts.last_failure = Some(reason);
    }

    /// What it tells of itself but for its instances: for those who look often.
    pub fn load(&self) -> PoolStatus {
        self.shared.places().load()
    }

    /// What it tells of itself.
    pub fn status(&self) -> PoolStatus {
        self.shared.places().status()
    }

    /// Has every instance finish its calls and end, which is not waited for. Calls that wait are told.
    pub fn give_up(&self) {
        self.shared.close();
    }

    /// Gives the instances up, and waits until there is none.
    pub async fn close(&self) {
        self.give_up();
        let mut changed = self.shared.changed.subscribe();
        while !self.shared.places().is_empty() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("no holder panics")
    }

    fn scale(self: &Arc<Self>, places: &mut Places, wanted: u32) {
        for (place, retire) in places.scale(wanted) {
            self.home.spawn(keeper::keep(Arc::clone(self), place, retire));
        }
        self.changed.send_replace(());
    }

    fn close(self: &Arc<Self>) {
        let mut places = self.places();
        places.closed = true;
        places.waiting.clear();
        self.scale(&mut places, 0);
    }

    /// Gives what is free to those who wait.
    fn serve_waiting(&self) {
        let mut unheard = Vec::new();
        {
            let mut places = self.places();
            while !places.waiting.is_empty()
                && let Some((place, instance)) = places.free(self.spec.concurrency)
                && let Some(Waiting { tell, .. }) = places.waiting.pop_front()
            {
                // Its caller has gone meanwhile.
                if let Err((place, _)) = tell.send((place, instance)) {
                    unheard.push(place);
                }
            }
            for place in unheard {
                places.left(place);
            }
        }
        self.changed.send_replace(());
    }
}

/// A call's room in an instance; given back when it is dropped.
struct Permit {
    shared: Arc<Shared>,
    place: u64,
    instance: Arc<dyn Instance>,
}

impl Permit {
    /// The instance broke off: it gets no call until it has said that it is healthy.
    fn suspect(&self) {
        self.shared.places().suspect(self.place, &self.instance);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.places().left(self.place);
        self.shared.serve_waiting();
    }
}

/// A call that waits. It waits no more when this is dropped, and room that it was given and has not taken is free.
struct StillWaiting<'a> {
    shared: &'a Shared,
    id: u64,
    told: oneshot::Receiver<Room>,
}

impl Drop for StillWaiting<'_> {
    fn drop(&mut self) {
        let mut places = self.shared.places();
        places.waiting.retain(|waiting| waiting.id != self.id);
        if let Ok((place, _)) = self.told.try_recv() {
            places.left(place);
            drop(places);
            self.shared.serve_waiting();
        }
    }
}
