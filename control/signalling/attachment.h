// Builds proto/dr/v1/signalling.proto's Attachment from the provisioned objects. Pure functions,
// any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/model/catalog.h"
#include "dr/v1/signalling.pb.h"

namespace dr::control {

// The profile's first timers of keepalives (proto/TUNNEL.md).
v1::Timers timers_of(v1::Profile profile);

// `lines`: as the UR has named them; none: not known, and every tunnel is included. Throws
// StoreError when a key is missing.
v1::Attachment make_attachment(const Catalog::Site& site, const std::vector<v1::Line>& lines,
                               const std::vector<v1::SignallingAddress>& drs);

}  // namespace dr::control
