use super::tests::{BIG, both, option};
use super::*;

/// A small generator: the same cases each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Lines of which files are made; some are right only at some places.
const LINES: [&str; 46] = [
    "docker:",
    "docker: {}",
    "  enabled: true",
    "  enabled: false",
    "  images:",
    "    node: busybox",
    "    combined: [{languages: [a, b], image: x}]",
    "  resources:",
    "    memory: 64m",
    "    memory: 3g",
    "    memory: 8g",
    "    memory: -1",
    "    cpus: 0.5",
    "    cpus: 3",
    "    cpus: .inf",
    "    pids_limit: 10",
    "    pids_limit: 2000",
    "    shm_size: 1m",
    "    shm_size: 1g",
    "    privileged: true",
    "  cleanup:",
    "    on_task_complete: true",
    "    on_task_complete: false",
    "    orphan_on_startup: true",
    "    orphan_on_startup: false",
    "    timeout_seconds: 10",
    "    timeout_seconds: 25",
    "    timeout_seconds: 1000",
    "    timeout_seconds: 1",
    "  network: none",
    "  network: bridge",
    "  privileged: true",
    "defaults:",
    "  keep: true",
    "  network: host",
    "  memory: 16g",
    "policy:",
    "  deny: []",
    "  max: {memory: 32g}",
    "  networks: [bridge]",
    "<<: *a",
    "x: &a",
    "---",
    "\t",
    "'",
    "]",
];

const OPERATORS: [&str; 6] = [
    "",
    "docker: {resources: {memory: 1g, cpus: 1, pids_limit: 100, shm_size: 2m}, cleanup: {timeout_seconds: 20}, network: bridge}",
    "docker: {resources: {memory: 16g, cpus: 8}, cleanup: {on_task_complete: false, orphan_on_startup: false, timeout_seconds: 90}}",
    "policy: {max: {memory: 2g, cpus: 1, pids: 50, timeout: 1m}, networks: [none], deny: [root, keep]}",
    "defaults: {memory: 2g, network: ci, sweep: before, keep: false, timeout: 5m, cap-add: [CHOWN]}",
    "docker: {cleanup: {orphan_on_startup: false}}\ndefaults: {writable-root: true, init: engine}",
];

/// Lines in any order.
fn noise(random: &mut Random) -> String {
    let lines = (0..=random.below(8)).map(|_| random.pick(&LINES));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Lines where they belong, most of them right.
fn likely(random: &mut Random) -> String {
    let mut text = String::from("docker:\n");
    for (section, keys) in [
        ("resources", ["memory", "cpus", "pids_limit", "shm_size"]),
        (
            "cleanup",
            [
                "timeout_seconds",
                "on_task_complete",
                "orphan_on_startup",
                "on_agent_exit",
            ],
        ),
    ] {
        text.push_str(&["  ", section, ":\n"].concat());
        for key in keys {
            let values: &[&str] = match key {
                "memory" => &["6m", "64m", "1g", "3g", "4g", "8g"],
                "cpus" => &["0.01", "0.5", "1", "2.0", "3"],
                "pids_limit" => &["1", "10", "100", "1000", "2000"],
                "shm_size" => &["1", "1m", "64m", "1g"],
                "timeout_seconds" => &["1", "10", "20", "30", "60"],
                _ => &["true", "true", "true", "false"],
            };
            if random.below(3) == 0 {
                text.push_str(&["    ", key, ": ", random.pick(values), "\n"].concat());
            }
        }
    }
    if random.below(3) == 0 {
        text.push_str(random.pick(&[
            "  network: none\n",
            "  network: bridge\n",
            "  enabled: true\n",
        ]));
    }
    text
}

/// Whatever a repository's file has in it: it is refused, or nothing is looser than without it.
#[test]
fn nothing_in_a_repositorys_file_makes_anything_looser() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut accepted, mut lowered) = (0, 0);
    for case in 0..20_000 {
        let mut text = if case % 3 == 0 {
            noise(&mut random)
        } else {
            likely(&mut random)
        };
        if random.below(5) == 0 {
            let at = random.below(text.len());
            text.replace_range(
                at..=at,
                random.pick(&["", " ", "\n", ":", "{", "&", "0", "-"]),
            );
        }
        let operator = random.pick(&OPERATORS);
        let without = both(operator, "").unwrap();
        if let Ok(with) = both(operator, &text) {
            accepted += 1;
            lowered += usize::from(is_no_looser(&with, &without, &text));
        }
    }
    assert!(
        accepted > 1000 && lowered > 300,
        "{accepted} accepted, {lowered} lowered"
    );
}

/// Panics where it is; whether anything is tighter.
fn is_no_looser(with: &Settings, without: &Settings, text: &str) -> bool {
    let mut tighter = false;
    assert_eq!(with.rules(), without.rules(), "{text}");
    let limits = limits(BIG, &without.policy).unwrap();
    for limit in &limits {
        let holds = |settings: &Settings| match settings.options.get(limit.option) {
            Some(setting) => setting.amount(limit.parse).unwrap(),
            None => limit.here,
        };
        assert!(
            holds(with) <= holds(without) && holds(with) > 0,
            "{}: {text}",
            limit.option
        );
        tighter |= holds(with) < holds(without);
    }
    let cleanup = |settings: &Settings| {
        let given = settings.options.get("cleanup-timeout");
        given.map_or(30_000_000_000, |setting| setting.amount(nanos).unwrap())
    };
    assert!(cleanup(with) <= cleanup(without), "{text}");
    assert!(
        cleanup(with) >= cleanup(without).min(10_000_000_000),
        "{text}"
    );
    let word = |settings: &Settings, name: &str, built_in: &str| {
        option(settings, name).map_or(built_in.to_owned(), |(text, _)| text)
    };
    for (name, built_in, tightest) in [
        ("network", "none", "none"),
        ("keep", "false", "false"),
        ("sweep", "beside", "beside"),
    ] {
        let (now, before) = (word(with, name, built_in), word(without, name, built_in));
        assert!(now == before || now == tightest, "{name}: {text}");
        tighter |= now != before;
    }
    let known = [
        "memory",
        "cpus",
        "pids",
        "shm-size",
        "cleanup-timeout",
        "network",
        "keep",
        "sweep",
    ];
    for (name, setting) in &with.options {
        let same = || {
            let before = without.options.get(name);
            before.is_some_and(|before| {
                before.values == setting.values && before.place == setting.place
            })
        };
        assert!(known.contains(&name.as_str()) || same(), "{name}: {text}");
    }
    for name in without.options.keys() {
        assert!(with.options.contains_key(name), "{name} is gone: {text}");
    }
    tighter
}
