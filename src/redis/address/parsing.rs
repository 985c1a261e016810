//! Reading the parts of a URL: scheme, parameters, path and hosts.

use super::{AddressFault, Credentials, Deployment, NodeAddress};
use crate::secrets::{Host, ParsedUrl, Secret};
use crate::spelling::nearest;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const PARAMETERS: [&str; 4] =
    ["node", "sentinelServiceName", "sentinelUsername", "sentinelPassword"];

/// The kind of deployment that a scheme names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Centralised,
    Cluster,
    Sentinel,
    Unix,
}

/// The kind of deployment that a scheme names, and whether it uses TLS.
pub(super) fn kind_of(scheme: &str) -> Option<(Kind, bool)> {
    let rest = scheme.strip_prefix("redis").or_else(|| scheme.strip_prefix("valkey"))?;
    if rest == "+unix" {
        return Some((Kind::Unix, false));
    }
    let (is_tls, rest) = rest.strip_prefix('s').map_or((false, rest), |rest| (true, rest));
    let kind = match rest {
        "" => Kind::Centralised,
        "-cluster" => Kind::Cluster,
        "-sentinel" => Kind::Sentinel,
        _ => return None,
    };
    Some((kind, is_tls))
}

/// Refuses a parameter that the scheme does not have.
pub(super) fn check_parameters(url: &ParsedUrl, kind: Kind) -> Result<(), AddressFault> {
    let known = match kind {
        Kind::Cluster => &PARAMETERS[..1],
        Kind::Sentinel => &PARAMETERS[..],
        Kind::Centralised | Kind::Unix => &[],
    };
    let foreign = url.parameters.iter().position(|(name, _)| !known.contains(&name.as_str()));
    let Some(index) = foreign else { return Ok(()) };
    let name = url.parameters[index].0.as_str();
    let hint = match nearest(name, PARAMETERS) {
        Some(other) if known.contains(&other) => format!("; did you mean `{other}`?"),
        Some("node") => "; `node` is for a Cluster or Sentinels".to_owned(),
        Some(other) => format!("; `{other}` is for Sentinels"),
        None => String::new(),
    };
    Err(AddressFault::Parameter { number: index + 1, hint })
}

/// The number of the database in the path.
pub(super) fn database(path: &str) -> Result<Option<u8>, AddressFault> {
    match path.strip_prefix('/').unwrap_or(path) {
        "" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| AddressFault::Database)
        }
        _ => Err(AddressFault::Database),
    }
}

/// The servers that the URL names.
pub(super) fn deployment(url: &ParsedUrl, kind: Kind) -> Result<Deployment, AddressFault> {
    if kind == Kind::Unix {
        let is_path = url.path.len() > 1;
        let path = is_path.then(|| url.path.clone().into());
        return path.map(Deployment::Unix).ok_or(AddressFault::Socket);
    }
    let [first] = url.hosts.as_slice() else {
        let others = match kind {
            Kind::Centralised => "",
            _ => "; further ones are parameters, ?node=host:port&node=host:port",
        };
        return Err(AddressFault::Hosts(others));
    };
    let default_port = if kind == Kind::Sentinel { SENTINEL_PORT } else { PORT };
    let first = node(first, default_port)?;
    if kind == Kind::Centralised {
        return Ok(Deployment::Centralised(first));
    }
    let mut nodes = vec![first];
    for (_, value) in url.parameters.iter().filter(|(name, _)| name == "node") {
        let host = Host::parse(value.expose()).map_err(|_| AddressFault::Node)?;
        nodes.push(node(&host, default_port)?);
    }
    if kind == Kind::Cluster {
        return Ok(Deployment::Cluster(nodes));
    }
    let service = url.parameter("sentinelServiceName").ok_or(AddressFault::NoService)?.to_owned();
    let secret = |name| url.parameter(name).map(Secret::from);
    let credentials =
        Credentials { username: secret("sentinelUsername"), password: secret("sentinelPassword") };
    if credentials.username.is_some() && credentials.password.is_none() {
        return Err(AddressFault::NoPassword("sentinelUsername"));
    }
    Ok(Deployment::Sentinel { sentinels: nodes, service, credentials })
}

fn node(host: &Host, default_port: u16) -> Result<NodeAddress, AddressFault> {
    let port = host.port.unwrap_or(default_port);
    if port == 0 {
        return Err(AddressFault::Port);
    }
    Ok(NodeAddress { host: host.name.clone(), port })
}
