//! `offramp function wait`.

use std::time::Duration;

use function::http::Function;

use super::container;

/// Give back what is posted, after a time: to try gateways and autoscalers with.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Milliseconds that a call takes.
    #[arg(long, env = "OFFRAMP_WAIT_MS", default_value_t = 150,
          value_parser = clap::value_parser!(u64).range(0..=600_000), value_name = "MS")]
    ms: u64,
    #[command(flatten)]
    pub(super) container: container::Args,
}

/// Makes the function.
pub(super) fn build(args: &Args) -> Function {
    Function::Wait(Duration::from_millis(args.ms))
}
