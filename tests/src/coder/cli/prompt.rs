//! Prompts. Nobody answers them here, but whether they can be answered is found out as the real ones do.

use std::io::Read;

use tokio::signal::unix::SignalKind;

use super::output::Failure;
use super::{Cli, end_silently_on, hang};

impl Cli {
    /// Asks for a yes, which `--yes` says beforehand.
    pub(super) fn confirm(&self, text: &str, default: &str) -> Result<(), Failure> {
        if self.flags.is_set("yes") {
            return Ok(());
        }
        self.say(&format!("> {text} (yes/no) "));
        let line = read_line()?;
        match line.as_str() {
            "" if default == "yes" => Ok(()),
            "yes" | "y" => Ok(()),
            other => Err(Failure::text(&format!("got \"{other}\": canceled"))),
        }
    }

    /// Asks for a value, whatever `--yes` says.
    pub(super) fn ask_for_value(&self, name: &str, default: &str) -> Result<String, Failure> {
        let shown = if default.is_empty() { String::new() } else { format!(" (default: \"{default}\")") };
        self.say(&format!("{name}\n> Enter a value{shown}: "));
        let line = read_line()?;
        Ok(if line.is_empty() { default.to_owned() } else { line })
    }

    /// Lets one choose from a menu, which reads a terminal and does not end with its input.
    pub(super) fn choose(&self, title: &str, options: &[String]) -> ! {
        // Without that, the signals still end it.
        let _ = end_silently_on([SignalKind::interrupt(), SignalKind::terminate()]);
        self.say(&format!("{title}\n"));
        options.iter().for_each(|it| self.say(&format!("  {it}\n")));
        hang()
    }
}

/// A line of standard input. Without one, the error is its end.
fn read_line() -> Result<String, Failure> {
    end_silently_on([SignalKind::interrupt()])?;
    let mut line = Vec::new();
    let mut stdin = std::io::stdin().lock();
    let mut byte = [0];
    loop {
        match stdin.read(&mut byte)? {
            0 => return Err(Failure::text("EOF")),
            _ if byte[0] == b'\n' => break,
            _ => line.push(byte[0]),
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
}
