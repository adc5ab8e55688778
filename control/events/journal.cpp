// Collects drd's own events, limits them and prints them.
#include "control/events/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <utility>

#include "base/printable.h"
#include "control/model/check.h"

namespace dr::control {
namespace {

constexpr double kBurst = 30;
constexpr double kPerMinute = 6;

// The cause of an event decides whose limit it uses. Events of a site, events in a site's name
// without its certificate, and events of the data plane have separate limits. An operator's acts
// are always logged.
enum class Cause { Site, Stranger, Machine, Operator };

Cause cause_of(std::string_view kind) {
    if (kind == kAttached || kind == kDetached) return Cause::Site;
    if (kind == kRefusedCredentials) return Cause::Stranger;
    return kind == kDataPlaneLost || kind == kDataPlaneBack ? Cause::Machine : Cause::Operator;
}

std::string sentence(const Journal::Entry& entry, std::uint64_t untold) {
    std::string text = entry.kind;
    // Another CA's certificate may have any name.
    if (!entry.subscriber.empty())
        text += ": subscriber " +
                (is_name(entry.subscriber) ? entry.subscriber : quoted(entry.subscriber));
    if (!entry.endpoint.empty()) text += ": from " + entry.endpoint;
    for (const auto& part : {entry.said, entry.cause})
        if (!part.empty()) text += ": " + part;
    if (untold != 0) text += fmt::format(" ({} before it were not told of)", untold);
    return printable(text);
}

}  // namespace

double Journal::used_at(const Subject& subject, Clock::time_point now) {
    const std::chrono::duration<double, std::ratio<60>> minutes = now - subject.at;
    return std::max(0.0, subject.used - std::max(0.0, minutes.count()) * kPerMinute);
}

bool Journal::passes(const std::string& subject, Clock::time_point now, std::uint64_t& untold) {
    if (subjects_.size() >= clean_at_) {
        std::erase_if(subjects_, [&](const auto& s) { return used_at(s.second, now) <= 0; });
        clean_at_ = std::max<std::size_t>(4096, 2 * subjects_.size());
    }
    Subject& s = subjects_[subject];
    s.used = used_at(s, now);
    s.at = now;
    if (s.used + 1 > kBurst) {
        ++s.untold;
        return false;
    }
    s.used += 1;
    untold = std::exchange(s.untold, 0);
    return true;
}

void Journal::tell(Level level, const Entry& entry, Clock::time_point now) {
    std::uint64_t untold = 0;
    {
        const std::lock_guard lock(mutex_);
        const Cause cause = cause_of(entry.kind);
        const std::string subject = std::to_string(static_cast<int>(cause)) + entry.subscriber;
        if (cause != Cause::Operator && !passes(subject, now, untold)) return;
        if (std::size_t& waiting = waiting_of_[entry.kind]; waiting < kMostWaiting) {
            ++waiting;
            LoggedEvent& event = waiting_.emplace_back();
            const auto wall = std::chrono::system_clock::now().time_since_epoch();
            event.at_us = std::chrono::duration_cast<std::chrono::microseconds>(wall).count();
            event.kind = entry.kind;
            event.subscriber = entry.subscriber;
            event.cause = entry.cause;
            event.endpoint = entry.endpoint;
            event.value = entry.value;
        }
    }
    std::fprintf(stderr, "drd: %s: %s\n", level == Level::Info ? "info" : "warning",
                 sentence(entry, untold).c_str());
}

std::vector<LoggedEvent> Journal::take() {
    const std::lock_guard lock(mutex_);
    waiting_of_.clear();
    return std::exchange(waiting_, {});
}

std::string peer_text(const std::string& peer) {
    const std::size_t scheme = peer.find(':');
    if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return peer;
    std::string text = peer.substr(scheme + 1);
    for (const auto& [coded, plain] : {std::pair("%5B", "["), std::pair("%5D", "]")})
        if (const auto at = text.find(coded); at != std::string::npos) text.replace(at, 3, plain);
    return text;
}

}  // namespace dr::control
