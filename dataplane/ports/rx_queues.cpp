// Reads how many queues a device receives on, and how it spreads.
#include "dataplane/ports/rx_queues.h"

#include <fmt/format.h>
#include <linux/ethtool.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "dataplane/ports/ethtool.h"

namespace dr {

namespace {

// 0: not known.
unsigned queues_of(const std::string& interface) {
    unsigned count = 0;
    std::error_code failed;
    for (std::filesystem::directory_iterator at("/sys/class/net/" + interface + "/queues", failed),
         end;
         !failed && at != end; at.increment(failed))
        if (at->path().filename().string().starts_with("rx-")) ++count;
    return failed ? 0 : count;
}

// Whether the hash uses only the first `queues` queues. Also false if there is no hash, or the
// device does not report it.
bool hashes_to_first(const std::string& interface, unsigned queues) {
    constexpr std::size_t kHead = sizeof(ethtool_rxfh_indir) / 4;
    Ethtool ethtool(interface);
    Ethtool::Words table(kHead);
    table[0] = ETHTOOL_GRXFHINDIR;
    if (ethtool(table.data()) < 0 || table[1] == 0) return false;
    const std::uint32_t size = table[1];
    table.assign(kHead + size, 0);
    table[0] = ETHTOOL_GRXFHINDIR;
    table[1] = size;
    return ethtool(table.data()) >= 0 && std::all_of(table.begin() + kHead, table.end(),
                                                     [&](auto queue) { return queue < queues; });
}

}  // namespace

bool serves_all_queues(const std::string& interface, unsigned queues, std::string* error) {
    const unsigned has = queues_of(interface);
    if (has <= queues || hashes_to_first(interface, queues)) return true;
    *error = fmt::format(
        "{0} receives on {1} queues, and \"queues\" is {2}: what arrives on the others would be "
        "lost; "
        "set \"queues\" to {1}, or ethtool -L {0} combined {2} (rx {2} tx {2}), or "
        "ethtool -X {0} equal {2}",
        interface, has, queues);
    return false;
}

}  // namespace dr
