//! Writing the receipt.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use acode_rt::Receipt;
use acode_rt::error::{Code, Error, Kind, Result};

use super::render;

/// Where the receipt goes: a regular file is replaced as a whole, anything else (a pipe, /dev/stderr) is written to.
pub(crate) struct ReceiptFile {
    path: PathBuf,
    fresh: Option<PathBuf>,
}

impl ReceiptFile {
    /// Finds out before anything is created whether it can be written.
    pub(crate) fn check(path: &Path) -> Result<Self> {
        let failed = |error| render::output_error(&path.display().to_string(), error);
        let special = fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
        if special || path.starts_with("/dev") || path.starts_with("/proc") {
            // Not opened yet: a pipe's reader would take the close for the end.
            return Ok(Self {
                path: path.to_owned(),
                fresh: None,
            });
        }
        // A link stays one; what it points to is replaced.
        let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let path = resolved.as_path();
        let name = path.file_name().filter(|_| !path.is_dir()).ok_or_else(|| {
            failed(std::io::Error::new(
                std::io::ErrorKind::IsADirectory,
                "it is a directory",
            ))
        })?;
        let mut fresh = name.to_owned();
        fresh.push(format!(".{}.tmp", std::process::id()));
        let fresh = path.with_file_name(fresh);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&fresh)
            .map_err(failed)?;
        fs::remove_file(&fresh).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            fresh: Some(fresh),
        })
    }

    fn write(self, text: &str) -> Result<()> {
        let failed = |error| render::output_error(&self.path.display().to_string(), error);
        let Some(fresh) = &self.fresh else {
            return OpenOptions::new()
                .write(true)
                .open(&self.path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(failed);
        };
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(fresh)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(fresh, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(fresh);
            failed(error)
        })
    }
}

/// Writes `receipt` with the fields of `over` laid over it.
pub(crate) fn write_receipt(
    file: Option<ReceiptFile>,
    over: &serde_json::Value,
    receipt: Option<&Receipt>,
) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let unwritable = |error| {
        Error::new(
            Code::OutputFile,
            Kind::Io,
            "receipt",
            "it cannot be written",
        )
        .because(error)
    };
    let mut value = match receipt {
        Some(receipt) => serde_json::to_value(receipt).map_err(unwritable)?,
        None => serde_json::json!({}),
    };
    if let (Some(fields), Some(over)) = (value.as_object_mut(), over.as_object()) {
        fields.extend(over.clone());
    }
    let text = serde_json::to_string_pretty(&value).map_err(unwritable)?;
    file.write(&format!("{text}\n"))
}
