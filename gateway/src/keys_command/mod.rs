//! `gateway keys`: makes, lists, replaces and revokes keys, in the file that the gateway reads.
//!
//! What a program may want (a token, the table) goes to standard output, words to standard error. The file keeps
//! its comments, and changes in one step: the new one is written beside it under the name `FILE.new`, which
//! nobody else can have at that time, and takes its place.

mod file;

use std::{
    fmt::Write as _,
    io,
    path::PathBuf,
    process::exit,
    time::{Duration, SystemTime},
};

use aguacero::{
    cli::ConfigFile,
    config::{Key, Mistakes, TokenHash, Writes, text_of, time_of},
};
use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use toml_edit::{Array, Table, value};

use self::file::{hashes, named};
use crate::request::keys::TOKEN_PREFIX;

/// The exit status where a file has mistakes.
const MISTAKES: i32 = 2;
/// The exit status where anything else is wrong.
const FAILURE: i32 = 1;

/// What to do with the keys.
#[derive(Debug, clap::Subcommand)]
pub enum KeysCommand {
    /// Make a key, and print its token, which is shown only this once
    Make {
        /// Its owner: 1 to 64 of a-z, 0-9, "_" and "-"
        #[arg(long)]
        name: String,
        /// Where it may write, with commas between them; * is everywhere
        #[arg(long, value_delimiter = ',', required = true)]
        streams: Vec<String>,
        /// Events a second; without it there is no limit
        #[arg(long)]
        rate: Option<u32>,
        /// Events at once after a pause; without it, the rate
        #[arg(long, requires = "rate")]
        burst: Option<u32>,
        /// In days (90d), or a date (2027-01-01, 2027-01-01T12:00:00Z); without it: never
        #[arg(long, value_parser = expiry)]
        expires: Option<SystemTime>,
        /// Where the keys are
        #[command(flatten)]
        place: KeyFile,
    },
    /// Show every key, without its token, which nobody knows any more
    List {
        /// Where the keys are
        #[command(flatten)]
        place: KeyFile,
    },
    /// Take all tokens from a key; its name stays taken
    Revoke {
        /// The key's name
        name: String,
        /// Where the keys are
        #[command(flatten)]
        place: KeyFile,
    },
    /// Give a key a second token, and print it; the first one stays good until --finish
    Rotate {
        /// The key's name
        name: String,
        /// Take the older token away
        #[arg(long)]
        finish: bool,
        /// Where the keys are
        #[command(flatten)]
        place: KeyFile,
    },
}

/// Which file the keys are in.
#[derive(Debug, clap::Args)]
pub struct KeyFile {
    #[command(flatten)]
    config: ConfigFile,
    /// The file of keys, instead of the one that the configuration names as gateway.keys
    #[arg(long)]
    file: Option<PathBuf>,
}

/// Does what was asked for, or says why it cannot be done, and exits: with status 2 where a file has mistakes.
pub fn run(command: KeysCommand) -> ! {
    let Err(error) = act(command, &mut io::stdout()) else {
        exit(0)
    };
    eprintln!("{error:#}");
    exit(match error.is::<Mistakes>() {
        true => MISTAKES,
        false => FAILURE,
    })
}

/// What a program may want goes to `out`.
fn act(command: KeysCommand, out: &mut dyn io::Write) -> anyhow::Result<()> {
    let now = SystemTime::now();
    match command {
        KeysCommand::List { place } => {
            let keys = place.open()?.read()?;
            // Whoever closed the pipe has seen enough.
            _ = out.write_all(table(&keys, now).as_bytes());
            Ok(())
        }
        KeysCommand::Make {
            name,
            streams,
            rate,
            burst,
            expires,
            place,
        } => {
            let token = new_token()?;
            let mut key = Table::new();
            key["name"] = value(&name);
            key["hashes"] = value(Array::from_iter([hash_of(&token)]));
            key["streams"] = value(Array::from_iter(&streams));
            for (bound, events) in [("rate", rate), ("burst", burst)] {
                if let Some(events) = events {
                    key[bound] = value(i64::from(events));
                }
            }
            if let Some(expires) = expires {
                let date: toml_edit::Datetime = text_of(expires).parse()?;
                key["expires"] = value(date);
            }
            place.open()?.edit(|keys| {
                keys.push(key);
                Ok(())
            })?;
            let streams = streams.join(", ");
            show(out, &token, &format!("{name} may write to {streams}"))
        }
        KeysCommand::Revoke { name, place } => {
            place.open()?.edit(|keys| {
                named(keys, &name)?["hashes"] = value(Array::new());
                Ok(())
            })?;
            eprintln!("{name} is revoked: its tokens are good for a second more");
            Ok(())
        }
        KeysCommand::Rotate {
            name,
            finish: true,
            place,
        } => {
            place.open()?.edit(|keys| {
                let hashes = hashes(named(keys, &name)?)?;
                if hashes.len() < 2 {
                    bail!(
                        "{name} has no older token: `keys rotate {name}` makes a second one first"
                    );
                }
                hashes.remove(0);
                Ok(())
            })?;
            eprintln!(
                "the older token of {name} is good for a second more, and the newer one stays"
            );
            Ok(())
        }
        KeysCommand::Rotate { name, place, .. } => {
            let token = new_token()?;
            place.open()?.edit(|keys| {
                let hashes = hashes(named(keys, &name)?)?;
                match hashes.len() {
                    0 => bail!("{name} is revoked: make a key of another name"),
                    1 => hashes.push(hash_of(&token)),
                    _ => bail!("{name} has two tokens already: `keys rotate {name} --finish` takes the older one away"),
                }
                Ok(())
            })?;
            let words = format!(
                "{name} has a second token; when nobody sends the first one any more: `keys rotate {name} --finish`"
            );
            show(out, &token, &words)
        }
    }
}

/// The token alone, and words that do not get in its way.
fn show(out: &mut dyn io::Write, token: &str, words: &str) -> anyhow::Result<()> {
    eprintln!("{words}; its token is shown only this once:");
    writeln!(out, "{token}").context("the key is made, and its token could not be written")
}

fn new_token() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no random bytes")?;
    Ok(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

fn hash_of(token: &str) -> String {
    TokenHash::of(token.as_bytes()).to_string()
}

/// `90d`, or a date.
fn expiry(text: &str) -> Result<SystemTime, String> {
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u32>().ok());
    let after = days.and_then(|days| {
        let seconds = Duration::from_secs(u64::from(days) * 24 * 3600);
        SystemTime::now().checked_add(seconds)
    });
    let time = after.or_else(|| time_of(text));
    let whole_seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()))
    };
    let time = time.and_then(whole_seconds);
    let time = time.ok_or("write days, like 90d, or a date, like 2027-01-01")?;
    if time <= SystemTime::now() {
        return Err("that is over: the key would never be good".to_owned());
    }
    Ok(time)
}

fn table(keys: &[Key], now: SystemTime) -> String {
    let mut rows =
        vec![["NAME", "STREAMS", "RATE", "BURST", "EXPIRES", "STATE"].map(str::to_owned)];
    for key in keys {
        let number = |events: Option<u32>| events.map_or("-".to_owned(), |n| n.to_string());
        rows.push([
            key.name.clone(),
            match &key.writes {
                Writes::Everywhere => "*".to_owned(),
                Writes::To(streams) => streams.join(","),
            },
            number(key.rate.map(|rate| rate.per_second)),
            number(key.rate.map(|rate| rate.burst)),
            key.expires.map_or("never".to_owned(), text_of),
            match key {
                _ if key.hashes.is_empty() => "revoked",
                _ if !key.is_in_force(now) => "expired",
                _ if key.hashes.len() > 1 => "good, two tokens",
                _ => "good",
            }
            .to_owned(),
        ]);
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
        path::Path,
    };

    use super::{
        file::{HEADING, MODE, Opened},
        *,
    };

    fn opened(folder: &Path) -> Opened {
        Opened {
            path: folder.join("keys.toml"),
            streams: None,
        }
    }

    fn place(folder: &Path) -> KeyFile {
        KeyFile {
            config: ConfigFile {
                config: PathBuf::new(),
            },
            file: Some(folder.join("keys.toml")),
        }
    }

    fn make(folder: &Path, name: &str) {
        let command = KeysCommand::Make {
            name: name.to_owned(),
            streams: vec!["s".to_owned()],
            rate: Some(5),
            burst: None,
            expires: time_of("2040-01-01"),
            place: place(folder),
        };
        act(command, &mut io::sink()).unwrap();
    }

    #[test]
    fn a_key_is_made_rotated_and_revoked_and_the_file_keeps_comments_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rotate) = (folder.path().join("keys.toml"), |finish| {
            let (name, place) = ("a".to_owned(), place(folder.path()));
            act(
                KeysCommand::Rotate {
                    name,
                    finish,
                    place,
                },
                &mut io::sink(),
            )
        });
        make(folder.path(), "a");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode(), MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let text = fs::read_to_string(&path).unwrap() + "# in the garden\n";
        fs::write(&path, text).unwrap();
        make(folder.path(), "b");
        assert_eq!(mode(), 0o640);

        let first = |keys: Vec<Key>| keys[0].clone();
        let before = first(opened(folder.path()).read().unwrap());
        assert!(rotate(true).is_err(), "there is no older token");
        rotate(false).unwrap();
        assert!(rotate(false).is_err(), "one replacement at a time");
        let both = first(opened(folder.path()).read().unwrap());
        rotate(true).unwrap();
        let after = first(opened(folder.path()).read().unwrap());
        assert_eq!(both.hashes, [before.hashes[0], after.hashes[0]]);

        let name = "a".to_owned();
        let place = place(folder.path());
        act(KeysCommand::Revoke { name, place }, &mut io::sink()).unwrap();
        let keys = opened(folder.path()).read().unwrap();
        assert!(keys[0].hashes.is_empty() && keys[1].hashes.len() == 1);
        assert!(rotate(false).is_err(), "what is revoked stays so");

        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(HEADING) && text.contains("# in the garden"),
            "{text}"
        );
        let shown = table(&keys, SystemTime::now());
        assert!(
            shown.contains("revoked") && !shown.contains("sha256"),
            "{shown}"
        );
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside the file");
    }

    #[test]
    fn two_edits_at_the_same_time_do_not_lose_one_another() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), "a");
        let new = folder.path().join("keys.toml.new");
        fs::write(&new, "").unwrap();
        let edited = opened(folder.path()).edit(|_| Ok(()));
        assert!(format!("{:#}", edited.unwrap_err()).contains("nobody else is editing"));
        assert!(new.exists(), "it is somebody else's");
    }

    #[test]
    fn a_key_expires_after_days_or_at_a_date() {
        let in_a_day = expiry("1d")
            .unwrap()
            .duration_since(SystemTime::now())
            .unwrap();
        assert!(in_a_day <= Duration::from_secs(24 * 3600));
        assert_eq!(expiry("2999-01-01").ok(), time_of("2999-01-01T00:00:00Z"));
        for wrong in [
            "",
            "d",
            "-1d",
            "1 d",
            "tomorrow",
            "2999-13-01",
            "0d",
            "2020-01-01",
        ] {
            assert!(expiry(wrong).is_err(), "{wrong}");
        }
    }
}
