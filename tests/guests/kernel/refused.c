// Refused with a word, and running on unharmed: what is in the kernel or in a device and cannot be read back.
// args: vsock alg xdp mptcp key userfaultfd perf fanotify bpf_map bpf_prog landlock_fd landlock landlock_files fsopen mount_fd secret notify kvm tun fuse uinput breaking tls dmabuf ldt chroot keyring ring discipline mapped_socket mapped_bpf mapped_secret
#include "../guest.h"
#include <asm/ldt.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/if_packet.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <linux/vm_sockets.h>
#include <pty.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#define NEED(expr)                                                                                                     \
    ({                                                                                                                 \
        long r_ = (expr);                                                                                              \
        if (r_ < 0)                                                                                                    \
            SKIP("%s: %s", #expr, strerror(errno));                                                                    \
        (int)r_;                                                                                                       \
    })
static int named(const char *kind, int family, int type, int protocol)
{
    guest_refused(kind);
    return NEED(socket(family, type, protocol));
}
static void confine(__u64 rights)
{
    struct landlock_ruleset_attr rules = {.handled_access_fs = rights};
    int set = NEED(syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0));
    // Everything below / stays allowed but to make device files.
    struct landlock_path_beneath_attr root = {.allowed_access = rights, .parent_fd = SYS(open("/", O_PATH))};
    root.allowed_access &= ~LANDLOCK_ACCESS_FS_MAKE_BLOCK;
    if (root.allowed_access)
        SYS(syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &root, 0));
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SYS(syscall(SYS_landlock_restrict_self, set, 0));
    close(root.parent_fd);
    close(set);
}
int main(int argc, char **argv)
{
    (void)argc;
    char b = 0;
    int fd = -1;
    if (guest_is(argv, "vsock")) {
        fd = named("AF_VSOCK", AF_VSOCK, SOCK_STREAM, 0);
        struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_port = VMADDR_PORT_ANY, .svm_cid = VMADDR_CID_ANY}, got;
        socklen_t len = sizeof got;
        SYS(bind(fd, (void *)&a, sizeof a));
        SYS(getsockname(fd, (void *)&a, &len));
        guest_ready();
        SYS(getsockname(fd, (void *)&got, &len));
        CHECK(memcmp(&a, &got, sizeof a) == 0);
    } else if (guest_is(argv, "alg")) {
        fd = named("AF_ALG", AF_ALG, SOCK_SEQPACKET, 0);
        guest_ready();
        CHECK_EQ("nothing bound", -1, accept(fd, NULL, NULL));
    } else if (guest_is(argv, "xdp")) {
        fd = named("AF_XDP", AF_XDP, SOCK_RAW, 0);
        guest_ready();
    } else if (guest_is(argv, "mptcp")) {
        // Both ends, so that it is no fallback to TCP.
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        int l = named("MPTCP", AF_INET, SOCK_STREAM, 262), s;
        SYS(bind(l, (void *)&a, sizeof a));
        SYS(listen(l, 3));
        SYS(getsockname(l, (void *)&a, &len));
        fd = SYS(socket(AF_INET, SOCK_STREAM, 262));
        SYS(connect(fd, (void *)&a, sizeof a));
        s = SYS(accept(l, NULL, NULL));
        SYS(send(fd, "x", 1, 0));
        guest_ready();
        CHECK_EQ("byte", 1, SYS(recv(s, &b, 1, 0)));
        CHECK_EQ("value", 'x', b);
    } else if (guest_is(argv, "key")) {
        fd = named("AF_KEY", AF_KEY, SOCK_RAW, 2);
        guest_ready();
    } else if (guest_is(argv, "userfaultfd")) {
        guest_refused("userfaultfd");
        fd = NEED(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
        struct uffdio_api api = {.api = UFFD_API};
        SYS(ioctl(fd, UFFDIO_API, &api));
        guest_ready();
        CHECK(api.ioctls);
    } else if (guest_is(argv, "perf")) {
        guest_refused("performance counters");
        struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1};
        fd = NEED(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
        guest_ready();
        uint64_t count = 0;
        CHECK_EQ("count", 8, SYS(read(fd, &count, 8)));
    } else if (guest_is(argv, "fanotify")) {
        guest_refused("fanotify");
        fd = NEED(syscall(SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_NONBLOCK, 0));
        SYS(mkdir(PATH_OF("d"), 0700));
        NEED(syscall(SYS_fanotify_mark, fd, FAN_MARK_ADD, FAN_CREATE | FAN_ONDIR, AT_FDCWD, PATH_OF("d")));
        guest_ready();
        guest_note("d/new");
        char event[512];
        CHECK(SYS(read(fd, event, sizeof event)) > 0);
    } else if (guest_is(argv, "bpf_map")) {
        guest_refused("bpf");
        union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 4};
        fd = NEED(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
        guest_ready();
    } else if (guest_is(argv, "bpf_prog")) {
        guest_refused("bpf");
        struct bpf_insn code[] = {{.code = 0xb7}, {.code = 0x95}};
        union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2, .insns = (uintptr_t)code, .license = (uintptr_t)"GPL"};
        fd = NEED(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
        guest_ready();
    } else if (guest_is(argv, "landlock_fd")) {
        guest_refused("Landlock");
        struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK};
        fd = NEED(syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0));
        guest_ready();
        SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        SYS(syscall(SYS_landlock_restrict_self, fd, 0));
    } else if (guest_is(argv, "landlock") || guest_is(argv, "landlock_files")) {
        guest_refused("Landlock");
        confine(guest_is(argv, "landlock") ? LANDLOCK_ACCESS_FS_MAKE_BLOCK : (1ULL << 13) - 1);
        guest_ready();
        CHECK_EQ("still confined", -1, mknod(PATH_OF("dev"), S_IFBLK | 0600, 0));
        CHECK_EQ("error", EACCES, errno);
        CHECK_EQ("not by our own", 0, mkdir(PATH_OF("d"), 0700));
    } else if (guest_is(argv, "fsopen")) {
        guest_refused("mount");
        fd = NEED(syscall(SYS_fsopen, "tmpfs", 1));
        guest_ready();
    } else if (guest_is(argv, "mount_fd")) {
        // A mount that is nowhere: its path says "/".
        guest_refused("mount");
        int fs = NEED(syscall(SYS_fsopen, "tmpfs", 1));
        SYS(syscall(SYS_fsconfig, fs, 6, NULL, NULL, 0));
        fd = SYS(syscall(SYS_fsmount, fs, 1, 0));
        close(fs);
        close(SYS(openat(fd, "in", O_CREAT | O_WRONLY, 0600)));
        guest_ready();
        CHECK_EQ("file in it", 0, faccessat(fd, "in", F_OK, 0));
    } else if (guest_is(argv, "secret")) {
        guest_refused("secret memory");
        fd = NEED(syscall(SYS_memfd_secret, 0));
        SYS(ftruncate(fd, 4096));
        char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            SKIP("no memory to lock");
        p[0] = 's';
        guest_ready();
        CHECK_EQ("secret", 's', p[0]);
    } else if (guest_is(argv, "notify")) {
        guest_refused("seccomp");
        struct sock_filter code[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
        struct sock_fprog prog = {1, code};
        SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        fd = NEED(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog));
        guest_ready();
    } else if (guest_is(argv, "kvm")) {
        guest_refused("virtual machine");
        fd = NEED(open("/dev/kvm", O_RDWR));
        guest_ready();
    } else if (guest_is(argv, "tun")) {
        guest_refused("tun/tap");
        fd = NEED(open("/dev/net/tun", O_RDWR));
        struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
        NEED(ioctl(fd, TUNSETIFF, &r));
        guest_ready();
        SYS(ioctl(fd, TUNGETIFF, &r));
    } else if (guest_is(argv, "fuse")) {
        guest_refused("FUSE");
        fd = NEED(open("/dev/fuse", O_RDWR));
        guest_ready();
    } else if (guest_is(argv, "uinput")) {
        guest_refused("this device");
        fd = NEED(open("/dev/uinput", O_RDWR));
        guest_ready();
    } else if (guest_is(argv, "breaking")) {
        guest_refused("lease");
        signal(SIGIO, SIG_IGN);
        fd = SYS(open(PATH_OF("f"), O_RDWR | O_CREAT, 0600));
        SYS(fcntl(fd, F_SETLEASE, F_WRLCK));
        CHECK_EQ("another open", -1, open(PATH_OF("f"), O_RDWR | O_NONBLOCK));
        guest_ready();
        SYS(fcntl(fd, F_SETLEASE, F_UNLCK));
    } else if (guest_is(argv, "tls")) {
        guest_refused("TCP_ULP");
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        int l = SYS(socket(AF_INET, SOCK_STREAM, 0));
        SYS(bind(l, (void *)&a, sizeof a));
        SYS(listen(l, 3));
        SYS(getsockname(l, (void *)&a, &len));
        fd = SYS(socket(AF_INET, SOCK_STREAM, 0));
        SYS(connect(fd, (void *)&a, sizeof a));
        NEED(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3));
        guest_ready();
    } else if (guest_is(argv, "ldt")) {
        guest_refused("segments");
        struct user_desc d = {.entry_number = 3, .limit = 4095, .seg_32bit = 1, .useable = 1};
        NEED(syscall(SYS_modify_ldt, 1, &d, sizeof d));
        guest_ready();
    } else if (guest_is(argv, "chroot")) {
        guest_refused("chroot");
        NEED(chroot(guest_dir));
        guest_dir[0] = 0;
        guest_ready();
        CHECK_EQ("the old root", -1, access("/proc/self", F_OK));
    } else if (guest_is(argv, "keyring")) {
        guest_refused("keyring");
        char got[8] = {0};
        long key = NEED(syscall(SYS_add_key, "user", "guest", "secret", 6, KEY_SPEC_PROCESS_KEYRING));
        guest_ready();
        CHECK_EQ("length", 6, SYS(syscall(SYS_keyctl, KEYCTL_READ, key, got, sizeof got)));
        CHECK_STR("key", "secret", got);
    } else if (guest_is(argv, "ring")) {
        guest_refused("PACKET_RX_RING");
        struct tpacket_req r = {.tp_block_size = 4096, .tp_block_nr = 4, .tp_frame_size = 2048, .tp_frame_nr = 8};
        fd = NEED(socket(AF_PACKET, SOCK_RAW, 0));
        NEED(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &r, sizeof r));
        guest_ready();
        CHECK(mmap(NULL, 16384, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
    } else if (guest_is(argv, "mapped_socket") || guest_is(argv, "mapped_bpf") || guest_is(argv, "mapped_secret")) {
        // The descriptor is closed: the mapping lives on.
        union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 512, .map_flags = BPF_F_MMAPABLE};
        int s, is_socket = guest_is(argv, "mapped_socket");
        guest_refused(is_socket ? "mapped socket:" : guest_is(argv, "mapped_bpf") ? "mapped anon_inode:bpf-map" : "mapped secretmem");
        if (is_socket)
            s = SYS(socket(AF_INET, SOCK_STREAM, 0));
        else if (guest_is(argv, "mapped_bpf"))
            s = NEED(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
        else
            SYS(ftruncate(s = NEED(syscall(SYS_memfd_secret, 0)), 4096));
        char *p = mmap(NULL, 4096, is_socket ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, s, 0);
        if (p == MAP_FAILED)
            SKIP("no memory to map");
        close(s);
        if (!is_socket)
            p[7] = 's';
        guest_ready();
        CHECK(is_socket || p[7] == 's');
        SYS(munmap(p, 4096));
    } else if (guest_is(argv, "discipline")) {
        guest_refused("line discipline");
        int slave, line = N_HDLC;
        CHECK(openpty(&fd, &slave, NULL, NULL, NULL) == 0);
        for (int tried = 30; tried > 0 && ioctl(slave, TIOCSETD, &line); tried--)
            line = tried;
        SYS(ioctl(slave, TIOCGETD, &line));
        if (line == N_TTY)
            SKIP("no other line discipline");
        guest_ready();
        int now;
        SYS(ioctl(slave, TIOCGETD, &now));
        CHECK_EQ("line discipline", line, now);
    } else {
        guest_refused("device");
        fd = NEED(open("/dev/dma_heap/system", O_RDWR));
        guest_ready();
    }
    CHECK(fd < 0 || fcntl(fd, F_GETFD) >= 0);
    return 0;
}
