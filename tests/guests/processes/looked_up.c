// Functions that the program asks the C library for by name: dlsym of its handle goes round what was loaded before.
// args: ids fork system exec spawn proc next
#include "../guest.h"
#include <dlfcn.h>
#define SCRIPT ": > $GUEST_DIR/shell; while [ ! -e $GUEST_DIR/go ]; do sleep 0.05; done; exit 3"
static void *libc;
#define F(name) ((typeof(&name))dlsym(libc, #name))
static void await_child(pid_t pid, int code)
{
    int status;
    CHECK_EQ("waitpid", pid, F(waitpid)(pid, &status, 0));
    CHECK_EQ("status", code << 8, status);
}
static void *run_system(void *script) { return (void *)(long)F(system)(script); }
int main(int argc, char **argv)
{
    pid_t me, kid;
    (void)argc;
    libc = dlopen("libc.so.6", RTLD_LAZY);
    CHECK(libc);
    me = F(getpid)();
    CHECK_EQ("getpid", getpid(), me);
    if (guest_is(argv, "ids")) {
        guest_ready();
        CHECK_EQ("getpid", me, F(getpid)());
        CHECK_EQ("getppid", getppid(), F(getppid)());
        CHECK_EQ("getpgrp", getpgrp(), F(getpgrp)());
        SYS(F(kill)(me, 0));
        CHECK_EQ("syscall", me, F(syscall)(SYS_getpid));
    } else if (guest_is(argv, "fork")) {
        if ((kid = SYS(F(fork)())) == 0) {
            guest_await_go();
            CHECK_EQ("parent", me, F(getppid)());
            _exit(7);
        }
        guest_ready();
        await_child(kid, 7);
    } else if (guest_is(argv, "system")) {
        pthread_t t = guest_thread(run_system, SCRIPT);
        guest_await("shell");
        guest_ready();
        CHECK_EQ("system", 3 << 8, (long)guest_join(t));
    } else if (guest_is(argv, "exec")) {
        if ((kid = SYS(F(vfork)())) == 0) {
            F(execl)("/bin/sh", "sh", "-c", SCRIPT, NULL);
            _exit(1);
        }
        guest_await("shell");
        guest_ready();
        await_child(kid, 3);
    } else if (guest_is(argv, "spawn")) {
        char *args[] = {"sh", "-c", SCRIPT, NULL};
        PT(F(posix_spawn)(&kid, "/bin/sh", NULL, NULL, args, environ));
        guest_await("shell");
        guest_ready();
        await_child(kid, 3);
    } else if (guest_is(argv, "proc")) {
        char path[64], self[32] = "";
        sprintf(path, "/proc/%d/stat", me);
        guest_ready();
        SYS(F(close)(SYS(F(open)(path, O_RDONLY))));
        SYS(F(readlink)("/proc/self", self, sizeof self - 1));
        CHECK_EQ("/proc/self", me, atoi(self));
    } else {
        // Who asks is told by the return address; what is missing is an error, what is there none.
        guest_ready();
        CHECK(dlsym(RTLD_NEXT, "getpid") && dlsym(RTLD_DEFAULT, "getpid") == (void *)getpid);
        CHECK(dlsym(libc, "getpid") == (void *)getpid && dlerror() == NULL);
        CHECK(dlsym(libc, "qsort") == (void *)qsort && dlerror() == NULL);
        CHECK(dlsym(libc, "no such function") == NULL && dlerror() != NULL);
        CHECK(dlsym(RTLD_NEXT, "main") == NULL && dlerror() != NULL);
    }
    return 0;
}
