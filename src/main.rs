//! The program: parse, run, exit status.

mod cli;

fn main() -> std::process::ExitCode {
    if let Some(code) = acode_rt::serve_helper() {
        return code;
    }
    // Not a return: a thread that waits on a terminal or a stalled reader must not hold the program up.
    std::process::exit(cli::main());
}
