// Picks a line's source address (RFC 6724).
#include "ur/source_choice.h"

#include <algorithm>
#include <tuple>

namespace dr::ur {

namespace {

// A tunnel changes its port twice before its address (keepalives.cpp). An address that the DR
// answers is Up well within the turn of another one.
constexpr liveness::Time kFirstTurn = 13 * liveness::kSecond;
constexpr liveness::Time kOtherTurn = 5 * liveness::kSecond;
constexpr liveness::Time kBestTurn = 30 * liveness::kSecond;

bool is_autoconfigured4(const IpAddress& a) {
    return a.family == 4 && a.bytes[0] == 169 && a.bytes[1] == 254;
}

bool is_unique_local(const IpAddress& a) {
    return a.family == 6 && (a.bytes[0] & 0xfeU) == 0xfc;
}

bool stays(const SourceAddress& a) {
    return !a.deprecated && a.valid_s > kExpiresS;
}

}  // namespace

std::vector<IpAddress> rank_sources(std::span<const SourceAddress> own, const IpAddress& answered,
                                    const IpAddress& kernel, const IpAddress& remote) {
    const auto merit = [&](const SourceAddress& a) {
        return std::tuple(!is_autoconfigured4(a.address), stays(a), a.routed, a.address == answered,
                          a.address == kernel,
                          is_unique_local(a.address) == is_unique_local(remote), !a.deprecated);
    };
    std::vector<SourceAddress> ready;
    std::copy_if(own.begin(), own.end(), std::back_inserter(ready),
                 [](const SourceAddress& a) { return a.ready; });
    std::stable_sort(ready.begin(), ready.end(),
                     [&](const auto& a, const auto& b) { return merit(a) > merit(b); });
    std::vector<IpAddress> out;
    out.reserve(ready.size());
    for (const auto& a : ready) out.push_back(a.address);
    return out;
}

std::size_t source_turn(std::size_t count, liveness::Time unanswered) {
    if (count < 2 || unanswered < kFirstTurn) return 0;
    const liveness::Time past = unanswered - kFirstTurn;
    const bool other = past % (kOtherTurn + kBestTurn) < kOtherTurn;
    return other ? 1 + past / (kOtherTurn + kBestTurn) % (count - 1) : 0;
}

bool keeps_source(std::span<const SourceAddress> own, const IpAddress& used) {
    const auto at = std::find_if(own.begin(), own.end(),
                                 [&](const SourceAddress& a) { return a.address == used; });
    return at != own.end() && stays(*at);
}

}  // namespace dr::ur
