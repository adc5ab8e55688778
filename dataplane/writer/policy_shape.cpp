// A policy record as numbers of lines.
#include "dataplane/writer/policy_shape.h"

namespace dr::southbound {

PolicyShape::PolicyShape(const PolicyView& view) {
    for (std::size_t i = 0; i < view.lines.size(); ++i) {
        const LineRecord line = view.lines[i];
        names[line.number] = line.name;
        classes.resize(line.class_number + 1U);
        classes.back().resize(line.tier + 1U);
        classes.back().back().push_back({line.number, line.weight});
    }
}

int PolicyShape::number_of(const LineName& name) const {
    for (unsigned n = 0; n < kMaxLines; ++n) {
        if (names[n] == name) return static_cast<int>(n);
    }
    return -1;
}

std::uint16_t PolicyShape::mask_of(const SubscriberView& subscriber) const {
    unsigned mask = 0;
    for (std::size_t i = 0; i < subscriber.tunnels.size(); ++i) {
        const int n = number_of(subscriber.tunnels[i].line);
        if (n >= 0) mask |= 1U << n;
    }
    return static_cast<std::uint16_t>(mask);
}

ClassMasks PolicyShape::usable(const SubscriberView& subscriber, const ClassMasks& eligible) const {
    unsigned plain = 0;
    unsigned keyed = 0;
    for (std::size_t i = 0; i < subscriber.tunnels.size(); ++i) {
        const TunnelRecord tunnel = subscriber.tunnels[i];
        const int line = number_of(tunnel.line);
        if (line < 0) continue;
        (tunnel.key_number == 0 ? plain : keyed) |= 1U << line;
    }
    ClassMasks masks{};
    for (std::size_t c = 0; c < classes.size(); ++c)
        masks[c] = static_cast<std::uint16_t>((eligible[c] & keyed) | plain);
    return masks;
}

}  // namespace dr::southbound
