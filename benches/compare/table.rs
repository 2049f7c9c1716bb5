//! The rows of the comparison and their two shapes: a table to read and JSON.

/// Median and extremes of one quantity over all counted runs.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let median = f64::midpoint(values[last / 2], values[values.len() / 2]);
        Self {
            median,
            min: values[0],
            max: values[last],
        }
    }

    fn text(self) -> String {
        format!("{:.1} ({:.1}-{:.1})", self.median, self.min, self.max)
    }

    fn json(self) -> String {
        format!(
            r#"{{"median":{:.3},"min":{:.3},"max":{:.3}}}"#,
            self.median, self.min, self.max
        )
    }
}

/// One line of the table.
pub(crate) struct Row {
    what: &'static str,
    unit: &'static str,
    ours: Spread,
    other: Option<(&'static str, Spread)>,
    value: f64,
    target: f64,
}

impl Row {
    /// The ratio of both medians has to be at most `target`.
    pub(crate) fn ratio(
        what: &'static str,
        unit: &'static str,
        ours: Spread,
        other: (&'static str, Spread),
        target: f64,
    ) -> Self {
        let value = ours.median / other.1.median;
        Self {
            what,
            unit,
            ours,
            other: Some(other),
            value,
            target,
        }
    }

    /// The largest of our own values has to be at most `target`.
    pub(crate) fn limit(what: &'static str, unit: &'static str, ours: Spread, target: f64) -> Self {
        Self {
            what,
            unit,
            ours,
            other: None,
            value: ours.max,
            target,
        }
    }

    pub(crate) fn met(&self) -> bool {
        self.value <= self.target
    }

    fn text(&self) -> String {
        let (name, other) = self.other.map_or(("-", "-".to_owned()), |(name, spread)| {
            (name, spread.text())
        });
        let mark = if self.met() { "" } else { "  MISSED" };
        format!(
            "{:<28} {:<4} {:>24}  {:<10} {:>24} {:>7.2} <= {:<5.2}{mark}",
            self.what,
            self.unit,
            self.ours.text(),
            name,
            other,
            self.value,
            self.target
        )
    }

    fn json(&self) -> String {
        let other = self.other.map_or_else(String::new, |(name, spread)| {
            format!(r#","other":"{name}","other_values":{}"#, spread.json())
        });
        format!(
            r#"{{"what":"{}","unit":"{}","acode_rt":{}{other},"value":{:.4},"target":{},"met":{}}}"#,
            self.what,
            self.unit,
            self.ours.json(),
            self.value,
            self.target,
            self.met()
        )
    }
}

/// The table, below the lines of `facts`, each of a name and a text.
pub(crate) fn text(facts: &[(&str, String)], rows: &[Row]) -> String {
    let mut lines: Vec<String> = facts
        .iter()
        .map(|(name, text)| format!("{name:<8} {text}"))
        .collect();
    lines.push(String::new());
    lines.push(format!(
        "{:<28} {:<4} {:>24}  {:<10} {:>24} {:>7}    target",
        "median (min-max)", "", "acode-rt", "against", "", "ratio"
    ));
    lines.extend(rows.iter().map(Row::text));
    lines.join("\n")
}

/// The same as one JSON object.
pub(crate) fn json(facts: &[(&str, String)], rows: &[Row]) -> String {
    let mut members: Vec<String> = facts
        .iter()
        .map(|(name, text)| format!("{name:?}:{text:?}"))
        .collect();
    let rows: Vec<String> = rows.iter().map(Row::json).collect();
    members.push(format!(r#""rows":[{}]"#, rows.join(",")));
    format!("{{{}}}", members.join(","))
}
