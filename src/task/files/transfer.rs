//! Files in before a task starts, and out when it has stopped.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::channel::{into_a_thread, out_of_a_thread};
use super::extract::{Collected, Stopped, extract};
use super::pack::pack;
use super::request::{Collecting, FILES_NAME};
use super::{CopiedIn, DEFAULT_LIMIT, FilesReceipt};
use crate::error::{Code, Error, Kind, Result};
use crate::task::container::TaskContainer;
use crate::task::outcome::{Cancel, Outcome};
use crate::task::runner::Requests;
use crate::task::spec::{TaskSpec, WORKSPACE};

/// All artifacts together are brought out within so long.
const COLLECTION: Duration = Duration::from_secs(300);
/// What has ended is known to have stopped within so long.
const STOPS: Duration = Duration::from_secs(10);
/// A thread that works with files notices within so long that nobody waits for it any more.
const LAST_WRITE: Duration = Duration::from_secs(5);

impl TaskContainer {
    /// Copies in what the specification asks for, and makes the working directory of a task with files. Between create and start, once;
    /// [`Runner::run`](crate::Runner::run) does it itself. Dropping the future abandons it.
    ///
    /// # Errors
    /// `ACODE-CTN-019`: a source cannot be read, changed while it was, or is too large; or the engine did not take it.
    pub async fn copy_in(&self) -> Result<CopiedIn> {
        let spec = &self.plan().spec;
        let failed =
            |kind, message: &str| self.mine(Error::new(Code::Artifact, kind, "copy in", message));
        let sources = spec.files.copy_in.iter().map(|copy| {
            copy.resolve()
                .map_err(|message| Error::invalid(Code::Configuration, "options", message))
        });
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let (mut inlet, outlet, tap) = out_of_a_thread();
        let (owner, now) = (spec.user, now());
        let mut packing = spawn_blocking(move || {
            let packed = pack(&mut inlet, FILES_NAME, &sources, owner, now)?;
            inlet.end()?;
            std::io::Result::Ok(packed)
        });
        let sent = self
            .engine()
            .archive_put(self.id().as_str(), WORKSPACE, outlet)
            .await;
        drop(tap);
        let packed = match timeout(LAST_WRITE, &mut packing).await {
            Ok(Ok(packed)) => packed,
            Ok(Err(error)) => {
                return Err(failed(Kind::Io, "the files could not be read").because(error));
            }
            Err(_) => return Err(failed(Kind::Timeout, "the files could not be read in time")),
        };
        match (sent, packed) {
            (Ok(()), Ok(packed)) => Ok(CopiedIn {
                entries: packed.entries - 1,
                bytes: packed.bytes,
                left_out: packed.left_out,
                left_out_count: packed.left_out_count,
            }),
            // Where both failed it was ours that failed first, unless it only noticed the other.
            (Err(error), Err(packing)) if packing.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(self.mine(error))
            }
            (_, Err(packing)) => Err(failed(Kind::Io, &packing.to_string())),
            (Err(error), Ok(_)) => Err(self.mine(error)),
        }
    }

    /// Brings out the artifacts of a container that has stopped, as [`Runner::run`](crate::Runner::run) does itself. Dropping the future
    /// abandons it; no file has its name before it is complete.
    ///
    /// # Errors
    /// `ACODE-CTN-018` when a destination cannot be written. What goes wrong later is in [`FilesReceipt::error`].
    pub async fn collect(&self) -> Result<FilesReceipt> {
        let collecting = open_all(&self.plan().spec)?;
        let mut receipt = FilesReceipt::default();
        self.collect_into(&mut receipt, collecting, std::future::pending())
            .await;
        Ok(receipt)
    }

    async fn collect_into(
        &self,
        receipt: &mut FilesReceipt,
        collecting: Vec<Collecting>,
        given_up: impl Future<Output = &'static str>,
    ) {
        let limit = self
            .plan()
            .spec
            .files
            .artifact_limit
            .unwrap_or(DEFAULT_LIMIT);
        let mut collected = Collected::up_to(limit);
        let mut given_up = std::pin::pin!(async {
            let deadline = Instant::now() + COLLECTION;
            tokio::select! {
                why = given_up => why,
                () = sleep_until(deadline) => "they were not there within five minutes",
            }
        });
        let stopped = tokio::select! {
            stopped = self.wait_until_stopped() => stopped,
            why = &mut given_up => Err(why.to_owned()),
        };
        if let Err(why) = stopped {
            receipt.fail(why);
        }
        for one in collecting {
            let path = one.path.clone();
            if receipt.error.is_some() {
                receipt.missing.push(path);
                continue;
            }
            let found;
            (collected, found) = self.collect_one(one, collected, given_up.as_mut()).await;
            receipt.note(path, found);
        }
        receipt.take(collected);
    }

    /// Whether there was any of it. An error says why not all of it is there.
    async fn collect_one(
        &self,
        one: Collecting,
        collected: Collected,
        given_up: impl Future<Output = &'static str>,
    ) -> (Collected, Result<bool, String>) {
        let mut given_up = std::pin::pin!(given_up);
        let source = one.source();
        let got = tokio::select! {
            got = self.engine().archive_get(self.id().as_str(), &source) => got,
            why = &mut given_up => return (collected, Err(why.to_owned())),
        };
        let mut archive = match got {
            Ok(archive) => archive,
            Err(error) if error.is_not_found() => return (collected, Ok(false)),
            Err(error) => return (collected, Err(error.message())),
        };
        let (mut sender, received) = into_a_thread();
        let mut collected = collected;
        let Collecting {
            wanted,
            mut destination,
            ..
        } = one;
        let job: JoinHandle<(Collected, Result<bool, Stopped>)> = spawn_blocking(move || {
            let found = extract(received, &wanted, &mut destination, &mut collected);
            (collected, found)
        });
        let sent = tokio::select! {
            sent = async {
                let patience = self.engine().timeouts().act;
                loop {
                    let next = timeout(patience, archive.next()).await;
                    let next = next.map_err(|_| format!("the engine sent nothing for {patience:?}"))?;
                    let Some(bytes) = next.map_err(|error| error.message())? else {
                        sender.flush().await;
                        break;
                    };
                    if !sender.send(bytes).await {
                        // It has seen the archive's end, or as much as it is going to read.
                        break;
                    }
                }
                Ok(())
            } => sent,
            why = &mut given_up => Err(why.to_owned()),
        };
        drop((sender, archive));
        match timeout(LAST_WRITE, job).await {
            Ok(Ok((collected, found))) => {
                let found = match (found, sent) {
                    (Err(stopped), Err(message)) if stopped.cut => Err(message),
                    (Err(stopped), _) => Err(stopped.message),
                    (Ok(_), Err(message)) => Err(message),
                    (Ok(found), Ok(())) => Ok(found),
                };
                (collected, found)
            }
            // What it had brought out is not known then.
            Ok(Err(_)) | Err(_) => (
                Collected::up_to(0),
                Err("the disk did not take what was to be written".into()),
            ),
        }
    }

    /// Nothing is read of a container that may still write.
    async fn wait_until_stopped(&self) -> Result<(), String> {
        let until = Instant::now() + STOPS;
        loop {
            match self.engine().container_inspect(self.id().as_str()).await {
                Ok(inspect) if inspect.state.has_ended() => return Ok(()),
                Err(error) if error.is_not_found() => return Err("the container is gone".into()),
                Err(error) if Instant::now() >= until => return Err(error.message()),
                Ok(_) if Instant::now() >= until => {
                    return Err(
                        "the container did not stop, and what still runs could change what is read"
                            .into(),
                    );
                }
                Ok(_) | Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Opens where artifacts go.
pub(crate) fn open_all(spec: &TaskSpec) -> Result<Vec<Collecting>> {
    spec.files
        .artifacts
        .iter()
        .map(super::ArtifactRequest::open)
        .collect()
}

/// Brings out what a task that ended so has left (FR-020A-74). A request to end that comes now, or is stronger than the one that ended the
/// task, ends this.
pub(crate) async fn collect(
    container: &TaskContainer,
    copied_in: CopiedIn,
    collecting: Vec<Collecting>,
    outcome: &Outcome,
    requests: &Requests,
) -> FilesReceipt {
    let mut receipt = FilesReceipt {
        copied_in,
        ..FilesReceipt::default()
    };
    if collecting.is_empty() {
        return receipt;
    }
    let asked = *requests.borrow();
    let hopeless = match outcome {
        Outcome::StartFailed { .. } => Some("the task did not start"),
        Outcome::EngineLost { .. } => Some("the engine was lost"),
        _ if asked == Some(Cancel::Kill) => Some("the task was to end at once"),
        _ => None,
    };
    if let Some(why) = hopeless {
        receipt.missing = collecting.into_iter().map(|one| one.path).collect();
        receipt.fail(why.to_owned());
        return receipt;
    }
    let mut requests = requests.clone();
    let given_up = async move {
        if requests.wait_for(|cancel| *cancel > asked).await.is_err() {
            std::future::pending::<()>().await;
        }
        "they were given up on request"
    };
    container
        .collect_into(&mut receipt, collecting, given_up)
        .await;
    receipt
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
