// What drd asks the data plane on one connection, and what it makes of the answers. Without a
// store: what of it is to be in the tables is the replay's and the link's matter.
//
// All throw ChannelError when the answer is none, or of another kind or size.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "control/southbound/channel.h"
#include "control/telemetry/counters_map.h"
#include "control/telemetry/drops_map.h"
#include "control/telemetry/live_map.h"

namespace dr::control {

// The data plane answers with an error that a new connection will not cure.
class RefusalError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Result::text.
std::string text_of(const southbound::Result& result);

// HELLO as a provisioner. RefusalError: it does not take us, or is of another version.
southbound::State greet(Channel& channel);
std::shared_ptr<const CountersMap> ask_counters(Channel& channel);
// RefusalError: it says why it has none.
std::shared_ptr<const LiveMap> ask_liveness(Channel& channel);
// Null, with the reason in `why`: what it hands over is none of this build's, or damaged. Its notes
// of drops are there for people to read, and nothing else depends on them.
std::shared_ptr<const DropsMap> ask_drops(Channel& channel, std::string& why);
// The answer to GetState, SetDrain and AdvanceGate; events before it are passed over.
southbound::State receive_state(Channel& channel);
// The answer to a transaction or to SyncEnd; events before it are passed over.
southbound::Result receive_result(Channel& channel, southbound::Type expected);

}  // namespace dr::control
