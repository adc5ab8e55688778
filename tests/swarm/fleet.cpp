#include "tests/swarm/fleet.h"

#include <arpa/inet.h>

#include <algorithm>
#include <sstream>

#include "dataplane/wire/headers.h"

namespace dr::swarm {

namespace {

bool read_address(const std::string& text, wire::Endpoint* endpoint) {
    endpoint->family = text.find(':') == std::string::npos ? 4 : 6;
    return inet_pton(endpoint->family == 4 ? AF_INET : AF_INET6, text.c_str(),
                     endpoint->address.data()) == 1;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool read_key(const std::string& text, liveness::TunnelKey* key) {
    if (text.size() != 2 * key->bytes.size()) return false;
    for (std::size_t i = 0; i < key->bytes.size(); ++i) {
        const int high = hex_digit(text[2 * i]);
        const int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        key->bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return true;
}

bool read_profile(const std::string& text, liveness::ProfileId* id) {
    const auto found = std::find_if(liveness::kProfiles.begin(), liveness::kProfiles.end(),
                                    [&](const auto& p) { return p.name == text; });
    *id = static_cast<liveness::ProfileId>(found - liveness::kProfiles.begin());
    return found != liveness::kProfiles.end();
}

// What is wrong with the line; empty: nothing.
std::string read_tunnel(const std::string& line, FleetTunnel* tunnel) {
    std::istringstream fields(line);
    unsigned number = 0;
    unsigned key_number = 0;
    unsigned port = 0;
    std::string key;
    std::string profile;
    std::string ur;
    std::string dr;
    if (!(fields >> tunnel->site >> number >> tunnel->id >> key_number >> key >> profile >> ur >>
          port >> dr))
        return "nine fields are needed: SITE LINE ID KEY_NUMBER KEY PROFILE UR_ADDRESS UR_PORT "
               "DR_ADDRESS";
    if (number >= liveness::kLines) return "LINE must be 0 to 15";
    if (key_number == 0 || key_number > 255) return "KEY_NUMBER must be 1 to 255";
    if (!read_key(key, &tunnel->key)) return "KEY must be 64 hex digits, lower case";
    if (!read_profile(profile, &tunnel->profile))
        return "PROFILE must be fixed, mobile, satellite or metered, not " + profile;
    if (port > 65'535) return "UR_PORT must be 0 to 65535";
    if (!read_address(ur, &tunnel->ur) || !read_address(dr, &tunnel->dr) ||
        tunnel->ur.family != tunnel->dr.family)
        return "UR_ADDRESS and DR_ADDRESS must be IP addresses of one family";
    tunnel->line = static_cast<std::uint8_t>(number);
    tunnel->key.number = static_cast<std::uint8_t>(key_number);
    tunnel->ur.port = static_cast<std::uint16_t>(port);
    tunnel->dr.port = port == 0 ? std::uint16_t{0} : wire::kGreUdpPort;
    return {};
}

}  // namespace

bool read_fleet(std::istream& in, Fleet* fleet, std::string* error) {
    *fleet = {};
    std::string line;
    for (unsigned number = 1; std::getline(in, line); ++number) {
        FleetTunnel tunnel;
        std::string wrong = read_tunnel(line, &tunnel);
        if (wrong.empty() && tunnel.site != fleet->sites && tunnel.site + 1 != fleet->sites)
            wrong = "SITE must rise from 0 without gaps";
        if (wrong.empty() && tunnel.site >= kMostSites)
            wrong = "SITE: at most " + std::to_string(kMostSites) + " have addresses";
        if (!wrong.empty()) {
            *error = "line " + std::to_string(number) + ": " + wrong;
            return false;
        }
        fleet->sites = tunnel.site + 1;
        fleet->tunnels.push_back(tunnel);
    }
    if (fleet->tunnels.empty()) *error = "there is no tunnel in it";
    return !fleet->tunnels.empty();
}

}  // namespace dr::swarm
