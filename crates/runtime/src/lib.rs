//! The edge runtime: functions, their instances, and the gateway through which they are deployed and called.
//!
//! One process, one node. A [`Deployment`] says what a function is; [`Functions`] keeps them, each with a [`Pool`]
//! of instances that a [`Driver`] starts: in this process, or as child processes. A call that finds no instance
//! waits for one, within bounds; one whose instance dies under it goes to another.
//!
//! What this crate leaves out: tensors, records and logs of records. What a function does with a call is its own
//! business; those that are built in are given to it as drivers.

mod chain;
pub mod counts;
pub mod deployment;
pub mod driver;
mod files;
pub mod functions;
pub mod gateway;
pub mod logs;
pub mod pool;
pub mod process;
pub mod scaler;
pub mod secrets;
mod spec;
mod timestamp;

pub use deployment::Deployment;
pub use driver::{Driver, Instance, Request, Response};
pub use functions::{Function, Functions};
pub use gateway::Gateway;
pub use pool::Pool;
pub use secrets::Secrets;
pub use spec::{HEALTH_ANNOTATION, Retry, SCALE_LABELS, Scaling, Spec, Target};
