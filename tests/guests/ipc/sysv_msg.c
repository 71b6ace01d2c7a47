// A System V message queue: messages of several types, senders, limits; blocked receiver.
#include "../guest.h"
struct msg { long type; char text[64]; };
static int id;
static void child(void)
{
    struct msg m;
    CHECK_EQ("blocked msgrcv", 4, SYS(msgrcv(id, &m, sizeof m.text, 9, 0)));
    CHECK(memcmp(m.text, "nine", 4) == 0);
}
int main(void)
{
    struct msg m;
    struct msqid_ds d;
    id = SYS(msgget(guest_key(1), IPC_CREAT | 0600));
    for (int i = 1; i <= 6; i++) {
        m.type = i % 3 + 1;
        sprintf(m.text, "message %d", i);
        SYS(msgsnd(id, &m, 10, 0));
    }
    pid_t kid = guest_fork(child);
    guest_await_in(kid, SYS_msgrcv);
    guest_ready();
    CHECK_EQ("id by key", id, msgget(guest_key(1), 0));
    SYS(msgctl(id, IPC_STAT, &d));
    CHECK_EQ("messages", 6, d.msg_qnum);
    CHECK_EQ("bytes", 60, d.msg_cbytes);
    CHECK_EQ("last sender", getpid(), d.msg_lspid);
    CHECK_EQ("by type", 10, SYS(msgrcv(id, &m, sizeof m.text, 3, IPC_NOWAIT)));
    CHECK_STR("first of type 3", "message 2", m.text);
    CHECK_EQ("any", 10, SYS(msgrcv(id, &m, sizeof m.text, 0, IPC_NOWAIT)));
    CHECK_STR("first", "message 1", m.text);
    CHECK_EQ("lowest type", 10, SYS(msgrcv(id, &m, sizeof m.text, -9, IPC_NOWAIT)));
    CHECK_EQ("type", 1, m.type);
    memcpy(m.text, "nine", 4);
    m.type = 9;
    SYS(msgsnd(id, &m, 4, 0));
    guest_reap(kid, 0);
    SYS(msgctl(id, IPC_RMID, NULL));
    return 0;
}
