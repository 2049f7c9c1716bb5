//! The volume or the network that is there while a list of them is recorded.

use acode_rt::engine::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::cases::{container_name, labels};

/// What was made on the engine to be listed. A recording that is played has nothing to make.
pub(crate) struct Made<'a> {
    engine: Option<&'a Engine>,
    kind: &'static str,
}

impl<'a> Made<'a> {
    /// Makes one of `kind`: `volumes` or `networks`.
    ///
    /// # Panics
    /// The engine refuses, so that nothing is recorded.
    pub(crate) async fn make(engine: Option<&'a Engine>, kind: &'static str) -> Self {
        let made = Self { engine, kind };
        // An earlier recording may have been cut off before it removed its own.
        made.remove().await;
        made.ask("POST", "create", "HTTP/1.1 201 ").await;
        made
    }

    /// Removes it, also when there is none.
    pub(crate) async fn remove(&self) {
        let name = container_name();
        self.ask("DELETE", name.as_str(), "HTTP/1.1 204 ").await;
    }

    /// No call of the client's makes or removes either, so the request is written here.
    async fn ask(&self, method: &str, what: &str, good: &str) {
        let Some(engine) = self.engine else { return };
        let body = serde_json::json!({
            "Name": container_name().as_str(),
            "Labels": labels(),
            "Internal": true,
            // For documentation only, and so not another network's; an engine that chooses takes another each time.
            "IPAM": {"Config": [{"Subnet": "192.0.2.0/29"}]},
        });
        let body = body.to_string();
        let request = format!(
            "{method} /v{}/{}/{what} HTTP/1.1\r\nhost: acode-rt\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            engine.api_version(),
            self.kind,
            body.len()
        );
        let answer = exchange(engine, &request)
            .await
            .unwrap_or_else(|error| panic!("{method} {what}: {error}"));
        let was_gone = method == "DELETE" && answer.starts_with("HTTP/1.1 404 ");
        assert!(
            answer.starts_with(good) || was_gone,
            "{method} {what}: {answer}"
        );
    }
}

async fn exchange(engine: &Engine, request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(engine.socket()).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// What is counted differs with every recording; that it is counted does not.
pub(crate) fn used(stats: &acode_rt::model::Stats) -> String {
    format!(
        "cpu {}, memory {}, its peak {}, {} processes, {} block devices, {} networks",
        stats.cpu_stats.cpu_usage.total_usage > 0,
        stats.memory_stats.usage > 0,
        stats.memory_stats.max_usage > 0,
        stats.pids_stats.current,
        stats.blkio_stats.io_service_bytes_recursive.len(),
        stats.networks.len(),
    )
}
