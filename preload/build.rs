//! How libckpt.so is linked: no start files (the constructor is in .init_array), every symbol bound when it is
//! loaded, and a failed link for a libc name that nobody provides.

fn main() {
    // core names the routine that unwinds panics; nothing here unwinds, and the name must not be exported.
    let no_unwinding = "-Wl,--defsym=rust_eh_personality=0";
    for argument in [no_unwinding, "-nostartfiles", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,defs", "-Wl,-soname,libckpt.so"] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
