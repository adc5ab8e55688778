#include "control/options.h"

#include <CLI/CLI.hpp>
#include <iostream>

namespace dr::control {
namespace {

constexpr const char* kFooter = R"(
The store is one SQLite file; each acknowledged change is on disk. A second drd on the same store is
refused. With --user, drd starts as root to make its directories and sockets, gives them to that
user, and runs as that user from then on.

Over TCP the API is served with mutual TLS only: a client needs a certificate that --tls-ca has
signed. The Unix socket has mode 0660: its group may provision.

drd prints "drd: ready" when the API accepts requests; it does not wait for the data plane, and
forwarding does not wait for drd. SIGTERM ends it within 2 s.
Exit status: 0 ended on request, 1 cannot start or go on, 2 wrong usage.)";

void check(const Options& options) {
    const bool all =
        !options.tls_cert.empty() && !options.tls_key.empty() && !options.tls_ca.empty();
    const bool none = options.tls_cert.empty() && options.tls_key.empty() && options.tls_ca.empty();
    if (options.on_unix_socket() && !none)
        throw CLI::ValidationError("--listen",
                                   "is a Unix socket; the TLS options go with HOST:PORT");
    if (!options.on_unix_socket() && !all)
        throw CLI::ValidationError("--listen",
                                   "on TCP needs mutual TLS: --tls-cert, --tls-key and "
                                   "--tls-ca");
    if (options.on_unix_socket() && !options.socket_path().starts_with('/'))
        throw CLI::ValidationError("--listen", "a Unix socket is given as unix:/ABSOLUTE/PATH");
    if (!options.on_unix_socket() && options.listen.rfind(':') == std::string::npos)
        throw CLI::ValidationError("--listen", "is unix:PATH or HOST:PORT");
}

}  // namespace

bool parse_options(int argc, char** argv, Options& options, int& exit_code) {
    CLI::App app("drd: the control daemon of the Distribution Router", "drd");
    app.footer(kFooter);
    app.set_version_flag("--version", DR_VERSION);
    app.add_option("--listen", options.listen, "unix:PATH, or HOST:PORT with the TLS options")
        ->capture_default_str();
    app.add_option("--store", options.store, "the SQLite file; its directory is made")
        ->capture_default_str();
    app.add_option("--dataplane", options.dataplane, "the socket of dr-dataplane")
        ->capture_default_str();
    app.add_option("--tls-cert", options.tls_cert, "PEM: the server's certificate chain");
    app.add_option("--tls-key", options.tls_key, "PEM: its private key");
    app.add_option("--tls-ca", options.tls_ca, "PEM: the CA of the clients' certificates");
    app.add_option("--user", options.user, "run as this user after the start as root");
    try {
        app.parse(argc, argv);
        check(options);
    } catch (const CLI::ParseError& e) {
        const int shown = app.exit(e, std::cout, std::cerr);
        exit_code = shown == 0 ? 0 : 2;
        return false;
    }
    return true;
}

}  // namespace dr::control
