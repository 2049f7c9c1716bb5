# shellcheck shell=bash
# Shared by quickstart, test and .ci/run, which source it in the root of the checkout.

# rustup's directory is often missing from root's PATH.
command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

is_root() { [ "$(id -u)" = 0 ]; }

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# build [CARGO BUILD OPTION]…: builds one program and prints where it is, whatever target directory or triple is configured.
build() {
    cargo build --message-format=json-render-diagnostics "$@" |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

install_packages() {
    command -v apt-get >/dev/null || die "This machine has no apt-get; install what matches: $*"
    echo "Installing $*"
    [ -n "${apt_is_updated:-}" ] || apt-get update -qq || return 1
    apt_is_updated=yes
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# install_stopped PACKAGE…: as install_packages, but what the packages would start as a service is not started.
install_stopped() {
    local policy=/usr/sbin/policy-rc.d made='' status=0
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=yes; }
    install_packages "$@" || status=$?
    [ -z "$made" ] || rm -f "$policy"
    return $status
}

# engine_at [HOST]: prints the unix:// address of the engine that answers there, by default where acode-rt looks.
# Needs $busybox_image, the example of that name.
engine_at() {
    local line status=0
    line=$("$busybox_image" --check ${1:+--host "$1"} 2>/dev/null) || status=$?
    # 3: the engine answers, the image is not there.
    [ $status = 0 ] || [ $status = 3 ] || return 1
    echo "${line%%: *}"
}

# The first engine that answers. A DOCKER_HOST that does not is not replaced by another engine.
find_engine() {
    local socket
    engine_at && return
    [ -z "${DOCKER_HOST:-}" ] || return 1
    for socket in /var/run/docker.sock ${XDG_RUNTIME_DIR:+"$XDG_RUNTIME_DIR/docker.sock"} \
        ${XDG_RUNTIME_DIR:+"$XDG_RUNTIME_DIR/podman/podman.sock"} /run/podman/podman.sock; do
        engine_at "$socket" && return
    done
    return 1
}

# As root, installs Docker where there is none and starts it, at unix:///var/run/docker.sock.
start_engine() {
    command -v dockerd >/dev/null || install_packages docker.io || die "docker.io could not be installed"
    if [ -d /run/systemd/system ]; then
        echo "Starting docker with systemd"
        systemctl start docker && wait_for_docker 60 && return
        journalctl --unit docker --no-pager --lines 20 >&2
        die "Docker does not answer; the end of its log is above."
    fi
    # The package's own init script may have started it a moment ago.
    local pid
    pid=$(cat /var/run/docker.pid 2>/dev/null) && kill -0 "$pid" 2>/dev/null && wait_for_docker 60 && return
    grep -qE ' cgroup2? ' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup || true
    # Docker chooses a storage driver itself; one that it chose in vain is replaced by one that asks less of the kernel.
    start_dockerd && return
    command -v fuse-overlayfs >/dev/null || install_packages fuse-overlayfs
    start_dockerd --storage-driver=fuse-overlayfs && return
    start_dockerd --storage-driver=vfs && return
    tail -n 20 /var/log/dockerd.log >&2
    die "Docker does not start; the end of /var/log/dockerd.log is above."
}

start_dockerd() {
    echo "Starting dockerd${1:+ $1}, its log is /var/log/dockerd.log"
    setsid nohup dockerd "$@" >>/var/log/dockerd.log 2>&1 </dev/null &
    local pid=$!
    wait_for_docker 60 "$pid" && return
    kill "$pid" 2>/dev/null
    wait "$pid"
    return 1
}

# wait_for_docker SECONDS [PID]: until it answers; not longer than the process lives.
wait_for_docker() {
    local deadline=$((SECONDS + $1))
    until engine_at unix:///var/run/docker.sock >/dev/null; do
        [ $SECONDS -lt $deadline ] || return 1
        [ -z "${2:-}" ] || kill -0 "$2" 2>/dev/null || return 1
        sleep 0.2
    done
}

has_static_busybox() { [ -x /bin/busybox ] && ! ldd /bin/busybox 2>/dev/null | grep -q '=>'; }

# make_busybox_image HOST: makes sure that the engine has the image busybox, which needs no registry.
make_busybox_image() {
    if ! "$busybox_image" --check --host "$1" >/dev/null 2>&1 && ! has_static_busybox; then
        is_root || {
            echo "The image is made of /bin/busybox; as root: apt-get update && apt-get install -y busybox-static" >&2
            return 1
        }
        install_packages busybox-static || return 1
    fi
    "$busybox_image" --host "$1"
}
