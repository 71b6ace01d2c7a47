// A shell on a pty that the guest drives: used before and after.
#include "../guest.h"
#include <pty.h>
static int m;
static void expect(const char *text)
{
    static char got[8192];
    size_t len = 0;
    while (!memmem(got, len, text, strlen(text))) {
        ssize_t n = read(m, got + len, sizeof got - len);
        if (n <= 0)
            guest_fail("terminal, expected %s, got its end", text);
        len += n;
    }
}
static void type(const char *text) { CHECK_EQ("write", strlen(text), write(m, text, strlen(text))); }
int main(void)
{
    int st;
    struct winsize w = {24, 80, 0, 0};
    pid_t pid = SYS(forkpty(&m, NULL, NULL, &w));
    if (pid == 0) {
        execle("/bin/sh", "sh", "-i", NULL, (char *[]){"PS1=> ", "PATH=/usr/bin:/bin", "TERM=dumb", NULL});
        _exit(9);
    }
    type("x=4; echo $((x+1))ab\n");
    expect("5ab");
    guest_ready();
    type("echo $((x+3))cd; sleep 0.01; echo again-$x\n");
    expect("7cd");
    expect("again-4");
    type("exit 6\n");
    SYS(waitpid(pid, &st, 0));
    CHECK_EQ("status", 6, WEXITSTATUS(st));
    return 0;
}
