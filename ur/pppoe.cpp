// Reads /proc/net/pppoe.
#include "ur/pppoe.h"

#include <sstream>

namespace dr::ur {

std::set<std::string> pppoe_devices(std::string_view text) {
    std::set<std::string> out;
    std::istringstream lines{std::string(text)};
    std::string line;
    std::getline(lines, line);  // the head: Id, Address, Device
    while (std::getline(lines, line)) {
        std::istringstream words(line);
        std::string id, address, device;
        if (words >> id >> address >> device) out.insert(device);
    }
    return out;
}

}  // namespace dr::ur
