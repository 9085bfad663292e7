//! A broker behind a link that a test can cut.

use std::net::SocketAddr;
use std::sync::Arc;

use broker::{Broker, BrokerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A broker that clients reach through a link only.
pub(crate) struct Linked {
    _broker: Broker,
    /// The link's lower end.
    pub(crate) servers: String,
    is_cut: Arc<watch::Sender<bool>>,
    link: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Linked {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(ANYWHERE).await.unwrap();
        let servers = listener.local_addr().unwrap().to_string();
        let dir = tempfile::tempdir().unwrap();
        let mut config = BrokerConfig::new(dir.path(), ANYWHERE);
        config.advertise = Some(servers.clone());
        let broker = Broker::start(config).await.unwrap();
        let is_cut = Arc::new(watch::Sender::new(false));
        let link = tokio::spawn(carry(listener, broker.local_addr(), Arc::clone(&is_cut)));
        Self { _broker: broker, servers, is_cut, link, _dir: dir }
    }

    /// Nothing comes through any more, and nobody is told: connections stay open, new ones are taken and silent.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Connections that were cut break; new ones come through.
    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.link.abort();
    }
}

async fn carry(listener: TcpListener, to: SocketAddr, is_cut: Arc<watch::Sender<bool>>) {
    loop {
        let (mut below, _) = listener.accept().await.unwrap();
        let mut is_cut = is_cut.subscribe();
        tokio::spawn(async move {
            let carried = async {
                let Ok(mut above) = TcpStream::connect(to).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut below, &mut above).await;
            };
            let is_cut_now = *is_cut.borrow();
            if !is_cut_now {
                tokio::select! {
                    () = carried => return,
                    _ = is_cut.wait_for(|is_cut| *is_cut) => {}
                }
            }
            // Held open, without a word, until the link is mended.
            let _ = is_cut.wait_for(|is_cut| !*is_cut).await;
        });
    }
}
