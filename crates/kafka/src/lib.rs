//! Consumer and producer as offramp needs them: delivery-confirmed, commits in order.
