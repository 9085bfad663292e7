//! The edge runtime: its gateway through real HTTP, with functions that are written here, and real processes.

#![cfg(test)]

mod calls;
mod faas_cli;
mod later;
mod logs;
mod programs;
mod scripted;
mod stage;
mod stopping;
mod system;
