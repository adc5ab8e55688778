// From an attachment to Config; slots by line.
#include "ur/attachment.h"

#include <algorithm>

#include "ur/reader.h"

namespace dr::ur {

namespace {

constexpr Reader::Names kNames{"ur_address", "dr_address", "ur_port", false};

}  // namespace

// A slot that a line had stays its own while the attachment names it; others are free again.
unsigned Translator::slot_of(const std::string& line, const v1::Attachment& attachment) {
    std::erase_if(slots_, [&](const auto& entry) {
        return std::none_of(attachment.tunnels().begin(), attachment.tunnels().end(),
                            [&](const auto& t) { return t.line() == entry.first; });
    });
    const auto known = slots_.find(line);
    if (known != slots_.end()) return known->second;
    unsigned slot = 0;
    while (std::any_of(slots_.begin(), slots_.end(),
                       [slot](const auto& entry) { return entry.second == slot; }))
        ++slot;
    return slots_[line] = slot;
}

Config Translator::translate(const v1::Attachment& attachment) {
    Config config;
    config.subscriber = attachment.subscriber();
    config.seed = attachment.hash_seed();
    config.policy_generation = static_cast<std::uint16_t>(attachment.policy_generation());
    config.restore_ms = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(std::uint64_t{attachment.wait_to_restore_s()} * 1000, UINT32_MAX));
    Reader reader(config, kNames);
    reader.prefixes(attachment.prefixes());
    reader.policy(attachment.policy());
    if (!reader.tunnels(attachment.tunnels_size())) reader.finish();
    for (int i = 0; i < attachment.tunnels_size(); ++i) {
        Tunnel& t = reader.tunnel(attachment.tunnels(i), i);
        const auto device = devices_.find(t.line);
        if (device != devices_.end()) t.device = device->second;
    }
    reader.finish();
    for (auto& t : config.tunnels) t.slot = slot_of(t.line, attachment);
    return config;
}

}  // namespace dr::ur
