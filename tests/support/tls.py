"""A throw-away certificate authority and a certificate for localhost."""
import pathlib
import subprocess


def make_certs(folder):
    """Makes ca.pem, cert.pem, key.pem in folder (valid for localhost and 127.0.0.1). Returns the three paths."""
    d = pathlib.Path(folder)
    d.mkdir(parents=True, exist_ok=True)
    d.chmod(0o755)
    ext = d / "ext"
    ext.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _ssl("req", "-x509", *ec, "-keyout", d / "ca.key", "-out", d / "ca.pem", "-days", "2", "-subj", "/CN=wftrace test CA",
         "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _ssl("req", *ec, "-keyout", d / "key.pem", "-out", d / "csr", "-subj", "/CN=localhost")
    _ssl("x509", "-req", "-in", d / "csr", "-CA", d / "ca.pem", "-CAkey", d / "ca.key", "-CAcreateserial",
         "-out", d / "cert.pem", "-days", "2", "-extfile", ext)
    (d / "key.pem").chmod(0o644)
    return d / "ca.pem", d / "cert.pem", d / "key.pem"


def _ssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)
