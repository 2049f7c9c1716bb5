//! Calls about networks.

mod list;
