//! Log lines go to stderr, results to stdout.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging with the filter given, or at the command's own level.
pub(crate) fn start(filter: Option<&Targets>, default: LevelFilter) {
    let default = || Targets::new().with_default(default);
    let filter = filter.cloned().unwrap_or_else(default);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}
