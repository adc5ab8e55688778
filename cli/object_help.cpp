// Texts of `drcli help pool`, `policy` and `subscriber`.
#include "cli/object_help.h"

namespace dr::cli {
namespace {

constexpr const char* kPool =
    R"(A pool, a block of addresses of which sites get theirs:
  name       [a-z0-9][a-z0-9.-]{0,62}
  prefix     IPv4 or IPv6, host bits zero
  announce   true or false; stored, nothing is done with it yet
  {"pool": {"name": "osaka-v4", "prefix": "198.18.200.0/24"}}
)";

constexpr const char* kPolicy =
    R"(A policy, which lines carry a site's traffic:
  name             as a pool's
  classes          1 to 8; without filters every packet is of the first one
    name           of the class
    tiers          in order of priority; the first with a usable line is used
      lines        each with its line's name and a weight, 1 to 255 (1 if absent)
    maxLossPermille, maxRttMs, maxJitterMs    what a line has to keep; absent: anything
    strict         true: no line is good enough, the packets are dropped
  waitToRestoreS   how long a line that is back must stay good first: 60 s if absent
  {"policy": {"name": "fibre-first", "classes": [{"name": "all", "tiers": [
    {"lines": [{"line": "fibre"}]}, {"lines": [{"line": "lte"}]}]}]}}
)";

constexpr const char* kSubscriber =
    R"(A subscriber, a site:
  name            as a pool's
  prefixes        1 to 64, IPv4 or IPv6, host bits zero
  policy          the name of one
  tunnels         one for each line
    line          a line of the policy
    encapsulation GRE, GRE_UDP or AUTO
    local         the DR's end, an address of the DR
    remote        the router's end; absent: learned, for a router behind a NAT
    remotePort    GRE_UDP and AUTO: the router's fixed port; absent: 4754, and ports
                  of flows
    id            the GRE key; absent: allocated
    mtu           1280 to 9000; absent: of a path of 1500
    profile       FIXED, MOBILE, SATELLITE or METERED
    keepalive     true or false; absent: true where there is no remote
  hashSeed        of the flow hash; absent: of the name
  profile         of all tunnels that name none
  {"subscriber": {"name": "shop-7", "prefixes": ["198.18.200.8/29"], "policy": "fibre-first",
    "tunnels": [{"line": "fibre", "encapsulation": "GRE_UDP", "local": "198.51.100.1"}]}}
)";

}  // namespace

std::string object_help(const std::string& kind) {
    std::string text;
    for (const auto& [name, help] : {std::pair("pool", kPool), std::pair("policy", kPolicy),
                                     std::pair("subscriber", kSubscriber)}) {
        if (kind.empty() || kind == name) {
            text += (text.empty() ? "" : "\n") + std::string(help);
        }
    }
    text.pop_back();
    return text;
}

}  // namespace dr::cli
