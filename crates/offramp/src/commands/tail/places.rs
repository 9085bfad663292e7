//! Which topics are read, and what it means to arrive there.

use std::net::{IpAddr, SocketAddr};

use anyhow::anyhow;
use bench::Place;
use pipeline::{DEFAULT_LISTEN, Pipeline, Servers, Topic};

use super::Args;
use crate::commands::pipeline_file;
use crate::outcome::OrConfig as _;

/// What a topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Sent,
    /// Answers, of the tier with this number.
    Answers(usize),
    /// Dead letters, of the tier with this number, if it is known.
    DeadLetters(Option<usize>),
}

/// The topics, and the tiers that write them.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) places: Vec<Place>,
    /// As many as `places`.
    pub(super) roles: Vec<Role>,
    /// Names of tiers, or of topics where no pipeline says whose they are.
    pub(super) tiers: Vec<String>,
}

impl Topics {
    pub(super) fn of(args: &Args) -> anyhow::Result<Self> {
        if args.outputs.is_empty() {
            return Self::of_pipeline(&pipeline_file::read(&args.file)?, args);
        }
        let servers = args.bootstrap_servers.as_deref().unwrap_or(DEFAULT_LISTEN);
        let place = |topic: &String| Place { servers: servers.to_owned(), topic: topic.clone() };
        let sent = args.sent.iter().map(|topic| (place(topic), Role::Sent));
        let answers = args.outputs.iter().enumerate();
        let answers = answers.map(|(at, topic)| (place(topic), Role::Answers(at)));
        let letters = args.dead_letters.iter();
        let letters = letters.map(|topic| (place(topic), Role::DeadLetters(None)));
        let (places, roles) = sent.chain(answers).chain(letters).unzip();
        Ok(Self { places, roles, tiers: args.outputs.clone() })
    }

    fn of_pipeline(pipeline: &Pipeline, args: &Args) -> anyhow::Result<Self> {
        let place = |topic: &Topic| -> anyhow::Result<Place> {
            let servers = match (&args.bootstrap_servers, &topic.servers) {
                (Some(servers), _) | (None, Servers::Bootstrap(servers)) => servers.clone(),
                (None, Servers::Embedded) => embedded(pipeline)?,
            };
            Ok(Place { servers, topic: topic.name.clone() })
        };
        let input = &pipeline.tiers[0].input;
        let sent = Topic {
            name: args.sent.clone().unwrap_or_else(|| input.name.clone()),
            servers: input.servers.clone(),
        };
        let (mut places, mut roles) = (vec![place(&sent)?], vec![Role::Sent]);
        for (at, tier) in pipeline.tiers.iter().enumerate() {
            places.push(place(&tier.output)?);
            roles.push(Role::Answers(at));
            places.push(place(&tier.dead_letter)?);
            roles.push(Role::DeadLetters(Some(at)));
        }
        let tiers = pipeline.tiers.iter().map(|tier| tier.name.clone()).collect();
        Ok(Self { places, roles, tiers })
    }

    pub(super) fn has_sent(&self) -> bool {
        self.roles.contains(&Role::Sent)
    }
}

/// Where the embedded broker of a pipeline is reached from this machine.
fn embedded(pipeline: &Pipeline) -> anyhow::Result<String> {
    let broker = pipeline.broker.as_ref().expect("a pipeline that says `embedded` has a broker");
    let mut listen = broker.listen;
    if listen.port() == 0 {
        return Err(anyhow!(
            "the embedded broker listens on a port that is chosen when it starts ({listen}); \
             give its address, which `offramp up` logs, as --bootstrap-servers"
        ))
        .or_config();
    }
    if listen.ip().is_unspecified() {
        let loopback = match listen {
            SocketAddr::V4(_) => IpAddr::from(std::net::Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        };
        listen.set_ip(loopback);
    }
    Ok(listen.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn pipeline(listen: &str) -> Pipeline {
        let text = format!(
            "[pipeline]\nname = \"p\"\n[broker]\nlisten = \"{listen}\"\n\
             [[tier]]\nname = \"edge\"\nmodel = \"e.onnx\"\n"
        );
        Pipeline::parse(&text, Path::new("")).unwrap()
    }

    #[test]
    fn the_embedded_broker_is_reached_where_it_listens() {
        assert_eq!(embedded(&pipeline("127.0.0.1:9092")).unwrap(), "127.0.0.1:9092");
        assert_eq!(embedded(&pipeline("0.0.0.0:19092")).unwrap(), "127.0.0.1:19092");
        assert_eq!(embedded(&pipeline("[::]:19092")).unwrap(), "[::1]:19092");
        let error = embedded(&pipeline("127.0.0.1:0")).unwrap_err().to_string();
        assert!(error.contains("--bootstrap-servers"), "{error}");
    }
}
