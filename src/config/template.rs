//! The config that `keygate init` writes.

use crate::secret::Secret;

/// The text of a new `keygate.yaml` with `key` as its primary key and `admin_token` for its admin API.
///
/// A secret itself, since both are in it.
pub fn template(key: &Secret, admin_token: &Secret) -> Secret {
    // JSON text is YAML text too: whatever the key is, it stays one string.
    let quoted = |secret: &Secret| serde_json::Value::from(secret.expose()).to_string();
    Secret::new(TEMPLATE.replace("ADMIN_TOKEN", &quoted(admin_token)).replace("API_KEY", &quoted(key)))
}

const TEMPLATE: &str = "\
# keygate: who may use which AI API. `keygate check` says what is wrong with this file, and `keygate run` picks up
# changes while it runs. Every setting: conf/full.yaml. For editors: `keygate schema`.

proxy:
  port: 8045
  allow_lan_access: false          # true: other machines can connect as well
  auth_mode: all_except_health     # every request needs a key, but `GET /healthz` is free
  api_key: API_KEY   # or ${ENV_VAR}, or file:PATH

upstreams:
  openai:
    peers: [\"127.0.0.1:9001\"]      # try it with `keygate origin --listen 127.0.0.1:9001`
    # tls: true                    # speak TLS to the peers

routes:                            # the most specific one wins: host, exact path, longest prefix
  - path_prefix: /
    upstream: openai

admin:                             # http://127.0.0.1:8046: status, metrics, reload, for this machine alone
  token: ADMIN_TOKEN
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{AuthMode, parse};
    use crate::policy;

    #[test]
    fn it_loads_with_the_key_and_nothing_is_wrong_with_it() {
        for key in ["sk-0123456789abcdef0123456789abcdef", "0123", "true", "a: \"b\" # c"] {
            let text = template(&Secret::new(key.into()), &Secret::new("admin-0123456789abcdef".into()));
            let loaded = parse(Path::new("k.yaml"), text.expose().as_bytes(), &|_| None).unwrap();
            assert_eq!(loaded.config.proxy.api_key.as_ref().unwrap().value.expose(), key);
            assert_eq!(loaded.config.admin.token.as_ref().unwrap().value.expose(), "admin-0123456789abcdef");
            assert_eq!(loaded.config.proxy.auth_mode, AuthMode::AllExceptHealth);
            let compiled = policy::compile(&loaded.config, 1, None).unwrap();
            assert_eq!((loaded.warnings, compiled.warnings), (vec![], vec![]));
        }
    }

    #[test]
    fn its_lines_are_short() {
        assert!(TEMPLATE.lines().all(|line| line.chars().count() <= 120));
    }
}
