/* Tries, from inside a task, what would be a way out. One line an attempt: name=ok, or the error, or the signal that ended it.
 * C, since raw system calls need what this crate forbids itself. Each attempt is a process of its own. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define TRY(name, expression) \
    do { \
        if (begin(name)) { errno = 0; long r = (long)(expression); finish(r); } \
    } while (0)

static const char *current;

static void say(const char *what) { printf("%s=%s\n", current, what); fflush(stdout); }

/* In a child: true. In the parent: false, when the child has ended and its line is written. */
static int begin(const char *name) {
    current = name;
    pid_t child = fork();
    if (child == 0) { alarm(10); return 1; }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
        char text[32];
        snprintf(text, sizeof text, "SIG%s", sigabbrev_np(WTERMSIG(status)));
        say(text);
    } else if (WEXITSTATUS(status) == 0) {
        say("ok");
    } else {
        const char *text = strerrorname_np(WEXITSTATUS(status));
        say(text ? text : "unknown");
    }
    return 0;
}

static void finish(long result) { _exit(result < 0 ? (errno ? errno : 255) : 0); }

static long opens(const char *path, int flags) { return open(path, flags | O_CLOEXEC); }

static long reads(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -1;
    long got = read(fd, &byte, 1);
    if (got == 0) { errno = ENODATA; return -1; }
    return got;
}

static long writes(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -1 : write(fd, text, strlen(text));
}

static long makes(const char *path) {
    unlink(path);
    return open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
}

static long lists(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return -1;
    errno = ENODATA;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) return 0;
    return -1;
}

static long set_namespace(const char *kind) {
    char path[64];
    snprintf(path, sizeof path, "/proc/1/ns/%s", kind);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : setns(fd, 0);
}

static long connects(const char *path) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof address);
}

static long reaches(const char *host, int port, int type) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, host, &address.sin_addr);
    int fd = socket(AF_INET, type, 0);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof address);
}

static long clone_user(void) {
    long child = syscall(SYS_clone, (unsigned long)CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    return child;
}

static long handle(void) {
    struct { struct file_handle head; unsigned char bytes[8]; } file = { .head = { .handle_bytes = 8, .handle_type = 1 } };
    memcpy(file.bytes, "\2\0\0\0\0\0\0\0", 8);
    int root = open("/", O_RDONLY | O_CLOEXEC);
    return syscall(SYS_open_by_handle_at, root, &file, O_RDONLY);
}

/* A block device, found by its number in the host's partitions, made here and opened. */
static long host_disk(void) {
    FILE *partitions = fopen("/proc/partitions", "re");
    char line[256];
    unsigned major_number, minor_number;
    while (partitions && fgets(line, sizeof line, partitions))
        if (sscanf(line, "%u %u", &major_number, &minor_number) == 2) {
            if (mknod("/tmp/disk", S_IFBLK | 0600, makedev(major_number, minor_number)) < 0) return -1;
            return opens("/tmp/disk", O_RDONLY);
        }
    errno = ENODEV;
    return -1;
}

/* The processes of the host would be seen here. */
static long strangers(void) {
    DIR *proc = opendir("/proc");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(proc));) count += atoi(entry->d_name) > 0;
    if (count <= 6) { errno = ESRCH; return -1; }
    return 0;
}

/* Whether a set-user-id program of another owner would change who we are. */
static long set_user_id(void) {
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? (errno = EPERM, -1) : 0;
}

#if defined(__x86_64__)
static uint32_t vsock_arguments[3] = { 40, 1, 0 };

/* The 32-bit interface; addresses of a static program fit into it. */
static long int_80(long number, long first, long second) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    if (result < 0) { errno = (int)-result; return -1; }
    return result;
}
#endif

/* A program that runs cannot be opened for writing, whatever its mount is; its mode can be changed where that is writable. */
static long changes(const char *path, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 && errno == ETXTBSY ? chmod(path, mode & 07777) : fd;
}

/* A file in every writable mount: which those are is the answer. */
static void mounts(void) {
    FILE *info = fopen("/proc/self/mountinfo", "re");
    char line[4096];
    static char seen[64][256];
    int count = 0;
    while (info && fgets(line, sizeof line, info) && count < 64)
        if (sscanf(line, "%*s %*s %*s %*s %255s", seen[count]) == 1) count++;
    for (int i = 0; i < count; i++) {
        char path[300], name[300];
        struct stat what;
        int is_dir = stat(seen[i], &what) == 0 && S_ISDIR(what.st_mode);
        snprintf(path, sizeof path, "%.255s%s", seen[i], is_dir ? "/.acode-probe" : "");
        snprintf(name, sizeof name, "write:%.255s", seen[i]);
        if (is_dir) TRY(name, makes(path));
        else if (stat(seen[i], &what) == 0 && S_ISREG(what.st_mode)) TRY(name, changes(seen[i], what.st_mode));
    }
}

static void devices(void) {
    DIR *dir = opendir("/dev");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[512], name[600];
        struct stat what;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        snprintf(name, sizeof name, "device:%s", entry->d_name);
        if (lstat(path, &what) < 0 || !(S_ISCHR(what.st_mode) || S_ISBLK(what.st_mode))) continue;
        current = name;
        say(S_ISBLK(what.st_mode) ? "block" : "character");
    }
}

int main(void) {
    char page[4096] = { 0 };
    static const struct { const char *name; int family, type, protocol; } sockets[] = {
        { "socket:unix", AF_UNIX, SOCK_STREAM, 0 },
        { "socket:inet", AF_INET, SOCK_STREAM, 0 },
        { "socket:inet:raw", AF_INET, SOCK_RAW, 1 },
        { "socket:netlink", AF_NETLINK, SOCK_RAW, 0 },
        { "socket:packet", AF_PACKET, SOCK_RAW, 0 },
        { "socket:vsock", AF_VSOCK, SOCK_STREAM, 0 },
        { "socket:alg", AF_ALG, SOCK_SEQPACKET, 0 },
    };
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
        TRY(sockets[i].name, socket(sockets[i].family, sockets[i].type, sockets[i].protocol));
    /* The kernel takes the lower half of the register, a filter may look at all of it. */
    TRY("socket:vsock:upper-half", syscall(SYS_socket, 0x100000000L | AF_VSOCK, SOCK_STREAM, 0));
    TRY("socket:alg:upper-half", syscall(SYS_socket, 0x100000000L | AF_ALG, SOCK_SEQPACKET, 0));
    TRY("socket:vsock:negative", syscall(SYS_socket, -4294967256L, SOCK_STREAM, 0));
    { int pair[2]; TRY("socketpair:vsock", socketpair(AF_VSOCK, SOCK_STREAM, 0, pair)); }
#if defined(__x86_64__)
    TRY("i386:getpid", int_80(20, 0, 0));
    TRY("i386:socketcall:vsock", int_80(102, 1, (long)(intptr_t)vsock_arguments));
    TRY("i386:socket:vsock", int_80(359, 40, 1));
    TRY("x32:getpid", syscall(0x40000000 + 39));
#endif
    TRY("network:outside", reaches("192.0.2.1", 80, SOCK_STREAM));
    TRY("network:metadata", reaches("169.254.169.254", 80, SOCK_STREAM));
    TRY("network:gateway", reaches("172.17.0.1", 2375, SOCK_STREAM));
    TRY("network:name-server", reaches("9.9.9.9", 53, SOCK_DGRAM));

    TRY("mount:tmpfs", mount("none", "/tmp", "tmpfs", 0, ""));
    TRY("mount:proc", mount("proc", "/tmp", "proc", 0, ""));
    TRY("mount:remount-root", mount("", "/", "", MS_REMOUNT, ""));
    TRY("mount:bind", mount("/", "/tmp", "", MS_BIND, ""));
    TRY("umount", umount2("/proc/kcore", MNT_DETACH));
    TRY("mount:fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    TRY("mount:open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    TRY("mount:move_mount", syscall(SYS_move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/workspace", 0));
    TRY("mount:setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, page, 32));
    TRY("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
    TRY("chroot", chroot("/tmp"));

    TRY("unshare:user", unshare(CLONE_NEWUSER));
    TRY("unshare:mount", unshare(CLONE_NEWNS));
    TRY("unshare:network", unshare(CLONE_NEWNET));
    TRY("unshare:pid", unshare(CLONE_NEWPID));
    TRY("unshare:ipc", unshare(CLONE_NEWIPC));
    TRY("unshare:uts", unshare(CLONE_NEWUTS));
    TRY("unshare:cgroup", unshare(CLONE_NEWCGROUP));
    TRY("unshare:time", unshare(CLONE_NEWTIME));
    TRY("clone:user", clone_user());
    TRY("clone3", syscall(SYS_clone3, page, 64));
    TRY("setns:mount", set_namespace("mnt"));
    TRY("setns:user", set_namespace("user"));
    TRY("setns:number", syscall(SYS_setns, 0, 0));

    TRY("process-1:ptrace", ptrace(PTRACE_SEIZE, 1, 0, 0));
    TRY("process-1:mem", opens("/proc/1/mem", O_RDWR));
    TRY("process-1:environ", reads("/proc/1/environ"));
    TRY("process-1:fd", opens("/proc/1/fd/1", O_WRONLY));
    TRY("process-1:root", lists("/proc/1/root/"));
    TRY("process-1:exe", opens("/proc/1/exe", O_RDONLY));
    { struct iovec here = { page, 8 }, there = { (void *)0x400000, 8 };
      TRY("process-1:vm_read", process_vm_readv(1, &here, 1, &there, 1, 0)); }
    TRY("process-1:pidfd_getfd", syscall(SYS_pidfd_getfd, 0, 0, 0));
    /* Sent, and without effect: the program is still there to say so. */
    TRY("process-1:kill-is-ignored", (kill(1, SIGKILL), usleep(50000), 0));
    TRY("strangers", strangers());

    TRY("proc:kcore", reads("/proc/kcore"));
    TRY("proc:keys", reads("/proc/keys"));
    TRY("proc:timer_list", reads("/proc/timer_list"));
    TRY("proc:kmsg", reads("/proc/kmsg"));
    TRY("proc:sysrq", writes("/proc/sysrq-trigger", "h"));
    TRY("proc:core_pattern", writes("/proc/sys/kernel/core_pattern", "core"));
    TRY("proc:hostname", writes("/proc/sys/kernel/hostname", "x"));
    TRY("proc:oom_score", writes("/proc/self/oom_score_adj", "-1000"));
    TRY("proc:uid_map", writes("/proc/self/uid_map", "0 0 1"));
    TRY("sys:uevent_helper", writes("/sys/kernel/uevent_helper", "/x"));
    TRY("sys:firmware", lists("/sys/firmware"));
    TRY("sys:debug", lists("/sys/kernel/debug"));
    TRY("sys:cgroup", makes("/sys/fs/cgroup/probe"));
    TRY("sys:cgroup:memory", writes("/sys/fs/cgroup/memory/memory.limit_in_bytes", "-1"));
    TRY("sys:cgroup:release_agent", writes("/sys/fs/cgroup/memory/release_agent", "/x"));

    TRY("kernel:kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
    TRY("kernel:init_module", syscall(SYS_init_module, page, 1, ""));
    TRY("kernel:delete_module", syscall(SYS_delete_module, "x", 0));
    TRY("kernel:bpf", syscall(SYS_bpf, 0, page, sizeof page));
    TRY("kernel:perf", syscall(SYS_perf_event_open, page, 0, -1, -1, 0));
    TRY("kernel:userfaultfd", syscall(SYS_userfaultfd, 0));
    TRY("kernel:io_uring", syscall(SYS_io_uring_setup, 1, page));
    TRY("kernel:keyctl", syscall(SYS_keyctl, 0, -3, 0, 0, 0));
    TRY("kernel:add_key", syscall(SYS_add_key, "user", "x", "x", 1, -2));
    TRY("kernel:request_key", syscall(SYS_request_key, "user", "x", 0, -2));
    TRY("kernel:open_by_handle", handle());
    TRY("kernel:syslog", syscall(SYS_syslog, 3, page, sizeof page));
    TRY("kernel:reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
    TRY("kernel:swapon", syscall(SYS_swapon, "/tmp/x", 0));
    TRY("kernel:acct", syscall(SYS_acct, 0));
    TRY("kernel:quotactl", syscall(SYS_quotactl, 0x80000100, "/dev/x", 0, 0));
    TRY("kernel:settimeofday", settimeofday(&(struct timeval){ 1, 0 }, 0));
    TRY("kernel:clock_settime", syscall(SYS_clock_settime, 0, &(struct timespec){ 1, 0 }));
    TRY("kernel:personality", syscall(SYS_personality, 0x0040000));
    TRY("kernel:move_pages", syscall(SYS_move_pages, 1, 0, 0, 0, 0, 0));
    TRY("kernel:fanotify", syscall(SYS_fanotify_init, 0, 0));
#if defined(__x86_64__)
    TRY("kernel:iopl", syscall(SYS_iopl, 3));
    TRY("kernel:ioperm", syscall(SYS_ioperm, 0x80, 1, 1));
#endif
    TRY("host:name", sethostname("x", 1));

    TRY("user:setuid-0", setuid(0));
    TRY("user:setgid-0", setgid(0));
    TRY("user:setgroups", syscall(SYS_setgroups, 1, page));
    TRY("user:set-user-id-programs", set_user_id());
    TRY("user:chown", (makes("/tmp/owned"), chown("/tmp/owned", 0, 0)));
    TRY("user:mknod", mknod("/tmp/null", S_IFCHR | 0600, makedev(1, 3)));
    TRY("user:host-disk", host_disk());
    TRY("user:nice", setpriority(PRIO_PROCESS, 0, -5));
    TRY("user:realtime", sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ 1 }));
    TRY("user:rlimit", setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1u << 30, 1u << 30 }));

    TRY("engine:docker", connects("/var/run/docker.sock"));
    TRY("engine:docker-run", connects("/run/docker.sock"));
    TRY("engine:podman", connects("/run/podman/podman.sock"));
    TRY("engine:containerd", connects("/run/containerd/containerd.sock"));
    mounts();
    devices();
    return 0;
}
