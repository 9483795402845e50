//! The keys in force: who a token belongs to, where its owner may write, and the file looked at for changes.

use std::{collections::HashMap, path::Path, sync::Arc, time::SystemTime};

use aguacero::config::{Config, Key, TokenHash, open_to_others};
use hyper::header::HeaderValue;
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use crate::{answer::respond::Answer, file_watch, metric, request::rate::Bucket};

/// What every token begins with, so that one that got lost is found by tools that look for secrets.
pub(crate) const TOKEN_PREFIX: &str = "agk_";
/// With 32 random bytes in base64url behind it.
pub(crate) const TOKEN_LENGTH: usize = TOKEN_PREFIX.len() + 43;

/// Bytes of a file of keys: some 50,000 of them.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// All keys of a file.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    /// By the first eight bytes of a hash, which may be compared in any way: who can choose them knows the hash.
    by_hash: HashMap<[u8; 8], Vec<Token>>,
    owners: Vec<Arc<Owner>>,
}

/// A token that somebody was given.
#[derive(Debug)]
struct Token {
    hash: TokenHash,
    owner: Arc<Owner>,
}

/// Whoever has a key.
#[derive(Debug)]
pub(crate) struct Owner {
    key: Key,
    bucket: Option<Arc<Bucket>>,
}

/// The key_set in force, for the workers.
#[derive(Clone)]
pub(crate) struct Keys(watch::Receiver<Arc<KeySet>>);

impl KeySet {
    /// Of the keys of a file. Who has the same rate as `before` goes on with the same bucket.
    fn new(keys: Vec<Key>, before: &Self) -> Self {
        let mut key_set = Self::default();
        let buckets = before.owners.iter();
        let buckets = buckets.filter_map(|o| Some((o.name(), o.bucket.as_ref()?)));
        let buckets: HashMap<_, _> = buckets.collect();
        for key in keys {
            let bucket = key.rate.map(|rate| match buckets.get(&*key.name) {
                Some(bucket) if bucket.rate() == rate => Arc::clone(bucket),
                _ => Arc::new(Bucket::new(rate)),
            });
            let owner = Arc::new(Owner { key, bucket });
            for hash in &owner.key.hashes {
                let (hash, owner) = (*hash, Arc::clone(&owner));
                let alike = key_set.by_hash.entry(beginning(&hash)).or_default();
                alike.push(Token { hash, owner });
            }
            key_set.owners.push(owner);
        }
        key_set
    }

    fn in_force(&self, now: SystemTime) -> usize {
        let good = self.owners.iter().filter(|o| o.key.is_in_force(now));
        good.count()
    }

    /// Whose token this is, if it is good at `now`.
    fn owner_of(&self, token: &[u8], now: SystemTime) -> Option<Arc<Owner>> {
        if token.len() != TOKEN_LENGTH || !token.starts_with(TOKEN_PREFIX.as_bytes()) {
            return None;
        }
        let hash = TokenHash::of(token);
        let alike = self.by_hash.get(&beginning(&hash))?;
        let mut alike = alike.iter();
        let same = alike.find(|token| token.hash.0.ct_eq(&hash.0).into());
        let owner = &same?.owner;
        owner.key.is_in_force(now).then(|| Arc::clone(owner))
    }
}

fn beginning(hash: &TokenHash) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.0[..8]);
    first
}

impl Keys {
    /// The keys that the process begins with, and where later ones are put.
    pub(crate) fn new(keys: Vec<Key>) -> (watch::Sender<Arc<KeySet>>, Self) {
        let key_set = KeySet::new(keys, &KeySet::default());
        let (sender, receiver) = watch::channel(Arc::new(key_set));
        (sender, Self(receiver))
    }

    /// Who sends a request with these fields `Authorization`, or 401.
    pub(crate) fn owner(&self, fields: &[&HeaderValue]) -> Result<Arc<Owner>, Box<Answer>> {
        let [field] = fields else {
            let detail = match fields {
                [] => "this stream takes events with a key: send Authorization: Bearer TOKEN",
                _ => "Authorization is given more than once",
            };
            return Err(Answer::unauthorized(detail).into());
        };
        let Some(token) = bearer(field.as_bytes()) else {
            let detail = "this stream takes Authorization: Bearer TOKEN, and no other scheme";
            return Err(Answer::unauthorized(detail).into());
        };
        let owner = self.0.borrow().owner_of(token, SystemTime::now());
        owner.ok_or_else(|| Answer::invalid_token().into())
    }
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && token.first() == Some(&b' ');
    is_bearer.then(|| token.trim_ascii())
}

impl Owner {
    /// The name of the key, which goes into the ids of its events.
    pub(crate) fn name(&self) -> &str {
        &self.key.name
    }

    /// 403 unless it may write to `stream`.
    pub(crate) fn may_write(&self, stream: &str) -> Result<(), Box<Answer>> {
        match self.key.writes.to(stream) {
            true => Ok(()),
            false => Err(Answer::insufficient_scope(stream).into()),
        }
    }

    /// 429 if it sends too fast. Takes one event of its rate.
    pub(crate) fn enter(&self) -> Result<(), Box<Answer>> {
        match &self.bucket {
            None => Ok(()),
            Some(bucket) => bucket
                .enter()
                .map_err(|wait| Answer::too_fast(bucket.rate(), wait).into()),
        }
    }

    /// The request that was let in has so many records.
    pub(crate) fn has_sent(&self, records: usize) {
        if let Some(bucket) = &self.bucket
            && records > 1
        {
            bucket.take(records - 1);
        }
    }

    pub(crate) fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_deref()
    }
}

/// What was read, or why it was not.
type Found = Result<String, String>;

/// Puts the keys of the file in force as they change. What is wrong with it is told once, and the keys before stay
/// in force.
pub(crate) async fn watch_file(config: Arc<Config>, sender: watch::Sender<Arc<KeySet>>) {
    let Some(path) = config.gateway.keys.as_deref() else {
        return;
    };
    let look = || {
        metric::keys(sender.borrow().in_force(SystemTime::now())); // some expire meanwhile
        read(path)
    };
    let mut told = open_to_others(path); // with the rest of the configuration
    file_watch::watch(None, look, |found| {
        let open = open_to_others(path);
        if let Some(what) = open.as_ref().filter(|_| open != told) {
            tracing::warn!("{what}");
        }
        told = open;
        take(&config, path, found, &sender);
    })
    .await;
}

/// What the file holds. A pipe in its place would be waited for, and nothing else be done.
fn read(path: &Path) -> Found {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !about.is_file() || about.len() > FILE_BYTES_MAX {
        return Err(format!(
            "it is no file, or has more than {FILE_BYTES_MAX} bytes"
        ));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Puts what was found in the file in force, if it has no mistakes.
fn take(config: &Config, path: &Path, found: &Found, sender: &watch::Sender<Arc<KeySet>>) {
    let file = path.display();
    let read = match found {
        Ok(text) => config.parse_keys(text).map_err(|wrong| wrong.to_string()),
        Err(why) => Err(format!("{file}: cannot be read: {why}")),
    };
    metric::keys_refused(read.is_err());
    match read {
        Ok(keys) => {
            let key_set = KeySet::new(keys, &sender.borrow());
            sender.send_replace(Arc::new(key_set));
            match sender.borrow().in_force(SystemTime::now()) {
                0 => tracing::warn!(%file, "no key is in force: nobody can write with one"),
                keys => tracing::info!(%file, keys, "keys are in force"),
            }
        }
        Err(mistakes) => {
            for mistake in mistakes.lines() {
                tracing::error!(mistake, "the keys before stay in force");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aguacero::config::parse_keys;

    const TOKEN: &str = "agk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const OTHER: &str = "agk_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA";

    fn key(name: &str, token: &str, more: &str) -> String {
        let hash = TokenHash::of(token.as_bytes());
        format!("[[keys]]\nname = \"{name}\"\nhashes = [\"{hash}\"]\nstreams = [\"s\"]\n{more}\n")
    }

    fn key_set(text: &str, before: &KeySet) -> KeySet {
        let keys = parse_keys(text, "keys.toml", None).unwrap_or_else(|e| panic!("{e}"));
        KeySet::new(keys, before)
    }

    fn asks(keys: &Keys, fields: &[&str]) -> Result<String, u16> {
        let fields: Vec<_> = fields.iter().map(|f| f.parse().unwrap()).collect();
        let owner = keys.owner(&fields.iter().collect::<Vec<_>>());
        owner.map(|o| o.name().to_owned()).map_err(|a| a.status)
    }

    #[test]
    fn only_a_token_of_the_file_is_anybodys() {
        let text = key("a", TOKEN, "") + &key("b", OTHER, "expires = 2020-01-01");
        let keys = parse_keys(&text, "keys.toml", None).unwrap();
        let (_sender, keys) = Keys::new(keys);
        for good in [format!("Bearer {TOKEN}"), format!("bEARER  {TOKEN} ")] {
            assert_eq!(asks(&keys, &[&good]), Ok("a".into()), "{good}");
        }
        let good = format!("Bearer {TOKEN}");
        for wrong in [
            vec![],
            vec![&*good, &*good],
            vec!["Bearer"],
            vec!["Bearer agk_"],
            vec![TOKEN],
            vec!["Basic YTpi"],
            vec![&good[..good.len() - 1]],
        ] {
            assert_eq!(asks(&keys, &wrong), Err(401), "{wrong:?}");
        }
        let expired = format!("Bearer {OTHER}");
        assert_eq!(asks(&keys, &[&expired]), Err(401));
    }

    #[test]
    fn what_is_left_of_a_rate_outlives_another_file_unless_the_rate_is_another() {
        let first = key_set(&key("a", TOKEN, "rate = 1\nburst = 2"), &KeySet::default());
        first.owners[0].enter().unwrap();
        first.owners[0].has_sent(1000);
        let same = key_set(&key("a", OTHER, "rate = 1\nburst = 2"), &first);
        assert_eq!(same.owners[0].enter().unwrap_err().status, 429);
        let other = key_set(&key("a", TOKEN, "rate = 1\nburst = 3"), &same);
        assert!(other.owners[0].enter().is_ok());
    }
}
