//! Calls about images.

mod import;
mod inspect;
mod list;
