//! What is said of a pull, on standard error: a bar on a terminal, else a few lines.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use acode_rt::ImageRef;
use acode_rt::protocol::pull_progress::PullProgress;
use acode_rt::task::{OnPull, PullEvent};
use serde_json::{Value, json};

use super::{Global, render};

/// The bar is drawn no oftener than this.
const BAR_PAUSE: Duration = Duration::from_millis(100);
/// A line is written no oftener than this, and after each tenth.
const LINE_PAUSE: Duration = Duration::from_millis(500);
const BAR_CELLS: usize = 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Silent,
    Bar,
    Lines,
    Json,
}

/// What was written last.
#[derive(Default)]
struct Last {
    at: Option<Instant>,
    percent: Option<u8>,
    bar: bool,
}

/// Says of `image` what happens.
pub(crate) fn reporter(global: &Global, image: &ImageRef) -> OnPull {
    let style = if global.quiet {
        Style::Silent
    } else if global.json {
        Style::Json
    } else if stderr().is_terminal() && global.verbose == 0 {
        Style::Bar
    } else {
        Style::Lines
    };
    let image = image.to_string();
    let last = Mutex::new(Last::default());
    Box::new(move |event| {
        if let Ok(mut last) = last.lock() {
            report(style, &image, event, &mut last);
        }
    })
}

fn report(style: Style, image: &str, event: &PullEvent, last: &mut Last) {
    if style == Style::Silent {
        return;
    }
    if let PullEvent::Pulling(progress) = event
        && !last.is_due(style, *progress)
    {
        return;
    }
    match style {
        Style::Silent => {}
        Style::Json => render::json_note(&as_json(image, event)),
        Style::Bar => draw(image, event, last),
        Style::Lines => {
            for line in lines(image, event) {
                render::note("note", &line);
            }
        }
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.erase_bar();
    }
}

impl Last {
    /// The line belongs to whoever writes next.
    fn erase_bar(&mut self) {
        if std::mem::take(&mut self.bar) {
            // There is nobody to tell that standard error is closed.
            let _ = write!(stderr(), "\r\u{1b}[K");
        }
    }

    /// Whether it is time to say something again.
    fn is_due(&mut self, style: Style, progress: PullProgress) -> bool {
        let pause = if style == Style::Bar {
            BAR_PAUSE
        } else {
            LINE_PAUSE
        };
        let now = Instant::now();
        let early = self.at.is_some_and(|at| now - at < pause);
        let step = if style == Style::Bar { 0 } else { 10 };
        let small = self
            .percent
            .is_some_and(|percent| progress.percent < percent.saturating_add(step));
        if early || small {
            return false;
        }
        self.at = Some(now);
        self.percent = Some(progress.percent);
        true
    }
}

fn lines(image: &str, event: &PullEvent) -> Vec<String> {
    match event {
        PullEvent::Missing => vec![format!("Image not found locally: {image}")],
        PullEvent::Pulling(progress) if progress.layers == 0 => {
            vec![format!("Pulling image {image}")]
        }
        PullEvent::Pulling(progress) => vec![format!("Pull progress: {}%", progress.percent)],
        PullEvent::Waiting { error, pause } => {
            vec![format!(
                "{error}; trying again in {:.1} s",
                pause.as_secs_f64()
            )]
        }
        PullEvent::Pulled { took } => vec![
            "Pull progress: 100%".into(),
            format!("Image pulled in {:.1} s: {image}", took.as_secs_f64()),
        ],
        _ => Vec::new(),
    }
}

fn as_json(image: &str, event: &PullEvent) -> Value {
    let mut value = match event {
        PullEvent::Missing => json!({"state": "missing"}),
        PullEvent::Pulling(progress) => json!({"state": "pulling", "progress": progress}),
        PullEvent::Waiting { error, pause } => {
            json!({"state": "waiting", "error": error, "pause_ms": millis(*pause)})
        }
        PullEvent::Pulled { took } => json!({"state": "pulled", "took_ms": millis(*took)}),
        _ => json!({}),
    };
    value["event"] = "pull".into();
    value["image"] = image.into();
    value
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One line that is written over; it is gone when the pull has ended.
fn draw(image: &str, event: &PullEvent, last: &mut Last) {
    let width = rustix::termios::tcgetwinsize(stderr())
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|columns| *columns > 0)
        .unwrap_or(80);
    let text = match event {
        PullEvent::Pulling(progress) => bar(image, *progress, width),
        other => {
            last.erase_bar();
            if !matches!(other, PullEvent::Pulled { .. }) {
                for line in lines(image, other) {
                    render::note("note", &line);
                }
            }
            return;
        }
    };
    last.bar = true;
    let mut err = stderr();
    let _ = write!(err, "\r{text}\u{1b}[K").and_then(|()| err.flush());
}

fn bar(image: &str, progress: PullProgress, width: usize) -> String {
    let full = usize::from(progress.percent) * BAR_CELLS / 100;
    let cells = "#".repeat(full) + &".".repeat(BAR_CELLS - full);
    let bytes = match (progress.bytes, progress.total_bytes) {
        (0, _) => String::new(),
        (bytes, Some(total)) => format!("  {} of {}", megabytes(bytes), megabytes(total)),
        (bytes, None) => format!("  {}", megabytes(bytes)),
    };
    let text = format!("[{cells}] {:3}%{bytes}  pulling {image}", progress.percent);
    text.chars().take(width.saturating_sub(1)).collect()
}

/// As docker shows sizes.
#[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        100_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(percent: u8, bytes: u64, total: Option<u64>) -> PullProgress {
        let mut progress = PullProgress::default();
        progress.layers = 2;
        progress.percent = percent;
        progress.bytes = bytes;
        progress.total_bytes = total;
        progress
    }

    #[test]
    fn fr_020a_40_the_bar_fits_its_line() {
        let half = bar("busybox", progress(50, 1_500_000, Some(3_000_000)), 100);
        assert_eq!(
            half,
            "[###############...............]  50%  1.5 MB of 3.0 MB  pulling busybox"
        );
        assert!(bar("b", progress(0, 0, None), 100).ends_with("0%  pulling b"));
        for width in 1..80 {
            assert!(bar("busybox", progress(99, 5, None), width).chars().count() < width.max(2));
        }
    }

    #[test]
    fn fr_020a_40_lines_are_few() {
        let mut last = Last::default();
        assert!(last.is_due(Style::Lines, progress(0, 0, None)));
        assert!(!last.is_due(Style::Lines, progress(50, 0, None)));
        last.at = Some(Instant::now().checked_sub(LINE_PAUSE).unwrap());
        assert!(!last.is_due(Style::Lines, progress(9, 0, None)));
        assert!(last.is_due(Style::Lines, progress(10, 0, None)));
    }
}
