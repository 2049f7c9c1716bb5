//! What an engine says of its host's protections: `SecurityOptions` of `GET /info`.

/// Which profile filters system calls where a container asks for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seccomp<'a> {
    /// The engine's own.
    Builtin,
    /// The operator's, by its path or name.
    Custom(&'a str),
    /// None: switched off, or the kernel has no such filter.
    None,
}

/// The protections of an engine's host.
#[expect(clippy::struct_excessive_bools, reason = "each is there or not")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a> {
    /// The filter of system calls.
    pub seccomp: Seccomp<'a>,
    /// Containers get an `AppArmor` profile.
    pub apparmor: bool,
    /// Containers get an `SELinux` label.
    pub selinux: bool,
    /// Root in a container is somebody else on the host.
    pub userns: bool,
    /// The engine itself is not root.
    pub rootless: bool,
}

impl<'a> Host<'a> {
    /// Reads entries such as `name=seccomp,profile=builtin`.
    pub fn of(options: &'a [String]) -> Self {
        let find = |name: &str| {
            options.iter().find(|option| {
                option
                    .split(',')
                    .any(|part| part.strip_prefix("name=") == Some(name))
            })
        };
        let seccomp = match find("seccomp").map(|option| {
            option
                .split(',')
                .find_map(|part| part.strip_prefix("profile="))
                .unwrap_or("default")
        }) {
            None | Some("unconfined") => Seccomp::None,
            Some("default" | "builtin") => Seccomp::Builtin,
            Some(custom) => Seccomp::Custom(custom),
        };
        Self {
            seccomp,
            apparmor: find("apparmor").is_some(),
            selinux: find("selinux").is_some(),
            userns: find("userns").is_some(),
            rootless: find("rootless").is_some(),
        }
    }

    /// Whether system calls are filtered where a container asks for nothing.
    pub fn filters(&self) -> bool {
        self.seccomp != Seccomp::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_say_of_their_host() {
        let of =
            |options: &[&str]| -> Vec<String> { options.iter().map(|o| (*o).to_owned()).collect() };
        let plain = of(&["name=seccomp,profile=builtin"]);
        let host = Host::of(&plain);
        assert_eq!(host.seccomp, Seccomp::Builtin);
        assert!(
            host.filters() && !host.apparmor && !host.selinux && !host.userns && !host.rootless
        );
        let all = of(&[
            "name=apparmor",
            "name=seccomp,profile=/etc/x.json",
            "name=selinux",
            "name=userns",
            "name=rootless",
            "name=cgroupns",
        ]);
        let host = Host::of(&all);
        assert_eq!(host.seccomp, Seccomp::Custom("/etc/x.json"));
        assert!(host.apparmor && host.selinux && host.userns && host.rootless);
        assert!(!Host::of(&of(&["name=seccomp,profile=unconfined"])).filters());
        assert!(!Host::of(&of(&["name=seccompx", "seccomp"])).filters());
        assert!(!Host::of(&[]).filters());
    }
}
