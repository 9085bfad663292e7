//! Where an inference function's results go, from the text that says so.

use function::Funnel;
use function::http::client::HttpFunction;
use function::inference::Destination;
use kafka::Producer;

use crate::outcome::OrConfig as _;

const KAFKA: &str = "kafka://";

/// Whether a URL is a topic's.
pub(super) fn is_topic(url: &str) -> bool {
    url.starts_with(KAFKA)
}

/// The funnel at a URL, or for `kafka://BROKERS/TOPIC` one of this process.
pub(super) fn parse(url: &str) -> anyhow::Result<Destination> {
    let Some(place) = url.strip_prefix(KAFKA) else {
        return HttpFunction::new(url).map(Destination::Url).or_config();
    };
    let parts = place.split_once('/').filter(|(servers, topic)| {
        !servers.is_empty() && !topic.is_empty() && !topic.contains('/')
    });
    let (servers, topic) = parts
        .ok_or_else(|| {
            anyhow::anyhow!("`{url}` is not a topic's URL; expected one as kafka://broker-0:9092,broker-1:9092/topic")
        })
        .or_config()?;
    Ok(Destination::Funnel(Funnel::new(Producer::new(servers)?, topic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_lead_nowhere_are_refused() {
        for url in
            ["kafka://", "kafka://b:9092", "kafka://b:9092/", "kafka:///t", "kafka://b:9092/t/u"]
        {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains("expected"), "{error}");
        }
        assert!(parse("ftp://x").unwrap_err().to_string().contains("ftp://x"));
    }
}
