// drd's requests to the data plane on one connection, and their answers. It knows no store; the
// replay and the link decide what is to be in the tables.
//
// All throw ChannelError if there is no answer, or an answer of another kind or size.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "control/southbound/channel.h"
#include "control/telemetry/counters_map.h"
#include "control/telemetry/drops_map.h"
#include "control/telemetry/live_map.h"

namespace dr::control {

// The data plane answers with an error that a new connection would not change.
class RefusalError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Result::text.
std::string text_of(const southbound::Result& result);

// HELLO as a provisioner. RefusalError: it refuses this client, or has another version.
southbound::State greet(Channel& channel);
std::shared_ptr<const CountersMap> ask_counters(Channel& channel);
// RefusalError: it has none, and says why.
std::shared_ptr<const LiveMap> ask_liveness(Channel& channel);
// Null, with the reason in `why`: the memfd is of another build, or damaged. Drop samples are only
// for display, and nothing else depends on them.
std::shared_ptr<const DropsMap> ask_drops(Channel& channel, std::string& why);
// The answer to GetState, SetDrain and AdvanceGate; events before it are passed over.
southbound::State receive_state(Channel& channel);
// The answer to a transaction or to SyncEnd; events before it are passed over.
southbound::Result receive_result(Channel& channel, southbound::Type expected);

}  // namespace dr::control
