//! Calls about volumes.

mod list;
