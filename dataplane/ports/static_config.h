// Addresses, routes and neighbours of the configuration file, for ports that do not mirror the
// kernel's. The same Rib calls as the netlink mirror's, once.
//
// Thread: main, before the workers start.
#pragma once

#include <string>

#include "dataplane/config/config.h"
#include "dataplane/ports/port.h"
#include "dataplane/tables/rib.h"

namespace dr {

// number: of the port. false and a reason: a table is full.
bool install_static(Rib& rib, std::uint16_t number, const Port& port, const PortConfig& config,
                    std::string* error);

}  // namespace dr
