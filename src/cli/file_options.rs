//! The options of `exec` about the host's files, and secrets.

use acode_rt::error::Result;
use acode_rt::protocol::units::parse_size;
use acode_rt::task::{ArtifactRequest, BindMount, CopyIn, Secret, TaskSpec, Workspace};
use clap::Args;

use super::secrets::SecretSource;

#[derive(Debug, Args)]
pub(crate) struct FileOptions {
    /// A directory of ours as /workspace; the task runs as its owner. Read-only with :ro
    #[arg(long, value_name = "DIR[:ro]", value_parser = Workspace::parse, help_heading = "Files")]
    workspace: Option<Workspace>,
    /// A file or directory of ours at a path inside, read-only unless :rw is said
    #[arg(long, value_name = "SOURCE:TARGET[:rw]", value_parser = BindMount::parse, help_heading = "Files")]
    mount: Vec<BindMount>,
    /// A directory of ours that many tasks may read at once
    #[arg(long, value_name = "DIR:TARGET", value_parser = parse_cache, help_heading = "Files")]
    cache: Vec<BindMount>,
    /// Let the engine relabel what is mounted, for SELinux
    #[arg(long, help_heading = "Files")]
    selinux_relabel: bool,
    /// A secret as the file /run/secrets/NAME, whose source is `file:PATH`, `env:VARIABLE` or `fd:NUMBER`
    #[arg(long = "secret", value_name = "NAME=SOURCE", help_heading = "Files")]
    secrets: Vec<String>,
    /// A secret as the environment variable NAME
    #[arg(
        long = "secret-env",
        value_name = "NAME=SOURCE",
        help_heading = "Files"
    )]
    secret_variables: Vec<String>,
    /// Copy a file or directory in before the task starts: under its own name to /workspace/src, which is the working directory then
    #[arg(long, value_name = "SRC[:DEST]", value_parser = CopyIn::parse, help_heading = "Files")]
    copy_in: Vec<CopyIn>,
    /// Bring files out when the task has ended, however it did; with *, ?, [...] and **. None there after a success is status 125
    #[arg(long = "artifact", value_name = "PATH[:DEST]", value_parser = ArtifactRequest::parse, help_heading = "Files")]
    artifacts: Vec<ArtifactRequest>,
    /// Bytes of all artifacts together [default: 4g]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Files")]
    artifact_limit: Option<u64>,
    /// Refuse what the task could fill the engine's disk with
    #[arg(long, help_heading = "Files")]
    require_disk_bound: bool,
}

impl FileOptions {
    /// The same, without anything that would be read.
    pub(super) fn without_secrets(self) -> Self {
        Self {
            secrets: Vec::new(),
            secret_variables: Vec::new(),
            ..self
        }
    }

    pub(super) fn apply(&self, spec: &mut TaskSpec) -> Result<()> {
        spec.workspace.clone_from(&self.workspace);
        spec.mounts = self.mount.iter().chain(&self.cache).cloned().collect();
        spec.selinux_relabel = self.selinux_relabel;
        // Not by clap, which would repeat what may be a secret.
        for text in &self.secrets {
            let source = SecretSource::parse(text)?;
            spec.secrets
                .push(Secret::file(&source.name, source.read()?));
        }
        for text in &self.secret_variables {
            let source = SecretSource::parse(text)?;
            spec.secrets
                .push(Secret::variable(&source.name, source.read()?));
        }
        spec.files.copy_in.clone_from(&self.copy_in);
        spec.files.artifacts.clone_from(&self.artifacts);
        spec.files.artifact_limit = self.artifact_limit;
        spec.require_disk_bound = self.require_disk_bound;
        Ok(())
    }
}

fn parse_cache(text: &str) -> std::result::Result<BindMount, String> {
    let cache = BindMount::parse(text)?;
    if cache.writable {
        return Err(
            "a cache is shared, and so read-only; what a task may write to is a --mount".into(),
        );
    }
    Ok(cache)
}
