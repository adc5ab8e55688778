#!/usr/bin/python3
"""Whose certificate lets in to the operators' API on TCP, where CAs are below each other.

On loopback: a root that --tls-ca names, an intermediate CA, and below that the CA of sites."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from attacks.daemon import free_port
from attacks.http2 import Closed, Connection, tls
from lablib.cases import Cases, expect
from lablib.process import Process
from lablib.programs import Programs
from lablib.shell import run, wait_until

cases = Cases()

OK, PERMISSION_DENIED = 0, 7
CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
LEAF = "subjectAltName=IP:127.0.0.1\n"
# root -> inter -> sites -> branch; operators are alice (of root) and bob (of inter).
TREE = (("inter", "root", CA), ("sites", "inter", CA), ("branch", "sites", CA),
        ("api", "root", LEAF), ("alice", "root", LEAF), ("bob", "inter", LEAF),
        ("site-1", "sites", LEAF), ("site-2", "branch", LEAF))


class Authorities:
    """A folder with the CAs and certificates of TREE."""

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="drt-ca."))
        self.programs = Programs()
        self.openssl("req", "-x509", *self.key("root"), "-out", self.at("root.pem"),
                     "-subj", "/CN=Root", "-days", "30")
        for name, issuer, extensions in TREE:
            self.at(f"{name}.ext").write_text(extensions)
            self.openssl("req", *self.key(name), "-out", self.at(f"{name}.csr"),
                         "-subj", f"/CN={name}")
            self.openssl("x509", "-req", "-in", self.at(f"{name}.csr"),
                         "-CA", self.at(f"{issuer}.pem"), "-CAkey", self.at(f"{issuer}.key"),
                         "-CAcreateserial", "-days", "30", "-extfile", self.at(f"{name}.ext"),
                         "-out", self.at(f"{name}.pem"))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)

    def at(self, name):
        return self.directory / name

    def key(self, name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.at(f"{name}.key"))

    def openssl(self, *args):
        run(["openssl", *args])

    def join(self, *names):
        return "".join(self.at(f"{name}.pem").read_text() for name in names)

    def credentials(self, name, *issuers):
        return {"ca": self.join("root"), "certificate": self.join(name, *issuers),
                "privateKey": self.at(f"{name}.key").read_text()}


class Api:
    """drd with its API on TCP for clients of the root, and signalling for clients of `sites_ca`."""

    def __init__(self, authorities, *options, sites_ca="sites.pem", cert="api.pem"):
        self.folder = authorities
        self.address = ("127.0.0.1", free_port())
        at = authorities.at
        self.command = [authorities.programs.drd, "--listen", "%s:%d" % self.address,
                        "--store", at("store") / "drd.db", "--dataplane", at("nobody.sock"),
                        "--tls-cert", at(cert), "--tls-key", at("api.key"),
                        "--tls-ca", at("root.pem"), "--signalling", f"127.0.0.1:{free_port()}",
                        "--signalling-ca", at(sites_ca), *options]

    def __enter__(self):
        self.process = Process.start("drd", self.command, self.folder.at("drd.log"),
                                     ready="drd: ready")
        return self

    def __exit__(self, *_):
        self.process.stop()

    def ask(self, credentials):
        """An operator's question: the status of the answer and its text."""
        with Connection(self.address, credentials, acknowledge=True) as peer:
            return peer.call("/dr.v1.Pools/List", b"", seconds=10)[:2]

    def starts_not(self):
        done = run(["timeout", "10", *self.command], check=False)
        return done.returncode, done.stderr


@cases.case("a site's certificate is no operator's, however deep below --tls-ca its CA is")
def _(folder):
    with Api(folder) as api:
        for name, issuers in (("site-1", ("sites", "inter")),
                              ("site-2", ("branch", "sites", "inter"))):
            status, text = api.ask(folder.credentials(name, *issuers))
            expect(status == PERMISSION_DENIED and "by a CA of sites" in text,
                   f"{name}: status {status}: {text}")


@cases.case("operators of the root, and of a CA below it, are let in")
def _(folder):
    with Api(folder) as api:
        for name, issuers in (("alice", ()), ("bob", ("inter",))):
            status, text = api.ask(folder.credentials(name, *issuers))
            expect(status == OK, f"{name}: status {status}: {text}")


def resumed(folder, api, credentials):
    """Asks twice, the second time in the TLS session of the first: the second answer, and whether
    the session was resumed."""
    context = tls(credentials)
    with Connection(api.address, None, context=context, acknowledge=True) as first:
        first.call("/dr.v1.Pools/List", b"", seconds=10)
        session = first.socket.session

    class Resuming:
        def wrap_socket(self, plain):
            return context.wrap_socket(plain, session=session)
    with Connection(api.address, None, context=Resuming(), acknowledge=True) as second:
        status, text, _ = second.call("/dr.v1.Pools/List", b"", seconds=10)
        return status, text, second.socket.session_reused


@cases.case("a TLS session that is resumed, in which no chain is shown, opens nothing to a site")
def _(folder):
    with Api(folder) as api:
        status, text, again = resumed(folder, api, folder.credentials("site-2", "branch", "sites",
                                                                      "inter"))
        expect(status == PERMISSION_DENIED, f"resumed: {again}: status {status}: {text}")
        status, text, again = resumed(folder, api, folder.credentials("bob", "inter"))
        expect(status == OK, f"bob, resumed: {again}: status {status}: {text}")
        return f"sessions are resumed: {again}"


@cases.case("a source has 128 connections to the API on TCP; another one is let in meanwhile")
def _(folder):
    alice = tls(folder.credentials("alice"))

    def connect(api, source=None):
        return Connection(api.address, None, context=alice, acknowledge=True, source=source)

    def served(api, source=None):
        try:
            with connect(api, source) as peer:
                return peer.call("/dr.v1.Pools/List", b"", seconds=5)[0] == OK
        except (OSError, Closed):
            return False
    with Api(folder) as api, ExitStack() as stack:
        peers = [stack.enter_context(connect(api)) for _ in range(128)]
        expect(not served(api), "the 129th connection is served")
        log = folder.at("drd.log").read_text()
        expect("the API: a connection from 127.0.0.1 is refused: it has 128 already" in log,
               log[-500:])
        expect(served(api, "127.0.0.2"), "another source is refused")
        peers[0].close()
        wait_until(lambda: served(api), "room after a connection has gone", seconds=10)


@cases.case("drd does not start when files that it is given lead from the sites' CA to --tls-ca")
def _(folder):
    folder.at("sites-chain.pem").write_text(folder.join("sites", "inter"))
    folder.at("api-chain.pem").write_text(folder.join("api", "inter"))
    for api in (Api(folder, sites_ca="sites-chain.pem"), Api(folder, cert="api-chain.pem"),
                Api(folder, sites_ca="inter.pem"), Api(folder, sites_ca="root.pem")):
        code, said = api.starts_not()
        expect(code == 1 and "give operators certificates of another CA" in said,
               f"exit {code}: {said}")


def main():
    return cases.run(Authorities, lambda folder: folder.at("drd.log").read_text()[-2000:]
                     if folder.at("drd.log").exists() else "")


if __name__ == "__main__":
    sys.exit(main())
