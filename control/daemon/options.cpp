// Parses and checks drd's command line.
#include "control/daemon/options.h"

#include <CLI/CLI.hpp>
#include <iostream>

namespace dr::control {
namespace {

constexpr const char* kFooter = R"(
The store is one SQLite file; each acknowledged change is on disk. A second drd on the same store is
refused; keys and events are for its owner alone. With --user, drd starts as root to make its
directories and sockets, gives them to that user, and runs as that user from then on. Without it
root stays root. Either way no capability is left after the start.

Over TCP the API is served with mutual TLS only: a client needs a certificate that --tls-ca has
signed, of one of the names of --tls-client if there are any. A site's certificate is never one, and
neither is one that a CA of sites (--signalling-ca, --ca-cert) vouches for at any depth. The Unix socket has mode 0660: its group may provision. --listen given
twice serves both at once, each by its own rule.

With --signalling, URs attach there with certificates that `drcli subscriber enroll` has issued.
Certificates of another CA are taken with --signalling-ca, by their common name, the subscriber's;
once a subscriber is enrolled or revoked here, only what is enrolled here is taken.

drd prints "drd: ready" when the API accepts requests; it does not wait for the data plane, and
forwarding does not wait for drd. SIGTERM ends it within 2 s.
Exit status: 0 ended on request, 1 cannot start or go on, 2 wrong usage.)";

constexpr const char* kDefaultSocket = "/run/dr/drd.sock";

bool is_host_port(const std::string& text) {
    const auto colon = text.rfind(':');
    return colon != std::string::npos && colon > 0 && colon + 1 < text.size() &&
           text.find_first_not_of("0123456789", colon + 1) == std::string::npos;
}

void check_signalling(const Options& o) {
    if (!o.signalling.empty() && !is_host_port(o.signalling))
        throw CLI::ValidationError("--signalling", "is HOST:PORT");
    if (o.signalling_cert.empty() != o.signalling_key.empty())
        throw CLI::ValidationError("--signalling-cert", "and --signalling-key go together");
    if (o.ca_cert.empty() != o.ca_key.empty())
        throw CLI::ValidationError("--ca-cert", "and --ca-key go together");
    for (const auto* list : {&o.signalling_names, &o.signalling_peers})
        for (const auto& name : *list)
            if (!is_host_port(name))
                throw CLI::ValidationError("--signalling-name, --signalling-peer",
                                           "are NAME:PORT, and not " + name);
    const bool any = !o.signalling_cert.empty() || !o.signalling_ca.empty() ||
                     !o.signalling_names.empty() || !o.signalling_peers.empty();
    if (any && o.signalling.empty())
        throw CLI::ValidationError("--signalling-...", "goes with --signalling HOST:PORT");
}

void check(const Options& options) {
    check_signalling(options);
    const bool all =
        !options.tls_cert.empty() && !options.tls_key.empty() && !options.tls_ca.empty();
    const bool none = options.tls_cert.empty() && options.tls_key.empty() && options.tls_ca.empty();
    const bool tcp = !options.listen_tcp.empty();
    if (!tcp && !options.tls_clients.empty())
        throw CLI::ValidationError("--tls-client", "goes with --listen HOST:PORT");
    if (!tcp && !none)
        throw CLI::ValidationError("--listen",
                                   "is a Unix socket; the TLS options go with HOST:PORT");
    if (tcp && !all)
        throw CLI::ValidationError("--listen",
                                   "on TCP needs mutual TLS: --tls-cert, --tls-key and "
                                   "--tls-ca");
}

// Each value of --listen to its kind; none is the default.
void sort_listen(const std::vector<std::string>& values, Options& options) {
    for (const std::string& value : values) {
        const bool on_socket = value.starts_with("unix:");
        if (on_socket && !value.substr(5).starts_with('/'))
            throw CLI::ValidationError("--listen", "a Unix socket is given as unix:/ABSOLUTE/PATH");
        if (!on_socket && !is_host_port(value))
            throw CLI::ValidationError("--listen", "is unix:PATH or HOST:PORT");
        std::string& to = on_socket ? options.listen_socket : options.listen_tcp;
        if (!to.empty())
            throw CLI::ValidationError("--listen",
                                       "may be given twice: one Unix socket and one HOST:PORT");
        to = on_socket ? value.substr(5) : value;
    }
    if (values.empty()) options.listen_socket = kDefaultSocket;
}

}  // namespace

bool parse_options(int argc, char** argv, Options& options, int& exit_code) {
    CLI::App app("drd: the control daemon of the Distribution Router", "drd");
    app.footer(kFooter);
    app.set_version_flag("--version", DR_VERSION);
    std::vector<std::string> listen;
    app.add_option("--listen", listen,
                   std::string("unix:PATH, or HOST:PORT with the TLS options; both: given twice "
                               "(default: unix:") +
                       kDefaultSocket + ")")
        ->allow_extra_args(false);
    app.add_option("--store", options.store, "the SQLite file; its directory is made")
        ->capture_default_str();
    app.add_option("--dataplane", options.dataplane, "the socket of dr-dataplane")
        ->capture_default_str();
    app.add_option("--event-log", options.event_log,
                   "the SQLite file of the event log (default: STORE.events)");
    app.add_option("--event-log-size", options.event_log_size,
                   "events that it keeps; beyond that the oldest go")
        ->check(CLI::Range(1'000, 1'000'000'000))
        ->capture_default_str();
    app.add_option("--event-log-days", options.event_log_days,
                   "days that it keeps them; 0: any number")
        ->check(CLI::Range(0, 36'500))
        ->capture_default_str();
    app.add_option("--tls-cert", options.tls_cert, "PEM: the server's certificate chain");
    app.add_option("--tls-key", options.tls_key, "PEM: its private key");
    app.add_option("--tls-ca", options.tls_ca, "PEM: the CA of the clients' certificates");
    app.add_option("--tls-client", options.tls_clients,
                   "name (common or alternative) of an operator's certificate; may be repeated "
                   "(absent: every certificate of --tls-ca but those of sites)");
    app.add_option("--signalling", options.signalling,
                   "HOST:PORT where URs attach, over TLS 1.3 (absent: they cannot)");
    app.add_option("--signalling-name", options.signalling_names,
                   "NAME:PORT under which URs reach this DR, in order of preference (default: "
                   "--signalling)");
    app.add_option("--signalling-peer", options.signalling_peers,
                   "NAME:PORT of another DR that serves the same URs");
    app.add_option("--signalling-cert", options.signalling_cert,
                   "PEM: this DR's certificate chain for URs (default: issued by drd's CA)");
    app.add_option("--signalling-key", options.signalling_key, "PEM: its private key");
    app.add_option("--signalling-ca", options.signalling_ca,
                   "PEM: CAs of URs and DRs, besides drd's own");
    app.add_option("--ca-cert", options.ca_cert,
                   "PEM: the CA to issue URs' certificates with (default: one made beside the "
                   "store)");
    app.add_option("--ca-key", options.ca_key, "PEM: its private key");
    app.add_option("--user", options.user, "run as this user after the start as root");
    app.add_flag("--allow-core-dumps", options.allow_core_dumps,
                 "for debugging: a core dump holds the keys of all sites");
    try {
        app.parse(argc, argv);
        sort_listen(listen, options);
        check(options);
    } catch (const CLI::ParseError& e) {
        const int shown = app.exit(e, std::cout, std::cerr);
        exit_code = shown == 0 ? 0 : 2;
        return false;
    }
    return true;
}

}  // namespace dr::control
