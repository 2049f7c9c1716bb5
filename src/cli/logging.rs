//! Our log, on standard error: off unless asked for, since warnings and errors are said in any case.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::Level as TracingLevel;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use super::{Global, render};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

pub(crate) fn init(global: &Global) {
    let level = match (global.log_level, global.verbose) {
        (Some(level), _) => match level {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        },
        (None, 0) => return,
        (None, 1) => LevelFilter::from_level(TracingLevel::DEBUG),
        (None, _) => LevelFilter::from_level(TracingLevel::TRACE),
    };
    let ours = Targets::new().with_target("acode_rt", level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let registry = tracing_subscriber::registry();
    match global.log_format {
        Format::Json => registry
            .with(layer.json().flatten_event(true).with_filter(ours))
            .init(),
        Format::Text => {
            let colours = std::io::stderr().is_terminal() && render::colours_wanted();
            registry
                .with(layer.with_ansi(colours).with_filter(ours))
                .init();
        }
    }
}
