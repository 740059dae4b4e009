//! The `ofa` binary.

#[cfg(feature = "cpu")]
#[global_allocator]
static ALLOCATOR: ofa::kernels::Aligned = ofa::kernels::Aligned;

fn main() -> std::process::ExitCode {
    ofa::cli::run()
}
