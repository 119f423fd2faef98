//! Carries out what the admin API asks for: reloads, looks, and changes of the config file.
//!
//! A change is validated before a byte is written, and put in force by the way of every reload.

use zeroize::Zeroizing;

use crate::admin::{ApiKeyShown, Change, ChangeOrder, Changed, ConfigShown, NotChanged, Order, Outcome};
use crate::clock::{self, UnixSeconds};
use crate::config::{self, Edit, SecretOrigin};
use crate::problem::FieldPath;
use crate::secret::Secret;

use super::change::{self, Plan, Written};
use super::config_file::{ConfigFile, not_replaceable};
use super::reload::{Reloader, Trigger};
use super::source::{ConfigSource, Rejected};

/// Why the embedded default stays what it is.
const EMBEDDED: &str = "this run has no config file, so nothing can be changed: `keygate init` writes one, and `keygate \
                        run -c FILE` uses it";

/// Of shorter keys nothing is shown.
const SHORTEST_MASKED: usize = 16;

impl Reloader {
    /// Does what is asked. Whoever asked may be gone by then.
    pub(super) async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Reload(client, reply) => {
                log::info!("admin: {client} asked for a reload");
                self.reload(Trigger::Signal).await;
                let _ = reply.send(self.log.last());
            }
            Order::Change(order, reply) => {
                let _ = reply.send(self.change(order).await);
            }
            Order::Show(reply) => {
                let _ = reply.send(self.shown());
            }
            Order::Reveal(client, reply) => {
                log::info!("admin: {client} was shown `proxy.api_key`");
                let key = self.in_force.config.proxy.api_key.as_ref().map(|key| key.value.clone());
                let _ = reply.send(key.filter(|key| !key.is_empty()));
            }
        }
    }

    async fn change(&mut self, order: ChangeOrder) -> Result<Changed, NotChanged> {
        let ChangeOrder { change, if_match, client } = order;
        let ConfigSource::File(path) = &self.source else {
            return Err(NotChanged::NotEditable(EMBEDDED.to_owned()));
        };
        let file = ConfigFile::read(path)?;
        if file.etag() != if_match {
            return Err(NotChanged::Stale);
        }
        let before = self.source.parse(&file.bytes).map_err(problems)?;
        let live = self.live.load();
        let elsewhere = |name: &str| live.policy.keys.iter().any(|(_, key)| key.name() == name);
        let plan = change::plan(
            &change,
            Written { config: &before.config, shown: &before.shown },
            path,
            clock::now(),
            elsewhere,
        )?;
        drop(live);
        let new = edited(&file.bytes, &plan.edits)?;
        self.check(&new, &change, &plan)?;
        let mut writes: Vec<(ConfigFile, Content)> = Vec::new();
        if let Some((path, secret)) = &plan.secret_file {
            writes.push((ConfigFile::read(path)?, format!("{}\n", secret.expose()).into_bytes().into()));
        }
        if !plan.edits.is_empty() {
            writes.push((file, new.clone()));
        }
        for (at, (file, content)) in writes.iter().enumerate() {
            if let Err(error) = file.replace(content) {
                writes.iter().take(at).for_each(put_back);
                return Err(error);
            }
        }
        self.reload(Trigger::Signal).await;
        let last = self.log.last();
        if last.outcome == Outcome::Rejected {
            // It was right a moment ago: a file of the config was changed by somebody else at the same time.
            writes.iter().for_each(put_back);
            self.reload(Trigger::Signal).await;
            return Err(NotChanged::Rejected(last.problems.clone()));
        }
        log::info!("admin: {client}: {change}");
        Ok(Changed {
            etag: super::config_file::etag(&new),
            generation: last.generation,
            restart_needed: last.restart_needed.clone(),
            warnings: last.warnings.clone(),
        })
    }

    fn preview(&self, bytes: &[u8]) -> Result<(), NotChanged> {
        self.source.preview(bytes, &self.listen, &self.in_force.startup).map(drop).map_err(problems)
    }

    /// The new text can be used. A secret that goes into a file of its own is put in for that, since it is not there yet.
    fn check(&self, new: &[u8], change: &Change, plan: &Plan) -> Result<(), NotChanged> {
        let (Some(_), Change::ApiKey(key, _)) = (&plan.secret_file, change) else {
            return self.preview(new);
        };
        let place = FieldPath::root().field("proxy").field("api_key");
        self.preview(&edited(new, &[Edit::Set(place, key.expose().into())])?)
    }

    fn shown(&self) -> ConfigShown {
        let path = self.source.file();
        let file = path.as_ref().map(|path| ConfigFile::read(path));
        let not_editable = match &path {
            None => Some(EMBEDDED.to_owned()),
            Some(path) => not_replaceable(path),
        };
        let proxy = &self.in_force.config.proxy;
        ConfigShown {
            etag: file.and_then(Result::ok).map(|file| file.etag()),
            file: path,
            not_editable,
            allow_lan_access: proxy.allow_lan_access,
            port: proxy.port,
            listen: proxy.listen.clone(),
            api_key: api_key(proxy),
            config: self.in_force.shown.clone(),
        }
    }
}

/// What stands in a file, of which secrets are a part.
type Content = Zeroizing<Vec<u8>>;

fn edited(bytes: &[u8], edits: &[Edit]) -> Result<Content, NotChanged> {
    let edited = config::edit(bytes, edits);
    edited.map(Into::into).map_err(|error| NotChanged::NotEditable(error.to_string()))
}

fn problems(Rejected { problems, .. }: Rejected) -> NotChanged {
    NotChanged::Rejected(problems)
}

fn put_back((file, written): &(ConfigFile, Content)) {
    if let Err(error) = file.put_back(written) {
        log::error!("a change could not be taken back: {error:?}");
    }
}

fn api_key(proxy: &config::Proxy) -> ApiKeyShown {
    let key = proxy.api_key.as_ref();
    let (from, place, not_editable) = match key.map(|key| &key.origin) {
        None => (None, None, None),
        Some(SecretOrigin::Literal) => (Some("literal"), None, None),
        Some(SecretOrigin::Env(name)) => {
            (Some("env"), Some(name.clone()), Some(change::from_environment(name)))
        }
        Some(SecretOrigin::File(path)) => (Some("file"), Some(path.display().to_string()), None),
    };
    let value = key.map(|key| &key.value).filter(|value| !value.is_empty());
    ApiKeyShown {
        state: if value.is_some() { "set" } else { "missing" },
        from,
        r#where: place,
        masked: value.map(masked),
        not_editable,
        previous_until: proxy
            .api_key_previous
            .as_ref()
            .map(|previous| UnixSeconds(previous.until.timestamp())),
    }
}

fn masked(key: &Secret) -> String {
    let chars: Vec<char> = key.expose().chars().collect();
    let (first, last) = (chars.get(..3), chars.get(chars.len().saturating_sub(4)..));
    match (first, last) {
        (Some(first), Some(last)) if chars.len() >= SHORTEST_MASKED => {
            first.iter().chain(&['…']).chain(last).collect()
        }
        _ => "…".to_owned(),
    }
}
