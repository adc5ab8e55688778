// What urd's command line says.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ur/config.h"
#include "ur/status.h"

namespace dr::ur {

struct Options {
    std::string credentials;
    std::string config;
    std::vector<std::string> lines;
    std::string lan;
    std::string state = "/var/lib/urd";
    std::string device = "dr0";
    bool local_breakout = false;
    bool keep_guard = false;
    unsigned fallback_after = 120;  // s
    std::string socket = kDefaultSocket;
    bool json = false;
    bool check = false;
    bool allow_core_dumps = false;
};

// Devices by line name, of NAME=DEVICE arguments. Throws ConfigError.
inline std::map<std::string, std::string> line_devices(const std::vector<std::string>& arguments) {
    std::map<std::string, std::string> devices;
    for (const auto& line : arguments) {
        const auto equals = line.find('=');
        if (equals == std::string::npos || equals == 0 || equals + 1 == line.size())
            throw ConfigError({"--line " + line + ": must be NAME=DEVICE"});
        devices[line.substr(0, equals)] = line.substr(equals + 1);
    }
    return devices;
}

}  // namespace dr::ur
