//! How libckpt.so is linked: no start files (the constructor is in .init_array), every symbol bound when it is
//! loaded, a failed link for a libc name that nobody provides, and initialised before all other libraries: at a restart
//! none of them is to start threads or open files that the restorer would have to get rid of.

fn main() {
    // core names the routine that unwinds panics; nothing here unwinds, and the name must not be exported.
    let no_unwinding = "-Wl,--defsym=rust_eh_personality=0";
    let flags = ["-nostartfiles", "-Wl,-z,now", "-Wl,-z,norelro", "-Wl,-z,defs", "-Wl,-z,initfirst", "-Wl,-soname,libckpt.so"];
    for argument in flags.into_iter().chain([no_unwinding]) {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
