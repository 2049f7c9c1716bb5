//! Pure code: bytes in, values out. No sockets, clocks or files here.

pub mod demux;
pub mod json_lines;
pub mod name;
pub mod order;
pub mod record;
pub mod security;

pub mod api_version;
pub mod glob;
pub mod image_ref;
pub mod labels;
pub mod owner;
pub mod target;
pub mod time;
pub mod units;
