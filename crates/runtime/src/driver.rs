//! The seam between pools and what they run: a driver starts instances of a function, an instance takes calls.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::logs::Logs;
use crate::spec::Spec;

/// A call: method, path and query as the function is to see them, headers, and the whole body.
pub type Request = hyper::Request<Bytes>;
/// What a function answered.
pub type Response = hyper::Response<Bytes>;

/// Starts instances of functions.
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// Says what is wrong with a function that could never start: its program is not there, a setting is missing.
    fn check(&self, spec: &Spec) -> Result<(), String>;

    /// Starts an instance; it takes calls once this returns. `number` tells it from the function's others and is
    /// not used twice. What it writes goes to `logs`.
    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        number: u64,
        logs: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>>;
}

/// One instance of a function.
pub trait Instance: fmt::Debug + Send + Sync + 'static {
    /// Carries out a call.
    ///
    /// # Errors
    ///
    /// The instance broke off before it had answered, or can't be reached: the call may go to another one.
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, Broken>>;

    /// Whether it would take calls. An instance that is not healthy for long is replaced.
    fn healthy(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Returns when the instance has ended by itself, with why.
    fn ended(&self) -> BoxFuture<'_, String>;

    /// Ends it: it is asked to end, and made to after the grace period. Returns once nothing of it is left.
    fn stop(&self, grace: Grace) -> BoxFuture<'_, ()>;

    /// What it takes of the machine; `None` where it is part of this process.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Its process, if it is one of its own.
    fn pid(&self) -> Option<u32> {
        None
    }
}

/// How an instance is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// It may finish what it does.
    Drain,
    /// It does nothing that could be waited for: it hangs, or has ended.
    None,
}

/// A call that was not answered, with what is known of the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// What an instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Processor time since its start, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub memory_bytes: u64,
}
