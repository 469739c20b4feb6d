//! The front can be switched off for any test: with `DENDRON_FRONT=off` every dendron that is started here has no front,
//! unless its configuration says itself whether it has one.

use std::path::Path;

use libtest_mimic::Failed;

/// Whether a dendron has the front whose configuration does not say.
pub fn by_default() -> bool {
    std::env::var_os("DENDRON_FRONT").is_none_or(|wish| wish != "off")
}

/// Adds to a configuration file what is wished.
pub fn settle(config: &Path) -> Result<(), Failed> {
    if by_default() {
        return Ok(());
    }
    let text = std::fs::read_to_string(config)?;
    if !text.lines().any(|line| line.starts_with("front:")) {
        std::fs::write(config, format!("{}\nfront: off\n", text.trim_end()))?;
    }
    Ok(())
}
