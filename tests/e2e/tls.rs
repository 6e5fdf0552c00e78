//! A broker over TLS: with the authority that signed it, and not without.

use std::{collections::BTreeMap, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{Nats, eventually, run};

/// An authority of our own.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn environment(url: &str, ca: Option<&Path>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([("NATS_URL".to_owned(), url.to_owned())]);
    env.extend(ca.map(|ca| ("NATS_CA".to_owned(), ca.display().to_string())));
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_over_tls_is_trusted_for_its_authority_alone() {
    let (ours, other) = (authority("ours"), authority("other"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let Some(nats) = Nats::start_with_tls(&certificate.pem(), &key.serialize_pem()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let (ours, other) = (file("ours.pem", ours.pem()), file("other.pem", other.pem()));
    let url = nats.url().replace("nats://", "tls://");

    eventually("the streams are made over TLS", async || {
        run(&["topology", "apply"], &environment(&url, Some(&ours))).0 == 0
    })
    .await;
    // Another authority, and the system's, are refused: at once, with a reason and an advice.
    for ca in [Some(other.as_path()), None] {
        let (code, _, said) = run(&["topology", "plan"], &environment(&url, ca));
        assert_ne!(code, 0);
        assert!(said.contains("certificate"), "{said}");
    }
    // A client that speaks no TLS is asked for it by the server, and then does not trust it either.
    let (code, _, said) = run(&["topology", "plan"], &environment(&nats.url(), None));
    assert_ne!(code, 0, "{said}");
    let (code, _, said) = run(&["topology", "plan"], &environment(&nats.url(), Some(&folder.path().join("none.pem"))));
    assert_ne!(code, 0);
    assert!(said.contains("none.pem"), "{said}");
}
