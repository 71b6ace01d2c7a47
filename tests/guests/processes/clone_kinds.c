// Children made with other sharing: descriptors, folder, System V undo lists, a pidfd, cleared handlers.
// args: files fs pidfd clear_sighand parent settid
#include "../guest.h"
#include <linux/sched.h>
static volatile int *shared;
static void on_usr1(int s) { (void)s; }
static pid_t make(unsigned long long flags, int *pidfd, pid_t *ptid)
{
    struct clone_args a = {.flags = flags, .exit_signal = SIGCHLD, .pidfd = (uintptr_t)pidfd, .parent_tid = (uintptr_t)ptid};
    if (flags & CLONE_PARENT)
        a.exit_signal = 0;
    fflush(NULL);
    long r = syscall(SYS_clone3, &a, sizeof a);
    if (r < 0 && errno == ENOSYS)
        SKIP("no clone3");
    return SYS(r);
}
int main(int argc, char **argv)
{
    int pidfd = -1;
    pid_t ptid = 0, kid = 0;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)argc;
    if (guest_is(argv, "files")) {
        kid = make(CLONE_FILES, NULL, NULL);
        if (kid == 0) {
            guest_await_go();
            SYS(dup2(0, 77));
            shared[0] = 1;
            AWAIT(shared[0] == 2);
            CHECK_EQ("descriptor closed by the parent", -1, fcntl(77, F_GETFD));
            _exit(0);
        }
        guest_ready();
        AWAIT(shared[0]);
        SYS(fcntl(77, F_GETFD));
        SYS(close(77));
        shared[0] = 2;
    } else if (guest_is(argv, "fs")) {
        kid = make(CLONE_FS, NULL, NULL);
        if (kid == 0) {
            guest_await_go();
            SYS(chdir("/usr"));
            umask(0135);
            shared[0] = 1;
            _exit(0);
        }
        guest_ready();
        AWAIT(shared[0]);
        char cwd[300];
        CHECK(getcwd(cwd, sizeof cwd));
        CHECK_STR("folder", "/usr", cwd);
        CHECK_EQ("umask", 0135, umask(0));
    } else if (guest_is(argv, "pidfd")) {
        kid = make(CLONE_PIDFD, &pidfd, NULL);
        if (kid == 0) {
            guest_await_go();
            _exit(0);
        }
        guest_ready();
        struct pollfd pf = {.fd = pidfd, .events = POLLIN};
        CHECK_EQ("poll", 1, SYS(poll(&pf, 1, -1)));
        siginfo_t i;
        SYS(waitid(3, pidfd, &i, WEXITED | WNOWAIT));
        CHECK_EQ("waitid P_PIDFD", kid, i.si_pid);
    } else if (guest_is(argv, "clear_sighand")) {
        signal(SIGUSR1, on_usr1);
        signal(SIGUSR2, SIG_IGN);
        kid = make(CLONE_CLEAR_SIGHAND, NULL, NULL);
        if (kid == 0) {
            guest_await_go();
            struct sigaction sa;
            SYS(sigaction(SIGUSR1, NULL, &sa));
            CHECK(sa.sa_handler == SIG_DFL);
            SYS(sigaction(SIGUSR2, NULL, &sa));
            CHECK(sa.sa_handler == SIG_IGN);
            _exit(0);
        }
        guest_ready();
    } else if (guest_is(argv, "parent")) {
        kid = make(0, NULL, NULL);
        if (kid == 0) {
            if (make(CLONE_PARENT, NULL, NULL) == 0) {
                guest_await_go();
                _exit(0);
            }
            _exit(0);
        }
        guest_reap(kid, 0);
        guest_ready();
        int st;
        kid = SYS(wait(&st));
        CHECK_EQ("status", 0, st);
        return 0;
    } else {
        kid = make(CLONE_PARENT_SETTID, NULL, &ptid);
        if (kid == 0) {
            guest_await_go();
            _exit(0);
        }
        guest_ready();
        CHECK_EQ("parent_tid", kid, ptid);
    }
    guest_reap(kid, 0);
    return 0;
}
