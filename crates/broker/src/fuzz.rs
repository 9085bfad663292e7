//! What a fuzzer may do to the broker, and what has to hold whatever it does.
//!
//! There is a [`Target`] per API, one for record batches, one for a connection's bytes, and one for the members
//! of a group. An input is carried out on a broker of its own ([`world`]), by the code that serves connections,
//! so that it does the same again:
//!
//! ```text
//! an API       ( version:u8 body )*   requests of it, one after the other; the version counts from the oldest
//! Batch        how:u8 bytes           a batch: as it is, or records that get a header, and may be compressed
//! Connection   how:u8 bytes           frames: as they are, or with lengths made to fit
//! Group        ( what:u8 how:u8 )*    steps of members, of which each may wait ([`group`])
//! ```
//!
//! Nothing may panic. A request that can be read reads the same again after it was written; each is answered,
//! in order, and the answer can be read. After all of it, groups end when nobody is heard from, compaction
//! changes no table, and the broker finds on its disk what it had in memory. Checksums are made right, and two
//! members of a group have ids that inputs can name, because no fuzzer finds either by chance.

pub(crate) mod batch;
mod group;
mod input;
mod world;

#[cfg(test)]
pub(crate) mod tests;

use bytes::Bytes;

use protocol::Api;
use world::World;

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Requests(Api),
    Batch,
    Connection,
    Group,
}

impl Target {
    /// All of them: one for each API that the broker speaks, and three more.
    pub fn all() -> Vec<Self> {
        let apis = Api::ALL.iter().map(|&api| Kind::Requests(api));
        apis.chain([Kind::Batch, Kind::Connection, Kind::Group]).map(Self).collect()
    }

    /// The target of a name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|target| target.name() == name)
    }

    /// The API's name in the protocol, or `Batch`, `Connection` or `Group`.
    pub fn name(self) -> String {
        match self.0 {
            Kind::Requests(api) => format!("{api:?}"),
            Kind::Batch | Kind::Connection | Kind::Group => format!("{:?}", self.0),
        }
    }
}

/// Carries out one input after the other.
#[derive(Debug)]
pub struct Fuzz {
    target: Target,
    /// As it was made: whatever changes it ends it.
    world: Option<World>,
}

impl Fuzz {
    /// Begins with nothing.
    pub fn new(target: Target) -> Self {
        Self { target, world: None }
    }

    /// Carries out an input. Panics where something does not hold.
    pub fn run(&mut self, input: &[u8]) {
        let parse = match self.target.0 {
            Kind::Requests(api) => input::requests(api),
            Kind::Batch => batch::requests,
            Kind::Connection => input::frames,
            Kind::Group => return group::run(input),
        };
        let world = self.world.take().unwrap_or_else(World::new);
        let input = world.named(input);
        let Some(parsed) = parse(Bytes::from(input)) else {
            self.world = Some(world);
            return;
        };
        self.world = world.carry_out(&parsed);
    }
}
