//! Credentials for a registry: what docker's configuration and its helpers say, and the header that takes them to the engine.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::base64;

/// Docker Hub's name among the credentials, which is none of its addresses.
pub const HUB: &str = "https://index.docker.io/v1/";

/// Credentials for one registry. Their `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth(String);

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryAuth(…)")
    }
}

impl RegistryAuth {
    /// With a user's name and password.
    pub fn with_password(user: &str, password: &str, registry: &str) -> Self {
        Self::of(&json!({
            "username": user, "password": password, "serveraddress": server_of(registry),
        }))
    }

    fn with_token(kind: &str, token: &str, registry: &str) -> Self {
        Self::of(&json!({ kind: token, "serveraddress": server_of(registry) }))
    }

    fn of(value: &Value) -> Self {
        Self(base64::encode_url(value.to_string().as_bytes()))
    }

    /// `X-Registry-Auth`: JSON in base64 for URLs.
    pub fn header(&self) -> &str {
        &self.0
    }
}

/// The key under which credentials for a registry are kept.
pub fn server_of(registry: &str) -> &str {
    match registry {
        "docker.io" => HUB,
        other => other,
    }
}

/// Where the credentials for a registry are.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: it is asked without any.
    Nowhere,
    /// Here.
    Here(RegistryAuth),
    /// With the program `docker-credential-NAME`.
    Program(String),
}

/// Reads docker's `config.json`. A helper for the registry goes before the store for all, and that before what stands in the file.
///
/// # Errors
/// A sentence, without anything of the file's, when what it says of this registry cannot be used.
pub fn find(config: &[u8], registry: &str) -> Result<Source, String> {
    let config: Value =
        serde_json::from_slice(config).map_err(|_| "it is not valid JSON".to_owned())?;
    let config = config.as_object().ok_or("it is not a JSON object")?;
    let server = server_of(registry);
    if let Some(helper) = entry(config, "credHelpers", server)? {
        return program(helper);
    }
    if let Some(store) = config.get("credsStore")
        && store.as_str() != Some("")
    {
        return program(store);
    }
    match entry(config, "auths", server)? {
        None => Ok(Source::Nowhere),
        Some(auth) => read_auth(auth, registry),
    }
}

/// What is under the registry's name, as it is or as an address.
fn entry<'a>(
    config: &'a Map<String, Value>,
    section: &str,
    server: &str,
) -> Result<Option<&'a Value>, String> {
    let entries = match config.get(section) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err(format!("its {section} is not a JSON object")),
    };
    let address = |key: &str| -> String {
        let host = key
            .trim_start_matches("https://")
            .trim_start_matches("http://");
        let host = host.split('/').next().unwrap_or_default();
        match host {
            "docker.io" | "registry-1.docker.io" => "index.docker.io".to_owned(),
            host => host.to_ascii_lowercase(),
        }
    };
    Ok(entries.get(server).or_else(|| {
        let wanted = address(server);
        entries
            .iter()
            .find(|(key, _)| address(key) == wanted)
            .map(|(_, value)| value)
    }))
}

fn program(name: &Value) -> Result<Source, String> {
    let name = name.as_str().unwrap_or_default();
    let plain = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !plain {
        return Err(
            "its credential helper's name is not one of letters, digits, '-', '_' and '.'".into(),
        );
    }
    Ok(Source::Program(name.to_owned()))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `USER:PASSWORD` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

fn read_auth(value: &Value, registry: &str) -> Result<Source, String> {
    let wrong = || format!("its auths entry for {registry} cannot be read; log in to it again");
    let entry: Entry = serde_json::from_value(value.clone()).map_err(|_| wrong())?;
    for (kind, token) in [
        ("identitytoken", &entry.identitytoken),
        ("registrytoken", &entry.registrytoken),
    ] {
        if !token.is_empty() {
            return Ok(Source::Here(RegistryAuth::with_token(
                kind, token, registry,
            )));
        }
    }
    let (user, password) = if entry.auth.is_empty() {
        (entry.username, entry.password)
    } else {
        let text =
            base64::decode(entry.auth.trim()).and_then(|bytes| String::from_utf8(bytes).ok());
        let (user, password) = text
            .as_deref()
            .and_then(|text| text.split_once(':'))
            .ok_or_else(wrong)?;
        (user.to_owned(), password.trim_end_matches('\0').to_owned())
    };
    if user.is_empty() && password.is_empty() {
        // Docker leaves an empty entry where a store has the credentials.
        return Ok(Source::Nowhere);
    }
    Ok(Source::Here(RegistryAuth::with_password(
        &user, &password, registry,
    )))
}

/// Reads what a credential helper printed.
///
/// # Errors
/// A sentence, without anything of the answer's.
pub fn from_helper(answer: &[u8], registry: &str) -> Result<RegistryAuth, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|_| "its answer is not JSON with Username and Secret".to_owned())?;
    Ok(if answer.username == "<token>" {
        RegistryAuth::with_token("identitytoken", &answer.secret, registry)
    } else {
        RegistryAuth::with_password(&answer.username, &answer.secret, registry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(source: Source) -> Value {
        let Source::Here(auth) = source else {
            panic!("{source:?}")
        };
        let text = auth.header().replace('-', "+").replace('_', "/");
        serde_json::from_slice(&base64::decode(&text).unwrap()).unwrap()
    }

    fn found(config: &Value, registry: &str) -> Result<Source, String> {
        find(config.to_string().as_bytes(), registry)
    }

    #[test]
    fn credentials_are_read_as_docker_keeps_them() {
        let config = json!({"auths": {
            HUB: {"auth": "dXNlcjpwYTpzcw=="},
            "localhost:5000": {"username": "u", "password": "p"},
            "https://r.example.com/v1/": {"identitytoken": "t"},
            "empty.example.com": {},
            "bad.example.com": {"auth": "!"},
        }});
        assert_eq!(
            sent(found(&config, "docker.io").unwrap()),
            json!({"username": "user", "password": "pa:ss", "serveraddress": HUB})
        );
        assert_eq!(
            sent(found(&config, "localhost:5000").unwrap()),
            json!({"username": "u", "password": "p", "serveraddress": "localhost:5000"})
        );
        assert_eq!(
            sent(found(&config, "r.example.com").unwrap()),
            json!({"identitytoken": "t", "serveraddress": "r.example.com"})
        );
        for nobody in [
            "empty.example.com",
            "localhost",
            "localhost:5001",
            "example.com",
        ] {
            assert_eq!(found(&config, nobody), Ok(Source::Nowhere), "{nobody}");
        }
        let wrong = found(&config, "bad.example.com").unwrap_err();
        assert!(
            wrong.contains("bad.example.com") && wrong.contains("log in"),
            "{wrong}"
        );
    }

    #[test]
    fn helpers_go_before_the_store_and_that_before_the_file() {
        let mut config = json!({
            "auths": {"a.b": {"auth": "dTpw"}, "c.d": {"auth": "dTpw"}},
            "credHelpers": {"a.b": "one"},
        });
        assert_eq!(found(&config, "a.b"), Ok(Source::Program("one".into())));
        assert!(matches!(found(&config, "c.d"), Ok(Source::Here(_))));
        config["credsStore"] = "two".into();
        assert_eq!(found(&config, "a.b"), Ok(Source::Program("one".into())));
        assert_eq!(found(&config, "c.d"), Ok(Source::Program("two".into())));
        for name in ["../../bin/sh", "a b", "a/b", ""] {
            config["credHelpers"]["a.b"] = name.into();
            assert!(found(&config, "a.b").is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_an_error_that_quotes_nothing() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"auths": "hunter2"}"#,
            r#"{"auths":{"a.b":"hunter2"}}"#,
        ] {
            let error = find(text.as_bytes(), "a.b").unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let auth = RegistryAuth::with_password("u", "hunter2", "a.b");
        assert_eq!(format!("{auth:?}"), "RegistryAuth(…)");
    }

    #[test]
    fn a_helpers_answer_is_a_password_or_a_token() {
        let answer =
            |user: &str| json!({"ServerURL": "a.b", "Username": user, "Secret": "s"}).to_string();
        let auth = |user| Source::Here(from_helper(answer(user).as_bytes(), "a.b").unwrap());
        assert_eq!(
            sent(auth("u")),
            json!({"username": "u", "password": "s", "serveraddress": "a.b"})
        );
        assert_eq!(
            sent(auth("<token>")),
            json!({"identitytoken": "s", "serveraddress": "a.b"})
        );
        assert!(from_helper(b"hunter2", "a.b").is_err());
    }
}
