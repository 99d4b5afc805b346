"""A certificate that is renewed while servers run, and files that are none."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from carbonquota.errors import InputError
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.tls import TlsFiles
from tests.support.certificates import write_certificate


def shown_by(context: ssl.SSLContext) -> tuple[bytes, str | None]:
    """The certificate that a client gets, and the protocol that both speak."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    client_context.set_alpn_protocols(["h2", "http/1.1"])
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(back, there)
    server = context.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = client.getpeercert(binary_form=True)
    assert shown
    return shown, client.selected_alpn_protocol()


def test_a_certificate_that_is_renewed_is_shown_to_connections_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    write_certificate(certificate, key)
    files = TlsFiles(AccessSettings(tls_certificate=str(certificate), tls_key=str(key)))
    plain, http2 = files.context(), files.context("h2")
    assert plain is not None
    assert http2 is not None
    old = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert (shown_by(plain), shown_by(http2)) == ((old, None), (old, "h2"))
    assert not files.refresh()
    write_certificate(tmp_path / "new.crt", tmp_path / "new.key")
    # As long as the key is not that of the certificate, nothing changes.
    certificate.write_bytes((tmp_path / "new.crt").read_bytes())
    assert not files.refresh()
    assert "the key is not that of the certificate; the certificate of before stays" in caplog.text
    assert shown_by(plain)[0] == old
    key.write_bytes((tmp_path / "new.key").read_bytes())
    assert files.refresh()
    new = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert new != old
    assert (shown_by(plain), shown_by(http2)) == ((new, None), (new, "h2"))
    certificate.unlink()
    assert not files.refresh()
    assert shown_by(plain)[0] == new


def test_without_a_certificate_nothing_is_encrypted_and_one_that_is_none_is_an_error(tmp_path: Path) -> None:
    assert TlsFiles(AccessSettings()).context() is None
    text = str(tmp_path / "none")
    with pytest.raises(InputError, match=r"none: this is no certificate and its key, both as PEM: No such file"):
        TlsFiles(AccessSettings(tls_certificate=text, tls_key=text))
