// From an attachment, as signalling brings it, to the site's configuration. Pure; any thread.
#pragma once

#include "dr/v1/signalling.pb.h"
#include "ur/config.h"

namespace dr::ur {

// Slots are given by line name, so that a tunnel keeps its place in the data path when the policy
// gives its line another number. `devices` by line name; a tunnel whose line has none waits for
// ever and carries nothing. Throws ConfigError that names each field which cannot be; nothing of
// such an attachment may be put in force.
class Translator final {
  public:
    explicit Translator(std::map<std::string, std::string> devices)
        : devices_(std::move(devices)) {}
    Config translate(const v1::Attachment& attachment);

  private:
    unsigned slot_of(const std::string& line, const v1::Attachment& attachment);

    std::map<std::string, std::string> devices_;
    std::map<std::string, unsigned> slots_;
};

}  // namespace dr::ur
