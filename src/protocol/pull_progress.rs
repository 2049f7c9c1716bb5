//! What an engine tells of a pull: one JSON object a step, and an error where it fails.
//!
//! ```text
//! {"status":"Downloading","progressDetail":{"current":32768,"total":1986560},"id":"18ba37d9ce58"}
//! {"status":"Pull complete","progressDetail":{},"id":"18ba37d9ce58"}
//! {"errorDetail":{"code":429,"message":"…"},"error":"…"}
//! ```
//!
//! The words of `status` serve for showing progress only; nothing is decided by them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// More layers than any engine takes; others are not counted.
const MAX_LAYERS: usize = 512;
const MAX_ID: usize = 128;

/// One value of the stream.
#[derive(Debug, Default, Deserialize)]
pub struct PullValue {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default, rename = "progressDetail")]
    detail: Option<Detail>,
    /// What failed; Podman and Docker both send it.
    #[serde(default)]
    error: Option<String>,
    #[serde(default, rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Debug, Default, Deserialize)]
struct Detail {
    #[serde(default)]
    current: Option<i64>,
    #[serde(default)]
    total: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    code: Option<i64>,
    #[serde(default)]
    message: Option<String>,
}

/// A failure that came in the stream, after the engine had answered 200.
#[derive(Debug, PartialEq, Eq)]
pub struct PullError {
    /// The HTTP status that it would have been, where the engine says one.
    pub status: Option<u16>,
    /// For people.
    pub message: String,
}

impl PullValue {
    /// The failure that it tells of.
    pub fn failure(&self) -> Option<PullError> {
        if self.error.is_none() && self.error_detail.is_none() {
            return None;
        }
        let detail = self.error_detail.as_ref();
        let code = detail.and_then(|detail| detail.code);
        let message = detail
            .and_then(|detail| detail.message.clone())
            .or_else(|| self.error.clone())
            .filter(|message| !message.is_empty());
        Some(PullError {
            status: code
                .and_then(|code| u16::try_from(code).ok())
                .filter(|code| (400..600).contains(code)),
            message: message.unwrap_or_else(|| "the engine gives no reason".into()),
        })
    }
}

/// How far a pull is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PullProgress {
    /// Layers that are known of.
    pub layers: usize,
    /// Layers of which nothing is left to be done.
    pub layers_done: usize,
    /// Bytes that came, of layers whose size is known.
    pub bytes: u64,
    /// The size of all layers, where each has told its own.
    pub total_bytes: Option<u64>,
    /// 0 to 99, never falling: 100 is for when all of it is confirmed.
    pub percent: u8,
}

/// Adds up what the values say.
#[derive(Debug, Default)]
pub struct PullLayers {
    layers: BTreeMap<String, Layer>,
    percent: u8,
}

#[derive(Debug, Default)]
struct Layer {
    bytes: u64,
    total: Option<u64>,
    done: bool,
    /// Nothing of it had to be pulled.
    was_there: bool,
}

impl PullLayers {
    /// Takes a value; how far it is then.
    pub fn add(&mut self, value: &PullValue) -> PullProgress {
        if let (Some(id), Some(status)) = (&value.id, &value.status)
            && id.len() <= MAX_ID
            && (self.layers.contains_key(id) || self.layers.len() < MAX_LAYERS)
            && !status.starts_with("Pulling from")
        {
            let layer = self.layers.entry(id.clone()).or_default();
            let detail = value.detail.as_ref();
            let number = |number: Option<i64>| {
                number
                    .and_then(|n| u64::try_from(n).ok())
                    .filter(|n| *n > 0)
            };
            if let Some(total) = number(detail.and_then(|d| d.total)) {
                layer.total = Some(total);
            }
            // Extracting counts from the beginning again.
            let bytes = number(detail.and_then(|d| d.current)).unwrap_or(0);
            layer.bytes = layer.bytes.max(bytes);
            if matches!(
                status.as_str(),
                "Download complete" | "Extracting" | "Pull complete" | "Already exists"
            ) {
                layer.done = true;
            }
            layer.was_there |= status == "Already exists";
            if let Some(total) = layer.total {
                layer.bytes = if layer.done {
                    total
                } else {
                    layer.bytes.min(total)
                };
            }
        }
        self.progress()
    }

    /// How far it is.
    pub fn progress(&mut self) -> PullProgress {
        let layers = self.layers.values();
        let open = layers
            .clone()
            .any(|layer| layer.total.is_none() && !layer.done);
        let total = layers.clone().fold(0_u64, |sum, layer| {
            sum.saturating_add(layer.total.unwrap_or(0))
        });
        let bytes = layers.clone().fold(0_u64, |sum, layer| {
            sum.saturating_add(layer.bytes.min(layer.total.unwrap_or(0)))
        });
        // By layers, since most tell their size only when they begin. Those that were there are told of before the others are known.
        let pulled = layers.filter(|layer| !layer.was_there);
        let of_layers: u64 = pulled
            .clone()
            .map(|layer| match (layer.done, layer.total) {
                (true, _) => 1000,
                (false, Some(total)) => {
                    u64::try_from(u128::from(layer.bytes) * 1000 / u128::from(total)).unwrap_or(0)
                }
                (false, None) => 0,
            })
            .sum();
        if let Some(average) = of_layers.checked_div(pulled.count() as u64 * 10) {
            let percent = u8::try_from(average.min(99)).unwrap_or(99);
            self.percent = self.percent.max(percent);
        }
        PullProgress {
            layers: self.layers.len(),
            layers_done: self.layers.values().filter(|layer| layer.done).count(),
            bytes,
            total_bytes: (!open && total > 0).then_some(total),
            percent: self.percent,
        }
    }
}

/// What a registry's refusal means, by the code of the distribution specification that an engine's message begins with: older Docker passes
/// it on in an answer 500 that says nothing else. `Some(true)` where trying again helps.
pub fn registry_says_again(message: &str) -> Option<bool> {
    // "denied: requested access to the resource is denied"
    let code = message.split(':').next().unwrap_or_default().trim();
    match code {
        "toomanyrequests" => Some(true),
        "unauthorized"
        | "denied"
        | "unsupported"
        | "name invalid"
        | "name unknown"
        | "manifest unknown"
        | "manifest invalid"
        | "manifest unverified"
        | "digest invalid"
        | "tag invalid" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> PullValue {
        serde_json::from_str(text).unwrap()
    }

    fn add(layers: &mut PullLayers, id: &str, status: &str, detail: &str) -> PullProgress {
        layers.add(&value(&format!(
            r#"{{"id":"{id}","status":"{status}","progressDetail":{detail}}}"#
        )))
    }

    #[test]
    fn fr_020a_40_progress_is_added_up_and_never_falls() {
        let mut layers = PullLayers::default();
        assert_eq!(add(&mut layers, "1", "Pulling from a/b", "{}").layers, 0);
        assert_eq!(
            layers
                .add(&value(r#"{"status":"Digest: sha256:x"}"#))
                .layers,
            0
        );
        let there = add(&mut layers, "0", "Already exists", "{}");
        assert_eq!((there.percent, there.layers_done), (0, 1));
        for id in ["a", "b"] {
            assert_eq!(add(&mut layers, id, "Pulling fs layer", "{}").percent, 0);
        }
        let half = add(
            &mut layers,
            "a",
            "Downloading",
            r#"{"current":50,"total":100}"#,
        );
        assert_eq!((half.percent, half.bytes, half.total_bytes), (25, 50, None));
        let known = add(
            &mut layers,
            "b",
            "Downloading",
            r#"{"current":100,"total":300}"#,
        );
        assert_eq!((known.bytes, known.total_bytes), (150, Some(400)));
        assert_eq!(known.percent, 41);
        let more = add(&mut layers, "c", "Pulling fs layer", "{}");
        assert_eq!((more.percent, more.layers, more.total_bytes), (41, 4, None));
        let whole = add(&mut layers, "a", "Download complete", "{}");
        assert_eq!((whole.layers_done, whole.bytes), (2, 200));
        let extracting = add(
            &mut layers,
            "a",
            "Extracting",
            r#"{"current":1,"total":100}"#,
        );
        assert_eq!(extracting.bytes, 200);
        for id in ["b", "c"] {
            add(&mut layers, id, "Pull complete", "{}");
        }
        assert_eq!(layers.progress().percent, 99);
    }

    #[test]
    fn odd_numbers_and_floods_are_borne() {
        let mut layers = PullLayers::default();
        for detail in [
            r#"{"current":-5,"total":-1}"#,
            r#"{"current":9223372036854775807,"total":9223372036854775807}"#,
            r#"{"current":9223372036854775807,"total":1}"#,
            r#"{"current":0,"total":0}"#,
            "null",
        ] {
            for id in ["a", "b", "c"] {
                assert!(add(&mut layers, id, "Downloading", detail).percent <= 99);
            }
        }
        for id in 0..2000 {
            add(&mut layers, &format!("l{id}"), "Waiting", "{}");
        }
        assert_eq!(layers.progress().layers, MAX_LAYERS);
    }

    #[test]
    fn a_failure_in_the_stream_is_one() {
        let both = value(r#"{"errorDetail":{"code":429,"message":"slow"},"error":"slow down"}"#);
        let expected = PullError {
            status: Some(429),
            message: "slow".into(),
        };
        assert_eq!(both.failure(), Some(expected));
        for (text, message) in [
            (r#"{"error":"unexpected EOF"}"#, "unexpected EOF"),
            (r#"{"errorDetail":{"message":"m"}}"#, "m"),
            (
                r#"{"errorDetail":{"code":1}}"#,
                "the engine gives no reason",
            ),
            (r#"{"error":""}"#, "the engine gives no reason"),
        ] {
            let failure = value(text).failure().unwrap();
            assert_eq!((failure.status, failure.message.as_str()), (None, message));
        }
        assert_eq!(value(r#"{"status":"x"}"#).failure(), None);
    }

    #[test]
    fn a_registrys_code_says_whether_trying_again_helps() {
        assert_eq!(
            registry_says_again("toomanyrequests: slow down"),
            Some(true)
        );
        assert_eq!(registry_says_again("unauthorized"), Some(false));
        assert_eq!(registry_says_again("denied: requested access"), Some(false));
        assert_eq!(registry_says_again("dial tcp: denied"), None);
    }
}
