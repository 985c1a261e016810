//! The address of Redis: read from `redis_url` and the settings of TLS.
//!
//! Every part of the URL is honoured or refused; none is ignored. One address makes client
//! configurations for the whole deployment and for one node of it, with the same credentials and
//! the same TLS.

mod parsing;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use fred::types::Value;
use fred::types::config::{ClusterDiscoveryPolicy, Config, Server, ServerConfig, TlsConfig};

use rustls::ClientConfig;

use self::parsing::{Kind, check_parameters, database, deployment, kind_of};
use super::tls::{NewTls, Tls, TlsFault, TlsFiles};
use crate::secrets::{HINT, ParsedUrl, Secret, ServiceUrl, UrlFault};

/// A server of the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddress {
    /// Its name or address; IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A user's name and password. Without a name it is the default user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: Option<Secret>,
    /// The password; without one no login takes place.
    pub password: Option<Secret>,
}

/// The kind of deployment, with its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// One server.
    Centralised(NodeAddress),
    /// A Cluster, with the nodes that the URL names.
    Cluster(Vec<NodeAddress>),
    /// One server, found through Sentinels.
    Sentinel {
        /// The Sentinels that the URL names.
        sentinels: Vec<NodeAddress>,
        /// The name of the server in the Sentinels.
        service: String,
        /// Their own credentials; empty if they need none.
        credentials: Credentials,
    },
    /// One server behind a Unix socket.
    Unix(PathBuf),
}

/// The address of Redis, with credentials and TLS.
#[derive(Clone)]
pub struct RedisAddress {
    deployment: Deployment,
    credentials: Credentials,
    database: Option<u8>,
    tls: Option<Tls>,
    url: ServiceUrl,
}

/// How a connection is encrypted.
pub(super) struct TlsSettings {
    /// Authorities, and the client's certificate.
    pub config: Arc<ClientConfig>,
    /// The name that the server's certificate must be for, where it is not the host's.
    pub server_name: Option<String>,
}

/// Why an address cannot be used. No text contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// The URL cannot be read.
    #[error(transparent)]
    Url(#[from] UrlFault),
    /// An unknown scheme.
    #[error(
        "it must begin with redis://, rediss:// (TLS), redis-cluster://, rediss-cluster://, \
         redis-sentinel://, rediss-sentinel:// or redis+unix://, or the same with valkey"
    )]
    Scheme,
    /// None or several hosts.
    #[error("it must name one host{0}")]
    Hosts(&'static str),
    /// Port 0.
    #[error("port 0 is no port")]
    Port,
    /// A user without a password: Redis would refuse the login.
    #[error("{0} has no password; write name:password@, or :password@ without a name")]
    NoPassword(&'static str),
    /// A path that is no database number.
    #[error("after the host belongs the number of a database, 0 to 255, or nothing")]
    Database,
    /// A Cluster with a database number.
    #[error("a Cluster has no database but 0: leave the path out")]
    ClusterDatabase,
    /// A missing socket path.
    #[error("after redis+unix:// belongs the path of a socket, as redis+unix:///run/redis.sock")]
    Socket,
    /// A parameter that this scheme does not have.
    #[error("its parameter number {number} is unknown{hint}; {HINT}")]
    Parameter {
        /// Its number, from 1: the name may be part of a secret.
        number: usize,
        /// A suggestion.
        hint: String,
    },
    /// A malformed value of `node`.
    #[error("a `node` must be host:port")]
    Node,
    /// Sentinels without a name for the server.
    #[error("it needs ?sentinelServiceName=, the name under which the Sentinels know the server")]
    NoService,
    /// Settings of TLS that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFault),
}

impl RedisAddress {
    /// Parses an address. [`RedisAddress::load`] reads the files.
    ///
    /// # Errors
    /// If any part of the URL or of the settings of TLS would have no effect.
    pub fn parse(text: &str, files: &TlsFiles) -> Result<Self, AddressFault> {
        let url = ParsedUrl::parse(text)?;
        let (kind, is_tls) = kind_of(&url.scheme).ok_or(AddressFault::Scheme)?;
        check_parameters(&url, kind)?;
        let credentials =
            Credentials { username: url.username.clone(), password: url.password.clone() };
        if credentials.username.is_some() && credentials.password.is_none() {
            return Err(AddressFault::NoPassword("its user"));
        }
        let database = if kind == Kind::Unix { None } else { database(&url.path)? };
        if kind == Kind::Cluster && database.unwrap_or(0) != 0 {
            return Err(AddressFault::ClusterDatabase);
        }
        let tls = if is_tls { Some(Tls::new(files)?) } else { None };
        if tls.is_none() && !files.is_empty() {
            return Err(TlsFault::PlainScheme.into());
        }
        let deployment = deployment(&url, kind)?;
        Ok(RedisAddress { deployment, credentials, database, tls, url: text.into() })
    }

    /// Reads the files of certificates and keys, once.
    ///
    /// # Errors
    /// If one cannot be used.
    pub fn load(&self) -> Result<(), AddressFault> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.client_config().map(drop))?;
        Ok(())
    }

    /// Reads other files of certificates and keys; `None` if connections are not encrypted.
    ///
    /// # Errors
    /// If one cannot be used.
    pub fn prepare_tls(&self, files: &TlsFiles) -> Result<Option<NewTls>, TlsFault> {
        self.tls.as_ref().map(|tls| tls.prepare(files)).transpose()
    }

    /// The URL with its password: for connecting, never for display.
    pub fn expose(&self) -> &str {
        self.url.expose()
    }

    /// The kind of deployment, with its servers.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Whether keys live on several nodes, so that one read cannot span partitions.
    pub fn is_cluster(&self) -> bool {
        matches!(self.deployment, Deployment::Cluster(_))
    }

    /// The nodes of a Cluster that the URL names; none for other deployments.
    pub(super) fn cluster_nodes(&self) -> Vec<NodeAddress> {
        match &self.deployment {
            Deployment::Cluster(nodes) => nodes.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The client library's configuration for the whole deployment.
    ///
    /// # Errors
    /// If a file of certificates or keys cannot be used.
    pub(super) fn config(&self) -> Result<Config, AddressFault> {
        let servers = |nodes: &[NodeAddress]| nodes.iter().map(|node| self.server(node)).collect();
        let text = |secret: &Option<Secret>| secret.as_ref().map(|text| text.expose().to_owned());
        self.config_of(match &self.deployment {
            Deployment::Centralised(node) => {
                ServerConfig::Centralized { server: self.server(node) }
            }
            Deployment::Cluster(nodes) => ServerConfig::Clustered {
                hosts: servers(nodes),
                policy: ClusterDiscoveryPolicy::default(),
            },
            Deployment::Sentinel { sentinels, service, credentials } => ServerConfig::Sentinel {
                hosts: servers(sentinels),
                service_name: service.clone(),
                username: text(&credentials.username),
                password: text(&credentials.password),
            },
            Deployment::Unix(path) => ServerConfig::Unix { path: path.clone() },
        })
    }

    /// The client library's configuration for one node, such as one of a Cluster.
    ///
    /// # Errors
    /// If a file of certificates or keys cannot be used.
    pub(super) fn node_config(&self, node: &NodeAddress) -> Result<Config, AddressFault> {
        self.config_of(ServerConfig::Centralized { server: self.server(node) })
    }

    /// What a new connection sends first: the login, and the choice of the database.
    pub(super) fn login(&self) -> Vec<(&'static str, Vec<Value>)> {
        let text = |secret: &Secret| Value::from(secret.expose());
        let Credentials { username, password } = &self.credentials;
        let mut commands = Vec::new();
        if let Some(password) = password {
            let words = username.iter().chain([password]);
            commands.push(("AUTH", words.map(text).collect()));
        }
        if let Some(database) = self.database.filter(|database| *database != 0) {
            commands.push(("SELECT", vec![Value::from(i64::from(database))]));
        }
        commands
    }

    /// How connections are encrypted; `None` if they are not.
    ///
    /// # Errors
    /// If a file of certificates or keys cannot be used.
    pub(super) fn tls(&self) -> Result<Option<TlsSettings>, AddressFault> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let server_name = tls.server_name().map(str::to_owned);
        Ok(Some(TlsSettings { config: tls.client_config()?.into(), server_name }))
    }

    fn config_of(&self, server: ServerConfig) -> Result<Config, AddressFault> {
        let text = |secret: &Option<Secret>| secret.as_ref().map(|text| text.expose().to_owned());
        let tls = match &self.tls {
            Some(tls) => Some(TlsConfig::from(tls.client_config()?)),
            None => None,
        };
        Ok(Config {
            server,
            username: text(&self.credentials.username),
            password: text(&self.credentials.password),
            database: self.database,
            tls,
            fail_fast: true,
            ..Config::default()
        })
    }

    fn server(&self, node: &NodeAddress) -> Server {
        let mut server = Server::new(node.host.clone(), node.port);
        // The host is the default name; the brackets of IPv6 belong to URLs.
        let name = self.tls.as_ref().and_then(Tls::server_name);
        let name = name.unwrap_or(node.host.trim_matches(['[', ']']));
        server.tls_server_name = self.tls.as_ref().map(|_| name.into());
        server
    }
}

/// Parses a URL without settings of TLS, for tests and tools.
impl TryFrom<&str> for RedisAddress {
    type Error = AddressFault;
    fn try_from(url: &str) -> Result<Self, Self::Error> {
        RedisAddress::parse(url, &TlsFiles::default())
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.url, f)
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.url, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> RedisAddress {
        RedisAddress::try_from(url).unwrap_or_else(|fault| panic!("{url}: {fault}"))
    }

    fn node(host: &str, port: u16) -> NodeAddress {
        NodeAddress { host: host.into(), port }
    }

    #[test]
    fn schemes_map_to_deployments() {
        let one = Deployment::Centralised(node("h", 6379));
        for (url, is_tls) in [
            ("redis://h", false),
            ("valkey://h:6379/0", false),
            ("rediss://:pw@h/", true),
            ("valkeys://h", true),
        ] {
            let address = parsed(url);
            assert_eq!((address.deployment(), address.is_tls()), (&one, is_tls), "{url}");
        }
        let nodes = vec![node("h", 1), node("[::1]", 2), node("i", 6379)];
        for (url, is_tls) in
            [("redis", false), ("rediss", true), ("valkey", false), ("valkeys", true)]
        {
            let address = parsed(&format!("{url}-cluster://h:1?node=[::1]:2&node=i"));
            assert_eq!(address.deployment(), &Deployment::Cluster(nodes.clone()));
            assert!(address.is_cluster());
            assert_eq!(address.is_tls(), is_tls);
        }
        let url = "valkeys-sentinel://app:pw@h/3?node=i:1&sentinelServiceName=main\
            &sentinelUsername=ann&sentinelPassword=a%26b+c";
        let address = parsed(url);
        let credentials =
            Credentials { username: Some("ann".into()), password: Some("a&b+c".into()) };
        let expected = Deployment::Sentinel {
            sentinels: vec![node("h", 26379), node("i", 1)],
            service: "main".into(),
            credentials,
        };
        assert_eq!((address.deployment(), address.database), (&expected, Some(3)));
        let unix = parsed("redis+unix://app:pw@ignored/run/a%40b.sock");
        assert_eq!(unix.deployment(), &Deployment::Unix("/run/a@b.sock".into()));
        assert_eq!(unix.credentials.password, Some("pw".into()));
    }

    #[test]
    fn url_parts_without_effect_are_refused() {
        let cases = [
            ("http://h", "must begin with redis://"),
            ("redisss://h", "must begin with redis://"),
            ("rediss+unix:///s", "must begin with redis://"),
            ("redis://a,b", "must name one host"),
            ("redis-cluster://a:1,b:2", "?node=host:port"),
            ("redis://h:0", "port 0"),
            ("redis://app@h", "its user has no password"),
            ("redis://h/one", "number of a database"),
            ("redis://h/256", "number of a database"),
            ("redis://h/+1", "number of a database"),
            ("redis://h/0/1", "number of a database"),
            ("redis-cluster://h/1", "no database but 0"),
            ("redis+unix://h/", "path of a socket"),
            ("redis://h?node=i:1", "number 1 is unknown; `node` is for a Cluster or Sentinels"),
            ("redis://h?sentinelPassword=hush", "`sentinelPassword` is for Sentinels"),
            ("redis-cluster://h?node=i:1&nodes=j:1", "number 2 is unknown; did you mean `node`?"),
            ("redis-cluster://h?hush=1", "number 1 is unknown; percent-encode"),
            ("redis-cluster://h?node=i:port", "must be host:port"),
            ("redis-sentinel://h", "needs ?sentinelServiceName="),
            ("redis-sentinel://h?sentinelServiceName=m&sentinelUsername=a", "has no password"),
            ("redis-sentinel://h?sentinelservicename=m", "did you mean `sentinelServiceName`?"),
            ("redis://app:p@ss:w/rd#1@h", "it holds a `#`; percent-encode"),
        ];
        for (url, expected) in cases {
            let fault = RedisAddress::try_from(url).unwrap_err().to_string();
            assert!(fault.contains(expected) && !fault.contains("hush"), "{url}: {fault}");
        }
    }

    #[test]
    fn tls_settings_with_a_plain_scheme_are_refused() {
        let files = TlsFiles { ca: "ca.pem".into(), ..TlsFiles::default() };
        for url in ["redis://h", "valkey-cluster://h", "redis+unix:///s"] {
            let fault = RedisAddress::parse(url, &files).unwrap_err();
            assert_eq!(fault, TlsFault::PlainScheme.into(), "{url}");
        }
        RedisAddress::parse("rediss://h", &files).unwrap();
    }

    #[test]
    fn client_configuration_contains_all_credentials() {
        let address =
            parsed("redis-sentinel://app:pw@h/3?sentinelServiceName=main&sentinelPassword=hush");
        let config = address.config().unwrap();
        assert_eq!((config.username.as_deref(), config.database), (Some("app"), Some(3)));
        let ServerConfig::Sentinel { username, password, .. } = &config.server else { panic!() };
        assert_eq!((username, password.as_deref()), (&None, Some("hush")));
        let config = address.node_config(&node("i", 7)).unwrap();
        assert_eq!(config.server, ServerConfig::new_centralized("i", 7));
        assert_eq!(config.password.as_deref(), Some("pw"));
        assert!(!format!("{address:?} {address}").contains("pw"));
    }
}
