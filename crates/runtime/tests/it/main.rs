//! The gateway through real HTTP, with functions that are written here.

#![cfg(test)]

mod calls;
mod faas_cli;
mod later;
mod logs;
mod scripted;
mod stage;
mod stopping;
mod system;
