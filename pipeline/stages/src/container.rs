//! The container that a cgroup's path names.
//!
//! Sources: Docker, "Runtime metrics" (`docker-<id>.scope`, `docker/<id>`); Kubernetes, kubelet's cgroup
//! drivers (`kubepods.slice/…/<runtime>-<id>.scope`, `kubepods/…/pod<uid>/<id>`); the layouts in
//! falcosecurity/libs, `userspace/libsinsp/container_engine` (containerd without `SystemdCgroup`, podman);
//! `lxc.container.conf(5)` (`lxc.payload.<name>`); systemd-nspawn(1) and systemd-machined.service(8).

/// Runtime, what its cgroup's name begins with, and what it may end with; between them is an id.
const SCOPES: [(&str, &str, &str); 6] = [
    ("docker", "docker-", ".scope"),
    ("containerd", "cri-containerd-", ".scope"),
    ("cri-o", "crio-", ".scope"),
    ("podman", "libpod-", ".scope"),
    // With the cgroupfs driver.
    ("cri-o", "crio-", ""),
    ("podman", "libpod-", ""),
];

/// Bytes of a container's id: a SHA-256 in hexadecimal.
const ID_BYTES: usize = 64;

/// The innermost container that `path` names, as `<runtime>://<id>`: the form of a pod's `containerID` in
/// Kubernetes. `None` where it names none.
///
/// Where the path tells the id but not the runtime, that is `cri`.
pub(crate) fn container(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let mut components: Vec<&str> = path.split('/').collect();
    while let Some(name) = components.pop() {
        if let Some((runtime, id)) = in_name(name).or_else(|| below(&components, name)) {
            return Some(format!("{runtime}://{id}"));
        }
    }
    None
}

/// What the cgroup's own name tells.
fn in_name(name: &str) -> Option<(&'static str, &str)> {
    let scope = SCOPES.iter().find_map(|(runtime, prefix, suffix)| {
        let id = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        is_id(id).then_some((*runtime, id))
    });
    let colons = || {
        let (_, id) = name.split_once(":cri-containerd:")?;
        is_id(id).then_some(("containerd", id))
    };
    let lxc = || Some(("lxc", name.strip_prefix("lxc.payload.")?));
    scope.or_else(colons).or_else(lxc).filter(|(_, id)| !id.is_empty())
}

/// What `name` is by the cgroups above it.
fn below<'a>(above: &[&str], name: &'a str) -> Option<(&'static str, &'a str)> {
    let parent = *above.last()?;
    let named = match parent {
        "docker" if is_id(name) => Some(("docker", name)),
        "lxc" | "lxc.payload" => Some(("lxc", name)),
        "machine.slice" => machine(name),
        _ if is_id(name) && parent.starts_with("pod") && above.contains(&"kubepods") => {
            Some(("cri", name))
        }
        _ => None,
    };
    named.filter(|(_, id)| !id.is_empty())
}

/// A machine's name, escaped as systemd does it.
fn machine(name: &str) -> Option<(&'static str, &str)> {
    let nspawn = || name.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    let scope = || name.strip_prefix("machine-")?.strip_suffix(".scope");
    nspawn().or_else(scope).map(|id| ("machine", id))
}

fn is_id(text: &str) -> bool {
    text.len() == ID_BYTES && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_in_the_paths_that_runtimes_make() {
        let (a, b) = ("4f".repeat(32), "0e".repeat(32));
        let burstable =
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f_2e.slice";
        for (path, expected) in [
            (format!("/system.slice/docker-{a}.scope"), format!("docker://{a}")),
            (format!("/docker/{a}"), format!("docker://{a}")),
            (format!("/docker/{a}/init"), format!("docker://{a}")),
            (format!("{burstable}/cri-containerd-{a}.scope"), format!("containerd://{a}")),
            (format!("{burstable}/crio-{a}.scope/container"), format!("cri-o://{a}")),
            (format!("{burstable}/docker-{a}.scope"), format!("docker://{a}")),
            (format!("/kubepods/besteffort/pod1f-2e/{a}"), format!("cri://{a}")),
            (format!("/kubepods/pod1f-2e/crio-{a}"), format!("cri-o://{a}")),
            (
                format!("/system.slice/containerd.service/kubepods-pod1f.slice:cri-containerd:{a}"),
                format!("containerd://{a}"),
            ),
            (format!("/machine.slice/libpod-{a}.scope/container"), format!("podman://{a}")),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{a}.scope"
                ),
                format!("podman://{a}"),
            ),
            (format!("/libpod_parent/libpod-{a}"), format!("podman://{a}")),
            ("/lxc/web".into(), "lxc://web".into()),
            ("/lxc.payload.web/system.slice/cron.service".into(), "lxc://web".into()),
            ("/lxc.payload/web".into(), "lxc://web".into()),
            ("/machine.slice/machine-deb\\x2d12.scope".into(), "machine://deb\\x2d12".into()),
            ("/machine.slice/systemd-nspawn@deb.service/payload".into(), "machine://deb".into()),
            // Docker in Docker: the inner one.
            (format!("/system.slice/docker-{a}.scope/docker/{b}"), format!("docker://{b}")),
        ] {
            assert_eq!(container(path.as_bytes()), Some(expected), "{path}");
        }
    }

    #[test]
    fn other_cgroups_name_none() {
        let a = "4f".repeat(32);
        for path in [
            "/".to_owned(),
            String::new(),
            "unresolved:17".into(),
            "/graven/exec-1b4e28ba".into(),
            "/user.slice/user-1000.slice/session-2.scope".into(),
            "/system.slice/docker.service".into(),
            // The monitors of cri-o and podman stand beside the container, not in it.
            format!("/machine.slice/libpod-conmon-{a}.scope"),
            format!("/kubepods.slice/crio-conmon-{a}.scope"),
            "/lxc.monitor.web".into(),
            "/lxc/".into(),
            "/lxc.payload.".into(),
            "/machine.slice/machine-.scope".into(),
            format!("/system.slice/docker-{}.scope", a.to_uppercase()),
            format!("/system.slice/docker-{}.scope", &a[1..]),
            format!("/elsewhere/{a}"),
        ] {
            assert_eq!(container(path.as_bytes()), None, "{path}");
        }
        assert_eq!(container(b"/docker/\xff"), None);
    }
}
