//! Pure code: bytes in, values out. No sockets, clocks or files here.

pub mod demux;
pub mod json_lines;
pub mod name;
pub mod order;
pub mod record;
pub mod security;

pub mod api_version;
pub mod base64;
pub mod glob;
pub(crate) mod hex;
pub mod image_pattern;
pub mod image_ref;
pub mod labels;
pub mod owner;
pub mod pull_progress;
pub mod registry_auth;
pub mod target;
pub mod time;
pub mod units;
