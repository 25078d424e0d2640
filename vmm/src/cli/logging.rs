//! The log: warnings on standard error, more with `RUST_LOG`.

/// What is logged by default. fuser logs what it also returns, and one line is enough.
const DEFAULT: &str = "warn,fuser=off";

/// Starts logging.
pub(super) fn start() {
    let environment = env_logger::Env::default().default_filter_or(DEFAULT);
    let mut builder = env_logger::Builder::from_env(environment);
    builder.format_target(false);
    // A second start would be a mistake of ours and harmless: the first one stays.
    let _ = builder.try_init();
}
