//! MongoDB behind TLS, by the options of its URL.

use holdfast::archive::{Archive, ArchiveConfig, ArchiveError};

use crate::support::api::{Api, Place, places};
use crate::support::certificates::{Authority, Pair};
use crate::support::eventually;
use crate::support::servers::shared_mongodb;
use crate::support::terminator::Terminator;
use crate::support::unique_name;

use super::DONE;

/// A terminator before the shared MongoDB, with what its clients need.
struct Secured {
    authority: Authority,
    client: Pair,
    terminator: Terminator,
}

impl Secured {
    async fn new() -> Self {
        let authority = Authority::new();
        let (own, client) = (authority.issue(&["localhost"]), authority.issue(&["client"]));
        let ca = authority.ca();
        let terminator = Terminator::before(shared_mongodb().port(), &own, Some(&ca)).await;
        Secured { authority, client, terminator }
    }

    fn url(&self, host: &str, options: &str) -> String {
        // The server would send clients to its own port, without TLS.
        format!(
            "mongodb://{host}:{}/?directConnection=true{options}",
            self.terminator.address.port()
        )
    }

    fn options(&self) -> String {
        let (ca, both) = (self.authority.ca(), &self.client.both);
        format!("&tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={both}")
    }
}

async fn ping(url: &str) -> Result<(), ArchiveError> {
    let config =
        ArchiveConfig { url: url.to_owned(), database: unique_name(), op_timeout_ms: 5_000 };
    Archive::connect(&config).await?.ping().await
}

#[tokio::test]
async fn programs_sell_with_mongodb_over_tls() {
    let secured = Secured::new().await;
    let url = secured.url("localhost", &secured.options());
    let settings = [("HOLDFAST_MONGODB_URL", url.as_str())];
    let place = Place::shared();
    let api = Api::program(&place, &settings).await;
    let _worker = place.worker_at_work(&settings).await;
    let event = api.event(places(5)).await;
    let booking = api.held("ann", event, &[1]).await;
    api.act("ann", &booking, "confirm").await;
    eventually("the sale is archived", DONE, async || {
        api.booking("ann", &booking).await.json(200)["status"] == "CONFIRMED"
    })
    .await;
}

#[tokio::test]
async fn mongodb_with_the_wrong_certificate_is_refused() {
    let secured = Secured::new().await;
    let (options, other) = (secured.options(), Authority::new());
    eventually("it answers", DONE, async || {
        ping(&secured.url("localhost", &options)).await.is_ok()
    })
    .await;
    let ca = secured.authority.ca();
    for (what, url) in [
        ("another name", secured.url("127.0.0.1", &options)),
        ("another authority", secured.url("localhost", &options.replace(&ca, &other.ca()))),
        ("no client certificate", secured.url("localhost", &format!("&tls=true&tlsCAFile={ca}"))),
        ("no TLS", secured.url("localhost", "")),
    ] {
        assert!(ping(&url).await.is_err(), "{what}");
    }
    // Said to be insecure, it is.
    let both = &secured.client.both;
    let insecure = format!("&tls=true&tlsInsecure=true&tlsCertificateKeyFile={both}");
    ping(&secured.url("localhost", &insecure)).await.unwrap();
}
