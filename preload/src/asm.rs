//! What cannot be said in Rust: the signal trampoline, thread entry and the two exits that unmap their own ground.

use core::arch::global_asm;

// The bytes of `sigreturn` are those that debuggers and unwinders know a signal frame by.
global_asm!(
    ".text",
    ".p2align 4",
    ".hidden ckpt_sigreturn",
    ".globl ckpt_sigreturn",
    "nop", // unwinders look one byte before a return address
    "ckpt_sigreturn:",
    "mov rax, 15",
    "syscall",
    // clone(flags, stack) for a thread that runs entry(arg) and never returns: rdi flags, rsi stack top, rdx entry, rcx arg
    ".p2align 4",
    ".hidden ckpt_clone_thread",
    ".globl ckpt_clone_thread",
    "ckpt_clone_thread:",
    "mov r8, rdx",
    "mov r9, rcx",
    "xor edx, edx",
    "xor r10d, r10d",
    "mov eax, 56",
    "syscall",
    "test eax, eax",
    "jnz 1f",
    "xor ebp, ebp",
    "mov rdi, r9",
    "call r8",
    "ud2",
    "1: ret",
    // clone with TLS: rdi flags, rsi stack top, rdx entry, rcx arg, r8 child_tid, r9 tls
    ".p2align 4",
    ".hidden ckpt_clone_tls",
    ".globl ckpt_clone_tls",
    "ckpt_clone_tls:",
    "push r12",
    "push r13",
    "mov r12, rdx",
    "mov r13, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "xor edx, edx",
    "mov eax, 56",
    "syscall",
    "test eax, eax",
    "jnz 3f",
    "xor ebp, ebp",
    "mov rdi, r13",
    "call r12",
    "ud2",
    "3: pop r13",
    "pop r12",
    "ret",
    // clone3: rdi args, rsi size, rdx entry, rcx arg
    ".p2align 4",
    ".hidden ckpt_clone3",
    ".globl ckpt_clone3",
    "ckpt_clone3:",
    "mov r8, rcx",
    "mov r9, rdx",
    "mov eax, 435",
    "syscall",
    "test eax, eax",
    "jnz 4f",
    "xor ebp, ebp",
    "mov rdi, r8",
    "call r9",
    "ud2",
    "4: ret",
    // enter_on(rdi stack top, rsi argument, rdx entry)
    ".p2align 4",
    ".hidden ckpt_enter_on",
    ".globl ckpt_enter_on",
    "ckpt_enter_on:",
    "mov rsp, rdi",
    "and rsp, -16",
    "xor ebp, ebp",
    "mov rdi, rsi",
    "call rdx",
    "ud2",
    // call_on(rdi stack top or 0: this stack, rsi argument, rdx entry, rcx where the stack pointer is noted): comes back, by
    // the entry's return or, with the noted stack pointer, by way of call_left
    ".p2align 4",
    ".hidden ckpt_call_on",
    ".globl ckpt_call_on",
    ".hidden ckpt_call_left",
    ".globl ckpt_call_left",
    "ckpt_call_on:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rbx, rcx",
    "mov [rcx], rsp",
    "test rdi, rdi",
    "cmovz rdi, rsp",
    "mov rsp, rdi",
    "and rsp, -16",
    "mov rdi, rsi",
    "call rdx",
    "mov rsp, [rbx]",
    "ckpt_call_left:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    // munmap(rdi, rsi), then exit(rdx): the ground may be the caller's stack
    ".p2align 4",
    ".hidden ckpt_unmap_exit",
    ".globl ckpt_unmap_exit",
    "ckpt_unmap_exit:",
    "mov eax, 11",
    "syscall",
    "mov edi, edx",
    "mov eax, 60",
    "syscall",
    "ud2",
    // What goes on with a call for us, by `finish::enter`: on the stack are return address, rsi, rdx, bytes done (all that the
    // call will say), call number, r10, rsp, rdi, r8, r9 and six words more. finish_write: from where a write was.
    ".p2align 4",
    ".hidden ckpt_finish_write",
    ".globl ckpt_finish_write",
    "ckpt_finish_write:",
    "mov rax, [rsp + 32]",
    "syscall",
    "test rax, rax",
    "jle 6f",
    "add [rsp + 24], rax",
    "add rsi, rax",
    "cmp qword ptr [rsp + 32], 18",
    "jne 5f",
    "add r10, rax",
    "5: sub rdx, rax",
    "jnz ckpt_finish_write",
    "6: mov rax, [rsp + 24]",
    "7: mov rsi, [rsp + 8]",
    "mov rdx, [rsp + 16]",
    "mov r10, [rsp + 40]",
    "mov rdi, [rsp + 56]",
    "mov r8, [rsp + 64]",
    "mov r9, [rsp + 72]",
    "mov r11, [rsp]",
    "mov rsp, [rsp + 48]",
    "jmp r11",
    // finish_once: the same for calls whose count is in another register: one call, for what was left.
    ".p2align 4",
    ".hidden ckpt_finish_once",
    ".globl ckpt_finish_once",
    "ckpt_finish_once:",
    "mov rax, [rsp + 32]",
    "syscall",
    "test rax, rax",
    "jle 6b",
    "add [rsp + 24], rax",
    "jmp 6b",
    // finish_messages: the same for messages (struct mmsghdr, 64 bytes each). sendmmsg(2) (307) is asked once: its last
    // message may be in part.
    ".p2align 4",
    ".hidden ckpt_finish_messages",
    ".globl ckpt_finish_messages",
    "ckpt_finish_messages:",
    "mov rax, [rsp + 32]",
    "syscall",
    "test rax, rax",
    "jle 6b",
    "add [rsp + 24], rax",
    "cmp qword ptr [rsp + 32], 307",
    "je 6b",
    "sub rdx, rax",
    "shl rax, 6",
    "add rsi, rax",
    "test rdx, rdx",
    "jnz ckpt_finish_messages",
    "jmp 6b",
    // finish_vector: the same for several pieces of memory, one after the other. The words more: iovec, how many, bytes done
    // of the first, flags or file offset; for sendmmsg: messages done, this one too, and its length.
    ".p2align 4",
    ".hidden ckpt_finish_vector",
    ".globl ckpt_finish_vector",
    "ckpt_finish_vector:",
    "cmp qword ptr [rsp + 88], 0",
    "je 9f",
    "mov rcx, [rsp + 80]",
    "mov rsi, [rcx]",
    "mov rdx, [rcx + 8]",
    "mov rcx, [rsp + 96]",
    "add rsi, rcx",
    "sub rdx, rcx",
    "jz 8f",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "mov r10, [rsp + 104]",
    "mov rax, [rsp + 32]",
    "syscall",
    "test rax, rax",
    "jle 9f",
    "add [rsp + 24], rax",
    "add [rsp + 96], rax",
    "cmp qword ptr [rsp + 32], 18",
    "jne ckpt_finish_vector",
    "add [rsp + 104], rax",
    "jmp ckpt_finish_vector",
    "8: mov qword ptr [rsp + 96], 0",
    "add qword ptr [rsp + 80], 16",
    "dec qword ptr [rsp + 88]",
    "jmp ckpt_finish_vector",
    "9: mov rcx, [rsp + 112]",
    "test rcx, rcx",
    "jz 6b",
    // the message's length, and those behind it, unless an error or a signal of the program's own came first
    "mov rsi, rcx",
    "shl rsi, 6",
    "add rsi, [rsp + 8]",
    "mov rax, [rsp + 24]",
    "mov [rsi - 8], eax",
    "mov [rsp + 24], rcx",
    "cmp rax, [rsp + 120]",
    "jne 6b",
    "mov rdx, [rsp + 16]",
    "sub rdx, rcx",
    "jbe 6b",
    "mov r8, [rsp + 64]",
    "mov r9, [rsp + 72]",
    "mov r10, [rsp + 40]",
    "mov qword ptr [rsp + 32], 307",
    "jmp ckpt_finish_messages",
    // finish_pause: all signals are blocked; waits for one with the right mask, as sigsuspend(2) does, then sets the mask
    // that the program had. The fourth and fifth word are the mask to wait with and that for afterwards, the eleventh is the
    // result. To unwinders the stack pointer of before is in the seventh, the return address in the first.
    ".p2align 4",
    ".hidden ckpt_finish_pause",
    ".globl ckpt_finish_pause",
    ".hidden ckpt_paused",
    ".globl ckpt_paused",
    "ckpt_finish_pause:",
    ".cfi_startproc",
    ".cfi_signal_frame",
    ".cfi_escape 0x0f, 0x03, 0x77, 0x30, 0x06",
    ".cfi_escape 0x10, 0x10, 0x02, 0x77, 0x00",
    "lea rdi, [rsp + 24]",
    "mov esi, 8",
    "mov eax, 130",
    "syscall",
    "ckpt_paused:",
    "mov [rsp + 80], rax",
    "mov edi, 2",
    "lea rsi, [rsp + 32]",
    "xor edx, edx",
    "mov r10d, 8",
    "mov eax, 14",
    "syscall",
    "mov rax, [rsp + 80]",
    "jmp 7b",
    ".cfi_endproc",
    // by_number(rdi number, its six arguments as C passes them): what the kernel answers. The number stays below the stack
    // pointer, where signals leave it.
    ".p2align 4",
    ".hidden ckpt_by_number",
    ".globl ckpt_by_number",
    "ckpt_by_number:",
    "mov [rsp - 8], rdi",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "mov r9, [rsp + 8]",
    ".hidden ckpt_by_number_at",
    ".globl ckpt_by_number_at",
    "ckpt_by_number_at: syscall",
    "ret",
    // leave(rdi ucontext, rsi ground, rdx ground length, rcx address of the count of threads still on the ground, r8 how
    // the call was set back): the last one unmaps it; then rt_sigreturn on the frame, below which the stack is free.
    ".p2align 4",
    ".hidden ckpt_leave",
    ".globl ckpt_leave",
    "ckpt_leave:",
    "mov r12, rdi",
    "mov r13, r8",
    "mov eax, -1",
    "lock xadd dword ptr [rcx], eax",
    "cmp eax, 1",
    "jne 2f",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov eax, 11",
    "syscall",
    "2: mov rsp, r12",
    "and rsp, -16",
    "mov rdi, r12",
    "mov rsi, r13",
    "call {last_steps}",
    "mov rsp, r12",
    "mov eax, 15",
    "syscall",
    "ud2",
    last_steps = sym crate::eintr::last_steps,
);

/// Uses one tile register and releases it.
pub fn touch_amx() {
    let mut config = [0u8; 64];
    config[0] = 1; // palette
    config[16] = 4; // bytes of a row of tmm0
    config[48] = 1; // its rows
    // SAFETY: the frame says that this processor has AMX and that permission was given.
    unsafe {
        core::arch::asm!(
            ".byte 0xc4, 0xe2, 0x78, 0x49, 0x00", // ldtilecfg [rax]
            ".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0", // tilezero tmm0
            ".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0", // tilerelease
            in("rax") config.as_ptr(),
            options(nostack),
        );
    }
}

/// The number of the call of the instruction at `at`, where that is one of ours that leaves it below the stack pointer, or
/// one that goes on with a call.
///
/// # Safety
/// `sp` is the stack pointer of a thread there.
pub unsafe fn number_at(at: i64, sp: i64) -> Option<i64> {
    const SYSCALL: u16 = 0x050f;
    let ours = [syscall_at as *const () as i64, by_number_at as *const () as i64];
    let goes_on = finish_write as *const () as i64..finish_pause as *const () as i64;
    // SAFETY: by the contract; it was stored just before. What lies in our own code can be read.
    unsafe {
        if ours.contains(&at) {
            Some(*((sp - 8) as *const i64))
        } else if goes_on.contains(&at) && (at as *const u16).read_unaligned() == SYSCALL {
            Some(*((sp + 32) as *const i64))
        } else {
            None
        }
    }
}

unsafe extern "C" {
    #[link_name = "ckpt_syscall_at"]
    fn syscall_at();
    #[link_name = "ckpt_by_number_at"]
    fn by_number_at();
    #[link_name = "ckpt_by_number"]
    pub fn by_number(n: i64, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize;
    #[link_name = "ckpt_sigreturn"]
    pub fn sigreturn();
    #[link_name = "ckpt_clone_thread"]
    pub fn clone_thread(flags: usize, stack: usize, entry: unsafe extern "C" fn(usize) -> !, arg: usize) -> isize;
    #[link_name = "ckpt_clone_tls"]
    pub fn clone_tls(flags: usize, stack: usize, entry: unsafe extern "C" fn(usize) -> !, arg: usize, child_tid: usize, tls: usize) -> isize;
    #[link_name = "ckpt_clone3"]
    pub fn clone3_thread(args: usize, size: usize, entry: unsafe extern "C" fn(usize) -> !, arg: usize) -> isize;
    #[link_name = "ckpt_enter_on"]
    pub fn enter_on(stack: usize, arg: usize, entry: usize) -> !;
    #[link_name = "ckpt_call_on"]
    pub fn call_on(stack: usize, arg: usize, entry: usize, noted: *mut usize);
    #[link_name = "ckpt_call_left"]
    pub fn call_left();
    #[link_name = "ckpt_unmap_exit"]
    pub fn unmap_exit(addr: usize, len: usize, code: i32) -> !;
    #[link_name = "ckpt_finish_write"]
    pub fn finish_write();
    #[link_name = "ckpt_finish_once"]
    pub fn finish_once();
    #[link_name = "ckpt_finish_messages"]
    pub fn finish_messages();
    #[link_name = "ckpt_finish_vector"]
    pub fn finish_vector();
    #[link_name = "ckpt_finish_pause"]
    pub fn finish_pause();
    /// where its call comes back to
    #[link_name = "ckpt_paused"]
    pub fn paused();
    #[link_name = "ckpt_leave"]
    pub fn leave(frame: usize, ground: usize, len: usize, count: usize, rewound: usize) -> !;
}
