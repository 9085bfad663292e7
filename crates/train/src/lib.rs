//! Joint training of multi-exit networks.
