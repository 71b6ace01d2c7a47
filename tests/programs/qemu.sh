#!/bin/bash
# A machine in qemu without KVM, whose boot sector counts and writes to its serial line.
. "$(dirname "$0")/common.sh"
have() { need qemu-system-x86_64 gcc objcopy; }
run() {
    cat > boot.S <<'A'
.code16
.globl _start
_start: cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    xor %ebx, %ebx
again: inc %ebx
    mov %ebx, %eax
    mov $8, %cx
digit: rol $4, %eax
    push %eax
    and $15, %al
    add $'a', %al
    call put
    pop %eax
    loop digit
    mov $'\n', %al
    call put
    mov $3000, %ecx
1:  addr32 loop 1b
    jmp again
put: push %eax
    mov $0x3fd, %dx
2:  in %dx, %al
    test $0x20, %al
    jz 2b
    pop %eax
    mov $0x3f8, %dx
    out %al, %dx
    ret
.org 510
.word 0xaa55
A
    gcc -c -m32 -o boot.o boot.S 2>/dev/null || gcc -c -o boot.o boot.S
    objcopy -O binary -j .text boot.o boot.bin
    qemu-system-x86_64 -accel tcg -display none -m 64 -smp 2 -drive "file=boot.bin,format=raw,if=floppy" -boot a -serial file:serial \
        -monitor "unix:$PWD/mon,server,nowait" -qmp "unix:$PWD/qmp,server,nowait" > q.log 2>&1 & q=$!
    await test -e stop
    kill $q
    wait || true
}
last() { tail -n 2 serial | head -n 1; }
goes() { local was now; await test -s serial; was=$(last); now=$was; until [[ "$now" > "$was" ]]; do sleep 0.02; now=$(last); done; }
before() { goes; }
hmp() { python3 -c 'import socket,sys
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect("mon"); s.send(b"info status\n"); b = b""
while b"VM status" not in b: b += s.recv(1000)
print(b.decode())'; }
after() { goes; hmp | grep -q running || fail "the monitor does not answer"; }
phase "$1"
