//! The `offramp` command line.

fn main() {}
