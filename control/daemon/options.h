// drd's command line.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace dr::control {

struct Options {
    // At most one of each; the option is given once for each.
    std::string listen_socket;  // "/run/dr/drd.sock"; empty: not on a Unix socket
    std::string listen_tcp;     // HOST:PORT; empty: not on TCP
    std::string store = "/var/lib/dr/drd.sqlite";
    std::string dataplane = "/run/dr/dataplane.sock";
    std::string tls_cert;
    std::string tls_key;
    std::string tls_ca;
    std::vector<std::string> tls_clients;  // empty: every certificate of tls_ca but a site's
    std::string user;
    bool allow_core_dumps = false;
    std::string event_log;  // empty: beside the store
    std::uint64_t event_log_size = 1'000'000;
    std::uint32_t event_log_days = 90;
    // For URs; empty: no signalling.
    std::string signalling;
    std::string signalling_cert;
    std::string signalling_key;
    std::string signalling_ca;
    std::vector<std::string> signalling_names;  // NAME:PORT of this DR
    std::vector<std::string> signalling_peers;  // of the other DRs
    std::string ca_cert;
    std::string ca_key;

    [[nodiscard]] std::string event_log_path() const {
        return event_log.empty() ? store + ".events" : event_log;
    }
};

// Something that only the operator can put right; reported as "drd: error: …", exit 1.
class StartError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Parses and checks. For help, version and a usage error it prints the text, returns false, and
// sets `exit_code` to 0 or 2.
bool parse_options(int argc, char** argv, Options& options, int& exit_code);

}  // namespace dr::control
